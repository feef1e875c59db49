//! What the specifications say, asked of the simulator.

use super::*;

const PSID: &[u8] = b"0123456789ABCDEF0123456789ABCDEF";

/// A disk that is full of `0x5a`, and then locked.
fn written(config: Config) -> Disk {
    let mut disk = Disk::new(config);
    disk.set_locked(false);
    assert!(disk.write(0, &vec![0x5a; 128 * BLOCK]));
    disk.set_locked(true);
    disk
}

fn left(disk: &Disk) -> usize {
    disk.medium().chunks(BLOCK).filter(|block| block.iter().all(|byte| *byte == 0x5a)).count()
}

fn refused(status: u8) -> Result<(), Failure> {
    Err(Failure::Status(status))
}

#[test]
fn the_flags_say_how_it_stands() {
    assert_eq!(Disk::new(Config::default()).status(), Ok(0x0f));
    let config =
        Config { shadow_is_enabled: true, sid: None, global_is_locked: false, ..Config::default() };
    assert_eq!(Disk::new(config).status(), Ok(0x13));
    let config = Config { locking_is_supported: false, ..Config::default() };
    assert_eq!(Disk::new(config).status(), Ok(0x01));
    let mut none = Disk::new(Config { is_supported: false, ..Config::default() });
    assert_eq!(none.status(), Ok(0));
    assert_eq!(none.revert_with_psid(PSID), refused(status::FAIL));
}

#[test]
fn a_revert_with_either_credential_unlocks_and_makes_all_unreadable() {
    for with_psid in [true, false] {
        let ranges =
            vec![LockingRange { first: 64, blocks: 32, is_locked: true, locks_at_power_on: true }];
        let mut disk = written(Config { ranges, ..Config::default() });
        assert_eq!(disk.read(0, 1), None);
        assert_eq!(disk.read(64, 1), None);
        assert_eq!(left(&disk), 128);
        let reverted =
            if with_psid { disk.revert_with_psid(PSID) } else { disk.revert_with_sid(b"owner") };
        assert_eq!(reverted, Ok(()));
        assert_eq!(disk.status(), Ok(0x03));
        assert_eq!(left(&disk), 0);
        for lba in [0, 64, 127] {
            assert_ne!(disk.read(lba, 1).unwrap(), vec![0x5a; BLOCK]);
        }
        assert!(disk.write(64, &[1; BLOCK]));
        assert_eq!(disk.read(64, 1).unwrap(), [1; BLOCK]);
        assert_eq!(disk.revert_with_sid(b"owner"), refused(status::NOT_AUTHORIZED));
        assert_eq!(disk.revert_with_sid(b"MSID-FACTORY"), Ok(()), "the factory's is valid again");
        assert_eq!(disk.read(64, 1).unwrap(), [1; BLOCK], "without an owner nothing is erased");
    }
}

#[test]
fn wrong_credentials_lock_out_until_power_is_cut() {
    let mut disk = written(Config::default());
    for _ in 0..5 {
        assert_eq!(disk.revert_with_psid(b"wrong"), refused(status::NOT_AUTHORIZED));
    }
    assert_eq!(disk.revert_with_psid(PSID), refused(status::AUTHORITY_LOCKED_OUT));
    disk.reset();
    assert_eq!(disk.revert_with_psid(PSID), refused(status::AUTHORITY_LOCKED_OUT));
    assert_eq!(
        disk.revert_with_sid(b"wrong"),
        refused(status::NOT_AUTHORIZED),
        "another authority"
    );
    assert_eq!(left(&disk), 128);
    disk.power_cut();
    for _ in 0..4 {
        assert_eq!(disk.revert_with_psid(b"wrong"), refused(status::NOT_AUTHORIZED), "all anew");
        assert_eq!(disk.revert_with_sid(b"wrong"), refused(status::NOT_AUTHORIZED), "all anew");
    }
    assert_eq!(disk.clone().revert_with_sid(b"owner"), Ok(()));
    assert_eq!(disk.revert_with_psid(PSID), Ok(()));
    let mut disk = written(Config { attempts: 1, attempts_persist: true, ..Config::default() });
    assert_eq!(disk.revert_with_psid(b"wrong"), refused(status::NOT_AUTHORIZED));
    disk.power_cut();
    assert_eq!(disk.revert_with_psid(PSID), refused(status::AUTHORITY_LOCKED_OUT));
}

