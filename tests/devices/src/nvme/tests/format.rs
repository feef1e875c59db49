//! Format NVM.

use super::*;

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
    assert_eq!(controller.read(1, 0, 1).unwrap(), [0; 512]);
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
    assert_eq!(controller.now(), Duration::from_millis(2500));
    assert!(left(&controller) > 0 && left(&controller) < 64 << 10);
    format(&mut controller, 1, 1 << 9).unwrap();
    assert_eq!(left(&controller), 0);
}
