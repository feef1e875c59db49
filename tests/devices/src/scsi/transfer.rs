//! READ, WRITE, WRITE SAME, UNMAP (SBC-4).

use std::ops::Range;

use super::Disk;
use crate::{
    answer::Sense,
    layout::{bytes, index},
};

/// First block and number of blocks of a command of 10 or 16 bytes.
fn span(cdb: &[u8; 16]) -> (u64, u64) {
    if cdb[0] >> 5 == 4 {
        (u64::from_be_bytes(bytes(cdb, 2)), u64::from(u32::from_be_bytes(bytes(cdb, 10))))
    } else {
        (u64::from(u32::from_be_bytes(bytes(cdb, 2))), u64::from(u16::from_be_bytes(bytes(cdb, 7))))
    }
}

impl Disk {
    fn range(&self, first: u64, number: u64) -> Result<Range<u64>, Sense> {
        let end = first.checked_add(number).filter(|end| *end <= self.accessible);
        end.map(|end| first..end).ok_or(Sense::OUT_OF_RANGE)
    }

    fn block(&self) -> usize {
        index(u64::from(self.block_bytes))
    }

    pub(super) fn read_blocks(&self, cdb: &[u8; 16], data: &mut [u8]) -> Result<usize, Sense> {
        let (first, number) = span(cdb);
        for (lba, piece) in self.range(first, number)?.zip(data.chunks_mut(self.block())) {
            match self.medium.read(0, lba) {
                Some(found) => piece.copy_from_slice(&found),
                None if self.was_sanitized && self.config.must_write_after_sanitize => {
                    return Err(Sense::UNWRITTEN);
                }
                None => piece.fill(self.unmapped_byte()),
            }
        }
        Ok(data.len())
    }

    pub(super) fn write_blocks(&mut self, cdb: &[u8; 16], data: &[u8]) -> Result<usize, Sense> {
        let (first, number) = span(cdb);
        let range = self.range(first, number)?;
        for (lba, piece) in range.zip(data.chunks(self.block())) {
            self.medium.write(0, lba, piece);
        }
        Ok(data.len())
    }

    /// WRITE SAME: zero blocks is up to the end. UNMAP (bit 3) gives up what is to be zeros; with NDOB (bit 0, in the
    /// one of 16 bytes) no data comes, and it is zeros.
    pub(super) fn write_same(&mut self, cdb: &[u8; 16], data: &[u8]) -> Result<usize, Sense> {
        let (first, number) = span(cdb);
        let (unmaps, is_without_data) = (cdb[1] & 1 << 3 != 0, cdb[1] & 1 == 1);
        let can = self.config.provisioning;
        if unmaps && !can.is_some_and(|can| can.unmaps_with_write_same)
            || is_without_data && cdb[0] == 0x41
            || !is_without_data && data.len() != self.block()
        {
            return Err(Sense::INVALID_FIELD);
        }
        let number = match number {
            0 => self.accessible.saturating_sub(first),
            number => number,
        };
        let limit = self.config.write_same_limit;
        if limit != 0 && number > limit {
            return Err(Sense::INVALID_FIELD);
        }
        let pattern = if is_without_data { vec![0; self.block()] } else { data.to_vec() };
        let gives_up = unmaps && pattern.iter().all(|byte| *byte == self.unmapped_byte());
        for lba in self.range(first, number)? {
            if gives_up {
                self.medium.unmap(0, lba);
            } else {
                self.medium.write(0, lba, &pattern);
            }
        }
        Ok(if is_without_data { 0 } else { data.len() })
    }

    /// UNMAP: descriptors of an address and a number of blocks.
    pub(super) fn unmap(&mut self, data: &[u8]) -> Result<usize, Sense> {
        let length = usize::from(u16::from_be_bytes(bytes(data, 2)));
        if data.len() < 8 + length {
            return Err(Sense::LIST_LENGTH);
        }
        for descriptor in data[8..8 + length].chunks_exact(16) {
            let first = u64::from_be_bytes(bytes(descriptor, 0));
            let number = u64::from(u32::from_be_bytes(bytes(descriptor, 8)));
            for lba in self.range(first, number)? {
                self.medium.unmap(0, lba);
            }
        }
        Ok(data.len())
    }

    fn unmapped_byte(&self) -> u8 {
        match self.config.provisioning {
            Some(can) if !can.reads_zeros => 0xff,
            _ => 0,
        }
    }
}
