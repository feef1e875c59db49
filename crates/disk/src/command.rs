//! Commands that a device takes beside reading and writing: raw bytes, whose meaning is the caller's.
//!
//! Real devices and those that tests make up both answer through these. That a command was accepted says nothing of
//! what it did.

use std::{fmt, io, time::Duration};

pub use linux::{
    mmc::MmcCommand,
    nvme::{NvmeCommand, NvmeFailure},
    opal::{OpalFailure, OpalStatus},
    scsi::ScsiAnswer,
    transfer::Data,
};

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

/// A device that takes SCSI commands; ATA disks take them through ATA PASS-THROUGH (SAT).
pub trait ScsiDevice: fmt::Debug + Send + Sync {
    /// Sends a command and waits at most `limit` for its answer. An error is a command that did not reach the device, or
    /// whose answer did not come: what became of it is not known.
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer>;
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

/// A self-encrypting disk that speaks TCG Opal, through the kernel.
pub trait OpalDevice: fmt::Debug + Send + Sync {
    /// Asks how it stands.
    fn status(&self) -> io::Result<OpalStatus>;

    /// Reverts it with the identifier on its label: new media keys, everything unlocked.
    fn revert_with_psid(&self, psid: &[u8]) -> Result<(), OpalFailure>;

    /// Reverts it with the owner's credential.
    fn revert_with_sid(&self, sid: &[u8]) -> Result<(), OpalFailure>;
}
