//! Watches over one disk: hands on what it says, and notices when it says nothing more.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use protocol::{
    Bytes,
    wipe::{DiskProgress, Technique, Verdict, WipePhase, WipeStep, WipeStepKind},
};

use super::{Keeper, is_long};
use crate::{Stopped, Watch, plan::is_devices};

/// How long a disk is waited for that says nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// The kernel gives a command half a minute, six times.
    pub(super) usual: Duration,
    /// While a disk may be erasing itself in one command: the longest time that a disk of today announces.
    pub(super) erasing: Duration,
}

const PATIENCE: Patience =
    Patience { usual: Duration::from_mins(10), erasing: Duration::from_hours(72) };

/// How often it is looked whether to stop while something waits.
const LOOK_PERIOD: Duration = Duration::from_millis(250);

/// The time over which a rate is taken.
const RATE_PERIOD: Duration = Duration::from_secs(5);

/// Watches over one disk.
pub struct DiskWatch {
    number: u32,
    keeper: Arc<dyn Keeper>,
    begun: Instant,
    patience: Patience,
    state: Mutex<State>,
    /// Never told: who waits here waits for the time.
    pause: Condvar,
}

#[derive(Debug)]
struct State {
    phase: WipePhase,
    technique: Option<Technique>,
    done: u64,
    total: u64,
    bad: u32,
    /// When, and how much was done then: the start of the present rate's time, and of the one before.
    marks: [(Instant, u64); 2],
    /// When the disk last answered.
    heard: Instant,
    /// How many steps wait for who keeps the order: meanwhile it is not the disk that is silent.
    journaling: u32,
    /// Whether the device may be erasing itself: since that was begun, in this boot or an earlier one, until it was seen
    /// that it does not.
    may_erase: bool,
    /// Nobody waits for it any more: whoever still works on it is to do nothing more.
    is_given_up: bool,
    verdict: Option<Verdict>,
}

impl fmt::Debug for DiskWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskWatch").field("number", &self.number).finish_non_exhaustive()
    }
}

impl DiskWatch {
    /// Makes one for a disk, by its number in the order.
    pub fn new(number: u32, keeper: Arc<dyn Keeper>) -> Self {
        Self::with_patience(number, keeper, PATIENCE)
    }

    pub(super) fn with_patience(number: u32, keeper: Arc<dyn Keeper>, patience: Patience) -> Self {
        let now = Instant::now();
        let state = State {
            phase: WipePhase::Waiting,
            technique: None,
            done: 0,
            total: 0,
            bad: 0,
            marks: [(now, 0); 2],
            heard: now,
            journaling: 0,
            may_erase: false,
            is_given_up: false,
            verdict: None,
        };
        let (state, pause) = (Mutex::new(state), Condvar::new());
        Self { number, keeper, begun: now, patience, state, pause }
    }

    /// Returns how far it is.
    pub(super) fn told(&self, name: String) -> DiskProgress {
        let state = self.state();
        let (since, done_then) = state.marks[0];
        let (time, moved) = (since.elapsed(), state.done.saturating_sub(done_then));
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let rate = moved.saturating_mul(1000).checked_div(milliseconds).filter(|rate| *rate > 0);
        let left = state.total.saturating_sub(state.done);
        DiskProgress {
            name,
            phase: state.phase,
            technique: state.technique,
            done_bytes: Bytes(state.done),
            total_bytes: Bytes(state.total),
            bytes_per_second: rate.map(Bytes),
            remaining_seconds: rate.and_then(|rate| left.checked_div(rate)),
            bad_ranges: state.bad,
            verdict: state.verdict,
        }
    }

    /// Holds when nothing was heard of the disk for so long that nobody waits for it any more.
    pub(super) fn is_silent(&self) -> bool {
        let state = self.state();
        let patience = if is_long(state.phase) && state.technique.is_some_and(is_devices) {
            self.patience.erasing
        } else {
            self.patience.usual
        };
        state.journaling == 0 && state.heard.elapsed() > patience
    }

    /// Takes it that the disk may be erasing itself: an earlier boot has begun that.
    pub(super) fn may_erase_still(&self) {
        self.state().may_erase = true;
    }

    /// Holds while the disk may be erasing itself.
    pub(super) fn may_be_erasing_itself(&self) -> bool {
        self.state().may_erase
    }

    /// Says what the disk came to, in place of who wiped it. Who comes back to it after that does nothing more.
    pub(super) fn over(&self, verdict: Verdict) {
        self.note(WipeStepKind::Over { verdict });
        self.phase(WipePhase::Over, None);
        self.state().is_given_up = true;
    }

    fn given_up(&self) -> Result<(), Stopped> {
        if self.state().is_given_up { Err(Stopped::GivenUp) } else { Ok(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, kind: WipeStepKind) -> WipeStep {
        WipeStep { disk: self.number, kind }
    }
}

impl Watch for DiskWatch {
    fn check(&self) -> Result<(), Stopped> {
        self.given_up()?;
        self.keeper.stopped().map_or(Ok(()), Err)
    }

    fn wait(&self, time: Duration) -> Result<(), Stopped> {
        let end = Instant::now() + time;
        loop {
            self.check()?;
            // Who waits has asked the disk, and asks it again.
            self.heard();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let waited = self.pause.wait_timeout(self.state(), left.min(LOOK_PERIOD));
            drop(waited);
        }
    }

    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn journal(&self, step: WipeStepKind) -> Result<(), Stopped> {
        self.given_up()?;
        self.state().journaling += 1;
        let journaled = self.keeper.journal(self.step(step));
        let mut state = self.state();
        // However long that took, it was not the disk that was silent.
        (state.journaling, state.heard) = (state.journaling - 1, Instant::now());
        drop(state);
        self.given_up().and(journaled)
    }

    fn note(&self, step: WipeStepKind) {
        let mut state = self.state();
        if state.is_given_up {
            return;
        }
        if let WipeStepKind::Over { verdict } = step {
            state.verdict = Some(verdict);
        }
        drop(state);
        self.keeper.note(self.step(step));
    }

    fn phase(&self, phase: WipePhase, technique: Option<Technique>) {
        let mut state = self.state();
        if state.is_given_up {
            return;
        }
        let now = Instant::now();
        (state.phase, state.technique, state.heard) = (phase, technique, now);
        (state.done, state.total, state.marks) = (0, 0, [(now, 0); 2]);
        // What was found running may not say what it is.
        state.may_erase |= phase == WipePhase::Erasing && technique.is_none_or(is_devices);
    }

    fn at_rest(&self) {
        let mut state = self.state();
        if state.phase == WipePhase::Erasing && state.may_erase {
            (state.phase, state.technique) = (WipePhase::Waiting, None);
        }
        (state.may_erase, state.heard) = (false, Instant::now());
    }

    fn heard(&self) {
        self.state().heard = Instant::now();
    }

    fn progress(&self, done: u64, total: u64, bad_ranges: u32) {
        let mut state = self.state();
        let now = Instant::now();
        if now.duration_since(state.marks[1].0) > RATE_PERIOD {
            state.marks = [state.marks[1], (now, done)];
        }
        // Said again and again, it says nothing of the disk.
        if (state.done, state.bad) != (done, bad_ranges) {
            state.heard = now;
        }
        (state.done, state.total, state.bad) = (done, total, bad_ranges);
    }
}
