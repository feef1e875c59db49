//! What the specification says, asked of the simulator.

use super::*;

/// Status of a command that must fail.
fn refusal(answer: Result<u32, Failure>) -> u16 {
    match answer {
        Err(Failure::Status(status)) => status,
        other => panic!("a status was expected: {other:?}"),
    }
}

/// A controller whose namespaces are full of `0x5a`.
fn written(config: Config) -> Controller {
    let mut controller = Controller::new(config);
    for (id, namespace) in controller.namespaces.clone() {
        if namespace.is_attached && !namespace.is_write_protected {
            controller.write(id, 0, &vec![0x5a; index(namespace.bytes)]).unwrap();
        }
    }
    controller
}

/// How many bytes of what was written are still stored.
fn left(controller: &Controller) -> usize {
    let medium = controller.medium();
    medium.chunks(512).filter(|page| page.iter().all(|byte| *byte == 0x5a)).count() * 512
}

fn three_namespaces() -> Config {
    let unattached = Namespace { is_attached: false, ..Namespace::new(16 << 10, 3) };
    Config {
        namespaces: BTreeMap::from([
            (1, Namespace::new(16 << 10, 1)),
            (2, Namespace::new(16 << 10, 2)),
            (3, unattached),
        ]),
        ..Config::default()
    }
}

fn sanitize(controller: &mut Controller, dword: u32) -> Result<u32, Failure> {
    controller.admin(0x84, 0, [dword, 0x0403_0201, 0, 0, 0, 0], &mut [])
}

fn format(controller: &mut Controller, nsid: u32, dword: u32) -> Result<u32, Failure> {
    controller.admin(0x80, nsid, [dword, 0, 0, 0, 0, 0], &mut [])
}

/// `SPROG` and `SSTAT`.
fn sanitize_log(controller: &mut Controller) -> (u16, u16) {
    let mut log = [0; 512];
    controller.admin(0x02, ALL_NAMESPACES, [0x7f << 16 | 0x81, 0, 0, 0, 0, 0], &mut log).unwrap();
    (u16::from_le_bytes([log[0], log[1]]), u16::from_le_bytes([log[2], log[3]]))
}

fn identify(controller: &mut Controller, cns: u32, nsid: u32) -> Vec<u8> {
    let mut page = vec![0xee; 4096];
    controller.admin(0x06, nsid, [cns, 0, 0, 0, 0, 0], &mut page).unwrap();
    page
}

const HOUR: Duration = Duration::from_hours(1);

#[test]
fn identify_says_what_the_configuration_can() {
    let mut controller = Controller::new(Config::default());
    let page = identify(&mut controller, 1, 0);
    assert_eq!(&page[4..12], b"NVME0001");
    assert_eq!(page[256], 0b1010, "OACS: format, namespaces");
    assert_eq!(page[280..288], (64_u64 << 10).to_le_bytes(), "TNVMCAP");
    assert_eq!(page[328..332], [7, 0, 0, 0x40], "SANICAP");
    assert_eq!(page[520], 0b1100, "ONCS");
    assert_eq!(page[524], 0b100, "FNA");
    let page = identify(&mut controller, 0, 1);
    assert_eq!(page[0..8], 128_u64.to_le_bytes());
    assert_eq!((page[25], page[26], page[33]), (1, 0, 9));
    assert_eq!((page[130], page[134]), (9, 12));
    let page = identify(&mut controller, 3, 1);
    assert_eq!((page[0], page[1], page[12], page[13]), (1, 8, 2, 16));

    let none =
        Config { sanitize: None, format: None, manages_namespaces: false, ..Config::default() };
    let mut controller = Controller::new(none);
    let page = identify(&mut controller, 1, 0);
    assert_eq!((page[256], page[328], page[524]), (0, 0, 0));
    assert_eq!(refusal(sanitize(&mut controller, 2)), status::INVALID_OPCODE);
    assert_eq!(refusal(format(&mut controller, 1, 0)), status::INVALID_OPCODE);
    let log = controller.admin(0x02, 0, [0x81, 0, 0, 0, 0, 0], &mut [0; 512]);
    assert_eq!(refusal(log), status::INVALID_LOG_PAGE);
}

