//! What is done beside the disks, each only where the order names it.

mod pstore;
mod tpm;

use std::path::{Path, PathBuf};

use agent::boot_entry;
use protocol::{
    Inventory,
    wipe::{DiskReport, Extra, ExtraOutcome, PowerLevel, Wipe},
};
use wipe::Stopped;

use crate::{chain, wipe::is_over_well};

/// Says why nothing is done beside the disks, if so: it would lead away from data that is still there, or take its key.
pub(crate) fn against(
    wipe: &Wipe,
    stopped: Option<Stopped>,
    disks: &[DiskReport],
) -> Option<String> {
    if let Some(stopped) = stopped {
        return Some(stopped.to_string());
    }
    if wipe.level == PowerLevel::Idle {
        return Some("this level changes nothing".to_owned());
    }
    if !wipe.level.destroys() {
        // The checks refuse to clear the TPM while a disk is kept that it may hold the key of.
        return None;
    }
    if let Some(disk) = disks.iter().find(|disk| !is_over_well(wipe.level, disk)) {
        return Some(format!("{} is not erased", disk.name));
    }
    // Of a disk that nobody reported, nobody knows.
    (disks.len() != wipe.order.disks.len()).then(|| "not every disk was reported".to_owned())
}

/// Says of one of them that it was not done.
pub(crate) fn not_done(extra: Extra, why: &str) -> ExtraOutcome {
    ExtraOutcome { extra, removed: Vec::new(), failure: Some(format!("not done: {why}")) }
}

/// Does one of them, and says what came of it. Disks were wiped before: what leads to them leads nowhere by now.
pub(crate) fn perform(extra: Extra, inventory: &Inventory) -> ExtraOutcome {
    let done = match extra {
        Extra::StaleBootEntries => boot_entries(inventory),
        Extra::Pstore => pstore::empty(Path::new("/sys/fs/pstore")),
        Extra::Tpm => tpm::clear(),
    };
    match done {
        Ok(removed) => ExtraOutcome { extra, removed, failure: None },
        Err(failure) => ExtraOutcome { extra, removed: Vec::new(), failure: Some(failure) },
    }
}

fn boot_entries(inventory: &Inventory) -> Result<Vec<String>, String> {
    let present = inventory.disks.iter().filter(|disk| disk.size_bytes.0 > 0);
    let disks: Vec<(PathBuf, u32)> = present
        .map(|disk| (Path::new("/dev").join(&disk.name), disk.logical_sector_bytes.unwrap_or(512)))
        .collect();
    boot_entry::remove_stale(&disks).map_err(|error| chain(&error))
}

#[cfg(test)]
mod tests {
    use protocol::wipe::Verdict;

    use super::*;

    const LEVELS: [(PowerLevel, &str); 5] = [
        (PowerLevel::Idle, "idle"),
        (PowerLevel::Harbour, "harbour"),
        (PowerLevel::Working, "working"),
        (PowerLevel::Full, "full"),
        (PowerLevel::Redline, "redline"),
    ];

    /// An order for two disks.
    fn wipe(level: &str) -> Wipe {
        let digits = "1".repeat(64);
        let disk = |serial| {
            format!(r#"{{"identity":{{"serial":"{serial}","sizeBytes":512}},"overwrite":true}}"#)
        };
        let order = format!(
            r#"{{"id":"00000000000000000000000000000001","by":"a","machine":{{}},"disks":[{},{}],
                "deadlineUnixMilliseconds":1,"inventory":"{digits}"}}"#,
            disk("A"),
            disk("B"),
        );
        let text =
            format!(r#"{{"order":{order},"level":"{level}","seed":"{digits}","finish":"stay"}}"#);
        serde_json::from_str(&text).unwrap()
    }

    fn report(verdict: Verdict) -> DiskReport {
        let text = r#"{"disk":{"serial":"A","sizeBytes":512},"name":"sda","verdict":"notErased","asked":"clear",
            "reached":"none","accessibleBytes":512,"validation":"emulatedOnly","begunUnixMilliseconds":1,
            "endedUnixMilliseconds":2}"#;
        DiskReport { verdict, ..serde_json::from_str(text).unwrap() }
    }

    #[test]
    fn nothing_is_done_beside_disks_that_were_kept() {
        for (level, word) in LEVELS {
            let wipe = wipe(word);
            let with = |stopped, verdicts: &[Verdict]| {
                let disks: Vec<DiskReport> = verdicts.iter().copied().map(report).collect();
                against(&wipe, stopped, &disks)
            };
            let good = [Verdict::Erased, Verdict::ErasedWithExceptions];
            assert_eq!(with(None, &good).is_some(), level == PowerLevel::Idle, "{word}");
            assert!(with(Some(Stopped::Cancelled), &good).is_some(), "{word}");
            for kept in [Verdict::NotErased, Verdict::UnknownStillRunning] {
                let is_against = with(None, &[Verdict::Erased, kept]).is_some();
                assert_eq!(is_against, level != PowerLevel::Harbour, "{word}");
            }
            if level.destroys() {
                assert!(with(None, &good[..1]).is_some(), "a disk without a report");
            }
        }
    }

    #[test]
    fn what_is_not_done_says_why() {
        let outcome = not_done(Extra::Tpm, "sda is not erased");
        assert_eq!(outcome.failure.as_deref(), Some("not done: sda is not erased"));
        assert!(outcome.removed.is_empty());
    }
}
