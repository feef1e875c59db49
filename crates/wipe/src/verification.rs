//! Canaries before, reading back after.
//!
//! Before anything is erased, places that follow from the order's seed get bytes that follow from it too. After,
//! those places and others by chance are read past every cache of ours, or all of them. Who has the seed can do the
//! same again, and find the same.
//!
//! What was read is compared with what the device promises to read as, which the caller says. A place that cannot be
//! read is never taken for right.

mod places;
mod tally;

use std::{collections::BTreeSet, ops::Range};

use disk::{AlignedBuffer, Medium};
use protocol::{
    Bytes,
    wipe::{Expected, Seed, Verification, VerificationPlan},
};

use self::{
    places::Places,
    tally::{Found, Tally},
};
use crate::{
    Stopped, Watch,
    pass::{
        BadRanges, Gear, Key,
        sweep::{Swept, Terms, sweep},
    },
};

/// So many places are read or written at once: what the queues of disks hold, from which they choose the shortest way.
const PLACES_IN_FLIGHT: usize = 32;

/// What is marked before, and read after.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The order's.
    pub seed: Seed,
    /// The disk's number in the order, from 0.
    pub disk: u32,
    /// How much is read.
    pub reading: Reading,
    /// Where canaries are planted.
    pub marking: Marking,
    /// How much is in flight while everything is read.
    pub gear: Gear,
}

/// How much is read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Every byte.
    Whole,
    /// 4,605 places by chance: of a thousandth that is left, some is found in 99 of 100 cases.
    Thousandth,
    /// 46,050 places by chance: the same of a ten-thousandth.
    TenThousandth,
}

/// Where canaries are planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marking {
    /// Both ends, every GiB, and some by chance: at most 1,296.
    Known,
    /// And every place that is sampled: so that after a crypto erase, when nobody knows what there has to be, each
    /// sample says something.
    EverySample,
}

impl Reading {
    /// Returns how many places are read by chance, of as many as there are.
    fn samples(self, count: u64) -> u64 {
        match self {
            Self::Whole => 0,
            Self::Thousandth => count.min(4605),
            Self::TenThousandth => count.min(46_050),
        }
    }
}

impl Plan {
    fn places(&self, medium: &dyn Medium) -> Places {
        Places::new(self.seed, self.disk, medium.size_bytes(), medium.sector_bytes())
    }

    fn samples(&self, places: &Places) -> impl Iterator<Item = u64> + use<> {
        places.samples(self.reading.samples(places.count())).collect::<Vec<_>>().into_iter()
    }

    fn canaries(&self, places: &Places) -> BTreeSet<u64> {
        let mut canaries = places.known();
        if self.marking == Marking::EverySample {
            canaries.extend(self.samples(places));
        }
        canaries
    }

    fn words(&self, places: &Places) -> VerificationPlan {
        let samples = self.reading.samples(places.count());
        match self.reading {
            Reading::Whole => VerificationPlan::Whole {},
            Reading::Thousandth => VerificationPlan::Sample { samples, detects_per_100_000: 100 },
            Reading::TenThousandth => VerificationPlan::Sample { samples, detects_per_100_000: 10 },
        }
    }
}

/// What a medium shall read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Zeros.
    Zeros,
    /// Ones.
    Ones,
    /// The stream of a key.
    Stream(Key),
    /// Anything but canaries: after a crypto erase.
    NoCanary,
}

impl Content {
    /// Returns the word of reports for it.
    pub fn expected(&self) -> Expected {
        match self {
            Self::Zeros => Expected::Zeros,
            Self::Ones => Expected::Ones,
            Self::Stream(_) => Expected::KeyedStream,
            Self::NoCanary => Expected::NoCanary,
        }
    }
}

/// What came of planting canaries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planted {
    /// How many were read back from the medium as they were written.
    pub canaries: u64,
    /// How many places did not take or keep theirs.
    pub refused: u64,
    /// Why it ended before its end.
    pub stopped: Option<Stopped>,
    /// Whether the disk is gone.
    pub lost: bool,
    /// What went wrong first, in the kernel's words.
    pub reason: Option<String>,
}

/// Writes the canaries, flushes, and reads them back. It destroys what was there: both ends are among the places.
pub fn plant(medium: &dyn Medium, plan: &Plan, watch: &dyn Watch) -> Planted {
    let (places, key) = (plan.places(medium), Key::of_canaries(&plan.seed, plan.disk));
    let canaries = plan.canaries(&places);
    let ranges = || canaries.iter().map(|place| places.range(*place)).collect();
    let buffer = || AlignedBuffer::zeroed(length(places.bytes));
    let terms =
        Terms { watch, sector: places.bytes, transfer: places.bytes, in_flight: PLACES_IN_FLIGHT };
    let put = |buffer: &mut AlignedBuffer, piece: Range<u64>| {
        let bytes = &mut buffer[..length(piece.end - piece.start)];
        key.fill(piece.start, bytes);
        medium.write(piece.start, bytes)
    };
    let Swept { mut stopped, mut lost, mut reason, .. } =
        sweep(&terms, ranges(), buffer, put, &|_| {});
    let none = BadRanges::default();
    let tally = Tally::new(places, Content::Stream(key), &none, std::iter::empty(), &key);
    if stopped.is_none() && !lost {
        if let Err(error) = medium.flush() {
            reason.get_or_insert_with(|| error.to_string());
        } else {
            let swept = read(medium, &terms, ranges(), &tally);
            (stopped, lost) = (swept.stopped, swept.lost);
            reason = reason.or(swept.reason);
        }
    }
    let found = tally.found();
    let kept = found.places - found.differing;
    let all = u64::try_from(canaries.len()).unwrap_or(u64::MAX);
    Planted { canaries: kept, refused: all - kept, stopped, lost, reason }
}

