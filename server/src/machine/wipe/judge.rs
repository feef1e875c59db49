//! The server's own judgement of a report: whatever contradicts itself or the order gets the lower verdict, by name.
//!
//! One pure function. A report is never better than what it says in detail, and may be worse.

use protocol::{
    InventoryDigest, OrderId,
    order::{DiskIdentity, MachineEvidence},
    wipe::{
        DiskReport, Ended, Expected, Extra, Outcome, PowerLevel, Seed, Technique, TechniqueOutcome,
        Verdict, Verification, VerificationPlan, WipeOptions, WipeReport,
    },
};
use serde::{Deserialize, Serialize};

use crate::certificate::policy;

/// What a place that is read back has at least.
const PLACE_BYTES: u64 = 4096;
/// Places by chance that find one unerased place in ten thousand in 99 of 100 cases: ln(0.01) / ln(1 - 0.0001).
const SAMPLES: u64 = 46_050;

/// One of so many may be left unwritten or unread: one byte of the disk, one place of those that are read back.
const LARGEST_BAD_SHARE: u64 = 1000;

/// What was asked, as far as a report is held against it.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked<'a> {
    /// Which order.
    pub order: OrderId,
    /// The machine.
    pub machine: &'a MachineEvidence,
    /// The inventory that the order was made from.
    pub inventory: InventoryDigest,
    /// How thoroughly.
    pub level: PowerLevel,
    /// What differs from the level's own way.
    pub options: &'a WipeOptions,
    /// What places and canaries follow from; absent where the order was made by a server that did not keep it.
    pub seed: Option<Seed>,
    /// The disks, in the order's order.
    pub disks: &'a [DiskIdentity],
    /// Disks that are known to be gone.
    pub missing: &'a [DiskIdentity],
    /// Disks of the machine that the order does not name.
    pub others: &'a [DiskIdentity],
    /// What is to be done beside the disks.
    pub extras: &'a [Extra],
}

/// What a report comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    /// Whether the whole machine is wiped.
    pub is_complete: bool,
    /// Each ordered disk, in the order's order; then those that the report has beside them.
    pub disks: Vec<Judged>,
    /// What is wrong with the report as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
}

/// What one disk's report comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// Which disk.
    pub disk: DiskIdentity,
    /// The verdict.
    pub verdict: Verdict,
    /// How far its data is gone.
    pub reached: Outcome,
    /// Where the report says something better than it shows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
}

/// Judges a report.
pub fn judge(asked: &Asked<'_>, report: &WipeReport) -> Judgement {
    let mut findings = Vec::new();
    let is_foreign = report.order != asked.order
        || report.machine != *asked.machine
        || report.level != asked.level;
    if report.order != asked.order {
        findings.push("it is the report of another order".to_owned());
    }
    if report.machine != *asked.machine {
        findings.push("it is the report of a machine that describes itself otherwise".to_owned());
    }
    if report.level != asked.level {
        findings.push("another level was reported than was ordered".to_owned());
    }
    if report.inventory != asked.inventory {
        findings.push("it rests on another inventory than the order".to_owned());
    }
    let mut disks: Vec<Judged> = Vec::with_capacity(asked.disks.len());
    for identity in asked.disks {
        let mut told = report.disks.iter().filter(|told| told.disk == *identity);
        disks.push(match (told.next(), told.next()) {
            (Some(told), None) => of_disk(asked, told, is_foreign),
            (None, _) => nothing(identity, "the report says nothing of it"),
            (Some(_), Some(_)) => nothing(identity, "the report speaks of it twice"),
        });
    }
    for told in report.disks.iter().filter(|told| !asked.disks.contains(&told.disk)) {
        findings.push("it speaks of a disk that was not ordered".to_owned());
        disks.push(nothing(&told.disk, "it was not ordered"));
    }
    if report.missing.iter().any(|gone| !asked.missing.contains(gone)) {
        findings.push("it calls a disk missing that the order does not".to_owned());
    }
    let is_done = |extra: &Extra| {
        report.extras.iter().any(|told| told.extra == *extra && told.failure.is_none())
    };
    if asked.extras.iter().any(|extra| report.extras.iter().all(|told| told.extra != *extra)) {
        findings
            .push("it says nothing of something that was to be done beside the disks".to_owned());
    }
    let is_complete = findings.is_empty()
        && asked.level >= PowerLevel::Working
        && disks.iter().all(|disk| disk.verdict == Verdict::Erased)
        && asked.others.is_empty()
        && report.untouched.is_empty()
        && report.hiding.is_empty()
        && asked.missing.iter().all(|gone| report.missing.contains(gone))
        && asked.extras.iter().all(is_done)
        && report.extras.iter().all(|told| told.failure.is_none());
    if report.is_complete && !is_complete {
        findings.push("it calls the machine wiped as a whole, which it does not show".to_owned());
    }
    Judgement { is_complete: is_complete && report.is_complete, disks, findings }
}

