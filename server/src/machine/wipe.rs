//! An order to wipe: what it is about, what its boots have told of it, and what it came to.

use protocol::{
    InventoryDigest, OrderId,
    order::{DiskIdentity, MachineEvidence},
    wipe::{
        Extra, Outcome, PowerLevel, Seed, Verdict, Wipe, WipeFinish, WipeOptions, WipePhase,
        WipeProgress, WipeReport, WipeStep, WipeStepKind,
    },
};
use serde::{Deserialize, Serialize};

use super::{Session, disk_order::Watch, install::ChosenDisk};

mod against;
pub(crate) mod judge;
pub(in crate::machine) mod password;
mod plan;

pub use self::{
    against::Against,
    judge::{Asked, Judged, Judgement, ceiling, judge, password_went},
    password::LeftPassword,
    plan::{WipePlan, WipeRefusal, WipeRequest},
};
pub(in crate::machine) use self::{
    against::against,
    plan::{Lot, is_called, plan},
};

/// The most steps of one disk that are kept: a device has fewer ways to be erased.
const STEPS_OF_A_DISK: usize = 128;
/// The longest password of a step, as digits: an ATA password has 32 bytes.
const PASSWORD_DIGITS: usize = 64;

/// What an order to wipe is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WipeWork {
    /// How thoroughly.
    pub level: PowerLevel,
    /// What differs from the level's own way; without PSIDs, which only the agent reads.
    #[serde(default)]
    pub options: WipeOptions,
    /// The disks, in the order's order.
    pub disks: Vec<ChosenDisk>,
    /// Disks that are known to be gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<DiskIdentity>,
    /// Disks of the machine that are not ordered: nothing is done to them, and the machine is not wiped as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<DiskIdentity>,
    /// What told the machine from others when it was ordered.
    pub evidence: MachineEvidence,
    /// The inventory that it was made from.
    pub inventory: InventoryDigest,
    /// Whether one of the disks is on a network: only then HerculesOS looks for any there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub network_storage: bool,
    /// What is done beside the disks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extras: Vec<Extra>,
    /// How the machine goes on.
    pub finish: WipeFinish,
    /// What the person who ordered it calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// What its agent is told, but for the journal. Only while it is open: it may hold secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wipe: Option<Box<Wipe>>,
    /// What all that is random in it is made from: reports are held against it, late ones too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<Seed>,
    /// Passwords that earlier orders left on disks of this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherited: Vec<WipeStep>,
    /// The steps that its boots have told before each happened, oldest first. Passwords are kept beside it ([`LeftPassword`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub journal: Vec<WipeStep>,
    /// When the first of them was told: milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<i64>,
    /// When the boot that has it, or had it last, was last heard of it: a step, a watermark, its progress. Milliseconds since
    /// 1970; in the database it may be some minutes behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alive: Option<i64>,
    /// How it was watched since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// The boots that it was given to, oldest first: each after the first continues.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boots: Vec<Session>,
}

/// What a wipe came to, as the server judges its report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WipeResult {
    /// How thoroughly it was ordered.
    pub level: PowerLevel,
    /// Whether what was ordered was done: every disk erased, or at a level that erases nothing, every disk gone through;
    /// and all that was ordered beside the disks.
    pub is_done: bool,
    /// Whether the whole machine is wiped.
    pub is_complete: bool,
    /// Each ordered disk, in the order's order.
    pub disks: Vec<WipedDisk>,
    /// Where the report contradicts itself or the order, for a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    /// What was ordered beside the disks and is not done, with why, for a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undone: Vec<String>,
    /// The serial number of the job's certificate; those of its disks follow it.
    pub certificate: u64,
}

/// What one disk came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WipedDisk {
    /// How the server calls it.
    pub identity: String,
    /// The verdict, as the server judges.
    pub verdict: Verdict,
    /// How far its data is gone.
    pub reached: Outcome,
    /// Whether its report shows that an ATA password went with the data, although something else did not go as it should.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub password_went: bool,
}

impl WipedDisk {
    /// Holds where no password that was set before can lock it any more.
    pub(in crate::machine) fn has_no_password(&self) -> bool {
        self.verdict == Verdict::Erased || self.password_went
    }
}

/// Why a step cannot be journaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The order is not with this agent, or there is none.
    #[error("the order is over, or not this agent's")]
    NotItsOrder,
    /// The step is about no disk of the order, or is none.
    #[error("the step is about no disk of the order, or larger than any is")]
    Nonsense,
    /// There are more than any wipe has.
    #[error("more steps than a wipe has")]
    TooMany,
}

