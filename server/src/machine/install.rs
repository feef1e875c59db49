//! An order to install, and all that becomes of it, as values.
//!
//! ```text
//!             give, to one session          Obeys, Progress             Installed
//!  Ordered ─────────────────────────► Given ───────────────► Running ─────────────► Done
//!     │                                 │                       │
//!     ├─ deadline ─► Expired            └── refused, failed, ───┴─► Failed
//!     └─ voided ───► Cancelled              restarted, given up
//! ```
//!
//! Given also fails where its agent shows that it never heard of it, or is silent about it beyond the deadline.
//!
//! There is no way back: an order that was given is over after that, whatever came of it (SAFETY.md 5).

use protocol::{
    Bytes, EventKind, Install, OrderId,
    install::{Finish, InstallPhase, InstallReport, Progress},
};
use serde::{Deserialize, Serialize};

use super::Session;

mod choose;
mod plan;
mod served;

pub(in crate::machine) use self::plan::{Drawn, plan};
pub use self::{
    choose::{Choice, ChoiceError, ChosenDisk},
    plan::{ImageFacts, InstallRefusal, InstallRequest, Plan, Sizing},
    served::{PhonedHome, Served},
};

/// An order to put an image on a disk of one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstallOrder {
    /// Which order.
    pub id: OrderId,
    /// Who gave it.
    pub by: String,
    /// When: milliseconds since 1970.
    pub at: i64,
    /// It is not begun after this: milliseconds since 1970.
    pub deadline: i64,
    /// What is to be installed.
    pub image: OrderedImage,
    /// The disk that is overwritten.
    pub disk: ChosenDisk,
    /// How the machine goes on after it.
    pub finish: Finish,
    /// What became of it.
    pub state: OrderState,
    /// Why it is not handed out yet although its machine asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<String>,
    /// What its agent is told. Only while it is open, and only in memory and in the database: it may hold secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install: Option<Box<Install>>,
    /// What the installed system may ask this server for. Kept as the install is, until its time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Box<Served>>,
    /// What the installed system said back, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phoned_home: Option<PhonedHome>,
}

/// An image, as far as an order shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderedImage {
    /// Its name in the store, or its URL without what stands behind the question mark.
    pub name: String,
    /// SHA-256 of its manifest: images of the store only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Its size on the disk; absent where nobody knows before it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<Bytes>,
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
    order: &InstallOrder,
    event: &OrderEvent<'_>,
    at: i64,
) -> Option<OrderState> {
    use OrderState::{Cancelled, Expired, Failed, Given, Ordered, Running};

    match (&order.state, event) {
        (Ordered {}, OrderEvent::Void { reason } | OrderEvent::GiveUp { reason }) => {
            Some(Cancelled { at, reason: (*reason).to_owned() })
        }
        (Ordered {}, _) if at >= order.deadline => Some(Expired { at }),
        (Ordered {}, &OrderEvent::Give { session, sequence }) => {
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
                Some(Failed { at, reason: reason.to_owned(), touched: false })
            }
        }
        (Given { heard: false, .. }, OrderEvent::Unheard { reason }) => {
            let reason = format!("it did not reach the machine, and is not said again: {reason}");
            Some(Failed { at, reason, touched: false })
        }
        (Given { at: given, .. }, OrderEvent::Time)
            if at >= order.deadline.max(given.saturating_add(SILENCE_MILLISECONDS)) =>
        {
            let reason = "the machine was given the order and said nothing of it until its time was over: \
                          whether it began, nobody knows";
            Some(Failed { at, reason: reason.to_owned(), touched: true })
        }
        (
            Given { session, sequence, .. } | Running { session, sequence, .. },
            OrderEvent::Says { session: speaker, kind },
        ) if session == speaker => told(order, *session, *sequence, kind, at),
        (
            Given { session, .. } | Running { session, .. },
            OrderEvent::Restarted { session: another },
        ) if session != another => {
            let reason = "the machine restarted before it said what came of the order".to_owned();
            Some(Failed { at, reason, touched: true })
        }
        (Given { .. } | Running { .. }, OrderEvent::GiveUp { reason }) => {
            Some(Failed { at, reason: (*reason).to_owned(), touched: true })
        }
        _ => None,
    }
}

