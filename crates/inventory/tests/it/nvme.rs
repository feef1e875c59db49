//! NVMe controllers of real machines, from the tests of libnvme.

use std::{fs, path::Path, process::Command};

use protocol::inventory::{Disk, Transport};

use crate::tree::{Tree, shared};

/// Unpacks a captured tree, and adds what libnvme does not need and left out: the links of `sys/class/block`.
fn unpack(name: &str) -> Option<Tree> {
    let archive = shared(name)?;
    let tree = Tree::empty();
    let status = Command::new("tar").arg("-xJf").arg(archive).arg("-C").arg(tree.path()).status();
    assert!(status.expect("tar is there").success());
    link_disks(&tree, &tree.path().join("sys/devices"));
    Some(tree)
}

fn link_disks(tree: &Tree, directory: &Path) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let entry = entry.expect("an entry");
        if !entry.file_type().expect("a type").is_dir() {
            continue;
        }
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        if entry.path().join("size").exists() {
            let path = entry.path();
            let target = path.strip_prefix(tree.path()).expect("it is in the tree");
            tree.link(&format!("sys/class/block/{name}"), Path::new("../../..").join(target));
        }
        link_disks(tree, &entry.path());
    }
}

fn disks(name: &str) -> Option<Vec<Disk>> {
    Some(unpack(name)?.collect().disks)
}

#[test]
fn a_multipath_namespace_is_one_disk() {
    let Some(disks) = disks("nvme-sysfs-tree-pcie.tar.xz") else { return };
    let names: Vec<&str> = disks.iter().map(|disk| disk.name.as_str()).collect();
    assert_eq!(names, ["nvme0n1", "nvme1n1"], "the paths nvme1c1n1 and nvme1c2n1 are hidden");
    assert!(disks.iter().all(|disk| disk.transport == Some(Transport::Nvme)));
    let [single, multipath] = disks.as_slice() else { panic!("two disks: {disks:?}") };
    assert_eq!(single.serial.as_deref(), Some("S7DFNG0W700063"));
    assert_eq!(single.nguid.as_deref(), Some("374446305770006300253847000002e1"));
    assert_eq!(single.by_path.as_deref(), Some("pci-0214:90:00.0-nvme-1"));
    assert_eq!(single.by_id[0], "nvme-eui.374446305770006300253847000002e1");
    assert_eq!(multipath.nguid.as_deref(), Some("36525430529000570025384500000001"));
    assert_eq!(multipath.by_path.as_deref(), Some("pci-052e:78:00.0-nvme-1"));
}

#[test]
fn a_controller_that_is_no_pci_device_has_its_disks() {
    let Some(disks) = disks("nvme-sysfs-tree-apple.tar.xz") else { return };
    let names: Vec<&str> = disks.iter().map(|disk| disk.name.as_str()).collect();
    assert_eq!(names, ["nvme0n1", "nvme0n2", "nvme0n3"], "and none of the partitions");
    for disk in &disks {
        assert_eq!(disk.model.as_deref(), Some("APPLE SSD AP2048Z"));
        assert_eq!(disk.serial.as_deref(), Some("0ba01e49841cc620"));
        assert_eq!(disk.transport, Some(Transport::Nvme), "{}", disk.name);
        assert_eq!(disk.logical_sector_bytes, Some(4096));
    }
}
