//! Master boot records with their chain of extended ones.

use crate::{Partition, Signature, field, region::Region};

/// What was found of an MBR.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) signatures: Vec<Signature>,
    pub(crate) partitions: Vec<Partition>,
    /// Where the extended boot records are, in the order of their chain.
    pub(crate) records: Vec<u64>,
}

/// The most logical partitions that are followed: the chain may be a circle.
const LOGICAL_LIMIT: u32 = 128;

#[derive(Clone, Copy)]
struct Entry {
    kind: u8,
    start: u64,
    sectors: u64,
}

impl Entry {
    fn is_extended(self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }
}

/// Holds for types that hold other partitions, or protect a GPT, and nothing of their own.
pub(crate) fn is_container(kind: &str) -> bool {
    matches!(kind, "0x05" | "0x0f" | "0x85" | "0xee")
}

/// Looks for the table in the first sector. The caller has made sure that it is no filesystem's boot sector,
/// which ends in the same two bytes.
pub(crate) fn find(disk: &mut Region<'_, '_>, sector: u64) -> Table {
    let Some(entries) = disk.at(0, 512).as_deref().and_then(entries) else {
        return Table::default();
    };
    let protects = entries.iter().any(|entry| entry.kind == 0xee);
    let identifier = disk.at(440, 4).and_then(|bytes| field::le32(&bytes, 0));
    let identifier =
        identifier.filter(|identifier| *identifier != 0).map(|number| format!("{number:08x}"));
    let kind = if protects { "pmbr" } else { "mbr" };
    let signature = Signature::new(kind, 0).uuid(identifier.clone());
    let mut partitions = Vec::new();
    for (number, entry) in (1_u32..).zip(entries) {
        if entry.kind == 0 || entry.sectors == 0 {
            continue;
        }
        partitions.extend(partition(number, entry.kind, entry.start, entry.sectors, sector));
    }
    let mut records = Vec::new();
    if let Some(extended) = entries.into_iter().find(|entry| entry.is_extended()) {
        partitions.extend(logical(disk, extended, sector, &mut records));
    }
    for partition in &mut partitions {
        partition.uuid = identifier.as_ref().map(|disk| format!("{disk}-{:02x}", partition.number));
    }
    Table { signatures: vec![signature], partitions, records }
}

/// Returns the four entries of a sound boot record: the magic, and boot flags that are flags.
fn entries(sector: &[u8]) -> Option<[Entry; 4]> {
    let sound = sector.get(510..512)? == [0x55, 0xaa]
        && (446..510).step_by(16).all(|at| matches!(sector.get(at), Some(0 | 0x80)));
    if !sound {
        return None;
    }
    let entry = |at: usize| {
        Some(Entry {
            kind: *sector.get(at + 4)?,
            start: u64::from(field::le32(sector, at + 8)?),
            sectors: u64::from(field::le32(sector, at + 12)?),
        })
    };
    Some([entry(446)?, entry(462)?, entry(478)?, entry(494)?])
}

fn partition(number: u32, kind: u8, start: u64, sectors: u64, sector: u64) -> Option<Partition> {
    Some(Partition {
        number,
        start: start.checked_mul(sector)?,
        size: sectors.checked_mul(sector)?,
        kind: format!("0x{kind:02x}"),
        uuid: None,
        name: None,
        signatures: Vec::new(),
    })
}

/// Follows the chain of extended boot records. Each lies within the extended partition; its first entry is
/// relative to itself, its second to the extended partition.
fn logical(
    disk: &mut Region<'_, '_>,
    extended: Entry,
    sector: u64,
    records: &mut Vec<u64>,
) -> Vec<Partition> {
    let mut found = Vec::new();
    let mut place = extended.start;
    for number in 5..5 + LOGICAL_LIMIT {
        let Some(entries) =
            place.checked_mul(sector).and_then(|at| disk.at(at, 512)).as_deref().and_then(entries)
        else {
            break;
        };
        records.push(place * sector);
        let [data, next, ..] = entries;
        if data.kind != 0 && data.sectors != 0 && !data.is_extended() {
            found.extend(partition(number, data.kind, place + data.start, data.sectors, sector));
        }
        // A chain that does not move on is a circle.
        let following = extended.start + next.start;
        if !next.is_extended() || next.start >= extended.sectors || following <= place {
            break;
        }
        place = following;
    }
    found
}
