//! The threads of an install: all of them end when one of them fails.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use disk::{Fault, guard};

use crate::{
    failure::Failure,
    queue::Aborted,
    stop::{STOP_PERIOD, Stop},
};

/// Why a stage is over before its work is.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Another one failed.
    Aborted,
    /// This one failed, and all end at once.
    Failed(Failure),
    /// Nothing more comes. What has come is still worth something, so the stages behind this one go on.
    Dry(Failure),
}

impl From<Aborted> for Ended {
    fn from(Aborted: Aborted) -> Self {
        Self::Aborted
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Fault> for Ended {
    fn from(error: Fault) -> Self {
        Self::Failed(error.into())
    }
}

/// What the threads have in common.
#[derive(Debug)]
pub(crate) struct Crew<'a> {
    stop: Stop<'a>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    working: usize,
    failure: Option<Failure>,
    failed: bool,
    dry: bool,
}

impl<'a> Crew<'a> {
    /// Returns one of so many threads.
    pub(crate) fn new(working: usize, stop: Stop<'a>) -> Self {
        let state = State { working, failure: None, failed: false, dry: false };
        Self { stop, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one thread's work. A panic is a failure of the install, not of the process.
    pub(crate) fn work(&self, work: impl FnOnce() -> Result<(), Ended>) {
        let result =
            guard::catch(work).unwrap_or_else(|words| Err(Failure::panicked(&words).into()));
        let mut state = self.state();
        state.working = state.working.saturating_sub(1);
        match result {
            Ok(()) | Err(Ended::Aborted) => {}
            Err(Ended::Failed(failure)) => {
                state.failed = true;
                state.failure.get_or_insert(failure);
            }
            Err(Ended::Dry(failure)) => {
                state.dry = true;
                state.failure.get_or_insert(failure);
            }
        }
        self.changed.notify_all();
    }

    /// Waits; ends early, with an error, when a thread has failed or says that nothing more comes.
    pub(crate) fn pause(&self, duration: Duration) -> Result<(), Aborted> {
        let until = Instant::now() + duration;
        let mut state = self.state();
        loop {
            self.see_stop(&mut state);
            if state.failed || state.dry {
                return Err(Aborted);
            }
            let left = until.saturating_duration_since(Instant::now()).min(STOP_PERIOD);
            if left.is_zero() {
                return Ok(());
            }
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Makes a failure of an end from outside.
    fn see_stop(&self, state: &mut State) {
        if let Some(stopped) = self.stop.reason(Instant::now()).filter(|_| !state.failed) {
            state.failed = true;
            state.failure.get_or_insert(stopped.into());
            self.changed.notify_all();
        }
    }

    /// Says, every now and then, how it goes, until all are done; calls `abort` when one has failed.
    pub(crate) fn supervise(
        &self,
        period: Duration,
        mut now_and_then: impl FnMut(),
        abort: impl Fn(),
    ) {
        let mut state = self.state();
        let mut next = Instant::now() + period;
        let mut aborted = false;
        while state.working > 0 {
            self.see_stop(&mut state);
            if state.failed && !aborted {
                aborted = true;
                drop(state);
                abort();
                state = self.state();
                continue;
            }
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() {
                next = Instant::now() + period;
                now_and_then();
                continue;
            }
            let left = left.min(STOP_PERIOD);
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Returns the first failure.
    pub(crate) fn result(self) -> Result<(), Failure> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.failure.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_panic_ends_all_and_is_named() {
        let crew = Crew::new(2, Stop::default());
        thread::scope(|scope| {
            scope.spawn(|| crew.work(|| Ok(crew.pause(Duration::from_mins(1))?)));
            scope.spawn(|| {
                crew.work(|| {
                    assert!(guard::is_on(), "no hook takes it for the end of the program");
                    panic!("as a test")
                });
            });
            crew.supervise(Duration::from_mins(1), || {}, || {});
        });
        let failure = crew.result().unwrap_err().to_string();
        assert!(failure.contains("as a test"), "{failure}");
    }
}
