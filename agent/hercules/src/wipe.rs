//! Carries out an order to wipe: from the server's word to the disks and back.

use std::time::Duration;

use agent::{
    console, panel,
    work::{After, Job, Worker},
};
use protocol::{EventKind, Level, OrderId, Verb};

/// How long the outcome may take to reach the server before the machine goes on.
const TELL_PATIENCE: Duration = Duration::from_mins(15);

/// The kernel gives a disk half a minute for each command, and tries again.
const CANCELLED_PATIENCE: Duration = Duration::from_secs(90);

/// What `HerculesOS` can do beyond waiting.
pub(crate) const WORKER: Worker = Worker { order, run, patience: CANCELLED_PATIENCE };

fn order(verb: &Verb) -> Option<OrderId> {
    match verb {
        Verb::Wipe(wipe) => Some(wipe.order.id),
        _ => None,
    }
}

fn run(job: &Job) -> After {
    let Verb::Wipe(wipe) = &job.verb else { return After::Stay };
    let reason = format!("this HerculesOS knows no way to wipe at level {:?}", wipe.level);
    let kind = EventKind::OrderFailed { order: wipe.order.id, reason, touched: false };
    if let Some(words) = panel::outcome(&kind) {
        console::show(&words);
    }
    let outcome = job.session.note(Level::Error, kind);
    job.session.is_told_within(outcome, TELL_PATIENCE);
    After::Stay
}
