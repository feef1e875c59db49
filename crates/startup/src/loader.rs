//! The boot loader on an EFI system partition that an entry is made for.

use crate::{
    disk::{Disk, Volume, VolumeError},
    entry::HardDrive,
};

/// What vendors call their loaders, best first: what Secure Boot accepts, then what starts a kernel by itself.
const VENDORS: [&str; 3] = ["shim", "systemd-boot", "grub"];

/// A boot loader, as an entry names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loader {
    /// The partition that it is on.
    pub drive: HardDrive,
    /// The file, with backslashes.
    pub file: String,
}

/// Says why there is no loader to make an entry for.
#[derive(Debug, thiserror::Error)]
pub enum LoaderError {
    /// Nothing that UEFI could start from.
    #[error("the disk has no EFI system partition")]
    NoSystemPartition,
    /// The partition cannot be told from others.
    #[error("the EFI system partition has no name of its own")]
    NoName,
    /// It cannot be read.
    #[error("the EFI system partition cannot be read")]
    Volume(#[from] VolumeError),
    /// It has none for this architecture.
    #[error("the EFI system partition has no boot loader for {suffix}")]
    NoLoader {
        /// How this architecture's file names end.
        suffix: &'static str,
    },
}

/// Returns how names of this architecture's loaders end. UEFI 2.10 §3.5.1.1.
pub fn suffix() -> &'static str {
    if cfg!(target_arch = "aarch64") { "aa64" } else { "x64" }
}

/// Finds the loader: the one at the path for removable media, which every firmware would start by itself,
/// unless that is missing or only there to make entries (shim's fallback, which then restarts the machine).
pub fn find(disk: &Disk) -> Result<Loader, LoaderError> {
    let partition = disk.system_partitions().next().ok_or(LoaderError::NoSystemPartition)?;
    let drive = disk.hard_drive(partition).ok_or(LoaderError::NoName)?;
    let volume = disk.volume(partition)?;
    let path = find_on(&volume, suffix())?;
    Ok(Loader { drive, file: path.replace('/', "\\") })
}

fn find_on(volume: &Volume, suffix: &'static str) -> Result<String, LoaderError> {
    let removable = format!("/EFI/BOOT/BOOT{}.EFI", suffix.to_uppercase());
    let is_there = volume.has_file(&removable);
    if is_there && !volume.has_file(&format!("/EFI/BOOT/fb{suffix}.efi")) {
        return Ok(removable);
    }
    for directory in volume.list("/EFI")?.iter().filter(|name| name.is_directory) {
        if directory.text.eq_ignore_ascii_case("boot") {
            continue;
        }
        for vendor in VENDORS {
            let path = format!("/EFI/{}/{vendor}{suffix}.efi", directory.text);
            if volume.has_file(&path) {
                return Ok(path);
            }
        }
    }
    if is_there { Ok(removable) } else { Err(LoaderError::NoLoader { suffix }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        entry::Identity,
        sample::{self, Memory},
    };

    fn check(files: &[&str], expected: Option<&str>) {
        let files: Vec<(&str, &[u8])> = files.iter().map(|path| (*path, &b"MZ"[..])).collect();
        let system = sample::fat(&files);
        let disk = Disk::open(Memory::new(sample::gpt(&[
            ([7; 16], &[1; 512]),
            (sample::SYSTEM, &system),
        ])));
        let volume = disk.volume(disk.system_partitions().next().unwrap()).unwrap();
        let found = find_on(&volume, "x64");
        assert_eq!(found.as_deref().ok(), expected, "{found:?}");
    }

    #[test]
    fn the_path_for_removable_media_comes_first() {
        check(&["/EFI/BOOT/BOOTX64.EFI"], Some("/EFI/BOOT/BOOTX64.EFI"));
        check(
            &["/EFI/BOOT/BOOTX64.EFI", "/EFI/debian/shimx64.efi", "/EFI/debian/grubx64.efi"],
            Some("/EFI/BOOT/BOOTX64.EFI"),
        );
    }

    #[test]
    fn a_loader_that_only_makes_entries_is_passed_over() {
        let fedora = [
            "/EFI/BOOT/BOOTX64.EFI",
            "/EFI/BOOT/fbx64.efi",
            "/EFI/fedora/grubx64.efi",
            "/EFI/fedora/shimx64.efi",
        ];
        check(&fedora, Some("/EFI/fedora/shimx64.efi"));
        check(&fedora[..2], Some("/EFI/BOOT/BOOTX64.EFI"));
    }

    #[test]
    fn a_vendors_loader_does_where_there_is_no_other() {
        check(&["/EFI/systemd/systemd-bootx64.efi"], Some("/EFI/systemd/systemd-bootx64.efi"));
        check(&["/EFI/BOOT/BOOTAA64.EFI", "/vmlinuz"], None);
        check(&[], None);
    }

    #[test]
    fn a_loader_is_named_as_the_firmware_finds_it() {
        let name = format!("/EFI/BOOT/BOOT{}.EFI", suffix().to_uppercase());
        let system = sample::fat(&[(&name, b"MZ")]);
        let disk = Disk::open(Memory::new(sample::gpt(&[
            ([7; 16], &[1; 512]),
            (sample::SYSTEM, &system),
        ])));
        let loader = find(&disk).unwrap();
        assert_eq!(loader.file, name.replace('/', "\\"));
        assert_eq!(loader.drive.partition, 2);
        assert_eq!(loader.drive.first_sector, 4096);
        assert_eq!(loader.drive.sectors, 2048 * u64::try_from(system.len() >> 20).unwrap());
        assert_eq!(loader.drive.identity, Identity::Guid([2; 16]));
        let none = Disk::open(Memory::new(sample::gpt(&[([7; 16], &[1; 512])])));
        assert!(matches!(find(&none), Err(LoaderError::NoSystemPartition)));
    }
}
