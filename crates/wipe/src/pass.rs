//! Writes a pattern over a whole medium, around what cannot be written.
//!
//! Zeros come from one buffer that nobody writes to, the keyed stream is made again at any place: so a pass goes on
//! where an earlier boot stopped, and any part of it can be verified without anything having been stored.

mod ranges;
mod stream;
pub(crate) mod sweep;

use std::{cell::Cell, io, iter, ops::Range, sync::OnceLock};

use disk::{AlignedBuffer, Medium, Zeroing};
use protocol::{
    Bytes,
    wipe::{Outcome, WipeStepKind},
};

use self::{
    ranges::Ranges,
    sweep::{Swept, Terms, sweep},
};
use crate::{Stopped, Watch};

pub use self::stream::Key;

/// So much is zeroed by one request to the device: each comes back soon enough to be cancelled after.
const OFFLOAD_BYTES: u64 = 256 << 20;
/// So many requests are with the device at once; more make none faster.
const OFFLOADS_IN_FLIGHT: usize = 2;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Zeros.
    Zeros,
    /// The stream of a key: incompressible, and different at every place.
    Stream(Key),
}

/// How much is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gear {
    /// The largest transfer, in bytes. Slow disks and bad places get smaller ones.
    pub transfer_bytes: u32,
    /// How many transfers at once; each has a thread.
    pub in_flight: usize,
}

impl Default for Gear {
    /// Enough for the fastest disks, and on a disk of 20 MB/s still over within a second.
    fn default() -> Self {
        Self { transfer_bytes: 2 << 20, in_flight: 8 }
    }
}

/// One pass over a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// What is written.
    pub pattern: Pattern,
    /// Which pass, from 0: for the watermarks.
    pub number: u32,
    /// An earlier boot's watermark: everything before it is written and flushed. 0 to begin.
    pub from: u64,
    /// How much is in flight.
    pub gear: Gear,
}

/// What a pass came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassOutcome {
    /// How many bytes it had to write.
    pub total: u64,
    /// How many of them it wrote.
    pub written: u64,
    /// What could not be written.
    pub bad: BadRanges,
    /// Why it ended before its end.
    pub stopped: Option<Stopped>,
    /// Whether the disk is gone.
    pub lost: bool,
    /// Whether every flush went well, so that what was written is on the medium as far as the device says.
    pub flushed: bool,
    /// What went wrong first, in the kernel's words.
    pub reason: Option<String>,
}

impl PassOutcome {
    /// Holds when every byte was written and flushed.
    pub fn is_whole(&self) -> bool {
        self.is_over() && self.bad.ranges.is_empty()
    }

    /// Holds when the pass came to its end, around bad ranges or without.
    pub fn is_over(&self) -> bool {
        let is_everywhere = self.written + self.bad.bytes == self.total;
        is_everywhere && self.stopped.is_none() && !self.lost && self.flushed
    }
}

/// Ranges of a medium that could not be written or read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BadRanges {
    /// In bytes, in order, apart from each other; at most 65,536.
    pub ranges: Vec<Range<u64>>,
    /// Their bytes.
    pub bytes: u64,
    /// Whether they hold nothing that was written: they were narrowed to sectors, and not too many to be kept apart.
    pub exact: bool,
}

impl BadRanges {
    /// Returns the range in which an offset is, else the next one.
    pub(crate) fn after(&self, offset: u64) -> Option<Range<u64>> {
        let next = self.ranges.partition_point(|range| range.end <= offset);
        self.ranges.get(next).cloned()
    }

    pub(crate) fn of(ranges: &Ranges, exact: bool) -> Self {
        Self { ranges: ranges.iter().collect(), bytes: ranges.bytes(), exact }
    }
}

/// Writes the pattern over everything from the pass's start to the end of the medium, and flushes.
///
/// Notes a watermark every few seconds, of what is written without a gap and flushed. A place that cannot be written
/// holds it back, so that a later boot tries that place again. Ends within a second of being stopped, or of the
/// disk being gone; a disk that never answers holds it for ever.
pub fn write(medium: &dyn Medium, pass: &Pass, watch: &dyn Watch) -> PassOutcome {
    let transfer = u64::from(pass.gear.transfer_bytes);
    let terms = terms(medium, watch, transfer, pass.gear.in_flight);
    let flushes = Flushes::default();
    let marked = Cell::new(pass.from);
    let mark = |low: u64| {
        // Where nothing was written since, a flush has nothing to do; a disk that answers those and no transfer hangs.
        if low <= marked.get() {
            return;
        }
        marked.set(low);
        if flushes.flush(medium) {
            let bytes = Bytes(low);
            watch.note(WipeStepKind::Watermark { pass: pass.number, bytes });
        }
    };
    let (from, end) = (pass.from / terms.sector * terms.sector, end(medium));
    let swept = match pass.pattern {
        Pattern::Zeros => {
            let zeros = zeros();
            let put = |(): &mut (), piece: Range<u64>| write_zeros(medium, piece, zeros);
            sweep(&terms, ranges(from, end), || (), put, &mark)
        }
        Pattern::Stream(key) => {
            let buffer = || AlignedBuffer::zeroed(length(transfer.max(terms.sector)));
            let put = |buffer: &mut AlignedBuffer, piece: Range<u64>| {
                let bytes = &mut buffer[..length(piece.end - piece.start)];
                key.fill(piece.start, bytes);
                medium.write(piece.start, bytes)
            };
            sweep(&terms, ranges(from, end), buffer, put, &mark)
        }
    };
    finish(medium, from, swept, &flushes)
}

