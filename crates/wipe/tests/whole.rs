//! Whole wipes of devices that are made up: from the order to the report, and down to the medium.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "whole/idle.rs"]
mod idle;
#[path = "whole/nvme.rs"]
mod nvme;
#[path = "whole/watcher.rs"]
mod watcher;

use std::collections::BTreeMap;

use devices::{
    Course,
    nvme::{Config, FormatAttributes, Namespace, SanitizeCapabilities},
};
use protocol::{
    Bytes,
    wipe::{DiskReport, Ended, Outcome, PowerLevel, Technique, Verdict, WipeStep, WipeStepKind},
};

use self::{nvme::Simulated, watcher::order};

fn only(mut reports: Vec<DiskReport>) -> DiskReport {
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

fn tried(report: &DiskReport) -> Vec<(Technique, Ended)> {
    report.techniques.iter().map(|one| (one.technique, one.ended)).collect()
}

fn codes(report: &DiskReport) -> Vec<&str> {
    report.exceptions.iter().map(|one| one.code.as_str()).collect()
}

#[test]
fn redline_sanitizes_and_full_writes_zeros() {
    let disk = Simulated::new(Config::default());
    let report = only(disk.wipe(&order(PowerLevel::Redline)));
    assert_eq!((report.verdict, report.reached), (Verdict::Erased, Outcome::Purge), "{report:#?}");
    assert_eq!(tried(&report).len(), 1);
    assert_eq!(disk.left(), 0);

    let disk = Simulated::new(Config::default());
    let report = only(disk.wipe(&order(PowerLevel::Full)));
    assert_eq!((report.verdict, report.reached), (Verdict::Erased, Outcome::Clear), "{report:#?}");
    assert_eq!(tried(&report), [(Technique::Zeros, Ended::Done)]);
}

#[test]
fn idle_sends_and_writes_nothing() {
    let disk = Simulated::new(Config::default());
    let report = only(disk.wipe(&order(PowerLevel::Idle)));
    assert_eq!((report.verdict, report.reached), (Verdict::NotErased, Outcome::None));
    assert_eq!(tried(&report), []);
    assert_eq!(disk.left(), disk.held());
    assert_eq!(disk.journal(), [WipeStepKind::Over { verdict: Verdict::NotErased }]);
}

#[test]
fn a_device_that_lies_is_caught_and_the_next_way_taken() {
    let course = Config { sanitize_course: Course::Lies, ..Config::default() };
    let disk = Simulated::new(course);
    let report = only(disk.wipe(&order(PowerLevel::Redline)));
    assert_eq!(report.verdict, Verdict::ErasedWithExceptions, "{report:#?}");
    assert!(codes(&report).contains(&"deviceWrong"), "{report:#?}");
    assert!(tried(&report).len() > 1);
    assert_eq!(disk.readable_left(), 0);
}

#[test]
fn a_device_without_any_erasure_is_overwritten_and_says_that_purge_was_not_reached() {
    let disk = Simulated::new(Config { sanitize: None, format: None, ..Config::default() });
    let report = only(disk.wipe(&order(PowerLevel::Redline)));
    assert_eq!(
        (report.verdict, report.reached),
        (Verdict::ErasedWithExceptions, Outcome::Clear),
        "{report:#?}"
    );
    assert_eq!(codes(&report), ["purgeNotReached"]);
    let passes = [Technique::KeyedStream, Technique::KeyedStream, Technique::Zeros];
    assert_eq!(tried(&report), passes.map(|technique| (technique, Ended::Done)));
    assert_eq!(disk.readable_left(), 0);
}

#[test]
fn nothing_else_is_tried_while_a_sanitize_may_be_running() {
    let disk =
        Simulated::new(Config { sanitize_course: Course::SticksAt(655), ..Config::default() });
    let report = only(disk.wipe(&order(PowerLevel::Redline)));
    assert_eq!(report.verdict, Verdict::UnknownStillRunning, "{report:#?}");
    assert_eq!(report.reached, Outcome::None);
    assert_eq!(tried(&report).len(), 1);
}

#[test]
fn a_sanitize_that_fails_cleanly_is_followed_by_the_next_way() {
    let disk =
        Simulated::new(Config { sanitize_course: Course::FailsAt(100), ..Config::default() });
    let report = only(disk.wipe(&order(PowerLevel::Redline)));
    assert_ne!(report.verdict, Verdict::NotErased, "{report:#?}");
    assert_eq!(report.techniques[0].ended, Ended::Failed);
    assert_eq!(disk.readable_left(), 0);
}

fn two_namespaces(sanitize: Option<SanitizeCapabilities>) -> Config {
    let namespaces =
        BTreeMap::from([(1, Namespace::new(64 << 10, 1)), (2, Namespace::new(64 << 10, 2))]);
    Config { namespaces, sanitize, capacity_bytes: 192 << 10, ..Config::default() }
}

#[test]
fn what_erases_everything_is_sent_once_for_all_namespaces() {
    let disk = Simulated::new(two_namespaces(Config::default().sanitize));
    let reports = disk.wipe(&order(PowerLevel::Redline));
    assert_eq!(reports.len(), 2);
    for report in &reports {
        assert_eq!(
            (report.verdict, report.reached),
            (Verdict::Erased, Outcome::Purge),
            "{report:#?}"
        );
    }
    assert_eq!(reports[0].techniques, reports[1].techniques);
    assert_eq!(disk.left(), 0);
}

#[test]
fn a_namespace_that_was_not_ordered_keeps_every_byte() {
    let format = Config::default().format.unwrap();
    for format in
        [Some(format), Some(FormatAttributes { erases_all: true, formats_all: true, ..format })]
    {
        let config = Config { format, ..two_namespaces(Config::default().sanitize) };
        let disk = Simulated::new(config);
        let before = disk.bytes_of(2);
        let report = only(disk.wipe_first_alone(&order(PowerLevel::Redline)));
        assert_eq!(disk.bytes_of(2), before);
        assert_ne!(report.verdict, Verdict::NotErased, "{report:#?}");
        assert!(disk.bytes_of(1) != before);
    }
}

#[test]
fn what_is_about_to_happen_is_journaled_before_it_does() {
    let disk = Simulated::new(Config::default());
    disk.wipe(&order(PowerLevel::Redline));
    let journal = disk.journal();
    assert_eq!(journal[0], WipeStepKind::Canaries {});
    assert!(matches!(journal[1], WipeStepKind::Begin { .. }), "{journal:?}");
    assert!(matches!(journal.last(), Some(WipeStepKind::Over { verdict: Verdict::Erased })));
}

#[test]
fn without_a_server_nothing_is_begun() {
    let disk = Simulated::new(Config::default()).without_server();
    for level in [PowerLevel::Working, PowerLevel::Full, PowerLevel::Redline] {
        let report = only(disk.wipe(&order(level)));
        assert_eq!(report.verdict, Verdict::NotErased);
        assert_eq!(codes(&report), ["stopped"]);
        assert_eq!(disk.left(), disk.held());
    }
}

#[test]
fn a_disk_that_takes_no_write_is_not_erased() {
    for level in [PowerLevel::Working, PowerLevel::Full] {
        let disk = Simulated::new(Config::default()).worn_out();
        let report = only(disk.wipe(&order(level)));
        assert_eq!(
            (report.verdict, report.reached),
            (Verdict::NotErased, Outcome::None),
            "{report:#?}"
        );
        assert_eq!(disk.left(), disk.held());
    }
}

#[test]
fn a_disk_that_says_nothing_after_its_own_erasure_was_begun_is_unknown() {
    let disk = Simulated::new(Config::default());
    disk.go_silent();
    let mut wipe = order(PowerLevel::Redline);
    let kind = WipeStepKind::Begin { technique: Technique::NvmeSanitizeBlock };
    wipe.journal = vec![WipeStep { disk: 0, kind }];
    let report = only(disk.wipe(&wipe));
    assert_eq!(report.verdict, Verdict::UnknownStillRunning, "{report:#?}");
    assert_eq!(tried(&report), []);
}

#[test]
fn passes_go_on_where_an_earlier_boot_was() {
    let disk = Simulated::new(Config::default());
    let half = Bytes(32 << 10);
    let mut wipe = order(PowerLevel::Full);
    let steps = [
        WipeStepKind::Canaries {},
        WipeStepKind::Begin { technique: Technique::Zeros },
        WipeStepKind::Watermark { pass: 0, bytes: half },
    ];
    wipe.journal = steps.into_iter().map(|kind| WipeStep { disk: 0, kind }).collect();
    // What was journaled is not taken on trust: that half was never written here, and it is seen.
    let report = only(disk.wipe(&wipe));
    assert_eq!(report.verdict, Verdict::NotErased, "{report:#?}");
    assert_eq!(codes(&report), ["dataSurvived"]);
    let reason = report.techniques[0].reason.as_deref().unwrap_or_default();
    assert!(reason.contains("earlier boot"), "{reason}");
    assert_eq!(disk.readable_left(), disk.held() / 2);
}
