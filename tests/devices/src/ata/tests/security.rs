//! The security feature set.

use super::*;

const PASSWORD: &[u8; 32] = b"drydock                         ";
const MASTER: &[u8; 32] = b"                                ";

/// Bits of the first word.
const IS_MASTER: u16 = 1;
const ENHANCED: u16 = 1 << 1;
const MAXIMUM: u16 = 1 << 8;

fn with_password(control: u16, password: &[u8; 32]) -> [u8; 512] {
    let mut data = [0; 512];
    data[..2].copy_from_slice(&control.to_le_bytes());
    data[2..34].copy_from_slice(password);
    data
}

fn set(disk: &mut Disk, control: u16) -> u8 {
    send(disk, 0xf1, &with_password(control, PASSWORD))
}

fn erase(disk: &mut Disk, control: u16, password: &[u8; 32]) -> u8 {
    assert_eq!(order(disk, 0xf3, 0, 0, 0).error, 0);
    send(disk, 0xf4, &with_password(control, password))
}

/// Enabled, locked, frozen, expired.
fn state(disk: &mut Disk) -> (bool, bool, bool, bool) {
    let word = identify(disk)[128];
    (word & 2 != 0, word & 4 != 0, word & 8 != 0, word & 16 != 0)
}

#[test]
fn a_password_locks_after_a_power_cut_and_not_before() {
    let mut disk = written(Config::default());
    assert_eq!(set(&mut disk, 0), 0);
    assert_eq!(state(&mut disk), (true, false, false, false), "SEC5");
    assert_eq!(identify(&mut disk)[85] & 2, 2);
    disk.read(0, 1).unwrap();
    disk.power_cut();
    assert_eq!(state(&mut disk), (true, true, false, false), "SEC4");
    assert_eq!(disk.read(0, 1), Err(Abort::PLAIN));
    assert_eq!(disk.write(0, &[0; 512]), Err(Abort::PLAIN));
    for command in [0xf1, 0xf6] {
        assert_eq!(send(&mut disk, command, &with_password(0, PASSWORD)), ABORTED, "{command:#x}");
    }
    assert_eq!(order(&mut disk, 0xf5, 0, 0, 0).error, ABORTED, "a locked disk cannot be frozen");
    assert_eq!(send(&mut disk, 0xf2, &with_password(0, PASSWORD)), 0);
    disk.read(0, 1).unwrap();
    assert_eq!(send(&mut disk, 0xf6, &with_password(0, PASSWORD)), 0);
    assert_eq!(state(&mut disk), (false, false, false, false), "SEC1");
}

/// ACS-4, security command actions.
#[test]
fn each_state_refuses_its_commands() {
    let refused = |disk: &Disk| -> Vec<u8> {
        (0..=u8::MAX).filter(|command| !disk.security.allows(*command)).collect()
    };
    let mut open = written(Config::default());
    assert_eq!(refused(&open), []);
    let mut locked = open.clone();
    set(&mut locked, 0);
    assert_eq!(refused(&locked), [], "not before power goes");
    locked.power_cut();
    let expected = [0x06, 0x24, 0x25, 0x34, 0x35, 0x37, 0xe7, 0xea, 0xf1, 0xf5, 0xf6, 0xf9];
    assert_eq!(refused(&locked), expected);
    order(&mut open, 0xf5, 0, 0, 0);
    assert_eq!(refused(&open), [0xf1, 0xf2, 0xf3, 0xf4, 0xf6], "frozen");
    let unable = Disk::new(Config { security: None, ..Config::default() });
    assert_eq!(refused(&unable), [0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6]);
}

