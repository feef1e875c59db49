//! A SCSI disk (SPC-5, SBC-4), as SAS ones are.

mod erase;
mod inquiry;
mod mode;
mod operation_codes;
#[cfg(test)]
mod tests;
mod transfer;

use std::time::Duration;

use self::erase::State;
use crate::{
    Answer, Course, NoAnswer,
    answer::Sense,
    layout::{count, index},
    medium::Medium,
};

/// Block lengths that the disk can be formatted with.
const BLOCK_LENGTHS: [u32; 5] = [512, 520, 528, 4096, 4160];

/// What the medium is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Platters: blocks are written in place.
    Rotating,
    /// Flash.
    Flash,
}

/// What sanitizing methods there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SanitizeCapabilities {
    /// Service action 1.
    pub overwrite: bool,
    /// Service action 2.
    pub block_erase: bool,
    /// Service action 3.
    pub cryptographic_erase: bool,
    /// How long it takes (an overwrite: each pass).
    pub time: Duration,
}

/// What is unmapped, and how it reads then (SBC-4, Logical Block Provisioning VPD page).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provisioning {
    /// UNMAP is supported (LBPU).
    pub unmaps: bool,
    /// WRITE SAME (16) with its UNMAP bit is supported (LBPWS).
    pub unmaps_with_write_same: bool,
    /// Unmapped blocks read as zeros (LBPRZ); otherwise this disk returns ones.
    pub reads_zeros: bool,
}

/// Who keeps the disk from being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Nobody.
    None,
    /// The SWP bit of the Control mode page, which a host can clear.
    Software,
    /// A switch, which it cannot.
    Hardware,
}

/// How sense data comes back (Control mode page, `D_SENSE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenseFormat {
    /// Response code 0x70.
    Fixed,
    /// Response code 0x72.
    Descriptor,
}

/// What is simulated. The default is a small rotating disk that can everything that one can.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own")]
pub struct Config {
    /// Vendor, at most 8 letters.
    pub vendor: String,
    /// Product, at most 16 letters.
    pub product: String,
    /// Serial number.
    pub serial: String,
    /// World wide name (NAA 5).
    pub wwn: u64,
    /// What it is made of.
    pub kind: Kind,
    /// Bytes of a block: 512, 520, 528, 4096 or 4160.
    pub block_bytes: u32,
    /// Blocks that can be made accessible.
    pub blocks: u64,
    /// Blocks beyond that: for reallocation, or over-provisioned.
    pub spare_blocks: u64,
    /// How many blocks MODE SELECT left accessible; `None` is all.
    pub accessible_blocks: Option<u64>,
    /// Whether the disk encrypts what it stores: where it does not, changing keys changes nothing, whatever is said of it.
    pub encrypts: bool,
    /// `None`: nothing is ever unmapped.
    pub provisioning: Option<Provisioning>,
    /// `None`: SANITIZE is not known.
    pub sanitize: Option<SanitizeCapabilities>,
    /// Whether FORMAT UNIT is known.
    pub formats: bool,
    /// Whether REPORT SUPPORTED OPERATION CODES is known.
    pub reports_operation_codes: bool,
    /// Whether blocks that were not written since a sanitize cannot be read (WABEREQ and WACEREQ).
    pub must_write_after_sanitize: bool,
    /// Who keeps it from being written.
    pub protection: Protection,
    /// How sense data comes back.
    pub sense_format: SenseFormat,
    /// The most blocks that one WRITE SAME takes; 0 is not told.
    pub write_same_limit: u64,
    /// How long a format takes.
    pub format_time: Duration,
    /// What becomes of a sanitize.
    pub sanitize_course: Course,
    /// What becomes of a format. `Lies` is QEMU's: GOOD at once, nothing done.
    pub format_course: Course,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vendor: "DRYDOCK".to_owned(),
            product: "Simulated SAS".to_owned(),
            serial: "SAS0001".to_owned(),
            wwn: 0x5000_c500_0000_0002,
            kind: Kind::Rotating,
            block_bytes: 512,
            blocks: 128,
            spare_blocks: 16,
            accessible_blocks: None,
            encrypts: false,
            provisioning: None,
            sanitize: Some(SanitizeCapabilities {
                overwrite: true,
                block_erase: false,
                cryptographic_erase: false,
                time: Duration::from_secs(100),
            }),
            formats: true,
            reports_operation_codes: true,
            must_write_after_sanitize: false,
            protection: Protection::None,
            sense_format: SenseFormat::Descriptor,
            write_same_limit: 0,
            format_time: Duration::from_secs(100),
            sanitize_course: Course::Finishes,
            format_course: Course::Finishes,
        }
    }
}

