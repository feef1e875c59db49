//! A GUID partition table that can be changed and written back (UEFI 2.10 §5.3), wherever its backup was before.

use std::ops::Range;

use disk::{AlignedBuffer, Medium};

use super::{StepFailure, crc::crc32};
use crate::{
    failure::{flush, read, write},
    zero::is_zero,
};

const MAGIC: &[u8] = b"EFI PART";
/// All versions of the header have this length; what comes after it in the sector is zero.
const HEADER_BYTES: usize = 92;
/// More entries than this are somebody's mistake; the usual table has 128.
const ENTRIES_LIMIT: u32 = 1024;
/// Where partitions begin and end.
pub(super) const ALIGNMENT_BYTES: u64 = 1 << 20;

/// A sound table of a disk. Positions are in sectors.
#[derive(Debug)]
pub(super) struct Table {
    sector_bytes: u64,
    disk_sectors: u64,
    header: [u8; HEADER_BYTES],
    entries: Vec<u8>,
    entry_bytes: usize,
    /// Where the entries of the primary table are.
    entries_at: u64,
    /// A backup that is sound, lies in no partition, and is not at the disk's end.
    stray_backup: Option<u64>,
}

/// A partition, and where it stands in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) slot: usize,
    pub(super) first: u64,
    /// Its last sector, included.
    pub(super) last: u64,
}

/// What a header says, once its checksums have been compared.
struct Sound {
    header: [u8; HEADER_BYTES],
    entries: Vec<u8>,
    entry_bytes: usize,
    entries_at: u64,
    alternate: u64,
}

impl Table {
    /// Reads the primary table, or, where that is not sound, the backup at the disk's end.
    pub(super) fn read(medium: &dyn Medium) -> Result<Self, StepFailure> {
        let sector_bytes = u64::from(medium.sector_bytes());
        let disk_sectors = medium.size_bytes() / sector_bytes;
        let last = disk_sectors.checked_sub(1).ok_or(StepFailure::NoTable)?;
        let primary = sound(medium, 1)?;
        let backup_at = primary.as_ref().map_or(last, |primary| primary.alternate);
        let backup = sound(medium, backup_at)?;
        let entries_at = primary.as_ref().map_or(2, |primary| primary.entries_at);
        let is_stray = backup.is_some() && backup_at != last && backup_at > 1;
        let found = primary.or(backup).ok_or(StepFailure::NoTable)?;
        let mut table = Self {
            sector_bytes,
            disk_sectors,
            header: found.header,
            entries: found.entries,
            entry_bytes: found.entry_bytes,
            entries_at,
            stray_backup: None,
        };
        let used = |sector: u64| table.partitions().any(|p| (p.first..=p.last).contains(&sector));
        table.stray_backup = Some(backup_at).filter(|sector| is_stray && !used(*sector));
        Ok(table)
    }

    pub(super) fn sector_bytes(&self) -> u64 {
        self.sector_bytes
    }

    fn slots(&self) -> usize {
        self.entries.len() / self.entry_bytes
    }

    fn entry(&self, slot: usize) -> &[u8] {
        &self.entries[slot * self.entry_bytes..(slot + 1) * self.entry_bytes]
    }

    pub(super) fn entry_mut(&mut self, slot: usize) -> &mut [u8] {
        &mut self.entries[slot * self.entry_bytes..(slot + 1) * self.entry_bytes]
    }

    /// Returns the partitions in the order of the table.
    pub(super) fn partitions(&self) -> impl Iterator<Item = Partition> {
        (0..self.slots()).filter(|slot| !is_zero(&self.entry(*slot)[..16])).map(|slot| {
            let entry = self.entry(slot);
            Partition { slot, first: le64(entry, 32), last: le64(entry, 40) }
        })
    }

    /// Returns the first slot that no partition uses.
    pub(super) fn free_slot(&self) -> Option<usize> {
        (0..self.slots()).find(|slot| is_zero(&self.entry(*slot)[..16]))
    }

    /// Returns whether a slot has this type (as stored) and this name.
    pub(super) fn is(&self, slot: usize, kind: &[u8; 16], name: &str) -> bool {
        self.entry(slot)[..16] == kind[..] && self.entry(slot)[56..128] == name_field(name)
    }

