//! What is on a disk: partition tables, filesystems, RAID, LVM, encryption. Pure, over `Read + Seek`.
//!
//! [`probe`] reads a bounded number of bytes at known places, never panics on what it finds there, and says
//! "blank" only when it recognised nothing, could read everything it wanted, and the first and last MiB are zero.
//!
//! ```
//! use std::io::Cursor;
//!
//! let mut disk = vec![0; 4 << 20];
//! let content = signature::probe(&mut Cursor::new(&disk), 4 << 20, 512);
//! assert!(content.blank);
//!
//! disk[4096 - 10..4096].copy_from_slice(b"SWAPSPACE2");
//! let content = signature::probe(&mut Cursor::new(&disk), 4 << 20, 512);
//! assert_eq!(content.signatures[0].kind, "swap");
//! assert!(!content.blank);
//! ```
#![forbid(unsafe_code)]

mod checksum;
mod field;
mod filesystem;
mod gpt;
mod lvm;
mod mbr;
pub mod medium;
mod region;
mod remnant;
pub mod survey;
mod volume;
mod zfs;

use self::region::Reader;
pub use self::region::{READ_LIMIT, SURVEY_READ_LIMIT, Source, Unreadable};

/// What is on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// True when nothing was recognised, everything asked for could be read, and the first and the last MiB are zero.
    pub blank: bool,
    /// What was recognised on the whole disk, by offset.
    pub signatures: Vec<Signature>,
    /// The partitions of the GPT, else of the MBR, by number.
    pub partitions: Vec<Partition>,
    /// Places that could not be read. After three of them the probe gives up.
    pub unreadable: Vec<Unreadable>,
}

/// Something recognised at a place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signature {
    /// What it is, in lower case: `gpt`, `ext4`, `lvm2`, …
    pub kind: &'static str,
    /// Where it was found, in bytes from the start of the disk or partition.
    pub offset: u64,
    /// Its label, where it has one.
    pub label: Option<String>,
    /// Its UUID or serial number, as its own tools show it.
    pub uuid: Option<String>,
}

/// A partition and what is on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Partition {
    /// Its number in the table, from 1; logical partitions of an MBR from 5.
    pub number: u32,
    /// Where it starts on the disk, in bytes.
    pub start: u64,
    /// Its length in bytes, as the table says; the disk may be shorter.
    pub size: u64,
    /// Its type: a GUID in lower case, or an MBR type as `0x83`.
    pub kind: String,
    /// Its own GUID in lower case (GPT), or the disk's signature with the number, as `1234abcd-01` (MBR).
    pub uuid: Option<String>,
    /// Its name in the table (GPT only).
    pub name: Option<String>,
    /// What was recognised in it.
    pub signatures: Vec<Signature>,
}

impl Signature {
    fn new(kind: &'static str, offset: u64) -> Self {
        Self { kind, offset, label: None, uuid: None }
    }

    fn label(self, label: Option<String>) -> Self {
        Self { label, ..self }
    }

    fn uuid(self, uuid: Option<String>) -> Self {
        Self { uuid, ..self }
    }
}

/// The size of the two ends that must be zero on a blank disk: 1 MiB.
pub const END_BYTES: u64 = 1 << 20;

/// How much of a partition's start is read at once: a ZFS label and all that lies closer to the start.
const PARTITION_HEAD_BYTES: u64 = 256 << 10;

/// Looks at a disk of `size` bytes, whose tables count in sectors of `sector` bytes.
///
/// Reads at most [`READ_LIMIT`] bytes. What cannot be read is listed, and the disk is then not blank.
pub fn probe(source: &mut dyn Source, size: u64, sector: u32) -> Content {
    let mut reader = Reader::new(source);
    let sector = u64::from(sector).clamp(512, 65_536);
    let mut disk = reader.region(0, size, END_BYTES);
    let ends_are_zero = disk.ends_are_zero();

    let mut signatures = filesystem::find(&mut disk);
    signatures.extend(volume::find(&mut disk));
    let gpt = gpt::find(&mut disk, sector);
    signatures.extend(gpt.signatures);
    let holds_boot_sector = signatures
        .iter()
        .any(|found| matches!(found.kind, "vfat" | "exfat" | "ntfs" | "bitlocker" | "refs"));
    let mbr = if holds_boot_sector { mbr::Table::default() } else { mbr::find(&mut disk, sector) };
    signatures.extend(mbr.signatures);
    if signatures.is_empty() {
        signatures = remnant::find(&mut disk);
    }
    signatures.sort_by_key(|found| found.offset);

    let mut partitions = if gpt.partitions.is_empty() { mbr.partitions } else { gpt.partitions };
    for partition in &mut partitions {
        if mbr::is_container(&partition.kind) || partition.start >= size {
            continue;
        }
        let length = partition.size.min(size - partition.start);
        let mut region = reader.region(partition.start, length, PARTITION_HEAD_BYTES);
        partition.signatures = filesystem::find(&mut region);
        partition.signatures.extend(volume::find(&mut region));
        partition.signatures.sort_by_key(|found| found.offset);
    }
    let unreadable = reader.into_unreadable();
    let blank = ends_are_zero
        && signatures.is_empty()
        && partitions.is_empty()
        && unreadable.is_empty()
        && size > 0;
    Content { blank, signatures, partitions, unreadable }
}
