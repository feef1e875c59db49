//! Which disk: by its own name, or by a rule that is resolved once to one disk that a person sees (SAFETY.md 6, 7, 9).

use std::{fmt, str::FromStr};

use protocol::{
    Bytes, Inventory,
    inventory::{Content, Disk, Signature, Transport},
    order::DiskIdentity,
    wipe::Obstacle,
};
use serde::{Deserialize, Serialize};

use super::plan::Sizing;
use crate::machine::evidence;

/// How a person says which disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Choice {
    /// By what is written on it: serial number, WWN, EUI-64, NGUID, or its name below `/dev/disk/by-id`.
    Named(String),
    /// By a rule: `smallest`, `largest`, `only`, with conditions: `smallest:nvme,blank`.
    Rule(Rule, Vec<Condition>),
}

/// A rule that chooses one disk of several. A tie chooses none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The smallest that the image fits on.
    Smallest,
    /// The largest.
    Largest,
    /// The only one.
    Only,
}

/// What a disk must be for a rule to look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Attached in this way.
    Attached(Transport),
    /// Without (`ssd`) or with (`hdd`) a medium that rotates.
    Rotates(bool),
    /// With nothing on it.
    Blank,
}

const RULES: [(&str, Rule); 3] =
    [("smallest", Rule::Smallest), ("largest", Rule::Largest), ("only", Rule::Only)];

const CONDITIONS: [(&str, Condition); 9] = [
    ("nvme", Condition::Attached(Transport::Nvme)),
    ("sata", Condition::Attached(Transport::Ata)),
    ("sas", Condition::Attached(Transport::Scsi)),
    ("virtio", Condition::Attached(Transport::Virtio)),
    ("raid", Condition::Attached(Transport::Raid)),
    ("mmc", Condition::Attached(Transport::Mmc)),
    ("ssd", Condition::Rotates(false)),
    ("hdd", Condition::Rotates(true)),
    ("blank", Condition::Blank),
];

/// The disk that an order is about, as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChosenDisk {
    /// How the server calls it.
    pub identity: String,
    /// Everything that tells it from others.
    pub named: DiskIdentity,
    /// Whether there is anything on it, or it could not be read.
    pub has_data: bool,
    /// What was recognised on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
}

/// Why no disk was chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// The text names neither a disk nor a rule.
    #[error(
        "this names no disk: {0:?}; say a serial number, WWN, EUI, NGUID or by-id name, or smallest, largest, only, \
         with conditions after a colon: {conditions}",
        conditions = CONDITIONS.map(|(word, _)| word).join(", ")
    )]
    Nonsense(String),
    /// A name that the kernel gives anew at each boot.
    #[error(
        "{0} is the kernel's name of a disk and another disk's tomorrow: name it by serial number, WWN, EUI, NGUID \
         or by-id name, as drydock machines show has it"
    )]
    KernelName(String),
    /// The machine has no such disk.
    #[error("the machine has no disk of this name: {0}")]
    Unknown(String),
    /// Several disks of the machine have this name.
    #[error("{count} disks of the machine answer to this name: {name}")]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// How many.
        count: usize,
    },
    /// No disk is what the rule asks for.
    #[error("the machine has no disk for this rule: {0}")]
    NoneFits(String),
    /// Several disks are.
    #[error("the rule does not say which of these disks: {}", .0.join(", "))]
    Tie(Vec<String>),
    /// Nothing tells it from other disks.
    #[error(
        "nothing tells this disk from others, because it has no serial number or one that many disks have: \
         {0}; such a disk is ordered only at the machine's own console"
    )]
    NoIdentity(String),
    /// Another disk shows the same name.
    #[error("this disk's name is not its alone, {shown_by} shows it too: {disk}")]
    NotUnique {
        /// The disk.
        disk: String,
        /// Which machine shows it too.
        shown_by: String,
    },
    /// It may be another machine's tomorrow.
    #[error("on USB or a medium that can be taken out, so no disk to install on: {0}")]
    Portable(String),
    /// Others may use it.
    #[error("a disk over a network, which other machines may use: {0}")]
    Network(String),
    /// It cannot be written.
    #[error("this disk can only be read: {0}")]
    ReadOnly(String),
    /// It has something on it.
    #[error("there is something on this disk ({holds}), and --overwrite was not said: {disk}")]
    HasData {
        /// The disk.
        disk: String,
        /// What.
        holds: String,
    },
    /// It belongs together with others.
    #[error(
        "this disk is part of {kind} {uuid} together with {other}, which the order does not name: {disk}; \
         wipe them first, together"
    )]
    Shared {
        /// The disk.
        disk: String,
        /// What it is part of.
        kind: String,
        /// Which one.
        uuid: String,
        /// Another part.
        other: String,
    },
    /// Several machines may write to it at once.
    #[error("this disk carries {kind}, which several machines may use at once: {disk}")]
    SharedStorage {
        /// The disk.
        disk: String,
        /// What it carries.
        kind: String,
    },
    /// The image is larger.
    #[error("the image needs {needs}, this disk has {has}: {disk}")]
    TooSmall {
        /// The disk.
        disk: String,
        /// What the image needs.
        needs: Bytes,
        /// What there is.
        has: Bytes,
    },
    /// The image was made for another kind of disk.
    #[error(
        "the image was made for sectors of {image} bytes, this disk has sectors of {has}: {disk}"
    )]
    SectorSize {
        /// The disk.
        disk: String,
        /// The image's.
        image: u32,
        /// The disk's.
        has: u32,
    },
}

