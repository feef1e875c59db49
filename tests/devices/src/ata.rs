//! An ATA disk behind a translation layer (ACS-4; SAT-4).

mod capacity;
mod identify;
mod pass_through;
mod sanitize;
mod security;
#[cfg(test)]
mod tests;
mod transfer;

use std::time::Duration;

use self::{capacity::Capacity, pass_through::Task, sanitize::Sanitizing, security::Security};
pub use self::{sanitize::SanitizeCapabilities, security::SecurityCapabilities};
use crate::{Answer, Course, NoAnswer, medium::Medium};

/// Bytes of a logical sector.
pub const SECTOR: usize = 512;

/// Error register: the command was aborted (ACS-4, ERROR field).
pub const ABORTED: u8 = 1 << 2;

/// Error register: the address was not found.
pub const NOT_FOUND: u8 = 1 << 4;

/// How a command failed, as the registers have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort {
    /// The error register.
    pub error: u8,
    /// The LBA registers; where a sanitize command failed, its reason.
    pub lba: u64,
}

impl Abort {
    /// Aborted, for no reason that is told.
    pub const PLAIN: Self = Self { error: ABORTED, lba: 0 };
}

/// What a command that succeeded leaves in the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Output {
    count: u16,
    lba: u64,
    transferred: usize,
}

/// What reads of trimmed sectors return (ACS-4, IDENTIFY DEVICE word 69 bits 14 and 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trimmed {
    /// Neither bit: this disk returns what was there.
    Anything,
    /// DRAT: always the same; this disk returns ones.
    Deterministic,
    /// DRAT and RZAT: zeros.
    Zeros,
}

/// What the medium is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Platters: sectors are written in place.
    Rotating,
    /// Flash, with what reads return after a trim; `None` is a disk without trim.
    Flash(Option<Trimmed>),
}

/// When the machine's firmware freezes the security feature set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freezing {
    /// Never.
    Never,
    /// When the machine starts, but not when it resumes.
    AtStart,
    /// When it starts and when it resumes.
    Always,
}

/// What is between the host and the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bridge {
    /// A translation layer as SAT has it.
    Honest,
    /// As QEMU's: every command but IDENTIFY DEVICE is aborted.
    AbortsAll,
    /// Says GOOD without sense data whatever the registers hold.
    WithoutSense,
    /// Names another size than the disk's, as those do that put several disks together.
    OtherSize,
    /// Knows no pass-through at all.
    WithoutPassThrough,
}

/// What is simulated. The default is a small rotating disk that can everything that one can.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own")]
pub struct Config {
    /// Serial number, at most 20 letters.
    pub serial: String,
    /// Model, at most 40 letters.
    pub model: String,
    /// World wide name.
    pub wwn: u64,
    /// Sectors that the factory made accessible.
    pub sectors: u64,
    /// Sectors beyond that: for reallocation, or over-provisioned.
    pub spare_sectors: u64,
    /// What it is made of.
    pub kind: Kind,
    /// Whether the disk encrypts what it stores: where it does not, changing keys changes nothing, whatever is said of it.
    pub encrypts: bool,
    /// `None`: no security feature set.
    pub security: Option<SecurityCapabilities>,
    /// When the firmware freezes it.
    pub freezing: Freezing,
    /// `None`: no sanitize feature set.
    pub sanitize: Option<SanitizeCapabilities>,
    /// Whether the firmware freezes sanitizing too, each time when the machine starts.
    pub sanitize_is_frozen: bool,
    /// Whether there is the host protected area feature set (READ NATIVE MAX, SET MAX).
    pub protected_area: bool,
    /// Whether there is the accessible maximum address feature set.
    pub accessible_maximum: bool,
    /// Whether there is the device configuration overlay feature set.
    pub overlay: bool,
    /// The highest accessible address that was set, persistently; `None` is all.
    pub maximum_address: Option<u64>,
    /// The highest native address as the overlay has it; `None` is all.
    pub overlay_address: Option<u64>,
    /// What is in between.
    pub bridge: Bridge,
    /// What becomes of a security erase: `SticksAt` is one that never completes.
    pub erase_course: Course,
    /// What becomes of a sanitize.
    pub sanitize_course: Course,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            serial: "ATA0001".to_owned(),
            model: "Simulated ATA".to_owned(),
            wwn: 0x5000_c500_0000_0001,
            sectors: 128,
            spare_sectors: 16,
            kind: Kind::Rotating,
            encrypts: false,
            security: Some(SecurityCapabilities {
                enhanced_erase: true,
                erase_minutes: 4,
                enhanced_minutes: 6,
                master: *b"                                ",
            }),
            freezing: Freezing::Never,
            sanitize: Some(SanitizeCapabilities {
                crypto_scramble: false,
                block_erase: false,
                overwrite: true,
                antifreeze: true,
                time: Duration::from_secs(100),
            }),
            sanitize_is_frozen: false,
            protected_area: true,
            accessible_maximum: false,
            overlay: true,
            maximum_address: None,
            overlay_address: None,
            bridge: Bridge::Honest,
            erase_course: Course::Finishes,
            sanitize_course: Course::Finishes,
        }
    }
}

