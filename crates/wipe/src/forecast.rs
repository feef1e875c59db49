//! What each level would do to a disk, and what stands in the way: pure, from what the device said of itself. Destroys
//! nothing, and asks nobody.

use std::time::Duration;

use protocol::wipe::{
    DiskForecast, Exception, LevelForecast, MediumWord, Outcome, PowerLevel, Technique,
    VerificationPlan, WayForecast, WipeOptions,
};

use crate::{
    firmware::{Examined, Hiding, Obstacle, Reach},
    harbour,
    plan::{self, Facts, MANY_SAMPLES, MediumKind, Plan, Way},
    verdict::exception,
};

/// The levels that do something, in ascending order.
pub const LEVELS: [PowerLevel; 4] =
    [PowerLevel::Harbour, PowerLevel::Working, PowerLevel::Full, PowerLevel::Redline];

/// Why a disk behind a USB bridge is asked nothing, and told nothing but to read and write.
pub const USB_UNASKED: &str = "it is behind a USB bridge, and some hang at such questions";

/// How many notes of a look are told.
const NOTES: usize = 64;

/// How long clearing tables and signatures takes: some hundred places at the most, as a rule.
const SIGNATURES_SECONDS: u64 = 10;

/// What is known of a disk.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Clone)]
pub struct Known<'k> {
    /// What it says of itself.
    pub examined: &'k Examined,
    /// What lies behind its addresses.
    pub kind: MediumKind,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Whether it is an NVMe disk.
    pub is_nvme: bool,
    /// Whether the kernel can have it discard ranges.
    pub discards: bool,
    /// Whether its zones can only be written from their start on.
    pub is_zoned: bool,
    /// How far its own erasure may reach.
    pub may: Reach,
    /// What differs from the levels' own ways.
    pub options: &'k WipeOptions,
    /// Whether the order has its PSID.
    pub has_psid: bool,
}

/// Says what each level would do.
pub fn forecast(known: &Known<'_>) -> DiskForecast {
    let mut obstacles: Vec<Exception> = known
        .examined
        .obstacles
        .iter()
        .map(|obstacle| {
            let (code, words, _) = words(obstacle);
            exception(code, &words)
        })
        .collect();
    if known.examined.running.is_some() {
        let words = "it is erasing itself: every level would wait for the end of that first";
        obstacles.push(exception("running", words));
    }
    if known.examined.is_sanitize_failed {
        let words = "its last sanitize failed: until another one succeeds it may refuse everything";
        obstacles.push(exception("sanitizeFailed", words));
    }
    let has = |technique| known.examined.techniques.iter().any(|one| one.technique == technique);
    let is_open = !known.examined.obstacles.contains(&Obstacle::OpalLocked);
    if has(Technique::OpalPsidRevert) && is_open && !known.has_psid {
        let words = "it could also be reverted with the PSID on its label (--psid), which purges";
        obstacles.push(exception("psid", words));
    }
    DiskForecast {
        medium: match known.kind {
            MediumKind::Magnetic => MediumWord::Magnetic,
            MediumKind::Flash => MediumWord::Flash,
            MediumKind::Virtual => MediumWord::Unknown,
        },
        levels: LEVELS.into_iter().map(|one| level(one, known)).collect(),
        obstacles,
        not_asked: Vec::new(),
    }
}

