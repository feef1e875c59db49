//! An eMMC card (JESD84-B51), as commands through the kernel's ioctl reach it.

mod erase;
mod extended;
#[cfg(test)]
mod tests;

use std::{ops::Range, time::Duration};

use crate::{
    Course,
    layout::{count, index},
    medium::Medium,
};

/// Bytes of a sector.
pub const SECTOR: usize = 512;

/// Sectors of a high-capacity erase unit of size 1: 512 KiB (`HC_ERASE_GRP_SIZE`, section 7.4).
const ERASE_UNIT: u64 = 1024;

/// Sectors of a boot partition of size 1: 128 KiB (`BOOT_SIZE_MULT`).
const BOOT_UNIT: u64 = 256;

/// Bits of the device status, R1 (section 6.13).
pub mod status {
    /// An address beyond the end.
    pub const OUT_OF_RANGE: u32 = 1 << 31;
    /// An erase out of order.
    pub const ERASE_SEQUENCE: u32 = 1 << 28;
    /// A bad range of an erase.
    pub const ERASE_PARAMETER: u32 = 1 << 27;
    /// An unknown command.
    pub const ILLEGAL_COMMAND: u32 = 1 << 22;
    /// Some other error.
    pub const ERROR: u32 = 1 << 19;
    /// An erase was begun and then left.
    pub const ERASE_RESET: u32 = 1 << 13;
    /// State 4, transfer, in bits 12:9, and ready for data.
    pub const TRANSFER: u32 = 4 << 9 | 1 << 8;
    /// SWITCH was not done.
    pub const SWITCH_ERROR: u32 = 1 << 7;
}

/// How a command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The card does not respond so: an unknown command, or another kind of response than the one that was waited for.
    Timeout,
    /// Nothing comes any more: what became of the command is not known.
    NoAnswer,
    /// The kernel does not do it on this card.
    NotSupported,
    /// The kernel does not take the range.
    Invalid,
    /// The card reported an error.
    Failed,
}

/// What is simulated. The default is a small card that can everything.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a bit of the specification's")]
pub struct Config {
    /// High-capacity erase units of 512 KiB in the user area.
    pub erase_units: u64,
    /// Sectors beyond that, for the card's own use.
    pub spare_sectors: u64,
    /// Boot partitions: each in units of 128 KiB; 0 is none.
    pub boot_units: u8,
    /// The replay protected memory block in units of 128 KiB; it is not simulated further.
    pub replay_protected_units: u8,
    /// Revision of the extended register: 8 is 5.1, 6 is 4.5.
    pub revision: u8,
    /// Secure erase and secure trim (`SECURE_ER_EN`).
    pub secure_erase: bool,
    /// Trim (`SEC_GB_CL_EN`).
    pub trim: bool,
    /// Sanitize (`SEC_SANITIZE`).
    pub sanitize: bool,
    /// Whether erased sectors read as ones instead of zeros (`ERASED_MEM_CONT`).
    pub erases_to_ones: bool,
    /// How long a sanitize takes.
    pub sanitize_time: Duration,
    /// How long an erase takes.
    pub erase_time: Duration,
    /// What becomes of a sanitize.
    pub sanitize_course: Course,
    /// What becomes of a secure erase or trim.
    pub erase_course: Course,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            erase_units: 2,
            spare_sectors: 256,
            boot_units: 1,
            replay_protected_units: 1,
            revision: 8,
            secure_erase: true,
            trim: true,
            sanitize: true,
            erases_to_ones: false,
            sanitize_time: Duration::from_mins(1),
            erase_time: Duration::from_secs(10),
            sanitize_course: Course::Finishes,
            erase_course: Course::Finishes,
        }
    }
}

/// A card. Partitions are spaces of the medium: 0 is the user area, 1 and 2 are the boot partitions.
#[derive(Debug, Clone)]
pub struct Card {
    config: Config,
    medium: Medium,
    /// `ERASE_GROUP_DEF`: erase groups are high-capacity units.
    large_groups: bool,
    /// `PARTITION_ACCESS`.
    partition: u32,
    /// Errors that the next status tells.
    errors: u32,
    /// Where an erase begins and ends, as far as it was told.
    erase_start: Option<u64>,
    erase_end: Option<u64>,
    /// What the first step of a secure trim has marked.
    marked: Vec<(u32, Range<u64>)>,
    now: Duration,
    took: Duration,
    is_silent: bool,
    /// Power fails when so much of the next erase or sanitize, in 65,536ths, is done.
    cut_at: Option<u16>,
}

