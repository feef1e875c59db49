//! Wiping disks: the instruction, what is told while it runs, and the report that certificates are made of.
//!
//! The words of levels and outcomes are those of IEEE 2883 and NIST SP 800-88 (clear, purge). What a disk reached is
//! computed from what was done and seen, never from what was accepted.

mod bound;
mod forecast;
mod report;
mod words;

use serde::{Deserialize, Serialize};

pub use self::bound::{MOST_DISKS, REPORT_BYTES};
pub use self::forecast::{DiskForecast, LevelForecast, MediumWord, WayForecast};
pub use self::report::{
    Capability, CleanedFilesystem, DiskReport, Ended, Exception, Expected, ExtraOutcome,
    RawCommand, RemovedFiles, TechniqueOutcome, Unwritten, Validation, Verification,
    VerificationPlan, WipeReport,
};
pub use self::words::{WordError, of_disk};

use crate::{Bytes, Order, OrderId, install::Secret, order::DiskIdentity};

/// Wipes the disks of the order at one power level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wipe {
    /// What allows it.
    pub order: Order,
    /// How thoroughly.
    pub level: PowerLevel,
    /// What differs from the level's own way.
    #[serde(default, skip_serializing_if = "WipeOptions::is_default")]
    pub options: WipeOptions,
    /// 32 random bytes as 64 lower-case digits: of canaries, samples and the keyed stream. From the server, so that a
    /// boot which continues after a power cut knows what the one before wrote, and anybody can check a certificate.
    pub seed: Seed,
    /// Disks of the machine that are known to be gone: their lack blocks nothing, and they are listed
    /// as `missing: destroy physically`. None of them is among the disks of the order, and the order's digest is that of
    /// the inventory without them ([`InventoryDigest::without`](crate::InventoryDigest::without)), whether they show up
    /// now and then or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<DiskIdentity>,
    /// What is done beside the disks, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extras: Vec<Extra>,
    /// What an earlier boot began under this same order, oldest first: the steps that its agent journaled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub journal: Vec<WipeStep>,
    /// How the machine goes on when all of it is done and the server has the report. After a failure it waits.
    pub finish: WipeFinish,
}

/// How thoroughly disks are wiped: the power levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PowerLevel {
    /// Nothing is written: says what the other levels would do.
    Idle,
    /// Removes ephemeral state of the installed system only.
    Harbour,
    /// Clears tables and signatures, for re-provisioning.
    Working,
    /// The whole disk: aims at *clear*.
    Full,
    /// The device's own erasure, or several passes: aims at *purge*.
    Redline,
}

/// What differs from a level's own way. The default is the level's own.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own of the command")]
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WipeOptions {
    /// How many passes `redline` writes where the device has no erasure of its own; 3 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passes: Option<u8>,
    /// Lets the device zero ranges by itself; the outcome is then `logical`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub offload: bool,
    /// Reads back every byte instead of a sample.
    #[serde(default, skip_serializing_if = "is_false")]
    pub verify_whole: bool,
    /// Lifts HPA, DCO and AMA first, so that hidden sectors are wiped too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lift_hidden: bool,
    /// Suspends the machine to memory to lift frozen ATA security, before anything is destroyed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unfreeze: bool,
    /// PSIDs printed on the labels of self-encrypting disks, for those of the order that are locked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub psids: Vec<Psid>,
    /// Owners' passwords of self-encrypting disks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sids: Vec<Sid>,
    /// What is done in spite of, disk by disk: without it such a disk is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub despite: Vec<Despite>,
}

/// Something about one disk that its order names, since the disk is refused otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Despite {
    /// The disk's serial number or world wide name.
    pub disk: String,
    /// What.
    pub obstacle: Obstacle,
}

/// Something that keeps a disk from being wiped unless its order names it. A mount, a lock by another program and a disk
/// that is read-only by itself are none of them: nothing gets past those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Obstacle {
    /// The machine's firmware started from it.
    BootMedium,
    /// It carries a signature of storage that machines share: VMFS, GPFS, GFS2, OCFS2, Ceph and others.
    SharedStorage,
    /// Keys of persistent reservations are registered with it, or it does not say.
    Reservations,
    /// It comes over a network.
    Network,
    /// There are several ways to it.
    Multipath,
    /// It can be taken out: USB, cards, a BMC's virtual media.
    Removable,
}

