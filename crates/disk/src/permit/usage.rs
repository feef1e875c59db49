//! Whether anything is using a disk: mounts, swap, loop devices, and what is built on it or on a partition of it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use inventory::Root;

use super::Machine;

/// A disk's directory below `sys`, and its partitions'.
#[derive(Debug)]
struct Part {
    name: String,
    directory: PathBuf,
    number: Option<String>,
}

/// Returns who uses a disk, in words; none when nobody does. An error names what could not be read.
pub(super) fn of(machine: &Machine, name: &str, directory: &Path) -> Result<Vec<String>, String> {
    let root = &machine.root;
    let parts = parts(root, name, directory)?;
    let mut uses = BTreeSet::new();
    for part in &parts {
        let holders = part.directory.join("holders");
        for holder in root.entries(&holders).map_err(|_| unreadable(&holders))? {
            uses.insert(format!("{holder} is built on {}", part.name));
        }
    }
    uses.extend(mounts(root, &parts)?);
    uses.extend(loops(machine, &parts)?);
    Ok(uses.into_iter().collect())
}

/// Returns where a disk, or something that is built on one, is mounted, swapped to or behind a loop device. An error
/// names what could not be read.
pub(super) fn mounted_at(
    machine: &Machine,
    name: &str,
    directory: &Path,
) -> Result<Vec<String>, String> {
    let parts = parts(&machine.root, name, directory)?;
    let mut uses = mounts(&machine.root, &parts)?;
    uses.extend(loops(machine, &parts)?);
    Ok(uses.into_iter().collect())
}

fn unreadable(path: &Path) -> String {
    path.display().to_string()
}

fn parts(root: &Root, name: &str, directory: &Path) -> Result<Vec<Part>, String> {
    let mut parts = vec![part(root, name, directory)?];
    for entry in root.entries(directory).map_err(|_| unreadable(directory))? {
        let partition = directory.join(&entry);
        if root.exists(partition.join("partition")) {
            parts.push(part(root, &entry, &partition)?);
        }
    }
    Ok(parts)
}

fn mounts(root: &Root, parts: &[Part]) -> Result<BTreeSet<String>, String> {
    let mut uses = BTreeSet::new();
    let mounts = root.text("proc/self/mountinfo").ok().flatten();
    let mounts = mounts.ok_or_else(|| "/proc/self/mountinfo".to_owned())?;
    for line in mounts.lines() {
        if let Some(used) = mounted(line, parts) {
            uses.insert(used);
        }
    }
    // A kernel without swap has no such file.
    let swaps = root.text("proc/swaps").map_err(|_| "/proc/swaps".to_owned())?.unwrap_or_default();
    for line in swaps.lines() {
        let path = line.split_ascii_whitespace().next().unwrap_or_default();
        if let Some(part) = parts.iter().find(|part| is_device(path, &part.name)) {
            uses.insert(format!("swap on {}", part.name));
        }
    }
    Ok(uses)
}

/// Returns which loop devices are made of a disk. They are nobody's holders, they claim nothing, and what is mounted
/// from one has its number and its name, not the disk's: nothing else tells of them.
fn loops(machine: &Machine, parts: &[Part]) -> Result<BTreeSet<String>, String> {
    let blocks = Path::new("sys/block");
    let mut uses = BTreeSet::new();
    for name in machine.root.entries(blocks).map_err(|_| unreadable(blocks))? {
        if !is_loop(&name) {
            continue;
        }
        // Not `loop/backing_file`: the path of a node, of which a device can have many, or none any more.
        let behind = match machine.kernel.behind_loop(&name) {
            Ok(Some(behind)) => behind.to_string(),
            Ok(None) => continue,
            Err(_) if !machine.root.exists(blocks.join(&name).join("loop")) => continue,
            Err(_) => return Err(format!("/dev/{name}")),
        };
        for part in parts.iter().filter(|part| part.number.as_ref() == Some(&behind)) {
            uses.insert(format!("{name} is made of {}", part.name));
        }
    }
    Ok(uses)
}

fn is_loop(name: &str) -> bool {
    name.strip_prefix("loop").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
}

fn part(root: &Root, name: &str, directory: &Path) -> Result<Part, String> {
    let number = directory.join("dev");
    Ok(Part {
        name: name.to_owned(),
        directory: directory.to_owned(),
        number: root.text(&number).map_err(|_| number.display().to_string())?,
    })
}

