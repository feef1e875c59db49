//! Whole wipes at `redline`, by the devices' own erasures and by passes.

use std::{sync::OnceLock, time::Duration};

use devices::{Course, ata, mmc, nvme, opal, scsi};
use protocol::wipe::{DiskReport, Outcome, Verdict, Wipe, WipeStepKind};

use crate::{
    drive::{Drive, LABEL, SECRET},
    each_point,
    machine::{Cut, Machine, When, passwords},
    medium::Chance,
};

/// A disk, and what a wipe of it comes to however often power was cut.
struct Story {
    name: &'static str,
    drive: fn() -> Drive,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Erased, and nothing is stored anywhere.
    Purged,
    /// Erased with exceptions, and nothing can be read.
    Cleared,
    /// One of the two: what nobody could mark before is overwritten, unless power was cut after the erasure.
    Gone,
    /// Nobody can say how it stands, and nothing else is tried.
    Unknown,
}

fn order() -> Wipe {
    let digits = "7".repeat(64);
    let text = format!(
        r#"{{"order": {{"id": "00000000000000000000000000000001", "by": "a", "machine": {{}}, "disks": [],
            "deadlineUnixMilliseconds": 1, "inventory": "{digits}"}},
            "options": {{"passes": 2, "psids": [{{"disk": "OPAL0001", "psid": "{LABEL}"}}]}},
            "level": "redline", "seed": "{digits}", "finish": "stay"}}"#
    );
    serde_json::from_str(&text).expect("as a server makes it")
}

