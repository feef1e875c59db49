//! Commands that a device takes beside reading and writing: raw bytes, whose meaning is the caller's.
//!
//! Real devices and those that tests make up both answer through these. That a command was accepted says nothing of
//! what it did.

use std::{fmt, io, time::Duration};

/// What goes along with a command.
#[derive(Debug)]
pub enum Data<'d> {
    /// Nothing.
    None,
    /// What the device answers.
    In(&'d mut [u8]),
    /// What it is sent.
    Out(&'d [u8]),
}

/// An NVMe admin command (NVM Express Base Specification 2.0, section 3.3.3.1). Reserved fields are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NvmeCommand {
    /// What is to be done.
    pub opcode: u8,
    /// On which namespace; `0xffff_ffff` is all.
    pub nsid: u32,
    /// Command dwords 10 to 15.
    pub dwords: [u32; 6],
}

/// How an NVMe command failed.
#[derive(Debug, thiserror::Error)]
pub enum NvmeFailure {
    /// The controller answered so: status code type and status code, `SCT << 8 | SC`, without Do Not Retry and More.
    #[error("status {0:#05x}")]
    Status(u16),
    /// The command did not reach the controller, or its answer did not come in time. What became of it is not known.
    #[error("no answer")]
    NoAnswer(#[source] io::Error),
}

/// An NVMe controller's admin queue.
pub trait NvmeController: fmt::Debug + Send + Sync {
    /// Sends a command and waits at most `limit` for its completion. Returns completion dword 0.
    fn admin(
        &self,
        command: &NvmeCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> Result<u32, NvmeFailure>;
}

/// The answer to a SCSI command that reached its device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScsiAnswer {
    /// The status byte (SAM-5, section 5.3.1): 0 is GOOD, 2 CHECK CONDITION.
    pub status: u8,
    /// Sense data as the device returned it; empty where it returned none.
    pub sense: Vec<u8>,
    /// How many bytes of data were transferred.
    pub transferred: usize,
}

/// A device that takes SCSI commands; ATA disks take them through ATA PASS-THROUGH (SAT).
pub trait ScsiDevice: fmt::Debug + Send + Sync {
    /// Sends a command and waits at most `limit` for its answer. An error is a command that did not reach the device, or
    /// whose answer did not come: what became of it is not known.
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer>;
}

/// A command to an MMC card (JESD84-B51, section 6.10), as the kernel takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MmcCommand {
    /// The command's index: 6 is SWITCH, 8 is `SEND_EXT_CSD`.
    pub index: u32,
    /// Its argument.
    pub argument: u32,
    /// The kind of answer, as `<linux/mmc/ioctl.h>` has it.
    pub flags: u32,
    /// Whether the card is written to.
    pub is_write: bool,
}

/// An eMMC or SD card.
pub trait MmcDevice: fmt::Debug + Send + Sync {
    /// Sends a command and waits at most `limit`. Returns the answer's four words.
    fn command(
        &self,
        command: &MmcCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> io::Result<[u32; 4]>;

    /// Has the kernel erase a range securely (`BLKSECDISCARD`): whole erase groups, in bytes.
    fn secure_discard(&self, offset: u64, length: u64) -> io::Result<()>;
}

/// What the kernel says of a self-encrypting disk (`IOC_OPAL_GET_STATUS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpalStatus {
    /// The kernel's `OPAL_FL_…` bits (`<linux/sed-opal.h>`).
    pub flags: u32,
}

/// How a self-encrypting disk refused.
#[derive(Debug, thiserror::Error)]
pub enum OpalFailure {
    /// The disk answered with a TCG method status (TCG Storage Architecture Core Specification 2.01, table 166).
    #[error("method status {0:#04x}")]
    Status(u8),
    /// The kernel could not speak to it.
    #[error("no answer")]
    NoAnswer(#[source] io::Error),
}

/// A self-encrypting disk that speaks TCG Opal, through the kernel.
pub trait OpalDevice: fmt::Debug + Send + Sync {
    /// Asks how it stands.
    fn status(&self) -> io::Result<OpalStatus>;

    /// Reverts it with the identifier on its label: new media keys, everything unlocked.
    fn revert_with_psid(&self, psid: &[u8]) -> Result<(), OpalFailure>;

    /// Reverts it with the owner's credential.
    fn revert_with_sid(&self, sid: &[u8]) -> Result<(), OpalFailure>;
}
