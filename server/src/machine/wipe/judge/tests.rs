//! Every way in which a report can say more than it shows.

use protocol::{
    Bytes,
    wipe::{
        Exception, Expected, Extra, ExtraOutcome, Seed, Technique, TechniqueOutcome, Unwritten,
        Validation, Verification,
    },
};

use super::*;

fn identity(name: &str) -> DiskIdentity {
    DiskIdentity {
        serial: Some(name.to_owned()),
        size_bytes: Bytes(1 << 30),
        ..DiskIdentity::default()
    }
}

/// The report of a disk that was wiped well at `full`.
pub(crate) fn told(name: &str) -> DiskReport {
    DiskReport {
        disk: identity(name),
        name: "sda".to_owned(),
        transport: None,
        firmware: None,
        verdict: Verdict::Erased,
        asked: Outcome::Clear,
        reached: Outcome::Clear,
        accessible_bytes: Bytes(1 << 30),
        native_bytes: None,
        capabilities: vec![],
        techniques: vec![TechniqueOutcome {
            technique: Technique::Zeros,
            pass: 0,
            ended: Ended::Done,
            reason: None,
            commands: vec![],
            milliseconds: 1,
        }],
        filesystems: vec![],
        forecast: None,
        verification: Some(Verification {
            plan: VerificationPlan::Whole {},
            expected: Expected::Zeros,
            seed: Seed([1; 32]),
            places_read: (1 << 30) / PLACE_BYTES,
            bytes_read: Bytes(1 << 30),
            canaries: 4,
            canaries_found: 0,
            differing: 0,
            unreadable: 0,
            first_offsets: vec![],
        }),
        unwritten: None,
        exceptions: vec![],
        out_of_scope: vec![],
        validation: Validation::EmulatedOnly,
        begun_unix_milliseconds: 1,
        ended_unix_milliseconds: 2,
    }
}

/// The report of an order of this number for disks `a` and `b`.
pub(crate) fn report(number: u8) -> WipeReport {
    WipeReport {
        order: OrderId([number; 16]),
        machine: MachineEvidence::default(),
        inventory: InventoryDigest([7; 32]),
        level: PowerLevel::Full,
        disks: vec![told("a"), told("b")],
        missing: vec![],
        untouched: vec![],
        hiding: vec![],
        extras: vec![],
        is_complete: true,
        agent: "hercules 0.1.0".to_owned(),
        kernel: "6.12".to_owned(),
        begun_unix_milliseconds: 1,
        ended_unix_milliseconds: 2,
        clock: "server".to_owned(),
        clock_offset_milliseconds: Some(-7_210_000),
    }
}

fn judged(level: PowerLevel, change: impl FnOnce(&mut WipeReport)) -> Judgement {
    let mut report = WipeReport { level, ..report(1) };
    change(&mut report);
    let (machine, options) = (MachineEvidence::default(), WipeOptions::default());
    let asked = Asked {
        order: OrderId([1; 16]),
        machine: &machine,
        inventory: InventoryDigest([7; 32]),
        level,
        options: &options,
        seed: Some(Seed([1; 32])),
        disks: &[identity("a"), identity("b")],
        missing: &[identity("gone")],
        others: &[],
        extras: &[],
    };
    judge(&asked, &report)
}

fn first(change: impl FnOnce(&mut DiskReport)) -> Judged {
    judged(PowerLevel::Full, |report| change(&mut report.disks[0])).disks.remove(0)
}

#[test]
fn a_good_report_stays_what_it_is() {
    let judgement = judged(PowerLevel::Full, |report| report.missing.push(identity("gone")));
    assert!(judgement.is_complete && judgement.findings.is_empty(), "{judgement:?}");
    for disk in &judgement.disks {
        assert_eq!((disk.verdict, disk.reached), (Verdict::Erased, Outcome::Clear));
        assert!(disk.findings.is_empty());
    }
}