/// Numbers that differ although their seeds hardly do.
fn chance(seed: u64) -> Chance {
    Chance(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
}

/// Counts what happens in a boot that nobody cuts, and looks how it ends.
fn count(story: &Story) -> (usize, usize) {
    let machine = Machine::new((story.drive)(), chance(0));
    let report = machine.boot(&order(), None).expect("power stays");
    end_well(story, &machine, &report, "without a cut");
    machine.happened()
}

fn end_well(story: &Story, machine: &Machine, report: &DiskReport, at: &str) {
    let Story { name, end, .. } = story;
    let drive = machine.drive();
    let (stored, readable) = (drive.stored(), drive.readable());
    let is = (report.verdict, report.reached);
    let told = || {
        format!("{name}, {at}: {stored} sectors are stored, {readable} can be read: {report:#?}")
    };
    match end {
        End::Gone => {
            let purged = is == (Verdict::Erased, Outcome::Purge) && stored == 0;
            let cleared = is == (Verdict::ErasedWithExceptions, Outcome::Clear);
            assert!((purged || cleared) && readable == 0, "{}", told());
        }
        End::Purged => {
            assert_eq!(is, (Verdict::Erased, Outcome::Purge), "{}", told());
            assert_eq!((stored, readable), (0, 0), "{}", told());
        }
        End::Cleared => {
            assert_eq!(is.0, Verdict::ErasedWithExceptions, "{}", told());
            assert!(is.1 >= Outcome::Clear && readable == 0, "{}", told());
        }
        End::Unknown => {
            assert_eq!(is, (Verdict::UnknownStillRunning, Outcome::None), "{}", told());
        }
    }
    assert_eq!(machine.lies(), [""; 0], "{name}, {at}");
}

/// A disk that needs a password is one whose password the server has.
fn open_to_us(story: &Story, machine: &Machine, at: &str) {
    let drive = machine.drive();
    if let (true, _) = drive.security() {
        let journal = machine.journal();
        let known = passwords(&journal);
        let opens = known.iter().any(|password| drive.opens_with(password));
        assert!(opens, "{}, {at}: locked for ever, journal {journal:#?}", story.name);
    }
}

/// Cuts power once, twice or three times, and has the last boot come to its end.
fn cut(story: &Story, (happens, begun): (usize, usize), seed: u64) {
    let mut chance = chance(seed);
    let machine = Machine::new((story.drive)(), Chance(chance.next() | 1));
    let mut cuts = Vec::new();
    let report = loop {
        let is_cut = cuts.is_empty() || cuts.len() < 3 && chance.below(2) == 0;
        let share = u16::try_from(chance.below(0x1_0000)).expect("16 bits");
        let when = [When::Before, When::During(share), When::After][chance.below(3)];
        // Much of what happens is that canaries are written: most of the cuts come later.
        let first = if cuts.is_empty() && chance.below(4) > 0 { begun } else { 0 };
        let cut = is_cut.then(|| Cut { at: first + 1 + chance.below(happens - first), when });
        cuts.push(cut);
        let report = machine.boot(&order(), cut);
        let at = format!("seed {seed}, {cuts:?}");
        assert_eq!(report.is_none(), machine.is_off(), "{}, {at}", story.name);
        assert_eq!(machine.lies(), [""; 0], "{}, {at}", story.name);
        if let Some(report) = report {
            break report;
        }
        open_to_us(story, &machine, &at);
        machine.rest([Duration::ZERO, Duration::from_secs(30), HOUR][chance.below(3)]);
    };
    let at = format!("seed {seed}, {cuts:?}");
    // What stood before may be reported by a boot that came to its end before its cut; all the others go on.
    end_well(story, &machine, &report, &at);
    machine.switch_off();
    if story.end != End::Unknown {
        assert_eq!(machine.drive().security(), (false, false), "{}, {at}", story.name);
    }
    open_to_us(story, &machine, &at);
}

const HOUR: Duration = Duration::from_hours(1);

fn check(stories: &[Story], usual: u64) {
    let counts: Vec<OnceLock<(usize, usize)>> = stories.iter().map(|_| OnceLock::new()).collect();
    each_point(usual, |seed| {
        let index = usize::try_from(seed).expect("64 bits") % stories.len();
        let story = &stories[index];
        cut(story, *counts[index].get_or_init(|| count(story)), seed);
    });
}

#[test]
fn a_lock_that_the_server_was_not_told_of_would_be_seen() {
    let drive = || Drive::ata(ata::Config { sanitize: None, ..ata::Config::default() });
    let story = Story { name: "enhanced security erase", drive, end: End::Purged };
    let mut locked = 0;
    for at in 1..=count(&story).0 {
        let machine = Machine::new((story.drive)(), chance(at as u64));
        machine.boot(&order(), Some(Cut { at, when: When::During(0x8000) }));
        open_to_us(&story, &machine, "as it is");
        if machine.drive().security().1 {
            locked += 1;
            machine.forget();
            let look = std::panic::AssertUnwindSafe(|| open_to_us(&story, &machine, "forgotten"));
            assert!(std::panic::catch_unwind(look).is_err());
        }
    }
    assert!(locked >= 2, "{locked}");
}

fn nvme(change: impl FnOnce(&mut nvme::Config)) -> Drive {
    let mut config = nvme::Config::default();
    change(&mut config);
    Drive::nvme(config)
}

fn sanitizes(config: &mut nvme::Config, block: bool, crypto: bool, overwrite: bool) {
    let can = config.sanitize.as_mut().expect("it sanitizes");
    (can.block_erase, can.crypto_erase, can.overwrite) = (block, crypto, overwrite);
    config.format = None;
}

#[test]
fn nvme_disks_are_erased_whenever_power_was_cut() {
    let stories = [
        Story { name: "sanitize", drive: || nvme(|_| ()), end: End::Purged },
        Story {
            name: "crypto sanitize",
            drive: || nvme(|config| sanitizes(config, false, true, false)),
            end: End::Purged,
        },
        Story {
            name: "overwrite sanitize",
            drive: || nvme(|config| sanitizes(config, false, false, true)),
            end: End::Purged,
        },
        Story {
            name: "crypto format",
            drive: || nvme(|config| config.sanitize = None),
            end: End::Purged,
        },
        Story {
            name: "sanitize that fails, then passes",
            drive: || {
                nvme(|config| {
                    config.sanitize_course = Course::FailsAt(0x4000);
                    config.format = None;
                })
            },
            end: End::Cleared,
        },
        Story {
            name: "sanitize that lies, then passes",
            drive: || {
                nvme(|config| {
                    config.sanitize_course = Course::Lies;
                    config.format = None;
                })
            },
            end: End::Cleared,
        },
        Story {
            name: "sanitize that stands still",
            drive: || nvme(|config| config.sanitize_course = Course::SticksAt(655)),
            end: End::Unknown,
        },
    ];
    check(&stories, 42);
}

#[test]
fn ata_disks_are_erased_and_open_whenever_power_was_cut() {
    let stories = [
        Story { name: "overwrite", drive: || Drive::ata(ata::Config::default()), end: End::Purged },
        Story {
            name: "block erase",
            drive: || Drive::ata(ata::Config::solid_state()),
            end: End::Purged,
        },
        Story {
            name: "enhanced security erase",
            drive: || Drive::ata(ata::Config { sanitize: None, ..ata::Config::default() }),
            end: End::Purged,
        },
        Story {
            name: "enhanced security erase of flash",
            drive: || Drive::ata(ata::Config { sanitize: None, ..ata::Config::solid_state() }),
            end: End::Purged,
        },
        Story {
            name: "enhanced security erase that fails, then passes",
            drive: || {
                let erase_course = Course::FailsAt(0x4000);
                Drive::ata(ata::Config { sanitize: None, erase_course, ..ata::Config::default() })
            },
            end: End::Cleared,
        },
        Story {
            name: "sanitize that fails, then security erase",
            drive: || {
                let sanitize_course = Course::FailsAt(0x4000);
                Drive::ata(ata::Config { sanitize_course, ..ata::Config::default() })
            },
            end: End::Purged,
        },
    ];
    check(&stories, 42);
}

#[test]
fn scsi_disks_are_erased_whenever_power_was_cut() {
    let stories = [
        Story {
            name: "overwrite",
            drive: || Drive::scsi(scsi::Config::default()),
            end: End::Purged,
        },
        Story {
            name: "block erase",
            drive: || Drive::scsi(scsi::Config::solid_state()),
            end: End::Purged,
        },
        Story {
            name: "sanitize that fails, then passes",
            drive: || {
                let sanitize_course = Course::FailsAt(0x4000);
                Drive::scsi(scsi::Config { sanitize_course, ..scsi::Config::default() })
            },
            end: End::Cleared,
        },
        Story {
            name: "no sanitize, passes",
            drive: || Drive::scsi(scsi::Config { sanitize: None, ..scsi::Config::default() }),
            end: End::Cleared,
        },
    ];
    check(&stories, 32);
}

#[test]
fn cards_and_self_encrypting_disks_are_erased_whenever_power_was_cut() {
    let stories = [
        Story { name: "card", drive: || Drive::mmc(mmc::Config::default()), end: End::Purged },
        Story {
            name: "locked, reverted by its label",
            drive: || Drive::opal(opal::Config::default()),
            end: End::Gone,
        },
        Story {
            name: "open, reverted by its label",
            drive: || {
                Drive::opal(opal::Config { global_is_locked: false, ..opal::Config::default() })
            },
            // Reverted before the cut, it cannot show that any more: another revert would keep its keys.
            end: End::Gone,
        },
    ];
    check(&stories, 24);
}

#[test]
fn disks_without_an_erasure_of_their_own_are_overwritten_whenever_power_was_cut() {
    // Passes begin with small writes, and stay with them on a disk that is slow: two passes of eight.
    let drive = || Drive::Plain(vec![SECRET; 512 << 10]);
    let story = [Story { name: "passes", drive, end: End::Cleared }];
    let machine = Machine::new(drive(), chance(0));
    machine.boot(&order(), None).expect("power stays");
    let is_mark = |step: &&WipeStepKind| matches!(step, WipeStepKind::Watermark { .. });
    assert!(machine.journal().iter().filter(is_mark).count() >= 2, "{:?}", machine.journal());
    check(&story, 3);
}
