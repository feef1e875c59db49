use std::fs;

use super::*;
use crate::tree::tests::Writer;

const ALIAS: &str = "alias of:N*T*Cmaker,port macb\nalias of:N*T*Cmaker,portC* macb\n\
    alias pci:v00001DE4d00000001sv*sd*bc*sc*i* rp1_pci\n\
    alias mdio:0110000000001101100001001010???? broadcom\n";
const DEP: &str = "kernel/macb.ko.xz:\nkernel/rp1_pci.ko.xz:\nkernel/broadcom.ko.xz:\n";
const SOFTDEP: &str = "softdep macb pre: broadcom\n";

/// A port behind a chip on PCI, and a console that the kernel knows by its number.
fn tree(status: &str) -> Tree {
    let bytes = Writer::default()
        .begin("")
        .texts("compatible", &["maker,board"])
        .begin("aliases")
        .texts("ethernet0", &["/chip@0,0/ethernet@1"])
        .end()
        .begin("chosen")
        .texts("stdout-path", &["/serial@7"])
        .end()
        .begin("chip@0,0")
        .texts("compatible", &["pci1de4,1"])
        .texts("status", &[status])
        .begin("ethernet@1")
        .texts("compatible", &["maker,port"])
        .numbers("interrupt-parent", &[1])
        .numbers("phy-handle", &[2])
        .begin("transceiver")
        .numbers("phandle", &[2])
        .end()
        .end()
        .end()
        .begin("interrupts")
        .texts("compatible", &["maker,interrupts"])
        .numbers("phandle", &[1])
        .end()
        .begin("serial@7")
        .texts("compatible", &["arm,pl011", "arm,primecell"])
        .numbers("arm,primecell-periphid", &[0x0034_1011])
        .end()
        .end()
        .finish();
    Tree::parse(&bytes).unwrap()
}

#[track_caller]
fn check(tree: &Tree, softdep: &str, files: &[&str], tables: &[&str], wrong: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("kernel")).unwrap();
    for file in files {
        fs::write(directory.path().join("kernel").join(file), b"").unwrap();
    }
    let texts = Texts { alias: ALIAS.into(), dep: DEP.into(), softdep: softdep.into() };
    let directory = directory.path().to_owned();
    let core = Kernel { release: "7.3".into(), directory, texts };
    let built_in = aliases(b"amba_pl011.alias=amba:d???41011\0amba_pl011.license=GPL\0");
    let drivers = Drivers {
        core: &core,
        index: Index::new(&core.texts),
        built_in: Index::new(&built_in),
        tables: tables.iter().copied().collect(),
    };
    let (devices, said) = drivers.check(tree).unwrap();
    assert_eq!(said, wrong);
    assert_eq!(devices, 4);
}

const FILES: [&str; 3] = ["macb.ko.xz", "rp1_pci.ko.xz", "broadcom.ko.xz"];

#[test]
fn each_device_on_the_way_has_a_driver() {
    check(&tree("okay"), SOFTDEP, &FILES, &["maker,interrupts"], &[]);
}

#[test]
fn what_nothing_drives_is_named() {
    let interrupts = "nothing drives /interrupts, maker,interrupts";
    check(&tree("okay"), SOFTDEP, &FILES, &[], &[interrupts]);
    let chip = "nothing drives /chip@0,0, pci1de4,1";
    check(&tree("okay"), SOFTDEP, &[FILES[0], FILES[2]], &["maker,interrupts"], &[chip]);
    // What a driver wants before itself is on the way too.
    let port = "nothing drives /chip@0,0/ethernet@1, maker,port";
    check(&tree("okay"), SOFTDEP, &FILES[..2], &["maker,interrupts"], &[port]);
    let off = "/chip@0,0 is switched off";
    check(&tree("disabled"), SOFTDEP, &FILES, &["maker,interrupts"], &[off]);
}

#[test]
fn a_transceiver_whose_driver_nobody_loads_is_an_error() {
    let late = "no driver of a transceiver comes before that of /chip@0,0/ethernet@1";
    check(&tree("okay"), "", &FILES, &["maker,interrupts"], &[late]);
    let behind = "softdep macb post: broadcom\n";
    check(&tree("okay"), behind, &FILES, &["maker,interrupts"], &[late]);
}

#[test]
fn the_kernels_tables_are_told_from_its_other_words() {
    let entry = |text: &str| {
        let mut entry = vec![0; NO_NAME + COMPATIBLE + 8];
        entry[NO_NAME..NO_NAME + text.len()].copy_from_slice(text.as_bytes());
        entry
    };
    let mut image = vec![0xff; 16];
    image.extend(entry("arm,gic-400"));
    image.extend(b"a message of maker,port\0");
    image.extend(entry("fixed-clock"));
    assert_eq!(tables(&image), BTreeSet::from(["arm,gic-400", "fixed-clock"]));
    for length in 0..image.len() {
        assert!(tables(&image[..length]).len() <= 2);
    }
}
