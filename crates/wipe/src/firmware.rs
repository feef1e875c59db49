//! The device's own erasure: what it can is asked, never tried; what it says is evidence of nothing.
//!
//! ```text
//! examine ─► what it offers, what stands in the way, whether an erasure runs already (then: rejoin)
//! recover ─► an ATA password of ours is taken off
//! lift_hidden ─► HPA, DCO, AMA, only when ordered
//! apply ─► Done │ Failed: nothing runs, the next technique may be tried │ Unknown: nothing else may be tried
//! ```
//!
//! An erasure that a device has begun goes on when nobody watches it, over resets and power cuts. So whatever is not
//! known after it was begun is [`Ended::Unknown`]; and `Done` means only that the device says so.
//! Codecs (`command`, `identify`, `passthrough`, `sense`, `register`) know bytes and no policy; the others the reverse.

mod ata;
mod bytes;
mod mmc;
mod nvme;
mod opal;
mod polling;
mod questions;
mod scsi;
mod tape;
#[cfg(test)]
mod tests;

use std::{io, time::Duration};

use disk::command::{MmcDevice, NvmeController, OpalDevice, ScsiDevice};
use protocol::wipe::{Capability, Ended, Expected, RawCommand, Technique, TechniqueOutcome};

use crate::{Stopped, Watch};

use self::{questions::Questions, tape::Tape};

/// What commands a disk takes, and where. The caller has made sure that it is the ordered disk.
#[derive(Debug, Clone, Copy)]
pub enum Device<'d> {
    /// A namespace of an NVMe controller.
    Nvme {
        /// The controller that the namespace was found on by the kernel's topology, not by its name.
        controller: &'d dyn NvmeController,
        /// The ordered namespace.
        nsid: u32,
    },
    /// An ATA disk, which is spoken to through SCSI's ATA PASS-THROUGH.
    Ata {
        /// Where.
        device: &'d dyn ScsiDevice,
    },
    /// A SCSI disk.
    Scsi {
        /// Where.
        device: &'d dyn ScsiDevice,
    },
    /// An eMMC.
    Mmc {
        /// Where.
        device: &'d dyn MmcDevice,
        /// The user area's size in bytes.
        size: u64,
    },
    /// A disk that takes none: a virtual one, a RAID volume.
    None,
}

/// What a device says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Examined {
    /// The model, as the device itself says.
    pub model: Option<String>,
    /// The serial number, as the device itself says: to be compared with the order's once more.
    pub serial: Option<String>,
    /// The firmware's revision.
    pub firmware: Option<String>,
    /// The fields that all this was read from.
    pub capabilities: Vec<Capability>,
    /// Its own ways to erase, in the order in which they are to be tried.
    pub techniques: Vec<Offered>,
    /// An erasure that is running already: to be rejoined before anything else.
    pub running: Option<Running>,
    /// Whether the device was asked whether an erasure runs, and gave no answer that can be understood; or something in
    /// between keeps it from being asked. False for what has no sanitize: there is nothing to ask.
    pub is_standing_unknown: bool,
    /// Whether the last sanitize failed. Until that is left everything else may be refused; [`apply`] leaves it.
    pub is_sanitize_failed: bool,
    /// What stands in the way, or is not covered.
    pub obstacles: Vec<Obstacle>,
    /// The size as made, where the device says so.
    pub native_bytes: Option<u64>,
    /// What discarded addresses read as; absent where the device promises nothing.
    pub discarded_reads: Option<Expected>,
    /// What no erasure of this device reaches.
    pub out_of_scope: Vec<String>,
}

/// A way to erase that a device says it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offered {
    /// Which.
    pub technique: Technique,
    /// How long it takes, where the device says.
    pub estimate: Option<Duration>,
    /// What it erases.
    pub reach: Reach,
    /// What reading finds afterwards.
    pub expected: Expected,
}

/// What a technique erases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// What the disk's addresses hold, and no other disk.
    Addressed,
    /// The device's whole medium: all namespaces and unallocated room too, and so all of them must be ordered.
    Everything,
}

