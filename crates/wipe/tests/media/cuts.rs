//! Power cuts at many points of a wipe of several passes: what was not flushed is lost, torn by sectors or reordered.
//! The next boot goes on at what the server was told last, and ends with a disk that is read back clean.
//!
//! `DRYDOCK_POWER_CUTS` says how many points; `make soak` sets it to 1,000.

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use disk::{Medium, Zeroing};
use protocol::{
    Bytes,
    wipe::{Seed, WipeStepKind},
};
use wipe::{
    Stopped, Watch,
    pass::{BadRanges, Gear, Key, Pass, Pattern, write},
    verification::{Content, Marking, Plan, Reading, look, plant},
};

use crate::{
    medium::{Chance, Done, Faults, Memory, after_cut},
    trial::Trial,
};

const SIZE: usize = 256 << 10;
const SECTOR: usize = 512;
const GEAR: Gear = Gear { transfer_bytes: 4 << 10, in_flight: 4 };
const PASSES: u32 = 3;
const USUAL_POINTS: usize = 60;
/// So many writes of the boot that is cut come between two looks at what is safe.
const WRITES_OF_A_MARK: u64 = 12;

fn points() -> usize {
    let told = std::env::var("DRYDOCK_POWER_CUTS").ok();
    told.map_or(USUAL_POINTS, |text| text.parse().expect("a number of points"))
}

fn seed() -> Seed {
    Seed([21; 32])
}

fn pattern(number: u32) -> Pattern {
    if number + 1 == PASSES { Pattern::Zeros } else { Pattern::Stream(Key::of(&seed(), 0, number)) }
}

/// A boot, and what it told the server after how many things were done to the disk.
#[derive(Debug)]
struct Boot {
    disk: Memory,
    told: Mutex<Vec<(usize, WipeStepKind)>>,
    /// How often it was said how far it is.
    looks: AtomicU64,
    /// Has writes wait now and then until it was looked at what is safe.
    waits: bool,
    writes: AtomicU64,
}

impl Boot {
    fn new(bytes: Vec<u8>, faults: Faults, waits: bool) -> Self {
        let disk = Memory::with_faults(bytes, 512, faults).logged();
        let (looks, writes) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { disk, told: Mutex::default(), looks, waits, writes }
    }

    /// Plants and writes, from where an earlier boot was.
    fn run(&self, before: Option<&WipeStepKind>) {
        let (first, from) = if let Some(WipeStepKind::Watermark { pass, bytes }) = before {
            (*pass, bytes.0)
        } else {
            self.note(WipeStepKind::Canaries {});
            assert!(plant(self, &plan(), self).canaries > 0);
            (0, 0)
        };
        for number in first..PASSES {
            let from = if number == first { from } else { 0 };
            self.note(WipeStepKind::Watermark { pass: number, bytes: Bytes(from) });
            let pass = Pass { pattern: pattern(number), number, from, gear: GEAR };
            assert!(write(self, &pass, self).is_over());
        }
    }

    fn told(&self) -> Vec<(usize, WipeStepKind)> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn plan() -> Plan {
    let (reading, marking) = (Reading::Whole, Marking::Known);
    Plan { seed: seed(), disk: 0, reading, marking, gear: GEAR }
}

impl Watch for Boot {
    fn check(&self) -> Result<(), Stopped> {
        Ok(())
    }

    fn wait(&self, _: Duration) -> Result<(), Stopped> {
        Ok(())
    }

    fn elapsed(&self) -> Duration {
        // Time for a watermark at every look.
        Duration::from_secs(11 * self.looks.load(Ordering::Relaxed))
    }

    fn journal(&self, step: WipeStepKind) -> Result<(), Stopped> {
        self.note(step);
        Ok(())
    }

    fn note(&self, step: WipeStepKind) {
        let done = self.disk.log().len();
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push((done, step));
    }

    fn progress(&self, _: u64, _: u64, _: u32) {
        self.looks.fetch_add(1, Ordering::Relaxed);
    }
}

impl Medium for Boot {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn sector_bytes(&self) -> u32 {
        self.disk.sector_bytes()
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, buffer)
    }

    fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        if self.waits && number % WRITES_OF_A_MARK == WRITES_OF_A_MARK - 1 {
            let (seen, begun) = (self.looks.load(Ordering::Relaxed), Instant::now());
            while self.looks.load(Ordering::Relaxed) == seen {
                assert!(begun.elapsed() < Duration::from_mins(1), "nobody looks");
                thread::park_timeout(Duration::from_millis(1));
            }
        }
        self.disk.write(offset, buffer)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<Zeroing> {
        self.disk.zero(offset, length)
    }

    fn flush(&self) -> io::Result<()> {
        self.disk.flush()
    }
}

/// What the server was told last before so many things were done.
fn last(told: &[(usize, WipeStepKind)], until: usize) -> Option<&WipeStepKind> {
    told.iter().rev().find(|(done, _)| *done <= until).map(|(_, step)| step)
}

/// Before a watermark, everything is of its pass or of a later one that was begun.
fn assert_true(step: Option<&WipeStepKind>, bytes: &[u8], bad: &BTreeSet<u64>) {
    let Some(WipeStepKind::Watermark { pass, bytes: Bytes(mark) }) = step else { return };
    let mark = usize::try_from(*mark).expect("small");
    let mut expected = vec![0; SIZE];
    if let Pattern::Stream(key) = pattern(*pass) {
        key.fill(0, &mut expected);
    }
    assert!(bad.iter().all(|sector| mark <= usize::try_from(*sector).expect("small") * SECTOR));
    assert!(bytes[..mark] == expected[..mark], "pass {pass} is not safe before {mark}");
}

fn assert_clean(boot: &Boot, bad: &BTreeSet<u64>) {
    let ranges = bad.iter().map(|sector| sector * 512..(sector + 1) * 512).collect();
    let left_out = BadRanges { ranges, ..BadRanges::default() };
    let look = look(&boot.disk, &plan(), Content::Zeros, 1, &left_out, boot);
    assert!(look.is_clean(), "{look:?}");
}

fn check(bad: &BTreeSet<u64>, points: usize) {
    let faults = Faults { unwritable: bad.clone(), ..Faults::default() };
    let before = Chance(30).bytes(SIZE);
    let first = Boot::new(before.clone(), faults.clone(), true);
    first.run(None);
    assert_clean(&first, bad);
    let (log, told) = (first.disk.log(), first.told());
    assert!(log.iter().any(|done| matches!(done, Done::Write { .. })) && told.len() > 6);
    let mut chance = Chance(31);
    for _ in 0..points {
        let until = chance.below(log.len() + 1);
        let bytes = after_cut(&before, &log, until, SECTOR, &mut chance);
        let step = last(&told, until);
        assert_true(step, &bytes, bad);
        let second = Boot::new(bytes.clone(), faults.clone(), false);
        second.run(step);
        assert_clean(&second, bad);
        // And once more, in the boot that went on.
        let (log, told) = (second.disk.log(), second.told());
        let until = chance.below(log.len() + 1);
        let bytes = after_cut(&bytes, &log, until, SECTOR, &mut chance);
        let step = last(&told, until).or(step);
        assert_true(step, &bytes, bad);
        let third = Boot::new(bytes, faults.clone(), false);
        third.run(step);
        assert_clean(&third, bad);
    }
}

#[test]
fn a_wipe_goes_on_after_a_power_cut_at_any_point() {
    check(&BTreeSet::new(), points());
}

#[test]
fn a_wipe_of_a_disk_with_bad_sectors_goes_on_too() {
    check(&BTreeSet::from([70, 71, 300]), points().div_ceil(3));
}

#[test]
fn a_watermark_before_its_flush_would_be_seen() {
    let disk = Memory::new(Chance(32).bytes(SIZE), 512).logged();
    let pass = Pass { pattern: pattern(0), number: 0, from: 0, gear: GEAR };
    write(&disk, &pass, &Trial::new());
    let log = disk.log();
    let before_the_flush = log.len() - 1;
    let bytes = after_cut(&vec![0; SIZE], &log, before_the_flush, SECTOR, &mut Chance(33));
    let early = WipeStepKind::Watermark { pass: 0, bytes: Bytes(SIZE as u64) };
    let seen = std::panic::catch_unwind(|| assert_true(Some(&early), &bytes, &BTreeSet::new()));
    assert!(seen.is_err());
}
