//! Grows the last partition to the end of the disk; the filesystem inside is the image's business.

use disk::Medium;

use super::{StepFailure, seed, table::Table};

/// Grows it, and leaves room of some bytes behind it. A seed of ours at the end is not "the last partition".
pub(super) fn grow_last(medium: &dyn Medium, room_bytes: u64) -> Result<(), StepFailure> {
    let mut table = Table::read(medium)?;
    let (seeds, others): (Vec<_>, Vec<_>) =
        table.partitions().partition(|partition| seed::is_ours(&table, partition.slot));
    let last = others.iter().max_by_key(|p| p.last).ok_or(StepFailure::NoPartition)?;
    let behind = seeds.iter().filter(|seed| seed.first > last.last).map(|seed| seed.first).min();
    let room = room_bytes.div_ceil(table.sector_bytes());
    let free = behind.unwrap_or_else(|| (table.last_usable() + 1).saturating_sub(room));
    let end = (free - free % table.alignment()).saturating_sub(1);
    if end > last.last {
        table.entry_mut(last.slot)[40..48].copy_from_slice(&end.to_le_bytes());
    }
    table.write(medium)
}
