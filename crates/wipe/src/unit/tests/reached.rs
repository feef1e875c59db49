//! Why a level was not reached: the report says what stood in the way.

use devices::ata::{Bridge, Freezing};

use super::*;

fn at(level: PowerLevel, config: &Config) -> DiskReport {
    Simulated::new(config.clone()).wipe(&order(level, &[]))
}

#[test]
fn what_stands_between_and_passes_no_erasure_on_is_named_where_purge_was_not_reached() {
    let config = Config { bridge: Bridge::OtherSize, ..Config::default() };
    let report = at(PowerLevel::Redline, &config);
    assert_eq!(report.reached, Outcome::Clear, "{report:#?}");
    assert_eq!(codes(&report), ["bridge", "purgeNotReached"]);
    assert!(report.exceptions[0].words.starts_with("what stands between"), "{report:#?}");
    let report = at(PowerLevel::Full, &config);
    assert_eq!((report.verdict, codes(&report)), (Verdict::Erased, Vec::new()), "it was reached");
}

#[test]
fn what_is_frozen_is_named_where_passes_were_all_that_was_left() {
    let config = Config { freezing: Freezing::Always, sanitize: None, ..Config::default() };
    let report = at(PowerLevel::Redline, &config);
    assert_eq!(report.reached, Outcome::Clear, "{report:#?}");
    assert_eq!(codes(&report), ["frozen", "purgeNotReached"]);
    assert_eq!(at(PowerLevel::Full, &config).verdict, Verdict::Erased);
}
