//! What an image's partition table says: a GUID partition table (UEFI 2.10 §5.3), else an MBR's four entries.

use std::fmt::Write;

use crate::{manifest::Partition, reader::Reader};

/// What an image is divided into.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// What its GUID partition table counts in.
    pub(crate) sector_bytes: Option<u32>,
    pub(crate) partitions: Vec<Partition>,
}

/// Why an image's partition table cannot be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The header or the entries do not have the checksum that they say.
    #[error("the image's partition table is damaged: {detail}")]
    Damaged {
        /// What is damaged.
        detail: &'static str,
    },
    /// The image ends before its table says.
    #[error(
        "the image is cut: its partition table speaks of {expected_bytes} bytes, it has {found_bytes}"
    )]
    Cut {
        /// What the table speaks of.
        expected_bytes: u64,
        /// What there is.
        found_bytes: u64,
    },
}

const ENTRIES_LIMIT: u32 = 1024;

/// Reads the table at an image's start; `image_bytes` is the length of all of it.
pub(crate) fn plan(start: &[u8], image_bytes: u64) -> Result<Table, PlanError> {
    for sector in [512, 4096] {
        let at = usize::try_from(sector).expect("it is small");
        if let Some(header) = start.get(at..)
            && header.starts_with(b"EFI PART")
        {
            let partitions = gpt(start, header, u64::from(sector), image_bytes)?;
            return Ok(Table { sector_bytes: Some(sector), partitions });
        }
    }
    let partitions = mbr(start, image_bytes)?;
    Ok(Table { sector_bytes: None, partitions })
}

struct Header {
    backup: u64,
    entries_at: u64,
    entry_count: u32,
    entry_bytes: u32,
    entries_checksum: u32,
}

/// Reads a header's fields.
fn header(fields: &[u8]) -> Option<Header> {
    let mut reader = Reader::new(fields);
    reader.take(32)?;
    let backup = reader.u64()?;
    // The sectors that partitions may use, and the disk's own GUID.
    reader.take(32)?;
    Some(Header {
        backup,
        entries_at: reader.u64()?,
        entry_count: reader.u32()?,
        entry_bytes: reader.u32()?,
        entries_checksum: reader.u32()?,
    })
}

fn gpt(
    start: &[u8],
    fields: &[u8],
    sector: u64,
    image_bytes: u64,
) -> Result<Vec<Partition>, PlanError> {
    let damaged = |detail| PlanError::Damaged { detail };
    let mut reader = Reader::new(fields);
    let sizes = reader.take(12).and_then(|_| Some((reader.u32()?, reader.u32()?)));
    let (length, checksum) = sizes.ok_or_else(|| damaged("its header is cut"))?;
    let length = usize::try_from(length).ok().filter(|length| (92..=512).contains(length));
    let bytes = length.and_then(|length| fields.get(..length));
    let mut bytes = bytes.ok_or_else(|| damaged("its header's length"))?.to_vec();
    bytes[16..20].fill(0);
    if crc32(&bytes) != checksum {
        return Err(damaged("its header's checksum"));
    }
    let header = header(&bytes).ok_or_else(|| damaged("its header is cut"))?;
    let usual = (128..=4096).contains(&header.entry_bytes) && header.entry_count <= ENTRIES_LIMIT;
    let place = usual.then(|| {
        let from = usize::try_from(header.entries_at.checked_mul(sector)?).ok()?;
        let length = usize::try_from(header.entry_count * header.entry_bytes).ok()?;
        start.get(from..from.checked_add(length)?)
    });
    let Some(entries) = place.flatten() else { return Err(damaged("where its entries are")) };
    if crc32(entries) != header.entries_checksum {
        return Err(damaged("its entries' checksum"));
    }
    let mut partitions = Vec::new();
    let mut end = header.backup.saturating_add(1).saturating_mul(sector);
    let size = usize::try_from(header.entry_bytes).expect("it is at most 4096");
    for (number, entry) in (1..).zip(entries.chunks_exact(size)) {
        if entry.starts_with(&[0; 16]) {
            continue;
        }
        let partition = gpt_entry(number, entry, sector);
        let partition = partition.ok_or_else(|| damaged("where a partition is"))?;
        end = end.max(partition.offset_bytes.saturating_add(partition.size_bytes));
        partitions.push(partition);
    }
    within(end, image_bytes)?;
    Ok(partitions)
}

/// Reads an entry: nothing for one that is nonsense.
fn gpt_entry(number: u32, entry: &[u8], sector: u64) -> Option<Partition> {
    let mut reader = Reader::new(entry);
    let (kind, guid) = (reader.array()?, reader.array()?);
    let (first, last) = (reader.u64()?, reader.u64()?);
    reader.u64()?;
    let (units, _) = reader.take(72)?.as_chunks::<2>();
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0);
    let name: String = char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect();
    Some(Partition {
        number,
        kind: format_guid(&kind),
        guid: Some(format_guid(&guid)),
        name: (!name.is_empty()).then_some(name),
        offset_bytes: first.checked_mul(sector)?,
        size_bytes: last.checked_sub(first)?.checked_add(1)?.checked_mul(sector)?,
    })
}

/// Reads an MBR's primary partitions; without a boot signature, or with what cannot be a table, there are none.
fn mbr(start: &[u8], image_bytes: u64) -> Result<Vec<Partition>, PlanError> {
    let Some(sector) = start.first_chunk::<512>().filter(|sector| sector[510..] == [0x55, 0xaa])
    else {
        return Ok(Vec::new());
    };
    let (entries, _) = sector[446..510].as_chunks::<16>();
    // A filesystem's boot sector has the signature too, and code where the table would be.
    if entries.iter().any(|entry| entry[0] & 0x7f != 0) {
        return Ok(Vec::new());
    }
    let mut partitions = Vec::new();
    let mut end = 0;
    for (number, entry) in (1..).zip(entries) {
        let word = |at: usize| {
            let bytes = entry[at..].first_chunk().expect("an entry has sixteen bytes");
            u64::from(u32::from_le_bytes(*bytes))
        };
        let (kind, offset_bytes, size_bytes) = (entry[4], word(8) * 512, word(12) * 512);
        if kind == 0 || size_bytes == 0 {
            continue;
        }
        end = end.max(offset_bytes + size_bytes);
        partitions.push(Partition {
            number,
            kind: format!("0x{kind:02x}"),
            guid: None,
            name: None,
            offset_bytes,
            size_bytes,
        });
    }
    if partitions.iter().any(|partition| partition.kind == "0xee") {
        return Err(PlanError::Damaged { detail: "its MBR speaks of a GPT that is not there" });
    }
    within(end, image_bytes)?;
    Ok(partitions)
}

fn within(expected_bytes: u64, found_bytes: u64) -> Result<(), PlanError> {
    if expected_bytes > found_bytes {
        return Err(PlanError::Cut { expected_bytes, found_bytes });
    }
    Ok(())
}

/// The first three groups of a GUID are little-endian.
fn format_guid(bytes: &[u8; 16]) -> String {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::with_capacity(36);
    for (place, index) in ORDER.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        write!(text, "{:02x}", bytes[index]).expect("a String takes everything");
    }
    text
}

/// The checksum of GUID partition tables and of gzip.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
