//! Fetches frames: those that follow each other in the file with one request.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::Work;
use crate::{
    FetchError,
    crew::{Crew, Ended},
    mirror::Attempts,
    plan::Plan,
    queue::Queue,
};

/// A request is at most this long, unless a single frame is longer: a slow link is not full of tiny requests, and
/// four of them still end at about the same time.
const REQUEST_BYTES: u64 = 8 << 20;

/// Frames that are not wanted are read over rather than asked around when they are this small a part of a chunk: those
/// of zeros are.
const GAP_PART: u64 = 256;

/// A frame as it came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(super) index: usize,
    /// Where it came from.
    pub(super) mirror: usize,
    pub(super) bytes: Box<[u8]>,
    pub(super) length: usize,
}

impl Frame {
    /// Returns an empty one for frames up to a length.
    pub(crate) fn new(length: usize) -> Self {
        Self { index: 0, mirror: 0, bytes: vec![0; length].into_boxed_slice(), length: 0 }
    }

    /// Returns the place for a frame of a chunk from a mirror.
    pub(super) fn prepare(&mut self, index: usize, range: &Range<u64>, mirror: usize) -> &mut [u8] {
        (self.index, self.mirror) = (index, mirror);
        self.length = usize::try_from(range.end - range.start).expect("the plan was checked");
        &mut self.bytes[..self.length]
    }
}

/// What remains to be asked for.
#[derive(Debug)]
pub(super) struct Requests<'a> {
    plan: &'a Plan,
    missing: &'a [usize],
    next: Mutex<usize>,
}

impl<'a> Requests<'a> {
    pub(super) fn new(plan: &'a Plan, missing: &'a [usize]) -> Self {
        Self { plan, missing, next: Mutex::new(0) }
    }

    /// Returns the next chunks whose frames make up one range of the file, nearly.
    fn next(&self) -> &'a [usize] {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = &self.missing[*next..];
        let frames = rest.iter().map_while(|index| self.plan.frame(*index));
        let (mut count, mut whole) = (0, 0..0);
        for frame in frames {
            let gap = frame.start.checked_sub(whole.end);
            let is_near = gap.is_some_and(|gap| gap <= u64::from(self.plan.chunk_bytes) / GAP_PART);
            if count > 0 && !(is_near && frame.end - whole.start <= REQUEST_BYTES) {
                break;
            }
            let start = if count == 0 { frame.start } else { whole.start };
            (count, whole) = (count + 1, start..frame.end);
        }
        *next += count;
        &rest[..count]
    }
}

/// The stage.
#[derive(Debug)]
pub(super) struct Fetch<'a> {
    pub(super) work: &'a Work<'a>,
    pub(super) crew: &'a Crew<'a>,
    pub(super) requests: Requests<'a>,
    pub(super) empty: &'a Queue<Frame>,
    pub(super) out: &'a Queue<Frame>,
}

impl Fetch<'_> {
    pub(super) fn run(&self) -> Result<(), Ended> {
        let result = self.fetch_all();
        self.out.done();
        result.map_err(|ended| match ended {
            Ended::Failed(failure) => Ended::Dry(failure),
            other => other,
        })
    }

    fn fetch_all(&self) -> Result<(), Ended> {
        loop {
            let mut chunks = self.requests.next();
            if chunks.is_empty() {
                return Ok(());
            }
            let mut attempts = Attempts::new(self.work.mirrors);
            while let Some(first) = chunks.first() {
                let before = chunks.len();
                let (mirror, result) = self.attempt(&mut chunks)?;
                if chunks.len() < before {
                    attempts.progressed();
                }
                if let Err(error) = result {
                    let at = chunks.first().unwrap_or(first);
                    let offset = self.work.plan.frame(*at).map_or(0, |frame| frame.start);
                    attempts.failed(mirror, offset, error, self.crew)?;
                }
            }
        }
    }

    /// Asks for all that is left of a request; those that arrived are taken off it. Says which mirror was asked.
    fn attempt(&self, chunks: &mut &[usize]) -> Result<(usize, Result<(), FetchError>), Ended> {
        let frame = |index: &usize| self.work.plan.frame(*index).unwrap_or_default();
        let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else {
            return Ok((0, Ok(())));
        };
        let (mirror, opened) = self.work.mirrors.open(frame(first).start..frame(last).end);
        let mut reading = match opened {
            Ok(reading) => reading,
            Err(error) => return Ok((mirror, Err(error))),
        };
        let mut at = frame(first).start;
        while let Some((index, rest)) = chunks.split_first() {
            let range = frame(index);
            let gap = usize::try_from(range.start.saturating_sub(at)).expect("gaps are short");
            at = range.end;
            if let Err(error) = reading.fill(&mut vec![0; gap], self.work.gauge) {
                return Ok((mirror, Err(error)));
            }
            self.crew.pause(Duration::ZERO)?;
            let Some(mut slot) = self.empty.pop()? else { return Err(Ended::Aborted) };
            let into = slot.prepare(*index, &range, mirror);
            if let Err(error) = reading.fill(into, self.work.gauge) {
                self.empty.give_back(slot);
                return Ok((mirror, Err(error)));
            }
            self.out.push(self.work.plan.offset(*index), slot)?;
            *chunks = rest;
        }
        // All that was asked for is here, and will be checked: what else a source sends is its own affair, but
        // such a mirror is not asked again if there is another.
        if reading.end().is_err() {
            self.work.mirrors.leave(mirror);
        }
        Ok((mirror, Ok(())))
    }
}
