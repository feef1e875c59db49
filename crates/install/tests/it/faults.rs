//! Every fault has its cause, and leaves a disk that does not boot or holds the whole image.

use std::time::{Duration, Instant};

use disk::Operation;
use install::{Failure, Options, Source, Verify};

use crate::{
    medium::{ByItself, Chance, Faults, Memory},
    order::{CHUNK, MIB, assert_holds, options, put},
    source::{Fault, Image, wide},
};

pub(crate) const DISK: usize = 4 * MIB;

pub(crate) fn image() -> Image {
    Image::by_chance(2 * MIB, CHUNK, 61)
}

/// The disk does not boot: both ends are zeros.
pub(crate) fn assert_disarmed(medium: &Memory) {
    let bytes = medium.bytes();
    assert!(
        bytes[..usize::try_from(CHUNK).expect("small")].iter().all(|byte| *byte == 0),
        "its start"
    );
    assert!(bytes[bytes.len() - MIB..].iter().all(|byte| *byte == 0), "its end");
}

/// The image arrives in spite of the fault.
fn survives(image: &Image, sources: &[&dyn Source]) {
    let medium = Memory::new(vec![0xff; DISK], 512);
    put(&medium, image, sources, &options()).expect("it succeeds");
    assert_holds(&medium, image, &vec![0xff; DISK]);
}

/// The install fails for a reason, and the disk does not boot; afterwards a sound source completes it.
fn fails(image: &Image, sources: &[&dyn Source], expected: impl Fn(&Failure) -> bool) {
    let medium = Memory::new(vec![0xff; DISK], 512);
    let failure = put(&medium, image, sources, &options()).expect_err("it fails");
    assert!(expected(&failure), "{failure:?}");
    assert_disarmed(&medium);
    put(&medium, image, &[&image.source()], &options()).expect("it succeeds");
    assert_holds(&medium, image, &vec![0xff; DISK]);
}

fn unreachable(failure: &Failure) -> bool {
    matches!(failure, Failure::Unreachable { attempts: 6, .. })
}

fn bad_chunk(failure: &Failure) -> bool {
    matches!(failure, Failure::BadChunk { .. })
}

#[test]
fn a_body_cut_short_is_asked_for_again() {
    survives(&image(), &[&image().faulty(Fault::CutShort { requests: 4 })]);
}

#[test]
fn a_server_that_never_sends_a_whole_frame_is_given_up() {
    fails(&image(), &[&image().faulty(Fault::CutShort { requests: 1000 })], unreachable);
}

#[test]
fn a_server_that_restarts_is_waited_for() {
    survives(&image(), &[&image().faulty(Fault::Down { requests: 5 })]);
    survives(&image(), &[&image().faulty(Fault::TimesOut { requests: 5 })]);
}

#[test]
fn a_server_that_comes_back_after_a_time_is_waited_for_and_nothing_is_asked_twice() {
    let image = image();
    let half = wide(image.frames.len() / 2);
    let away = image.faulty(Fault::Away { after_bytes: half, requests: 4 });
    survives(&image, &[&away]);
    assert!(away.served() <= wide(image.frames.len()) + 2 * u64::from(CHUNK), "{}", away.served());
}

#[test]
fn a_refusal_in_the_middle_is_named_and_the_rest_comes_another_time() {
    fails(
        &image(),
        &[&image().faulty(Fault::RefusedMidway)],
        |failure| matches!(failure, Failure::Refused { reason } if reason == "401"),
    );
}

#[test]
fn a_server_that_stays_away_is_given_up() {
    fails(&image(), &[&image().faulty(Fault::Down { requests: 1000 })], unreachable);
    fails(&image(), &[&image().faulty(Fault::TimesOut { requests: 1000 })], unreachable);
}

#[test]
fn a_server_that_dies_at_any_point_is_given_up_and_nothing_boots() {
    let image = image();
    for part in 0..10 {
        let bytes = wide(image.frames.len()) * part / 10;
        fails(&image, &[&image.faulty(Fault::DiesAfter { bytes })], unreachable);
    }
}

#[test]
fn another_mirror_steps_in() {
    let image = image();
    let sound = image.source();
    for fault in [
        Fault::Down { requests: 1000 },
        Fault::Refused,
        Fault::ErrorPage,
        Fault::FlippedBit { at: 0 },
        Fault::Other { from: 0 },
        Fault::DiesAfter { bytes: 10_000 },
    ] {
        survives(&image, &[&image.faulty(fault), &sound]);
    }
}

