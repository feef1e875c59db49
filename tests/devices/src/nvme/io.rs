//! I/O commands (NVM Command Set, section 3.2).

use std::ops::Range;

use super::{Controller, Deallocated, UNIT, status};
use crate::layout::{bits, bytes, index};

impl Controller {
    pub(super) fn execute_io(
        &mut self,
        opcode: u8,
        nsid: u32,
        dwords: [u32; 6],
        data: &mut [u8],
    ) -> Result<u32, u16> {
        // Flush is the one that is not refused (Base, section 8.21).
        if opcode == 0x00 {
            return Ok(0);
        }
        self.sanitizing.check()?;
        let namespace = self.attached(nsid)?;
        let (block_bytes, blocks) = (namespace.block_bytes(), namespace.blocks());
        if opcode != 0x02 && namespace.is_write_protected {
            return Err(status::WRITE_PROTECTED);
        }
        let units = move |first: u64, number: u64| -> Result<Range<u64>, u16> {
            let end = first.checked_add(number).filter(|end| *end <= blocks);
            let end = end.ok_or(status::LBA_OUT_OF_RANGE)?;
            Ok(first * (block_bytes / UNIT)..end * (block_bytes / UNIT))
        };
        let first = u64::from(dwords[0]) | u64::from(dwords[1]) << 32;
        let number = u64::from(bits(dwords[2], 0, 15)) + 1;
        match opcode {
            0x01 => {
                for (unit, piece) in units(first, number)?.zip(data.chunks(index(UNIT))) {
                    self.medium.write(nsid, unit, piece);
                }
                self.sanitizing.note_write();
            }
            0x02 => {
                for (unit, piece) in units(first, number)?.zip(data.chunks_mut(index(UNIT))) {
                    match self.medium.read(nsid, unit) {
                        Some(found) => piece.copy_from_slice(&found),
                        None => piece.fill(self.deallocated_byte()),
                    }
                }
            }
            0x08 if self.config.write_zeroes => {
                let limit = u64::from(self.config.write_zeroes_limit);
                if limit > 0 && number * block_bytes > 4096 << limit {
                    return Err(status::INVALID_FIELD);
                }
                // DEAC, bit 25: followed where DLFEAT says so.
                let deallocates =
                    bits(dwords[2], 25, 25) == 1 && self.config.deallocated == Deallocated::Zeros;
                for unit in units(first, number)? {
                    if deallocates {
                        self.medium.unmap(nsid, unit);
                    } else {
                        self.medium.write(nsid, unit, &[0; 512]);
                    }
                }
                self.sanitizing.note_write();
            }
            0x09 if self.config.deallocate => {
                let ranges = index(u64::from(bits(dwords[0], 0, 7))) + 1;
                // AD, bit 2 of dword 11: the other attributes are hints.
                let deallocates = bits(dwords[1], 2, 2) == 1
                    && self.config.deallocated != Deallocated::NotReported;
                for number in (0..ranges).filter(|_| deallocates) {
                    let length = u64::from(u32::from_le_bytes(bytes(data, number * 16 + 4)));
                    let first = u64::from_le_bytes(bytes(data, number * 16 + 8));
                    for unit in units(first, length)? {
                        self.medium.unmap(nsid, unit);
                    }
                }
            }
            _ => return Err(status::INVALID_OPCODE),
        }
        Ok(0)
    }

    fn deallocated_byte(&self) -> u8 {
        match self.config.deallocated {
            Deallocated::Zeros | Deallocated::NotReported => 0,
            Deallocated::Ones => 0xff,
        }
    }
}
