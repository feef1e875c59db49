//! Who watches a wipe in tests: time passes as it is told, and what was noted is kept.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use protocol::wipe::WipeStepKind;
use wipe::{Stopped, Watch};

/// A clock that goes on only when somebody says so.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn pass(&self, time: Duration) {
        let milliseconds = u64::try_from(time.as_millis()).expect("less than forever");
        self.0.fetch_add(milliseconds, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// One that lets a wipe go on for so many questions.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) clock: Clock,
    checks_left: AtomicU64,
    /// What passes with each look at the clock.
    pace: Duration,
    notes: Mutex<Vec<WipeStepKind>>,
    told: Mutex<(u64, u64, u32)>,
}

impl Trial {
    pub(crate) fn new() -> Self {
        Self::stopping_after(u64::MAX)
    }

    pub(crate) fn stopping_after(checks: u64) -> Self {
        Self {
            clock: Clock::default(),
            checks_left: AtomicU64::new(checks),
            pace: Duration::ZERO,
            notes: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Time for a watermark at every turn.
    pub(crate) fn hurried() -> Self {
        Self { pace: Duration::from_secs(11), ..Self::new() }
    }

    pub(crate) fn notes(&self) -> Vec<WipeStepKind> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Done, of, bad.
    pub(crate) fn told(&self) -> (u64, u64, u32) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Trial {
    fn check(&self) -> Result<(), Stopped> {
        let down = |left: u64| left.checked_sub(1);
        let left = self.checks_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, down);
        left.map(drop).map_err(|_| Stopped::Cancelled)
    }

    fn wait(&self, time: Duration) -> Result<(), Stopped> {
        self.clock.pass(time);
        self.check()
    }

    fn elapsed(&self) -> Duration {
        self.clock.pass(self.pace);
        self.clock.now()
    }

    fn journal(&self, step: WipeStepKind) -> Result<(), Stopped> {
        self.note(step);
        Ok(())
    }

    fn note(&self, step: WipeStepKind) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }

    fn progress(&self, done: u64, total: u64, bad_ranges: u32) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = (done, total, bad_ranges);
    }
}
