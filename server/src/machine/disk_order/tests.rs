//! Every way that an order can go.

use proptest::prelude::*;
use protocol::{
    Bytes,
    install::{Finish, Guarantee, InstallPhase, ReadBack},
};

use super::*;
use crate::machine::install::OrderedImage;

/// An order of this number, open until minute 60.
pub(crate) fn order(number: u8) -> DiskOrder {
    DiskOrder {
        id: OrderId([number; 16]),
        by: "uid 0".to_owned(),
        at: 0,
        deadline: 3_600_000,
        state: OrderState::Ordered {},
        held_back: None,
        restarts: None,
        abandoned: None,
        work: Work::Install(Box::new(InstallWork {
            image: OrderedImage { name: "debian".to_owned(), manifest: None, size_bytes: None },
            disk: ChosenDisk::default(),
            finish: Finish::Reboot,
            install: None,
            served: None,
            phoned_home: None,
            alive: None,
            watch: None,
        })),
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
    Silent,
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
            Self::Silent => OrderEvent::Silent,
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
        1 => Just(Deed::Silent),
        4 => (1..4_u8, 1..4_u64).prop_map(|(number, sequence)| Deed::Give(number, sequence)),
        8 => (1..4_u8, kinds()).prop_map(|(number, kind)| Deed::Says(number, kind)),
        2 => (1..4_u8).prop_map(Deed::Restarted),
        1 => Just(Deed::Void),
        1 => Just(Deed::GiveUp),
    ]
}

/// Within the order's hour, or days later.
fn moments() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 0..4_000_000_i64, 1 => 0..400_000_000_i64]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn no_order_is_given_twice_or_done_without_its_own_agents_word(
        deeds in proptest::collection::vec((deeds(), moments()), 1..24),
    ) {
        let mut order = order(1);
        let mut given = Vec::new();
        for (deed, at) in deeds {
            let before = order.state.clone();
            let Some(after) = step(&order, &deed.event(), at) else { continue };
            let was_open = order.is_open() || order.is_lost();
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
        (Deed::Says(1, EventKind::Progress(Box::new(progress(1)))), "installing, writing, 43 %"),
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
