//! Writing over everything.

use std::{collections::BTreeSet, ops::Range, sync::atomic::Ordering, time::Duration};

use disk::Medium as _;
use proptest::prelude::*;
use protocol::wipe::{Outcome, Seed, WipeStepKind};
use wipe::{
    Stopped,
    pass::{Gear, Key, Offload, Pass, PassOutcome, Pattern, offload, write},
};

use crate::{
    bent::Bent,
    medium::{ByItself, Chance, Done, Faults, Memory},
    trial::{Clock, Trial},
};

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;
/// Small enough that small disks have many transfers.
const SMALL: Gear = Gear { transfer_bytes: 16 << 10, in_flight: 4 };

pub(crate) fn pass(pattern: Pattern, gear: Gear) -> Pass {
    Pass { pattern, number: 0, from: 0, gear }
}

pub(crate) fn stream() -> Pattern {
    Pattern::Stream(Key::of(&Seed([9; 32]), 1, 2))
}

/// What a disk holds after a pass.
pub(crate) fn expected(pattern: Pattern, bytes: usize) -> Vec<u8> {
    let mut expected = vec![0; bytes];
    if let Pattern::Stream(key) = pattern {
        key.fill(0, &mut expected);
    }
    expected
}

fn old(bytes: usize) -> Vec<u8> {
    Chance(77).bytes(bytes)
}

fn one(range: Range<u64>) -> Vec<Range<u64>> {
    std::iter::once(range).collect()
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes).expect("64 bits")
}

/// How often each sector was written.
fn times(disk: &Memory, sector: usize) -> Vec<u32> {
    let mut times = vec![0; disk.bytes().len().div_ceil(sector)];
    for done in disk.log() {
        if let Done::Write { offset, bytes } = done {
            times[offset / sector..(offset + bytes.len()) / sector]
                .iter_mut()
                .for_each(|n| *n += 1);
        }
    }
    times
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn each_byte_is_written_exactly_once(
        sectors in 1usize..800,
        sector in prop::sample::select(vec![512u32, 520, 4096]),
        transfer_bytes in prop::sample::select(vec![1u32, 4096, 10_000, 65_536, 1 << 20]),
        in_flight in 1usize..9,
        from in 0u64..500_000,
        is_stream: bool,
    ) {
        let sector_bytes = usize::try_from(sector).unwrap();
        let (size, old) = (sectors * sector_bytes, old(sectors * sector_bytes));
        let disk = Memory::new(old.clone(), sector).logged();
        let pattern = if is_stream { stream() } else { Pattern::Zeros };
        let gear = Gear { transfer_bytes, in_flight };
        let from = from.min(u64::try_from(size).unwrap());
        let outcome = write(&disk, &Pass { from, ..pass(pattern, gear) }, &Trial::new());
        prop_assert!(outcome.is_whole(), "{outcome:?}");
        let first = length(from) / sector_bytes;
        let expected = [&old[..first * sector_bytes], &expected(pattern, size)[first * sector_bytes..]];
        prop_assert!(disk.bytes() == expected.concat());
        for (number, times) in times(&disk, sector_bytes).into_iter().enumerate() {
            prop_assert_eq!(times, u32::from(number >= first), "sector {}", number);
        }
    }

    #[test]
    fn what_cannot_be_written_is_named_to_the_sector_and_all_else_is_written(
        bad in prop::collection::btree_set(0u64..1024, 0..40), run in 0u64..200, is_stream: bool
    ) {
        let bad: BTreeSet<u64> = bad.into_iter().chain(500..500 + run).collect();
        let (size, before) = (1 << 19, old(1 << 19));
        let faults = Faults { unwritable: bad.clone(), ..Faults::default() };
        let disk = Memory::with_faults(before.clone(), 512, faults);
        let pattern = if is_stream { stream() } else { Pattern::Zeros };
        let outcome = write(&disk, &pass(pattern, SMALL), &Trial::new());
        let named: BTreeSet<u64> =
            outcome.bad.ranges.iter().flat_map(|range| range.start / 512..range.end / 512).collect();
        prop_assert_eq!(&named, &bad);
        prop_assert!(outcome.is_over() && outcome.bad.exact);
        prop_assert_eq!(outcome.is_whole(), bad.is_empty());
        prop_assert_eq!(outcome.written + outcome.bad.bytes, outcome.total);
        prop_assert_eq!(outcome.reason.is_some(), !bad.is_empty());
        let mut expected = expected(pattern, size);
        for number in bad {
            let at = length(number) * 512;
            expected[at..at + 512].copy_from_slice(&before[at..at + 512]);
        }
        prop_assert!(disk.bytes() == expected);
    }

    #[test]
    fn a_pass_that_goes_on_at_a_watermark_makes_the_same_bytes(checks in 1u64..60, is_stream: bool) {
        let size = 1 << 19;
        let pattern = if is_stream { stream() } else { Pattern::Zeros };
        let disk = Memory::new(old(size), 512);
        let trial = Trial::stopping_after(checks);
        let first = write(&disk, &pass(pattern, SMALL), &trial);
        prop_assert!(first.stopped.is_none_or(|stopped| stopped == Stopped::Cancelled));
        let done = disk.bytes().iter().zip(expected(pattern, size)).take_while(|(a, b)| **a == *b).count();
        let from = u64::try_from(done).unwrap();
        let second = write(&disk, &Pass { from, ..pass(pattern, SMALL) }, &Trial::new());
        prop_assert!(second.is_whole());
        prop_assert!(disk.bytes() == expected(pattern, size));
    }
}