#[test]
fn a_flipped_bit_anywhere_in_the_file_never_reaches_the_disk() {
    let image = Image::by_chance(160 << 10, CHUNK, 62);
    let mut chance = Chance(63);
    let mut places: Vec<u64> = (0..30).collect();
    places.extend((0..50).map(|_| wide(chance.below(image.frames.len()))));
    for at in places {
        let medium = Memory::new(vec![0xff; DISK], 512);
        let flipped = image.faulty(Fault::FlippedBit { at });
        match put(&medium, &image, &[&flipped], &options()) {
            // A few bits of a frame mean nothing.
            Ok(_) => assert_holds(&medium, &image, &vec![0xff; DISK]),
            Err(failure) => {
                assert!(bad_chunk(&failure), "bit at {at}: {failure:?}");
                assert_disarmed(&medium);
                let chunks = medium.bytes();
                let chunks = chunks.chunks(usize::try_from(CHUNK).unwrap());
                let expected = image.bytes.chunks(usize::try_from(CHUNK).unwrap());
                let is_sound = |(found, expected): (&[u8], &[u8])| {
                    found == expected || found.iter().all(|byte| [0, 0xff].contains(byte))
                };
                assert!(chunks.zip(expected).all(is_sound), "a wrong chunk was written");
            }
        }
    }
}

#[test]
fn a_flipped_bit_that_does_not_come_again_is_survived() {
    survives(&image(), &[&image().faulty(Fault::FlippedOnce { requests: 1 })]);
}

#[test]
fn two_mirrors_with_the_same_wrong_bit_are_a_bad_chunk() {
    let image = image();
    let wrong = image.faulty(Fault::FlippedBit { at: 10 });
    fails(&image, &[&wrong, &wrong], bad_chunk);
}

#[test]
fn another_image_in_the_middle_is_never_mixed_in() {
    let image = image();
    let from = wide(image.frames.len() / 2);
    fails(&image, &[&image.faulty(Fault::Other { from })], bad_chunk);
    let replaced = |failure: &Failure| matches!(failure, Failure::Replaced { .. });
    for from_request in [1, 2] {
        fails(&image, &[&image.faulty(Fault::Replaced { from_request })], replaced);
        fails(&image, &[&image.faulty(Fault::ReplacedMidway { from_request })], replaced);
    }
    // A mirror does not help: nobody knows which of the two is right.
    let sources =
        [&image.faulty(Fault::Replaced { from_request: 1 }) as &dyn Source, &image.source()];
    fails(&image, &sources, replaced);
}

#[test]
fn an_error_page_is_no_image() {
    fails(&image(), &[&image().faulty(Fault::ErrorPage)], |failure| {
        // Shorter than what was asked for, or no frame.
        bad_chunk(failure) || unreachable(failure)
    });
}

#[test]
fn a_refusal_ends_it_at_once() {
    let image = image();
    let refusing = image.faulty(Fault::Refused);
    fails(&image, &[&refusing], |failure| matches!(failure, Failure::Refused { .. }));
    assert!(refusing.requests.load(std::sync::atomic::Ordering::Relaxed) <= 4);
    fails(&image, &[], |failure| matches!(failure, Failure::Refused { .. }));
}

#[test]
fn more_bytes_than_asked_for_do_no_harm() {
    survives(&image(), &[&image().faulty(Fault::TooMuch)]);
}

