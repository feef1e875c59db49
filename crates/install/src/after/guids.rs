//! Gives a disk and its partitions new GUIDs, so that no two machines have the same.

use disk::Medium;

use super::{Random, StepFailure, table::Table};

/// Renews all of them.
pub(super) fn renew(medium: &dyn Medium, random: &mut Random<'_>) -> Result<(), StepFailure> {
    let mut table = Table::read(medium)?;
    table.set_disk_guid(guid(random));
    let slots: Vec<usize> = table.partitions().map(|partition| partition.slot).collect();
    for slot in slots {
        table.entry_mut(slot)[16..32].copy_from_slice(&guid(random));
    }
    table.write(medium)
}

/// Returns a random GUID as it is stored (RFC 9562 §5.4, its first three fields little-endian).
pub(super) fn guid(random: &mut Random<'_>) -> [u8; 16] {
    let mut bytes = random();
    bytes[7] = bytes[7] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}
