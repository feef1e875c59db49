//! A UEFI boot entry for a disk that was installed: written to the firmware's variables, and read back.
//!
//! The variables are mounted read-only. They can be written for the moment of writing only, and only after an install
//! that an order allowed; Linux, `Documentation/filesystems/efivarfs.rst`.

mod stale;
mod variables;

use std::{io, path::Path};

use linux::mount::{self, Rights};
use startup::{
    disk::Disk,
    entry::{Entry, HardDrive, PlanError, Variables, path, path::PathError},
    loader,
    loader::LoaderError,
};
use tracing::{info, warn};

pub use self::stale::remove_stale;
use crate::boot;

/// Says why there is no boot entry.
#[derive(Debug, thiserror::Error)]
pub enum BootEntryError {
    /// There is no firmware that keeps entries.
    #[error("nothing was done: this machine was started by a BIOS, which has no boot entries")]
    Bios,
    /// There is nothing to make an entry for.
    #[error(transparent)]
    Loader(#[from] LoaderError),
    /// The loader's path cannot be written down.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The entry cannot be written down, or has no place.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A variable that matters cannot be read.
    #[error("reading the firmware's variable {name}")]
    Read {
        /// Which.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The firmware's memory has no room.
    #[error("the firmware's memory is full: its variable {name} cannot be written")]
    Full {
        /// Which.
        name: String,
    },
    /// The firmware or the kernel refuses.
    #[error("writing the firmware's variable {name}")]
    Write {
        /// Which.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// They cannot be made writable.
    #[error("making the firmware's variables writable")]
    Remount {
        /// Why.
        source: io::Error,
    },
    /// Nobody knows which entries still start something.
    #[error("looking for partitions on {disk}")]
    Disk {
        /// The disk's device.
        disk: String,
        /// Why.
        source: io::Error,
    },
    /// The firmware changed what it was told.
    #[error("the firmware keeps something else than was written")]
    ReadBack,
}

/// Whether the machine's next start is from the entry, once, whatever comes first in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It is (`BootNext`).
    FromEntry,
    /// The order says.
    ByOrder,
}

/// Has the firmware start a disk: makes an entry for the boot loader on its EFI system partition, or takes over one
/// that is there, and puts it where [`Variables::plan`] says.
///
/// `before` are the partitions that the disk had before: an entry for one that it has no more is replaced.
///
/// To be called under an order only, after its permit.
pub fn make(
    disk: &Disk,
    label: &str,
    next: Next,
    before: &[HardDrive],
) -> Result<(), BootEntryError> {
    if !boot::is_efi() {
        return Err(BootEntryError::Bios);
    }
    let loader = loader::find(disk)?;
    let path = path::to_file(&loader.drive, &loader.file)?;
    let after = drives(disk);
    let gone = before.iter().copied().filter(|drive| !after.contains(drive)).collect();
    let entry = Entry { label: label.to_owned(), path, next: next == Next::FromEntry, gone };
    let directory = Path::new(boot::EFI_VARIABLES_PATH);
    let _writable = Writable::make(directory)?;
    let number = write(directory, &entry)?;
    info!(entry = format!("Boot{number:04X}"), file = loader.file, "boot entry made");
    Ok(())
}

/// Returns the partitions of a disk, as entries name them.
pub fn drives(disk: &Disk) -> Vec<HardDrive> {
    disk.partitions().iter().filter_map(|partition| disk.hard_drive(partition)).collect()
}

/// Writes what is missing, reads it back, and returns the entry's number.
fn write(directory: &Path, entry: &Entry) -> Result<u16, BootEntryError> {
    let before = variables::read(directory)?;
    let plan = before.plan(entry)?;
    if let Some(option) = &plan.option {
        variables::write(directory, &variables::option_name(plan.number), option)?;
    }
    if let Some(order) = &plan.order {
        let bytes: Vec<u8> = order.iter().copied().flat_map(u16::to_le_bytes).collect();
        variables::write(directory, "BootOrder", &bytes)?;
    }
    if let Some(number) = plan.next {
        variables::write(directory, "BootNext", &number.to_le_bytes())?;
    }
    let after: Variables = variables::read(directory)?;
    if after.plan(entry)?.is_done() { Ok(plan.number) } else { Err(BootEntryError::ReadBack) }
}

/// The firmware's variables while they can be written: read-only again when it is dropped.
struct Writable<'d>(&'d Path);

impl<'d> Writable<'d> {
    fn make(directory: &'d Path) -> Result<Self, BootEntryError> {
        let change = || mount::change(directory, Rights::Files);
        // Not mounted yet: a driver was late. Mounted already, it is only made writable.
        let changed = change().or_else(|_| boot::mount_efi_variables().and_then(|()| change()));
        changed.map_err(|source| BootEntryError::Remount { source })?;
        Ok(Self(directory))
    }
}

impl Drop for Writable<'_> {
    fn drop(&mut self) {
        if let Err(error) = mount::change(self.0, Rights::ReadOnly) {
            warn!(%error, "the firmware's variables stay writable");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use startup::entry::Identity;

    use super::*;

    fn entry(next: bool) -> Entry {
        let identity = Identity::Guid([7; 16]);
        let drive = HardDrive { partition: 1, first_sector: 2048, sectors: 8192, identity };
        let path = path::to_file(&drive, r"\EFI\BOOT\BOOTX64.EFI").unwrap();
        Entry { label: "Debian".to_owned(), path, next, gone: Vec::new() }
    }

    #[test]
    fn an_entry_is_made_once_and_what_was_there_stays() {
        let directory = tempfile::tempdir().unwrap();
        let of = |name: &str| directory.path().join(variables::file_name(name));
        fs::write(of("BootOrder"), [7, 0, 0, 0, 3, 0, 1, 0]).unwrap();
        fs::write(of("Boot0000"), b"\x07\0\0\0what nobody can read").unwrap();
        let number = write(directory.path(), &entry(true)).unwrap();
        assert_eq!(number, 2);
        assert_eq!(fs::read(of("BootOrder")).unwrap(), [7, 0, 0, 0, 2, 0, 3, 0, 1, 0]);
        assert_eq!(fs::read(of("BootNext")).unwrap(), [7, 0, 0, 0, 2, 0]);
        assert_eq!(fs::read(of("Boot0000")).unwrap(), b"\x07\0\0\0what nobody can read");
        let made = fs::read(of("Boot0002")).unwrap();
        assert_eq!(made[..10], [7, 0, 0, 0, 1, 0, 0, 0, 94, 0]);
        let count = || fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(count(), 4);
        assert_eq!(write(directory.path(), &entry(true)).unwrap(), 2);
        assert_eq!(count(), 4);
        assert_eq!(fs::read(of("BootOrder")).unwrap(), [7, 0, 0, 0, 2, 0, 3, 0, 1, 0]);
    }

    #[test]
    fn an_order_that_cannot_be_read_is_not_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let order = directory.path().join(variables::file_name("BootOrder"));
        fs::create_dir(&order).unwrap();
        let error = write(directory.path(), &entry(false)).unwrap_err();
        assert!(matches!(error, BootEntryError::Read { .. }), "{error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