#[test]
fn five_wrong_passwords_expire_until_power_is_cut() {
    let mut disk = written(Config::default());
    set(&mut disk, 0);
    disk.power_cut();
    for _ in 0..5 {
        assert!(!state(&mut disk).3);
        assert_eq!(send(&mut disk, 0xf2, &with_password(0, MASTER)), ABORTED);
    }
    assert!(state(&mut disk).3);
    assert_eq!(send(&mut disk, 0xf2, &with_password(0, PASSWORD)), ABORTED);
    assert_eq!(erase(&mut disk, 0, PASSWORD), ABORTED);
    disk.reset();
    assert_eq!(send(&mut disk, 0xf2, &with_password(0, PASSWORD)), ABORTED);
    disk.power_cut();
    assert_eq!(send(&mut disk, 0xf2, &with_password(0, PASSWORD)), 0);
}

#[test]
fn the_master_password_unlocks_at_level_high_and_only_erases_at_maximum() {
    let mut disk = written(Config::default());
    set(&mut disk, 0);
    disk.power_cut();
    assert_eq!(send(&mut disk, 0xf2, &with_password(IS_MASTER, MASTER)), 0);
    assert_eq!(set(&mut disk, MAXIMUM), 0);
    assert_eq!(identify(&mut disk)[128] & 0x100, 0x100);
    assert_eq!(send(&mut disk, 0xf6, &with_password(IS_MASTER, MASTER)), ABORTED);
    disk.power_cut();
    assert_eq!(send(&mut disk, 0xf2, &with_password(IS_MASTER, MASTER)), ABORTED);
    assert_eq!(erase(&mut disk, IS_MASTER, MASTER), 0);
    assert_eq!(state(&mut disk), (false, false, false, false));
    assert_eq!(left(&disk), 0);
}

#[test]
fn a_new_master_password_brings_its_identifier_and_enables_nothing() {
    let mut disk = Disk::new(Config::default());
    let mut data = with_password(IS_MASTER, PASSWORD);
    data[34] = 7;
    assert_eq!(send(&mut disk, 0xf1, &data), 0);
    assert_eq!(identify(&mut disk)[92], 7);
    for identifier in [[0, 0], [0xff, 0xff]] {
        data[34..36].copy_from_slice(&identifier);
        assert_eq!(send(&mut disk, 0xf1, &data), 0);
        assert_eq!(identify(&mut disk)[92], 7, "these say nothing");
    }
    assert!(!state(&mut disk).0);
}

#[test]
fn an_erase_follows_its_prepare_at_once() {
    let mut disk = written(Config::default());
    set(&mut disk, 0);
    assert_eq!(send(&mut disk, 0xf4, &with_password(0, PASSWORD)), ABORTED);
    assert_eq!(order(&mut disk, 0xf3, 0, 0, 0).error, 0);
    identify(&mut disk);
    assert_eq!(send(&mut disk, 0xf4, &with_password(0, PASSWORD)), ABORTED);
    assert_eq!(erase(&mut disk, 0, MASTER), ABORTED, "a wrong password");
    assert_eq!(left(&disk), 128);
    assert_eq!(erase(&mut disk, 0, PASSWORD), 0);
    assert_eq!(disk.took(), Duration::from_mins(4));
    assert_eq!(left(&disk), 0);
    assert_eq!(disk.read(0, 1).unwrap(), [0; 512]);
}

#[test]
fn only_an_enhanced_erase_reaches_what_was_reallocated() {
    for (control, expected) in [(0, 1), (ENHANCED, 0)] {
        let mut disk = written(Config::default());
        assert!(disk.reallocate(5));
        set(&mut disk, 0);
        let mut by_master = disk.clone();
        assert_eq!(erase(&mut disk, control, PASSWORD), 0);
        assert_eq!(erase(&mut by_master, control | IS_MASTER, MASTER), 0);
        assert_eq!((left(&disk), left(&by_master)), (expected, expected));
    }
    let mut config = Config::default();
    config.security.as_mut().unwrap().enhanced_erase = false;
    let mut disk = written(config);
    set(&mut disk, 0);
    assert_eq!(erase(&mut disk, ENHANCED, PASSWORD), ABORTED);
    let words = identify(&mut disk);
    assert_eq!((words[128] & 0x20, words[89], words[90]), (0, 2, 0));
}

