//! An NVMe controller, alone in its subsystem (NVM Express Base Specification 2.0, NVM Command Set Specification 1.0).

mod format;
mod identify;
mod io;
mod log;
mod namespace;
mod sanitize;
pub mod status;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use self::sanitize::Sanitizing;
use crate::{
    Course,
    layout::{bits, count, index},
    medium::Medium,
};

/// Namespace identifier of all namespaces (Base, section 3.2.1.2).
pub const ALL_NAMESPACES: u32 = 0xffff_ffff;

/// The controller's identifier in its subsystem.
pub const CONTROLLER: u16 = 1;

/// Bytes of the smallest piece that the medium is written in; block sizes are multiples of it.
const UNIT: u64 = 512;

/// The formats that every namespace has: LBA data size as a power of two (NVM Command Set, section 4.1.5.1: `LBADS`).
const FORMATS: [u8; 2] = [9, 12];

/// How a command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Status code type and status code, `SCT << 8 | SC` (Base, section 3.3.3.2).
    Status(u16),
    /// Nothing came back: what became of the command is not known.
    NoAnswer,
}

/// What reads of deallocated blocks return (NVM Command Set, section 4.1.5.1: `DLFEAT` bits 2:0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deallocated {
    /// 0: not reported. This controller then deallocates nothing, as it may.
    NotReported,
    /// 1: zeros.
    Zeros,
    /// 2: ones.
    Ones,
}

/// What the controller can sanitize with (Base, section 5.17.2.1: `SANICAP`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a bit of the specification's")]
pub struct SanitizeCapabilities {
    /// Bit 0.
    pub crypto_erase: bool,
    /// Bit 1.
    pub block_erase: bool,
    /// Bit 2.
    pub overwrite: bool,
    /// Bit 29: `NDAS` is not followed.
    pub no_deallocate_inhibited: bool,
    /// Bits 31:30.
    pub no_deallocate_modifies_media: u8,
}

/// How Format NVM behaves (Base, section 5.17.2.1: `FNA`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a bit of the specification's")]
pub struct FormatAttributes {
    /// Bit 0: a format applies to all namespaces.
    pub formats_all: bool,
    /// Bit 1: a secure erase applies to all namespaces.
    pub erases_all: bool,
    /// Bit 2: cryptographic erase is supported.
    pub crypto_erase: bool,
    /// Bit 3: the identifier of all namespaces is not taken.
    pub broadcast_forbidden: bool,
}

/// A namespace as it is at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Its size in bytes; a multiple of 4096.
    pub bytes: u64,
    /// Which of the two formats it has: 0 is 512 bytes a block, 1 is 4096.
    pub format: u8,
    /// Whether the controller has it.
    pub is_attached: bool,
    /// Whether it is write protected (Base, section 8.12).
    pub is_write_protected: bool,
    /// Its NGUID.
    pub nguid: [u8; 16],
    /// Its EUI-64.
    pub eui64: [u8; 8],
}

impl Namespace {
    /// Returns an attached namespace of 512-byte blocks.
    pub fn new(bytes: u64, number: u8) -> Self {
        let mut nguid = [0x11; 16];
        nguid[15] = number;
        Self {
            bytes,
            format: 0,
            is_attached: true,
            is_write_protected: false,
            nguid,
            eui64: [0, 0x25, 0x38, 0, 0, 0, 0, number],
        }
    }

    fn block_bytes(&self) -> u64 {
        1 << FORMATS[usize::from(self.format)]
    }

    fn blocks(&self) -> u64 {
        self.bytes / self.block_bytes()
    }
}

