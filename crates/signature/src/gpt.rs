//! GUID partition tables, primary and backup (UEFI 2.10 §5.3).

use std::collections::BTreeSet;

use crate::{Partition, Signature, checksum::crc32, field, region::Region};

/// What was found of a GPT.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) signatures: Vec<Signature>,
    /// From the primary table if it is sound, else from the backup.
    pub(crate) partitions: Vec<Partition>,
}

/// The most entries that are read; the usual table has 128.
const ENTRY_LIMIT: u32 = 1024;

struct Header {
    sector: u64,
    entries_at: u64,
    entry_size: usize,
    entry_count: usize,
    entries_checksum: u32,
    alternate: u64,
    guid: Option<String>,
}

/// Looks for both tables, in sectors of `sector` bytes and of the two usual sizes: a disk may have been
/// written behind another controller.
pub(crate) fn find(disk: &mut Region<'_, '_>, sector: u64) -> Table {
    let mut sizes = vec![sector, 512, 4096];
    sizes.dedup();
    let mut table = Table::default();
    let mut broken = Vec::new();
    for sector in sizes {
        let Some(last) = (disk.size() / sector).checked_sub(1) else { continue };
        let mut places = vec![1, last];
        if let Some(Ok(primary)) = header(disk, 1, sector) {
            places.push(primary.alternate);
        }
        places.dedup();
        for place in places {
            let Some(offset) = place.checked_mul(sector) else { continue };
            if table.signatures.iter().any(|found| found.offset == offset) {
                continue;
            }
            match read(disk, place, sector) {
                None => {}
                Some(Err(())) => broken.push(offset),
                Some(Ok((guid, partitions))) => {
                    if table.signatures.is_empty() {
                        table.partitions = partitions;
                    }
                    table.signatures.push(Signature::new("gpt", offset).uuid(guid));
                }
            }
        }
    }
    broken.retain(|offset| table.signatures.iter().all(|found| found.offset != *offset));
    broken.sort_unstable();
    broken.dedup();
    table.signatures.extend(broken.into_iter().map(|offset| Signature::new("gpt-broken", offset)));
    table
}

/// A copy of a table whose header is sound.
#[derive(Debug)]
pub(crate) struct Copy {
    /// Where its header is.
    pub(crate) header: u64,
    /// Where its entries are.
    pub(crate) entries: u64,
    pub(crate) entries_length: u64,
    /// Holds when only another copy says where it is.
    pub(crate) is_stale: bool,
    /// Its partitions, whether or not the checksum of its entries is right.
    pub(crate) partitions: Vec<Partition>,
}

/// Looks for every copy of a table, in sectors of `sector` bytes and of the two usual sizes.
pub(crate) fn copies(disk: &mut Region<'_, '_>, sector: u64) -> Vec<Copy> {
    let mut found = Vec::new();
    for sector in BTreeSet::from([sector, 512, 4096]) {
        let Some(last) = (disk.size() / sector).checked_sub(1) else { continue };
        let mut places = vec![(1, false), (last, false)];
        while let Some((place, is_stale)) = places.pop() {
            let Some(Ok(header)) = header(disk, place, sector) else { continue };
            // A header that a foreign one leads to leads nowhere.
            let alternate = header.alternate;
            if !is_stale && alternate != 1 && alternate != last {
                places.push((alternate, true));
            }
            let length = header.entry_size * header.entry_count;
            let bytes = header.entries_at.checked_mul(sector).map(|at| (at, disk.at(at, length)));
            let Some((entries, Some(bytes))) = bytes else { continue };
            let partitions = (1_u32..)
                .zip(bytes.chunks_exact(header.entry_size))
                .filter_map(|(number, entry)| partition(number, entry, sector))
                .collect();
            let entries_length = u64::try_from(length).unwrap_or_default();
            found.push(Copy {
                header: place * sector,
                entries,
                entries_length,
                is_stale,
                partitions,
            });
        }
    }
    found
}

type Sound = (Option<String>, Vec<Partition>);

/// Reads the table whose header is in one sector: `None` without a magic, `Err` when a checksum is wrong.
fn read(disk: &mut Region<'_, '_>, place: u64, sector: u64) -> Option<Result<Sound, ()>> {
    let Ok(header) = header(disk, place, sector)? else { return Some(Err(())) };
    let length = header.entry_size * header.entry_count;
    let Some(entries) =
        header.entries_at.checked_mul(sector).and_then(|offset| disk.at(offset, length))
    else {
        return Some(Err(()));
    };
    if crc32(&entries) != header.entries_checksum {
        return Some(Err(()));
    }
    let partitions = (1_u32..)
        .zip(entries.chunks_exact(header.entry_size))
        .filter_map(|(number, entry)| partition(number, entry, header.sector))
        .collect();
    Some(Ok((header.guid, partitions)))
}

fn header(disk: &mut Region<'_, '_>, place: u64, sector: u64) -> Option<Result<Header, ()>> {
    let offset = place.checked_mul(sector)?;
    let bytes = disk.at(offset, 512)?;
    if !bytes.starts_with(b"EFI PART") {
        return None;
    }
    Some(checked(bytes, place, sector).ok_or(()))
}

fn checked(mut bytes: Vec<u8>, place: u64, sector: u64) -> Option<Header> {
    let size = usize::try_from(field::le32(&bytes, 12)?).ok()?;
    let checksum = field::le32(&bytes, 16)?;
    bytes[16..20].fill(0);
    // A header longer than a sector of 512 bytes does not exist (all versions have 92 bytes).
    if size < 92 || crc32(bytes.get(..size)?) != checksum || field::le64(&bytes, 24)? != place {
        return None;
    }
    let entry_count = field::le32(&bytes, 80)?;
    let entry_size = usize::try_from(field::le32(&bytes, 84)?).ok()?;
    if entry_count > ENTRY_LIMIT || !(128..=1024).contains(&entry_size) {
        return None;
    }
    Some(Header {
        sector,
        entries_at: field::le64(&bytes, 72)?,
        entry_size,
        entry_count: usize::try_from(entry_count).ok()?,
        entries_checksum: field::le32(&bytes, 88)?,
        alternate: field::le64(&bytes, 32)?,
        guid: field::guid(&bytes, 56),
    })
}

/// Returns a used entry; `None` when it is unused or its numbers make no partition.
fn partition(number: u32, entry: &[u8], sector: u64) -> Option<Partition> {
    let kind = field::guid(entry, 0)?;
    let first = field::le64(entry, 32)?;
    let last = field::le64(entry, 40)?;
    let sectors = last.checked_sub(first)?.checked_add(1)?;
    Some(Partition {
        number,
        start: first.checked_mul(sector)?,
        size: sectors.checked_mul(sector)?,
        kind,
        uuid: field::guid(entry, 16),
        name: field::text16(entry, 56, 72),
        signatures: Vec::new(),
    })
}
