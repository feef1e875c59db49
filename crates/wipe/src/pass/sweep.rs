//! Moves over ranges of a medium with many transfers in flight, around what fails, in bounded time.
//!
//! ```text
//! forward, large ─► back over what was jumped ─► forward over what is left ─► 64 KiB of what failed ─► its sectors
//! ```
//!
//! Where much fails in a row the sweep jumps, each time further, as `ddrescue` does. Once so much time went into
//! failures that nobody would wait for more, what was not reached is left, and named.

mod course;

use std::{
    io,
    ops::Range,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use self::course::{Course, Take};
use super::ranges::Ranges;
use crate::{Stopped, Watch};

/// So often it is said how far it is.
const PROGRESS_PERIOD: Duration = Duration::from_millis(250);
/// So often it is said what is safe: a restart does so much again.
const MARK_PERIOD: Duration = Duration::from_secs(10);

/// How a sweep is made.
#[derive(Debug)]
pub(crate) struct Terms<'a> {
    pub(crate) watch: &'a dyn Watch,
    /// The smallest transfer, and what all are multiples of.
    pub(crate) sector: u64,
    /// The largest transfer.
    pub(crate) transfer: u64,
    /// How many at once.
    pub(crate) in_flight: usize,
}

/// What came of a sweep.
#[derive(Debug)]
pub(crate) struct Swept {
    /// Where it failed, or was given up.
    pub(crate) failed: Ranges,
    /// Whether what failed was narrowed to sectors.
    pub(crate) exact: bool,
    /// What it did not come to, because it was stopped or the disk is gone.
    pub(crate) unreached: u64,
    pub(crate) stopped: Option<Stopped>,
    pub(crate) lost: bool,
    /// The first failure, in the kernel's words.
    pub(crate) reason: Option<String>,
}

/// What the threads have in common.
struct Shared<'a> {
    terms: &'a Terms<'a>,
    course: Mutex<Course>,
    changed: Condvar,
}

impl Shared<'_> {
    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self) {
        if let Err(stopped) = self.terms.watch.check() {
            self.course().stop(stopped);
            self.changed.notify_all();
        }
    }

    /// Transfers until nothing is left.
    fn work<B>(&self, buffer: &mut B, transfer: impl Fn(&mut B, Range<u64>) -> io::Result<()>) {
        let watch = self.terms.watch;
        loop {
            self.check();
            let mut course = self.course();
            let piece = loop {
                match course.take() {
                    Take::Piece(piece) => break piece,
                    Take::Over => return,
                    Take::Wait => {
                        course = self.changed.wait(course).unwrap_or_else(PoisonError::into_inner);
                    }
                }
            };
            drop(course);
            let begun = watch.elapsed();
            let result = transfer(buffer, piece.clone());
            let time = watch.elapsed().saturating_sub(begun);
            watch.heard();
            let mut course = self.course();
            match result {
                Ok(()) => course.succeed(&piece, time),
                Err(error) => course.fail(piece, time, &error),
            }
            if course.is_turning() {
                self.changed.notify_all();
            }
        }
    }

    /// Says every now and then how far it is, and what is safe, until all threads are done.
    fn supervise(&self, total: u64, end: u64, mark: &dyn Fn(u64)) {
        let watch = self.terms.watch;
        let mut marked = watch.elapsed();
        loop {
            self.check();
            let course = self.course();
            if course.working == 0 {
                return;
            }
            let (done, bad, low) = (course.done, course.bad_ranges(), course.low().unwrap_or(end));
            drop(course);
            watch.progress(done.min(total), total, bad);
            if watch.elapsed().saturating_sub(marked) >= MARK_PERIOD {
                mark(low);
                marked = watch.elapsed();
            }
            let course = self.course();
            if course.working > 0 {
                drop(self.changed.wait_timeout(course, PROGRESS_PERIOD));
            }
        }
    }
}

/// Says that a thread is over, however it ends.
struct Working<'a, 'b>(&'a Shared<'b>);

impl Drop for Working<'_, '_> {
    fn drop(&mut self) {
        let mut course = self.0.course();
        course.working -= 1;
        if thread::panicking() {
            // The others end, and with them the scope, which then panics too.
            course.abort();
        }
        self.0.changed.notify_all();
    }
}

/// Transfers all bytes of some ranges, which are in order and apart, each by one thread with a buffer of its own.
/// From time to time `mark` is told before which offset everything is done.
pub(crate) fn sweep<B>(
    terms: &Terms<'_>,
    ranges: Vec<Range<u64>>,
    buffer: impl Fn() -> B + Sync,
    transfer: impl Fn(&mut B, Range<u64>) -> io::Result<()> + Sync,
    mark: &dyn Fn(u64),
) -> Swept {
    let total = ranges.iter().map(|range| range.end - range.start).sum();
    let end = ranges.last().map_or(0, |range| range.end);
    let course = Mutex::new(Course::new(ranges, terms));
    let shared = Shared { terms, course, changed: Condvar::new() };
    let (shared_here, transfer) = (&shared, &transfer);
    let buffer = &buffer;
    thread::scope(|scope| {
        for _ in 0..terms.in_flight.max(1) {
            shared_here.course().working += 1;
            let working = Working(shared_here);
            let work = move || {
                let shared = working.0;
                shared.work(&mut buffer(), transfer);
                drop(working);
            };
            let thread = thread::Builder::new().name("transfer".to_owned());
            // What cannot be begun is dropped, and `Working` with it: fewer are in flight.
            if let Err(error) = thread.spawn_scoped(scope, work) {
                shared_here.course().reason.get_or_insert_with(|| error.to_string());
            }
        }
        shared_here.supervise(total, end, mark);
    });
    let course = shared.course.into_inner().unwrap_or_else(PoisonError::into_inner);
    terms.watch.progress(course.done.min(total), total, course.bad_ranges());
    course.result()
}