    /// Gives the disk a GUID, as stored.
    pub(super) fn set_disk_guid(&mut self, guid: [u8; 16]) {
        self.header[56..72].copy_from_slice(&guid);
    }

    fn entry_sectors(&self) -> u64 {
        length(&self.entries).div_ceil(self.sector_bytes)
    }

    /// Returns the last sector that a partition may use once the backup is at the disk's end.
    pub(super) fn last_usable(&self) -> u64 {
        self.disk_sectors.saturating_sub(self.entry_sectors() + 2)
    }

    /// Returns the first sector that a partition may use.
    pub(super) fn first_usable(&self) -> u64 {
        le64(&self.header, 40)
    }

    /// Returns the sectors of [`ALIGNMENT_BYTES`].
    pub(super) fn alignment(&self) -> u64 {
        (ALIGNMENT_BYTES / self.sector_bytes).max(1)
    }

    /// Writes it: the backup to the disk's end, flushed and read back; then the primary, flushed and read back;
    /// then a backup elsewhere is zeroed. After a power cut at any point at least one of the two is sound.
    pub(super) fn write(&self, medium: &dyn Medium) -> Result<(), StepFailure> {
        let end = self.last_usable();
        let first_free = self.entries_at + self.entry_sectors();
        let outside = |p: &Partition| p.last > end || p.first < first_free || p.first > p.last;
        if first_free > end || self.partitions().any(|partition| outside(&partition)) {
            return Err(StepFailure::NoRoom);
        }
        let last = self.disk_sectors - 1;
        let backup = [self.padded_entries(), self.header_at(last, 1, end + 1)].concat();
        self.store(medium, end + 1, &backup)?;
        let guard = self.guard(medium)?;
        let mut primary = self.header_at(1, last, self.entries_at);
        if self.entries_at == 2 {
            primary.extend(self.padded_entries());
        } else {
            self.store_unflushed(medium, self.entries_at, &self.padded_entries())?;
        }
        if let Some(guard) = guard {
            self.store_unflushed(medium, 0, &guard)?;
        }
        self.store(medium, 1, &primary)?;
        if let Some(stray) = self.stray_backup {
            self.store(medium, stray, &vec![0; self.header_sector_length()])?;
        }
        Ok(())
    }

    /// Returns LBA 0 with its protective entry reaching to the disk's end, where it has nothing but that entry.
    fn guard(&self, medium: &dyn Medium) -> Result<Option<Vec<u8>>, StepFailure> {
        let mut sector = read(medium, 0, self.header_sector_length())?.to_vec();
        let (entry, others) = (446..462, 462..510);
        let is_protective = sector[510..512] == [0x55, 0xaa] && sector[entry.start + 4] == 0xee;
        if !is_protective || !is_zero(&sector[others]) {
            return Ok(None);
        }
        let sectors = u32::try_from(self.disk_sectors - 1).unwrap_or(u32::MAX).to_le_bytes();
        let field = entry.start + 12..entry.end;
        if sector[field.clone()] == sectors {
            return Ok(None);
        }
        sector[field].copy_from_slice(&sectors);
        Ok(Some(sector))
    }

    fn header_sector_length(&self) -> usize {
        usize::try_from(self.sector_bytes).expect("a sector is at most a few KiB")
    }

    fn padded_entries(&self) -> Vec<u8> {
        let mut entries = self.entries.clone();
        entries.resize(entries.len().next_multiple_of(self.header_sector_length()), 0);
        entries
    }

    /// Returns the header as it stands in one sector.
    fn header_at(&self, sector: u64, alternate: u64, entries_at: u64) -> Vec<u8> {
        let mut header = self.header;
        put(&mut header, 12..16, &u32_of(HEADER_BYTES).to_le_bytes());
        put(&mut header, 16..20, &[0; 4]);
        put(&mut header, 24..32, &sector.to_le_bytes());
        put(&mut header, 32..40, &alternate.to_le_bytes());
        put(&mut header, 48..56, &self.last_usable().to_le_bytes());
        put(&mut header, 72..80, &entries_at.to_le_bytes());
        put(&mut header, 88..92, &crc32(&self.entries).to_le_bytes());
        let checksum = crc32(&header).to_le_bytes();
        put(&mut header, 16..20, &checksum);
        let mut bytes = header.to_vec();
        bytes.resize(self.header_sector_length(), 0);
        bytes
    }

