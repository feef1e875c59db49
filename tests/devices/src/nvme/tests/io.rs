//! I/O commands, and a controller that answers nothing.

use super::*;

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
fn each_of_several_ranges_is_deallocated() {
    let mut controller = written(Config::default());
    let mut ranges = deallocation(0, 1);
    let second = deallocation(5, 2);
    ranges[16..32].copy_from_slice(&second[..16]);
    controller.io(0x09, 1, [1, 4, 0, 0, 0, 0], &mut ranges).unwrap();
    let mut is_left = |lba: u64| controller.read(1, lba, 1).unwrap() == vec![0x5a; 512];
    let gone: Vec<u64> = (0..8).filter(|lba| !is_left(*lba)).collect();
    assert_eq!(gone, [0, 5, 6]);
    // The last of 129.
    let mut many = vec![0; 4096];
    many[128 * 16..129 * 16].copy_from_slice(&deallocation(7, 1)[..16]);
    controller.io(0x09, 1, [128, 4, 0, 0, 0, 0], &mut many).unwrap();
    assert_eq!(controller.read(1, 7, 1).unwrap(), vec![0; 512]);
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
