//! Divides a small kernel, and looks whether the check sees what is wrong with what came of it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    check, compression, divide,
    kernel::{self, bytes},
    layout::Layout,
    modinfo::tests::elf,
};

const UNION: &str = "union/lib/modules/6.12/";
const CORE: &str = "modules/lib/modules/6.12/";
const CARD: &str = "pci:v000014E4d0000168Esv00001028sd00001F5Fbc02sc00i00 bnx2x bnx2x/e2.fw\n";

/// A directory with a core of one driver with firmware, and three drivers for the store: of a card with firmware, of one
/// whose firmware nobody has, and of network storage.
fn built() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &[u8]| {
        divide::write(&directory.path().join(path), content).unwrap();
    };
    let modules: [(&str, &str, &[u8]); 4] = [
        ("net/ethernet/r8169", "image/modules/net.list", b"firmware=rtl/a.fw\0"),
        (
            "net/ethernet/bnx2x",
            "image/store/net.list",
            b"firmware=bnx2x/e*.fw\0firmware=rtl/a.fw\0",
        ),
        ("net/ethernet/acenic", "image/store/net.list", b"firmware=acenic/tg2.bin\0"),
        ("scsi/qla2xxx", "image/store/network-storage.list", b"license=GPL\0"),
    ];
    let (mut named, mut dep) = (String::new(), String::new());
    for (module, list, words) in modules {
        let path = format!("kernel/drivers/{module}.ko.xz");
        write(&format!("{UNION}{path}"), &compression::pack(&elf(b".modinfo", words)).unwrap());
        named.push_str(&[list, " ", &path, "\n"].concat());
        dep.push_str(&[&path, ":\n"].concat());
    }
    write("union.named", named.as_bytes());
    write(&format!("{UNION}modules.dep"), dep.as_bytes());
    let alias = "alias pci:v000010ECd00008168sv*sd*bc*sc*i* r8169\n\
        alias pci:v000014E4d0000168Esv*sd*bc*sc*i* bnx2x\n\
        alias pci:v000010A9d00000009sv*sd*bc*sc*i* acenic\n";
    write(&format!("{UNION}modules.alias"), alias.as_bytes());
    write(&format!("{UNION}modules.builtin"), b"");
    write(&format!("{UNION}modules.softdep"), b"");
    write("parts/usr/lib/firmware/rtl/a.fw", b"small");
    write("parts/usr/lib/firmware/bnx2x/e2.fw", &b"large ".repeat(100));
    write("cards", CARD.as_bytes());
    divide::divide(&Layout::new(directory.path())).unwrap();
    directory
}

fn checked(directory: &Path) -> Result<(), String> {
    let layout = Layout::new(directory);
    let cards = kernel::text(&directory.join("cards")).unwrap();
    check::check(&layout, &cards).map(drop).map_err(|error| format!("{error:#}"))
}

/// Does something to what was made, and expects the check to say that.
fn check_finds(damage: impl Fn(&Path), expected: &str) {
    let directory = built();
    checked(directory.path()).unwrap();
    damage(directory.path());
    let found = checked(directory.path()).expect_err(expected);
    assert!(found.contains(expected), "{expected}: {found}");
}

/// Returns a file that the list of the store names.
fn stored(directory: &Path, path: &str) -> PathBuf {
    let list = fs::read_to_string(directory.join(CORE).join("modules.store")).unwrap();
    let line = list.lines().find(|line| line.contains(path)).unwrap();
    directory.join("store").join(line.split_once(' ').unwrap().0)
}

fn replace(path: PathBuf, old: &str, new: &str) {
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(old), "{text}");
    fs::write(path, text.replace(old, new)).unwrap();
}

#[test]
fn every_file_goes_where_it_belongs() {
    let directory = built();
    let text =
        |path: &str| String::from_utf8(bytes(&directory.path().join(path)).unwrap()).unwrap();
    assert_eq!(
        text(&format!("{CORE}modules.firmware")),
        "kernel/drivers/net/ethernet/acenic.ko.xz: !acenic/tg2.bin\n\
         kernel/drivers/net/ethernet/bnx2x.ko.xz: bnx2x/e2.fw rtl/a.fw\n\
         kernel/drivers/net/ethernet/r8169.ko.xz: rtl/a.fw\n"
    );
    let list = text(&format!("{CORE}modules.store"));
    let places: Vec<&str> = list.lines().map(|line| line.splitn(3, ' ').last().unwrap()).collect();
    let expected = [
        "firmware/bnx2x/e2.fw.xz",
        "kernel/drivers/net/ethernet/acenic.ko.xz",
        "kernel/drivers/net/ethernet/bnx2x.ko.xz",
        "kernel/drivers/scsi/qla2xxx.ko.xz network-storage",
    ];
    assert_eq!(places, expected);
    assert_eq!(text("modules/lib/firmware/rtl/a.fw"), "small");
    assert_eq!(text("packs/cards").lines().nth(1), Some("10ec:8168 core"));
    assert!(directory.path().join("packs/bnx2x.cpio").exists());
}

