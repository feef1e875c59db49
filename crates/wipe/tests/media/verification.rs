//! Reading back: what is not as it shall be is found.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use disk::{Medium, Zeroing};
use protocol::wipe::{Expected, Seed, VerificationPlan};
use wipe::{
    Stopped,
    pass::{BadRanges, Gear, Pattern, write},
    verification::{Content, Look, Marking, Plan, Planted, Reading, look, plant},
};

use crate::{
    bent::Bent,
    medium::{Chance, Faults, Memory},
    pass::{pass, stream},
    trial::{Clock, Trial},
};

const SIZE: usize = 2 << 20;
const SECTORS: u64 = 4096;
const SMALL: Gear = Gear { transfer_bytes: 32 << 10, in_flight: 4 };

fn plan(reading: Reading, marking: Marking) -> Plan {
    Plan { seed: Seed([7; 32]), disk: 1, reading, marking, gear: SMALL }
}

fn whole() -> Plan {
    plan(Reading::Whole, Marking::Known)
}

fn content(pattern: Pattern) -> Content {
    match pattern {
        Pattern::Zeros => Content::Zeros,
        Pattern::Stream(key) => Content::Stream(key),
    }
}

fn old() -> Vec<u8> {
    Chance(78).bytes(SIZE)
}

fn see(medium: &dyn Medium, plan: &Plan, content: Content, planted: &Planted) -> Look {
    look(medium, plan, content, planted.canaries, &BadRanges::default(), &Trial::new())
}

/// Plants, writes and looks.
fn wipe(medium: &dyn Medium, plan: &Plan, pattern: Pattern) -> (Planted, Look) {
    let planted = plant(medium, plan, &Trial::new());
    write(medium, &pass(pattern, SMALL), &Trial::new());
    let look = see(medium, plan, content(pattern), &planted);
    (planted, look)
}

fn faulty(faults: Faults) -> Memory {
    Memory::with_faults(old(), 512, faults)
}

#[test]
fn what_was_written_over_is_clean_however_it_is_read() {
    for pattern in [Pattern::Zeros, stream()] {
        for reading in [Reading::Whole, Reading::Thousandth, Reading::TenThousandth] {
            for sector in [512, 4096] {
                let disk = Memory::new(old(), sector);
                let plan = plan(reading, Marking::EverySample);
                let (planted, look) = wipe(&disk, &plan, pattern);
                assert_eq!((planted.refused, planted.reason), (0, None));
                assert!(look.is_clean(), "{look:?}");
                let found = look.verification;
                // Smaller than the sample: everything is read, once.
                assert_eq!((found.places_read, found.bytes_read.0), (512, SIZE as u64));
                assert_eq!(found.canaries, planted.canaries);
                assert_eq!(found.expected, content(pattern).expected());
            }
        }
    }
}

#[test]
fn the_report_says_what_the_sample_would_have_shown() {
    let clock = Clock::default();
    let disk = Bent::new(1 << 40, clock, |_| false);
    let of = |reading| {
        let planted = Planted { canaries: 0, refused: 0, stopped: None, lost: false, reason: None };
        see(&disk, &plan(reading, Marking::Known), Content::Zeros, &planted).verification
    };
    let thousandth = VerificationPlan::Sample { samples: 4605, detects_per_100_000: 100 };
    assert_eq!(of(Reading::Thousandth).plan, thousandth);
    let found = of(Reading::TenThousandth);
    let finer = VerificationPlan::Sample { samples: 46_050, detects_per_100_000: 10 };
    assert_eq!(found.plan, finer);
    assert!(found.places_read > 46_050 + 1024 && found.places_read <= 46_050 + 1296);
}

#[test]
fn a_write_that_was_dropped_is_found() {
    for pattern in [Pattern::Zeros, stream()] {
        for sector in [0, 1234, SECTORS - 1] {
            let disk = faulty(Faults { forgetful: BTreeSet::from([sector]), ..Faults::default() });
            let (_, look) = wipe(&disk, &whole(), pattern);
            assert!(!look.is_clean() && look.is_complete);
            assert_eq!(look.verification.differing, 1);
            assert_eq!(look.verification.first_offsets, [sector / 8 * 4096]);
        }
    }
}