impl Card {
    /// Returns a card that has just got power.
    pub fn new(config: Config) -> Self {
        let boot = 2 * u64::from(config.boot_units) * BOOT_UNIT;
        let pages = config.erase_units * ERASE_UNIT + boot + config.spare_sectors;
        Self {
            medium: Medium::flash(SECTOR, pages, false),
            large_groups: false,
            partition: 0,
            errors: 0,
            erase_start: None,
            erase_end: None,
            marked: Vec::new(),
            now: Duration::ZERO,
            took: Duration::ZERO,
            is_silent: false,
            cut_at: None,
            config,
        }
    }

    /// Executes a command; `flags` say which response is waited for, `data` goes in either direction. Returns the
    /// response: the device status is its first word.
    pub fn command(
        &mut self,
        command: u32,
        argument: u32,
        flags: u32,
        is_write: bool,
        data: &mut [u8],
    ) -> Result<[u32; 4], Error> {
        self.took = Duration::ZERO;
        if self.is_silent {
            return Err(Error::NoAnswer);
        }
        if !response_fits(command, flags) || is_write != matches!(command, 24 | 25) {
            self.errors |= status::ILLEGAL_COMMAND;
            return Err(Error::Timeout);
        }
        // Anything else but status ends a begun erase (section 6.6.9).
        if !matches!(command, 13 | 35 | 36 | 38) && self.erase_start.take().is_some() {
            self.erase_end = None;
            self.errors |= status::ERASE_RESET;
        }
        match command {
            6 => self.switch(argument)?,
            8 => {
                crate::layout::answer(data, &self.extended_register());
            }
            17 | 18 => self.read_sectors(u64::from(argument), data),
            24 | 25 => self.write_sectors(u64::from(argument), data),
            35 => self.set_erase_start(u64::from(argument)),
            36 => self.set_erase_end(u64::from(argument)),
            38 => self.erase(argument)?,
            // SEND_STATUS; the card's address is 1.
            13 if argument >> 16 != 1 => return Err(Error::Timeout),
            _ => {}
        }
        // What SWITCH and the erase find out while they are busy is told with the next status.
        let told = if matches!(command, 6 | 38) { 0 } else { std::mem::take(&mut self.errors) };
        Ok([told | status::TRANSFER, 0, 0, 0])
    }

    fn sectors(&self, partition: u32) -> u64 {
        match partition {
            0 => self.config.erase_units * ERASE_UNIT,
            1 | 2 => u64::from(self.config.boot_units) * BOOT_UNIT,
            _ => 0,
        }
    }

    fn range(&mut self, first: u64, data: &[u8]) -> Option<Range<u64>> {
        let end = first + count(data.len() / SECTOR);
        if data.is_empty() || end > self.sectors(self.partition) {
            self.errors |= status::OUT_OF_RANGE;
            return None;
        }
        Some(first..end)
    }

    fn read_sectors(&mut self, first: u64, data: &mut [u8]) {
        let Some(range) = self.range(first, data) else { return };
        let erased = if self.config.erases_to_ones { 0xff } else { 0 };
        for (sector, piece) in range.zip(data.chunks_mut(SECTOR)) {
            match self.medium.read(self.partition, sector) {
                Some(found) => piece.copy_from_slice(&found),
                None => piece.fill(erased),
            }
        }
    }

    fn write_sectors(&mut self, first: u64, data: &[u8]) {
        let Some(range) = self.range(first, data) else { return };
        for (sector, piece) in range.zip(data.chunks(SECTOR)) {
            self.medium.write(self.partition, sector, piece);
        }
    }

    /// Reads sectors of the user area as the host sees them.
    pub fn read(&mut self, sector: u64, sectors: u16) -> Result<Vec<u8>, Error> {
        self.in_user_area(|card| {
            let mut data = vec![0; usize::from(sectors) * SECTOR];
            card.read_sectors(sector, &mut data);
            data
        })
    }