/// Reads a line of `mountinfo` (Linux, `Documentation/filesystems/proc.rst` §3.5): number, parent, device, root,
/// place, options, optional fields, a hyphen, type, source. Some file systems have a made-up device number: their
/// source counts.
fn mounted(line: &str, parts: &[Part]) -> Option<String> {
    let fields: Vec<&str> = line.split(' ').collect();
    let (number, place) = (*fields.get(2)?, *fields.get(4)?);
    let hyphen = fields.iter().position(|field| *field == "-")?;
    let source = fields.get(hyphen + 2).copied().unwrap_or_default();
    let part = parts
        .iter()
        .find(|part| part.number.as_deref() == Some(number) || is_device(source, &part.name))?;
    Some(format!("{} is mounted on {place}", part.name))
}

fn is_device(path: &str, name: &str) -> bool {
    path.strip_prefix("/dev/").is_some_and(|rest| rest.replace('/', "!") == name)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::simulation::{Simulated, Spec},
        *,
    };

    const MOUNTS: &str = "22 27 0:21 / /proc rw,relatime - proc proc rw\n";

    fn check(extra: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let machine = Simulated::new(&Spec::new(Vec::new()));
        let files = [
            ("proc/self/mountinfo", MOUNTS),
            ("sys/block/sda/dev", "8:0\n"),
            ("sys/block/sda/queue/rotational", "1\n"),
            ("sys/block/sda/sda1/partition", "1\n"),
            ("sys/block/sda/sda1/dev", "8:1\n"),
        ];
        for (path, text) in files.iter().chain(extra) {
            let path = machine.directory().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let directory = Path::new("sys/block/sda");
        let uses = of(&machine.machine(), "sda", directory);
        let mounted = mounted_at(&machine.machine(), "sda", directory);
        match (&uses, mounted) {
            (Ok(uses), Ok(mounted)) => assert!(mounted.iter().all(|one| uses.contains(one))),
            (uses, mounted) => assert_eq!(*uses, mounted),
        }
        uses
    }

    fn uses(extra: &[(&str, &str)]) -> Vec<String> {
        check(extra).unwrap()
    }

    #[test]
    fn an_idle_disk_is_used_by_nobody() {
        assert_eq!(uses(&[]), Vec::<String>::new());
        let others = "30 1 8:16 / / rw - ext4 /dev/sdb rw\n31 1 8:3 / /x rw - ext4 /dev/sdaa1 rw\n";
        let swaps = "Filename\tType\n/dev/sdb2 partition 1 0 -2\n/swapfile file 1 0 -3\n";
        assert_eq!(
            uses(&[("proc/self/mountinfo", others), ("proc/swaps", swaps)]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_mount_is_seen_by_number_and_by_source() {
        let by_number = "30 1 8:1 / /data rw,relatime shared:1 - ext4 /dev/root rw\n";
        assert_eq!(uses(&[("proc/self/mountinfo", by_number)]), ["sda1 is mounted on /data"]);
        let by_source = "30 1 0:40 /@ / rw,relatime - btrfs /dev/sda rw\n";
        assert_eq!(uses(&[("proc/self/mountinfo", by_source)]), ["sda is mounted on /"]);
    }

    #[test]
    fn swap_and_what_is_built_on_a_partition_are_seen() {
        assert_eq!(
            uses(&[
                ("proc/swaps", "Filename Type\n/dev/sda1 partition 1 0 -2\n"),
                ("sys/block/sda/sda1/holders/dm-0/x", ""),
                ("sys/block/sda/holders/md127/x", ""),
            ]),
            ["dm-0 is built on sda1", "md127 is built on sda", "swap on sda1"]
        );
    }

    #[test]
    fn a_loop_device_over_a_disk_or_a_partition_is_seen_by_number() {
        let over = |number: &str| {
            uses(&[
                ("proc/self/mountinfo", "30 1 7:3 / /data rw - ext4 /dev/loop3 rw\n"),
                ("sys/block/loop3/loop/backing_file", "/dev/a/node/of/any/name\n"),
                ("dev/loop3", number),
                // A file is behind one, and nothing behind the other, which has no node either.
                ("sys/block/loop4/loop/backing_file", "/var/image\n"),
                ("dev/loop4", ""),
                ("sys/block/loop5/dev", "7:5\n"),
            ])
        };
        assert_eq!(over("8:0"), ["loop3 is made of sda"]);
        assert_eq!(over("8:1"), ["loop3 is made of sda1"]);
        assert_eq!(over("8:2"), Vec::<String>::new());
        assert_eq!(over("7:4"), Vec::<String>::new());
    }

    #[test]
    fn a_loop_device_that_does_not_tell_is_not_taken_for_idle() {
        let silent = [("sys/block/loop3/loop/backing_file", "/dev/sdb1\n")];
        assert_eq!(check(&silent), Err("/dev/loop3".to_owned()));
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_idle() {
        assert_eq!(check(&[("proc/self/mountinfo", "")]), Err("/proc/self/mountinfo".to_owned()));
    }
}