/// What several disks hold together: to write one is to break all.
const TOGETHER: [&str; 4] = ["md", "zfs", "btrfs", "bcachefs"];
/// What several machines may use at once.
const SHARED: [&str; 4] = ["vmfs", "gfs2", "ocfs2", "vmfs-volume"];

/// Chooses one disk of a machine. `shown_by` says which machines show a disk of this identity, once for each such disk.
pub(super) fn choose(
    choice: &Choice,
    inventory: &Inventory,
    overwrite: bool,
    sizing: &Sizing,
    shown_by: impl Fn(&str) -> Vec<String>,
) -> Result<ChosenDisk, ChoiceError> {
    let present: Vec<&Disk> =
        inventory.disks.iter().filter(|disk| disk.size_bytes != Bytes(0)).collect();
    let disk = resolve(choice, &present, sizing)?;
    let siblings: Vec<&Disk> =
        present.iter().copied().filter(|other| !std::ptr::eq(*other, disk)).collect();
    let terms = if overwrite { Terms::Overwrite } else { Terms::BlankOnly };
    check(disk, &siblings, terms, &[], sizing, shown_by)
}

/// Finds the one disk that is meant.
fn resolve<'a>(
    choice: &Choice,
    present: &[&'a Disk],
    sizing: &Sizing,
) -> Result<&'a Disk, ChoiceError> {
    match choice {
        Choice::Named(name) => by_name(name, present),
        Choice::Rule(rule, conditions) => {
            by_rule(*rule, conditions, present, sizing, &choice.to_string())
        }
    }
}

/// Refuses a disk on which the order may not touch anything. `siblings` are those that the order leaves alone, `despite`
/// is what it names against this disk.
fn check(
    disk: &Disk,
    siblings: &[&Disk],
    terms: Terms,
    despite: &[Obstacle],
    sizing: &Sizing,
    shown_by: impl Fn(&str) -> Vec<String>,
) -> Result<ChosenDisk, ChoiceError> {
    let words = words(disk);
    let identity =
        evidence::disk_identity(disk).ok_or_else(|| ChoiceError::NoIdentity(words.clone()))?;
    let shown_by = shown_by(&identity);
    if let [_, another, ..] = shown_by.as_slice() {
        return Err(ChoiceError::NotUnique { disk: words, shown_by: another.clone() });
    }
    let has_data = !matches!(&disk.content, Some(Content { blank: true, .. }));
    let holds = holds(disk);
    let chosen = ChosenDisk { identity, named: DiskIdentity::of(disk), has_data, holds };
    if terms == Terms::Look {
        return Ok(chosen);
    }
    may_be_written(disk, &words, despite)?;
    fits(disk, &words, sizing)?;
    stands_alone(disk, &words, siblings.iter().copied(), despite)?;
    if has_data && terms == Terms::BlankOnly {
        let holds = if chosen.holds.is_empty() {
            "not recognised".to_owned()
        } else {
            chosen.holds.join(", ")
        };
        return Err(ChoiceError::HasData { disk: words, holds });
    }
    Ok(chosen)
}

/// Chooses several disks of a machine, each once, in the machine's order: those that are named, or all fixed ones.
/// Returns them, and those that are left alone. Disks over a network, read-only ones and those that can be taken out
/// are not among all; what has no identity is, and is refused.
pub(in crate::machine) fn choose_all<'a>(
    choices: Option<&[Choice]>,
    inventory: &'a Inventory,
    terms: Terms,
    despite: impl Fn(&Disk) -> Vec<Obstacle>,
    shown_by: impl Fn(&str) -> Vec<String>,
) -> Result<(Vec<Found<'a>>, Vec<&'a Disk>), ChoiceError> {
    let sizing = Sizing::default();
    let present: Vec<&Disk> =
        inventory.disks.iter().filter(|disk| disk.size_bytes != Bytes(0)).collect();
    let meant: Vec<&Disk> = match choices {
        None => {
            present.iter().copied().filter(|disk| may_be_written(disk, "", &[]).is_ok()).collect()
        }
        Some(choices) => choices
            .iter()
            .map(|choice| resolve(choice, &present, &sizing))
            .collect::<Result<_, _>>()?,
    };
    let is_meant = |disk: &&&Disk| meant.iter().any(|one| std::ptr::eq(*one, **disk));
    let chosen: Vec<&Disk> = present.iter().filter(is_meant).copied().collect();
    let others: Vec<&Disk> = present.iter().filter(|disk| !is_meant(disk)).copied().collect();
    let checked = |disk: &&'a Disk| {
        check(disk, &others, terms, &despite(disk), &sizing, &shown_by)
            .map(|chosen| (chosen, *disk))
    };
    let chosen = chosen.iter().map(checked).collect::<Result<_, _>>()?;
    Ok((chosen, others))
}