/// An erasure that was found running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Which, where the device says; SCSI and ATA do not, but the journal may know.
    pub technique: Option<Technique>,
    /// How far, in 65,536ths, where the device says.
    pub progress: Option<u16>,
}

/// Something that stands in the way of erasing a disk, or of erasing all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// ATA security is locked: nothing can be read or written without the password.
    Locked,
    /// An ATA password is set, but the disk is unlocked.
    PasswordSet,
    /// ATA security was frozen since power-on, by firmware as a rule: lifted by a suspend to memory.
    Frozen,
    /// ATA SANITIZE was frozen until the next power cycle.
    SanitizeFrozen,
    /// Too many wrong ATA passwords since power-on: lifted by a power cycle.
    PasswordAttemptsExpired,
    /// Sectors that cannot be addressed.
    Hidden {
        /// By what.
        by: Hiding,
        /// The size with them, in bytes.
        native_bytes: u64,
        /// The size without them, in bytes.
        accessible_bytes: u64,
    },
    /// The disk refuses writes.
    WriteProtected,
    /// A bridge or RAID controller between answers for the disk, and not faithfully: no command of erasure is sent.
    Bridge {
        /// How that shows.
        words: &'static str,
    },
    /// Other namespaces of the same NVM subsystem: sanitize erases them too.
    NamespacesBeside {
        /// Their numbers.
        nsids: Vec<u32>,
    },
    /// Room of the NVM subsystem in no namespace: only sanitize reaches it.
    Unallocated {
        /// How much.
        bytes: u64,
    },
    /// Sectors that are not 512 or 4,096 bytes, or carry protection information.
    Sectors {
        /// The size of a sector's data in bytes.
        data_bytes: u32,
        /// The size of its metadata in bytes.
        metadata_bytes: u32,
        /// Whether T10 protection information is on.
        is_protected: bool,
    },
    /// After a sanitize its sectors cannot be read before they are written: reading back needs a pass of zeros first.
    UnreadableAfterSanitize,
    /// A range of a self-encrypting disk is locked.
    OpalLocked,
}

/// What hides sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hiding {
    /// The host protected area.
    Hpa,
    /// The device configuration overlay.
    Dco,
    /// The accessible maximum address.
    Ama,
}

/// What the order says of how a device's own erasure is used.
#[derive(Clone)]
pub struct Settings {
    /// The ATA password that is set so that the disk can erase itself: follows from the order's seed and the disk.
    pub password: [u8; 32],
    /// The identifier on a self-encrypting disk's label.
    pub psid: Option<Vec<u8>>,
    /// The owner's credential of a self-encrypting disk.
    pub sid: Option<Vec<u8>>,
    /// After this long without progress an erasure is no longer waited for. At least; twice the device's estimate where
    /// that is more.
    pub patience: Duration,
}

/// How lifting hidden sectors went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifted {
    /// The size before, in bytes.
    pub before_bytes: u64,
    /// The size after, as the device says: the kernel has to be told to look again.
    pub after_bytes: u64,
    /// Why some are hidden still; absent where none are.
    pub failure: Option<String>,
    /// The raw commands.
    pub commands: Vec<RawCommand>,
}

/// How taking off an ATA password went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// How the disk stands.
    pub state: Recovered,
    /// The raw commands.
    pub commands: Vec<RawCommand>,
}

/// How a disk stands after [`recover`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// No password was set.
    Unneeded,
    /// The password is off, seen in what the disk says of itself.
    Free,
    /// The password is still set.
    Refused {
        /// For a person.
        words: String,
    },
}

