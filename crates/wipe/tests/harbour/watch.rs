//! Somebody who watches, and may say stop.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use protocol::wipe::WipeStepKind;
use wipe::{Stopped, Watch};

/// Says stop when it was asked so often.
#[derive(Debug)]
pub(crate) struct Patience {
    pub(crate) left: AtomicU64,
}

impl Patience {
    pub(crate) fn endless() -> Self {
        Self::of(u64::MAX)
    }

    pub(crate) fn of(left: u64) -> Self {
        Self { left: AtomicU64::new(left) }
    }
}

impl Watch for Patience {
    fn check(&self) -> Result<(), Stopped> {
        let took = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        took.map(drop).map_err(|_| Stopped::Cancelled)
    }

    fn wait(&self, _: Duration) -> Result<(), Stopped> {
        self.check()
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn journal(&self, _: WipeStepKind) -> Result<(), Stopped> {
        self.check()
    }

    fn note(&self, _: WipeStepKind) {}

    fn progress(&self, _: u64, _: u64, _: u32) {}
}