impl WipeWork {
    /// Names the level as people type it.
    pub fn level_word(&self) -> &'static str {
        level_word(self.level)
    }

    /// Returns what an agent is told, with what boots before it told; nothing once it is over.
    pub(in crate::machine) fn told(&self) -> Option<Wipe> {
        let journal = self.inherited.iter().chain(&self.journal).cloned().collect();
        self.wipe.as_deref().map(|wipe| Wipe { journal, ..wipe.clone() })
    }

    /// Journals a step. Says whether anything is to be stored: a step that is told twice stands there once.
    pub(in crate::machine) fn note(&mut self, step: &WipeStep, at: i64) -> Result<bool, StepError> {
        let is_of_order = usize::try_from(step.disk).is_ok_and(|disk| disk < self.disks.len());
        let is_sound = match &step.kind {
            WipeStepKind::AtaPassword { password } => {
                password.len() <= PASSWORD_DIGITS
                    && password.bytes().all(|digit| digit.is_ascii_hexdigit())
            }
            _ => true,
        };
        if !is_of_order || !is_sound {
            return Err(StepError::Nonsense);
        }
        self.lives(at);
        let is_its = |known: &&WipeStep| known.disk == step.disk;
        if self.journal.iter().rev().find(is_its) == Some(step) {
            return Ok(false);
        }
        let is_watermark = |kind: &WipeStepKind| matches!(kind, WipeStepKind::Watermark { .. });
        if is_watermark(&step.kind) || matches!(step.kind, WipeStepKind::Over { .. }) {
            // A later one says all that those before it did.
            self.journal.retain(|known| known.disk != step.disk || !is_watermark(&known.kind));
        }
        if self.journal.iter().filter(is_its).count() >= STEPS_OF_A_DISK {
            return Err(StepError::TooMany);
        }
        self.begun.get_or_insert(at);
        self.journal.push(step.clone());
        Ok(true)
    }

    /// Judges what a boot reported of it.
    pub fn judge(&self, order: OrderId, report: &WipeReport) -> Judgement {
        let disks: Vec<DiskIdentity> = self.disks.iter().map(|disk| disk.named.clone()).collect();
        let asked = Asked {
            order,
            machine: &self.evidence,
            inventory: self.inventory,
            level: self.level,
            options: &self.options,
            seed: self.seed,
            disks: &disks,
            missing: &self.missing,
            others: &self.others,
            extras: &self.extras,
        };
        judge(&asked, report)
    }

    /// Notes a sign of life; returns when the one before it was.
    pub(in crate::machine) fn lives(&mut self, at: i64) -> Option<i64> {
        self.watch = self.watch.map(|watch| watch.anew(at));
        self.alive.replace(at)
    }
}

impl WipeResult {
    /// Says in a few words what it came to.
    pub fn words(&self) -> String {
        if !self.level.destroys() {
            let done = if self.is_done { "done" } else { "not done everywhere" };
            let words =
                format!("{}: {done}, and nothing is erased by that", level_word(self.level));
            return [&[words][..], &self.undone].concat().join("; ");
        }
        let count = |verdict| self.disks.iter().filter(|disk| disk.verdict == verdict).count();
        let verdicts = [
            Verdict::Erased,
            Verdict::ErasedWithExceptions,
            Verdict::NotErased,
            Verdict::UnknownStillRunning,
        ];
        let mut parts: Vec<String> = verdicts
            .into_iter()
            .filter(|verdict| count(*verdict) > 0)
            .map(|verdict| match (count(verdict), verdict_words(verdict)) {
                (1, words) => format!("1 disk {words}"),
                (many, words) => format!("{many} disks {words}"),
            })
            .collect();
        if self.is_complete {
            parts.push("the whole machine is wiped".to_owned());
        }
        if !self.findings.is_empty() {
            parts.push(format!("{} contradictions in the report", self.findings.len()));
        }
        let words = format!("wiped: {}", parts.join(", "));
        [&[words][..], &self.undone].concat().join("; ")
    }
}

/// Names a level as people type it.
pub fn level_word(level: PowerLevel) -> &'static str {
    match level {
        PowerLevel::Idle => "idle",
        PowerLevel::Harbour => "harbour",
        PowerLevel::Working => "working",
        PowerLevel::Full => "full",
        PowerLevel::Redline => "redline",
    }
}

/// Says a verdict in words.
pub fn verdict_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Erased => "erased",
        Verdict::ErasedWithExceptions => "erased with exceptions",
        Verdict::NotErased => "not erased",
        Verdict::UnknownStillRunning => "unknown, still running",
    }
}

/// Says how far data is gone, in a word.
pub fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::None => "nothing",
        Outcome::Signatures => "signatures only",
        Outcome::Logical => "logical only",
        Outcome::Clear => "clear",
        Outcome::Purge => "purge",
    }
}

/// Says how far a wipe is.
pub fn progress_words(progress: Option<&WipeProgress>) -> String {
    let Some(progress) = progress else { return "wiping, beginning".to_owned() };
    let over = progress.disks.iter().filter(|disk| disk.phase == WipePhase::Over).count();
    let all = progress.disks.len();
    let mut least: Option<u64> = None;
    for disk in progress.disks.iter().filter(|disk| disk.phase == WipePhase::Erasing) {
        let done = disk.done_bytes.0.min(disk.total_bytes.0);
        let percent = done.saturating_mul(100).checked_div(disk.total_bytes.0);
        least = [least, percent].into_iter().flatten().min();
    }
    let slowest = least.map(|percent| format!(", the slowest at {percent} %")).unwrap_or_default();
    format!("wiping, {over} of {all} disks over{slowest}")
}

#[cfg(test)]
pub(crate) mod tests;