    /// Writes whole sectors of the user area.
    pub fn write(&mut self, sector: u64, data: &[u8]) -> Result<(), Error> {
        self.in_user_area(|card| card.write_sectors(sector, data))
    }

    /// Writes whole sectors of a boot partition: 1 or 2.
    pub fn write_boot(&mut self, partition: u32, sector: u64, data: &[u8]) {
        for (at, piece) in (sector..).zip(data.chunks(SECTOR)) {
            self.medium.write(partition, at, piece);
        }
    }

    fn in_user_area<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> Result<T, Error> {
        if self.is_silent {
            return Err(Error::NoAnswer);
        }
        let before = (std::mem::replace(&mut self.partition, 0), self.errors);
        let done = act(self);
        let failed = self.errors & status::OUT_OF_RANGE != before.1 & status::OUT_OF_RANGE;
        (self.partition, self.errors) = before;
        if failed { Err(Error::Failed) } else { Ok(done) }
    }

    /// Erases a range of the user area securely as the kernel does (`BLKSECDISCARD`): whole erase groups, otherwise by
    /// secure trim; in bytes. It sanitizes nothing.
    pub fn secure_discard(&mut self, offset: u64, length: u64) -> Result<(), Error> {
        if self.is_silent {
            return Err(Error::NoAnswer);
        }
        if !self.config.secure_erase {
            return Err(Error::NotSupported);
        }
        let sector = count(SECTOR);
        let end = offset.checked_add(length).ok_or(Error::Invalid)?;
        if length == 0
            || !offset.is_multiple_of(sector)
            || !end.is_multiple_of(sector)
            || end / sector > self.sectors(0)
        {
            return Err(Error::Invalid);
        }
        let range = offset / sector..end / sector;
        let group = self.group();
        let is_aligned = range.start.is_multiple_of(group) && range.end.is_multiple_of(group);
        if !is_aligned && !self.config.trim {
            return Err(Error::Invalid);
        }
        self.erase_securely(vec![(0, range)])
    }

    /// All that is stored: boot partitions and spare sectors too.
    pub fn medium(&self) -> Vec<u8> {
        self.medium.contents()
    }

    /// Lets time pass. Nothing goes on without the host.
    pub fn advance(&mut self, by: Duration) {
        self.now = self.now.saturating_add(by);
    }

    /// The card's own clock.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// How long the last command kept the card busy.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Takes power away and gives it back: what ran is over, and nothing is said of what it did.
    pub fn power_cut(&mut self) {
        self.is_silent = false;
        self.cut_at = None;
        self.reset();
    }

    /// Resets the card.
    pub fn reset(&mut self) {
        self.large_groups = false;
        self.partition = 0;
        self.errors = 0;
        self.erase_start = None;
        self.erase_end = None;
        self.marked.clear();
    }

    /// Cuts power when so much of the next secure erase or sanitize, in 65,536ths, is done.
    pub fn cut_power_in_erase(&mut self, at: u16) {
        self.cut_at = Some(at);
    }

    /// Changes what becomes of the sanitize commands to come.
    pub fn set_sanitize_course(&mut self, course: Course) {
        self.config.sanitize_course = course;
    }

    /// Sectors of an erase group. The small ones are those that the card's CSD register tells.
    fn group(&self) -> u64 {
        if self.large_groups { ERASE_UNIT } else { 32 }
    }

    /// The sectors of the user area.
    pub fn user_sectors(&self) -> usize {
        index(self.sectors(0))
    }
}

/// Whether the response that is waited for is the command's: the bits of `<linux/mmc/core.h>`, present 1, CRC 4, busy 8,
/// opcode 16, data transfer 32; those of SPI do not count.
fn response_fits(command: u32, flags: u32) -> bool {
    let expected = match command {
        // R1b: SWITCH, ERASE, and stop.
        6 | 12 | 38 => 0x1d,
        // R1 with data.
        8 | 17 | 18 | 24 | 25 => 0x35,
        // R1.
        13 | 16 | 23 | 35 | 36 => 0x15,
        _ => return false,
    };
    flags & 0x7f == expected
}