#[test]
fn no_disk_is_better_than_its_report_shows() {
    type Change = fn(&mut DiskReport);
    let changes: [(Change, Verdict); 17] = [
        (|told| told.verification.as_mut().unwrap().unreadable = 1 << 20, Verdict::NotErased),
        (
            |told| told.unwritten = Some(Unwritten { bytes: Bytes(512), ranges: 1 }),
            Verdict::ErasedWithExceptions,
        ),
        (
            // More than one byte of a thousand.
            |told| told.unwritten = Some(Unwritten { bytes: Bytes(2 << 20), ranges: 1 }),
            Verdict::NotErased,
        ),
        (|told| told.verification = None, Verdict::NotErased),
        (|told| told.verification.as_mut().unwrap().canaries_found = 1, Verdict::NotErased),
        (|told| told.verification.as_mut().unwrap().differing = 1, Verdict::NotErased),
        (|told| told.verification.as_mut().unwrap().places_read = 0, Verdict::NotErased),
        (
            |told| told.verification.as_mut().unwrap().plan = VerificationPlan::Probe {},
            Verdict::NotErased,
        ),
        (|told| told.techniques.clear(), Verdict::NotErased),
        (|told| told.techniques[0].ended = Ended::Failed, Verdict::NotErased),
        (|told| told.techniques[0].ended = Ended::Unknown, Verdict::UnknownStillRunning),
        (|told| told.reached = Outcome::None, Verdict::NotErased),
        (|told| told.reached = Outcome::Logical, Verdict::ErasedWithExceptions),
        (|told| told.verification.as_mut().unwrap().unreadable = 1, Verdict::ErasedWithExceptions),
        (|told| told.native_bytes = Some(Bytes(2 << 30)), Verdict::ErasedWithExceptions),
        (|told| told.accessible_bytes = Bytes(1 << 29), Verdict::ErasedWithExceptions),
        (
            |told| {
                told.exceptions.push(Exception { code: "locked".to_owned(), words: String::new() });
            },
            Verdict::ErasedWithExceptions,
        ),
    ];
    for (number, (change, verdict)) in changes.into_iter().enumerate() {
        let disk = first(change);
        assert_eq!(disk.verdict, verdict, "change {number}: {disk:?}");
        assert!(!disk.findings.is_empty(), "change {number} is named");
    }
}

#[test]
fn what_is_said_of_nothing_beside_the_disks_is_not_done() {
    let report = WipeReport { missing: vec![identity("gone")], ..report(1) };
    let (machine, options) = (MachineEvidence::default(), WipeOptions::default());
    let (disks, missing) = ([identity("a"), identity("b")], [identity("gone")]);
    let asked = |extras| Asked {
        order: OrderId([1; 16]),
        machine: &machine,
        inventory: InventoryDigest([7; 32]),
        level: PowerLevel::Full,
        options: &options,
        seed: Some(Seed([1; 32])),
        disks: &disks,
        missing: &missing,
        others: &[],
        extras,
    };
    assert!(judge(&asked(&[]), &report).is_complete);
    let judgement = judge(&asked(&[Extra::Tpm]), &report);
    assert!(!judgement.is_complete && !judgement.findings.is_empty(), "{judgement:?}");
}

#[test]
fn a_worse_verdict_stays_and_is_no_contradiction() {
    for verdict in [Verdict::ErasedWithExceptions, Verdict::NotErased, Verdict::UnknownStillRunning]
    {
        let disk = first(|told| told.verdict = verdict);
        assert_eq!(disk.verdict, verdict);
        assert!(disk.findings.is_empty(), "{disk:?}");
    }
    let disk = first(|told| {
        told.verdict = Verdict::UnknownStillRunning;
        told.verification = None;
    });
    assert_eq!(disk.verdict, Verdict::UnknownStillRunning, "nothing else may be tried");
}

#[test]
fn overwriting_is_clear_whatever_was_claimed() {
    let judgement = judged(PowerLevel::Redline, |report| {
        for told in &mut report.disks {
            (told.asked, told.reached) = (Outcome::Purge, Outcome::Purge);
        }
    });
    let disk = &judgement.disks[0];
    assert_eq!((disk.verdict, disk.reached), (Verdict::ErasedWithExceptions, Outcome::Clear));
    assert!(!judgement.is_complete);
}

#[test]
fn nothing_is_erased_at_idle_nor_at_harbour() {
    for level in [PowerLevel::Idle, PowerLevel::Harbour] {
        let judgement = judged(level, |report| {
            report.disks.iter_mut().for_each(|told| told.asked = Outcome::None);
        });
        assert!(judgement.disks.iter().all(|disk| disk.verdict == Verdict::NotErased), "{level:?}");
        assert!(!judgement.is_complete);
    }
}

