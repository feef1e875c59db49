//! Partition tables: every copy that is found, stale ones too, and the partitions of all of them.

use super::Notes;
use crate::{gpt, mbr, region::Region};

/// Takes down all GPTs and the MBR with its chain.
pub(super) fn find(region: &mut Region<'_, '_>, sector: u64, notes: &mut Notes<'_>) {
    for copy in gpt::copies(region, sector) {
        let steps = u32::from(copy.is_stale);
        notes.evidence("gpt", copy.header, sector.max(512), steps);
        notes.evidence("gpt", copy.entries, copy.entries_length, steps);
        for partition in copy.partitions {
            notes.interior("gpt", partition.start, partition.size, steps);
        }
    }
    let table = mbr::find(region, sector);
    if !table.signatures.is_empty() {
        notes.evidence("mbr", 0, 512, 0);
    }
    // Each record of the chain is known from the one before.
    for (steps, record) in (1..).zip(&table.records) {
        notes.evidence("ebr", *record, 512, steps);
    }
    let last = u32::try_from(table.records.len()).unwrap_or(u32::MAX);
    for partition in &table.partitions {
        if !mbr::is_container(&partition.kind) {
            notes.interior("mbr", partition.start, partition.size, last);
        }
    }
}