/// What was found by reading back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// For the report.
    pub verification: Verification,
    /// Places that could not be written, and were therefore not expected to be anything. They are exceptions.
    pub left_out: u64,
    /// Why it ended before its end.
    pub stopped: Option<Stopped>,
    /// Whether the disk is gone.
    pub lost: bool,
    /// Whether everything that was to be read was read.
    pub is_complete: bool,
    /// What went wrong first, in the kernel's words.
    pub reason: Option<String>,
}

impl Look {
    /// Holds when everything that was to be read was read, and was as expected; where only canaries could tell,
    /// there were some.
    pub fn is_clean(&self) -> bool {
        let Verification { expected, canaries, canaries_found, differing, unreadable, .. } =
            self.verification;
        let can_tell = expected != Expected::NoCanary || canaries > 0;
        self.is_complete && can_tell && canaries_found == 0 && differing == 0 && unreadable == 0
    }
}

/// Reads back, and compares with what the medium shall hold.
///
/// `planted` is how many canaries [`plant`] saw in their places. `left_out` is what a pass could not write.
pub fn look(
    medium: &dyn Medium,
    plan: &Plan,
    content: Content,
    planted: u64,
    left_out: &BadRanges,
    watch: &dyn Watch,
) -> Look {
    let (places, key) = (plan.places(medium), Key::of_canaries(&plan.seed, plan.disk));
    let canaries = plan.canaries(&places);
    let marked = canaries.iter().copied().filter(|_| planted > 0);
    let tally = Tally::new(places, content, left_out, marked, &key);
    let (ranges, terms) = if plan.reading == Reading::Whole {
        let ranges = std::iter::once(0..places.size).filter(|range| !range.is_empty()).collect();
        let transfer = u64::from(plan.gear.transfer_bytes);
        let in_flight = plan.gear.in_flight;
        (ranges, Terms { watch, sector: places.bytes, transfer, in_flight })
    } else {
        let mut chosen = canaries;
        chosen.extend(plan.samples(&places));
        let ranges = chosen.iter().map(|place| places.range(*place)).collect::<Vec<_>>();
        let (bytes, in_flight) = (places.bytes, PLACES_IN_FLIGHT);
        (ranges, Terms { watch, sector: bytes, transfer: bytes, in_flight })
    };
    // What the kernel still holds of it goes to the medium first; what cannot go there is not there.
    let flushed = medium.flush();
    let swept = read(medium, &terms, ranges, &tally);
    let mut found = tally.found();
    let unreadable = unreadable(&places, &swept, left_out, &mut found);
    let Found {
        places: places_read,
        bytes,
        left_out: left_out_places,
        differing,
        canaries,
        offsets,
    } = found;
    let reason = flushed.as_ref().err().map(ToString::to_string).or(swept.reason);
    let verification = Verification {
        plan: plan.words(&places),
        expected: content.expected(),
        seed: plan.seed,
        places_read,
        bytes_read: Bytes(bytes),
        canaries: planted,
        canaries_found: canaries,
        differing,
        unreadable,
        first_offsets: offsets.into_iter().collect(),
    };
    let (stopped, lost) = (swept.stopped, swept.lost);
    let is_complete = flushed.is_ok() && swept.unreached == 0 && stopped.is_none() && !lost;
    Look { verification, left_out: left_out_places, stopped, lost, is_complete, reason }
}

/// Counts the places that could not be read, apart from those that are left out. There may be very many.
fn unreadable(places: &Places, swept: &Swept, left_out: &BadRanges, found: &mut Found) -> u64 {
    let mut unreadable = 0;
    for failed in swept.failed.iter() {
        let Range { start: mut place, end } = places.of(&failed);
        while place < end {
            let next = left_out.after(places.range(place).start).map(|bad| places.of(&bad));
            match next {
                Some(bad) if bad.start <= place => {
                    found.left_out += bad.end.min(end) - place;
                    place = bad.end.max(place + 1);
                }
                _ => {
                    let until = next.map_or(end, |bad| bad.start.min(end));
                    unreadable += until - place;
                    let first = (place..until).take(tally::OFFSETS);
                    first.for_each(|place| found.tell(places.range(place).start));
                    place = until;
                }
            }
        }
    }
    unreadable
}

/// Reads ranges of whole places, and compares them.
fn read(
    medium: &dyn Medium,
    terms: &Terms<'_>,
    ranges: Vec<Range<u64>>,
    tally: &Tally<'_>,
) -> Swept {
    let most = length(terms.transfer.max(terms.sector));
    let buffer = || (AlignedBuffer::zeroed(most), Vec::new());
    let get = |(buffer, scratch): &mut (AlignedBuffer, Vec<u8>), piece: Range<u64>| {
        let bytes = &mut buffer[..length(piece.end - piece.start)];
        medium.read(piece.start, bytes)?;
        tally.compare(&piece, bytes, scratch);
        Ok(())
    };
    sweep(terms, ranges, buffer, get, &|_| {})
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a transfer is below 4 GiB")
}
