//! Trees made to do harm: nothing panics, nothing hangs, nothing outside the tree is read.

use std::{
    fs,
    path::Path,
    sync::{LazyLock, Mutex, PoisonError},
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use proptest::prelude::*;

use crate::tree::Tree;

const MACHINE: &str = include_str!("../data/qemu-disks.tree");

#[test]
fn links_do_not_lead_out_of_a_captured_tree() {
    let secret = tempfile::tempdir().unwrap();
    fs::write(secret.path().join("secret"), "outside").unwrap();
    let outside = secret.path().join("secret");
    let up = format!("{}{}", "../".repeat(40), outside.display());
    let tree = Tree::empty();
    tree.file("inside", "inside");
    tree.link("absolute", &outside);
    tree.link("up", &up);
    tree.link("directory", secret.path());
    tree.link("chain", "absolute");
    tree.link("sys/own", "/inside");
    tree.link("sys/above", "../../../../inside");
    let root = tree.root();
    for path in ["absolute", "up", "chain", "directory/secret", &up, "sys/../../../up"] {
        assert_eq!(root.text(path).unwrap(), None, "{path}");
        assert!(root.open(path).unwrap().is_none(), "{path}");
        assert!(!root.exists(path), "{path}");
        assert_eq!(root.real(path).unwrap(), None, "{path}");
    }
    assert_eq!(root.entries("directory").unwrap(), Vec::<String>::new());
    for path in ["sys/own", "sys/above", "/inside", "../../inside", "./inside"] {
        assert_eq!(root.text(path).unwrap().as_deref(), Some("inside"), "{path}");
        assert_eq!(root.real(path).unwrap().as_deref(), Some(Path::new("inside")), "{path}");
    }
}

#[test]
fn a_circle_of_links_is_an_error() {
    let tree = Tree::new("a -> b\nb -> a\nself -> self\nsys/x -> ../sys/x/y");
    for path in ["a", "self", "a/b", "sys/x"] {
        let error = tree.root().text(path).unwrap_err();
        assert!(matches!(error, inventory::RootError::Loop { .. }), "{error}");
        assert!(tree.root().entries(path).is_err());
    }
}

#[test]
fn what_is_no_file_is_not_opened() {
    let tree = Tree::empty();
    // Opening a FIFO that nobody writes to waits for ever.
    mkfifo(&tree.path().join("fifo"), Mode::S_IRWXU).unwrap();
    tree.file("directory/file", "");
    for path in ["fifo", "directory"] {
        let error = tree.root().bytes(path).unwrap_err();
        assert!(matches!(error, inventory::RootError::Kind { .. }), "{error}");
        assert!(tree.root().open(path).is_err());
    }
    assert_eq!(tree.root().text("directory/file").unwrap(), None, "an empty file says nothing");
    assert_eq!(tree.root().text("directory/file/below").unwrap(), None);
}

#[test]
fn a_huge_file_is_not_swallowed() {
    let tree = Tree::empty();
    tree.file("proc/cpuinfo", "");
    fs::File::options()
        .write(true)
        .open(tree.path().join("proc/cpuinfo"))
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    let inventory = tree.collect();
    assert_eq!(inventory.processors, []);
    let gap = inventory.gaps.iter().find(|gap| gap.what == "processors").expect("a gap");
    assert_eq!(gap.reason, "proc/cpuinfo is larger than 4194304");
}

#[test]
fn an_empty_tree_is_an_empty_inventory_without_gaps() {
    assert_eq!(Tree::empty().collect(), protocol::Inventory::default());
}

#[test]
fn junk_in_every_file_is_survived() {
    let tree = Tree::new(MACHINE);
    for junk in [
        &b"\xff\xfe\0\x80junk"[..],
        b"",
        b"\x1b[2Jgone",
        b"-1",
        b"99999999999999999999999",
        b"\n\n\n",
        b"0:0:0:0",
    ] {
        for line in MACHINE.lines() {
            if let Some((path, _)) = line.split_once(" = ") {
                tree.file(path, junk);
            }
        }
        let inventory = tree.collect();
        let text = serde_json::to_string(&inventory).unwrap();
        assert!(!text.contains('\u{fffd}'), "nothing is guessed from bytes that are no text");
        let table = inventory::table(&inventory);
        assert!(!table.contains('\u{fffd}') && !table.contains('\x1b'), "{table}");
    }
}

#[test]
fn links_that_point_to_each_other_in_every_place_are_survived() {
    let tree = Tree::empty();
    for line in MACHINE.lines() {
        if let Some((path, _)) = line.split_once(" -> ") {
            tree.link(path, "/sys/class/block/sda/device/../../../../block/sda");
        }
    }
    let inventory = tree.collect();
    assert_eq!(inventory.disks, []);
}

#[test]
fn a_disk_that_a_tree_holds_is_read_from_there() {
    let tree = Tree::new(MACHINE);
    let mut disk = vec![0; 4 << 20];
    tree.file("dev/vda", &disk);
    disk[..4].copy_from_slice(b"XFSB");
    tree.file("dev/sda", &disk);
    tree.link("dev/sdb", "/dev/null");
    tree.link("dev/vdb", "vdb");
    let inventory = tree.collect();
    let content = |name: &str| {
        inventory.disks.iter().find(|disk| disk.name == name).and_then(|disk| disk.content.clone())
    };
    assert!(content("vda").unwrap().blank);
    assert_eq!(content("sda").unwrap().signatures[0].kind, "xfs");
    assert_eq!(content("sdb"), None, "this machine's /dev/null is no disk of that machine");
    assert_eq!(content("vdb"), None);
    assert!(inventory.gaps.iter().any(|gap| gap.what == "disks/sdb/content"));
}

/// Laying out the tree costs a second on a slow disk: it is mended after each case instead.
static TREE: LazyLock<Mutex<Tree>> = LazyLock::new(|| Mutex::new(Tree::new(MACHINE)));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_mutated_machine_is_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..80)), 1..40),
    ) {
        let files: Vec<&str> = MACHINE.lines().filter(|line| line.contains(" = ")).collect();
        let tree = TREE.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, bytes) in &changes {
            let (path, _) = place.get(&files).split_once(" = ").expect("a file");
            tree.file(path, bytes);
        }
        let inventory = inventory::collect_fast(&tree.root());
        prop_assert!(!inventory::table(&inventory).is_empty());
        for (place, _) in &changes {
            let line: &str = place.get::<&str>(&files);
            tree.add(line);
        }
    }

    #[test]
    fn mutated_tables_are_survived(changes in prop::collection::vec((0_usize..400, any::<u8>()), 1..60)) {
        let table = MACHINE.lines().find_map(|line| line.strip_prefix("sys/firmware/dmi/tables/DMI = ")).expect("it has one");
        let tree = Tree::new(&format!("t = {table}"));
        let mut bytes = fs::read(tree.path().join("t")).unwrap();
        for (place, byte) in changes {
            let place = place % bytes.len();
            bytes[place] = byte;
        }
        tree.file("sys/firmware/dmi/tables/DMI", bytes);
        let _survived = inventory::collect_fast(&tree.root());
    }
}
