//! Makes ranges read as zeros: by the device where it truly does that, else by writing them. Never by skipping them.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use disk::{AlignedBuffer, Fault, Medium, Operation, Zeroing};

use crate::{
    failure::{failed, read, write},
    gauge::Gauge,
    plan::Plan,
    zero::is_zero,
};

/// One request for zeros is at most this long, so that progress is seen.
const PIECE_BYTES: u64 = 64 << 20;
/// Zeros are written in pieces of this.
const WRITE_BYTES: usize = 1 << 20;
/// At both ends of every range so much is looked at, to see whether the device does what it says.
const PROBE_BYTES: u64 = 4096;

/// Ranges that are to read as zeros.
#[derive(Debug)]
pub(crate) struct ZeroWork<'a> {
    medium: &'a dyn Medium,
    gauge: &'a Gauge,
    ranges: Mutex<std::vec::IntoIter<Range<u64>>>,
    way: Mutex<Way>,
    zeros: AlignedBuffer,
}

/// How zeros come onto a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Untried,
    ByItself,
    Written,
}

/// Returns the ranges that some chunks cover, neighbours joined.
pub(crate) fn runs(plan: &Plan, chunks: &[usize], medium: &dyn Medium) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for index in chunks {
        let start = plan.offset(*index);
        let length = plan.padded(*index, medium);
        let end = start + u64::try_from(length).expect("a length fits 64 bits");
        match runs.last_mut() {
            Some(last) if last.end == start && end - last.start <= PIECE_BYTES => last.end = end,
            _ => runs.push(start..end),
        }
    }
    runs
}

impl<'a> ZeroWork<'a> {
    pub(crate) fn new(medium: &'a dyn Medium, gauge: &'a Gauge, ranges: Vec<Range<u64>>) -> Self {
        Self {
            medium,
            gauge,
            ranges: Mutex::new(ranges.into_iter()),
            way: Mutex::new(Way::Untried),
            zeros: AlignedBuffer::zeroed(WRITE_BYTES),
        }
    }

    /// Returns the next range to be done.
    pub(crate) fn next(&self) -> Option<Range<u64>> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    /// Makes a range read as zeros.
    pub(crate) fn zero(&self, range: Range<u64>) -> Result<(), Fault> {
        let length = range.end - range.start;
        if self.by_itself(&range)? {
            self.gauge.zeroed.add_wide(length);
            return Ok(());
        }
        let mut offset = range.start;
        while offset < range.end {
            let piece = usize::try_from(range.end - offset).unwrap_or(usize::MAX).min(WRITE_BYTES);
            write(self.medium, offset, &self.zeros[..piece])?;
            self.gauge.written.add(piece);
            offset += u64::try_from(piece).expect("a length fits 64 bits");
        }
        Ok(())
    }

    /// Lets the device do it; says whether it did. The first time nobody else does anything with zeros meanwhile.
    fn by_itself(&self, range: &Range<u64>) -> Result<bool, Fault> {
        let way = {
            let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
            if *way == Way::Untried {
                *way = if self.keeps_its_word(range)? { Way::ByItself } else { Way::Written };
                return Ok(*way == Way::ByItself);
            }
            *way
        };
        if way == Way::Written || self.ask(range)? == Zeroing::Unsupported {
            return Ok(false);
        }
        let is_done = self.is_zero_at(&self.ends(range))?;
        if !is_done {
            *self.way.lock().unwrap_or_else(PoisonError::into_inner) = Way::Written;
        }
        Ok(is_done)
    }

    /// Returns where a range is looked at.
    fn ends(&self, range: &Range<u64>) -> [Range<u64>; 2] {
        let sector = u64::from(self.medium.sector_bytes());
        let length = PROBE_BYTES.max(sector).min(range.end - range.start);
        [range.start..range.start + length, range.end - length..range.end]
    }

    /// Holds when all of some places read as zeros.
    fn is_zero_at(&self, places: &[Range<u64>]) -> Result<bool, Fault> {
        for place in places {
            let length = usize::try_from(place.end - place.start).expect("a few KiB");
            if !is_zero(&read(self.medium, place.start, length)?) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn ask(&self, range: &Range<u64>) -> Result<Zeroing, Fault> {
        let length = range.end - range.start;
        let zeroed = self.medium.zero(range.start, length);
        zeroed.map_err(failed(Operation::Zero, range.start, length))
    }

    /// Tries it on a range whose ends hold something else before: some devices say "done" and do nothing.
    fn keeps_its_word(&self, range: &Range<u64>) -> Result<bool, Fault> {
        let ends = self.ends(range);
        for end in &ends {
            let length = usize::try_from(end.end - end.start).expect("a few KiB");
            let mut marks = AlignedBuffer::zeroed(length);
            marks.fill(0xa5);
            write(self.medium, end.start, &marks)?;
        }
        Ok(self.ask(range)? == Zeroing::Done && self.is_zero_at(&ends)?)
    }
}
