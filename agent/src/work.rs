//! What only one of the two programs can do: an order that destroys, carried out on a thread of its own.
//!
//! One at a time. While it runs, the session goes on: it asks for instructions, and refuses what would disturb the work.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    thread,
    time::Duration,
};

use inventory::guard;
use protocol::{EventKind, Level, OrderId, Verb};
use tokio::sync::oneshot;
use tracing::{error, info};

use crate::session::{End, Session};

/// How long an order waits for drivers that are on their way: they are given up before.
const DRIVER_PATIENCE: Duration = Duration::from_mins(5);

/// Who gives this machine orders in this boot, once somebody does: nobody else then ever does.
static MASTER: AtomicU8 = AtomicU8::new(NOBODY);
const NOBODY: u8 = 0;

/// Who may give a machine orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Master {
    /// The server, which knows the machine.
    Server = 1,
    /// A person at its console.
    Person = 2,
}

impl Master {
    /// Takes the machine, and says whether it is this one's: of two who try at once one gets it, for the whole boot.
    pub fn take(self) -> bool {
        Self::take_in(self, &MASTER)
    }

    fn take_in(self, master: &AtomicU8) -> bool {
        let own = self as u8;
        match master.compare_exchange(NOBODY, own, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => true,
            Err(other) => other == own,
        }
    }

    /// Holds where this one has taken it.
    pub fn has_it(self) -> bool {
        MASTER.load(Ordering::SeqCst) == self as u8
    }
}

/// What a program can do.
#[derive(Debug, Clone, Copy)]
pub struct Worker {
    /// Says which order a verb carries; nothing for verbs that this program cannot carry out.
    pub order: fn(&Verb) -> Option<OrderId>,
    /// Carries it out, and reports the outcome to the session itself. Blocks for hours.
    pub run: fn(&Job) -> After,
    /// How long it has to end once its order was cancelled. Then the machine may go down without it.
    pub patience: Duration,
}

/// Something to do.
#[derive(Debug)]
pub struct Job {
    /// What.
    pub verb: Verb,
    /// Where the outcome is reported, and where images come from.
    pub session: Session,
    /// Whether the server's clock was taken over in this boot. Without it no deadline can be judged.
    pub clock: Clock,
}

/// What the machine's clock is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// It is the server's, or within two seconds of it.
    Servers {
        /// By how much the machine's own was behind when the server's was first heard in this boot, in milliseconds;
        /// negative where it was ahead.
        offset_milliseconds: i64,
    },
    /// Nobody knows.
    Unknown,
}

impl Clock {
    /// Returns what it is worth once the server's was taken over. How wrong the machine's own was the first time tells.
    pub(crate) fn taken_over(self, offset_milliseconds: i64) -> Self {
        match self {
            Self::Servers { .. } => self,
            Self::Unknown => Self::Servers { offset_milliseconds },
        }
    }
}

/// How the machine goes on after the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It waits for instructions.
    Stay,
    /// It goes down.
    End(End),
}

/// Begins to work. The answer comes once, at the end.
pub(crate) fn begin(worker: Worker, job: Job) -> oneshot::Receiver<After> {
    let (tell, told) = oneshot::channel();
    let order = (worker.order)(&job.verb);
    let session = job.session.clone();
    let outside = session.clone();
    let work = move || {
        info!(order = order.map(String::from), "work begins");
        if let Err(reason) = wait_for_drivers(&session, DRIVER_PATIENCE) {
            fail(&session, order, reason, false);
            let _nobody_waits = tell.send(After::Stay);
            return;
        }
        // The machine does not restart in the middle: it stays where it can be reached.
        let after = guard::catch(|| (worker.run)(&job)).unwrap_or_else(|reason| {
            error!(reason, "the work panicked");
            fail(&session, order, format!("the agent failed: {reason}"), true);
            After::Stay
        });
        let _nobody_waits = tell.send(after);
    };
    if let Err(error) = thread::Builder::new().name("work".to_owned()).spawn(work) {
        error!(%error, "the work cannot begin");
        fail(&outside, order, format!("the work cannot begin: {error}"), false);
    }
    told
}

/// Waits until no driver of a disk is on its way: a disk that comes in the middle would be missing among what an order
/// touches. Returns why the order is not begun where one still is.
fn wait_for_drivers(session: &Session, patience: Duration) -> Result<(), String> {
    let waited = session.findings().wait_for_drivers(patience);
    waited.map_err(|awaited| format!("drivers are still on their way: {}", awaited.join(", ")))
}

/// Reports that an order failed.
pub fn fail(session: &Session, order: Option<OrderId>, reason: String, touched: bool) {
    if let Some(order) = order {
        session.note(Level::Error, EventKind::OrderFailed { order, reason, touched });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use protocol::Pin;

    use super::*;
    use crate::devices::Findings;

    static HAS_BEGUN: AtomicBool = AtomicBool::new(false);

    #[test]
    fn no_order_is_begun_while_drivers_of_disks_are_on_their_way() {
        let findings = Findings::default();
        let session = Session::new("https://[::1]:1", vec![Pin([1; 32])]).unwrap();
        let session = session.with_findings(findings.clone());
        findings.await_driver("megaraid_sas".to_owned());
        let refused = wait_for_drivers(&session, Duration::from_millis(10)).unwrap_err();
        assert_eq!(refused, "drivers are still on their way: megaraid_sas");

        let run = |_: &Job| {
            HAS_BEGUN.store(true, Ordering::Relaxed);
            After::Stay
        };
        let worker = Worker { order: |_| None, run, patience: Duration::ZERO };
        let job = Job { verb: Verb::Wait {}, session, clock: Clock::Unknown };
        let mut ended = begin(worker, job);
        thread::park_timeout(Duration::from_millis(100));
        assert!(ended.try_recv().is_err() && !HAS_BEGUN.load(Ordering::Relaxed));
        findings.end_wait();
        assert_eq!(ended.blocking_recv(), Ok(After::Stay));
        assert!(HAS_BEGUN.load(Ordering::Relaxed));
    }

    #[test]
    fn how_wrong_the_clock_was_is_known_from_the_first_time() {
        let first = Clock::Unknown.taken_over(-7_210_000);
        assert_eq!(first, Clock::Servers { offset_milliseconds: -7_210_000 });
        assert_eq!(first.taken_over(3), first, "by then it is the server's");
    }
}