/// Judges what was read back of a disk that is said to be erased.
fn read_back(level: PowerLevel, change: impl FnOnce(&mut DiskReport)) -> Verdict {
    let judgement = judged(level, |report| {
        let told = &mut report.disks[0];
        (told.asked, told.reached) = (level.asked(), level.asked());
        told.techniques[0].technique = Technique::NvmeSanitizeBlock;
        change(told);
    });
    judgement.disks[0].verdict
}

fn seen(told: &mut DiskReport) -> &mut Verification {
    told.verification.as_mut().unwrap()
}

fn unwritten(told: &mut DiskReport, bytes: u64) {
    told.unwritten = Some(Unwritten { bytes: Bytes(bytes), ranges: 2 });
}

#[test]
fn full_reads_every_byte_back_but_what_exceptions_name() {
    let full = |change: fn(&mut DiskReport)| read_back(PowerLevel::Full, change);
    assert_eq!(full(|_| {}), Verdict::Erased);
    assert_eq!(full(|told| seen(told).bytes_read.0 -= 1), Verdict::NotErased);
    let sample = |told: &mut DiskReport| {
        seen(told).plan = VerificationPlan::Sample { samples: 46_050, detects_per_100_000: 10 };
        seen(told).places_read = 46_050;
    };
    assert_eq!(full(sample), Verdict::NotErased);
    let named = |told: &mut DiskReport| {
        seen(told).bytes_read.0 -= 1 << 20;
        unwritten(told, 1 << 20);
    };
    assert_eq!(full(named), Verdict::ErasedWithExceptions);
    let more = |told: &mut DiskReport| {
        seen(told).bytes_read.0 -= 2 << 20;
        unwritten(told, 1 << 20);
    };
    assert_eq!(full(more), Verdict::NotErased);
    let unreadable = |told: &mut DiskReport| {
        seen(told).bytes_read.0 -= 4096;
        seen(told).unreadable = 1;
    };
    assert_eq!(full(unreadable), Verdict::ErasedWithExceptions);
}

#[test]
fn redline_reads_everything_back_or_as_many_places_as_find_one_in_ten_thousand() {
    let sampled = |samples, places_read, bytes: u64| {
        read_back(PowerLevel::Redline, |told| {
            told.accessible_bytes = Bytes(bytes);
            let seen = seen(told);
            seen.plan = VerificationPlan::Sample { samples, detects_per_100_000: 10 };
            (seen.places_read, seen.bytes_read) = (places_read, Bytes(places_read * 4096));
        })
    };
    assert_eq!(sampled(46_050, 47_000, 1 << 30), Verdict::Erased);
    assert_eq!(sampled(4605, 47_000, 1 << 30), Verdict::NotErased);
    assert_eq!(sampled(46_050, 46_049, 1 << 30), Verdict::NotErased);
    // It has as many places, and is smaller than was ordered.
    assert_eq!(sampled(256, 256, 1 << 20), Verdict::ErasedWithExceptions);
    assert_eq!(sampled(255, 255, 1 << 20), Verdict::NotErased);
    assert_eq!(read_back(PowerLevel::Redline, |_| {}), Verdict::Erased, "the whole disk");
    let bad = |places_left_out: u64| {
        read_back(PowerLevel::Redline, |told| {
            unwritten(told, 4096);
            let seen = seen(told);
            seen.plan = VerificationPlan::Sample { samples: 46_050, detects_per_100_000: 10 };
            seen.places_read = 46_050 - places_left_out;
        })
    };
    assert_eq!(bad(0), Verdict::ErasedWithExceptions);
    assert_eq!(bad(5), Verdict::ErasedWithExceptions, "one place, and two beside each range");
    assert_eq!(bad(6), Verdict::NotErased);
}

#[test]
fn what_was_looked_for_could_have_been_found() {
    type Change = fn(&mut DiskReport);
    let changes: [Change; 3] = [
        |told| (seen(told).expected, seen(told).canaries) = (Expected::NoCanary, 0),
        |told| seen(told).expected = Expected::NoSignature,
        |told| seen(told).seed = Seed([2; 32]),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        for level in [PowerLevel::Full, PowerLevel::Redline] {
            assert_eq!(read_back(level, change), Verdict::NotErased, "change {number}, {level:?}");
        }
    }
    let marked = |told: &mut DiskReport| seen(told).expected = Expected::NoCanary;
    assert_eq!(read_back(PowerLevel::Redline, marked), Verdict::Erased);
    let working = |told: &mut DiskReport| {
        (seen(told).expected, seen(told).plan) =
            (Expected::NoSignature, VerificationPlan::Probe {});
    };
    assert_eq!(read_back(PowerLevel::Working, working), Verdict::Erased);
}

