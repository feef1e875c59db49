//! Names as a real udev made them: the same machine, the same boot (see data/INDEX).

use std::collections::BTreeSet;

use crate::tree::Tree;

const MACHINE: &str = include_str!("../data/qemu-disks.tree");
const UDEV: &str = include_str!("../data/qemu-disks.udev");

#[test]
fn every_disk_has_the_names_that_udev_gave_it() {
    let inventory = Tree::new(MACHINE).collect();
    let names: Vec<&str> = inventory.disks.iter().map(|disk| disk.name.as_str()).collect();
    let lines: Vec<Vec<&str>> = UDEV.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(names, lines.iter().map(|line| line[0]).collect::<Vec<_>>());

    for (disk, line) in inventory.disks.iter().zip(lines) {
        let below = |directory: &str| -> BTreeSet<&str> {
            line.iter().filter_map(|link| link.strip_prefix(directory)).collect()
        };
        let mut by_id: BTreeSet<&str> = disk.by_id.iter().map(String::as_str).collect();
        if disk.name == "nvme0n2" {
            // Both namespaces claim the old name; udev lets one of them have it.
            by_id.remove("nvme-QEMU_NVMe_Ctrl_NV0SERIAL");
        }
        assert_eq!(by_id, below("disk/by-id/"), "{}", disk.name);
        let by_path = below("disk/by-path/");
        match disk.by_path.as_deref() {
            Some(name) => assert!(by_path.contains(name), "{name} of {by_path:?}"),
            None => assert_eq!(by_path, BTreeSet::new(), "{}", disk.name),
        }
    }
}

#[test]
fn the_whole_machine_reads_well() {
    let mut inventory = Tree::new(MACHINE).collect();
    // The capture has no copies of the disks.
    let contents = inventory.gaps.iter().filter(|gap| gap.what.ends_with("/content")).count();
    assert_eq!(contents, inventory.disks.len());
    inventory.gaps.retain(|gap| !gap.what.ends_with("/content"));
    for processor in &mut inventory.processors {
        processor.flags.truncate(3);
    }
    insta::assert_json_snapshot!("qemu-disks", inventory);
    insta::assert_snapshot!("qemu-disks-table", inventory::table(&inventory));
}

#[test]
fn the_uuid_is_the_one_that_the_kernel_shows() {
    let inventory = Tree::new(MACHINE).collect();
    assert_eq!(inventory.system.uuid.as_deref(), Some("00112233-4455-6677-8899-aabbccddeeff"));
}
