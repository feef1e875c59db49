//! The sanitize device feature set.

use super::*;

const BLOCK_ERASE: (u8, u64) = (0x12, 0x426b_4572);
const CRYPTO_SCRAMBLE: (u8, u64) = (0x11, 0x4372_7970);
const OVERWRITE: (u8, u64) = (0x14, 0x4f57_0403_0201);
const FREEZE_LOCK: (u8, u64) = (0x20, 0x4672_4c6b);
const ANTIFREEZE_LOCK: (u8, u64) = (0x40, 0x416e_7469);

fn sanitize(disk: &mut Disk, (features, lba): (u8, u64), count: u8) -> Registers {
    order(disk, 0xb4, features, count, lba)
}

fn status(disk: &mut Disk) -> Registers {
    order(disk, 0xb4, 0, 0, 0)
}

const HOUR: Duration = Duration::from_hours(1);

#[test]
fn every_command_removes_all_that_was_ever_written() {
    for (method, config) in [
        (BLOCK_ERASE, Config::solid_state()),
        (CRYPTO_SCRAMBLE, Config::solid_state()),
        (OVERWRITE, Config::default()),
    ] {
        let hidden = Config { maximum_address: Some(99), ..config };
        let mut disk = written(hidden);
        disk.write_hidden(100, &[0x5a; 28 * 512]);
        disk.reallocate(3);
        assert!(left(&disk) > 128);
        let started = sanitize(&mut disk, method, 1);
        assert_eq!((started.error, started.count), (0, 1 << 14));
        disk.advance(HOUR);
        assert_eq!(left(&disk), 0, "{method:x?}");
        let done = status(&mut disk);
        assert_eq!((done.error, done.count, done.lba), (0, 1 << 15, 0xffff));
        disk.read(0, 1).unwrap();
    }
}

#[test]
fn an_overwritten_disk_of_flash_holds_the_pattern() {
    let can = SanitizeCapabilities { overwrite: true, ..Config::solid_state().sanitize.unwrap() };
    let mut disk = written(Config { sanitize: Some(can), ..Config::solid_state() });
    assert_eq!(sanitize(&mut disk, OVERWRITE, 1).error, 0);
    disk.advance(HOUR);
    assert_eq!(disk.read(0, 1).unwrap()[..8], [1, 2, 3, 4, 1, 2, 3, 4]);
}

#[test]
fn what_is_wrong_with_a_command_is_told() {
    let mut disk = Disk::new(Config::solid_state());
    assert_eq!(status(&mut disk), Registers { error: 0, count: 0, lba: 0xffff, status: 0x50 });
    for (method, reason) in
        [(OVERWRITE, 2), ((0x77, 0), 2), ((0x12, 0x426b_4573), 0), ((0x11, 0x426b_4572), 0)]
    {
        let found = sanitize(&mut disk, method, 0);
        assert_eq!((found.error, found.lba, found.status), (ABORTED, reason, 0x51), "{method:x?}");
    }
    let short = [0x85, 3 << 1, 0x20, 0, 0x12, 0, 0, 0x42, 0x72, 0, 0x45, 0, 0x6b, 0xe0, 0xb4, 0];
    assert_eq!(registers(&disk.execute(&short, &mut []).unwrap()).error, ABORTED, "not extended");
    let mut none = Disk::new(Config { sanitize: None, ..Config::solid_state() });
    assert_eq!(sanitize(&mut none, BLOCK_ERASE, 0).error, ABORTED);
    assert_eq!(status(&mut none).error, ABORTED);
}

#[test]
fn while_it_runs_hardly_anything_is_executed_and_it_goes_on_after_a_power_cut() {
    let mut disk = written(Config::solid_state());
    sanitize(&mut disk, BLOCK_ERASE, 0);
    disk.advance(Duration::from_secs(50));
    let running = status(&mut disk);
    assert_eq!((running.count, running.lba), (1 << 14, 0x8000));
    assert_eq!(disk.read(0, 1), Err(Abort::PLAIN));
    assert_eq!(sanitize(&mut disk, BLOCK_ERASE, 0).error, ABORTED);
    assert_eq!(order(&mut disk, 0xf5, 0, 0, 0).error, ABORTED);
    identify(&mut disk);
    disk.power_cut();
    assert_eq!(status(&mut disk).lba, 0x8000);
    disk.advance(Duration::from_secs(50));
    assert_eq!((status(&mut disk).count, left(&disk)), (1 << 15, 0));
}

/// ACS-4, sanitize operation in progress and failed: IDENTIFY DEVICE, CHECK POWER MODE, SECURITY UNLOCK, its own.
#[test]
fn four_commands_are_executed_while_it_runs_and_after_it_failed() {
    let allowed = |disk: &Disk| -> Vec<u8> {
        let task = |command| Task { command, ..Task::default() };
        (0..=u8::MAX).filter(|command| disk.sanitizing.allows(task(*command))).collect()
    };
    let config = Config { sanitize_course: Course::FailsAt(1), ..Config::solid_state() };
    let mut disk = written(config);
    assert_eq!(allowed(&disk).len(), 256);
    sanitize(&mut disk, BLOCK_ERASE, 0);
    assert_eq!(allowed(&disk), [0xb4, 0xe5, 0xec, 0xf2]);
    disk.advance(HOUR);
    assert_eq!(allowed(&disk), [0xb4, 0xe5, 0xec, 0xf2]);
}