#[test]
fn disks_are_the_orders_each_once() {
    let without = judged(PowerLevel::Full, |report| drop(report.disks.pop()));
    assert_eq!(without.disks[1].verdict, Verdict::NotErased);
    let twice = judged(PowerLevel::Full, |report| report.disks.push(told("a")));
    assert_eq!(twice.disks[0].verdict, Verdict::NotErased);
    let other = judged(PowerLevel::Full, |report| report.disks.push(told("c")));
    assert_eq!(other.disks.len(), 3);
    assert_eq!(other.disks[2].verdict, Verdict::NotErased);
    assert_eq!(other.disks[0].verdict, Verdict::Erased, "what was ordered was done all the same");
    for judgement in [without, twice, other] {
        assert!(!judgement.is_complete && !judgement.findings.is_empty());
    }
}

#[test]
fn a_report_of_something_else_proves_nothing() {
    type Change = fn(&mut WipeReport);
    let changes: [Change; 3] = [
        |report| report.order = OrderId([2; 16]),
        |report| report.machine.uuid = Some("x".to_owned()),
        |report| report.level = PowerLevel::Working,
    ];
    for change in changes {
        let judgement = judged(PowerLevel::Full, change);
        assert!(judgement.disks.iter().all(|disk| disk.verdict == Verdict::NotErased));
        assert!(!judgement.findings.is_empty());
    }
}

#[test]
fn a_machine_is_not_wiped_as_a_whole_by_saying_so() {
    type Change = fn(&mut WipeReport);
    let changes: [Change; 5] = [
        |_| {},
        |report| report.hiding.push("RAID".to_owned()),
        |report| report.untouched.push(identity("c")),
        |report| report.missing.push(identity("stranger")),
        |report| {
            let failure = Some("no TPM".to_owned());
            report.extras.push(ExtraOutcome { extra: Extra::Tpm, removed: vec![], failure });
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let judgement = judged(PowerLevel::Full, |report| {
            if number > 0 {
                report.missing.push(identity("gone"));
            }
            change(report);
        });
        assert!(!judgement.is_complete, "change {number}");
        let is_named = |finding: &String| finding.contains("as a whole");
        assert!(judgement.findings.iter().any(is_named), "change {number}");
    }
    let modest = judged(PowerLevel::Full, |report| {
        report.missing.push(identity("gone"));
        report.is_complete = false;
    });
    assert!(!modest.is_complete && modest.findings.is_empty(), "the agent may know why");
}

#[test]
fn a_password_went_where_the_disk_was_asked_after_its_own_erasure() {
    let security = |technique, ended| TechniqueOutcome {
        technique,
        pass: 0,
        ended,
        reason: None,
        commands: vec![],
        milliseconds: 1,
    };
    let (plain, enhanced) = (Technique::AtaSecurityErase, Technique::AtaSecurityEraseEnhanced);
    let went = |techniques: Vec<TechniqueOutcome>, code: &str| {
        let mut told = told("a");
        told.techniques.extend(techniques);
        let words = String::new();
        told.exceptions = vec![Exception { code: code.to_owned(), words }];
        let judged = first(|first| *first = told.clone());
        (judged.verdict, password_went(&judged, &told))
    };
    let with_exceptions = Verdict::ErasedWithExceptions;
    let code = "purgeNotReached";
    for (techniques, code, expected) in [
        (vec![security(plain, Ended::Done)], code, true),
        (vec![security(enhanced, Ended::Failed), security(plain, Ended::Done)], code, true),
        (vec![security(enhanced, Ended::Done), security(plain, Ended::Failed)], code, false),
        (vec![security(plain, Ended::Failed)], code, false),
        (vec![security(plain, Ended::Done)], "passwordSet", false),
        (vec![security(plain, Ended::Done)], "locked", false),
        (vec![], code, false),
    ] {
        assert_eq!(went(techniques, code), (with_exceptions, expected));
    }
    // Nobody knows what a disk does whose erasure nobody saw the end of, and what is not erased may be another's.
    let unknown = vec![security(plain, Ended::Done), security(Technique::Zeros, Ended::Unknown)];
    assert_eq!(went(unknown, code), (Verdict::UnknownStillRunning, false));
}
