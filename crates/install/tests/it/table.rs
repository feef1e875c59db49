//! GUID partition tables made and judged independently of the engine's own code.

use std::ops::Range;

use crate::medium::Chance;

/// CRC-32, by the book.
fn crc(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 0 { sum >> 1 } else { (sum >> 1) ^ 0xedb8_8320 };
        }
    }
    !sum
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn le(bytes: &[u8], range: Range<usize>) -> u64 {
    bytes[range].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn wide(value: usize) -> u64 {
    u64::try_from(value).expect("a length fits 64 bits")
}

/// Puts a table on an image: partitions as sectors, the last one included. The rest of the image stays.
pub(crate) fn make(image: &mut [u8], sector: usize, partitions: &[(u64, u64)]) {
    let last = image.len() / sector - 1;
    let entry_sectors = (128 * 128_usize).div_ceil(sector);
    let mut entries = vec![0; entry_sectors * sector];
    for (number, (first, end)) in partitions.iter().enumerate() {
        let entry = &mut entries[number * 128..(number + 1) * 128];
        entry[..16].copy_from_slice(&Chance(7 + wide(number)).bytes(16));
        entry[16..32].copy_from_slice(&Chance(99 + wide(number)).bytes(16));
        put(entry, 32, &first.to_le_bytes());
        put(entry, 40, &end.to_le_bytes());
    }
    let header = |at: usize, other: usize, entries_at: usize| {
        let mut header = vec![0; sector];
        put(&mut header, 0, b"EFI PART");
        put(&mut header, 8, &[0, 0, 1, 0, 92]);
        put(&mut header, 24, &wide(at).to_le_bytes());
        put(&mut header, 32, &wide(other).to_le_bytes());
        put(&mut header, 40, &wide(2 + entry_sectors).to_le_bytes());
        put(&mut header, 48, &wide(last - entry_sectors - 1).to_le_bytes());
        put(&mut header, 56, &Chance(4711).bytes(16));
        put(&mut header, 72, &wide(entries_at).to_le_bytes());
        put(&mut header, 80, &[128, 0, 0, 0, 128]);
        put(&mut header, 88, &crc(&entries[..128 * 128]).to_le_bytes());
        let sum = crc(&header[..92]);
        put(&mut header, 16, &sum.to_le_bytes());
        header
    };
    let (primary, backup) = (header(1, last, 2), header(last, 1, last - entry_sectors));
    image[..sector].fill(0);
    put(image, 446 + 1, &[0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1]);
    let reach = u32::try_from(last).expect("images of tests are small");
    put(image, 446 + 12, &reach.to_le_bytes());
    put(image, 510, &[0x55, 0xaa]);
    put(image, sector, &primary);
    put(image, 2 * sector, &entries);
    put(image, (last - entry_sectors) * sector, &entries);
    put(image, last * sector, &backup);
}

/// What a sound table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) disk_guid: Vec<u8>,
    pub(crate) alternate: u64,
    pub(crate) last_usable: u64,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Vec<u8>,
    pub(crate) guid: Vec<u8>,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// Reads the table whose header is in a sector, if every checksum is right.
pub(crate) fn read(disk: &[u8], sector: usize, at: usize) -> Option<Table> {
    let header = disk.get(at * sector..(at + 1) * sector)?;
    let mut whole = header[..92].to_vec();
    whole[16..20].fill(0);
    if !header.starts_with(b"EFI PART")
        || le(header, 16..20) != u64::from(crc(&whole))
        || le(header, 24..32) != wide(at)
    {
        return None;
    }
    let start = usize::try_from(le(header, 72..80)).ok()? * sector;
    let entries = disk.get(start..start + 128 * 128)?;
    if le(header, 88..92) != u64::from(crc(entries)) {
        return None;
    }
    let used = entries.chunks(128).filter(|entry| entry[..16] != [0; 16]);
    let entry = |entry: &[u8]| Entry {
        kind: entry[..16].to_vec(),
        guid: entry[16..32].to_vec(),
        first: le(entry, 32..40),
        last: le(entry, 40..48),
    };
    Some(Table {
        disk_guid: header[56..72].to_vec(),
        alternate: le(header, 32..40),
        last_usable: le(header, 48..56),
        entries: used.map(entry).collect(),
    })
}

/// Reads both tables, which must agree, and the backup be at the end.
pub(crate) fn both(disk: &[u8], sector: usize) -> Table {
    let last = disk.len() / sector - 1;
    let primary = read(disk, sector, 1).expect("the primary table is sound");
    let backup = read(disk, sector, last).expect("the backup table is sound");
    assert_eq!(primary.entries, backup.entries);
    assert_eq!(primary.disk_guid, backup.disk_guid);
    assert_eq!((primary.alternate, backup.alternate), (wide(last), 1));
    primary
}