/// The physical security identifier on a disk's label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Psid {
    /// The disk's serial number or world wide name.
    pub disk: String,
    /// 32 characters.
    pub psid: Secret,
}

/// The password of a self-encrypting disk's owner, who is called SID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sid {
    /// The disk's serial number or world wide name.
    pub disk: String,
    /// What the disk is given: 1 to 255 bytes. Programs such as sedutil make that from what a person types.
    pub sid: Secret,
}

/// 32 bytes that all that is random in a wipe is made from: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Seed(pub [u8; 32]);

/// Something that is done beside the disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Extra {
    /// Removes UEFI boot entries whose partition is gone.
    StaleBootEntries,
    /// Empties pstore, where crashed kernels left what was in memory.
    Pstore,
    /// Clears the TPM.
    Tpm,
}

/// How a machine goes on after a wipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WipeFinish {
    /// Switches off.
    PowerOff,
    /// Restarts; the server decides what it boots.
    Reboot,
    /// Stays, and waits for instructions.
    Stay,
}

/// A step that is told to the server before it happens, so that the boot after a power cut knows where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WipeStep {
    /// The disk's number in the order, from 0.
    pub disk: u32,
    /// What is about to happen.
    #[serde(flatten)]
    pub kind: WipeStepKind,
}

/// What is about to happen to a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum WipeStepKind {
    /// Canaries are written; where they are follows from the seed.
    Canaries {},
    /// An ATA password is set, so that the disk can erase itself. It is deterministic, and no secret.
    AtaPassword {
        /// The 32 bytes as hexadecimal digits.
        password: String,
    },
    /// A technique begins.
    Begin {
        /// Which.
        technique: Technique,
    },
    /// All before this offset is done; told from time to time while a pass runs.
    Watermark {
        /// The pass, from 0.
        pass: u32,
        /// The offset.
        bytes: Bytes,
    },
    /// The technique is over, and reading back begins.
    Verify {},
    /// The disk is done.
    Over {
        /// What it came to.
        verdict: Verdict,
    },
    /// Something that a newer agent does.
    #[serde(other)]
    Other,
}

/// A way to remove what is on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Technique {
    /// Removes ephemeral files.
    EphemeralFiles,
    /// Zeroes tables and signatures.
    Signatures,
    /// Has the device discard everything. No erasure.
    Discard,
    /// Has the device zero everything by itself: NVMe and SCSI write zeroes, or what a virtual disk has.
    WriteZeroes,
    /// Writes zeros.
    Zeros,
    /// Writes a stream that follows from the seed.
    KeyedStream,
    /// NVMe Sanitize, block erase.
    NvmeSanitizeBlock,
    /// NVMe Sanitize, crypto erase.
    NvmeSanitizeCrypto,
    /// NVMe Sanitize, overwrite.
    NvmeSanitizeOverwrite,
    /// NVMe Format with crypto erase (SES 2).
    NvmeFormatCrypto,
    /// NVMe Format with user data erase (SES 1).
    NvmeFormatErase,
    /// ATA BLOCK ERASE EXT.
    AtaSanitizeBlock,
    /// ATA CRYPTO SCRAMBLE EXT.
    AtaSanitizeCrypto,
    /// ATA OVERWRITE EXT.
    AtaSanitizeOverwrite,
    /// ATA SECURITY ERASE UNIT, enhanced.
    AtaSecurityEraseEnhanced,
    /// ATA SECURITY ERASE UNIT.
    AtaSecurityErase,
    /// SCSI SANITIZE, block erase.
    ScsiSanitizeBlock,
    /// SCSI SANITIZE, cryptographic erase.
    ScsiSanitizeCrypto,
    /// SCSI SANITIZE, overwrite.
    ScsiSanitizeOverwrite,
    /// SCSI FORMAT UNIT.
    ScsiFormatUnit,
    /// eMMC secure erase.
    MmcSecureErase,
    /// eMMC erase and SANITIZE.
    MmcSanitize,
    /// TCG Opal revert with the PSID.
    OpalPsidRevert,
    /// TCG Opal revert with the SID.
    OpalSidRevert,
    /// Something that a newer agent does.
    #[serde(other)]
    Other,
}

/// What a disk came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// What was asked was reached, and read back.
    Erased,
    /// Less than was asked was reached, or not everywhere; the exceptions say what.
    ErasedWithExceptions,
    /// Data is still there, or nobody can say that it is not.
    NotErased,
    /// The device may still be erasing: nothing else may be tried.
    UnknownStillRunning,
}