fn level(level: PowerLevel, known: &Known<'_>) -> LevelForecast {
    let (examined, options) = (known.examined, known.options);
    let usable = examined.techniques.iter().filter(|one| {
        (known.may == Reach::Everything || one.reach == Reach::Addressed)
            && may_begin(one.technique, known)
    });
    let mut facts = Facts {
        medium: known.kind,
        offered: usable.map(|one| one.technique).collect(),
        is_writable: !known.is_zoned && !examined.obstacles.iter().any(Obstacle::is_shut),
        discards: known.discards,
    };
    let mut plan = plan::plan(level, options, &facts);
    let opener = opener(&plan, examined);
    if opener.is_some() {
        // As the wipe plans anew once the disk is open.
        let is_shut = |one: &Obstacle| one.is_shut() && *one != Obstacle::OpalLocked;
        facts.is_writable = !known.is_zoned && !examined.obstacles.iter().any(is_shut);
        facts.offered.retain(|one| !is_revert(*one));
        plan = plan::plan(level, options, &facts);
    }
    if known.is_zoned {
        plan.ways.retain(|way| matches!(way, Way::Device(_)));
    }
    let ways: Vec<WayForecast> =
        plan.ways.iter().map(|way| opened(opener, told(way, &plan.read_back, known))).collect();
    let is_whole = plan.ways.first().is_some_and(|way| match way {
        Way::Device(technique) => examined
            .techniques
            .iter()
            .any(|one| one.technique == *technique && one.reach == Reach::Everything),
        _ => false,
    });
    let hinders = |obstacle: &&Obstacle| match words(obstacle).2 {
        Hinders::Nothing => false,
        // What can be neither read nor written: only the device's own way gets past it.
        Hinders::All => {
            opener.is_none() && !plan.ways.iter().any(|way| matches!(way, Way::Device(_)))
        }
        Hinders::Whole => level >= PowerLevel::Full && !is_whole,
        Hinders::Purge => {
            level == PowerLevel::Redline
                && ways.first().is_none_or(|way| way.reaches < Outcome::Purge)
        }
    };
    let mut in_the_way: Vec<String> =
        examined.obstacles.iter().filter(hinders).map(|obstacle| words(obstacle).1).collect();
    if known.is_zoned && ways.is_empty() {
        in_the_way.push("its zones (host-managed) are only erased by the disk itself".to_owned());
    }
    LevelForecast {
        level,
        asked: level.asked(),
        reaches: ways.first().map_or(Outcome::None, |way| way.reaches),
        ways,
        in_the_way,
        would_remove: None,
        notes: Vec::new(),
    }
}

/// Returns what opens a disk first that TCG Opal has locked. It takes no marks before, so that nothing shows whether that
/// erased it: what is done once it is open counts.
fn opener(plan: &Plan, examined: &Examined) -> Option<Technique> {
    let revert = plan.ways.iter().find_map(|way| match way {
        Way::Device(technique) if is_revert(*technique) => Some(*technique),
        _ => None,
    });
    revert.filter(|_| examined.obstacles.contains(&Obstacle::OpalLocked))
}

fn is_revert(technique: Technique) -> bool {
    matches!(technique, Technique::OpalPsidRevert | Technique::OpalSidRevert)
}

fn opened(opener: Option<Technique>, way: WayForecast) -> WayForecast {
    let Some(opener) = opener else { return way };
    let words = format!("{}, which opens it, then {}", command(opener), way.words);
    let techniques = std::iter::once(opener).chain(way.techniques).collect();
    WayForecast { techniques, words, ..way }
}

/// Holds unless it is clear from what the device says that the technique would be refused.
fn may_begin(technique: Technique, known: &Known<'_>) -> bool {
    let is_there = |wanted: &Obstacle| known.examined.obstacles.contains(wanted);
    match technique {
        Technique::OpalPsidRevert => known.has_psid,
        Technique::AtaSecurityErase | Technique::AtaSecurityEraseEnhanced => {
            (!is_there(&Obstacle::Frozen) || known.options.unfreeze)
                && !is_there(&Obstacle::Locked)
                && !is_there(&Obstacle::PasswordAttemptsExpired)
        }
        Technique::AtaSanitizeBlock
        | Technique::AtaSanitizeCrypto
        | Technique::AtaSanitizeOverwrite => {
            !is_there(&Obstacle::SanitizeFrozen) || known.options.unfreeze
        }
        _ => true,
    }
}