/// Why a device could not be examined.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// A command did not reach the device, or its answer did not come.
    #[error("asking the device: {name}")]
    NoAnswer {
        /// The command's name.
        name: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
    /// The device refused a question that it has to answer.
    #[error("the device refused {name}, completion {completion}")]
    Refused {
        /// The command's name.
        name: &'static str,
        /// Its completion in hexadecimal digits.
        completion: String,
    },
    /// The wipe was stopped meanwhile.
    #[error("stopped while asking the device")]
    Stopped(#[source] Stopped),
}

/// Without progress for this long, an erasure is stuck unless the device itself announced more.
pub const PATIENCE: Duration = Duration::from_hours(2); // slow disks report a step of an overwrite in seconds

impl Settings {
    /// Returns settings with nothing but an ATA password.
    pub fn with_password(password: [u8; 32]) -> Self {
        Self { password, psid: None, sid: None, patience: PATIENCE }
    }
}

// What opens a self-encrypting disk is no business of logs.
impl std::fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Settings")
            .field("has_psid", &self.psid.is_some())
            .field("has_sid", &self.sid.is_some())
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl Obstacle {
    /// Holds for what keeps anything from being written.
    pub(crate) fn is_shut(&self) -> bool {
        matches!(self, Self::Locked | Self::WriteProtected | Self::OpalLocked)
    }
}

impl Examined {
    fn says(&mut self, name: &str, value: impl std::fmt::LowerHex, digits: usize) {
        let value = format!("{value:0digits$x}");
        self.capabilities.push(Capability { name: name.to_owned(), value });
    }

    fn offers(
        &mut self,
        technique: Technique,
        estimate: Option<Duration>,
        reach: Reach,
        expected: Expected,
    ) {
        self.techniques.push(Offered { technique, estimate, reach, expected });
    }
}

/// Asks a device what it can and how it stands. Sends nothing that changes anything: whatever is no question is refused
/// before it is sent.
pub fn examine(
    device: &Device<'_>,
    opal: Option<&dyn OpalDevice>,
    watch: &dyn Watch,
) -> Result<Examined, FirmwareError> {
    watch.check().map_err(FirmwareError::Stopped)?;
    let mut examined = match *device {
        Device::Nvme { controller, nsid } => nvme::examine(&Questions(controller), nsid)?,
        Device::Ata { device } => ata::examine(&Questions(device))?,
        Device::Scsi { device } => scsi::examine(&Questions(device))?,
        Device::Mmc { device, size } => mmc::examine(&Questions(device), size)?,
        Device::None => Examined::default(),
    };
    if let Some(opal) = opal {
        opal::examine(&Questions(opal), &mut examined);
    }
    Ok(examined)
}

/// Has a device erase itself, and waits for the end. What may be erased was checked before: a technique that reaches
/// [`Everything`](Reach::Everything) erases whatever else the device holds.
///
/// FORMAT NVM and SECURITY ERASE UNIT are answered when they are over: whoever cancels is heard only then. The others go
/// on by themselves, and whoever cancels gets [`Ended::Unknown`] in a second.
///
/// Asks the device once more whether it has the technique, and refuses where it says no.
pub fn apply(
    device: &Device<'_>,
    opal: Option<&dyn OpalDevice>,
    technique: Technique,
    settings: &Settings,
    watch: &dyn Watch,
) -> TechniqueOutcome {
    run(technique, watch, |tape| {
        use Technique as T;
        if let Err(stopped) = watch.check() {
            return Ending::failed(format!("not begun: {stopped}"));
        }
        match (technique, *device, opal) {
            (T::OpalPsidRevert | T::OpalSidRevert, _, Some(opal)) => {
                opal::apply(opal, technique, settings, watch, tape)
            }
            (
                T::NvmeSanitizeBlock | T::NvmeSanitizeCrypto | T::NvmeSanitizeOverwrite,
                Device::Nvme { controller, .. },
                _,
            ) => nvme::sanitize(controller, technique, settings, watch, tape),
            (T::NvmeFormatCrypto | T::NvmeFormatErase, Device::Nvme { controller, nsid }, _) => {
                nvme::format(controller, nsid, technique, settings, watch, tape)
            }
            (
                T::AtaSanitizeBlock | T::AtaSanitizeCrypto | T::AtaSanitizeOverwrite,
                Device::Ata { device },
                _,
            ) => ata::sanitize(device, technique, settings, watch, tape),
            (T::AtaSecurityErase | T::AtaSecurityEraseEnhanced, Device::Ata { device }, _) => {
                ata::security_erase(device, technique, settings, watch, tape)
            }
            (
                T::ScsiSanitizeBlock
                | T::ScsiSanitizeCrypto
                | T::ScsiSanitizeOverwrite
                | T::ScsiFormatUnit,
                Device::Scsi { device },
                _,
            ) => scsi::apply(device, technique, settings, watch, tape),
            (T::MmcSecureErase | T::MmcSanitize, Device::Mmc { device, size }, _) => {
                mmc::apply(device, size, technique, watch, tape)
            }
            _ => Ending::failed("this is no technique of this device"),
        }
    })
}

/// Waits for the end of an erasure that [`examine`] found running. Begins nothing.
pub fn rejoin(device: &Device<'_>, running: &Running, watch: &dyn Watch) -> TechniqueOutcome {
    run(running.technique.unwrap_or(Technique::Other), watch, |tape| match *device {
        Device::Nvme { controller, nsid } => nvme::rejoin(controller, nsid, PATIENCE, watch, tape),
        Device::Ata { device } => ata::rejoin(device, PATIENCE, watch, tape),
        Device::Scsi { device } => scsi::rejoin(device, PATIENCE, watch, tape),
        Device::Mmc { .. } | Device::None => Ending::failed("this device erases nothing by itself"),
    })
}

/// Makes hidden sectors addressable: host protected area, configuration overlay, accessible maximum. Only when ordered.
/// Returns `None` for devices that have no such thing.
pub fn lift_hidden(
    device: &Device<'_>,
    watch: &dyn Watch,
) -> Result<Option<Lifted>, FirmwareError> {
    let Device::Ata { device } = *device else { return Ok(None) };
    watch.check().map_err(FirmwareError::Stopped)?;
    ata::lift_hidden(device).map(Some)
}

/// Takes an ATA password off that an earlier boot set and a power cut left: tries those that may be it, the likeliest first, then
/// those that stand for none. Four attempts, since a fifth wrong one locks the disk until it is switched off.
pub fn recover(
    device: &Device<'_>,
    passwords: &[[u8; 32]],
    watch: &dyn Watch,
) -> Result<Recovery, FirmwareError> {
    let Device::Ata { device } = *device else {
        return Ok(Recovery { state: Recovered::Unneeded, commands: Vec::new() });
    };
    watch.check().map_err(FirmwareError::Stopped)?;
    ata::recover(device, passwords)
}

/// How a technique ended, and why not otherwise.
#[derive(Debug)]
struct Ending {
    ended: Ended,
    reason: Option<String>,
}

impl Ending {
    fn done() -> Self {
        Self { ended: Ended::Done, reason: None }
    }

    /// Done, with something to say of it.
    fn done_but(reason: impl Into<String>) -> Self {
        Self { ended: Ended::Done, reason: Some(reason.into()) }
    }

    /// Nothing runs: another technique may be tried.
    fn failed(reason: impl Into<String>) -> Self {
        Self { ended: Ended::Failed, reason: Some(reason.into()) }
    }

    /// Something may run: nothing else may be tried.
    fn unknown(reason: impl Into<String>) -> Self {
        Self { ended: Ended::Unknown, reason: Some(reason.into()) }
    }
}

fn run(
    technique: Technique,
    watch: &dyn Watch,
    work: impl FnOnce(&mut Tape) -> Ending,
) -> TechniqueOutcome {
    let begun = watch.elapsed();
    let mut tape = Tape::default();
    let ending = work(&mut tape);
    let took = watch.elapsed().saturating_sub(begun);
    TechniqueOutcome {
        technique,
        pass: 0,
        ended: ending.ended,
        reason: ending.reason,
        commands: tape.into_commands(),
        milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}