#[test]
fn a_bit_that_flipped_on_the_way_is_found() {
    let disk = faulty(Faults { flipping: BTreeSet::from([77, 78, 3000]), ..Faults::default() });
    let (_, look) = wipe(&disk, &whole(), stream());
    assert_eq!((look.verification.differing, look.is_clean()), (2, false));
}

#[test]
fn a_disk_that_takes_nothing_takes_no_canary() {
    let disk = faulty(Faults { forgetful: (0..SECTORS).collect(), ..Faults::default() });
    let planted = plant(&disk, &whole(), &Trial::new());
    assert_eq!(planted.canaries, 0);
    assert!(planted.refused > 16, "{planted:?}");
}

#[test]
fn a_canary_that_survived_is_found_wherever_it_stands() {
    let disk = Memory::new(old(), 512);
    let plan = plan(Reading::Thousandth, Marking::Known);
    let planted = plant(&disk, &plan, &Trial::new());
    let canary = disk.bytes()[..4096].to_vec();
    write(&disk, &pass(Pattern::Zeros, SMALL), &Trial::new());
    let mut aligned = disk::AlignedBuffer::zeroed(4096);
    aligned.copy_from_slice(&canary);
    disk.write(100 * 4096, &aligned).expect("it can be written");
    for content in [Content::Zeros, Content::NoCanary] {
        let look = see(&disk, &plan, content, &planted);
        assert_eq!(look.verification.canaries_found, 1);
        assert_eq!(look.verification.first_offsets, [100 * 4096]);
        assert!(!look.is_clean());
    }
}

#[test]
fn after_a_crypto_erase_only_canaries_tell_and_without_them_nothing_is_proven() {
    let disk = Memory::new(old(), 512);
    for reading in [Reading::Whole, Reading::TenThousandth] {
        let plan = plan(reading, Marking::EverySample);
        let planted = plant(&disk, &plan, &Trial::new());
        let look = see(&disk, &plan, Content::NoCanary, &planted);
        assert_eq!(look.verification.canaries_found, planted.canaries, "nothing was erased");
        assert!(!look.is_clean() && planted.canaries > 16);
        // Whatever it reads as now.
        write(&disk, &pass(stream(), SMALL), &Trial::new());
        assert!(see(&disk, &plan, Content::NoCanary, &planted).is_clean());
        let none = Planted { canaries: 0, ..planted };
        assert!(!see(&disk, &plan, Content::NoCanary, &none).is_clean());
    }
}

#[test]
fn a_place_that_cannot_be_read_is_not_right() {
    let faults = Faults { unreadable: BTreeSet::from([9, 10, 800]), ..Faults::default() };
    let disk = Memory::with_faults(vec![0; SIZE], 512, faults);
    for reading in [Reading::Whole, Reading::Thousandth] {
        let planted = Planted { canaries: 9, refused: 0, stopped: None, lost: false, reason: None };
        let plan = plan(reading, Marking::Known);
        let look = see(&disk, &plan, Content::Zeros, &planted);
        assert_eq!((look.verification.unreadable, look.verification.differing), (2, 0));
        assert_eq!(look.verification.first_offsets, [4096, 100 * 4096]);
        assert!(!look.is_clean() && look.is_complete && look.reason.is_some());
    }
}

#[test]
fn a_disk_of_which_nothing_can_be_read_is_soon_given_up() {
    let trial = Trial::new();
    let disk = Bent::new(16 << 40, trial.clock.clone(), |_| true);
    let left_out = BadRanges { ranges: vec![4096..8192, 1 << 40..2 << 40], bytes: 0, exact: true };
    let look = look(&disk, &whole(), Content::Zeros, 0, &left_out, &trial);
    let found = &look.verification;
    assert_eq!((found.places_read, look.left_out), (0, 1 + (1 << 28)));
    assert_eq!(found.unreadable, (16 << 28) - look.left_out);
    assert_eq!(found.first_offsets[..2], [0, 8192]);
    assert!(!look.is_clean());
}