impl Config {
    /// Returns a solid state disk that can everything that one can.
    pub fn solid_state() -> Self {
        let mut config =
            Self { kind: Kind::Flash(Some(Trimmed::Zeros)), encrypts: true, ..Self::default() };
        config.sanitize = Some(SanitizeCapabilities {
            crypto_scramble: true,
            block_erase: true,
            overwrite: false,
            antifreeze: true,
            time: Duration::from_secs(100),
        });
        (config.protected_area, config.accessible_maximum, config.overlay) = (false, true, false);
        config
    }
}

/// A disk.
#[derive(Debug, Clone)]
pub struct Disk {
    config: Config,
    medium: Medium,
    security: Security,
    sanitizing: Sanitizing,
    capacity: Capacity,
    /// The command that was executed before this one: some must follow another at once.
    previous: u8,
    now: Duration,
    took: Duration,
    is_silent: bool,
    /// Power fails when so much of the next security erase, in 65,536ths, is done.
    cut_at: Option<u16>,
}

impl Disk {
    /// Returns a disk of a machine that has just started.
    pub fn new(config: Config) -> Self {
        let (sectors, spare) = (config.sectors, config.spare_sectors);
        let medium = match config.kind {
            Kind::Rotating => Medium::rotating(SECTOR, sectors, spare, config.encrypts),
            Kind::Flash(_) => Medium::flash(SECTOR, sectors + spare, config.encrypts),
        };
        let mut disk = Self {
            medium,
            security: Security::new(config.security.as_ref()),
            sanitizing: Sanitizing::default(),
            capacity: Capacity::new(&config),
            previous: 0,
            now: Duration::ZERO,
            took: Duration::ZERO,
            is_silent: false,
            cut_at: None,
            config,
        };
        disk.start(disk.config.freezing != Freezing::Never);
        disk
    }

    /// Executes a SCSI command: ATA PASS-THROUGH (12) and (16), INQUIRY, READ CAPACITY (16).
    pub fn execute(&mut self, cdb: &[u8], data: &mut [u8]) -> Result<Answer, NoAnswer> {
        self.took = Duration::ZERO;
        if self.is_silent {
            return Err(NoAnswer);
        }
        self.pass_through(cdb, data)
    }

    fn command(&mut self, task: Task, data: &mut [u8]) -> Result<Result<Output, Abort>, NoAnswer> {
        let previous = std::mem::replace(&mut self.previous, task.command);
        if !self.sanitizing.allows(task) || !self.security.allows(task.command) {
            return Ok(Err(Abort::PLAIN));
        }
        Ok(match task.command {
            0xec => {
                let page = self.identify_page();
                Ok(Output { transferred: crate::layout::answer(data, &page), ..Output::default() })
            }
            0x24 | 0x25 => self.read_sectors(task, data),
            0x34 | 0x35 => self.write_sectors(task, data),
            0x06 => self.trim(task, data),
            // FLUSH CACHE, FLUSH CACHE EXT; there is no cache that would lose anything.
            0xe7 | 0xea => Ok(Output::default()),
            // CHECK POWER MODE: active or idle.
            0xe5 => Ok(Output { count: 0xff, ..Output::default() }),
            0x27 | 0xf8 if self.config.protected_area => Ok(self.read_native_maximum(task)),
            0x37 | 0xf9 if self.config.protected_area => self.set_maximum(task, previous),
            0x78 if self.config.accessible_maximum => self.configure_accessible_maximum(task),
            0xb1 if self.config.overlay => self.configure_overlay(task, data),
            0xb4 => self.sanitize_device(task),
            0xf4 => return self.erase_unit(previous, data),
            0xf1..=0xf6 => self.secure(task.command, data),
            _ => Err(Abort::PLAIN),
        })
    }

