//! Certificates of what was wiped: made from an agent's signed report, judged, signed over, chained, never rewritten.
//!
//! ```text
//! report, signed by the boot's key ─► judge ─► certificate of the job, then one of each disk ─► STATE/certificates
//!                                              each names the SHA-256 of the one before it
//! ```
//!
//! A certificate is canonical JSON and a line feed; every byte of it is under the signature, or is the signature.

use protocol::{
    OrderId, Pin,
    order::{DiskIdentity, MachineEvidence},
    wipe::{
        DiskReport, Ended, Extra, PowerLevel, Verdict, WipeFinish, WipeOptions, WipeReport,
        WipeStep,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    clock::Standing,
    machine::{
        DiskOrder, Machine, Session, Strength,
        wipe::{Judged, Judgement, WipeResult, WipedDisk, password_went},
    },
};

mod chain;
mod head;
mod key;
pub mod page;
pub mod policy;
mod store;
mod verify;

pub use self::{
    head::{Head, Inventoried, note},
    key::{SigningKey, fingerprint_of},
    store::{CertificateError, Certificates, KEY_FILE, Listed},
    verify::{Problem, Verified, verify, verify_agent},
};

/// Stands before what is signed, so that no signature made for something else is one of a certificate.
const DOMAIN: &[u8] = b"drydock certificate 1\0";

/// What every certificate says: that nobody has tried this on the device at hand.
const EMULATED: &str =
    "the techniques of this version were validated on emulated devices and simulators only";

/// A certificate with its signature: the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signed {
    /// What is certified.
    pub certificate: Certificate,
    /// The public key that signed it, Ed25519: 64 digits.
    pub public_key: String,
    /// The signature over the domain and the certificate's canonical JSON: 128 digits.
    pub signature: String,
}

/// What is certified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certificate {
    /// The version of this form: 1.
    pub version: u32,
    /// Its number: one more than that of the one before it.
    pub serial: u64,
    /// SHA-256 of the file before it; absent in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// What it is about.
    pub subject: Subject,
    /// The machine.
    pub machine: CertifiedMachine,
    /// The order.
    pub order: CertifiedOrder,
    /// The agent.
    pub agent: CertifiedAgent,
    /// The server.
    pub server: CertifiedServer,
    /// What the standards call what was reached.
    pub policy: CertifiedPolicy,
    /// What is not covered.
    pub out_of_scope: Vec<String>,
    /// What the techniques were validated on.
    pub validation: String,
}

/// What a certificate is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Subject {
    /// A whole order.
    Job {
        /// The agent's report, as it was signed.
        report: Value,
        /// What the server makes of it.
        judgement: Judgement,
    },
    /// One disk of it.
    Disk {
        /// The number of the job's certificate, which holds the agent's signature.
        job: u64,
        /// SHA-256 of that file.
        job_sha256: String,
        /// How the server calls the disk.
        identity: String,
        /// The agent's report of the disk; absent where it said nothing of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<Value>,
        /// What the server makes of it.
        judged: Judged,
    },
}

/// The machine of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertifiedMachine {
    /// The server's name of it.
    pub name: String,
    /// What tells it from others.
    pub evidence: MachineEvidence,
    /// How sure that is.
    pub strength: Strength,
    /// Its maker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// Its model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
}

/// The order of a certificate. Moments are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertifiedOrder {
    /// Which.
    pub id: OrderId,
    /// Who gave it.
    pub by: String,
    /// When.
    pub at: i64,
    /// It was not begun after this.
    pub deadline: i64,
    /// What that person called it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// How thoroughly.
    pub level: PowerLevel,
    /// What differed from the level's own way.
    pub options: WipeOptions,
    /// What was ordered beside the disks.
    pub extras: Vec<Extra>,
    /// How the machine went on.
    pub finish: WipeFinish,
    /// The disks.
    pub disks: Vec<DiskIdentity>,
    /// Disks that were known to be gone: destroy them physically.
    pub missing: Vec<DiskIdentity>,
    /// The boots that it was given to; each after the first continued.
    pub boots: Vec<Session>,
    /// How many of them continued what an earlier one had begun; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continued_boots: Option<usize>,
    /// What they told before each step; of a disk's certificate, its own.
    pub journal: Vec<WipeStep>,
}

/// The agent of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertifiedAgent {
    /// Its boot: SHA-256 of its key.
    pub session: Session,
    /// Its key's `SubjectPublicKeyInfo`, as digits.
    pub public_key: String,
    /// Its signature over the report's canonical JSON: base64.
    pub signature: String,
    /// SHA-256 of that JSON.
    pub report_sha256: String,
}

/// The server of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertifiedServer {
    /// The fingerprint of the key that signs.
    pub key: Pin,
    /// When: milliseconds since 1970.
    pub at: i64,
    /// What is held of its clock.
    pub clock: Standing,
    /// Its version.
    pub version: String,
}