#[test]
fn lists_have_active_and_allocated_namespaces() {
    let mut controller = Controller::new(three_namespaces());
    assert_eq!(identify(&mut controller, 2, 0)[..12], [1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(identify(&mut controller, 2, 1)[..8], [2, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(identify(&mut controller, 0x10, 0)[8..16], [3, 0, 0, 0, 0, 0, 0, 0]);
    assert!(identify(&mut controller, 0, 3).iter().all(|byte| *byte == 0), "inactive");
    assert_eq!(identify(&mut controller, 0x11, 3)[0], 32, "allocated");
    assert_eq!(identify(&mut controller, 0x12, 1)[..4], [1, 0, 1, 0]);
    assert_eq!(identify(&mut controller, 0x12, 3)[..4], [0, 0, 0, 0]);
    let page = identify(&mut controller, 1, 0);
    assert_eq!(page[296..304], (16_u64 << 10).to_le_bytes(), "UNVMCAP");
    let answer = controller.admin(0x06, 99, [0, 0, 0, 0, 0, 0], &mut [0; 4096]);
    assert_eq!(refusal(answer), status::INVALID_NAMESPACE);
}

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
}

#[test]
fn while_it_runs_only_the_listed_commands_are_executed() {
    let mut controller = written(Config::default());
    sanitize(&mut controller, 2).unwrap();
    for opcode in [0x0d, 0x10, 0x11, 0x14, 0x15, 0x80, 0x81, 0x82] {
        let answer = controller.admin(opcode, 1, [0; 6], &mut []);
        assert_eq!(refusal(answer), status::SANITIZE_IN_PROGRESS, "{opcode:#x}");
    }
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

#[test]
fn a_format_with_user_data_erase_reaches_what_the_namespace_gave_up_and_no_other() {
    let mut controller = written(three_namespaces());
    controller.io(0x09, 1, [0, 4, 0, 0, 0, 0], &mut deallocation(0, 32)).unwrap();
    assert_eq!(controller.read(1, 0, 1).unwrap(), vec![0; 512]);
    assert_eq!(left(&controller), 32 << 10, "deallocated is not erased");
    format(&mut controller, 1, 1 << 9).unwrap();
    assert_eq!(left(&controller), 16 << 10);
    assert_eq!(controller.read(2, 0, 1).unwrap(), vec![0x5a; 512]);
    format(&mut controller, 2, 2 << 9).unwrap();
    assert_eq!(left(&controller), 0);
}

#[test]
fn a_format_without_secure_erase_leaves_all_on_the_medium() {
    let mut controller = written(Config::default());
    format(&mut controller, 1, 1).unwrap();
    assert_eq!(left(&controller), 64 << 10);
    assert_eq!(identify(&mut controller, 0, 1)[26], 1);
    assert_eq!(controller.read(1, 0, 1).unwrap(), vec![0; 4096]);
}

#[test]
fn a_format_follows_its_attributes() {
    let mut controller = written(three_namespaces());
    for (dword, expected) in [
        (2, status::INVALID_FORMAT),
        (1 << 12, status::INVALID_FORMAT),
        (1 << 5, status::INVALID_FORMAT),
        (3 << 9, status::INVALID_FIELD),
    ] {
        assert_eq!(refusal(format(&mut controller, 1, dword)), expected, "{dword:#x}");
    }
    assert_eq!(refusal(format(&mut controller, 3, 0)), status::INVALID_NAMESPACE);
    format(&mut controller, ALL_NAMESPACES, 1 << 9).unwrap();
    assert_eq!(left(&controller), 0);

    let mut config = three_namespaces();
    config.format = Some(FormatAttributes {
        formats_all: false,
        erases_all: true,
        crypto_erase: false,
        broadcast_forbidden: true,
    });
    let mut controller = written(config);
    assert_eq!(refusal(format(&mut controller, ALL_NAMESPACES, 0)), status::INVALID_FIELD);
    assert_eq!(refusal(format(&mut controller, 1, 2 << 9)), status::INVALID_FIELD);
    format(&mut controller, 1, 1 << 9).unwrap();
    assert_eq!(left(&controller), 0, "the erase of one is the erase of all");
}

#[test]
fn a_write_protected_namespace_is_neither_written_nor_formatted_nor_deleted() {
    let mut config = Config::default();
    config.namespaces.entry(1).and_modify(|namespace| namespace.is_write_protected = true);
    let mut controller = Controller::new(config);
    assert_eq!(identify(&mut controller, 0, 1)[99], 1);
    let protected = Failure::Status(status::WRITE_PROTECTED);
    assert_eq!(controller.write(1, 0, &[0; 512]), Err(protected));
    assert_eq!(format(&mut controller, 1, 1 << 9), Err(protected));
    assert_eq!(controller.admin(0x0d, 1, [1, 0, 0, 0, 0, 0], &mut []), Err(protected));
}

#[test]
fn a_format_can_fail_hang_lie_or_lose_power() {
    let with = |course| written(Config { format_course: course, ..Config::default() });
    let mut controller = with(Course::FailsAt(0x8000));
    assert_eq!(refusal(format(&mut controller, 1, 1 << 9)), status::INTERNAL_ERROR);
    assert!(left(&controller) > 0 && left(&controller) < 64 << 10);
    let mut controller = with(Course::SticksAt(0));
    assert_eq!(format(&mut controller, 1, 1 << 9), Err(Failure::NoAnswer));
    assert_eq!(controller.admin(0x06, 0, [1, 0, 0, 0, 0, 0], &mut []), Err(Failure::NoAnswer));
    let mut controller = with(Course::Lies);
    format(&mut controller, 1, 1 << 9).unwrap();
    assert_eq!(controller.took(), Duration::from_secs(10));
    assert_eq!(controller.read(1, 0, 1).unwrap(), vec![0x5a; 512]);
    let mut controller = with(Course::Finishes);
    controller.cut_power_in_format(0x4000);
    assert_eq!(format(&mut controller, 1, 1 << 9), Err(Failure::NoAnswer));
    assert!(left(&controller) > 0 && left(&controller) < 64 << 10);
    format(&mut controller, 1, 1 << 9).unwrap();
    assert_eq!(left(&controller), 0);
}

#[test]
fn namespaces_are_deleted_created_and_attached() {
    let mut controller = written(three_namespaces());
    let delete = |controller: &mut Controller, nsid| {
        controller.admin(0x0d, nsid, [1, 0, 0, 0, 0, 0], &mut [])
    };
    assert_eq!(refusal(delete(&mut controller, 9)), status::INVALID_NAMESPACE);
    delete(&mut controller, ALL_NAMESPACES).unwrap();
    assert!(left(&controller) > 0, "deleted is not erased");
    assert_eq!(controller.read(1, 0, 1), Err(Failure::Status(status::INVALID_NAMESPACE)));
    let mut structure = vec![0; 4096];
    structure[0] = 129;
    structure[8] = 129;
    let create = [0; 6];
    let answer = controller.admin(0x0d, 0, create, &mut structure);
    assert_eq!(refusal(answer), status::INSUFFICIENT_CAPACITY);
    structure[0] = 128;
    let answer = controller.admin(0x0d, 0, create, &mut structure);
    assert_eq!(refusal(answer), status::NO_THIN_PROVISIONING);
    structure[8] = 128;
    assert_eq!(controller.admin(0x0d, 0, create, &mut structure), Ok(1));
    let mut list = vec![0; 4096];
    (list[0], list[2]) = (1, 7);
    let answer = controller.admin(0x15, 1, [0; 6], &mut list);
    assert_eq!(refusal(answer), status::INVALID_CONTROLLER_LIST);
    list[2] = 1;
    controller.admin(0x15, 1, [0; 6], &mut list).unwrap();
    assert_eq!(refusal(controller.admin(0x15, 1, [0; 6], &mut list)), status::ALREADY_ATTACHED);
    assert_eq!(controller.read(1, 127, 1).unwrap(), vec![0; 512]);
    controller.admin(0x15, 1, [1, 0, 0, 0, 0, 0], &mut list).unwrap();
    let answer = controller.admin(0x15, 1, [1, 0, 0, 0, 0, 0], &mut list);
    assert_eq!(refusal(answer), status::NOT_ATTACHED);
}

#[test]
fn write_zeroes_reads_as_zeros_and_leaves_the_old_on_the_medium() {
    let mut config = Config { write_zeroes_limit: 1, ..Config::default() };
    config.spare_bytes = 64 << 10;
    let mut controller = written(config);
    let zeroes = |first: u32, blocks: u32| [first, 0, blocks - 1, 0, 0, 0];
    controller.io(0x08, 1, zeroes(0, 16), &mut []).unwrap();
    assert_eq!(controller.read(1, 15, 1).unwrap(), vec![0; 512]);
    assert_eq!(controller.read(1, 16, 1).unwrap(), vec![0x5a; 512]);
    assert_eq!(left(&controller), 64 << 10);
    let answer = controller.io(0x08, 1, zeroes(0, 17), &mut []);
    assert_eq!(refusal(answer), status::INVALID_FIELD);
    let answer = controller.io(0x08, 1, zeroes(127, 2), &mut []);
    assert_eq!(refusal(answer), status::LBA_OUT_OF_RANGE);
}

#[test]
fn where_deallocated_reads_are_not_reported_nothing_is_deallocated() {
    let mut controller =
        written(Config { deallocated: Deallocated::NotReported, ..Config::default() });
    controller.io(0x09, 1, [0, 4, 0, 0, 0, 0], &mut deallocation(0, 1)).unwrap();
    assert_eq!(controller.read(1, 0, 1).unwrap(), vec![0x5a; 512]);
}

#[test]
fn a_silent_controller_answers_again_after_a_power_cut() {
    let mut controller = Controller::new(Config::default());
    controller.go_silent_after(1);
    identify(&mut controller, 1, 0);
    assert_eq!(sanitize(&mut controller, 2), Err(Failure::NoAnswer));
    assert_eq!(controller.read(1, 0, 1), Err(Failure::NoAnswer));
    controller.power_cut();
    assert_eq!(sanitize_log(&mut controller).1 & 7, 0, "the command never arrived");
}

/// One range of Dataset Management.
fn deallocation(first: u64, blocks: u32) -> Vec<u8> {
    let mut range = vec![0; 4096];
    range[4..8].copy_from_slice(&blocks.to_le_bytes());
    range[8..16].copy_from_slice(&first.to_le_bytes());
    range
}