impl Config {
    /// Returns a solid state disk that can everything that one can.
    pub fn solid_state() -> Self {
        Self {
            kind: Kind::Flash,
            encrypts: true,
            provisioning: Some(Provisioning {
                unmaps: true,
                unmaps_with_write_same: true,
                reads_zeros: true,
            }),
            sanitize: Some(SanitizeCapabilities {
                overwrite: false,
                block_erase: true,
                cryptographic_erase: true,
                time: Duration::from_secs(100),
            }),
            ..Self::default()
        }
    }
}

/// A disk.
#[derive(Debug, Clone)]
pub struct Disk {
    config: Config,
    medium: Medium,
    state: State,
    /// Bytes of a block, as the last format made them.
    block_bytes: u32,
    /// Bytes of a block that the next format shall make, from MODE SELECT.
    next_block_bytes: u32,
    /// How many blocks there can be.
    blocks: u64,
    /// How many the host can reach.
    accessible: u64,
    /// A sanitize made all blocks unwritten.
    was_sanitized: bool,
    now: Duration,
    took: Duration,
    is_silent: bool,
}

impl Disk {
    /// Returns a disk that has just got power.
    pub fn new(config: Config) -> Self {
        let unit = index(u64::from(config.block_bytes));
        let medium = match config.kind {
            Kind::Rotating => {
                Medium::rotating(unit, config.blocks, config.spare_blocks, config.encrypts)
            }
            Kind::Flash => {
                Medium::flash(unit, config.blocks + config.spare_blocks, config.encrypts)
            }
        };
        Self {
            medium,
            state: State::Ready,
            block_bytes: config.block_bytes,
            next_block_bytes: config.block_bytes,
            blocks: config.blocks,
            accessible: config.accessible_blocks.unwrap_or(config.blocks),
            was_sanitized: false,
            now: Duration::ZERO,
            took: Duration::ZERO,
            is_silent: false,
            config,
        }
    }

    /// Executes a command; `data` goes in either direction.
    pub fn execute(&mut self, cdb: &[u8], data: &mut [u8]) -> Result<Answer, NoAnswer> {
        self.took = Duration::ZERO;
        if self.is_silent {
            return Err(NoAnswer);
        }
        let mut padded = [0; 16];
        crate::layout::answer(&mut padded, cdb);
        let done = match self.refusal(&padded) {
            Some(sense) => Err(sense),
            None => self.dispatch(&padded, data),
        };
        // An operation that was waited for and did not end.
        if self.is_silent {
            return Err(NoAnswer);
        }
        Ok(match done {
            Ok(transferred) => Answer::good(transferred),
            Err(sense) => Answer::check(self.sense(sense)),
        })
    }

