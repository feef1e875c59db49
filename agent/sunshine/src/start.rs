//! How the installed system is started: a boot entry of the firmware's, and its kernel without the firmware.
//!
//! What the image brought is read from the disk that is still held, never mounted; a fault of what reads it fails one
//! step. Neither undoes an install: the image is on the disk, and the report says what else is not as ordered.

use std::{io, sync::Arc};

use agent::{
    boot_entry::{self, Next},
    kexec,
};
use disk::{AlignedBuffer, Held, Medium as _};
use inventory::guard;
use protocol::{
    Install,
    install::{Finish, Step, StepOutcome},
};
use startup::{
    disk::{Disk, Storage},
    entry::HardDrive,
};

use crate::install::chain;

/// Whether the installed system's kernel is ready to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// It is loaded.
    Loaded,
    /// It was not ordered, or cannot be.
    No,
}

/// Does what follows the steps on the disk: fills in the outcomes of boot entries, and adds one for a kernel that is
/// to be started at once.
pub(crate) fn finish(
    held: &Arc<Held>,
    install: &Install,
    before: &[HardDrive],
    outcomes: &mut Vec<StepOutcome>,
) -> Kernel {
    let disk = || Disk::open(storage(held));
    let next = match install.finish {
        Finish::Reboot => Next::FromEntry,
        // A machine that is started by hand later is asked for by whom it is told to.
        Finish::Kexec | Finish::PowerOff | Finish::Stay => Next::ByOrder,
    };
    for (step, outcome) in install.steps.iter().zip(outcomes.iter_mut()) {
        if let Step::BootEntry { label } = step {
            let made =
                guarded(|| boot_entry::make(&disk(), label, next, before).map_err(|e| chain(&e)));
            outcome.failure = made.err();
        }
    }
    if install.finish != Finish::Kexec {
        return Kernel::No;
    }
    let loaded = guarded(|| kexec::load(&disk()).map_err(|error| chain(&error)));
    let kernel = if loaded.is_ok() { Kernel::Loaded } else { Kernel::No };
    let failure = loaded.err().map(|reason| format!("{reason}; the machine restarts instead"));
    outcomes.push(StepOutcome { step: KEXEC.to_owned(), failure });
    kernel
}

/// Returns the partitions that are on a disk before it is written to, where a boot entry may have to be replaced.
pub(crate) fn drives(held: &Arc<Held>, install: &Install) -> Vec<HardDrive> {
    if !install.steps.iter().any(|step| matches!(step, Step::BootEntry { .. })) {
        return Vec::new();
    }
    let read = || boot_entry::drives(&Disk::open(Arc::new(HeldStorage(Arc::clone(held)))));
    guard::run(read).unwrap_or_default()
}

/// What the outcome of starting a kernel is called among the steps.
const KEXEC: &str = "kexec";
/// The same of the kernel's reading the new partition table.
pub(crate) const REREAD: &str = "rereadPartitions";
/// The same of the disk's being read-only again.
pub(crate) const READ_ONLY: &str = "readOnly";

/// Holds for outcomes that do not undo an install: the disk is as ordered, and starts without them.
pub(crate) fn is_optional(outcome: &StepOutcome) -> bool {
    [KEXEC, "bootEntry", REREAD, READ_ONLY].contains(&outcome.step.as_str())
}

/// Returns the disk for reading what is on it.
pub(crate) fn storage(held: &Arc<Held>) -> Arc<dyn Storage> {
    Arc::new(HeldStorage(Arc::clone(held)))
}

/// Runs what reads filesystems that strangers made: a panic is a failure like others.
pub(crate) fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let panicked = || Err("the filesystem on the disk is one that nobody can read".to_owned());
    guard::run(read).unwrap_or_else(panicked)
}

/// The disk that was installed, for reading.
#[derive(Debug)]
struct HeldStorage(Arc<Held>);

impl Storage for HeldStorage {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn sector_bytes(&self) -> u32 {
        self.0.sector_bytes()
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        // Past the page cache only aligned memory is read into.
        let mut aligned = AlignedBuffer::zeroed(buffer.len());
        self.0.read(offset, &mut aligned)?;
        buffer.copy_from_slice(&aligned);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_panics_fails_its_step_only() {
        assert!(guarded::<()>(|| panic!("on purpose")).is_err());
        assert_eq!(guarded(|| Ok(1)), Ok(1));
    }

    #[test]
    fn what_is_on_the_disk_is_not_optional() {
        let outcome = |step: &str| StepOutcome { step: step.to_owned(), failure: None };
        assert!(is_optional(&outcome("bootEntry")) && is_optional(&outcome("kexec")));
        assert!(!is_optional(&outcome("renewGuids")));
    }
}