/// What the standards call what was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertifiedPolicy {
    /// Which table says so.
    pub name: String,
    /// The level that was asked, in IEEE 2883's words.
    pub asked: String,
    /// What was reached, in IEEE 2883's words: of a job, by its least disk.
    pub ieee2883: String,
    /// The same in NIST SP 800-88's words.
    pub nist80088: String,
}

/// A report that is to be certified, with who handed it in.
#[derive(Debug, Clone)]
pub struct HandedIn<'a> {
    /// The report as it was read.
    pub report: &'a WipeReport,
    /// The same as it was sent: what is signed.
    pub raw: &'a Value,
    /// The agent's signature: base64.
    pub signature: &'a str,
    /// The boot's key: its `SubjectPublicKeyInfo`.
    pub public_key: &'a [u8],
    /// The boot.
    pub session: Session,
    /// The machine.
    pub machine: &'a Machine,
    /// The order.
    pub order: &'a DiskOrder,
    /// What the server makes of the report.
    pub judgement: &'a Judgement,
    /// What is held of the clock.
    pub clock: Standing,
    /// When: milliseconds since 1970.
    pub at: i64,
}

impl Certificate {
    /// Says what the order came to, where this is a job's certificate.
    pub fn result(&self, disks: &[String]) -> Option<WipeResult> {
        let Subject::Job { report, judgement } = &self.subject else { return None };
        let findings = judgement.disks.iter().flat_map(|judged| {
            let name = judged.disk.serial.as_deref().or(judged.disk.wwn.as_deref());
            let name = name.unwrap_or("a disk");
            judged.findings.iter().map(move |finding| format!("{name}: {finding}"))
        });
        let told = WipeReport::deserialize(report).map(|report| report.disks).unwrap_or_default();
        let wiped = disks.iter().zip(&judgement.disks).map(|(identity, judged)| WipedDisk {
            identity: identity.clone(),
            verdict: judged.verdict,
            reached: judged.reached,
            password_went: told
                .iter()
                .any(|told| told.disk == judged.disk && password_went(judged, told)),
        });
        let level = self.order.level;
        let is_erased = |judged: &Judged| judged.verdict == Verdict::Erased;
        let is_done = if level.destroys() {
            !judgement.disks.is_empty() && judgement.disks.iter().all(is_erased)
        } else {
            is_done_as_told(level, report, disks.len())
        };
        let undone = undone(&self.order.extras, report);
        Some(WipeResult {
            level,
            is_done: is_done && undone.is_empty(),
            is_complete: judgement.is_complete,
            disks: wiped.collect(),
            findings: judgement.findings.iter().cloned().chain(findings).take(256).collect(),
            undone,
            certificate: self.serial,
        })
    }
}

/// Holds for a report of so many disks at a level that erases nothing: at `harbour` each was gone through to its end.
/// What is said beside that may be notes only.
fn is_done_as_told(level: PowerLevel, report: &Value, disks: usize) -> bool {
    let told = WipeReport::deserialize(report).map(|report| report.disks).unwrap_or_default();
    let is_cleaned = |told: &DiskReport| {
        !told.techniques.is_empty() && told.techniques.iter().all(|one| one.ended == Ended::Done)
    };
    told.len() == disks && (level == PowerLevel::Idle || told.iter().all(is_cleaned))
}

/// Says what was to be done beside the disks and was not, and why.
fn undone(ordered: &[Extra], report: &Value) -> Vec<String> {
    let told = WipeReport::deserialize(report).map(|report| report.extras).unwrap_or_default();
    let words = |extra: &Extra| {
        let what = match extra {
            Extra::StaleBootEntries => "stale boot entries",
            Extra::Pstore => "pstore",
            Extra::Tpm => "the TPM",
        };
        let mut outcomes = told.iter().filter(|outcome| outcome.extra == *extra).peekable();
        if outcomes.peek().is_none() {
            return Some(format!("{what}: the report says nothing of it"));
        }
        let failure = outcomes.find_map(|outcome| outcome.failure.as_deref())?;
        // The report has all of it.
        let (end, more) = match failure.len() {
            ..1024 => (failure.len(), ""),
            _ => (failure.floor_char_boundary(1024), "…"),
        };
        Some(format!("{what}: {}{more}", &failure[..end]))
    };
    ordered.iter().filter_map(words).collect()
}

/// Writes bytes as lower-case digits.
fn digits(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

/// Reads lower-case digits.
fn undigits(text: &str) -> Option<Vec<u8>> {
    let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if !text.len().is_multiple_of(2) || !text.bytes().all(is_digit) {
        return None;
    }
    (0..text.len() / 2)
        .map(|index| u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
pub(crate) mod tests;
