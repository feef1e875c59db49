//! Clears places, and reads them back.

use std::{io, ops::Range};

use disk::{AlignedBuffer, Fault, Medium, Zeroing};

use super::{
    Places,
    places::Phase,
    ranges::{bytes, merged, without},
};
use crate::{Stopped, Watch};

/// How much is written or read at once.
const STEP: u64 = 1 << 20;

/// How much a device zeroes by itself between two looks whether to stop.
const ZERO_STEP: u64 = 64 << 20;

/// How much is tried around a failure.
const SMALL_STEP: u64 = 4096;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cleared {
    /// What was cleared and is on the medium, in order, without overlaps.
    pub ranges: Vec<Range<u64>>,
    /// How many bytes that is.
    pub bytes: u64,
    /// How many of them the device zeroed by itself.
    pub zeroed_by_device: u64,
    /// What could not be cleared, or does not read as zeros afterwards. In order, without overlaps of the same reason.
    pub bad: Vec<Bad>,
    /// Why it ended early.
    pub stopped: Option<Stopped>,
    /// Holds when the disk went away.
    pub is_gone: bool,
}

/// A range that is not clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bad {
    /// Where it begins, in bytes.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
    /// How it showed.
    pub reason: BadReason,
}

/// How it showed that a range is not clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BadReason {
    /// Zeros could not be written.
    Unwritable,
    /// The device did not say that they are on the medium.
    Unflushed,
    /// It cannot be read back.
    Unreadable,
    /// Something else than zeros is read back.
    NotZero,
}

/// Clears what a plan names: by the device itself where it does that, else by writing. Afterwards all that had to be
/// cleared is read back. Around bad places it goes on in small steps.
pub fn clear(medium: &dyn Medium, places: &Places, watch: &dyn Watch) -> Cleared {
    let phases = places.phases();
    let named = places.ranges();
    let total = phases.iter().map(|phase| bytes(&phase.ranges)).sum::<u64>() + bytes(&named);
    let length = usize::try_from(STEP).unwrap_or_default();
    let mut work = Work {
        medium,
        watch,
        zeros: AlignedBuffer::zeroed(length),
        buffer: AlignedBuffer::zeroed(length),
        is_zeroing: true,
        done: 0,
        total,
        cleared: Cleared::default(),
    };
    let ended =
        phases.iter().try_for_each(|phase| work.phase(phase)).and_then(|()| work.read_back(&named));
    let mut cleared = work.cleared;
    match ended {
        Ok(()) => {}
        Err(Ended::Stopped(why)) => cleared.stopped = Some(why),
        Err(Ended::Gone) => cleared.is_gone = true,
    }
    cleared.bad = joined(cleared.bad);
    let bad = cleared.bad.iter().map(|bad| bad.start..bad.start + bad.length);
    cleared.ranges = without(&merged(cleared.ranges), &merged(bad.collect()));
    cleared.bytes = bytes(&cleared.ranges);
    cleared
}

enum Ended {
    Stopped(Stopped),
    Gone,
}

impl From<Stopped> for Ended {
    fn from(why: Stopped) -> Self {
        Self::Stopped(why)
    }
}

struct Work<'run> {
    medium: &'run dyn Medium,
    watch: &'run dyn Watch,
    zeros: AlignedBuffer,
    buffer: AlignedBuffer,
    /// Whether the device may still be asked to zero by itself.
    is_zeroing: bool,
    done: u64,
    total: u64,
    cleared: Cleared,
}

