//! What came of a wipe, disk by disk, with the evidence.

use serde::{Deserialize, Serialize};

use super::{DiskForecast, Extra, Outcome, PowerLevel, Seed, Technique, Verdict};
use crate::{
    Bytes, InventoryDigest, OrderId,
    order::{DiskIdentity, MachineEvidence},
};

/// What came of a wipe: what certificates are made of. The agent signs it, the server signs over that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WipeReport {
    /// Which order.
    pub order: OrderId,
    /// The machine as it described itself.
    pub machine: MachineEvidence,
    /// The inventory that it rests on.
    pub inventory: InventoryDigest,
    /// What was asked.
    pub level: PowerLevel,
    /// Each ordered disk, in the order's order.
    pub disks: Vec<DiskReport>,
    /// Disks that the order called missing, and that are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<DiskIdentity>,
    /// Disks of the machine that the order did not name: nothing was done to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untouched: Vec<DiskIdentity>,
    /// Controllers that hide disks of their own, so that the job is never complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hiding: Vec<String>,
    /// What was done beside the disks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extras: Vec<ExtraOutcome>,
    /// Whether the whole machine is wiped: every disk is erased or listed as missing, and nothing hides any.
    pub is_complete: bool,
    /// The program that did it, with its version.
    pub agent: String,
    /// `uname -r`.
    pub kernel: String,
    /// When it began and ended: milliseconds since 1970.
    pub begun_unix_milliseconds: i64,
    /// See `begun_unix_milliseconds`.
    pub ended_unix_milliseconds: i64,
    /// Where the time came from: `server`, `machine` (its own, at a terminal) or `unknown`.
    pub clock: String,
    /// By how much the machine's own clock was behind when the server's was taken over, in milliseconds; negative where
    /// it was ahead. Absent where the time is not the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_milliseconds: Option<i64>,
}

/// What became of something beside the disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtraOutcome {
    /// What.
    pub extra: Extra,
    /// What was removed, for a person; empty where there was nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// Why it failed; absent when it was done and seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What came of one disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskReport {
    /// Which disk.
    pub disk: DiskIdentity,
    /// The kernel's name of it in this boot.
    pub name: String,
    /// How it is attached: `nvme`, `sata`, `sas`, `virtio`, `usb`, `mmc`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// Its firmware's revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// What it came to.
    pub verdict: Verdict,
    /// What the level aims at.
    pub asked: Outcome,
    /// What was reached.
    pub reached: Outcome,
    /// Its size as it can be addressed now.
    pub accessible_bytes: Bytes,
    /// Its size as made, where the device says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native_bytes: Option<Bytes>,
    /// What the device says that it can do, as it says it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
    /// What was done, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub techniques: Vec<TechniqueOutcome>,
    /// Filesystems that ephemeral files were removed from; no data is gone by that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filesystems: Vec<CleanedFilesystem>,
    /// What the other levels would do, and what stands in the way: only at `idle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<DiskForecast>,
    /// What was read back; absent where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// What the last pass could not write, and reading back therefore left out; absent where that is nothing. An
    /// exception says it to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwritten: Option<Unwritten>,
    /// What did not go as it should, or is not covered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<Exception>,
    /// What a wipe of this device cannot reach: RPMB, boot partitions, controller memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub out_of_scope: Vec<String>,
    /// Whether the technique was ever validated on this model, or on emulated devices only.
    pub validation: Validation,
    /// When it began and ended: milliseconds since 1970.
    pub begun_unix_milliseconds: i64,
    /// See `begun_unix_milliseconds`.
    pub ended_unix_milliseconds: i64,
}

impl DiskReport {
    /// Begins the report of a disk of which nobody saw that anything was done: not erased, nothing reached, without a name,
    /// and as large as it is called. Its times are 0.
    pub fn nothing_done(disk: DiskIdentity, asked: Outcome) -> Self {
        Self {
            accessible_bytes: disk.size_bytes,
            disk,
            name: String::new(),
            transport: None,
            firmware: None,
            verdict: Verdict::NotErased,
            asked,
            reached: Outcome::None,
            native_bytes: None,
            capabilities: Vec::new(),
            techniques: Vec::new(),
            verification: None,
            filesystems: Vec::new(),
            forecast: None,
            unwritten: None,
            exceptions: Vec::new(),
            out_of_scope: Vec::new(),
            validation: Validation::EmulatedOnly,
            begun_unix_milliseconds: 0,
            ended_unix_milliseconds: 0,
        }
    }
}