/// Says whether a device zeroed itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offload {
    /// It cannot, or was seen not to: zeros have to be written over everything.
    Unsupported,
    /// It says that it did so. Nothing is known of its medium.
    Done(PassOutcome),
}

impl Offload {
    /// The most that is reached in this way.
    pub const REACHES: Outcome = Outcome::Logical;
}

/// Has the device zero everything by itself, in bounded steps. Only for where that was ordered.
pub fn offload(medium: &dyn Medium, watch: &dyn Watch) -> Offload {
    let terms = terms(medium, watch, OFFLOAD_BYTES, OFFLOADS_IN_FLIGHT);
    let unsupported = OnceLock::new();
    let put = |(): &mut (), piece: Range<u64>| {
        if unsupported.get().is_some() {
            return Ok(());
        }
        match medium.zero(piece.start, piece.end - piece.start)? {
            Zeroing::Done => Ok(()),
            Zeroing::Unsupported => {
                unsupported.get_or_init(|| ());
                Ok(())
            }
        }
    };
    let swept = sweep(&terms, ranges(0, end(medium)), || (), put, &|_| {});
    if unsupported.get().is_some() && swept.stopped.is_none() && !swept.lost {
        return Offload::Unsupported;
    }
    Offload::Done(finish(medium, 0, swept, &Flushes::default()))
}

fn finish(medium: &dyn Medium, from: u64, swept: Swept, flushes: &Flushes) -> PassOutcome {
    let Swept { mut failed, exact, unreached, stopped, lost, reason } = swept;
    let size = medium.size_bytes();
    // What is no whole sector cannot be addressed.
    failed.insert(end(medium)..size);
    let is_safe = !lost && flushes.flush(medium);
    let total = size.saturating_sub(from);
    let bad = BadRanges::of(&failed, exact);
    let written = total.saturating_sub(bad.bytes).saturating_sub(unreached);
    let reason = reason.or_else(|| flushes.reason.get().cloned());
    PassOutcome { total, written, bad, stopped, lost, flushed: is_safe, reason }
}

/// Flushes, and remembers one that failed: what was written before it may be lost, and no later one brings it back.
#[derive(Debug, Default)]
struct Flushes {
    reason: OnceLock<String>,
}

impl Flushes {
    fn flush(&self, medium: &dyn Medium) -> bool {
        if let Err(error) = medium.flush() {
            self.reason.get_or_init(|| error.to_string());
        }
        self.reason.get().is_none()
    }
}

fn terms<'a>(
    medium: &dyn Medium,
    watch: &'a dyn Watch,
    transfer: u64,
    in_flight: usize,
) -> Terms<'a> {
    Terms { watch, sector: u64::from(medium.sector_bytes()).max(1), transfer, in_flight }
}

/// Returns the end of the last whole sector.
fn end(medium: &dyn Medium) -> u64 {
    let sector = u64::from(medium.sector_bytes()).max(1);
    medium.size_bytes() / sector * sector
}

fn ranges(from: u64, end: u64) -> Vec<Range<u64>> {
    iter::once(from..end).filter(|range| !range.is_empty()).collect()
}

/// Writes zeros, from one buffer for all disks.
fn write_zeros(medium: &dyn Medium, piece: Range<u64>, zeros: &[u8]) -> io::Result<()> {
    let sector = u64::from(medium.sector_bytes()).max(1);
    let most = u64::try_from(zeros.len()).unwrap_or(u64::MAX) / sector * sector;
    let mut at = piece.start;
    while at < piece.end {
        let step = (piece.end - at).min(most.max(sector));
        let part = zeros.get(..length(step)).ok_or(io::ErrorKind::InvalidInput)?;
        medium.write(at, part)?;
        at += step;
    }
    Ok(())
}

fn zeros() -> &'static [u8] {
    static ZEROS: OnceLock<AlignedBuffer> = OnceLock::new();
    ZEROS.get_or_init(|| {
        let mut buffer = AlignedBuffer::zeroed(4 << 20);
        // Touched, so that it has pages of its own, large ones where the kernel gives them: disks then get long runs.
        buffer.fill(0xff);
        buffer.fill(0);
        buffer
    })
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a transfer is below 4 GiB")
}