impl Work<'_> {
    fn phase(&mut self, phase: &Phase) -> Result<(), Ended> {
        let first = self.cleared.ranges.len();
        for range in &phase.ranges {
            let step = if self.is_zeroing { ZERO_STEP } else { STEP };
            for piece in pieces(range, step) {
                self.step(&piece)?;
                self.piece(&piece, phase.is_wide)?;
            }
        }
        // Only then may what led here go.
        if let Err(error) = self.medium.flush() {
            let unsure = self.cleared.ranges.drain(first..);
            self.cleared.bad.extend(unsure.map(|range| bad(&range, BadReason::Unflushed)));
            return if is_gone(&error) { Err(Ended::Gone) } else { Ok(()) };
        }
        Ok(())
    }

    /// Has the device zero a piece; writes it where it does not, unless it is a favour.
    fn piece(&mut self, piece: &Range<u64>, is_wide: bool) -> Result<(), Ended> {
        let length = piece.end - piece.start;
        if self.is_zeroing {
            match self.medium.zero(piece.start, length) {
                Ok(Zeroing::Done) => {
                    self.cleared.zeroed_by_device += length;
                    self.cleared.ranges.push(piece.clone());
                    return Ok(());
                }
                Ok(Zeroing::Unsupported) => self.is_zeroing = false,
                Err(error) if is_gone(&error) => return Err(Ended::Gone),
                Err(_) => {} // Writing shows where.
            }
        }
        if is_wide {
            return Ok(());
        }
        for piece in pieces(piece, STEP) {
            self.watch.heard();
            self.watch.check()?;
            self.write(&piece)?;
        }
        Ok(())
    }

    fn write(&mut self, piece: &Range<u64>) -> Result<(), Ended> {
        let length = in_memory(piece);
        match self.medium.write(piece.start, &self.zeros[..length]) {
            Ok(()) => self.cleared.ranges.push(piece.clone()),
            Err(error) if is_gone(&error) => return Err(Ended::Gone),
            Err(_) => {
                for small in pieces(piece, self.small_step()) {
                    self.watch.heard();
                    self.watch.check()?;
                    match self.medium.write(small.start, &self.zeros[..in_memory(&small)]) {
                        Ok(()) => self.cleared.ranges.push(small),
                        Err(error) if is_gone(&error) => return Err(Ended::Gone),
                        Err(_) => self.cleared.bad.push(bad(&small, BadReason::Unwritable)),
                    }
                }
            }
        }
        Ok(())
    }

    fn read_back(&mut self, named: &[Range<u64>]) -> Result<(), Ended> {
        let bad = self.cleared.bad.iter().map(|bad| bad.start..bad.start + bad.length);
        for range in without(named, &merged(bad.collect())) {
            for piece in pieces(&range, STEP) {
                self.step(&piece)?;
                if self.reads_as(&piece)? == Some(true) {
                    continue;
                }
                for small in pieces(&piece, self.small_step()) {
                    self.watch.heard();
                    self.watch.check()?;
                    match self.reads_as(&small)? {
                        Some(true) => {}
                        Some(false) => self.cleared.bad.push(self::bad(&small, BadReason::NotZero)),
                        None => self.cleared.bad.push(self::bad(&small, BadReason::Unreadable)),
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns whether a piece reads as zeros; `None` where it cannot be read.
    fn reads_as(&mut self, piece: &Range<u64>) -> Result<Option<bool>, Ended> {
        let buffer = &mut self.buffer[..in_memory(piece)];
        match self.medium.read(piece.start, buffer) {
            Ok(()) => Ok(Some(*buffer == self.zeros[..buffer.len()])),
            Err(error) if is_gone(&error) => Err(Ended::Gone),
            Err(_) => Ok(None),
        }
    }

    fn small_step(&self) -> u64 {
        SMALL_STEP.max(u64::from(self.medium.sector_bytes()))
    }

    fn step(&mut self, piece: &Range<u64>) -> Result<(), Stopped> {
        self.watch.check()?;
        let bad_ranges = u32::try_from(self.cleared.bad.len()).unwrap_or(u32::MAX);
        self.watch.progress(self.done, self.total, bad_ranges);
        self.done += piece.end - piece.start;
        Ok(())
    }
}

/// Cuts a range at multiples of a step: a disk's own blocks are whole in them.
fn pieces(range: &Range<u64>, step: u64) -> impl Iterator<Item = Range<u64>> + use<> {
    let mut rest = range.clone();
    std::iter::from_fn(move || {
        let end = rest.end.min((rest.start - rest.start % step).saturating_add(step));
        let piece = std::mem::replace(&mut rest.start, end)..end;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Returns the length of a piece that is at most a step long.
fn in_memory(piece: &Range<u64>) -> usize {
    usize::try_from(piece.end - piece.start).expect("a step fits into memory")
}

fn bad(range: &Range<u64>, reason: BadReason) -> Bad {
    Bad { start: range.start, length: range.end - range.start, reason }
}

fn joined(mut bad: Vec<Bad>) -> Vec<Bad> {
    bad.sort_unstable();
    let mut joined: Vec<Bad> = Vec::new();
    for next in bad {
        match joined.last_mut() {
            Some(last) if last.reason == next.reason && last.start + last.length >= next.start => {
                last.length = last.length.max(next.start + next.length - last.start);
            }
            _ => joined.push(next),
        }
    }
    joined
}

fn is_gone(error: &io::Error) -> bool {
    Fault::of(error).is_some_and(|fault| fault.is_gone)
}