#[test]
fn both_erases_reach_the_protected_area_and_neither_the_overlay() {
    for control in [0, ENHANCED] {
        let config =
            Config { maximum_address: Some(99), overlay_address: Some(119), ..Config::default() };
        let mut disk = written(config);
        disk.write_hidden(100, &[0x5a; 28 * 512]);
        set(&mut disk, 0);
        assert_eq!(erase(&mut disk, control, PASSWORD), 0);
        assert_eq!(left(&disk), 8);
    }
}

#[test]
fn a_frozen_disk_takes_no_security_command_until_power_was_off() {
    let mut disk = written(Config { freezing: Freezing::AtStart, ..Config::default() });
    assert_eq!(state(&mut disk), (false, false, true, false), "SEC2");
    for command in [0xf1, 0xf2, 0xf4, 0xf6] {
        assert_eq!(send(&mut disk, command, &with_password(IS_MASTER, MASTER)), ABORTED);
    }
    assert_eq!(order(&mut disk, 0xf3, 0, 0, 0).error, ABORTED);
    assert_eq!(order(&mut disk, 0xf5, 0, 0, 0).error, 0);
    disk.reset();
    assert!(state(&mut disk).2, "a reset of the link does not help");
    disk.suspend();
    assert!(!state(&mut disk).2, "sleep does");
    assert_eq!(set(&mut disk, 0), 0);
    assert_eq!(order(&mut disk, 0xf5, 0, 0, 0).error, 0);
    assert_eq!(state(&mut disk), (true, false, true, false), "SEC6");
    disk.read(0, 1).unwrap();
    let mut always = Disk::new(Config { freezing: Freezing::Always, ..Config::default() });
    always.suspend();
    assert!(state(&mut always).2);
}

#[test]
fn a_power_cut_in_an_erase_leaves_a_locked_disk_that_is_half_erased() {
    let mut disk = written(Config::default());
    set(&mut disk, 0);
    order(&mut disk, 0xf3, 0, 0, 0);
    disk.cut_power_in_erase(0x8000);
    let cdb = [0x85, 5 << 1, 0x26, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xa0, 0xf4, 0];
    assert_eq!(disk.execute(&cdb, &mut with_password(0, PASSWORD)), Err(NoAnswer));
    assert_eq!(disk.now(), Duration::from_mins(2), "half of it");
    assert_eq!(state(&mut disk), (true, true, false, false));
    assert_eq!(left(&disk), 64);
    assert_eq!(erase(&mut disk, 0, PASSWORD), 0, "a locked disk is erased with its password");
    assert_eq!(left(&disk), 0);
}

#[test]
fn an_erase_can_fail_hang_or_lie() {
    let with = |course| {
        let mut disk = written(Config { erase_course: course, ..Config::default() });
        set(&mut disk, 0);
        disk
    };
    let mut disk = with(Course::FailsAt(0x8000));
    assert_eq!(erase(&mut disk, 0, PASSWORD), ABORTED);
    assert_eq!((state(&mut disk).0, left(&disk)), (true, 64));
    let mut disk = with(Course::Lies);
    assert_eq!(erase(&mut disk, 0, PASSWORD), 0);
    assert_eq!((state(&mut disk).0, left(&disk)), (false, 128));
    let mut disk = with(Course::SticksAt(655));
    order(&mut disk, 0xf3, 0, 0, 0);
    let cdb = [0x85, 5 << 1, 0x26, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xa0, 0xf4, 0];
    assert_eq!(disk.execute(&cdb, &mut with_password(0, PASSWORD)), Err(NoAnswer));
    assert_eq!(disk.execute(&cdb, &mut [0; 512]), Err(NoAnswer));
    disk.power_cut();
    assert!(state(&mut disk).1);
}
