//! Boot entries of systems that are gone.

use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use startup::{
    disk::{Disk, Storage},
    entry::Identity,
};

use super::{BootEntryError, Writable, drives, variables};
use crate::boot;

/// Removes the boot entries that lead to a partition which none of these disks has, and returns what the firmware's menu
/// showed for them. Entries that lead to no partition stay. Where one of the disks cannot be read, nothing is removed.
///
/// `disks` are the devices of all disks of the machine, with the size of their sectors in bytes. To be called under an
/// order only.
pub fn remove_stale(disks: &[(PathBuf, u32)]) -> Result<Vec<String>, BootEntryError> {
    if !boot::is_efi() {
        return Err(BootEntryError::Bios);
    }
    let mut present = Vec::new();
    for (path, sector) in disks {
        let disk = Device::open(path, *sector)
            .map_err(|source| BootEntryError::Disk { disk: path.display().to_string(), source })?;
        present.extend(drives(&Disk::open(Arc::new(disk))).iter().map(|drive| drive.identity));
    }
    let directory = Path::new(boot::EFI_VARIABLES_PATH);
    let _writable = Writable::make(directory)?;
    remove(directory, &present)
}

/// Takes stale entries out of the order first, so that whatever fails afterwards leaves an order of entries that are there.
fn remove(directory: &Path, present: &[Identity]) -> Result<Vec<String>, BootEntryError> {
    let before = variables::read(directory)?;
    let stale = before.stale(present);
    if stale.is_empty() {
        return Ok(Vec::new());
    }
    let left: Vec<u16> =
        before.order.iter().copied().filter(|number| !stale.contains(number)).collect();
    if left != before.order {
        let bytes: Vec<u8> = left.iter().copied().flat_map(u16::to_le_bytes).collect();
        if bytes.is_empty() {
            variables::remove(directory, "BootOrder")?;
        } else {
            variables::write(directory, "BootOrder", &bytes)?;
        }
    }
    if before.next.is_some_and(|next| stale.contains(&next)) {
        variables::remove(directory, "BootNext")?;
    }
    for number in &stale {
        variables::remove(directory, &variables::option_name(*number))?;
    }
    let after = variables::read(directory)?;
    let is_in_order = after.order.iter().any(|number| stale.contains(number));
    if is_in_order || !after.order.starts_with(&left) || !after.stale(present).is_empty() {
        return Err(BootEntryError::ReadBack);
    }
    let shown = |number: &u16| {
        let name = variables::option_name(*number);
        before.label(*number).map_or(name.clone(), |label| format!("{name} {label}"))
    };
    Ok(stale.iter().map(shown).collect())
}

/// A disk that is only read.
#[derive(Debug)]
struct Device {
    file: File,
    bytes: u64,
    sector: u32,
}

impl Device {
    fn open(path: &Path, sector: u32) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let bytes = file.seek(SeekFrom::End(0))?;
        // A disk whose first bytes cannot be read would seem to have no partitions.
        let mut first = [0; 4096];
        let length = usize::try_from(bytes).map_or(first.len(), |bytes| bytes.min(first.len()));
        file.read_exact_at(&mut first[..length], 0)?;
        Ok(Self { file, bytes, sector })
    }
}

impl Storage for Device {
    fn size_bytes(&self) -> u64 {
        self.bytes
    }

    fn sector_bytes(&self) -> u32 {
        self.sector
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use startup::entry::{HardDrive, LoadOption, path};

    use super::*;

    #[test]
    fn entries_of_lost_partitions_leave_the_order_and_all_others_stay() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(variables::file_name(name));
        let (here, gone) = (Identity::Guid([1; 16]), Identity::Guid([2; 16]));
        let option = |identity| {
            let drive = HardDrive { partition: 1, first_sector: 2048, sectors: 8192, identity };
            let path = path::to_file(&drive, r"\EFI\debian\shimx64.efi").unwrap();
            let option = LoadOption::new("Debian", path).unwrap();
            [vec![7, 0, 0, 0], option.to_bytes()].concat()
        };
        fs::write(file("Boot0000"), option(gone)).unwrap();
        fs::write(file("Boot0003"), option(here)).unwrap();
        fs::write(file("Boot0004"), b"\x07\0\0\0what nobody can read").unwrap();
        fs::write(file("BootOrder"), [7, 0, 0, 0, 0, 0, 4, 0, 3, 0]).unwrap();
        fs::write(file("BootNext"), [7, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(remove(directory.path(), &[here]).unwrap(), ["Boot0000 Debian"]);
        // Plain files keep what stood behind; a variable does not.
        assert_eq!(fs::read(file("BootOrder")).unwrap()[..8], [7, 0, 0, 0, 4, 0, 3, 0]);
        let left = ["Boot0000", "Boot0003", "Boot0004", "BootNext"].map(|name| file(name).exists());
        assert_eq!(left, [false, true, true, false]);
        assert_eq!(remove(directory.path(), &[here]).unwrap(), [""; 0]);
        fs::remove_file(file("BootOrder")).unwrap();
        assert_eq!(remove(directory.path(), &[]).unwrap(), ["Boot0003 Debian"]);
    }

    #[test]
    fn a_disk_that_cannot_be_read_is_not_taken_for_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Device::open(directory.path(), 512).is_err());
        assert!(Device::open(&directory.path().join("none"), 512).is_err());
    }
}
