//! Journals and words of wipes; what others need to test with.

use protocol::{Bytes, OrderId, wipe::Technique};

use super::*;
use crate::machine::disk_order::{DiskOrder, OrderState, Work};

/// An order of this number to wipe two disks, `a` and `b`, open until minute 60.
pub(crate) fn order(number: u8) -> DiskOrder {
    let disk = |name: &str| ChosenDisk {
        identity: format!("serial::{name}"),
        named: DiskIdentity {
            serial: Some(name.to_owned()),
            size_bytes: Bytes(1 << 30),
            ..DiskIdentity::default()
        },
        ..ChosenDisk::default()
    };
    DiskOrder {
        id: OrderId([number; 16]),
        by: "uid 0".to_owned(),
        at: 0,
        deadline: 3_600_000,
        state: OrderState::Ordered {},
        held_back: None,
        restarts: None,
        abandoned: None,
        work: Work::Wipe {
            wipe: Box::new(WipeWork {
                level: PowerLevel::Full,
                options: WipeOptions::default(),
                disks: vec![disk("a"), disk("b")],
                missing: vec![],
                others: vec![],
                network_storage: false,
                evidence: MachineEvidence::default(),
                inventory: InventoryDigest([7; 32]),
                extras: vec![],
                finish: WipeFinish::Reboot,
                ticket: Some("T-1".to_owned()),
                wipe: None,
                seed: Some(Seed([1; 32])),
                inherited: vec![],
                journal: vec![],
                begun: None,
                alive: None,
                boots: vec![],
                watch: None,
            }),
        },
    }
}

pub(crate) fn work() -> WipeWork {
    order(1).wipe().unwrap().clone()
}

pub(crate) fn step(disk: u32, kind: WipeStepKind) -> WipeStep {
    WipeStep { disk, kind }
}

pub(crate) fn password(digits: &str) -> WipeStepKind {
    WipeStepKind::AtaPassword { password: digits.to_owned() }
}

fn watermark(bytes: u64) -> WipeStepKind {
    WipeStepKind::Watermark { pass: 0, bytes: Bytes(bytes) }
}

#[test]
fn an_order_to_wipe_reads_back_and_one_to_install_of_an_older_server_too() {
    let wipe = order(1);
    let json = serde_json::to_string(&wipe).unwrap();
    assert!(json.contains(r#""wipe":{"level":"full""#), "{json}");
    assert_eq!(serde_json::from_str::<DiskOrder>(&json).unwrap(), wipe);
    let install = crate::machine::disk_order::tests::order(2);
    let json = serde_json::to_value(&install).unwrap();
    assert_eq!(json["image"]["name"], "debian", "as it always stood there");
    assert_eq!(serde_json::from_value::<DiskOrder>(json).unwrap(), install);
}

#[test]
fn a_journal_keeps_the_newest_watermark_of_each_disk_and_no_step_twice() {
    let mut work = work();
    let steps = [
        (step(0, WipeStepKind::Canaries {}), true),
        (step(0, WipeStepKind::Canaries {}), false),
        (step(0, WipeStepKind::Begin { technique: Technique::Zeros }), true),
        (step(0, watermark(1)), true),
        (step(1, watermark(5)), true),
        (step(0, watermark(2)), true),
        (step(0, watermark(2)), false),
        (step(1, watermark(6)), true),
    ];
    for (step, is_new) in steps {
        assert_eq!(work.note(&step, 7), Ok(is_new), "{step:?}");
    }
    assert_eq!(work.begun, Some(7));
    let left: Vec<WipeStep> = work.journal.clone();
    assert_eq!(
        left,
        [
            step(0, WipeStepKind::Canaries {}),
            step(0, WipeStepKind::Begin { technique: Technique::Zeros }),
            step(0, watermark(2)),
            step(1, watermark(6)),
        ]
    );
    work.note(&step(0, WipeStepKind::Over { verdict: Verdict::Erased }), 8).unwrap();
    assert!(!work.journal.contains(&step(0, watermark(2))));
}

#[test]
fn a_journal_takes_no_step_of_another_disk_and_is_bounded() {
    let mut work = work();
    assert_eq!(work.note(&step(2, WipeStepKind::Verify {}), 1), Err(StepError::Nonsense));
    assert_eq!(work.note(&step(u32::MAX, watermark(1)), 1), Err(StepError::Nonsense));
    for text in ["x", &"a".repeat(65)] {
        assert_eq!(work.note(&step(0, password(text)), 1), Err(StepError::Nonsense), "{text}");
    }
    let mut taken = 0;
    for number in 0..1000_u32 {
        match work.note(&step(0, password(&format!("{number:08x}"))), 1) {
            Ok(_) => taken += 1,
            Err(error) => assert_eq!(error, StepError::TooMany),
        }
    }
    assert_eq!(taken, STEPS_OF_A_DISK);
    assert_eq!(work.note(&step(1, WipeStepKind::Verify {}), 1), Ok(true), "others go on");
}

#[test]
fn a_machine_that_keeps_booting_the_other_system_is_not_restarted_for_ever() {
    let mut order = order(1);
    let session = |number| Session([number; 32]);
    for number in 1..=3 {
        assert!(order.may_restart(session(number)) && order.may_restart(session(number)));
    }
    assert!(order.may_restart(session(3)) && !order.may_restart(session(4)));
}

#[test]
fn a_result_says_what_became_of_each_kind() {
    let disk = |verdict| WipedDisk {
        identity: String::new(),
        verdict,
        reached: Outcome::Clear,
        password_went: false,
    };
    let result = WipeResult {
        level: PowerLevel::Full,
        is_done: false,
        is_complete: false,
        disks: vec![disk(Verdict::Erased), disk(Verdict::Erased), disk(Verdict::NotErased)],
        findings: vec!["x".to_owned()],
        undone: Vec::new(),
        certificate: 1,
    };
    assert_eq!(
        result.words(),
        "wiped: 2 disks erased, 1 disk not erased, 1 contradictions in the report"
    );
    let harbour = WipeResult { level: PowerLevel::Harbour, is_done: true, ..result };
    assert_eq!(harbour.words(), "harbour: done, and nothing is erased by that");
}