    /// Reads sectors as the host sees them.
    pub fn read(&mut self, lba: u64, sectors: u16) -> Result<Vec<u8>, Abort> {
        let mut data = vec![0; usize::from(sectors) * SECTOR];
        let task = Task { command: 0x25, count: sectors, lba, ..Task::default() };
        let answer = if self.is_silent { Err(NoAnswer) } else { self.command(task, &mut data) };
        answer.unwrap_or(Err(Abort::PLAIN)).map(|_| data)
    }

    /// Writes whole sectors.
    pub fn write(&mut self, lba: u64, data: &[u8]) -> Result<(), Abort> {
        let count = u16::try_from(data.len() / SECTOR).expect("at most 32 MiB at once");
        let task = Task { command: 0x35, count, lba, ..Task::default() };
        let mut data = data.to_vec();
        let answer = if self.is_silent { Err(NoAnswer) } else { self.command(task, &mut data) };
        answer.unwrap_or(Err(Abort::PLAIN)).map(|_| ())
    }

    /// All that is stored: hidden areas, spare sectors and sectors that were replaced too.
    pub fn medium(&self) -> Vec<u8> {
        self.medium.contents()
    }

    /// How many sectors the host can reach.
    pub fn accessible_sectors(&self) -> u64 {
        self.capacity.maximum + 1
    }

    /// Replaces a sector by a spare one, as one that became weak: what it held stays on the medium.
    pub fn reallocate(&mut self, lba: u64) -> bool {
        self.medium.reallocate(0, lba)
    }

    /// Writes where the host may not reach: what somebody else left in a hidden area.
    pub fn write_hidden(&mut self, lba: u64, data: &[u8]) {
        for (sector, piece) in (lba..).zip(data.chunks(SECTOR)) {
            self.medium.write(0, sector, piece);
        }
    }

    /// Lets time pass.
    pub fn advance(&mut self, by: Duration) {
        self.now = self.now.saturating_add(by);
        self.sanitizing.advance(by, &mut self.medium);
    }

    /// The disk's own clock.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// How long the last command took until its answer came.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Restarts the machine with a cut of power: passwords stay and lock, a sanitize goes on, the firmware may freeze.
    pub fn power_cut(&mut self) {
        self.start(self.config.freezing != Freezing::Never);
    }

    /// Suspends the machine to memory and wakes it: the disk was without power, the firmware does less.
    pub fn suspend(&mut self) {
        self.start(self.config.freezing == Freezing::Always);
    }

    /// Resets the link: the security feature set stays frozen (software settings preservation, Serial ATA), the sanitize
    /// feature set does not.
    pub fn reset(&mut self) {
        self.previous = 0;
        self.sanitizing.reset();
    }

    /// Cuts power when so much of the next security erase, in 65,536ths, is done.
    pub fn cut_power_in_erase(&mut self, at: u16) {
        self.cut_at = Some(at);
    }

    /// Changes what becomes of the security erases to come.
    pub fn set_erase_course(&mut self, course: Course) {
        self.config.erase_course = course;
    }

    /// Changes what becomes of the sanitize commands to come.
    pub fn set_sanitize_course(&mut self, course: Course) {
        self.config.sanitize_course = course;
    }

    /// Freezes the security feature set, as firmware does.
    pub fn freeze(&mut self) {
        self.security.freeze();
    }

    fn start(&mut self, freezes: bool) {
        self.previous = 0;
        self.is_silent = false;
        self.cut_at = None;
        self.security.start(freezes);
        self.sanitizing.start(self.config.sanitize_is_frozen);
        self.capacity.start();
    }

    /// Which pages hold the sectors that the host could reach without a protected area, and, for an enhanced erase, all
    /// that were replaced: not what the overlay hides.
    fn user_pages(&self, with_replaced: bool) -> Vec<usize> {
        let native = self.capacity.native;
        let hidden = self.medium.seen(0, native + 1..u64::MAX);
        if with_replaced {
            (0..self.medium.page_count()).filter(|page| !hidden.contains(page)).collect()
        } else {
            self.medium.seen(0, 0..native + 1)
        }
    }

    fn is_flash(&self) -> bool {
        matches!(self.config.kind, Kind::Flash(_))
    }
}