/// Writes zeros over a disk of which some ranges are bad and each failure takes seven seconds.
fn over(
    bytes: u64,
    bad: impl Fn(&Range<u64>) -> bool + Send + Sync + 'static,
) -> (PassOutcome, Bent, Duration) {
    let trial = Trial::new();
    let disk = Bent::new(bytes, trial.clock.clone(), bad);
    // One at a time: a thread that the processor leaves alone would count what others wait for as its own.
    let gear = Gear { transfer_bytes: 16 << 20, in_flight: 1 };
    let outcome = write(&disk, &pass(Pattern::Zeros, gear), &trial);
    assert!(outcome.is_over(), "{outcome:?}");
    assert_eq!(outcome.written, disk.done_bytes(), "what is said is what was written");
    assert_eq!(outcome.written + outcome.bad.bytes, bytes);
    (outcome, disk, trial.clock.now())
}

#[test]
fn a_disk_on_which_nothing_can_be_written_is_soon_given_up() {
    let (outcome, disk, time) = over(16 * TIB, |_| true);
    assert_eq!((outcome.written, outcome.bad.ranges.clone()), (0, one(0..16 * TIB)));
    assert!(!outcome.bad.exact);
    let failures = disk.failures.load(Ordering::Relaxed);
    assert!(failures < 300 && time < Duration::from_mins(40), "{failures} failures, {time:?}");
}

#[test]
fn a_disk_full_of_bad_sectors_does_not_take_for_ever() {
    // One in 16 MiB, everywhere.
    let at = |range: &Range<u64>| {
        let next = range.start.next_multiple_of(16 * MIB) + 4096;
        range.contains(&next) || range.contains(&(next - 16 * MIB))
    };
    let (outcome, _, time) = over(TIB, at);
    assert!(time < Duration::from_hours(2), "{time:?}");
    assert!(!outcome.bad.exact && outcome.written > 1 << 30, "{}", outcome.written);
}

#[test]
fn everything_is_written_but_the_half_that_is_dead() {
    let (outcome, _, time) = over(TIB, |range| range.end > TIB / 4 && range.start < 3 * TIB / 4);
    assert!(outcome.bad.bytes >= TIB / 2, "{}", outcome.bad.bytes);
    // What lies on both sides is found from both ends, and the edges as closely as time allows.
    assert!(outcome.bad.bytes - TIB / 2 < TIB / 1000, "{}", outcome.bad.bytes - TIB / 2);
    assert!(time < Duration::from_hours(2), "{time:?}");
}

#[test]
fn a_few_bad_places_cost_little() {
    let bad = [5 * 512, TIB / 2, TIB - 512];
    let (outcome, disk, _) = over(TIB, move |range| bad.iter().any(|at| range.contains(at)));
    let ranges: Vec<_> = bad.iter().map(|at| *at..at + 512).collect();
    assert_eq!((outcome.bad.ranges, outcome.bad.exact), (ranges, true));
    assert_eq!(disk.failures.load(Ordering::Relaxed), 9, "a transfer, 64 KiB and a sector each");
}

#[test]
fn a_slow_disk_never_has_much_in_flight() {
    for (speed, most) in [(1_000_000, 512 << 10), (100_000, 64 << 10)] {
        let trial = Trial::new();
        let slow = Bent::new(64 * MIB, trial.clock.clone(), |_| false);
        let disk = Bent { bytes_per_second: Some(speed), ..slow };
        let gear = Gear { in_flight: 1, ..Gear::default() };
        let outcome = write(&disk, &pass(Pattern::Zeros, gear), &trial);
        assert!(outcome.is_whole());
        let done = disk.done.into_inner().expect("nobody panicked");
        let largest = done.iter().map(|range| range.end - range.start).max();
        assert!(
            largest.is_some_and(|bytes| bytes <= most),
            "{largest:?} at {speed} bytes a second"
        );
    }
}

