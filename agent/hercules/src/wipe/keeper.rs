//! The session with the server as who keeps an order: steps are written down there before they happen.

use std::{
    sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use agent::{
    session::{Bulk, Session, Ticket},
    watchdog,
};
use linux::suspend::Alarm;
use protocol::{
    EventKind, Level, OrderId,
    wipe::{WipeProgress, WipeStep},
};
use wipe::{Stopped, job::Keeper};

use super::{marks::Marks, screen::Screen};
use crate::chain;

/// How long a step waits for a server that does not answer. What runs goes on meanwhile; what has not begun does not.
const JOURNAL_PATIENCE: Duration = Duration::from_hours(4);

/// How often it is looked whether the order is over while a step waits.
const JOURNAL_PAUSE: Duration = Duration::from_secs(1);

/// How long the machine sleeps to unfreeze its disks: disks spin down and lose their power.
pub(crate) const SLEEP_SECONDS: u64 = 10;

/// Keeps one order.
#[derive(Debug)]
pub(super) struct SessionKeeper {
    session: Session,
    bulk: Bulk,
    order: OrderId,
    screen: Mutex<Screen>,
    marks: Mutex<Marks<Ticket>>,
}

impl SessionKeeper {
    pub(super) fn new(session: Session, bulk: Bulk, order: OrderId) -> Self {
        Self { session, bulk, order, screen: Mutex::default(), marks: Mutex::default() }
    }

    fn put(&self, step: WipeStep) -> Ticket {
        let kind = EventKind::WipeStep { order: self.order, step: Box::new(step) };
        self.session.note(Level::Info, kind)
    }

    fn marks(&self) -> MutexGuard<'_, Marks<Ticket>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper for SessionKeeper {
    fn stopped(&self) -> Option<Stopped> {
        self.bulk.cancelled().load(Ordering::Relaxed).then_some(Stopped::Cancelled)
    }

    fn journal(&self, step: WipeStep) -> Result<(), Stopped> {
        let ticket = self.marks().step(step, |step| self.put(step));
        let begun = Instant::now();
        loop {
            if self.session.is_told_within(ticket, JOURNAL_PAUSE) {
                return Ok(());
            }
            if let Some(stopped) = self.stopped() {
                return Err(stopped);
            }
            // Refused, or pushed out: the server does not know of it.
            if !self.session.waits(ticket) || begun.elapsed() > JOURNAL_PATIENCE {
                return Err(Stopped::Unjournaled);
            }
        }
    }

    fn note(&self, step: WipeStep) {
        self.marks().note(step, |ticket| self.session.waits(ticket), |step| self.put(step));
    }

    fn progress(&self, progress: WipeProgress) {
        self.marks().go_on(|ticket| self.session.waits(ticket), |step| self.put(step));
        Screen::show(&self.screen, &progress);
        self.bulk.tell(EventKind::WipeProgress(Box::new(progress)));
    }

    fn sleep(&self) -> Result<(), String> {
        let alarm = Alarm::prove().map_err(|error| chain(&error))?;
        watchdog::disarm();
        let slept = alarm.sleep(SLEEP_SECONDS);
        watchdog::rearm();
        slept.map(drop).map_err(|error| chain(&error))
    }

    fn unix_milliseconds(&self) -> i64 {
        linux::clock::unix_milliseconds()
    }
}