/// What the words of the agent that has an order change in its state.
fn told(
    order: &InstallOrder,
    session: Session,
    sequence: u64,
    kind: &EventKind,
    at: i64,
) -> Option<OrderState> {
    use OrderState::{Done, Failed, Running};

    let since = match order.state {
        Running { since, .. } => since,
        _ => at,
    };
    match kind {
        EventKind::Obeys { sequence: said } if *said == sequence => match order.state {
            Running { .. } => None,
            _ => Some(Running { session, sequence, since, progress: None }),
        },
        EventKind::Progress(progress) if progress.order == order.id => {
            Some(Running { session, sequence, since, progress: Some(progress.clone()) })
        }
        EventKind::Installed { order: id, report } if *id == order.id => {
            Some(Done { session, at, report: report.clone() })
        }
        EventKind::OrderFailed { order: id, reason, touched } if *id == order.id => {
            Some(Failed { at, reason: reason.clone(), touched: *touched })
        }
        EventKind::Refused { sequence: Some(said), reason } if *said == sequence => {
            // Who has begun and then refuses contradicts himself: the worse is believed.
            let touched = matches!(order.state, Running { .. });
            Some(Failed { at, reason: format!("refused: {reason}"), touched })
        }
        _ => None,
    }
}

impl InstallOrder {
    /// Holds until it is known what came of it.
    pub fn is_open(&self) -> bool {
        matches!(
            self.state,
            OrderState::Ordered {} | OrderState::Given { .. } | OrderState::Running { .. }
        )
    }

    /// Holds while an agent has it.
    pub fn is_with_an_agent(&self) -> bool {
        matches!(self.state, OrderState::Given { .. } | OrderState::Running { .. })
    }

    /// Says how much of the image is on the disk, in percent; nothing before that is known.
    pub fn percent(&self) -> Option<u64> {
        let OrderState::Running { progress: Some(progress), .. } = &self.state else {
            return None;
        };
        let size = progress.image_bytes.or(self.image.size_bytes)?;
        let parts = [progress.written_bytes, progress.zeroed_bytes, progress.unchanged_bytes];
        let done = parts.iter().fold(0_u64, |sum, bytes| sum.saturating_add(bytes.0));
        done.min(size.0).saturating_mul(100).checked_div(size.0)
    }

    /// Says in a few words what became of it.
    pub fn words(&self) -> String {
        match &self.state {
            OrderState::Ordered {} => "ordered".to_owned(),
            OrderState::Given { .. } => "given to the machine".to_owned(),
            OrderState::Running { progress, .. } => {
                let phase =
                    progress.as_deref().map_or("beginning", |progress| phase(progress.phase));
                match self.percent() {
                    Some(percent) => format!("installing, {phase}, {percent} %"),
                    None => format!("installing, {phase}"),
                }
            }
            OrderState::Done { .. } => "done".to_owned(),
            OrderState::Failed { reason, touched: true, .. } => {
                format!("failed, the disk is not what it was: {reason}")
            }
            OrderState::Failed { reason, touched: false, .. } => {
                format!("failed, nothing was changed: {reason}")
            }
            OrderState::Expired { .. } => "expired before anybody began it".to_owned(),
            OrderState::Cancelled { reason, .. } => format!("cancelled: {reason}"),
        }
    }

    /// Returns the order without what only its agent may read.
    #[must_use]
    pub fn without_secrets(mut self) -> Self {
        self.install = None;
        self.served = None;
        self
    }
}

