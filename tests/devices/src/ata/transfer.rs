//! Reading, writing, trimming (ACS-4: READ DMA EXT, WRITE DMA EXT, DATA SET MANAGEMENT).

use super::{Abort, Disk, Kind, NOT_FOUND, Output, SECTOR, Trimmed, pass_through::Task};
use crate::layout::bytes;

impl Disk {
    /// The sectors of a command: a count of 0 is 65,536.
    fn sectors(&self, lba: u64, count: u64) -> Result<std::ops::Range<u64>, Abort> {
        let end = lba.checked_add(count).filter(|end| *end <= self.accessible_sectors());
        end.map(|end| lba..end).ok_or(Abort { error: NOT_FOUND, lba })
    }

    pub(super) fn read_sectors(&self, task: Task, data: &mut [u8]) -> Result<Output, Abort> {
        for (sector, piece) in
            self.sectors(task.lba, whole(task.count))?.zip(data.chunks_mut(SECTOR))
        {
            match self.medium.read(0, sector) {
                Some(found) => piece.copy_from_slice(&found),
                None => piece.fill(self.trimmed_byte()),
            }
        }
        Ok(Output { transferred: data.len(), ..Output::default() })
    }

    pub(super) fn write_sectors(&mut self, task: Task, data: &[u8]) -> Result<Output, Abort> {
        for (sector, piece) in self.sectors(task.lba, whole(task.count))?.zip(data.chunks(SECTOR)) {
            self.medium.write(0, sector, piece);
        }
        Ok(Output { transferred: data.len(), ..Output::default() })
    }

    /// DATA SET MANAGEMENT, trim (FEATURES bit 0): entries of a 48-bit address and a 16-bit count.
    pub(super) fn trim(&mut self, task: Task, data: &[u8]) -> Result<Output, Abort> {
        let Kind::Flash(Some(trimmed)) = self.config.kind else { return Err(Abort::PLAIN) };
        if task.features != 1 {
            return Err(Abort::PLAIN);
        }
        for at in (0..data.len()).step_by(8) {
            let entry = u64::from_le_bytes(bytes(data, at));
            let (lba, count) = (entry & 0xffff_ffff_ffff, entry >> 48);
            if count == 0 {
                continue;
            }
            for sector in self.sectors(lba, count)?.filter(|_| trimmed != Trimmed::Anything) {
                self.medium.unmap(0, sector);
            }
        }
        Ok(Output { transferred: data.len(), ..Output::default() })
    }

    fn trimmed_byte(&self) -> u8 {
        match self.config.kind {
            Kind::Flash(Some(Trimmed::Deterministic)) => 0xff,
            _ => 0,
        }
    }
}

fn whole(count: u16) -> u64 {
    if count == 0 { 0x1_0000 } else { u64::from(count) }
}