#[test]
fn what_is_made_twice_is_the_same() {
    let (one, other) = (built(), built());
    for file in ["packs/bnx2x.cpio", "packs/network.cpio", "packs/cards"] {
        assert_eq!(
            bytes(&one.path().join(file)).unwrap(),
            bytes(&other.path().join(file)).unwrap()
        );
    }
    for list in ["modules.store", "modules.firmware"] {
        let list = format!("{CORE}{list}");
        assert_eq!(
            bytes(&one.path().join(&list)).unwrap(),
            bytes(&other.path().join(&list)).unwrap()
        );
    }
}

#[test]
fn a_file_of_the_store_that_is_missing_altered_or_strange_is_found() {
    let gone = |at: &Path| fs::remove_file(stored(at, "acenic")).unwrap();
    check_finds(gone, "kernel/drivers/net/ethernet/acenic.ko.xz: No such file");
    let altered = |at: &Path| fs::write(stored(at, "e2.fw"), "other").unwrap();
    check_finds(altered, "firmware/bnx2x/e2.fw.xz is another one");
    check_finds(|at| fs::write(at.join("store/strange"), "").unwrap(), "no line names strange");
}

#[test]
fn a_module_or_firmware_that_is_nowhere_is_found() {
    let module = |at: &Path| {
        fs::remove_file(at.join(CORE).join("kernel/drivers/net/ethernet/r8169.ko.xz")).unwrap();
    };
    check_finds(module, "kernel/drivers/net/ethernet/r8169.ko.xz is nowhere");
    let firmware = |at: &Path| fs::remove_file(at.join("modules/lib/firmware/rtl/a.fw")).unwrap();
    check_finds(
        firmware,
        "rtl/a.fw, which kernel/drivers/net/ethernet/bnx2x.ko.xz asks for, is nowhere",
    );
    let line = |at: &Path| {
        let list = at.join(CORE).join("modules.firmware");
        replace(list, "kernel/drivers/net/ethernet/r8169.ko.xz: rtl/a.fw\n", "");
    };
    check_finds(
        line,
        "no line names rtl/a.fw, which kernel/drivers/net/ethernet/r8169.ko.xz asks for",
    );
}

#[test]
fn a_lost_mark_of_network_storage_is_found() {
    let mark = |at: &Path| replace(at.join(CORE).join("modules.store"), " network-storage", "");
    check_finds(mark, "kernel/drivers/scsi/qla2xxx.ko.xz: the mark of network storage is wrong");
}

#[test]
fn a_pack_that_is_another_one_or_missing_is_found() {
    let other = |at: &Path| {
        fs::copy(at.join("packs/acenic.cpio"), at.join("packs/bnx2x.cpio")).unwrap();
    };
    check_finds(other, "bnx2x.cpio has no kernel/drivers/net/ethernet/bnx2x.ko.xz");
    check_finds(|at| fs::remove_file(at.join("packs/bnx2x.cpio")).unwrap(), "packs/bnx2x.cpio");
    check_finds(|at| fs::write(at.join("packs/x.cpio"), "").unwrap(), "no card needs x.cpio");
}

#[test]
fn a_card_that_finds_no_driver_or_lacks_its_firmware_is_found() {
    let with = |line: &'static str| move |at: &Path| fs::write(at.join("cards"), line).unwrap();
    check_finds(with("# none\n"), "there are no cards to try");
    check_finds(with("pci:v00008086d00001592sv0 ice\n"), "its drivers are [], not ice");
    let firmware = "pci:v000010A9d00000009sv00000000sd00000000bc02sc00i00 acenic acenic/tg2.bin\n";
    check_finds(with(firmware), "acenic/tg2.bin is not among what its modules ask for");
    let pack = |at: &Path| replace(at.join("packs/cards"), "14e4:168e bnx2x", "14e4:168f bnx2x");
    check_finds(pack, "no pack, and not in the core");
}