/// A disk that was chosen, with what the inventory says of it.
pub(in crate::machine) type Found<'a> = (ChosenDisk, &'a Disk);

/// What may be done to a disk that is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::machine) enum Terms {
    /// It is looked at, and nothing is written.
    Look,
    /// Only a blank one is written.
    BlankOnly,
    /// What is on it may be destroyed.
    Overwrite,
}

fn by_name<'a>(name: &str, disks: &[&'a Disk]) -> Result<&'a Disk, ChoiceError> {
    let short = name.strip_prefix("/dev/disk/by-id/").unwrap_or(name);
    let is_kernels = |disk: &&Disk| disk.name == short;
    if short.starts_with("/dev/") || disks.iter().any(is_kernels) {
        return Err(ChoiceError::KernelName(name.to_owned()));
    }
    let found: Vec<&Disk> = disks.iter().copied().filter(|disk| is_called(disk, short)).collect();
    match found.as_slice() {
        [] => Err(ChoiceError::Unknown(name.to_owned())),
        [disk] => Ok(disk),
        several => Err(ChoiceError::Ambiguous { name: name.to_owned(), count: several.len() }),
    }
}

fn is_called(disk: &Disk, name: &str) -> bool {
    let is = |text: &str| text.trim().eq_ignore_ascii_case(name);
    let is_wide = |text: &Option<String>| {
        text.as_deref().is_some_and(|text| digits(text).eq_ignore_ascii_case(digits(name)))
    };
    disk.serial.as_deref().is_some_and(is)
        || disk.by_id.iter().any(|link| is(link))
        || evidence::disk_identity(disk).as_deref().is_some_and(is)
        || [&disk.wwn, &disk.eui64, &disk.nguid].into_iter().any(is_wide)
}

/// Takes off what people and tools write before the digits of a wide name.
fn digits(text: &str) -> &str {
    const BEFORE: [&str; 8] = ["wwn-", "wwn:", "eui:", "nguid:", "nvme-", "eui.", "naa.", "0x"];
    let mut rest = text.trim();
    while let Some(shorter) = BEFORE.iter().find_map(|before| rest.strip_prefix(before)) {
        rest = shorter;
    }
    rest
}

/// Looks only at disks that could be written at all and that the image fits on; which of them has data is not asked:
/// the same rule must not choose another disk because one was filled.
fn by_rule<'a>(
    rule: Rule,
    conditions: &[Condition],
    disks: &[&'a Disk],
    sizing: &Sizing,
    text: &str,
) -> Result<&'a Disk, ChoiceError> {
    let candidates: Vec<&Disk> = disks
        .iter()
        .copied()
        .filter(|disk| may_be_written(disk, "", &[]).is_ok() && fits(disk, "", sizing).is_ok())
        .filter(|disk| conditions.iter().all(|condition| condition.holds(disk)))
        .collect();
    let sizes = candidates.iter().map(|disk| disk.size_bytes);
    let wanted = match rule {
        Rule::Smallest => sizes.min(),
        Rule::Largest => sizes.max(),
        Rule::Only => None,
    };
    let chosen: Vec<&Disk> = candidates
        .into_iter()
        .filter(|disk| wanted.is_none_or(|wanted| disk.size_bytes == wanted))
        .collect();
    match chosen.as_slice() {
        [] => Err(ChoiceError::NoneFits(text.to_owned())),
        [disk] => Ok(disk),
        several => Err(ChoiceError::Tie(several.iter().map(|disk| words(disk)).collect())),
    }
}

impl Condition {
    fn holds(self, disk: &Disk) -> bool {
        match self {
            Self::Attached(transport) => disk.transport == Some(transport),
            Self::Rotates(rotates) => disk.rotational == Some(rotates),
            Self::Blank => matches!(&disk.content, Some(Content { blank: true, .. })),
        }
    }
}

