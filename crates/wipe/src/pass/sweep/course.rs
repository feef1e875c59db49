//! Which transfer comes next, by what became of those before.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    ops::Range,
    time::Duration,
};

use super::{Swept, Terms};
use crate::{Stopped, pass::ranges::Ranges};

/// Transfers that take longer are halved, so that a cancelled sweep soon has none in flight.
const LONG: Duration = Duration::from_secs(1);
/// Transfers that take less are doubled.
const SHORT: Duration = Duration::from_millis(250);
/// The middle one of the three sizes. Every sweep begins with it, and slow disks are moved over with it.
const PIECE_BYTES: u64 = 64 << 10;
/// So many failures in a row are mapped without jumping.
const FREE_FAILURES: u32 = 8;
/// With each so many failures altogether, jumps are twice as far.
const FAILURES_OF_A_DOUBLING: u32 = 64;
const DOUBLINGS: u32 = 32;
/// After so many failures and not one success it is given up.
const HOPELESS: u32 = 256;
/// So much time goes into transfers that fail, a second of several at once being one, before the rest is let be.
const PATIENCE: Duration = Duration::from_hours(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Forward,
    Backward,
    Untried,
    Pieces,
    Sectors,
    Over,
}

/// Where a sweep is.
#[derive(Debug)]
pub(super) struct Course {
    phase: Phase,
    /// What is left of this phase, in order.
    queue: VecDeque<Range<u64>>,
    /// Ends by starts.
    in_flight: BTreeMap<u64, u64>,
    jumped: Ranges,
    failed: Ranges,
    /// The size of transfers at present.
    piece: u64,
    sector: u64,
    transfer: u64,
    /// Bytes.
    pub(super) done: u64,
    failures: u32,
    /// Failures in a row; a success halves it.
    row: u32,
    failing: Duration,
    /// Whether it was given up before everything was narrowed.
    gave_up: bool,
    /// Threads that are not over.
    pub(super) working: usize,
    stopped: Option<Stopped>,
    lost: bool,
    pub(super) reason: Option<String>,
}

pub(super) enum Take {
    Piece(Range<u64>),
    /// Those in flight decide what comes.
    Wait,
    Over,
}

impl Course {
    pub(super) fn new(ranges: Vec<Range<u64>>, terms: &Terms<'_>) -> Self {
        let transfer = whole(terms.transfer, terms.sector);
        let small = whole(PIECE_BYTES.min(transfer), terms.sector);
        Self {
            phase: Phase::Forward,
            queue: ranges.into(),
            in_flight: BTreeMap::new(),
            jumped: Ranges::default(),
            failed: Ranges::default(),
            // A slow disk would be busy for many seconds with the first large ones, and nobody could cancel them.
            piece: small,
            sector: terms.sector,
            transfer,
            done: 0,
            failures: 0,
            row: 0,
            failing: Duration::ZERO,
            gave_up: false,
            working: 0,
            stopped: None,
            lost: false,
            reason: None,
        }
    }

    /// Ends it.
    pub(super) fn stop(&mut self, stopped: Stopped) {
        self.stopped.get_or_insert(stopped);
    }

    /// Ends it because something of ours is broken.
    pub(super) fn abort(&mut self) {
        self.phase = Phase::Over;
    }

    /// Holds when those who wait have to look.
    pub(super) fn is_turning(&self) -> bool {
        self.queue.is_empty() || self.is_ended()
    }

    fn is_ended(&self) -> bool {
        self.lost || self.stopped.is_some() || self.phase == Phase::Over
    }

    pub(super) fn take(&mut self) -> Take {
        loop {
            if self.is_ended() {
                return Take::Over;
            }
            if let Some(piece) = self.cut() {
                self.in_flight.insert(piece.start, piece.end);
                return Take::Piece(piece);
            }
            if !self.in_flight.is_empty() {
                return Take::Wait;
            }
            self.advance();
        }
    }

    /// Cuts the next transfer off the queue, so that the following ones begin at multiples of their size.
    fn cut(&mut self) -> Option<Range<u64>> {
        let is_back = self.phase == Phase::Backward;
        let range = if is_back { self.queue.back_mut()? } else { self.queue.front_mut()? };
        let piece = if is_back {
            let start = ((range.end - 1) / self.piece * self.piece).max(range.start);
            start..range.end
        } else {
            let end = range.start - range.start % self.piece + self.piece;
            range.start..end.min(range.end)
        };
        if piece == *range {
            if is_back {
                self.queue.pop_back()
            } else {
                self.queue.pop_front()
            };
        } else if is_back {
            range.end = piece.start;
        } else {
            range.start = piece.end;
        }
        Some(piece)
    }

    fn advance(&mut self) {
        let next = match self.phase {
            Phase::Forward => Phase::Backward,
            Phase::Backward => Phase::Untried,
            Phase::Untried => Phase::Pieces,
            Phase::Pieces => Phase::Sectors,
            Phase::Sectors | Phase::Over => Phase::Over,
        };
        self.gave_up |= self.is_given_up();
        self.phase = if self.gave_up { Phase::Over } else { next };
        let again = match self.phase {
            Phase::Backward | Phase::Untried => std::mem::take(&mut self.jumped),
            Phase::Pieces | Phase::Sectors => std::mem::take(&mut self.failed),
            Phase::Forward | Phase::Over => return,
        };
        self.queue = again.iter().collect();
        match self.phase {
            // Where there are bad sectors everywhere, small ones come through between them.
            Phase::Untried | Phase::Pieces => self.piece = self.small(),
            Phase::Sectors => self.piece = self.sector,
            _ => {}
        }
    }