#[test]
fn a_source_that_sends_a_byte_now_and_then_is_left() {
    let image = image();
    let slow = image.faulty(Fault::Slow { pause: Duration::from_millis(1) });
    let mut options = options();
    options.patience.stall = Duration::from_millis(50);
    let medium = Memory::new(vec![0xff; DISK], 512);
    let begun = Instant::now();
    let failure = put(&medium, &image, &[&slow], &options).unwrap_err();
    assert!(unreachable(&failure), "{failure:?}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_disarmed(&medium);
    put(&medium, &image, &[&slow, &image.source()], &options).unwrap();
    assert_holds(&medium, &image, &vec![0xff; DISK]);
}

/// What a disk with faults makes of an install.
pub(crate) fn on(faults: Faults) -> (Memory, Result<protocol::install::InstallReport, Failure>) {
    let image = image();
    let medium = Memory::with_faults(vec![0xff; DISK], 512, faults);
    let whole = Options { verify: Verify::Whole, ..options() };
    let result = put(&medium, &image, &[&image.source()], &whole);
    (medium, result)
}

pub(crate) fn is_failed(
    result: Result<impl std::fmt::Debug, Failure>,
    operations: &[Operation],
) -> bool {
    let first = result.map_err(what_failed_first);
    matches!(first, Err(Failure::Medium(error)) if operations.contains(&error.operation))
}

/// Returns what failed, whether or not the disk could be disarmed again afterwards.
pub(crate) fn what_failed_first(failure: Failure) -> Failure {
    match failure {
        Failure::StillStarts { failure, .. } => *failure,
        other => other,
    }
}

#[test]
fn a_disk_that_may_still_start_after_a_failure_is_named_whatever_failed() {
    // From the flush of the first sector on: the disk is bootable, and nobody knows what it keeps.
    let mut named = 0;
    for flush in 1..=6 {
        let (_, result) = on(Faults { no_flush_from: Some(flush), ..Faults::default() });
        let failure = result.unwrap_err();
        if matches!(&failure, Failure::StillStarts { .. }) {
            named += 1;
            assert!(failure.to_string().contains("may start half an image"), "{failure}");
            let source = std::error::Error::source(&failure).expect("what failed first");
            assert!(source.to_string().starts_with("flushing"), "{source}");
        }
    }
    assert_eq!(named, 4, "one for each layer of what is written last");
}

#[test]
fn a_write_error_anywhere_in_the_image_is_named() {
    for sector in [32, 33, 1000, 2 * wide(MIB) / 512 - 1] {
        let (medium, result) = on(Faults { unwritable: [sector].into(), ..Faults::default() });
        assert!(is_failed(result, &[Operation::Write, Operation::Zero]), "sector {sector}");
        assert_disarmed(&medium);
    }
}

#[test]
fn a_write_error_where_the_disk_is_disarmed_is_named_before_anything_is_written() {
    for sector in [0, 1, 31, wide(DISK) / 512 - 1] {
        let (medium, result) = on(Faults { unwritable: [sector].into(), ..Faults::default() });
        assert!(is_failed(result, &[Operation::Write]), "sector {sector}");
        let chunk = usize::try_from(CHUNK).unwrap();
        assert!(medium.bytes()[chunk..2 * MIB].iter().all(|byte| *byte == 0xff), "untouched");
    }
}

#[test]
fn a_disk_that_keeps_its_old_start_or_end_is_not_written_to() {
    for sector in [0, 1, wide(DISK) / 512 - 1] {
        let (medium, result) = on(Faults { forgetful: [sector].into(), ..Faults::default() });
        assert!(matches!(result, Err(Failure::NotDisarmed { .. })), "sector {sector}");
        let chunk = usize::try_from(CHUNK).unwrap();
        assert!(medium.bytes()[chunk..2 * MIB].iter().all(|byte| *byte == 0xff), "untouched");
    }
}

#[test]
fn what_reads_back_otherwise_is_found_and_the_disk_disarmed_again() {
    for sector in [40, 1000, 2 * wide(MIB) / 512 - 1] {
        for faults in [
            Faults { forgetful: [sector].into(), ..Faults::default() },
            Faults { flipping: [sector].into(), by_itself: ByItself::Refuses, ..Faults::default() },
        ] {
            let (medium, result) = on(faults);
            let offset = sector * 512 / u64::from(CHUNK) * u64::from(CHUNK);
            let Err(Failure::ReadBack { offset: found }) = result else { panic!("{result:?}") };
            assert_eq!(found, offset);
            assert_disarmed(&medium);
        }
    }
}

#[test]
fn a_sample_finds_a_disk_that_forgets_one_sector_in_a_hundred() {
    let image = Image::by_chance(8 * MIB, 4096, 64);
    let mut found = 0;
    for seed in 0..20 {
        let mut chance = Chance(seed + 1);
        let forgetful = (0..164).map(|_| 512 + wide(chance.below(15_000))).collect();
        let faults = Faults { forgetful, ..Faults::default() };
        let medium = Memory::with_faults(vec![0xff; 16 * MIB], 512, faults);
        let options = Options { seed, ..options() };
        match put(&medium, &image, &[&image.source()], &options) {
            Err(Failure::ReadBack { .. }) => found += 1,
            other => assert!(other.is_ok(), "{other:?}"),
        }
    }
    assert!(found >= 19, "{found} of 20");
}

#[test]
fn what_cannot_be_read_back_is_a_failure() {
    let image = image();
    let unreadable = Faults { unreadable: [1000].into(), ..Faults::default() };
    let medium = Memory::with_faults(vec![0xff; DISK], 512, unreadable);
    let whole = Options { verify: Verify::Whole, ..options() };
    let result = put(&medium, &image, &[&image.source()], &whole);
    assert!(is_failed(result, &[Operation::Read]));
    assert_disarmed(&medium);
}

#[test]
fn a_disk_that_is_unplugged_at_any_write_is_named() {
    for write in (1..).map(|step| step * 7).take(10) {
        let (medium, result) = on(Faults { gone_from_write: Some(write), ..Faults::default() });
        let Err(Failure::Medium(error)) = result else { panic!("{result:?}") };
        assert_eq!(error.source.raw_os_error(), Some(19), "{error:?}");
        assert_disarmed(&medium);
    }
}

#[test]
fn a_flush_that_fails_is_a_failed_install() {
    for flush in 1..=6 {
        let (medium, result) = on(Faults { no_flush_from: Some(flush), ..Faults::default() });
        assert!(is_failed(result, &[Operation::Flush]), "flush {flush}");
        assert_disarmed(&medium);
    }
}

#[test]
fn a_device_that_only_says_that_it_zeroed_is_found_out() {
    let (medium, result) = on(Faults { by_itself: ByItself::Lies, ..Faults::default() });
    result.unwrap();
    assert_holds(&medium, &image(), &vec![0xff; DISK]);
}

#[test]
fn old_tables_at_both_ends_are_gone_before_anything_new_is_there() {
    let mut before = vec![0xff; DISK];
    crate::table::make(&mut before, 512, &[(2048, 4096)]);
    let image = image();
    let medium = Memory::new(before, 512);
    let down = image.faulty(Fault::Down { requests: 1000 });
    let failure = put(&medium, &image, &[&down], &options()).unwrap_err();
    assert!(unreachable(&failure));
    assert_disarmed(&medium);
}
