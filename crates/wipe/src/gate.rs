//! Nothing is destroyed on any disk before all disks were looked at: a frozen one may need the machine to sleep first.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Where those who examined their disks wait for the others.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug)]
struct State {
    missing: usize,
    frozen: usize,
    opening: Option<Opening>,
}

/// How it goes on after the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// At once.
    Go,
    /// The machine slept meanwhile: disks have to be asked again.
    Slept,
    /// It was to sleep, and could not: for a person.
    Awake(String),
}

impl Gate {
    /// Makes one that so many pass.
    pub fn new(units: usize) -> Self {
        let state = State { missing: units, frozen: 0, opening: None };
        Self { state: Mutex::new(state), news: Condvar::new() }
    }

    /// Says that the caller has looked, and whether its disk is frozen; waits until everybody may go on.
    pub fn pass(&self, is_frozen: bool) -> Opening {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.missing = state.missing.saturating_sub(1);
        state.frozen += usize::from(is_frozen);
        self.news.notify_all();
        loop {
            if let Some(opening) = &state.opening {
                return opening.clone();
            }
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until everybody has looked, or the time is over: a disk that does not answer delays no other. Returns how
    /// many frozen disks there are.
    pub fn gather(&self, patience: Duration) -> usize {
        let end = Instant::now() + patience;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.missing > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.news.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.frozen
    }

    /// Lets everybody go on, also those that come later.
    pub fn open(&self, opening: Opening) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).opening = Some(opening);
        self.news.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn nobody_goes_on_before_all_have_looked() {
        let (gate, gone) = (Gate::new(3), AtomicUsize::new(0));
        thread::scope(|scope| {
            for number in 0..3 {
                let (gate, gone) = (&gate, &gone);
                scope.spawn(move || {
                    thread::park_timeout(Duration::from_millis(20 * number));
                    assert_eq!(gate.pass(number == 1), Opening::Slept);
                    gone.fetch_add(1, Ordering::SeqCst);
                });
            }
            assert_eq!(gate.gather(Duration::from_mins(1)), 1);
            assert_eq!(gone.load(Ordering::SeqCst), 0);
            gate.open(Opening::Slept);
        });
        assert_eq!(gone.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn a_disk_that_does_not_answer_delays_no_other() {
        let gate = Gate::new(2);
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(gate.pass(false), Opening::Go));
            assert_eq!(gate.gather(Duration::from_millis(50)), 0);
            gate.open(Opening::Go);
        });
        assert_eq!(gate.pass(true), Opening::Go);
    }
}
