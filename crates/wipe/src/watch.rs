//! What everything that works on a disk needs from who runs it: to be stopped, to be told of, to wait.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use protocol::wipe::{Technique, WipePhase, WipeStepKind};

/// Who watches over the wipe of one disk. Tests make up their own, whose time passes as fast as they like.
pub trait Watch: fmt::Debug + Sync {
    /// Says whether to go on. Asked between transfers and while a device works: at least once a second.
    fn check(&self) -> Result<(), Stopped>;

    /// Waits, unless told to stop meanwhile.
    fn wait(&self, time: Duration) -> Result<(), Stopped>;

    /// Returns the time since the wipe began.
    fn elapsed(&self) -> Duration;

    /// Has the server write down what is about to happen, and returns once it has: before anything that a power cut
    /// must not make unknown.
    fn journal(&self, step: WipeStepKind) -> Result<(), Stopped>;

    /// Tells the server when it can be reached; returns at once.
    fn note(&self, step: WipeStepKind);

    /// Says what is being done from now on. Who tells nobody needs not listen.
    fn phase(&self, _phase: WipePhase, _technique: Option<Technique>) {}

    /// Says that the device was seen not to erase itself: what was begun is over, or nothing runs.
    fn at_rest(&self) {}

    /// Says that the disk just answered, well or not. For work that asks [`check`](Self::check) whatever the disk does, or
    /// that says nothing of its progress for long.
    fn heard(&self) {}

    /// Says how far the present phase is.
    fn progress(&self, done: u64, total: u64, bad_ranges: u32);
}

/// Nobody watches: nothing stops, and nothing is written down or told. For questions, trials and measuring.
#[derive(Debug)]
pub struct Unwatched(Instant);

impl Unwatched {
    /// Begins now.
    #[expect(clippy::new_without_default, reason = "when it is made matters")]
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Watch for Unwatched {
    fn check(&self) -> Result<(), Stopped> {
        Ok(())
    }

    fn wait(&self, time: Duration) -> Result<(), Stopped> {
        thread::park_timeout(time);
        Ok(())
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn journal(&self, _: WipeStepKind) -> Result<(), Stopped> {
        Ok(())
    }

    fn note(&self, _: WipeStepKind) {}

    fn progress(&self, _: u64, _: u64, _: u32) {}
}

/// Why a wipe does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// A person took the order back.
    #[error("it was cancelled")]
    Cancelled,
    /// Its time is over.
    #[error("its time was over")]
    Deadline,
    /// Its disk did not answer for so long that it was reported without it.
    #[error("the disk did not answer, and was given up")]
    GivenUp,
    /// The server could not be told what was about to happen.
    #[error("the server could not be told what was about to be done")]
    Unjournaled,
}