    fn store_unflushed(
        &self,
        medium: &dyn Medium,
        at: u64,
        bytes: &[u8],
    ) -> Result<(), StepFailure> {
        let mut buffer = AlignedBuffer::zeroed(bytes.len());
        buffer.copy_from_slice(bytes);
        Ok(write(medium, at * self.sector_bytes, &buffer)?)
    }

    /// Writes, flushes, reads back and compares.
    fn store(&self, medium: &dyn Medium, at: u64, bytes: &[u8]) -> Result<(), StepFailure> {
        self.store_unflushed(medium, at, bytes)?;
        flush(medium)?;
        let offset = at * self.sector_bytes;
        if read(medium, offset, bytes.len())?[..] != *bytes {
            return Err(StepFailure::ReadBack { offset });
        }
        Ok(())
    }
}

/// Reads the table whose header is in one sector; `None` when there is none, or a checksum is wrong.
fn sound(medium: &dyn Medium, at: u64) -> Result<Option<Sound>, StepFailure> {
    let sector_bytes = u64::from(medium.sector_bytes());
    let disk_sectors = medium.size_bytes() / sector_bytes;
    if at >= disk_sectors {
        return Ok(None);
    }
    let sector = read(medium, at * sector_bytes, usize_of(sector_bytes))?;
    let Some((header, entries_range, entry_bytes)) = parse(&sector, at) else { return Ok(None) };
    let Range { start, end } = entries_range;
    let entries_length = usize_of(end - start);
    let padded = entries_length.next_multiple_of(usize_of(sector_bytes));
    let fits = start.checked_mul(sector_bytes).and_then(|o| o.checked_add(length_of(padded)));
    if fits.is_none_or(|end| end > disk_sectors * sector_bytes) {
        return Ok(None);
    }
    let entries = read(medium, start * sector_bytes, padded)?[..entries_length].to_vec();
    if crc32(&entries) != le32(&header, 88) {
        return Ok(None);
    }
    let alternate = le64(&header, 32);
    Ok(Some(Sound { header, entries, entry_bytes, entries_at: start, alternate }))
}

/// Takes a header apart: itself, the sector of its entries and that plus their length in bytes, the length of one.
fn parse(sector: &[u8], at: u64) -> Option<([u8; HEADER_BYTES], Range<u64>, usize)> {
    let mut header: [u8; HEADER_BYTES] = sector[..HEADER_BYTES].try_into().ok()?;
    let size = usize::try_from(le32(&header, 12)).ok()?;
    if !header.starts_with(MAGIC) || !(HEADER_BYTES..=sector.len()).contains(&size) {
        return None;
    }
    let checksum = le32(&header, 16);
    let mut whole = sector[..size].to_vec();
    put(&mut whole, 16..20, &[0; 4]);
    let (count, entry_bytes) = (le32(&header, 80), le32(&header, 84));
    let sizes = (128..=1024).contains(&entry_bytes) && entry_bytes.is_multiple_of(128);
    let counts = (1..=ENTRIES_LIMIT).contains(&count);
    if crc32(&whole) != checksum || le64(&header, 24) != at || !sizes || !counts {
        return None;
    }
    put(&mut header, 16..20, &[0; 4]);
    let start = le64(&header, 72);
    let end = start.checked_add(u64::from(count) * u64::from(entry_bytes))?;
    Some((header, start..end, usize::try_from(entry_bytes).ok()?))
}

/// Returns a partition's name as it is stored.
pub(super) fn name_field(name: &str) -> [u8; 72] {
    let mut field = [0; 72];
    for (place, unit) in field.chunks_exact_mut(2).zip(name.encode_utf16()) {
        place.copy_from_slice(&unit.to_le_bytes());
    }
    field
}

fn put(bytes: &mut [u8], range: Range<usize>, value: &[u8]) {
    bytes[range].copy_from_slice(value);
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn u32_of(value: usize) -> u32 {
    u32::try_from(value).expect("a header is short")
}

fn usize_of(value: u64) -> usize {
    usize::try_from(value).expect("tables are at most 1 MiB, sectors a few KiB")
}

fn length_of(value: usize) -> u64 {
    u64::try_from(value).expect("a length fits 64 bits")
}

fn length(bytes: &[u8]) -> u64 {
    length_of(bytes.len())
}
