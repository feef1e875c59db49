//! What the server itself would refuse of the disks of an order of `idle`, level by level: their agent knows nothing of it.

use protocol::{
    order::DiskIdentity,
    wipe::{PowerLevel, WipeFinish},
};
use serde::{Deserialize, Serialize};

use super::{WipePlan, WipeRefusal, WipeRequest};
use crate::machine::{
    DiskOrder,
    install::{Choice, ChoiceError, InstallRefusal},
};

/// The levels that do something.
const LEVELS: [PowerLevel; 4] =
    [PowerLevel::Harbour, PowerLevel::Working, PowerLevel::Full, PowerLevel::Redline];

/// Why an order of a level would not be taken now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Against {
    /// The level.
    pub level: PowerLevel,
    /// The disk; absent where it is so with every disk of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskIdentity>,
    /// Why, for a person.
    pub words: String,
}

impl Against {
    /// Says of every level that it would be refused for a reason that has nothing to do with the machine.
    pub(in crate::machine) fn all(words: &str) -> impl Iterator<Item = Self> {
        LEVELS.into_iter().map(move |level| Self { level, disk: None, words: words.to_owned() })
    }
}

/// Tries each level with the disks of an order, as if it said that what is on them may go. `plan` says why one is refused.
pub(in crate::machine) fn against(
    order: &DiskOrder,
    plan: impl Fn(&WipeRequest) -> Result<WipePlan, WipeRefusal>,
) -> Vec<Against> {
    let Some(wipe) = order.wipe() else { return Vec::new() };
    let tried = |level: PowerLevel, disks: &[&DiskIdentity]| {
        let request = WipeRequest {
            level,
            disks: disks.iter().filter_map(|disk| name(disk)).map(Choice::Named).collect(),
            all: false,
            overwrite: true,
            options: wipe.options.clone(),
            missing: wipe.missing.iter().filter_map(name).collect(),
            extras: Vec::new(),
            finish: WipeFinish::Stay,
            within_seconds: 3600,
            ticket: None,
            confirm: None,
            dry_run: true,
        };
        match plan(&request) {
            // It is over in a moment.
            Err(WipeRefusal::Order(InstallRefusal::Pending { id, .. })) if id == order.id => None,
            outcome => outcome.err(),
        }
    };
    let disks: Vec<&DiskIdentity> = order.disks().iter().map(|disk| &disk.named).collect();
    let mut found = Vec::new();
    for level in LEVELS {
        let Some(whole) = tried(level, &disks) else { continue };
        let mut put = |disk: Option<&DiskIdentity>, refusal: &WipeRefusal| {
            let words = format!("the server: {refusal}");
            found.push(Against { level, disk: disk.cloned(), words });
        };
        if matches!(whole, WipeRefusal::Order(_)) {
            put(None, &whole);
            continue;
        }
        // The first disk that is refused hides the others.
        let each: Vec<_> = disks
            .iter()
            .filter_map(|disk| Some((*disk, tried(level, &[*disk])?)))
            .filter(|(_, refusal)| !needs_others(refusal) || needs_others(&whole))
            .collect();
        for (disk, refusal) in &each {
            put(Some(*disk), refusal);
        }
        if each.is_empty() {
            put(None, &whole);
        }
    }
    found
}

/// Holds for what is refused of a disk alone, and not where others are ordered with it.
fn needs_others(refusal: &WipeRefusal) -> bool {
    matches!(
        refusal,
        WipeRefusal::Namespaces { .. } | WipeRefusal::Disk(ChoiceError::Shared { .. })
    )
}

fn name(disk: &DiskIdentity) -> Option<String> {
    let DiskIdentity { serial, wwn, eui64, nguid, .. } = disk;
    [nguid, eui64, wwn, serial].into_iter().flatten().next().cloned()
}