#[test]
fn what_could_not_be_written_is_left_out_and_named() {
    let bad = BTreeSet::from([40, 41, 2000]);
    let disk = faulty(Faults { unwritable: bad, ..Faults::default() });
    let outcome = write(&disk, &pass(Pattern::Zeros, SMALL), &Trial::new());
    for reading in [Reading::Whole, Reading::Thousandth] {
        let plan = plan(reading, Marking::Known);
        let told = look(&disk, &plan, Content::Zeros, 0, &outcome.bad, &Trial::new());
        assert!(told.is_clean() && told.left_out == 2, "{told:?}");
        let untold = look(&disk, &plan, Content::Zeros, 0, &BadRanges::default(), &Trial::new());
        assert_eq!((untold.verification.differing, untold.is_clean()), (2, false));
    }
}

#[test]
fn a_lost_or_cancelled_reading_proves_nothing() {
    let disk = faulty(Faults { gone_from_write: Some(1), ..Faults::default() });
    let planted = plant(&disk, &whole(), &Trial::new());
    assert!(planted.lost && planted.canaries == 0);
    let look = see(&disk, &whole(), Content::Zeros, &planted);
    assert!(look.lost && !look.is_complete && !look.is_clean());
    let disk = Memory::new(vec![0; SIZE], 512);
    let trial = Trial::stopping_after(20);
    let look =
        wipe::verification::look(&disk, &whole(), Content::Zeros, 9, &BadRanges::default(), &trial);
    assert_eq!(look.stopped, Some(Stopped::Cancelled));
    assert!(!look.is_complete && !look.is_clean() && look.verification.places_read < 512);
}

#[test]
fn a_flush_that_fails_before_reading_proves_nothing() {
    let faults = Faults { no_flush_from: Some(1), ..Faults::default() };
    let disk = Memory::with_faults(vec![0; SIZE], 512, faults);
    let look = look(&disk, &whole(), Content::Zeros, 9, &BadRanges::default(), &Trial::new());
    assert!(!look.is_clean() && look.reason.is_some());
}

/// A disk that sends what is meant for one sector to another.
#[derive(Debug)]
struct Astray {
    inner: Memory,
    from: u64,
    to: u64,
}

impl Medium for Astray {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn sector_bytes(&self) -> u32 {
        512
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, buffer)
    }

    fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        let mut one = disk::AlignedBuffer::zeroed(512);
        for (number, sector) in (offset / 512..).zip(buffer.chunks(512)) {
            one.copy_from_slice(sector);
            let place = if number == self.from { self.to } else { number };
            self.inner.write(place * 512, &one)?;
        }
        Ok(())
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<Zeroing> {
        self.inner.zero(offset, length)
    }

    fn flush(&self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[test]
fn a_write_that_lands_elsewhere_is_found() {
    for (from, to) in [(100, 3000), (3000, 100)] {
        for (pattern, most) in [(Pattern::Zeros, 1), (stream(), 2)] {
            let disk = Astray { inner: Memory::new(old(), 512), from, to };
            let (_, look) = wipe(&disk, &whole(), pattern);
            let differing = look.verification.differing;
            assert!((1..=most).contains(&differing) && !look.is_clean(), "{differing}");
            assert!(look.verification.first_offsets.contains(&(from / 8 * 4096)));
        }
    }
}

/// A disk that keeps what was written in a cache, says that it is safe, and never writes part of it.
#[derive(Debug)]
struct Cached {
    inner: Memory,
    /// What stays in the cache.
    never: Range<u64>,
    /// Of this many transfers. What is read takes the place of what was written.
    room: usize,
    cache: Mutex<VecDeque<(u64, Vec<u8>)>>,
}

impl Cached {
    fn keep(&self, offset: u64, bytes: &[u8]) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.retain(|(at, _)| *at != offset);
        cache.push_back((offset, bytes.to_vec()));
        if cache.len() > self.room {
            cache.pop_front();
        }
    }
}