fn told(way: &Way, read_back: &VerificationPlan, known: &Known<'_>) -> WayForecast {
    // What disks of the kind write or read in a second, as their makers say, and how many places of them.
    let (rate, places): (u64, u64) = match (known.kind, known.is_nvme) {
        (MediumKind::Magnetic, _) => (150_000_000, 100),
        (MediumKind::Flash, true) => (1_000_000_000, 10_000),
        (MediumKind::Flash, false) => (400_000_000, 5_000),
        (MediumKind::Virtual, _) => (200_000_000, 5_000),
    };
    let pass = known.size_bytes / rate;
    let reading = match read_back {
        VerificationPlan::Whole {} => pass,
        VerificationPlan::Sample { .. } => pass.min(MANY_SAMPLES / places),
        VerificationPlan::Probe {} => 0,
    };
    let back = match read_back {
        VerificationPlan::Whole {} => "reading all of it back",
        VerificationPlan::Sample { .. } => "reading back a sample",
        VerificationPlan::Probe {} => "looking for what is left",
    };
    let (techniques, words, seconds) = match way {
        Way::Ephemeral => (
            vec![Technique::EphemeralFiles],
            "removing ephemeral files of installed systems".to_owned(),
            None,
        ),
        Way::Signatures { discard: false } => (
            vec![Technique::Signatures],
            format!("zeroing tables and signatures, then {back}"),
            Some(SIGNATURES_SECONDS),
        ),
        Way::Signatures { discard: true } => (
            vec![Technique::Signatures, Technique::Discard],
            format!("zeroing tables and signatures, discarding all of it, then {back}"),
            None,
        ),
        Way::Device(technique) => {
            let offered = known.examined.techniques.iter().find(|one| one.technique == *technique);
            let time = offered.and_then(|one| one.estimate).as_ref().map(Duration::as_secs);
            let words = format!("{}, then {back}", command(*technique));
            (vec![*technique], words, time.map(|time| time.saturating_add(reading)))
        }
        Way::Offload => (
            vec![Technique::WriteZeroes],
            format!("having the disk zero itself (WRITE ZEROES), then {back}"),
            None,
        ),
        Way::Passes(count) => {
            let mut techniques = vec![Technique::KeyedStream; usize::from(*count).max(1) - 1];
            techniques.push(Technique::Zeros);
            let over = match count {
                0 | 1 => "writing zeros over all of it".to_owned(),
                2 => "writing a keyed stream and then zeros over all of it".to_owned(),
                3 => "writing a keyed stream twice and then zeros over all of it".to_owned(),
                more => format!(
                    "writing a keyed stream {} times and then zeros over all of it",
                    more - 1
                ),
            };
            let seconds = pass.saturating_mul(u64::from(*count)).saturating_add(reading);
            (techniques, format!("{over}, then {back}"), Some(seconds))
        }
    };
    WayForecast { techniques, words, seconds, reaches: way.reaches(known.kind) }
}

/// Returns what the specification calls a device's own way.
fn command(technique: Technique) -> &'static str {
    match technique {
        Technique::NvmeSanitizeBlock => "NVMe Sanitize, block erase",
        Technique::NvmeSanitizeCrypto => "NVMe Sanitize, crypto erase",
        Technique::NvmeSanitizeOverwrite => "NVMe Sanitize, overwrite",
        Technique::NvmeFormatCrypto => "NVMe Format NVM, cryptographic erase (SES 2)",
        Technique::NvmeFormatErase => "NVMe Format NVM, user data erase (SES 1)",
        Technique::AtaSanitizeBlock => "ATA BLOCK ERASE EXT",
        Technique::AtaSanitizeCrypto => "ATA CRYPTO SCRAMBLE EXT",
        Technique::AtaSanitizeOverwrite => "ATA OVERWRITE EXT",
        Technique::AtaSecurityEraseEnhanced => "ATA SECURITY ERASE UNIT, enhanced",
        Technique::AtaSecurityErase => "ATA SECURITY ERASE UNIT",
        Technique::ScsiSanitizeBlock => "SCSI SANITIZE, block erase",
        Technique::ScsiSanitizeCrypto => "SCSI SANITIZE, cryptographic erase",
        Technique::ScsiSanitizeOverwrite => "SCSI SANITIZE, overwrite",
        Technique::ScsiFormatUnit => "SCSI FORMAT UNIT",
        Technique::MmcSecureErase => "eMMC secure erase",
        Technique::MmcSanitize => "eMMC erase and SANITIZE",
        Technique::OpalPsidRevert => "TCG Opal revert with the PSID",
        Technique::OpalSidRevert => "TCG Opal revert with the SID",
        Technique::EphemeralFiles
        | Technique::Signatures
        | Technique::Discard
        | Technique::WriteZeroes
        | Technique::Zeros
        | Technique::KeyedStream
        | Technique::Other => "a way of ours",
    }
}