fn nothing(disk: &DiskIdentity, finding: &str) -> Judged {
    let findings = vec![finding.to_owned()];
    Judged { disk: disk.clone(), verdict: Verdict::NotErased, reached: Outcome::None, findings }
}

/// Returns the most that the techniques of a report reach together: each that the device says is done.
pub fn ceiling(told: &DiskReport) -> Outcome {
    let done = told.techniques.iter().filter(|one| one.ended == Ended::Done);
    done.map(|one| policy::at_most(one.technique)).max().unwrap_or(Outcome::None)
}

/// Says whether a report shows that an ATA password went with what it protected, where the disk is erased with exceptions.
///
/// After its own secure erase a disk is asked whether a password is set, and only without one that is called done
/// (ACS-3, section 4.17). Of one that failed the report does not say how the password came off.
pub fn password_went(judged: &Judged, told: &DiskReport) -> bool {
    let is_security = |one: &&TechniqueOutcome| {
        matches!(one.technique, Technique::AtaSecurityErase | Technique::AtaSecurityEraseEnhanced)
    };
    let last = told.techniques.iter().rfind(is_security);
    let is_set = told.exceptions.iter().any(|one| matches!(&*one.code, "passwordSet" | "locked"));
    judged.verdict == Verdict::ErasedWithExceptions
        && last.is_some_and(|one| one.ended == Ended::Done)
        && !is_set
}

/// A verdict that only sinks.
struct Sinking {
    verdict: Verdict,
    findings: Vec<String>,
}

impl Sinking {
    /// Sinks to a verdict, where it stands higher. What may still be erasing stays that: nothing else may be tried.
    fn to(&mut self, verdict: Verdict, finding: &str) {
        let rank = |verdict| match verdict {
            Verdict::Erased => 0,
            Verdict::ErasedWithExceptions => 1,
            Verdict::NotErased => 2,
            Verdict::UnknownStillRunning => 3,
        };
        if rank(verdict) > rank(self.verdict) {
            self.verdict = verdict;
            self.findings.push(finding.to_owned());
        }
    }
}

fn of_disk(asked: &Asked<'_>, told: &DiskReport, is_foreign: bool) -> Judged {
    let aim = asked.level.asked();
    let mut sinking = Sinking { verdict: told.verdict, findings: Vec::new() };
    let reached = told.reached.min(ceiling(told));
    let mut sink = |verdict, finding: &str| sinking.to(verdict, finding);
    if is_foreign {
        sink(Verdict::NotErased, "the report is not that of this order");
    }
    if !asked.level.destroys() {
        sink(Verdict::NotErased, "nothing is erased at this level");
    }
    if told.techniques.iter().any(|one| one.ended == Ended::Unknown) {
        sink(Verdict::UnknownStillRunning, "a technique was begun, and nobody knows how it ended");
    }
    if told.asked != aim {
        sink(Verdict::ErasedWithExceptions, "it aims at something else than the level does");
    }
    if reached < told.reached {
        sink(Verdict::ErasedWithExceptions, "it claims more than its techniques reach");
    }
    if aim > Outcome::None && reached == Outcome::None {
        sink(Verdict::NotErased, "nothing was reached");
    }
    if reached < aim {
        sink(Verdict::ErasedWithExceptions, "less was reached than was asked");
    }
    verified(asked, told, &mut sink);
    if told.native_bytes.is_some_and(|native| native > told.accessible_bytes) {
        sink(Verdict::ErasedWithExceptions, "the disk has sectors that cannot be addressed");
    }
    if told.accessible_bytes < told.disk.size_bytes {
        sink(Verdict::ErasedWithExceptions, "less of it can be addressed than was ordered");
    }
    if let Some(unwritten) = told.unwritten {
        sink(Verdict::ErasedWithExceptions, "not all of it could be written");
        if unwritten.bytes.0 > told.accessible_bytes.0 / LARGEST_BAD_SHARE {
            sink(Verdict::NotErased, "more of it could not be written than may be left");
        }
    }
    if !told.exceptions.is_empty() {
        sink(Verdict::ErasedWithExceptions, "the report names exceptions");
    }
    let Sinking { verdict, findings } = sinking;
    Judged { disk: told.disk.clone(), verdict, reached, findings }
}

