//! Sanitize.

use super::*;

#[test]
fn every_action_removes_all_that_was_ever_written() {
    for action in [2, 3 | 1 << 4, 4] {
        let mut controller = written(Config::default());
        // Once more: the first content is stale, in other pages.
        controller.write(1, 0, &[0x77; 4096]).unwrap();
        assert!(left(&controller) > (64 << 10) - 4096);
        sanitize(&mut controller, action).unwrap();
        assert_eq!(sanitize_log(&mut controller).1 & 7, 2);
        controller.advance(HOUR);
        assert_eq!(left(&controller), 0, "action {action}");
        assert!(!controller.medium().windows(64).any(|bytes| bytes == [0x77; 64]));
        assert_eq!(controller.read(1, 0, 1).unwrap(), vec![0; 512]);
        let (progress, state) = sanitize_log(&mut controller);
        assert_eq!((progress, state & 0x107), (0xffff, 0x101), "action {action}");
        controller.write(1, 0, &[1; 512]).unwrap();
        assert_eq!(sanitize_log(&mut controller).1 & 0x100, 0, "something was written since");
    }
}

#[test]
fn unsupported_and_reserved_actions_are_invalid_fields() {
    let mut config = Config::default();
    let can = config.sanitize.as_mut().unwrap();
    (can.crypto_erase, can.overwrite) = (false, false);
    let mut controller = Controller::new(config);
    for action in [0, 3, 4, 5, 6, 7] {
        assert_eq!(refusal(sanitize(&mut controller, action)), status::INVALID_FIELD);
    }
    assert_eq!(sanitize_log(&mut controller), (0xffff, 0x100), "never sanitized, never written");
}

#[test]
fn an_overwrite_counts_its_passes_and_zero_means_sixteen() {
    let mut controller = written(Config::default());
    // Inverted between passes, not deallocated.
    sanitize(&mut controller, 3 | 1 << 8 | 1 << 9).unwrap();
    controller.advance(Duration::from_secs(799));
    assert_eq!(sanitize_log(&mut controller), (0x7fd7, 2 | 7 << 3));
    controller.advance(Duration::from_secs(801));
    assert_eq!(sanitize_log(&mut controller), (0xffff, 1 | 16 << 3 | 1 << 8));
    // The sixteenth pass is an inverted one; the pattern is little-endian.
    assert_eq!(controller.read(1, 0, 1).unwrap()[..4], [254, 253, 252, 251]);
    // Not deallocated is not inverted.
    sanitize(&mut controller, 3 | 9 << 4 | 1 << 9).unwrap();
    assert_eq!(sanitize_log(&mut controller).1 >> 3 & 0x1f, 0, "no pass is done");
    controller.advance(Duration::from_secs(899));
    assert_eq!(sanitize_log(&mut controller).1, 2 | 8 << 3 | 1 << 8);
    controller.advance(Duration::from_secs(1));
    assert_eq!(controller.read(1, 0, 1).unwrap()[..4], [1, 2, 3, 4]);
}

#[test]
fn while_it_runs_only_the_listed_commands_are_executed() {
    let mut controller = written(Config::default());
    sanitize(&mut controller, 2).unwrap();
    let in_progress = Err(Failure::Status(status::SANITIZE_IN_PROGRESS));
    let executed = (0..=0x83).filter(|opcode| {
        let mut page = [0; 4096];
        controller.admin(*opcode, 1, [0x02, 0, 0, 0, 0, 0], &mut page) != in_progress
    });
    let allowed = [0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x18];
    assert_eq!(executed.collect::<Vec<u8>>(), allowed);
    let logs = (0..=0xff).filter(|page| {
        controller.admin(0x02, 1, [*page, 0, 0, 0, 0, 0], &mut [0; 512]) != in_progress
    });
    assert_eq!(logs.collect::<Vec<u32>>(), [0x01, 0x02, 0x04, 0x80, 0x81]);
    assert_eq!(refusal(sanitize(&mut controller, 2)), status::SANITIZE_IN_PROGRESS);
    assert_eq!(refusal(sanitize(&mut controller, 1)), status::SANITIZE_IN_PROGRESS);
    let in_progress = Failure::Status(status::SANITIZE_IN_PROGRESS);
    assert_eq!(controller.read(1, 0, 1), Err(in_progress));
    assert_eq!(controller.write(1, 0, &[0; 512]), Err(in_progress));
    identify(&mut controller, 1, 0);
    controller.admin(0x02, ALL_NAMESPACES, [0x02, 0, 0, 0, 0, 0], &mut [0; 512]).unwrap();
    controller.io(0x00, 1, [0; 6], &mut []).unwrap();
}

