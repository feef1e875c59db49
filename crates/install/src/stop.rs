//! Ends an install from outside: somebody cancels it, or its time is over.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// So soon it is noticed by whoever waits. A call to a disk or a source that blocks has to return by itself.
pub(crate) const STOP_PERIOD: Duration = Duration::from_millis(100);

/// What ends an install before it is done. By default nothing does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stop<'a> {
    /// Ends it once this is true.
    pub cancelled: Option<&'a AtomicBool>,
    /// Ends it when this moment has come.
    pub deadline: Option<Instant>,
}

/// Why an install was ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// Somebody did.
    #[error("it was cancelled")]
    Cancelled,
    /// The deadline came first.
    #[error("its time is over")]
    DeadlineOver,
}

impl Stop<'_> {
    /// Returns why to end now, where there is a reason.
    pub(crate) fn reason(&self, now: Instant) -> Option<Stopped> {
        if self.cancelled.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Some(Stopped::Cancelled);
        }
        self.deadline.is_some_and(|deadline| now >= deadline).then_some(Stopped::DeadlineOver)
    }

    /// Fails when it is to end now.
    pub fn check(&self) -> Result<(), Stopped> {
        self.reason(Instant::now()).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_ends_it_when_it_comes_and_a_person_at_any_time() {
        let (now, flag) = (Instant::now(), AtomicBool::new(false));
        let minute = Duration::from_mins(1);
        let stop = Stop { cancelled: Some(&flag), deadline: Some(now + minute) };
        assert_eq!(stop.reason(now), None);
        assert_eq!(stop.reason(now + minute), Some(Stopped::DeadlineOver));
        flag.store(true, Ordering::Relaxed);
        assert_eq!(stop.reason(now), Some(Stopped::Cancelled));
        assert_eq!(Stop::default().reason(now + minute), None);
    }
}
