//! Files in a filesystem of an installed system: written by the kernel, and read back from the disk after it was
//! unmounted.

use std::{fs, io, path::Path};

use linux::{
    loop_device::Attached,
    mount::{self, Rights},
    rooted::Rooted,
};
use protocol::install::InstalledFile;
use startup::disk::Partition;

/// The root filesystem's GPT type, by this program's own kind of machine. Discoverable Partitions Specification.
#[cfg(target_arch = "x86_64")]
const ROOT: &str = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
#[cfg(target_arch = "aarch64")]
const ROOT: &str = "b921b045-1df0-41c3-af44-4c6f280d3fae";

/// What the kernel of this system can write, and the driver for it.
const WRITABLE: [(&str, &str); 3] = [("ext4", "ext4"), ("ext3", "ext4"), ("ext2", "ext4")];

/// Finds the partition, and the driver of its filesystem.
pub fn choose(
    partitions: &[Partition],
    number: Option<u32>,
) -> Result<(&Partition, &'static str), String> {
    let driver = |partition: &Partition| {
        let known =
            |(kind, _): &&(&str, &str)| partition.signatures.iter().any(|s| s.kind == *kind);
        WRITABLE.iter().find(known).map(|(_, driver)| *driver)
    };
    let holds = |partition: &Partition| {
        let kinds: Vec<&str> = partition.signatures.iter().map(|one| one.kind).collect();
        if kinds.is_empty() { "nothing that was recognised".to_owned() } else { kinds.join(", ") }
    };
    let chosen = if let Some(number) = number {
        let found = partitions.iter().find(|partition| partition.number == number);
        found.ok_or_else(|| format!("the image has no partition {number}"))?
    } else {
        let roots: Vec<&Partition> = partitions.iter().filter(|one| one.kind == ROOT).collect();
        let candidates: Vec<&Partition> = if roots.is_empty() {
            partitions.iter().filter(|one| driver(one).is_some()).collect()
        } else {
            roots
        };
        match candidates.as_slice() {
            [one] => *one,
            [] => return Err("no partition of the image holds ext4".to_owned()),
            several => {
                let numbers: Vec<_> = several.iter().map(|one| one.number.to_string()).collect();
                return Err(format!(
                    "partitions {} may be meant: name one with --file-partition",
                    numbers.join(", ")
                ));
            }
        }
    };
    let driver = driver(chosen).ok_or_else(|| {
        format!("partition {} holds {}; only ext4 is written into", chosen.number, holds(chosen))
    })?;
    Ok((chosen, driver))
}

/// Writes the files into the filesystem on a device; all of them are on the disk when this returns.
///
/// `target` is where it is mounted meanwhile. The error says which file could not be written, and why.
pub fn put(
    device: &Attached,
    driver: &str,
    target: &Path,
    files: &[InstalledFile],
) -> Result<(), String> {
    let mounted = Mounted::new(device, driver, target, Rights::Files)?;
    for file in files {
        mounted
            .root()?
            .write(&file.path, file.content.0.as_bytes(), file.mode)
            .map_err(|error| format!("writing {}: {error}", file.path))?;
    }
    mounted.end()
}

/// Mounts the filesystem once more and says what of the files is not as it was written.
pub fn compare(
    device: &Attached,
    driver: &str,
    target: &Path,
    files: &[InstalledFile],
) -> Result<(), String> {
    let mounted = Mounted::new(device, driver, target, Rights::ReadOnly)?;
    for (index, file) in files.iter().enumerate() {
        if files[index + 1..].iter().any(|later| later.path == file.path) {
            continue;
        }
        let length = u64::try_from(file.content.0.len()).unwrap_or(u64::MAX);
        let found = mounted
            .root()?
            .read(&file.path, length.saturating_add(1))
            .map_err(|error| format!("reading {} back: {error}", file.path))?;
        if found.content != file.content.0.as_bytes() {
            return Err(format!("{} reads back otherwise than it was written", file.path));
        }
        if (found.mode, found.owner, found.group) != (file.mode, 0, 0) {
            return Err(format!("{} has other rights than it was given", file.path));
        }
    }
    mounted.end()
}

/// A filesystem that is mounted, and is not any more when this is dropped.
struct Mounted<'t> {
    target: &'t Path,
    is_mounted: bool,
}

impl<'t> Mounted<'t> {
    fn new(
        device: &Attached,
        driver: &str,
        target: &'t Path,
        rights: Rights,
    ) -> Result<Self, String> {
        let failed = |error: io::Error| format!("mounting the filesystem: {error}");
        fs::create_dir_all(target).map_err(failed)?;
        mount::filesystem(driver, device.path(), target, rights).map_err(failed)?;
        Ok(Self { target, is_mounted: true })
    }

    fn root(&self) -> Result<Rooted, String> {
        Rooted::open(self.target).map_err(|error| format!("opening the filesystem: {error}"))
    }

    fn end(mut self) -> Result<(), String> {
        self.is_mounted = false;
        mount::unmount(self.target).map_err(|error| format!("unmounting the filesystem: {error}"))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if self.is_mounted {
            // Only after another failure, which is told.
            mount::unmount(self.target).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use startup::disk::Signature;

    use super::*;

    fn partition(number: u32, kind: &str, holds: &'static str) -> Partition {
        let signature = Signature { kind: holds, ..Signature::default() };
        Partition {
            number,
            kind: kind.to_owned(),
            signatures: vec![signature],
            ..Partition::default()
        }
    }

    #[test]
    fn the_root_partition_is_meant_or_the_only_one_with_a_filesystem_or_the_one_that_is_named() {
        let other = "0fc63daf-8483-4772-8e79-3d69d8477de4";
        let of = |partitions: &[Partition], number| {
            choose(partitions, number).map(|(partition, _)| partition.number)
        };
        let table = [partition(1, "c12a", "vfat"), partition(2, other, "ext4")];
        assert_eq!(of(&table, None), Ok(2));
        let table = [partition(1, other, "ext4"), partition(2, ROOT, "ext4")];
        assert_eq!((of(&table, None), of(&table, Some(1))), (Ok(2), Ok(1)));
        let table = [partition(1, other, "ext4"), partition(3, other, "ext4")];
        assert!(of(&table, None).unwrap_err().contains("1, 3"));
        let table = [partition(1, ROOT, "xfs")];
        assert!(of(&table, None).unwrap_err().contains("holds xfs"));
        assert!(of(&table, Some(4)).unwrap_err().contains("no partition 4"));
        assert!(of(&[], None).is_err());
    }
}
