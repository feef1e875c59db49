//! Writes of which a disk keeps a half, and disks that fail when the image becomes bootable.

use disk::Operation;
use install::{Failure, Source};

use crate::{
    faults::{DISK, assert_disarmed, image, is_failed, on, what_failed_first},
    medium::{Done, Faults, Memory, Torn},
    order::{assert_holds, options, put},
    source::wide,
};

/// How often a sound disk is written to.
fn writes() -> u64 {
    let medium = Memory::new(vec![0xff; DISK], 512).logged();
    let image = image();
    put(&medium, &image, &[&image.source()], &options()).expect("it succeeds");
    wide(medium.log().iter().filter(|done| matches!(done, Done::Write { .. })).count())
}

fn torn(write: u64, says: Torn) -> (Memory, Result<protocol::install::InstallReport, Failure>) {
    on(Faults { torn_write: Some((write, says)), ..Faults::default() })
}

#[test]
fn a_write_that_tears_and_says_so_is_a_failed_install() {
    let all = writes();
    for write in [3, all / 4, all / 2, all - 1, all] {
        let (medium, result) = torn(write, Torn::Failed);
        assert!(is_failed(result, &[Operation::Write, Operation::Zero]), "write {write} of {all}");
        assert_disarmed(&medium);
    }
}

#[test]
fn a_write_that_tears_in_silence_is_found_when_it_is_read_back() {
    let all = writes();
    let mut found = 0;
    for write in [all / 4, all / 3, all / 2, all * 2 / 3, all - 1, all] {
        let (medium, result) = torn(write, Torn::Done);
        match result {
            Err(Failure::ReadBack { .. }) => {
                found += 1;
                assert_disarmed(&medium);
            }
            // What was torn was a mark that is zeroed afterwards, or halves were equal.
            Ok(_) => assert_holds(&medium, &image(), &vec![0xff; DISK]),
            Err(other) => panic!("write {write} of {all}: {other:?}"),
        }
    }
    assert!(found >= 3, "{found}");
}

#[test]
fn a_disk_unplugged_while_the_image_becomes_bootable_does_not_boot() {
    let all = writes();
    for left in 0..6 {
        let faults = Faults { gone_from_write: Some(all - left), ..Faults::default() };
        let (medium, result) = on(faults);
        let result = result.map_err(what_failed_first);
        assert!(matches!(result, Err(Failure::Medium(_))), "{result:?}");
        let bytes = medium.bytes();
        assert!(bytes[..512].iter().all(|byte| *byte == 0), "{left} writes before the end");
        // It is put in again.
        let again = Memory::new(bytes, 512);
        let image = image();
        let source = image.source();
        let sources: &[&dyn Source] = &[&source];
        put(&again, &image, sources, &options()).unwrap();
        assert_holds(&again, &image, &vec![0xff; DISK]);
    }
}

#[test]
fn a_write_error_where_a_blank_disk_becomes_bootable_leaves_it_blank_there() {
    // Blank, so that there is nothing to be taken away first and the error comes at the very end.
    for sector in [0, 1, 2] {
        let faults = Faults { unwritable: [sector].into(), ..Faults::default() };
        let medium = Memory::with_faults(vec![0; DISK], 512, faults);
        let image = image();
        let result = put(&medium, &image, &[&image.source()], &options());
        assert!(is_failed(result, &[Operation::Write]), "sector {sector}");
        let start = &medium.bytes()[..512];
        assert!(start.iter().all(|byte| *byte == 0), "sector {sector}");
    }
}