fn may_be_written(disk: &Disk, words: &str, despite: &[Obstacle]) -> Result<(), ChoiceError> {
    if evidence::is_portable(disk) && !despite.contains(&Obstacle::Removable) {
        Err(ChoiceError::Portable(words.to_owned()))
    } else if disk.transport == Some(Transport::Network) && !despite.contains(&Obstacle::Network) {
        Err(ChoiceError::Network(words.to_owned()))
    } else if disk.read_only == Some(true) {
        Err(ChoiceError::ReadOnly(words.to_owned()))
    } else {
        Ok(())
    }
}

fn fits(disk: &Disk, words: &str, sizing: &Sizing) -> Result<(), ChoiceError> {
    if let Some(needs) = sizing.smallest_disk.filter(|needs| *needs > disk.size_bytes) {
        let (disk, has) = (words.to_owned(), disk.size_bytes);
        return Err(ChoiceError::TooSmall { disk, needs, has });
    }
    if let (Some(image), Some(has)) = (sizing.sector_bytes, disk.logical_sector_bytes)
        && image != has
    {
        return Err(ChoiceError::SectorSize { disk: words.to_owned(), image, has });
    }
    Ok(())
}

fn stands_alone<'a>(
    disk: &Disk,
    words: &str,
    siblings: impl Iterator<Item = &'a Disk>,
    despite: &[Obstacle],
) -> Result<(), ChoiceError> {
    if let Some(shared) = signatures(disk).find(|found| SHARED.contains(&found.kind.as_str()))
        && !despite.contains(&Obstacle::SharedStorage)
    {
        let (disk, kind) = (words.to_owned(), shared.kind.clone());
        return Err(ChoiceError::SharedStorage { disk, kind });
    }
    for other in siblings {
        for part in signatures(disk).filter(|found| TOGETHER.contains(&found.kind.as_str())) {
            let is_same = |found: &Signature| found.kind == part.kind && found.uuid == part.uuid;
            if let Some(uuid) = &part.uuid
                && signatures(other).any(is_same)
            {
                let (disk, kind, uuid) = (words.to_owned(), part.kind.clone(), uuid.clone());
                return Err(ChoiceError::Shared { disk, kind, uuid, other: self::words(other) });
            }
        }
    }
    Ok(())
}

/// Lists what was recognised on a disk and in its partitions.
pub(in crate::machine) fn signatures(disk: &Disk) -> impl Iterator<Item = &Signature> {
    let content = disk.content.iter();
    content.flat_map(|content| {
        let inside = content.partitions.iter().flat_map(|partition| &partition.signatures);
        content.signatures.iter().chain(inside)
    })
}

fn holds(disk: &Disk) -> Vec<String> {
    if disk.content.is_none() {
        return vec!["could not be read".to_owned()];
    }
    let mut holds: Vec<String> = Vec::new();
    for found in signatures(disk) {
        let label = found.label.as_deref().map(|label| format!(" {label:?}")).unwrap_or_default();
        let text = format!("{}{label}", found.kind);
        if !holds.contains(&text) {
            holds.push(text);
        }
    }
    holds
}

/// Calls a disk by everything that a person may read on it.
pub(in crate::machine) fn words(disk: &Disk) -> String {
    let model = disk.model.as_deref().unwrap_or("disk").trim();
    let serial = disk.serial.as_deref().map(|serial| format!(" {}", serial.trim()));
    format!("{model}{}, {}", serial.unwrap_or_default(), disk.size_bytes)
}

impl FromStr for Choice {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let nonsense = || ChoiceError::Nonsense(text.to_owned());
        let (word, conditions) = text.split_once(':').unwrap_or((text, ""));
        let Some((_, rule)) = RULES.iter().find(|(name, _)| *name == word) else {
            let is_name = !text.trim().is_empty();
            return is_name.then(|| Self::Named(text.trim().to_owned())).ok_or_else(nonsense);
        };
        let find = |word: &str| {
            let found = CONDITIONS.iter().find(|(name, _)| *name == word);
            found.map(|(_, condition)| *condition).ok_or_else(nonsense)
        };
        let words = conditions.split(',').filter(|_| text.contains(':'));
        Ok(Self::Rule(*rule, words.map(find).collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rule, conditions) = match self {
            Self::Named(name) => return f.write_str(name),
            Self::Rule(rule, conditions) => (rule, conditions),
        };
        let name = RULES.iter().find(|(_, known)| known == rule).map_or("", |(name, _)| *name);
        f.write_str(name)?;
        for (index, condition) in conditions.iter().enumerate() {
            let word = CONDITIONS.iter().find(|(_, known)| known == condition);
            let between = if index == 0 { ':' } else { ',' };
            write!(f, "{between}{}", word.map_or("", |(word, _)| *word))?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Choice {
    type Error = ChoiceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Choice> for String {
    fn from(choice: Choice) -> Self {
        choice.to_string()
    }
}

#[cfg(test)]
mod tests;
