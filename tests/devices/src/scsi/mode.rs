//! MODE SENSE and MODE SELECT (SPC-5; mode parameter block descriptors: SBC-4).

use super::{BLOCK_LENGTHS, Disk, Protection, SenseFormat};
use crate::{
    answer::Sense,
    layout::{answer, bytes},
};

/// Whether a command is the one of ten bytes.
fn is_long(cdb: &[u8; 16]) -> bool {
    matches!(cdb[0], 0x55 | 0x5a)
}

impl Disk {
    pub(super) fn mode_sense(&self, cdb: &[u8; 16], data: &mut [u8]) -> Result<usize, Sense> {
        let control = self.control_page();
        // Caching: write cache enabled.
        let mut caching = vec![0x08, 0x12, 0x04];
        caching.resize(20, 0);
        let pages = match cdb[2] & 0x3f {
            0x08 => caching,
            0x0a => control,
            0x3f => [caching, control].concat(),
            _ => return Err(Sense::INVALID_FIELD),
        };
        let has_descriptor = cdb[1] & 1 << 3 == 0;
        let is_long_address = is_long(cdb) && cdb[1] & 1 << 4 != 0;
        let descriptor = match (has_descriptor, is_long_address) {
            (false, _) => Vec::new(),
            (true, false) => {
                let blocks = u32::try_from(self.accessible).unwrap_or(u32::MAX).to_be_bytes();
                [blocks, self.next_block_bytes.to_be_bytes()].concat()
            }
            (true, true) => {
                let mut long = self.accessible.to_be_bytes().to_vec();
                long.extend([0; 4]);
                long.extend(self.next_block_bytes.to_be_bytes());
                long
            }
        };
        // Device-specific parameter: WP is bit 7.
        let protected = u8::from(self.config.protection != Protection::None) << 7;
        let length = u8::try_from(descriptor.len()).expect("at most sixteen");
        let rest = u8::try_from(descriptor.len() + pages.len()).expect("a small page");
        // How long it is comes first, without that itself.
        let header = if is_long(cdb) {
            vec![0, rest + 6, 0, protected, u8::from(is_long_address), 0, 0, length]
        } else {
            vec![rest + 3, 0, protected, length]
        };
        Ok(answer(data, &[header, descriptor, pages].concat()))
    }

    /// Control mode page: `D_SENSE` is bit 2 of byte 2, SWP bit 3 of byte 4.
    fn control_page(&self) -> Vec<u8> {
        let descriptor = u8::from(self.config.sense_format == SenseFormat::Descriptor) << 2;
        let protected = u8::from(self.config.protection == Protection::Software) << 3;
        vec![0x0a, 0x0a, descriptor, 0, protected, 0, 0, 0, 0, 0, 0, 0]
    }

    pub(super) fn mode_select(&mut self, cdb: &[u8; 16], data: &[u8]) -> Result<usize, Sense> {
        let length = if is_long(cdb) {
            usize::from(u16::from_be_bytes([cdb[7], cdb[8]]))
        } else {
            usize::from(cdb[4])
        };
        // PF: pages are as this standard has them.
        if cdb[1] & 1 << 4 == 0 || length != data.len() {
            return Err(Sense::INVALID_FIELD);
        }
        let header = if is_long(cdb) { 8 } else { 4 };
        if length < header {
            return Err(Sense::LIST_LENGTH);
        }
        let is_long_address = is_long(cdb) && data[4] & 1 == 1;
        let descriptor = if is_long(cdb) {
            usize::from(u16::from_be_bytes([data[6], data[7]]))
        } else {
            usize::from(data[3])
        };
        if descriptor != 0 {
            if descriptor != if is_long_address { 16 } else { 8 } || length < header + descriptor {
                return Err(Sense::INVALID_PARAMETER);
            }
            self.take_descriptor(&data[header..header + descriptor])?;
        }
        self.take_pages(&data[header + descriptor..])?;
        Ok(length)
    }

    /// Another block length waits for FORMAT UNIT; another number of blocks is there at once. All ones is as many as
    /// there can be; zero, with the same length, changes nothing.
    fn take_descriptor(&mut self, descriptor: &[u8]) -> Result<(), Sense> {
        let (blocks, all, length) = if descriptor.len() == 16 {
            let length = u32::from_be_bytes(bytes(descriptor, 12));
            (u64::from_be_bytes(bytes(descriptor, 0)), u64::MAX, length)
        } else {
            let length = u32::from_be_bytes(bytes(descriptor, 4)) & 0x00ff_ffff;
            (u64::from(u32::from_be_bytes(bytes(descriptor, 0))), u64::from(u32::MAX), length)
        };
        if !BLOCK_LENGTHS.contains(&length) {
            return Err(Sense::INVALID_PARAMETER);
        }
        if length != self.block_bytes {
            self.next_block_bytes = length;
            return Ok(());
        }
        match blocks {
            0 => {}
            blocks if blocks == all => self.accessible = self.blocks,
            blocks if blocks <= self.blocks => self.accessible = blocks,
            _ => return Err(Sense::INVALID_PARAMETER),
        }
        self.next_block_bytes = length;
        Ok(())
    }

    fn take_pages(&mut self, mut pages: &[u8]) -> Result<(), Sense> {
        while let [code, length, ..] = *pages {
            let end = usize::from(length) + 2;
            if pages.len() < end {
                return Err(Sense::LIST_LENGTH);
            }
            match (code & 0x3f, self.config.protection) {
                (0x0a, protection) if length == 10 => {
                    let is_protected = pages[4] & 1 << 3 != 0;
                    self.config.sense_format = match pages[2] & 1 << 2 {
                        0 => SenseFormat::Fixed,
                        _ => SenseFormat::Descriptor,
                    };
                    self.config.protection = match (protection, is_protected) {
                        (Protection::Hardware, _) => Protection::Hardware,
                        (_, true) => Protection::Software,
                        (_, false) => Protection::None,
                    };
                }
                (0x08, _) => {}
                _ => return Err(Sense::INVALID_PARAMETER),
            }
            pages = &pages[end..];
        }
        Ok(())
    }
}
