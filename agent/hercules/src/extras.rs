//! What is done beside the disks, each only where the order names it.

mod pstore;
mod tpm;

use std::path::{Path, PathBuf};

use agent::boot_entry;
use protocol::{
    Inventory,
    wipe::{Extra, ExtraOutcome},
};

use crate::chain;

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