/// Holds a verdict against what was read back.
fn verified(asked: &Asked<'_>, told: &DiskReport, sink: &mut impl FnMut(Verdict, &str)) {
    if asked.level < PowerLevel::Working {
        return;
    }
    let Some(seen) = &told.verification else {
        return sink(Verdict::NotErased, "nothing was read back");
    };
    if seen.places_read == 0 || seen.bytes_read.0 == 0 {
        sink(Verdict::NotErased, "nothing was read back");
    }
    if seen.canaries_found > 0 {
        sink(Verdict::NotErased, "canaries were found after it");
    }
    if seen.differing > 0 {
        sink(Verdict::NotErased, "places were found that are not as expected");
    }
    if seen.unreadable > 0 {
        sink(Verdict::ErasedWithExceptions, "places could not be read");
        if seen.unreadable.saturating_mul(LARGEST_BAD_SHARE) > seen.places_read {
            sink(Verdict::NotErased, "more places could not be read than may be left");
        }
    }
    if asked.seed.is_some_and(|seed| seed != seen.seed) {
        sink(Verdict::NotErased, "it was read back by another seed than the order's");
    }
    if seen.expected == Expected::NoCanary && seen.canaries == 0 {
        sink(Verdict::NotErased, "only canaries were looked for, and there were none");
    }
    if asked.level > PowerLevel::Working {
        if seen.expected == Expected::NoSignature {
            sink(Verdict::NotErased, "only tables and signatures were looked for");
        }
        if !is_enough(asked.level, told, seen) {
            sink(Verdict::NotErased, "less was read back than the level does");
        }
    }
    if asked.options.verify_whole && !matches!(seen.plan, VerificationPlan::Whole {}) {
        sink(Verdict::ErasedWithExceptions, "not all of it was read back, which was ordered");
    }
}

/// Holds where as much was looked at as the level does: every byte, or at `redline` a sample.
fn is_enough(level: PowerLevel, told: &DiskReport, seen: &Verification) -> bool {
    match seen.plan {
        VerificationPlan::Whole {} => {
            let lacking = told.accessible_bytes.0.saturating_sub(seen.bytes_read.0);
            lacking <= left_out(told, seen)
        }
        VerificationPlan::Sample { samples, .. } => {
            let needed = SAMPLES.min(told.accessible_bytes.0 / PLACE_BYTES);
            // By chance as many of a sample lie in what was left out as its share of the disk is, and that is small.
            let excused = left_out(told, seen).div_ceil(PLACE_BYTES).min(needed / 50);
            let looked_at = seen.places_read.saturating_add(excused);
            level == PowerLevel::Redline && samples >= needed && looked_at >= needed
        }
        VerificationPlan::Probe {} => false,
    }
}

/// Returns how many bytes need not be read back: places that could not be read, and what could not be written, with what
/// lies beside it in its first and last places.
fn left_out(told: &DiskReport, seen: &Verification) -> u64 {
    let unwritten = told.unwritten.map_or(0, |unwritten| {
        unwritten.bytes.0.saturating_add(unwritten.ranges.saturating_mul(2 * PLACE_BYTES))
    });
    unwritten.saturating_add(seen.unreadable.saturating_mul(PLACE_BYTES))
}

#[cfg(test)]
pub(crate) mod tests;
