//! Who watches over a device that is made up: keeps the journal, and lets time pass while it waits.

use std::{fmt, sync::Mutex, time::Duration};

use protocol::wipe::{PowerLevel, Wipe, WipeStepKind};
use wipe::{Stopped, Watch};

/// A device whose time is the test's.
pub(crate) trait Clocked: fmt::Debug + Sync {
    fn advance(&self, by: Duration);
}

/// Watches over one device.
#[derive(Debug)]
pub(crate) struct Watcher<'d> {
    pub(crate) device: &'d dyn Clocked,
    pub(crate) has_server: bool,
    pub(crate) journal: &'d Mutex<Vec<WipeStepKind>>,
    pub(crate) now: Mutex<Duration>,
}

impl Watch for Watcher<'_> {
    fn check(&self) -> Result<(), Stopped> {
        Ok(())
    }

    fn wait(&self, time: Duration) -> Result<(), Stopped> {
        self.device.advance(time);
        *self.now.lock().unwrap() += time;
        Ok(())
    }

    fn elapsed(&self) -> Duration {
        *self.now.lock().unwrap()
    }

    fn journal(&self, step: WipeStepKind) -> Result<(), Stopped> {
        if !self.has_server {
            return Err(Stopped::Unjournaled);
        }
        self.journal.lock().unwrap().push(step);
        Ok(())
    }

    fn note(&self, step: WipeStepKind) {
        self.journal.lock().unwrap().push(step);
    }

    fn progress(&self, _: u64, _: u64, _: u32) {}
}

/// An order of a level, as a server makes it.
pub(crate) fn order(level: PowerLevel) -> Wipe {
    let digits = "7".repeat(64);
    let level = serde_json::to_string(&level).unwrap();
    let text = format!(
        r#"{{"order": {{"id": "00000000000000000000000000000001", "by": "a", "machine": {{}}, "disks": [],
            "deadlineUnixMilliseconds": 1, "inventory": "{digits}"}},
            "level": {level}, "seed": "{digits}", "finish": "stay"}}"#
    );
    serde_json::from_str(&text).unwrap()
}
