//! An order that writes or wipes disks, and all that becomes of it, as values (SAFETY.md 5: one kind for both).
//!
//! ```text
//!             give, to one session          Obeys, Progress          Installed, Wiped
//!  Ordered ─────────────────────────► Given ───────────────► Running ───────────────► Done, Wiped
//!     │                                 │  ▲                    │
//!     ├─ deadline ─► Expired            │  └─ give ─ Interrupted ◄── restarted, before its end: a wipe only
//!     └─ voided ───► Cancelled          └── refused, failed, restarted, given up ──► Failed
//! ```
//!
//! Given also fails where its agent shows that it never heard of it, or is silent about it beyond its end.
//!
//! An install that was given is over after that, whatever came of it (SAFETY.md 5). A wipe that a restart interrupts
//! is the same single use still: the next boot of HerculesOS continues what the journal says, until its end
//! ([`DiskOrder::end`]). That is the deadline, or a day after the last sign of life of one that was begun: what was begun
//! in time may take days, and a power cut then must leave no locked disk and no half-wiped one.
//!
//! ```text
//!  Running ── a day without a sign of life ──► Lost ── its boot speaks ──► Running
//!                                               └─ another boot, or given up by a person ─► Failed
//! ```
//!
//! A day counts only while the server itself runs ([`Watch`]). Who follows the order hears of its end then, and a boot that was
//! cut off for so long may go on all the same: hence no other order is taken for its machine before a person gives this one up.

mod restart;
mod watch;
mod words;

pub use self::{restart::Restarts, watch::Watch};

use protocol::{
    EventKind, Instruction, InventoryDigest, Order, OrderId, Verb,
    install::{InstallReport, Progress},
    wipe::WipeProgress,
};
use serde::{Deserialize, Serialize};

use super::{
    Session,
    install::{ChosenDisk, InstallWork},
    wipe::{WipeResult, WipeWork},
};
use crate::decision::System;

/// An order that destroys what is on disks of one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskOrder {
    /// Which order.
    pub id: OrderId,
    /// Who gave it.
    pub by: String,
    /// When: milliseconds since 1970.
    pub at: i64,
    /// It is not begun after this: milliseconds since 1970.
    pub deadline: i64,
    /// What became of it.
    pub state: OrderState,
    /// Why it is not handed out yet although its machine asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<String>,
    /// How often the machine was told to leave the other system for it, and which boot last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<Restarts>,
    /// The boot that had it when it ended otherwise than by that boot's word: it may be at it still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandoned: Option<Session>,
    /// What is to be done.
    #[serde(flatten)]
    pub work: Work,
}

/// What an order is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Work {
    /// Disks are wiped. Known in JSON by its key.
    Wipe {
        /// How.
        wipe: Box<WipeWork>,
    },
    /// An image is put on a disk.
    Install(Box<InstallWork>),
}

/// What became of an order. Moments are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum OrderState {
    /// Nobody has it yet: its machine is off, or about to ask.
    Ordered {},
    /// One boot of one agent has it, and has not answered.
    Given {
        /// Which boot.
        session: Session,
        /// The number of the instruction.
        sequence: u64,
        /// When.
        at: i64,
        /// Whether its agent has asked for what comes after it.
        #[serde(default)]
        heard: bool,
    },
    /// It is being carried out.
    Running {
        /// By which boot.
        session: Session,
        /// The number of the instruction.
        sequence: u64,
        /// Since when.
        since: i64,
        /// How far it is; absent before the agent has said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        progress: Option<Box<Progress>>,
        /// The same of a wipe.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wiping: Option<Box<WipeProgress>>,
    },
    /// The boot that had it is over, and it is not: the next one of HerculesOS continues.
    Interrupted {
        /// Since when.
        at: i64,
    },
    /// Nothing was heard for a day of what a boot carries out: the machine may be off, broken or gone.
    Lost {
        /// Which boot.
        session: Session,
        /// The number of the instruction.
        sequence: u64,
        /// Since when that boot was at it.
        since: i64,
        /// When it was given up for lost.
        at: i64,
    },
    /// The image is on the disk, and the agent says what of that it has seen.
    Done {
        /// By which boot.
        session: Session,
        /// When.
        at: i64,
        /// What was done.
        report: Box<InstallReport>,
    },
    /// The wipe is over, and its report is here, whatever it says.
    Wiped {
        /// By which boot.
        session: Session,
        /// When.
        at: i64,
        /// What it came to, as the server judges it.
        result: Box<WipeResult>,
    },
    /// It was not carried out whole.
    Failed {
        /// When.
        at: i64,
        /// Why, for a person.
        reason: String,
        /// Whether the disk may have been changed.
        touched: bool,
    },
    /// Its deadline passed before it was given to anybody.
    Expired {
        /// When.
        at: i64,
    },
    /// It was taken back, or made void, before it was given to anybody.
    Cancelled {
        /// When.
        at: i64,
        /// Why, for a person.
        reason: String,
    },
}

