//! SANITIZE and FORMAT UNIT.

use super::*;

const BLOCK_ERASE: u8 = 2;
const CRYPTOGRAPHIC_ERASE: u8 = 3;
const EXIT: u8 = 0x1f;
const IMMEDIATE: u8 = 1 << 7;
const UNRESTRICTED: u8 = 1 << 5;

fn sanitize(flags: u8) -> [u8; 10] {
    [0x48, flags, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// An overwrite with its parameter list.
fn overwrite(flags: u8, first: u8, pattern: &[u8]) -> ([u8; 10], Vec<u8>) {
    let length = u8::try_from(pattern.len()).unwrap();
    let list = [&[first, 0, 0, length], pattern].concat();
    ([0x48, flags | 1, 0, 0, 0, 0, 0, 0, length + 4, 0], list)
}

const HOUR: Duration = Duration::from_hours(1);

#[test]
fn every_method_removes_all_that_was_ever_written() {
    for (method, config) in [
        (BLOCK_ERASE, Config::solid_state()),
        (CRYPTOGRAPHIC_ERASE, Config::solid_state()),
        (1, Config::default()),
    ] {
        let mut disk = written(Config { accessible_blocks: Some(100), ..config });
        disk.write_hidden(100, &[0x5a; 28 * 512]);
        disk.reallocate(3);
        assert!(left(&disk) > 128 * 512);
        if method == 1 {
            let (cdb, mut list) = overwrite(IMMEDIATE, 1, &[0]);
            good(&mut disk, &cdb, &mut list);
        } else {
            good(&mut disk, &sanitize(IMMEDIATE | method), &mut []);
        }
        disk.advance(Duration::from_secs(50));
        assert_eq!(sense(&mut disk), ((2, 0x04, 0x1b), Some(0x8000)));
        disk.advance(HOUR);
        assert_eq!(sense(&mut disk), ((0, 0, 0), None));
        assert_eq!(left(&disk), 0, "{method}");
        disk.read(0, 1).unwrap();
    }
}

#[test]
fn a_command_that_is_waited_for_answers_when_it_is_done() {
    let mut disk = written(Config::solid_state());
    good(&mut disk, &sanitize(BLOCK_ERASE), &mut []);
    assert_eq!((disk.took(), left(&disk)), (Duration::from_secs(100), 0));
    let mut disk = written(Config { sanitize_course: Course::FailsAt(1), ..Config::solid_state() });
    assert_eq!(refusal(&mut disk, &sanitize(BLOCK_ERASE), &mut []), (3, 0x31, 3));
    let mut disk =
        written(Config { sanitize_course: Course::SticksAt(655), ..Config::solid_state() });
    assert_eq!(disk.execute(&sanitize(BLOCK_ERASE), &mut []), Err(NoAnswer));
    assert_eq!(disk.execute(&[0x03, 0, 0, 0, 252, 0], &mut [0; 252]), Err(NoAnswer));
    disk.power_cut();
    assert_eq!(sense(&mut disk), ((2, 0x04, 0x1b), Some(655)));
}

#[test]
fn a_parameter_list_has_count_and_pattern() {
    let mut disk = written(Config::default());
    for (first, pattern, expected) in
        [(0, &[1_u8][..], (5, 0x26, 0)), (1 | 0x20, &[1], (5, 0x26, 0)), (1, &[], (5, 0x24, 0))]
    {
        let (cdb, mut list) = overwrite(0, first, pattern);
        assert_eq!(refusal(&mut disk, &cdb, &mut list), expected, "{first:#x}");
    }
    let (cdb, mut list) = overwrite(0, 1, &[1, 2]);
    list[3] = 3;
    assert_eq!(refusal(&mut disk, &cdb, &mut list), (5, 0x26, 0));
    assert_eq!(refusal(&mut disk, &sanitize(BLOCK_ERASE), &mut []), (5, 0x24, 0), "not supported");
    assert_eq!(refusal(&mut disk, &sanitize(9), &mut []), (5, 0x24, 0));
    // A pattern is as long as a block at most.
    for (length, is_taken) in [(512_u16, true), (513, false)] {
        let mut disk = written(Config::default());
        let mut list = [vec![1, 0], length.to_be_bytes().to_vec(), vec![7; length.into()]].concat();
        let [high, low] = (length + 4).to_be_bytes();
        let cdb = [0x48, 1, 0, 0, 0, 0, 0, high, low, 0];
        let answer = disk.execute(&cdb, &mut list).unwrap();
        assert_eq!(answer.status == 0, is_taken, "{length}");
    }
    // Two passes, inverted in between.
    let (cdb, mut list) = overwrite(0, 0x80 | 2, &[1, 2, 3]);
    good(&mut disk, &cdb, &mut list);
    assert_eq!(disk.took(), Duration::from_secs(200));
    assert_eq!(disk.read(0, 1).unwrap()[..4], [1, 2, 3, 1], "the last pass is not inverted");
    let (cdb, mut list) = overwrite(IMMEDIATE, 0x80 | 2, &[1, 2, 3]);
    good(&mut disk, &cdb, &mut list);
    disk.advance(Duration::from_secs(100));
    assert_eq!(disk.medium()[..4], [254, 253, 252, 254], "the first is");
    for passes in [2, 3] {
        let mut disk = written(Config::default());
        let (cdb, mut list) = overwrite(IMMEDIATE, passes, &[1, 2, 3]);
        good(&mut disk, &cdb, &mut list);
        disk.advance(Duration::from_secs(100));
        assert_eq!(disk.medium()[..4], [1, 2, 3, 1], "no pass is, of {passes}");
    }
}

#[test]
fn while_it_runs_hardly_anything_is_executed_and_it_goes_on_after_a_power_cut() {
    let mut disk = written(Config::solid_state());
    good(&mut disk, &sanitize(IMMEDIATE | BLOCK_ERASE), &mut []);
    disk.advance(Duration::from_secs(50));
    let (format, again) = ([0x04, 0, 0, 0, 0, 0], sanitize(BLOCK_ERASE));
    for cdb in [&[0x00; 6][..], &[0x25; 10], &[0x88; 16], &format, &again, &[0x1a; 6]] {
        let answer = disk.execute(cdb, &mut []).unwrap();
        assert_eq!(codes(&answer.sense), (2, 0x04, 0x1b), "{cdb:x?}");
        // The sense key specific descriptor.
        assert_eq!(answer.sense[7..], [8, 2, 6, 0, 0, 0x80, 0x80, 0, 0]);
    }
    page(&mut disk, 0x83);
    good(&mut disk, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0], &mut [0; 16]);
    disk.power_cut();
    disk.reset();
    assert_eq!(sense(&mut disk), ((2, 0x04, 0x1b), Some(0x8000)));
    disk.advance(Duration::from_secs(50));
    assert_eq!((sense(&mut disk).0, left(&disk)), ((0, 0, 0), 0));
}

/// What SBC-4 has a disk execute in each state: sanitizing, failed at that, and with a format that was cut off.
#[test]
fn each_state_refuses_every_command_but_its_own() {
    let mut sanitizing = written(Config::solid_state());
    good(&mut sanitizing, &sanitize(IMMEDIATE | BLOCK_ERASE), &mut []);
    let config = Config { sanitize_course: Course::FailsAt(1), ..Config::solid_state() };
    let mut failed = written(config);
    good(&mut failed, &sanitize(IMMEDIATE | BLOCK_ERASE), &mut []);
    failed.advance(HOUR);
    let mut corrupted = written(Config::default());
    good(&mut corrupted, &[0x04, 0x10, 0, 0, 0, 0], &mut [0, 2, 0, 0]);
    corrupted.power_cut();
    // INQUIRY, REPORT LUNS, REQUEST SENSE always are.
    let always = [0x03, 0x12, 0xa0];
    let others = [0x04, 0x15, 0x1a, 0x25, 0x48, 0x55, 0x5a, 0x9e, 0xa3];
    for (state, code, executed) in [
        (sanitizing, (2, 0x04, 0x1b), &[][..]),
        (failed, (3, 0x31, 3), &[0x48]),
        (corrupted, (3, 0x31, 0), &others),
    ] {
        for opcode in 0..=u8::MAX {
            let mut cdb = [0; 16];
            cdb[0] = opcode;
            let answer = state.clone().execute(&cdb, &mut []).unwrap();
            let is_refused = answer.sense.len() > 3 && codes(&answer.sense) == code;
            let is_executed = always.contains(&opcode) || executed.contains(&opcode);
            assert_eq!(is_refused, !is_executed, "{opcode:#x} {code:x?}");
        }
    }
}

#[test]
fn a_failure_is_left_by_exit_failure_mode_only_where_it_was_allowed() {
    let config = Config { sanitize_course: Course::FailsAt(0x8000), ..Config::solid_state() };
    let mut disk = written(config);
    good(&mut disk, &sanitize(EXIT), &mut []);
    good(&mut disk, &sanitize(IMMEDIATE | BLOCK_ERASE), &mut []);
    disk.advance(HOUR);
    assert_eq!(sense(&mut disk), ((3, 0x31, 3), None));
    assert_eq!(codes(&disk.read(0, 1).unwrap_err().sense), (3, 0x31, 3));
    assert_eq!(refusal(&mut disk, &sanitize(EXIT), &mut []), (5, 0x24, 0));
    assert_eq!(refusal(&mut disk, &sanitize(UNRESTRICTED | BLOCK_ERASE), &mut []), (5, 0x24, 0));
    disk.power_cut();
    assert_eq!(sense(&mut disk).0, (3, 0x31, 3));
    disk.set_sanitize_course(Course::Finishes);
    good(&mut disk, &sanitize(BLOCK_ERASE), &mut []);
    assert_eq!(left(&disk), 0);

    let config = Config { sanitize_course: Course::FailsAt(0x8000), ..Config::solid_state() };
    let mut disk = written(config);
    good(&mut disk, &sanitize(IMMEDIATE | UNRESTRICTED | BLOCK_ERASE), &mut []);
    disk.advance(HOUR);
    good(&mut disk, &sanitize(EXIT), &mut []);
    disk.read(0, 1).unwrap();
    assert!(left(&disk) > 0);
}

#[test]
fn a_liar_and_one_that_must_be_written_first() {
    let mut disk = written(Config { sanitize_course: Course::Lies, ..Config::solid_state() });
    good(&mut disk, &sanitize(BLOCK_ERASE), &mut []);
    assert_eq!(disk.read(0, 1).unwrap(), [0x5a; 512]);
    let mut disk = written(Config { must_write_after_sanitize: true, ..Config::solid_state() });
    good(&mut disk, &sanitize(CRYPTOGRAPHIC_ERASE), &mut []);
    assert_eq!(codes(&disk.read(0, 1).unwrap_err().sense), (3, 0x11, 0x15));
    disk.write(0, &[1; 512]).unwrap();
    assert_eq!(disk.read(0, 1).unwrap(), [1; 512]);
}

#[test]
fn a_format_reaches_what_the_host_can_and_not_what_was_replaced() {
    let mut disk = written(Config { accessible_blocks: Some(100), ..Config::default() });
    disk.write_hidden(127, &[0x5a; 512]);
    disk.reallocate(3);
    // FMTDATA, IMMED.
    good(&mut disk, &[0x04, 0x10, 0, 0, 0, 0], &mut [0, 2, 0, 0]);
    disk.advance(Duration::from_secs(50));
    assert_eq!(sense(&mut disk), ((2, 0x04, 0x04), Some(0x8000)));
    assert_eq!(codes(&disk.read(0, 1).unwrap_err().sense), (2, 0x04, 0x04));
    disk.advance(Duration::from_secs(50));
    assert_eq!((sense(&mut disk).0, left(&disk)), ((0, 0, 0), 2 * 512));
    assert_eq!(disk.read(0, 1).unwrap(), [0; 512]);
}

#[test]
fn a_format_checks_its_list() {
    let mut disk = Disk::new(Config::default());
    for (flags, list, expected) in [
        (0x50_u8, &[0_u8, 0, 0, 0][..], (5, 0x24, 0)),
        (0x20, &[], (5, 0x24, 0)),
        (0x10, &[0, 0], (5, 0x1a, 0)),
        (0x10, &[1, 0, 0, 0], (5, 0x26, 0)),
        (0x10, &[0, 0x20, 0, 0], (5, 0x26, 0)),
        (0x10, &[0, 0, 0, 4], (5, 0x26, 0)),
    ] {
        let found = refusal(&mut disk, &[0x04, flags, 0, 0, 0, 0], &mut list.to_vec());
        assert_eq!(found, expected, "{flags:#x} {list:x?}");
    }
    good(&mut disk, &[0x04, 0x30, 0, 0, 0, 0], &mut [0, 0, 0, 0, 0, 0, 0, 0]);
    good(&mut disk, &[0x04, 0, 0, 0, 0, 0], &mut []);
    assert_eq!(disk.took(), Duration::from_secs(100));
}

#[test]
fn a_format_that_fails_or_loses_power_leaves_a_corrupted_one() {
    let mut disk = written(Config { format_course: Course::FailsAt(0x8000), ..Config::default() });
    assert_eq!(refusal(&mut disk, &[0x04, 0, 0, 0, 0, 0], &mut []), (3, 0x31, 1));
    assert_eq!(sense(&mut disk).0, (3, 0x31, 0));
    disk.set_format_course(Course::Finishes);
    good(&mut disk, &[0x04, 0x10, 0, 0, 0, 0], &mut [0, 2, 0, 0]);
    disk.advance(Duration::from_secs(10));
    disk.power_cut();
    assert_eq!(sense(&mut disk).0, (3, 0x31, 0));
    assert_eq!(codes(&disk.read(0, 1).unwrap_err().sense), (3, 0x31, 0));
    good(&mut disk, &[0x04, 0, 0, 0, 0, 0], &mut []);
    assert_eq!(left(&disk), 0);
    disk.read(0, 1).unwrap();
}

#[test]
fn a_format_that_is_good_at_once_and_does_nothing() {
    let mut disk = written(Config { format_course: Course::Lies, ..Config::default() });
    good(&mut disk, &[0x04, 0x10, 0, 0, 0, 0], &mut [0, 2, 0, 0]);
    assert_eq!((sense(&mut disk).0, left(&disk)), ((0, 0, 0), 128 * 512));
}
