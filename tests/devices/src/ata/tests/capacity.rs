//! What is hidden.

use super::*;

fn hidden() -> Config {
    Config { maximum_address: Some(99), overlay_address: Some(119), ..Config::default() }
}

#[test]
fn the_native_maximum_is_told_and_set_right_after() {
    let mut disk = Disk::new(hidden());
    assert_eq!(identify(&mut disk)[100], 100);
    assert_eq!(disk.read(100, 1), Err(Abort { error: NOT_FOUND, lba: 100 }));
    assert_eq!(order(&mut disk, 0x37, 0, 0, 119).error, ABORTED, "without reading it first");
    assert_eq!(order(&mut disk, 0x27, 0, 0, 0).lba, 119);
    identify(&mut disk);
    assert_eq!(order(&mut disk, 0x37, 0, 0, 119).error, ABORTED, "not right after");
    order(&mut disk, 0x27, 0, 0, 0);
    assert_eq!(order(&mut disk, 0x37, 0, 0, 120).error, NOT_FOUND, "more than native");
    order(&mut disk, 0x27, 0, 0, 0);
    assert_eq!(order(&mut disk, 0x37, 0, 0, 119).error, 0);
    assert_eq!(disk.accessible_sectors(), 120);
    disk.read(119, 1).unwrap();
    disk.power_cut();
    assert_eq!(disk.accessible_sectors(), 100, "it was volatile");
}

#[test]
fn the_commands_of_28_bits_belong_together() {
    let mut disk = Disk::new(hidden());
    let mut short = |command: u8, lba: u8| {
        let cdb = [0x85, 3 << 1, 0x20, 0, 0, 0, 0, 0, lba, 0, 0, 0, 0, 0xe0, command, 0];
        registers(&disk.execute(&cdb, &mut []).unwrap())
    };
    assert_eq!(short(0xf8, 0).lba, 119);
    assert_eq!(short(0xf9, 119).error, 0);
    assert_eq!(short(0xf9, 109).error, ABORTED);
    order(&mut disk, 0x27, 0, 0, 0);
    let cdb = [0x85, 3 << 1, 0x20, 0, 0, 0, 0, 0, 109, 0, 0, 0, 0, 0xe0, 0xf9, 0];
    assert_eq!(registers(&disk.execute(&cdb, &mut []).unwrap()).error, ABORTED, "not of one size");
    assert_eq!(disk.accessible_sectors(), 120);
}

#[test]
fn a_persistent_maximum_is_set_once_between_two_power_cuts() {
    let mut disk = Disk::new(hidden());
    for (lba, error) in [(119, 0), (109, NOT_FOUND)] {
        order(&mut disk, 0x27, 0, 0, 0);
        assert_eq!(order(&mut disk, 0x37, 0, 1, lba).error, error);
    }
    disk.power_cut();
    assert_eq!(disk.accessible_sectors(), 120);
    order(&mut disk, 0x27, 0, 0, 0);
    assert_eq!(order(&mut disk, 0x37, 0, 1, 109).error, 0);
}

#[test]
fn a_frozen_maximum_stays() {
    let mut disk = Disk::new(hidden());
    assert_eq!(order(&mut disk, 0xf9, 4, 0, 0).error, 0);
    order(&mut disk, 0x27, 0, 0, 0);
    assert_eq!(order(&mut disk, 0x37, 0, 0, 119).error, ABORTED);
    disk.power_cut();
    order(&mut disk, 0x27, 0, 0, 0);
    assert_eq!(order(&mut disk, 0x37, 0, 0, 119).error, 0);
}

#[test]
fn the_overlay_is_told_and_restored_when_nothing_else_hides() {
    let mut disk = Disk::new(hidden());
    let mut page = [0; 512];
    let cdb = [0x85, 4 << 1, 0x0e, 0, 0xc2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xb1, 0];
    assert_eq!(disk.execute(&cdb, &mut page).unwrap().status, 0);
    assert_eq!((page[6], page[510]), (127, 0xa5));
    assert_eq!(page.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
    assert_eq!(order(&mut disk, 0xb1, 0xc0, 0, 0).error, ABORTED, "a protected area hides");
    order(&mut disk, 0x27, 0, 0, 0);
    order(&mut disk, 0x37, 0, 0, 119);
    assert_eq!(order(&mut disk, 0xb1, 0xc0, 0, 0).error, 0);
    assert_eq!(order(&mut disk, 0x27, 0, 0, 0).lba, 127);
    assert_eq!(disk.accessible_sectors(), 128);
}

#[test]
fn a_frozen_overlay_is_neither_told_nor_restored() {
    let mut disk = Disk::new(Config { overlay_address: Some(119), ..Config::default() });
    assert_eq!(order(&mut disk, 0xb1, 0xc1, 0, 0).error, 0);
    assert_eq!(order(&mut disk, 0xb1, 0xc0, 0, 0).error, ABORTED);
    let cdb = [0x85, 4 << 1, 0x2e, 0, 0xc2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xb1, 0];
    assert_eq!(registers(&disk.execute(&cdb, &mut [0; 512]).unwrap()).error, ABORTED);
    disk.power_cut();
    assert_eq!(order(&mut disk, 0xb1, 0xc0, 0, 0).error, 0);
}

#[test]
fn the_accessible_maximum_is_told_set_once_and_frozen() {
    let config = Config { maximum_address: Some(99), ..Config::solid_state() };
    let mut disk = Disk::new(config.clone());
    assert_eq!(order(&mut disk, 0x78, 0, 0, 0).lba, 127);
    assert_eq!(order(&mut disk, 0x78, 1, 0, 128).error, NOT_FOUND);
    assert_eq!(order(&mut disk, 0x78, 1, 0, 127).error, 0);
    assert_eq!(disk.accessible_sectors(), 128);
    assert_eq!(order(&mut disk, 0x78, 1, 0, 99).error, ABORTED, "once between two power cuts");
    disk.power_cut();
    assert_eq!(disk.accessible_sectors(), 128);
    assert_eq!(order(&mut disk, 0x78, 2, 0, 0).error, 0);
    assert_eq!(order(&mut disk, 0x78, 1, 0, 99).error, ABORTED);
    assert_eq!(
        order(&mut disk, 0x27, 0, 0, 0).error,
        ABORTED,
        "the other feature set is not there"
    );
}

#[test]
fn a_locked_disk_does_not_change_its_size() {
    let mut disk = Disk::new(hidden());
    assert_eq!(send(&mut disk, 0xf1, &[0; 512]), 0);
    disk.power_cut();
    assert_eq!(order(&mut disk, 0x27, 0, 0, 0).error, 0);
    assert_eq!(order(&mut disk, 0x37, 0, 0, 119).error, ABORTED);
}