    fn dispatch(&mut self, cdb: &[u8; 16], data: &mut [u8]) -> Result<usize, Sense> {
        let service_action = cdb[1] & 0x1f;
        match (cdb[0], service_action) {
            (0x03, _) => Ok(self.request_sense(cdb, data)),
            (0x04, _) if self.config.formats => self.format_unit(cdb, data),
            (0x12, _) => self.inquire(cdb, data),
            (0x15 | 0x55, _) => self.mode_select(cdb, data),
            (0x1a | 0x5a, _) => self.mode_sense(cdb, data),
            (0x9e, 0x10) if !crate::layout::asks_for_whole_capacity(cdb, data.len()) => {
                Err(Sense::INVALID_FIELD)
            }
            (0x25, _) | (0x9e, 0x10) => Ok(self.read_capacity(cdb[0], data)),
            (0x28 | 0x88, _) => self.read_blocks(cdb, data),
            (0x2a | 0x8a, _) => self.write_blocks(cdb, data),
            // TEST UNIT READY, SYNCHRONIZE CACHE.
            (0x00 | 0x35 | 0x91, _) => Ok(0),
            (0x41 | 0x93, _) => self.write_same(cdb, data),
            (0x42, _) if self.config.provisioning.is_some_and(|can| can.unmaps) => self.unmap(data),
            (0x48, _) if self.config.sanitize.is_some() => self.sanitize(cdb, data),
            (0xa0, _) => {
                Ok(crate::layout::answer(data, &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
            }
            (0xa3, 0x0c) if self.config.reports_operation_codes => {
                self.report_operation_codes(cdb, data)
            }
            // Another service action of a command that is known.
            (0x9e, _) => Err(Sense::INVALID_FIELD),
            (0xa3, _) if self.config.reports_operation_codes => Err(Sense::INVALID_FIELD),
            _ => Err(Sense::INVALID_OPCODE),
        }
    }

    /// Sense data in the format that is set, with how far an operation is.
    fn sense(&self, sense: Sense) -> Vec<u8> {
        let is_operation = matches!(sense, Sense::FORMATTING | Sense::SANITIZING);
        let progress = self.state.progress().filter(|_| is_operation);
        match self.config.sense_format {
            SenseFormat::Fixed => sense.fixed_with(progress),
            SenseFormat::Descriptor => sense.descriptor_with(progress),
        }
    }

    /// REQUEST SENSE (SPC-5): what is to be said of the state comes as data; the DESC bit chooses the format.
    fn request_sense(&self, cdb: &[u8; 16], data: &mut [u8]) -> usize {
        let sense = self.state.condition().unwrap_or(Sense::NONE);
        let progress = self.state.progress();
        let page = match cdb[1] & 1 {
            0 => sense.fixed_with(progress),
            _ => sense.descriptor_with(progress),
        };
        crate::layout::answer(data, &page)
    }

    /// Reads blocks as the host sees them.
    pub fn read(&mut self, lba: u64, blocks: u16) -> Result<Vec<u8>, Answer> {
        let mut data = vec![0; index(u64::from(self.block_bytes)) * usize::from(blocks)];
        self.ordered(&transfer(0x88, lba, blocks), &mut data).map(|()| data)
    }

    /// Writes whole blocks.
    pub fn write(&mut self, lba: u64, data: &[u8]) -> Result<(), Answer> {
        let blocks = count(data.len()) / u64::from(self.block_bytes);
        let blocks = u16::try_from(blocks).expect("a small disk");
        self.ordered(&transfer(0x8a, lba, blocks), &mut data.to_vec())
    }

    fn ordered(&mut self, cdb: &[u8], data: &mut [u8]) -> Result<(), Answer> {
        match self.execute(cdb, data) {
            Ok(answer) if answer.status == 0 => Ok(()),
            Ok(answer) => Err(answer),
            Err(NoAnswer) => Err(Answer::default()),
        }
    }

    /// All that is stored: blocks out of reach, spare ones and those that were replaced too.
    pub fn medium(&self) -> Vec<u8> {
        self.medium.contents()
    }

    /// Replaces a block by a spare one: what it held stays on the medium.
    pub fn reallocate(&mut self, lba: u64) -> bool {
        self.medium.reallocate(0, lba)
    }

    /// Writes where the host may not reach.
    pub fn write_hidden(&mut self, lba: u64, data: &[u8]) {
        for (block, piece) in (lba..).zip(data.chunks(index(u64::from(self.block_bytes)))) {
            self.medium.write(0, block, piece);
        }
    }

    /// Lets time pass.
    pub fn advance(&mut self, by: Duration) {
        self.now = self.now.saturating_add(by);
        self.advance_operation(by);
    }

    /// The disk's own clock.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// How long the last command took until its answer came.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Takes power away and gives it back: a sanitize goes on, a format does not and leaves a corrupted one.
    pub fn power_cut(&mut self) {
        self.is_silent = false;
        self.next_block_bytes = self.block_bytes;
        self.state.lose_power();
    }

    /// Resets the logical unit: what runs goes on.
    pub fn reset(&mut self) {
        self.next_block_bytes = self.block_bytes;
    }

    /// Lets the disk answer nothing more until power was cut.
    pub fn go_silent(&mut self) {
        self.is_silent = true;
    }

    /// Changes what becomes of the sanitize commands to come.
    pub fn set_sanitize_course(&mut self, course: Course) {
        self.config.sanitize_course = course;
    }

    /// Changes what becomes of the formats to come.
    pub fn set_format_course(&mut self, course: Course) {
        self.config.format_course = course;
    }
}

/// READ (16) or WRITE (16).
fn transfer(opcode: u8, lba: u64, blocks: u16) -> [u8; 16] {
    let mut cdb = [0; 16];
    cdb[0] = opcode;
    cdb[2..10].copy_from_slice(&lba.to_be_bytes());
    cdb[12..14].copy_from_slice(&blocks.to_be_bytes());
    cdb
}