#[test]
fn it_goes_on_after_a_power_cut_and_a_reset() {
    let mut controller = written(Config::default());
    sanitize(&mut controller, 2).unwrap();
    controller.advance(Duration::from_secs(50));
    controller.power_cut();
    controller.reset();
    assert_eq!(sanitize_log(&mut controller), (0x8000, 2));
    assert!(left(&controller) > 0);
    controller.advance(Duration::from_secs(50));
    assert_eq!(left(&controller), 0);
}

#[test]
fn one_that_sticks_runs_for_ever() {
    let mut controller =
        written(Config { sanitize_course: Course::SticksAt(655), ..Config::default() });
    sanitize(&mut controller, 2).unwrap();
    controller.advance(HOUR * 24 * 7);
    assert_eq!(sanitize_log(&mut controller), (655, 2));
    assert!(left(&controller) > 60 << 10);
}

#[test]
fn a_restricted_failure_is_left_only_by_a_restricted_sanitize() {
    let mut controller =
        written(Config { sanitize_course: Course::FailsAt(0x8000), ..Config::default() });
    sanitize(&mut controller, 2).unwrap();
    controller.advance(HOUR);
    assert_eq!(sanitize_log(&mut controller), (0xffff, 3));
    assert_eq!(controller.read(1, 0, 1), Err(Failure::Status(status::SANITIZE_FAILED)));
    assert_eq!(refusal(format(&mut controller, 1, 0)), status::SANITIZE_FAILED);
    assert_eq!(refusal(sanitize(&mut controller, 1)), status::SANITIZE_FAILED);
    assert_eq!(refusal(sanitize(&mut controller, 2 | 1 << 3)), status::SANITIZE_FAILED);
    controller.power_cut();
    assert_eq!(refusal(sanitize(&mut controller, 1)), status::SANITIZE_FAILED);
    controller.set_sanitize_course(Course::Finishes);
    sanitize(&mut controller, 2).unwrap();
    controller.advance(HOUR);
    assert_eq!(left(&controller), 0);
    controller.read(1, 0, 1).unwrap();
}

#[test]
fn an_unrestricted_failure_is_left_by_exit_failure_mode() {
    let mut controller =
        written(Config { sanitize_course: Course::FailsAt(0x8000), ..Config::default() });
    sanitize(&mut controller, 1).unwrap();
    sanitize(&mut controller, 2 | 1 << 3).unwrap();
    controller.advance(HOUR);
    assert_eq!(refusal(format(&mut controller, 1, 0)), status::SANITIZE_FAILED);
    sanitize(&mut controller, 1).unwrap();
    assert_eq!(sanitize_log(&mut controller).1 & 7, 3, "the last one failed all the same");
    controller.read(1, 0, 1).unwrap();
    assert!(left(&controller) > 0);
}

#[test]
fn a_liar_says_success_and_has_erased_nothing() {
    let mut controller = written(Config { sanitize_course: Course::Lies, ..Config::default() });
    sanitize(&mut controller, 2).unwrap();
    controller.advance(HOUR);
    assert_eq!(sanitize_log(&mut controller), (0xffff, 0x101));
    assert_eq!(left(&controller), 64 << 10);
    assert_eq!(controller.read(1, 0, 1).unwrap(), vec![0x5a; 512]);
}

#[test]
fn no_deallocate_is_refused_or_only_warned_of_where_it_is_inhibited() {
    let mut config = Config::default();
    config.sanitize.as_mut().unwrap().no_deallocate_inhibited = true;
    let mut controller = written(config);
    assert_eq!(identify(&mut controller, 1, 0)[331] & 0x20, 0x20);
    assert_eq!(refusal(sanitize(&mut controller, 2 | 1 << 9)), status::INVALID_FIELD);
    controller.admin(0x09, 0, [0x17, 1, 0, 0, 0, 0], &mut []).unwrap();
    sanitize(&mut controller, 2 | 1 << 9).unwrap();
    controller.advance(HOUR);
    assert_eq!(sanitize_log(&mut controller).1 & 7, 4);
}