#[test]
fn an_overwrite_of_count_zero_has_sixteen_passes_and_inverts_where_it_is_told() {
    let mut disk = written(Config::default());
    sanitize(&mut disk, OVERWRITE, 1 << 7);
    disk.advance(Duration::from_secs(1599));
    assert_eq!(status(&mut disk).count, 1 << 14);
    disk.advance(Duration::from_secs(1));
    assert_eq!(disk.read(0, 1).unwrap()[..4], [254, 253, 252, 251]);
    // Twice, inverted, with a definitive ending pattern.
    sanitize(&mut disk, OVERWRITE, 1 << 7 | 1 << 6 | 2);
    disk.advance(Duration::from_secs(100));
    assert_eq!(disk.medium()[..4], [254, 253, 252, 251]);
    disk.advance(Duration::from_secs(100));
    assert_eq!(disk.read(0, 1).unwrap()[..4], [1, 2, 3, 4]);
}

#[test]
fn a_failure_is_cleared_only_where_the_command_allowed_it() {
    let config = Config { sanitize_course: Course::FailsAt(0x8000), ..Config::solid_state() };
    let mut disk = written(config);
    sanitize(&mut disk, BLOCK_ERASE, 0);
    disk.advance(HOUR);
    let failed = status(&mut disk);
    assert_eq!((failed.error, failed.lba), (ABORTED, 1));
    assert_eq!(order(&mut disk, 0xb4, 0, 1, 0).error, ABORTED);
    assert_eq!(disk.read(0, 1), Err(Abort::PLAIN));
    disk.power_cut();
    assert_eq!(status(&mut disk).lba, 1);
    assert_eq!(sanitize(&mut disk, BLOCK_ERASE, 1 << 4).error, ABORTED, "nor another way out");
    disk.set_sanitize_course(Course::Finishes);
    assert_eq!(sanitize(&mut disk, BLOCK_ERASE, 0).error, 0);
    disk.advance(HOUR);
    assert_eq!((status(&mut disk).count, left(&disk)), (1 << 15, 0));
    disk.write(0, &[0x5a; 512]).unwrap();
    disk.set_sanitize_course(Course::FailsAt(1));
    assert_eq!(sanitize(&mut disk, BLOCK_ERASE, 1 << 4).error, 0);
    disk.advance(HOUR);
    assert_eq!(status(&mut disk).error, ABORTED);
    assert_eq!(order(&mut disk, 0xb4, 0, 1, 0).error, 0);
    assert_eq!(status(&mut disk).count, 0);
    disk.read(0, 1).unwrap();
    assert!(left(&disk) > 0);
}

#[test]
fn a_frozen_one_starts_nothing_and_an_antifreeze_lock_keeps_it_from_freezing() {
    let mut disk = written(Config { sanitize_is_frozen: true, ..Config::solid_state() });
    assert_eq!(status(&mut disk).count, 1 << 13);
    let refused = sanitize(&mut disk, BLOCK_ERASE, 0);
    assert_eq!((refused.error, refused.lba), (ABORTED, 3));
    assert_eq!(sanitize(&mut disk, ANTIFREEZE_LOCK, 0).lba, 3);

    let mut disk = written(Config::solid_state());
    assert_eq!(sanitize(&mut disk, ANTIFREEZE_LOCK, 0).count, 1 << 12);
    let refused = sanitize(&mut disk, FREEZE_LOCK, 0);
    assert_eq!((refused.error, refused.lba), (ABORTED, 4));
    disk.power_cut();
    for restart in [Disk::power_cut, Disk::reset] {
        assert_eq!(sanitize(&mut disk, FREEZE_LOCK, 0).count, 1 << 13);
        restart(&mut disk);
        assert_eq!(status(&mut disk).count, 0);
    }
}

#[test]
fn the_freeze_of_the_security_feature_set_does_not_keep_it_from_starting_but_a_lock_does() {
    let mut disk = written(Config { freezing: Freezing::Always, ..Config::solid_state() });
    assert_eq!(sanitize(&mut disk, BLOCK_ERASE, 0).error, 0);
    let mut disk = written(Config::solid_state());
    assert_eq!(send(&mut disk, 0xf1, &[0; 512]), 0);
    disk.power_cut();
    assert_eq!(sanitize(&mut disk, BLOCK_ERASE, 0).error, ABORTED);
    assert_eq!(status(&mut disk).error, 0);
}

#[test]
fn it_can_stick_or_lie() {
    let mut disk =
        written(Config { sanitize_course: Course::SticksAt(655), ..Config::solid_state() });
    sanitize(&mut disk, BLOCK_ERASE, 0);
    disk.advance(HOUR * 1000);
    assert_eq!((status(&mut disk).count, status(&mut disk).lba), (1 << 14, 655));
    let mut disk = written(Config { sanitize_course: Course::Lies, ..Config::solid_state() });
    sanitize(&mut disk, BLOCK_ERASE, 0);
    disk.advance(HOUR);
    assert_eq!((status(&mut disk).count, left(&disk)), (1 << 15, 128));
    assert_eq!(disk.read(0, 1).unwrap(), [0x5a; 512]);
}