impl Medium for Cached {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn sector_bytes(&self) -> u32 {
        512
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, buffer)?;
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (at, bytes) in &cache {
            let (end, cached_end) = (offset + buffer.len() as u64, at + bytes.len() as u64);
            let (from, until) = (offset.max(*at), end.min(cached_end));
            if from < until {
                let part = |start: u64| {
                    usize::try_from(from - start).expect("small")
                        ..usize::try_from(until - start).expect("small")
                };
                buffer[part(offset)].copy_from_slice(&bytes[part(*at)]);
            }
        }
        self.keep(offset, buffer);
        Ok(())
    }

    fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        self.keep(offset, buffer);
        let end = offset + buffer.len() as u64;
        if end <= self.never.start || offset >= self.never.end {
            self.inner.write(offset, buffer)?;
        }
        Ok(())
    }

    fn zero(&self, _: u64, _: u64) -> io::Result<Zeroing> {
        Ok(Zeroing::Unsupported)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_reads_from_its_cache_what_it_never_wrote_is_found() {
    let size = SIZE as u64;
    for never in [0..65_536, size / 2..size / 2 + 65_536, size - 65_536..size] {
        let (inner, cache) = (Memory::new(old(), 512), Mutex::default());
        let disk = Cached { inner, never, room: 24, cache };
        let (_, look) = wipe(&disk, &whole(), Pattern::Zeros);
        assert!(look.verification.differing > 0 && !look.is_clean(), "{look:?}");
    }
}

/// A large disk that reads as zeros, but for a share of its places: what was there before, or all of them canaries.
#[derive(Debug)]
struct Stale {
    size: u64,
    /// One place of so many.
    one_of: u64,
    /// Whether they stand together.
    stripe: bool,
}

impl Medium for Stale {
    fn size_bytes(&self) -> u64 {
        self.size
    }

    fn sector_bytes(&self) -> u32 {
        4096
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (place, count) = (offset / 4096, self.size / 4096);
        let is_stale = if self.stripe {
            (count / 3..count / 3 + count / self.one_of).contains(&place)
        } else {
            (Chance(place * 7919 + 12_345).next() >> 20).is_multiple_of(self.one_of)
        };
        buffer.fill(if is_stale { 0x41 } else { 0 });
        Ok(())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn zero(&self, _: u64, _: u64) -> io::Result<Zeroing> {
        Ok(Zeroing::Unsupported)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// In how many of so many wipes, each with a seed of its own, it is found.
fn found(disk: &Stale, reading: Reading, wipes: u8) -> usize {
    let is_found = |seed: &u8| {
        let plan = Plan { seed: Seed([*seed; 32]), ..plan(reading, Marking::Known) };
        let look = look(disk, &plan, Content::Zeros, 1, &BadRanges::default(), &Trial::new());
        assert!(look.is_complete);
        !look.is_clean()
    };
    (0..wipes).filter(is_found).count()
}

#[test]
fn of_what_was_left_the_sample_finds_as_much_as_it_says() {
    let size = 64 << 30;
    let scattered = Stale { size, one_of: 1000, stripe: false };
    let times = found(&scattered, Reading::Thousandth, 40);
    assert!((38..=40).contains(&times), "{times} of 40");
    // A stripe is always found: some strata lie within it.
    let stripe = Stale { stripe: true, ..scattered };
    assert_eq!(found(&stripe, Reading::Thousandth, 5), 5);
    let finer = Stale { one_of: 10_000, stripe: true, ..stripe };
    assert_eq!(found(&finer, Reading::TenThousandth, 1), 1);
    let nothing = Stale { one_of: u64::MAX, ..scattered };
    assert_eq!(found(&nothing, Reading::Thousandth, 2), 0, "and nothing where nothing is");
}

#[test]
fn words_of_reports_say_what_was_expected() {
    assert_eq!(Content::Ones.expected(), Expected::Ones);
    assert_eq!(Content::NoCanary.expected(), Expected::NoCanary);
    let disk = Memory::new(vec![0xff; SIZE], 512);
    let look = look(&disk, &whole(), Content::Ones, 0, &BadRanges::default(), &Trial::new());
    assert!(look.is_clean());
}