/// What is simulated. The default is a small drive with one namespace that can do everything.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own")]
pub struct Config {
    /// Serial number, at most 20 letters.
    pub serial: String,
    /// Model, at most 40 letters.
    pub model: String,
    /// Total NVM capacity in bytes (`TNVMCAP`); what namespaces do not take is unallocated.
    pub capacity_bytes: u64,
    /// Bytes of flash beyond that.
    pub spare_bytes: u64,
    /// The namespaces by identifier.
    pub namespaces: BTreeMap<u32, Namespace>,
    /// Whether the controller encrypts what it stores: where it does not, changing keys changes nothing, whatever is said of it.
    pub encrypts: bool,
    /// `None`: the controller knows no Sanitize.
    pub sanitize: Option<SanitizeCapabilities>,
    /// `None`: the controller knows no Format NVM.
    pub format: Option<FormatAttributes>,
    /// Whether namespaces can be created and deleted.
    pub manages_namespaces: bool,
    /// Whether Write Zeroes is supported.
    pub write_zeroes: bool,
    /// The most that one Write Zeroes takes, as a power of two in units of 4 KiB (`WZSL`); 0 is no limit.
    pub write_zeroes_limit: u8,
    /// Whether Dataset Management is supported.
    pub deallocate: bool,
    /// What deallocated blocks read as.
    pub deallocated: Deallocated,
    /// How long a sanitize takes (an overwrite: each pass).
    pub sanitize_time: Duration,
    /// Whether the sanitize log has estimates of it.
    pub estimates: bool,
    /// How long a format with secure erase takes.
    pub format_time: Duration,
    /// What becomes of a sanitize.
    pub sanitize_course: Course,
    /// What becomes of a format with secure erase: `SticksAt` is one that never completes.
    pub format_course: Course,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            serial: "NVME0001".to_owned(),
            model: "Simulated NVMe".to_owned(),
            capacity_bytes: 64 << 10,
            spare_bytes: 16 << 10,
            namespaces: BTreeMap::from([(1, Namespace::new(64 << 10, 1))]),
            encrypts: true,
            sanitize: Some(SanitizeCapabilities {
                crypto_erase: true,
                block_erase: true,
                overwrite: true,
                no_deallocate_inhibited: false,
                no_deallocate_modifies_media: 1,
            }),
            format: Some(FormatAttributes {
                formats_all: false,
                erases_all: false,
                crypto_erase: true,
                broadcast_forbidden: false,
            }),
            manages_namespaces: true,
            write_zeroes: true,
            write_zeroes_limit: 0,
            deallocate: true,
            deallocated: Deallocated::Zeros,
            sanitize_time: Duration::from_secs(100),
            estimates: true,
            format_time: Duration::from_secs(10),
            sanitize_course: Course::Finishes,
            format_course: Course::Finishes,
        }
    }
}

/// A controller with its namespaces and its flash.
#[derive(Debug, Clone)]
pub struct Controller {
    config: Config,
    namespaces: BTreeMap<u32, Namespace>,
    medium: Medium,
    sanitizing: Sanitizing,
    /// No-Deallocate Response Mode (Base, section 5.27.1): a warning instead of an error.
    warns_of_no_deallocate: bool,
    unsafe_shutdowns: u64,
    now: Duration,
    took: Duration,
    is_silent: bool,
    silent_after: Option<u32>,
    /// Power fails when so much of the next format, in 65,536ths, is done.
    cut_at: Option<u16>,
}

impl Controller {
    /// Returns a controller that has just got power.
    pub fn new(config: Config) -> Self {
        let allocated: u64 = config.namespaces.values().map(|namespace| namespace.bytes).sum();
        assert!(allocated <= config.capacity_bytes, "the namespaces are larger than the drive");
        let pages = (config.capacity_bytes + config.spare_bytes) / UNIT;
        Self {
            medium: Medium::flash(index(UNIT), pages, config.encrypts),
            namespaces: config.namespaces.clone(),
            sanitizing: Sanitizing::default(),
            warns_of_no_deallocate: false,
            unsafe_shutdowns: 0,
            now: Duration::ZERO,
            took: Duration::ZERO,
            is_silent: false,
            silent_after: None,
            cut_at: None,
            config,
        }
    }

    /// Executes an admin command: `dwords` are command dwords 10 to 15, `data` goes in either direction. Returns
    /// completion dword 0.
    pub fn admin(
        &mut self,
        opcode: u8,
        nsid: u32,
        dwords: [u32; 6],
        data: &mut [u8],
    ) -> Result<u32, Failure> {
        self.took = Duration::ZERO;
        match &mut self.silent_after {
            Some(0) => self.is_silent = true,
            Some(left) => *left -= 1,
            None => {}
        }
        if self.is_silent {
            return Err(Failure::NoAnswer);
        }
        if !sanitize::is_allowed(opcode, dwords[0]) {
            self.sanitizing.check().map_err(Failure::Status)?;
        }
        let done = match opcode {
            0x02 => self.get_log_page(nsid, dwords, data),
            0x06 => self.identify(nsid, dwords, data),
            0x09 => self.set_features(dwords),
            0x0a => self.get_features(dwords),
            0x0d if self.config.manages_namespaces => self.manage_namespace(nsid, dwords, data),
            0x15 if self.config.manages_namespaces => self.attach_namespace(nsid, dwords, data),
            0x80 => return self.format(nsid, dwords),
            0x84 => self.sanitize(dwords),
            _ => Err(status::INVALID_OPCODE),
        };
        done.map_err(Failure::Status)
    }