#[test]
fn a_lost_disk_ends_it() {
    let faults = Faults { gone_from_write: Some(20), ..Faults::default() };
    let disk = Memory::with_faults(old(4 << 20), 512, faults);
    let outcome = write(&disk, &pass(Pattern::Zeros, SMALL), &Trial::new());
    assert!(outcome.lost && !outcome.flushed && !outcome.is_over() && !outcome.is_whole());
    assert!(outcome.written <= 19 * (16 << 10), "{}", outcome.written);
    assert!(outcome.reason.is_some());
}

#[test]
fn a_cancelled_pass_ends_at_once_and_says_how_far_it_came() {
    let disk = Memory::new(old(4 << 20), 512);
    let outcome = write(&disk, &pass(stream(), SMALL), &Trial::stopping_after(50));
    assert_eq!(outcome.stopped, Some(Stopped::Cancelled));
    assert!(!outcome.is_over() && outcome.bad.ranges.is_empty());
    assert!(outcome.written <= 50 * (16 << 10), "{}", outcome.written);
    assert_eq!(outcome.written, disk.written.load(Ordering::Relaxed));
}

#[test]
fn a_flush_that_failed_once_is_never_forgotten() {
    let faults = Faults { no_flush_from: Some(1), ..Faults::default() };
    let disk = Memory::with_faults(old(1 << 20), 512, faults);
    let trial = Trial::hurried();
    let outcome = write(&disk, &pass(Pattern::Zeros, SMALL), &trial);
    assert!(!outcome.flushed && !outcome.is_whole() && outcome.reason.is_some());
    assert_eq!(trial.notes(), [], "nothing is safe");
}

#[test]
fn a_bad_place_holds_the_watermark_back() {
    let faults = Faults { unwritable: BTreeSet::from([1000]), ..Faults::default() };
    let disk = Memory::with_faults(old(8 << 20), 512, faults);
    let trial = Trial::hurried();
    let outcome = write(&disk, &pass(Pattern::Zeros, SMALL), &trial);
    assert_eq!(outcome.bad.ranges.len(), 1);
    for note in trial.notes() {
        let WipeStepKind::Watermark { pass: 0, bytes } = note else { panic!("{note:?}") };
        assert!(bytes.0 <= 1000 * 512, "{bytes:?}");
    }
}

#[test]
fn progress_ends_at_the_whole() {
    let disk = Memory::new(old(1 << 20), 512);
    let trial = Trial::new();
    write(&disk, &Pass { from: 4096, ..pass(Pattern::Zeros, SMALL) }, &trial);
    assert_eq!(trial.told(), (MIB - 4096, MIB - 4096, 0));
}

#[test]
fn a_disk_whose_last_bytes_are_no_sector_is_not_whole() {
    let disk = Bent { sector: 4096, ..Bent::new(MIB + 512, Clock::default(), |_| false) };
    let outcome = write(&disk, &pass(Pattern::Zeros, SMALL), &Trial::new());
    assert_eq!(outcome.bad.ranges, one(MIB..MIB + 512));
    assert!(!outcome.is_whole());
}

#[test]
fn a_device_zeroes_itself_where_it_can() {
    let disk = Memory::new(old(4 << 20), 512);
    let Offload::Done(outcome) = offload(&disk, &Trial::new()) else { panic!("it can") };
    assert!(outcome.is_whole() && disk.bytes() == vec![0; 4 << 20]);
    assert_eq!(disk.written.load(Ordering::Relaxed), 0);
    assert_eq!(Offload::REACHES, Outcome::Logical);
    let faults = Faults { by_itself: ByItself::Refuses, ..Faults::default() };
    let disk = Memory::with_faults(old(1 << 20), 512, faults);
    assert_eq!(offload(&disk, &Trial::new()), Offload::Unsupported);
    let faults = Faults { by_itself: ByItself::Fails, ..Faults::default() };
    let disk = Memory::with_faults(old(1 << 20), 512, faults);
    let Offload::Done(outcome) = offload(&disk, &Trial::new()) else {
        panic!("it does not say so")
    };
    assert_eq!(outcome.bad.ranges, one(0..disk.size_bytes()));
}
