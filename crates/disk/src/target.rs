//! The logical units of one SCSI target: by where they stand in the kernel's tree. A disk with two actuators shows two.

use std::path::{Path, PathBuf};

use inventory::Root;

/// Another logical unit of a disk's target, that is a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    /// The kernel's name of the disk; of the unit where the kernel made no disk of it.
    pub(crate) name: String,
    /// Where the disk stands in the tree; absent where there is none.
    pub(crate) directory: Option<PathBuf>,
}

/// Returns the other disks of a disk's target, `directory` being where the disk stands; `None` where the tree does not
/// show a target, or cannot be read.
pub(crate) fn others(root: &Root, directory: &Path) -> Option<Vec<Unit>> {
    // …/target0:0:0/0:0:0:1/block/sdb
    let unit = directory.parent()?.parent()?;
    let own = unit.file_name()?.to_str()?;
    let target = unit.parent()?;
    let (before, _) = own.rsplit_once(':')?;
    let mut others = Vec::new();
    for name in root.entries(target).ok()? {
        let is_unit = name.rsplit_once(':').is_some_and(|(target, _)| target == before);
        if !is_unit || name == own {
            continue;
        }
        let block = target.join(&name).join("block");
        let disks = root.entries(&block).ok()?;
        // Linux, `include/scsi/scsi_proto.h`: 0 is a disk, 20 one with zones. One that the kernel made no disk of counts all the same.
        let kind = root.text(target.join(&name).join("type")).ok()?;
        if disks.is_empty() && matches!(kind.as_deref(), Some("0" | "20")) {
            others.push(Unit { name, directory: None });
            continue;
        }
        let shown = |disk: String| Unit { directory: Some(block.join(&disk)), name: disk };
        others.extend(disks.into_iter().map(shown));
    }
    Some(others)
}

/// Holds for the only logical unit of its SCSI target, by the kernel's name of the disk: as
/// [`Held::is_only_unit`](crate::Held::is_only_unit), for a disk that is not held.
pub fn is_only_unit(root: &Root, name: &str) -> bool {
    let directory = root.real(Path::new("sys/block").join(name)).ok().flatten();
    directory.and_then(|own| others(root, &own)).is_some_and(|units| units.is_empty())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn check(files: &[&str]) -> Option<Vec<String>> {
        let directory = tempfile::tempdir().unwrap();
        for path in files {
            let path = directory.path().join("sys/devices/host0").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "0\n").unwrap();
        }
        let root = Root::captured(directory.path());
        let own = Path::new("sys/devices/host0/target0:0:1/0:0:1:0/block/sda");
        others(&root, own).map(|units| units.into_iter().map(|unit| unit.name).collect())
    }

    #[test]
    fn units_of_the_same_target_are_others_and_those_of_another_are_not() {
        let own = "target0:0:1/0:0:1:0/block/sda/size";
        assert_eq!(check(&[own]), Some(vec![]));
        let elsewhere = "target0:0:2/0:0:2:0/block/sdb/size";
        assert_eq!(check(&[own, elsewhere]), Some(vec![]));
        let second = "target0:0:1/0:0:1:1/block/sdc/size";
        assert_eq!(check(&[own, second]), Some(vec!["sdc".to_owned()]));
        // One that is a disk, and that the kernel made none of.
        let third = "target0:0:1/0:0:1:2/type";
        assert_eq!(check(&[own, third]), Some(vec!["0:0:1:2".to_owned()]));
    }

    #[test]
    fn a_disk_that_is_not_held_is_the_only_unit_where_the_tree_shows_that() {
        let directory = tempfile::tempdir().unwrap();
        let (sys, root) = (directory.path().join("sys"), Root::captured(directory.path()));
        let shown = |name: &str, place: &str| {
            fs::create_dir_all(sys.join(place)).unwrap();
            fs::create_dir_all(sys.join("block")).unwrap();
            let link = Path::new("..").join(place);
            std::os::unix::fs::symlink(link, sys.join("block").join(name)).unwrap();
        };
        shown("sda", "devices/host0/target0:0:1/0:0:1:0/block/sda");
        shown("vda", "devices/virtio0/block/vda");
        assert!(is_only_unit(&root, "sda"));
        assert!(!is_only_unit(&root, "vda") && !is_only_unit(&root, "sdc"));
        fs::write(sys.join("devices/host0/target0:0:1/0:0:1:0/type"), "0\n").unwrap();
        shown("sdb", "devices/host0/target0:0:1/0:0:1:1/block/sdb");
        fs::write(sys.join("devices/host0/target0:0:1/0:0:1:1/type"), "0\n").unwrap();
        assert!(!is_only_unit(&root, "sda") && !is_only_unit(&root, "sdb"));
    }

    #[test]
    fn what_stands_below_no_target_does_not_tell() {
        let root = Root::captured("/nowhere");
        for place in ["sys/devices/virtual/block/loop0", "sys/devices/virtio0/block/vda", "sda"] {
            assert_eq!(others(&root, Path::new(place)), None, "{place}");
        }
    }
}