#[test]
fn a_right_credential_between_wrong_ones_counts_them_anew() {
    let mut disk = written(Config { course: Course::FailsAt(0), ..Config::default() });
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(disk.revert_with_sid(b"wrong"), refused(status::NOT_AUTHORIZED));
        }
        assert_eq!(disk.revert_with_sid(b"owner"), refused(status::FAIL));
    }
    assert_eq!((disk.status(), left(&disk)), (Ok(0x0f), 128));
}

#[test]
fn after_a_revert_all_attempts_are_there_again() {
    let mut disk = written(Config::default());
    assert_eq!(disk.revert_with_sid(b"wrong"), refused(status::NOT_AUTHORIZED));
    assert_eq!(disk.revert_with_psid(b"wrong"), refused(status::NOT_AUTHORIZED));
    assert_eq!(disk.revert_with_psid(PSID), Ok(()));
    for attempt in 0..6 {
        let expected =
            if attempt < 5 { status::NOT_AUTHORIZED } else { status::AUTHORITY_LOCKED_OUT };
        assert_eq!(disk.revert_with_sid(b"wrong"), refused(expected), "{attempt}");
        assert_eq!(disk.revert_with_psid(b"wrong"), refused(expected), "{attempt}");
    }
}

#[test]
fn a_blocked_owner_and_a_disk_without_label_are_refused() {
    let mut disk = written(Config { sid_is_blocked: true, psid: None, ..Config::default() });
    assert_eq!(disk.revert_with_sid(b"owner"), refused(status::NOT_AUTHORIZED));
    assert_eq!(disk.revert_with_psid(PSID), refused(status::INVALID_PARAMETER));
    disk.power_cut();
    assert_eq!(disk.revert_with_sid(b"owner"), Ok(()));
}

#[test]
fn ranges_lock_when_power_comes_where_they_were_told_to() {
    let range = |first, locks_at_power_on| LockingRange {
        first,
        blocks: 8,
        is_locked: false,
        locks_at_power_on,
    };
    let ranges = vec![range(0, true), range(8, false)];
    let mut disk = Disk::new(Config { ranges, global_is_locked: false, ..Config::default() });
    assert_eq!(disk.read(0, 16).unwrap(), [0; 16 * BLOCK], "nothing was written yet");
    disk.power_cut();
    assert_eq!(disk.status(), Ok(0x0f));
    assert!(disk.read(0, 1).is_none() && disk.read(8, 1).is_some());
    assert!(!disk.write(7, &[0; 2 * BLOCK]));
    assert!(disk.read(120, 9).is_none(), "beyond the end");
}

#[test]
fn a_revert_can_hang_or_lie() {
    let mut disk = written(Config { course: Course::SticksAt(0), ..Config::default() });
    assert_eq!(disk.revert_with_psid(PSID), Err(Failure::NoAnswer));
    assert_eq!(disk.status(), Err(Failure::NoAnswer));
    disk.power_cut();
    assert_eq!(disk.status(), Ok(0x0f));
    let ranges =
        vec![LockingRange { first: 0, blocks: 8, is_locked: true, locks_at_power_on: true }];
    let mut disk = written(Config { course: Course::Lies, ranges, ..Config::default() });
    assert_eq!(disk.revert_with_psid(PSID), Ok(()));
    assert_eq!(disk.status(), Ok(0x03));
    assert_eq!(disk.read(0, 9).unwrap(), vec![0x5a; 9 * BLOCK]);
}

/// Core specification, table 166; `<linux/sed-opal.h>`.
#[test]
fn codes_and_flags_are_those_of_the_specification() {
    let codes = [
        status::NOT_AUTHORIZED,
        status::INVALID_PARAMETER,
        status::AUTHORITY_LOCKED_OUT,
        status::FAIL,
    ];
    assert_eq!(codes, [0x01, 0x0c, 0x12, 0x3f]);
    let flags = [
        flag::SUPPORTED,
        flag::LOCKING_SUPPORTED,
        flag::LOCKING_ENABLED,
        flag::LOCKED,
        flag::SHADOW_ENABLED,
    ];
    assert_eq!(flags, [1, 2, 4, 8, 16]);
    let all = Config { shadow_is_enabled: true, ..Config::default() };
    assert_eq!(Disk::new(all).status(), Ok(0x1f));
    let open = Config { global_is_locked: false, ..Config::default() };
    assert_eq!(Disk::new(open.clone()).status(), Ok(0x07));
    assert_eq!(Disk::new(Config { sid: None, ..open }).status(), Ok(0x03));
}