/// How far data is gone, in ascending order (IEEE 2883-2022, clause 5; NIST SP 800-88r2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Not at all, or not known.
    None,
    /// Tables and signatures only: `working`.
    Signatures,
    /// The device's addresses read as nothing; what its medium holds is unknown: RAID volumes, virtual disks, offloads.
    Logical,
    /// Every address was overwritten.
    Clear,
    /// The device erased its whole medium.
    Purge,
}

/// How far a wipe is. A later one replaces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WipeProgress {
    /// Which order.
    pub order: OrderId,
    /// Since it was begun.
    pub elapsed_milliseconds: u64,
    /// Each disk, in the order's order.
    pub disks: Vec<DiskProgress>,
}

/// How far one disk is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskProgress {
    /// The kernel's name of it in this boot.
    pub name: String,
    /// What is being done.
    pub phase: WipePhase,
    /// With which technique, while one runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub technique: Option<Technique>,
    /// Done, in this phase; for a device's own erasure in 65,536ths (`total_bytes` is then 65,536).
    pub done_bytes: Bytes,
    /// Of.
    pub total_bytes: Bytes,
    /// In the last seconds; absent while nothing moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<Bytes>,
    /// Until the end of this phase; absent while nobody can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_seconds: Option<u64>,
    /// Places that could not be written or read so far.
    pub bad_ranges: u32,
    /// Once it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// What is being done to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WipePhase {
    /// Waits for its turn, or for all disks to be checked.
    Waiting,
    /// Asks the device what it can.
    Examining,
    /// Writes canaries.
    Marking,
    /// Erases.
    Erasing,
    /// Reads back.
    Verifying,
    /// It is over.
    Over,
    /// Something that a newer agent does.
    #[serde(other)]
    Other,
}

impl WipeOptions {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

// Serde hands a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl PowerLevel {
    /// Holds when what is on the disks is gone afterwards.
    pub fn destroys(self) -> bool {
        match self {
            Self::Idle | Self::Harbour => false,
            Self::Working | Self::Full | Self::Redline => true,
        }
    }

    /// Returns what the level aims at.
    pub fn asked(self) -> Outcome {
        match self {
            Self::Idle | Self::Harbour => Outcome::None,
            Self::Working => Outcome::Signatures,
            Self::Full => Outcome::Clear,
            Self::Redline => Outcome::Purge,
        }
    }
}

/// Returns a value as canonical JSON, which signatures are made over: keys sorted, no spaces, only whole numbers.
/// Whoever reads such a text and writes it again gets the same bytes.
pub fn canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    // Its maps are sorted.
    serde_json::to_vec(&serde_json::to_value(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(json: &str) -> WipeStep {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_canonical_text_is_sorted_and_reads_back_to_itself() {
        let step = step(r#"{"step": "watermark", "pass": 1, "disk": 3, "bytes": 4096}"#);
        let text = canonical(&step).unwrap();
        assert_eq!(text, br#"{"bytes":4096,"disk":3,"pass":1,"step":"watermark"}"#);
        let back: WipeStep = serde_json::from_slice(&text).unwrap();
        assert_eq!((canonical(&back).unwrap(), back), (text, step));
    }

    #[test]
    fn what_a_newer_agent_does_is_kept_as_something_else() {
        let newer = step(r#"{"disk": 0, "step": "melt", "degrees": 1500}"#);
        assert_eq!(newer.kind, WipeStepKind::Other);
    }

    #[test]
    fn a_half_understood_wipe_is_none() {
        let order = r#"{"id":"00000000000000000000000000000001","by":"a","machine":{},"disks":[],"deadlineUnixMilliseconds":1,
            "inventory":"0000000000000000000000000000000000000000000000000000000000000000"}"#;
        let seed = "1".repeat(64);
        let wipe = |more: &str| {
            serde_json::from_str::<Wipe>(&format!(
                r#"{{"order":{order},"level":"working","seed":"{seed}","finish":"stay"{more}}}"#
            ))
        };
        assert_eq!(wipe("").unwrap().level, PowerLevel::Working);
        for more in [r#","twice":true"#, r#","options":{"quick":true}"#, r#","extras":["bios"]"#] {
            assert!(wipe(more).is_err(), "{more}");
        }
    }
}