    /// Executes an I/O command.
    pub fn io(
        &mut self,
        opcode: u8,
        nsid: u32,
        dwords: [u32; 6],
        data: &mut [u8],
    ) -> Result<u32, Failure> {
        self.took = Duration::ZERO;
        if self.is_silent {
            return Err(Failure::NoAnswer);
        }
        self.execute_io(opcode, nsid, dwords, data).map_err(Failure::Status)
    }

    /// Reads blocks as the host sees them.
    pub fn read(&mut self, nsid: u32, lba: u64, blocks: u16) -> Result<Vec<u8>, Failure> {
        let block_bytes = self.namespaces.get(&nsid).map_or(UNIT, Namespace::block_bytes);
        let mut data = vec![0; index(block_bytes) * usize::from(blocks)];
        self.io(0x02, nsid, range(lba, blocks), &mut data)?;
        Ok(data)
    }

    /// Writes whole blocks.
    pub fn write(&mut self, nsid: u32, lba: u64, data: &[u8]) -> Result<(), Failure> {
        let block_bytes = self.namespaces.get(&nsid).map_or(UNIT, Namespace::block_bytes);
        for (number, block) in data.chunks(index(block_bytes)).enumerate() {
            self.io(0x01, nsid, range(lba + count(number), 1), &mut block.to_vec())?;
        }
        Ok(())
    }

    /// All that is stored in the flash, in no order: what is deallocated, unallocated and spare too.
    pub fn medium(&self) -> Vec<u8> {
        self.medium.contents()
    }

    /// Lets time pass.
    pub fn advance(&mut self, by: Duration) {
        self.now = self.now.saturating_add(by);
        self.advance_sanitize(by);
    }

    /// The device's own clock.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// How long the last command took until its completion came.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Takes power away and gives it back: a sanitize goes on (Base, section 8.21).
    pub fn power_cut(&mut self) {
        self.unsafe_shutdowns += 1;
        self.is_silent = false;
        self.silent_after = None;
        self.cut_at = None;
        self.reset();
    }

    /// Resets the controller: a sanitize goes on.
    pub fn reset(&mut self) {
        self.warns_of_no_deallocate = false;
    }

    /// Lets the controller answer so many admin commands more, and then none until power was cut.
    pub fn go_silent_after(&mut self, commands: u32) {
        self.silent_after = Some(commands);
    }

    /// Cuts power when so much of the next format with secure erase, in 65,536ths, is done.
    pub fn cut_power_in_format(&mut self, at: u16) {
        self.cut_at = Some(at);
    }

    /// Changes what becomes of the sanitize commands to come.
    pub fn set_sanitize_course(&mut self, course: Course) {
        self.config.sanitize_course = course;
    }

    /// Changes what becomes of the formats to come.
    pub fn set_format_course(&mut self, course: Course) {
        self.config.format_course = course;
    }

    /// The namespaces that there are, attached or not.
    pub fn namespaces(&self) -> &BTreeMap<u32, Namespace> {
        &self.namespaces
    }

    /// Feature 0x17, Sanitize Config (Base, section 5.27.1), is the one that there is.
    fn set_features(&mut self, dwords: [u32; 6]) -> Result<u32, u16> {
        if bits(dwords[0], 0, 7) != 0x17 || self.config.sanitize.is_none() {
            return Err(status::INVALID_FIELD);
        }
        self.warns_of_no_deallocate = bits(dwords[1], 0, 0) == 1;
        Ok(0)
    }

    fn get_features(&self, dwords: [u32; 6]) -> Result<u32, u16> {
        if bits(dwords[0], 0, 7) != 0x17 || self.config.sanitize.is_none() {
            return Err(status::INVALID_FIELD);
        }
        Ok(u32::from(self.warns_of_no_deallocate))
    }
}

/// Dwords 10 to 15 of a command on a range of blocks.
fn range(lba: u64, blocks: u16) -> [u32; 6] {
    let [low, high] = [lba & 0xffff_ffff, lba >> 32];
    let half = |word: u64| u32::try_from(word).expect("32 bits are left");
    [half(low), half(high), u32::from(blocks.saturating_sub(1)), 0, 0, 0]
}