/// What an obstacle keeps from being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hinders {
    /// It is only told.
    Nothing,
    /// Reading and writing.
    All,
    /// Reaching all that the device holds.
    Whole,
    /// The device's own erasure.
    Purge,
}

fn words(obstacle: &Obstacle) -> (&'static str, String, Hinders) {
    match obstacle {
        Obstacle::Locked => {
            ("locked", "it is locked with an ATA password".to_owned(), Hinders::All)
        }
        Obstacle::OpalLocked => {
            let words = "it is locked by TCG Opal: order it with the PSID on its label (--psid)";
            ("locked", words.to_owned(), Hinders::All)
        }
        Obstacle::WriteProtected => {
            ("writeProtected", "it refuses to be written to".to_owned(), Hinders::All)
        }
        Obstacle::PasswordSet => {
            ("passwordSet", "an ATA password is set".to_owned(), Hinders::Nothing)
        }
        Obstacle::Frozen => {
            let words = "ATA security is frozen: its own erasure needs --unfreeze";
            ("frozen", words.to_owned(), Hinders::Purge)
        }
        Obstacle::SanitizeFrozen => {
            let words = "ATA SANITIZE is frozen until the next power cycle";
            ("frozen", words.to_owned(), Hinders::Purge)
        }
        Obstacle::PasswordAttemptsExpired => {
            let words = "too many wrong ATA passwords were tried: switch the machine off and on";
            ("locked", words.to_owned(), Hinders::Purge)
        }
        Obstacle::Hidden { by, native_bytes, accessible_bytes } => {
            let by = match by {
                Hiding::Hpa => "the host protected area",
                Hiding::Dco => "the device configuration overlay",
                Hiding::Ama => "the accessible maximum address",
            };
            let hidden = native_bytes.saturating_sub(*accessible_bytes);
            let words = format!("{hidden} bytes are hidden by {by}: --lift-hidden is for those");
            ("hiddenSectors", words, Hinders::Whole)
        }
        Obstacle::Bridge { words } => {
            let words = format!("what stands between passes no erasure of its own on: {words}");
            ("bridge", words, Hinders::Purge)
        }
        Obstacle::NamespacesBeside { nsids } => {
            let nsids: Vec<String> = nsids.iter().map(u32::to_string).collect();
            let words =
                format!("namespaces {} are beside it: a sanitize erases all", nsids.join(", "));
            ("namespaces", words, Hinders::Nothing)
        }
        Obstacle::Unallocated { bytes } => {
            let words = format!("{bytes} bytes belong to no namespace: only a sanitize gets there");
            ("unallocated", words, Hinders::Whole)
        }
        Obstacle::Sectors { data_bytes, metadata_bytes, is_protected } => {
            let protected = if *is_protected { ", with protection information" } else { "" };
            let words = format!(
                "its sectors have {data_bytes} bytes of data and {metadata_bytes} of metadata{protected}"
            );
            ("sectors", words, Hinders::Nothing)
        }
        Obstacle::UnreadableAfterSanitize => {
            let words = "after a sanitize its sectors cannot be read before they are written";
            ("unreadable", words.to_owned(), Hinders::Nothing)
        }
    }
}

/// Adds what a look says that `harbour` would do.
pub fn add_look(forecast: &mut DiskForecast, look: &harbour::Report) {
    let harbour = forecast.levels.iter_mut().find(|one| one.level == PowerLevel::Harbour);
    let Some(harbour) = harbour else { return };
    harbour.would_remove = Some(look.filesystems());
    let mut notes = look.exceptions();
    let more = notes.len().saturating_sub(NOTES);
    if more > 0 {
        notes.truncate(NOTES - 1);
        notes.push(exception("more", &format!("and {} notes more", more + 1)));
    }
    harbour.notes = notes;
    if let Some(stopped) = look.stopped {
        forecast.not_asked.push(format!("not all that harbour would remove: {stopped}"));
    }
}

#[cfg(test)]
mod tests;