    fn is_narrowing(&self) -> bool {
        matches!(self.phase, Phase::Pieces | Phase::Sectors)
    }

    fn is_given_up(&self) -> bool {
        self.failing > PATIENCE || self.done == 0 && self.failures >= HOPELESS
    }

    fn small(&self) -> u64 {
        whole(PIECE_BYTES.min(self.transfer), self.sector)
    }

    pub(super) fn succeed(&mut self, piece: &Range<u64>, time: Duration) {
        self.in_flight.remove(&piece.start);
        self.done += piece.end - piece.start;
        self.row /= 2;
        if matches!(self.phase, Phase::Forward | Phase::Backward | Phase::Untried) {
            if time > LONG {
                self.piece = whole(self.piece / 2, self.sector).max(self.small());
            } else if time < SHORT && piece.end - piece.start >= self.piece {
                // Those that were begun smaller say nothing of this size.
                self.piece = self.piece.saturating_mul(2).min(self.transfer);
            }
        }
    }

    pub(super) fn fail(&mut self, piece: Range<u64>, time: Duration, error: &io::Error) {
        let at_once = u32::try_from(self.in_flight.len()).unwrap_or(u32::MAX).max(1);
        self.in_flight.remove(&piece.start);
        self.failed.insert(piece);
        self.reason.get_or_insert_with(|| words(error));
        self.failures = self.failures.saturating_add(1);
        self.row = self.row.saturating_add(1);
        self.failing += time / at_once;
        if is_gone(error) {
            self.lost = true;
        } else if self.is_given_up() {
            self.jump(u64::MAX);
        } else if self.phase == Phase::Untried {
            self.piece = self.small();
        } else if matches!(self.phase, Phase::Forward | Phase::Backward) {
            let near = self.row.saturating_sub(FREE_FAILURES);
            let doublings = (near + self.failures / FAILURES_OF_A_DOUBLING).min(DOUBLINGS);
            if doublings > 0 {
                self.jump(self.transfer.saturating_mul(1 << doublings));
            }
        }
    }

    /// Puts the next bytes of the queue aside.
    fn jump(&mut self, bytes: u64) {
        let is_back = self.phase == Phase::Backward;
        // What failed as a whole stays failed.
        let aside = if self.is_narrowing() { &mut self.failed } else { &mut self.jumped };
        let mut left = bytes;
        while left > 0 {
            let next = if is_back { self.queue.pop_back() } else { self.queue.pop_front() };
            let Some(range) = next else { break };
            let length = (range.end - range.start).min(left);
            left -= length;
            if is_back {
                aside.insert(range.end - length..range.end);
                if range.end - length > range.start {
                    self.queue.push_back(range.start..range.end - length);
                }
            } else {
                aside.insert(range.start..range.start + length);
                if range.start + length < range.end {
                    self.queue.push_front(range.start + length..range.end);
                }
            }
        }
    }

    /// Returns the first byte that is not done.
    pub(super) fn low(&self) -> Option<u64> {
        let queued = self.queue.front().map(|range| range.start);
        let in_flight = self.in_flight.keys().next().copied();
        let starts = [queued, in_flight, self.jumped.start(), self.failed.start()];
        starts.into_iter().flatten().min()
    }

    pub(super) fn bad_ranges(&self) -> u32 {
        let queued = if self.is_narrowing() { self.queue.len() } else { 0 };
        u32::try_from(self.failed.len() + queued).unwrap_or(u32::MAX)
    }

    pub(super) fn result(mut self) -> Swept {
        let mut unreached = Ranges::default();
        let is_cut_short = self.lost || self.stopped.is_some();
        let exact = !(self.gave_up || is_cut_short && self.failures > 0);
        let is_narrowing = self.is_narrowing();
        let in_flight = self.in_flight.iter().map(|(start, end)| *start..*end);
        for range in self.queue.into_iter().chain(in_flight) {
            // What failed as a whole and was not looked at more closely has failed.
            if is_narrowing { self.failed.insert(range) } else { unreached.insert(range) }
        }
        for range in self.jumped.iter() {
            if is_cut_short { unreached.insert(range) } else { self.failed.insert(range) }
        }
        Swept {
            exact: exact && self.failed.is_exact(),
            failed: self.failed,
            unreached: unreached.bytes(),
            stopped: self.stopped,
            lost: self.lost,
            reason: self.reason,
        }
    }
}

/// Returns a length as whole sectors, at least one.
fn whole(length: u64, sector: u64) -> u64 {
    (length / sector).max(1) * sector
}

/// Holds for a disk that was taken out or has died, by what the medium or the kernel says: `ENXIO`, `ENODEV`, `ENOMEDIUM`.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    disk::Fault::of(error).is_some_and(|fault| fault.is_gone)
        || matches!(error.raw_os_error(), Some(6 | 19 | 123))
}

fn words(error: &io::Error) -> String {
    match disk::Fault::of(error) {
        Some(fault) => format!("{fault}: {}", fault.source),
        None => error.to_string(),
    }
}