/// So long an agent that was given an order may be silent about it, also beyond the deadline. It says at once that it
/// obeys; the rest is for a server or a switch that is away for a while.
const SILENCE_MILLISECONDS: i64 = 15 * 60_000;

/// Something that may change what becomes of an order.
#[derive(Debug, Clone)]
pub(in crate::machine) enum OrderEvent<'a> {
    /// The clock went on.
    Time,
    /// The same, and nothing was heard of the machine for as long as an agent is silent at most.
    Silent,
    /// It is about to be handed to a session, as this instruction.
    Give { session: Session, sequence: u64 },
    /// An agent asks for what comes after a number; `pending` is the number of what waits for it.
    Asks { session: Session, after: u64, pending: Option<u64> },
    /// The agent that it was given to shows that it never heard of it, and is not told again.
    Unheard { reason: &'a str },
    /// An agent says something.
    Says { session: Session, kind: &'a EventKind },
    /// Its machine announced itself with another session: whoever had the order is gone.
    Restarted { session: Session },
    /// It holds no more: its machine is not what it was, or a person took it back.
    Void { reason: &'a str },
    /// It is over, whoever has it: a person gave it up, or the state directory was restored.
    GiveUp { reason: &'a str },
}

/// What an event changes in the state of an order. Nothing that is not said here changes it.
pub(in crate::machine) fn step(
    order: &DiskOrder,
    event: &OrderEvent<'_>,
    at: i64,
) -> Option<OrderState> {
    use OrderState::{Cancelled, Expired, Failed, Given, Interrupted, Lost, Ordered, Running};

    match (&order.state, event) {
        (Ordered {}, OrderEvent::Void { reason } | OrderEvent::GiveUp { reason }) => {
            Some(Cancelled { at, reason: (*reason).to_owned() })
        }
        (Ordered {}, _) if at >= order.deadline => Some(Expired { at }),
        (Interrupted { .. }, OrderEvent::Void { reason })
        | (
            Interrupted { .. } | Given { .. } | Running { .. } | Lost { .. },
            OrderEvent::GiveUp { reason },
        ) => Some(Failed { at, reason: (*reason).to_owned(), touched: true }),
        (Interrupted { .. }, _) if at >= order.end() => Some(interrupted(at)),
        (Ordered {} | Interrupted { .. }, &OrderEvent::Give { session, sequence }) => {
            Some(Given { session, sequence, at, heard: false })
        }
        (
            &Given { session, sequence, at: given, heard: false },
            &OrderEvent::Asks { session: asker, after, pending },
        ) if session == asker => {
            if after >= sequence {
                Some(Given { session, sequence, at: given, heard: true })
            } else if pending == Some(sequence) {
                None
            } else {
                let reason = "it did not reach the machine, which was told something else since";
                Some(Failed { at, reason: reason.to_owned(), touched: order.was_begun() })
            }
        }
        (Given { heard: false, .. }, OrderEvent::Unheard { reason }) => {
            let reason = format!("it did not reach the machine, and is not said again: {reason}");
            Some(Failed { at, reason, touched: order.was_begun() })
        }
        (Given { at: given, .. }, OrderEvent::Time)
            if at >= order.end().max(given.saturating_add(SILENCE_MILLISECONDS)) =>
        {
            let reason = "the machine was given the order and said nothing of it until its time was over: \
                          whether it began, nobody knows";
            Some(Failed { at, reason: reason.to_owned(), touched: true })
        }
        (&Running { session, sequence, since, .. }, OrderEvent::Silent)
            if order.lost_at().is_some_and(|lost| at >= lost) =>
        {
            Some(Lost { session, sequence, since, at })
        }
        (Lost { session, .. }, OrderEvent::Restarted { session: another })
            if session != another =>
        {
            Some(if order.wipe().is_some() { interrupted(at) } else { restarted(at) })
        }
        (
            Given { session, sequence, .. }
            | Running { session, sequence, .. }
            | Lost { session, sequence, .. },
            OrderEvent::Says { session: speaker, kind },
        ) if session == speaker => told(order, *session, *sequence, kind, at),
        (
            Given { session, .. } | Running { session, .. },
            OrderEvent::Restarted { session: another },
        ) if session != another => {
            if order.wipe().is_some() {
                let is_over = at >= order.end();
                return Some(if is_over { interrupted(at) } else { Interrupted { at } });
            }
            Some(restarted(at))
        }
        _ => None,
    }
}

/// What becomes of a wipe that nobody continues any more.
fn interrupted(at: i64) -> OrderState {
    let reason = "interrupted: the machine restarted, and nobody continued it in time; its journal is kept, and a new \
                  order for the same disks has the passwords in it";
    OrderState::Failed { at, reason: reason.to_owned(), touched: true }
}

/// What becomes of an install whose boot is over.
fn restarted(at: i64) -> OrderState {
    let reason = "the machine restarted before it said what came of the order".to_owned();
    OrderState::Failed { at, reason, touched: true }
}

/// What the words of the agent that has an order change in its state.
fn told(
    order: &DiskOrder,
    session: Session,
    sequence: u64,
    kind: &EventKind,
    at: i64,
) -> Option<OrderState> {
    use OrderState::{Done, Failed, Lost, Running};

    let is_wipe = order.wipe().is_some();
    let since = match order.state {
        Running { since, .. } | Lost { since, .. } => since,
        _ => at,
    };
    match kind {
        EventKind::Obeys { sequence: said } if *said == sequence => match order.state {
            Running { .. } => None,
            _ => Some(Running { session, sequence, since, progress: None, wiping: None }),
        },
        EventKind::Progress(progress) if progress.order == order.id && !is_wipe => {
            let progress = Some(progress.clone());
            Some(Running { session, sequence, since, progress, wiping: None })
        }
        EventKind::WipeProgress(wiping) if wiping.order == order.id && is_wipe => {
            let wiping = Some(wiping.clone());
            Some(Running { session, sequence, since, progress: None, wiping })
        }
        EventKind::WipeStep { order: id, .. } if *id == order.id && is_wipe => match order.state {
            Running { .. } => None,
            _ => Some(Running { session, sequence, since, progress: None, wiping: None }),
        },
        EventKind::Installed { order: id, report } if *id == order.id && !is_wipe => {
            Some(Done { session, at, report: report.clone() })
        }
        EventKind::OrderFailed { order: id, reason, touched } if *id == order.id => {
            // A boot that touched nothing may continue one that did.
            Some(Failed { at, reason: reason.clone(), touched: *touched || order.was_begun() })
        }
        EventKind::Refused { sequence: Some(said), reason } if *said == sequence => {
            // Who has begun and then refuses contradicts himself: the worse is believed.
            let touched = matches!(order.state, Running { .. } | Lost { .. }) || order.was_begun();
            Some(Failed { at, reason: format!("refused: {reason}"), touched })
        }
        _ => None,
    }
}

impl DiskOrder {
    /// Holds until it is known what came of it.
    pub fn is_open(&self) -> bool {
        matches!(
            self.state,
            OrderState::Ordered {}
                | OrderState::Given { .. }
                | OrderState::Running { .. }
                | OrderState::Interrupted { .. }
        )
    }

    /// Holds where nobody waits for it any more, but for its boot: that may come back and go on.
    pub(in crate::machine) fn is_lost(&self) -> bool {
        matches!(self.state, OrderState::Lost { .. })
    }

    /// Returns the boot that has it, or had it last; nothing where nobody has had it, or it is over.
    pub(in crate::machine) fn last_boot(&self) -> Option<Session> {
        match self.state {
            OrderState::Given { session, .. }
            | OrderState::Running { session, .. }
            | OrderState::Lost { session, .. } => Some(session),
            OrderState::Interrupted { .. } => self.wipe()?.boots.last().copied(),
            _ => None,
        }
    }

    /// Holds while an agent has it.
    pub fn is_with_an_agent(&self) -> bool {
        matches!(self.state, OrderState::Given { .. } | OrderState::Running { .. })
    }

    /// Holds while this boot has it.
    pub(in crate::machine) fn is_with(&self, boot: Session) -> bool {
        match &self.state {
            OrderState::Given { session, .. } | OrderState::Running { session, .. } => {
                *session == boot
            }
            _ => false,
        }
    }

    /// Holds where any agent may have it at the next moment that it asks: nobody has it, and it is open.
    pub(in crate::machine) fn is_to_be_given(&self) -> bool {
        matches!(self.state, OrderState::Ordered {} | OrderState::Interrupted { .. })
    }

    /// Returns what is installed, where that is what it is about.
    pub fn install(&self) -> Option<&InstallWork> {
        match &self.work {
            Work::Install(install) => Some(install),
            Work::Wipe { .. } => None,
        }
    }

    /// The same, to change it.
    pub(crate) fn install_mut(&mut self) -> Option<&mut InstallWork> {
        match &mut self.work {
            Work::Install(install) => Some(install),
            Work::Wipe { .. } => None,
        }
    }

    /// Returns how disks are wiped, where that is what it is about.
    pub fn wipe(&self) -> Option<&WipeWork> {
        match &self.work {
            Work::Wipe { wipe } => Some(wipe),
            Work::Install(_) => None,
        }
    }

    /// The same, to change it.
    pub(in crate::machine) fn wipe_mut(&mut self) -> Option<&mut WipeWork> {
        match &mut self.work {
            Work::Wipe { wipe } => Some(wipe),
            Work::Install(_) => None,
        }
    }

    /// Returns the system that carries it out.
    pub(in crate::machine) fn system(&self) -> System {
        match self.work {
            Work::Install(_) => System::Sunshine,
            Work::Wipe { .. } => System::Hercules,
        }
    }

    /// Returns the disks that it is about.
    pub fn disks(&self) -> &[ChosenDisk] {
        match &self.work {
            Work::Install(install) => std::slice::from_ref(&install.disk),
            Work::Wipe { wipe } => &wipe.disks,
        }
    }

    /// Says what it is to do, in a few words: `install debian`.
    pub fn title(&self) -> String {
        match &self.work {
            Work::Install(install) => format!("install {}", install.image.name),
            Work::Wipe { wipe } => format!("wipe at {}", wipe.level_word()),
        }
    }

    /// Holds for a wipe of which a boot has told a step: disks may have been changed.
    pub(in crate::machine) fn was_begun(&self) -> bool {
        self.wipe().is_some_and(|wipe| wipe.begun.is_some())
    }

    /// Returns the inventory that it rests on; nothing once it is over.
    pub(in crate::machine) fn rests_on(&self) -> Option<InventoryDigest> {
        match &self.work {
            Work::Install(install) => install.install.as_ref().map(|told| told.order.inventory),
            Work::Wipe { wipe } => wipe.wipe.as_ref().map(|told| told.order.inventory),
        }
    }

    /// Returns the verb by which an agent is told, with what boots before it began; nothing once it is over.
    pub(in crate::machine) fn verb(&self) -> Option<Verb> {
        match &self.work {
            Work::Install(install) => install.install.clone().map(Verb::Install),
            Work::Wipe { wipe } => wipe.told().map(|told| Verb::Wipe(Box::new(told))),
        }
    }

    /// Forgets what only its agent may read: it is over. One that is lost keeps what may be needed yet, and without secrets: of
    /// a wipe what its next boot would be told, of an install what the installed system may ask for.
    pub(in crate::machine) fn close(&mut self) {
        let is_lost = self.is_lost();
        match &mut self.work {
            Work::Wipe { wipe } if is_lost => {
                if let Some(told) = &mut wipe.wipe {
                    told.options.psids.clear();
                    told.options.sids.clear();
                }
            }
            Work::Install(install) => {
                install.install = None;
                if !is_lost && !matches!(self.state, OrderState::Done { .. }) {
                    install.served = None;
                }
            }
            Work::Wipe { wipe } => wipe.wipe = None,
        }
    }

    /// Returns the order without what only its agent may read.
    #[must_use]
    pub fn without_secrets(mut self) -> Self {
        match &mut self.work {
            Work::Install(install) => {
                install.install = None;
                install.served = None;
            }
            Work::Wipe { wipe } => wipe.wipe = None,
        }
        self
    }
}

/// Returns the order that an instruction carries, where it destroys anything.
pub(in crate::machine) fn order_of(verb: &Verb) -> Option<&Order> {
    match verb {
        Verb::Install(install) => Some(&install.order),
        Verb::Wipe(wipe) => Some(&wipe.order),
        _ => None,
    }
}

/// Holds for an instruction that carries an order.
pub(in crate::machine) fn carries_order(instruction: &Instruction) -> bool {
    order_of(&instruction.verb).is_some()
}

#[cfg(test)]
pub(crate) mod tests;