/// What `harbour` removed from one filesystem of an installed system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CleanedFilesystem {
    /// Where it lies: `partition 3`, `the whole disk`, `logical volume vg/var`.
    pub name: String,
    /// Where the installed system mounts it.
    pub mounted_at: String,
    /// By rule, in the order of docs/wiping.md.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<RemovedFiles>,
    /// Free before.
    pub free_before_bytes: Bytes,
    /// Free when it was mounted once more; absent where nothing was removed or it could not be looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_after_bytes: Option<Bytes>,
}

/// What one rule of `harbour` removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemovedFiles {
    /// The rule's path, as docs/wiping.md has it.
    pub rule: String,
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub folders: u64,
    /// Links, sockets, FIFOs and device nodes.
    pub others: u64,
    /// The room that they took.
    pub bytes: Bytes,
}

/// Something that a device says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capability {
    /// The field's name in its specification, such as `SANICAP`.
    pub name: String,
    /// Its value in hexadecimal digits.
    pub value: String,
}

/// One technique as it was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TechniqueOutcome {
    /// Which.
    pub technique: Technique,
    /// Which pass of it, from 0.
    #[serde(default)]
    pub pass: u32,
    /// Whether it went through, as far as the device and the kernel say.
    pub ended: Ended,
    /// For a person, where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The raw commands and their completions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<RawCommand>,
    /// How long it took.
    pub milliseconds: u64,
}

/// How a technique ended. Only the middle one allows another technique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ended {
    /// The device says that it is done.
    Done,
    /// Not begun, or failed cleanly: another technique may be tried.
    Failed,
    /// Begun, and nobody can say how it stands: nothing else may be tried.
    Unknown,
}

/// A command that a device was sent, and its completion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawCommand {
    /// Its name in its specification.
    pub name: String,
    /// The command: its bytes as hexadecimal digits.
    pub command: String,
    /// The completion: status, result and sense data as hexadecimal digits, or why there is none.
    pub completion: String,
}

/// What was read back, so that anybody can repeat it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// How it was chosen what to read.
    pub plan: VerificationPlan,
    /// What was expected there.
    pub expected: Expected,
    /// The seed of canaries and samples.
    pub seed: Seed,
    /// How many places were read.
    pub places_read: u64,
    /// How many bytes.
    pub bytes_read: Bytes,
    /// Canaries that were written before and looked for after.
    pub canaries: u64,
    /// Canaries that were still there. More than none is data that survived.
    pub canaries_found: u64,
    /// Places that were not as expected.
    pub differing: u64,
    /// Places that could not be read.
    pub unreadable: u64,
    /// The first of those, as byte offsets; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first_offsets: Vec<u64>,
}

/// How it was chosen what is read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum VerificationPlan {
    /// Every byte.
    Whole {},
    /// Both ends, known places, and by chance one place of each stratum.
    Sample {
        /// How many places by chance.
        samples: u64,
        /// With this many of 100,000 places left, the sample would have shown one in 99 of 100 cases.
        detects_per_100_000: u32,
    },
    /// Only where tables and signatures are, and by what a probe finds.
    Probe {},
}

/// What reading back has to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Expected {
    /// Zeros.
    Zeros,
    /// Ones: some devices read so after a block erase.
    Ones,
    /// The keyed stream of the seed.
    KeyedStream,
    /// Anything but the canaries: after a crypto erase.
    NoCanary,
    /// No signature.
    NoSignature,
}

/// What of a disk could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unwritten {
    /// How many bytes.
    pub bytes: Bytes,
    /// In how many places apart from each other.
    pub ranges: u64,
}

/// Something that did not go as it should, or is not covered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exception {
    /// What kind, for programs: `purgeNotReached`, `badRanges`, `hiddenSectors`, `locked`, `logicalOnly`, …
    pub code: String,
    /// For a person.
    pub words: String,
}

/// What a technique was validated on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Validation {
    /// This model.
    Model,
    /// Emulated devices and simulators only.
    EmulatedOnly,
}
