//! Disks that say that they zeroed a range.

use std::sync::atomic::Ordering;

use disk::Operation;

use crate::{
    faults::{DISK, assert_disarmed, image, is_failed, on},
    medium::{ByItself, Faults, Memory},
    order::{MIB, assert_holds, options, put},
    source::{Image, wide},
};

fn survives(by_itself: ByItself) {
    let (medium, result) = on(Faults { by_itself, ..Faults::default() });
    assert!(result.is_ok(), "{by_itself:?}: {result:?}");
    assert_holds(&medium, &image(), &vec![0xff; DISK]);
}

#[test]
fn a_device_that_zeroes_for_a_while_and_then_only_says_so_is_found_out() {
    for requests in 1..8 {
        survives(ByItself::LiesAfter(requests));
    }
}

#[test]
fn a_device_that_writes_something_else_than_zeros_is_found_out() {
    survives(ByItself::Spoils);
}

#[test]
fn a_device_that_fails_to_zero_is_named() {
    let (medium, result) = on(Faults { by_itself: ByItself::Fails, ..Faults::default() });
    assert!(is_failed(result, &[Operation::Zero]));
    assert_disarmed(&medium);
}

/// Of an image with a third of zeros, on a disk full of something else.
#[test]
fn a_device_that_zeroes_is_written_at_most_two_points_more_than_the_data() {
    let image = Image::by_chance(96 * MIB, 64 << 10, 301);
    let before = vec![0xff; 100 * MIB];
    let medium = Memory::new(before.clone(), 512);
    let report = put(&medium, &image, &[&image.source()], &options()).unwrap();
    assert_holds_large(&medium, &image);
    let data = wide(image.plan.chunks.data()) * (64 << 10);
    let written = medium.written.load(Ordering::Relaxed);
    let allowed = data + wide(image.bytes.len()) / 50;
    assert!(written <= allowed, "{written} bytes of {data}");
    assert!(report.progress.written_bytes.0 <= written);
}

fn assert_holds_large(medium: &Memory, image: &Image) {
    assert!(medium.bytes()[..image.bytes.len()] == image.bytes);
}