/// Says what an agent is doing.
fn phase(phase: InstallPhase) -> &'static str {
    match phase {
        InstallPhase::Checking => "checking",
        InstallPhase::Disarming => "disarming",
        InstallPhase::Comparing => "comparing",
        InstallPhase::Writing => "writing",
        InstallPhase::Flushing => "flushing",
        InstallPhase::Verifying => "verifying",
        InstallPhase::Finishing => "finishing",
        InstallPhase::Other => "working",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use protocol::install::{Guarantee, ReadBack};

    use super::*;

    /// An order of this number, open until minute 60.
    pub(crate) fn order(number: u8) -> InstallOrder {
        InstallOrder {
            id: OrderId([number; 16]),
            by: "uid 0".to_owned(),
            at: 0,
            deadline: 3_600_000,
            image: OrderedImage { name: "debian".to_owned(), manifest: None, size_bytes: None },
            disk: ChosenDisk::default(),
            finish: Finish::Reboot,
            state: OrderState::Ordered {},
            held_back: None,
            install: None,
            served: None,
            phoned_home: None,
        }
    }

    pub(crate) fn progress(number: u8) -> Progress {
        Progress {
            order: OrderId([number; 16]),
            phase: InstallPhase::Writing,
            image_bytes: Some(Bytes(200)),
            fetched_bytes: Bytes(10),
            unpacked_bytes: Bytes(100),
            written_bytes: Bytes(50),
            zeroed_bytes: Bytes(30),
            unchanged_bytes: Bytes(6),
            verified_bytes: Bytes(0),
            elapsed_milliseconds: 1000,
            bytes_per_second: Some(Bytes(9)),
            remaining_seconds: None,
            bottleneck: None,
        }
    }

    pub(crate) fn installed(number: u8) -> EventKind {
        let report = InstallReport {
            guarantee: Guarantee::SignedChunks,
            progress: progress(number),
            read_back: ReadBack::Whole {},
            steps: vec![],
        };
        EventKind::Installed { order: OrderId([number; 16]), report: Box::new(report) }
    }

    fn failed(number: u8) -> EventKind {
        let reason = "the disk is gone".to_owned();
        EventKind::OrderFailed { order: OrderId([number; 16]), reason, touched: true }
    }

    fn session(number: u8) -> Session {
        Session([number; 32])
    }

    #[derive(Debug, Clone)]
    enum Deed {
        Time,
        Give(u8, u64),
        Says(u8, EventKind),
        Restarted(u8),
        Void,
        GiveUp,
    }

    impl Deed {
        fn event(&self) -> OrderEvent<'_> {
            match self {
                Self::Time => OrderEvent::Time,
                Self::Give(number, sequence) => {
                    OrderEvent::Give { session: session(*number), sequence: *sequence }
                }
                Self::Says(number, kind) => OrderEvent::Says { session: session(*number), kind },
                Self::Restarted(number) => OrderEvent::Restarted { session: session(*number) },
                Self::Void => OrderEvent::Void { reason: "changed" },
                Self::GiveUp => OrderEvent::GiveUp { reason: "given up" },
            }
        }
    }

    fn kinds() -> impl Strategy<Value = EventKind> {
        prop_oneof![
            (1..4_u8).prop_map(installed),
            (1..4_u8).prop_map(failed),
            (1..4_u8).prop_map(|number| EventKind::Progress(Box::new(progress(number)))),
            (1..4_u64).prop_map(|sequence| EventKind::Obeys { sequence }),
            proptest::option::of(1..4_u64)
                .prop_map(|sequence| EventKind::Refused { sequence, reason: "no".to_owned() }),
            Just(EventKind::Other),
        ]
    }

    fn deeds() -> impl Strategy<Value = Deed> {
        prop_oneof![
            1 => Just(Deed::Time),
            4 => (1..4_u8, 1..4_u64).prop_map(|(number, sequence)| Deed::Give(number, sequence)),
            8 => (1..4_u8, kinds()).prop_map(|(number, kind)| Deed::Says(number, kind)),
            2 => (1..4_u8).prop_map(Deed::Restarted),
            1 => Just(Deed::Void),
            1 => Just(Deed::GiveUp),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
        #[test]
        fn no_order_is_given_twice_or_done_without_its_own_agents_word(
            deeds in proptest::collection::vec((deeds(), 0..4_000_000_i64), 1..24),
        ) {
            let mut order = order(1);
            let mut given = Vec::new();
            for (deed, at) in deeds {
                let before = order.state.clone();
                let Some(after) = step(&order, &deed.event(), at) else { continue };
                let was_open = order.is_open();
                prop_assert!(was_open, "a closed order stays as it is: {before:?} {deed:?}");
                match (&after, &deed) {
                    (OrderState::Given { .. }, Deed::Give(number, _)) => {
                        prop_assert!(given.is_empty(), "given twice");
                        prop_assert!(at < order.deadline);
                        given.push(*number);
                    }
                    (OrderState::Given { .. }, _) => prop_assert!(false, "given by {deed:?}"),
                    (OrderState::Done { .. }, Deed::Says(number, EventKind::Installed { order: id, .. })) => {
                        prop_assert_eq!(&given, &vec![*number]);
                        prop_assert_eq!(*id, order.id);
                    }
                    (OrderState::Done { .. }, _) => prop_assert!(false, "done by {deed:?}"),
                    (OrderState::Running { session: runs, .. }, _) => {
                        prop_assert_eq!(&given, &vec![runs.0[0]]);
                    }
                    (OrderState::Expired { .. } | OrderState::Cancelled { .. }, _) => {
                        prop_assert!(given.is_empty(), "{after:?} after it was given");
                    }
                    _ => {}
                }
                order.state = after;
            }
        }
    }

    #[test]
    fn an_order_goes_its_way() {
        let mut order = order(1);
        for (deed, words) in [
            (Deed::Give(1, 7), "given to the machine"),
            (Deed::Says(1, EventKind::Obeys { sequence: 7 }), "installing, beginning"),
            (
                Deed::Says(1, EventKind::Progress(Box::new(progress(1)))),
                "installing, writing, 43 %",
            ),
            (Deed::Says(1, installed(1)), "done"),
        ] {
            order.state = step(&order, &deed.event(), 5).unwrap();
            assert_eq!(order.words(), words);
        }
    }

    #[test]
    fn what_others_say_or_say_of_others_changes_nothing() {
        let mut order = order(1);
        order.state = step(&order, &Deed::Give(1, 7).event(), 5).unwrap();
        for deed in [
            Deed::Says(2, installed(1)),
            Deed::Says(1, installed(2)),
            Deed::Says(1, failed(2)),
            Deed::Says(1, EventKind::Obeys { sequence: 6 }),
            Deed::Says(1, EventKind::Refused { sequence: Some(6), reason: String::new() }),
            Deed::Says(1, EventKind::Refused { sequence: None, reason: String::new() }),
            Deed::Give(1, 8),
            Deed::Give(2, 7),
            Deed::Restarted(1),
            Deed::Void,
        ] {
            assert_eq!(step(&order, &deed.event(), 5), None, "{deed:?}");
        }
        let refused = EventKind::Refused { sequence: Some(7), reason: "no".to_owned() };
        let after = step(&order, &Deed::Says(1, refused).event(), 6).unwrap();
        let reason = "refused: no".to_owned();
        assert_eq!(after, OrderState::Failed { at: 6, reason, touched: false });
    }

    #[test]
    fn who_refuses_what_he_has_begun_may_have_touched_the_disk() {
        let mut order = order(1);
        order.state = step(&order, &Deed::Give(1, 7).event(), 5).unwrap();
        order.state =
            step(&order, &Deed::Says(1, EventKind::Obeys { sequence: 7 }).event(), 6).unwrap();
        let refused = EventKind::Refused { sequence: Some(7), reason: "not newer".to_owned() };
        let after = step(&order, &Deed::Says(1, refused).event(), 7);
        assert!(matches!(after, Some(OrderState::Failed { touched: true, .. })), "{after:?}");
    }

    #[test]
    fn who_restarts_with_an_order_in_hand_has_failed_and_nothing_repeats() {
        let mut order = order(1);
        order.state = step(&order, &Deed::Give(1, 7).event(), 5).unwrap();
        order.state = step(&order, &Deed::Restarted(2).event(), 9).unwrap();
        assert!(matches!(order.state, OrderState::Failed { touched: true, .. }));
        assert_eq!(step(&order, &Deed::Give(2, 9).event(), 10), None);
        assert_eq!(step(&order, &Deed::Says(1, installed(1)).event(), 11), None);
    }
}
