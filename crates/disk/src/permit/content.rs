//! What is on a disk, looked at again through the open descriptor, and what else would be destroyed with it.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
};

use protocol::inventory::{Content, Disk};
use signature::{Partition, Signature};

use crate::AlignedBuffer;

/// What machines share, or what other machines hold copies of: never destroyed by an order for one of them.
const SHARED: [&str; 9] =
    ["vmfs", "vmfs-volume", "gfs", "gfs2", "ocfs2", "oracleasm", "ceph-bluestore", "drbd", "vxfs"];

/// The same, known by nothing but a partition's type.
const SHARED_TYPES: [(&str, &str); 8] = [
    ("37affc90-ef7d-4e96-91c3-2d7ae055b174", "gpfs"),
    ("aa31e02a-400f-11db-9590-000c2911d1b8", "vmfs"),
    ("0xfb", "vmfs"),
    ("381cfccc-7288-11e0-92ee-000c2911d0b2", "vsan"),
    ("77719a0c-a4a0-11e3-a47e-000c29745a24", "vsan"),
    ("4fbd7e29-9d25-41b8-afd0-062c0ceff05d", "ceph-osd"),
    ("45b0969e-9b03-4f30-b4c6-b4b80ceff106", "ceph-journal"),
    ("cafecafe-9b03-4f30-b4c6-b4b80ceff106", "ceph-block"),
];

/// Parts of something larger, whose parts all carry one UUID, or with LVM the name of one group.
const PARTS_BY_GROUP: [&str; 6] = ["md", "zfs", "btrfs", "bcachefs", "jbd", "lvm2"];

/// Parts of something larger whose signature does not say of which: every other disk that has one may be of the same.
const PARTS_BY_KIND: [&str; 9] = [
    "bcache",
    "stratis",
    "ldm",
    "ddf",
    "imsm",
    "nvidia-raid",
    "lsi-raid",
    "highpoint-raid",
    "promise-raid",
];

/// The same, known by a partition's type: Windows' Storage Spaces and dynamic disks.
const PART_TYPES: [(&str, &str); 3] = [
    ("e75caf8f-f680-4cee-afa3-b001e56efc2d", "storage-spaces"),
    ("5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", "ldm"),
    ("af9b60a0-1431-4f62-bc68-3311714a69ad", "ldm"),
];

/// Something recognised on a disk or in one of its partitions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    /// What it is.
    pub(super) kind: String,
    /// What all its parts have in common, where it says so.
    pub(super) group: Option<String>,
}

impl Found {
    /// Says what it is, and which one.
    pub(super) fn words(&self) -> String {
        match &self.group {
            Some(group) => format!("{} {group}", self.kind),
            None => self.kind.clone(),
        }
    }
}

/// What is on the disk of an order.
#[derive(Debug)]
pub(super) struct Look {
    /// Nothing at all, and all of it could be read.
    pub(super) is_blank: bool,
    /// Places that cannot be read.
    pub(super) unreadable: Option<String>,
    /// Everything that was recognised.
    pub(super) found: Vec<Found>,
}

/// Looks at a disk through its descriptor.
pub(super) fn look(file: &File, size: u64, sector: u32) -> Look {
    let mut reader = Reader { file, position: 0, size, sector: u64::from(sector) };
    let content = signature::probe(&mut reader, size, sector);
    let unreadable = content
        .unreadable
        .first()
        .map(|place| format!("{} bytes at {}: {}", place.length, place.offset, place.reason));
    let mut found: Vec<Found> = content.signatures.iter().map(of_signature).collect();
    for partition in &content.partitions {
        found.extend(of_partition(partition));
    }
    found.sort();
    found.dedup();
    Look { is_blank: content.blank, unreadable, found }
}

fn of_signature(signature: &Signature) -> Found {
    found(signature.kind, signature.uuid.as_ref(), signature.label.as_ref())
}

/// A physical volume's UUID is its own: it is the group's name that it has in common with others.
fn found(kind: &str, uuid: Option<&String>, label: Option<&String>) -> Found {
    let group = if kind == "lvm2" { label } else { uuid };
    Found { kind: kind.to_owned(), group: group.cloned() }
}

fn of_partition(partition: &Partition) -> Vec<Found> {
    let mut found: Vec<Found> = partition.signatures.iter().map(of_signature).collect();
    found.extend(by_type(&partition.kind));
    found
}

/// Returns what a partition is by its type alone.
fn by_type(kind: &str) -> Option<Found> {
    let (_, word) = SHARED_TYPES.iter().chain(&PART_TYPES).find(|(known, _)| *known == kind)?;
    Some(Found { kind: (*word).to_owned(), group: None })
}

impl Look {
    /// Says in words what is there; `data` where it is nothing that is known.
    pub(super) fn words(&self) -> String {
        let mut kinds: Vec<&str> = self.found.iter().map(|found| found.kind.as_str()).collect();
        kinds.dedup();
        if kinds.is_empty() { "data".to_owned() } else { kinds.join(", ") }
    }

    /// Returns what machines share.
    pub(super) fn shared(&self) -> Vec<&str> {
        let is_shared = |kind: &str| {
            SHARED.contains(&kind) || SHARED_TYPES.iter().any(|(_, word)| *word == kind)
        };
        self.found.iter().map(|found| found.kind.as_str()).filter(|kind| is_shared(kind)).collect()
    }

    /// Returns what lies, or may lie, on other disks as well.
    pub(super) fn parts(&self) -> Vec<&Found> {
        self.found.iter().filter(|found| is_part(&found.kind)).collect()
    }
}

fn is_part(kind: &str) -> bool {
    PARTS_BY_GROUP.contains(&kind)
        || PARTS_BY_KIND.contains(&kind)
        || PART_TYPES.iter().any(|(_, word)| *word == kind)
}

/// Holds when two parts belong together, or may.
fn belong_together(one: &Found, other: &Found) -> bool {
    let by_group = PARTS_BY_GROUP.contains(&one.kind.as_str());
    one.kind == other.kind
        && match (&one.group, &other.group) {
            (Some(one), Some(other)) if by_group => one == other,
            _ => true,
        }
}

/// Whether another disk carries a part of the same thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kinship {
    /// It does, or may.
    Kin,
    /// It does not.
    Stranger,
    /// What is on it could not be read.
    Unknown,
}

/// Compares a part with what the inventory says is on another disk.
pub(super) fn kinship(part: &Found, other: &Disk) -> Kinship {
    let Some(content) = &other.content else { return Kinship::Unknown };
    if of_inventory(content).iter().any(|found| belong_together(part, found)) {
        Kinship::Kin
    } else {
        Kinship::Stranger
    }
}

fn of_inventory(content: &Content) -> Vec<Found> {
    let own = content.signatures.iter();
    let inner = content.partitions.iter().flat_map(|partition| &partition.signatures);
    let mut all: Vec<Found> = own
        .chain(inner)
        .map(|signature| found(&signature.kind, signature.uuid.as_ref(), signature.label.as_ref()))
        .collect();
    all.extend(
        content
            .partitions
            .iter()
            .filter_map(|partition| partition.kind.as_deref().and_then(by_type)),
    );
    all
}

/// Reads any bytes from a descriptor that gives only whole sectors into aligned memory.
struct Reader<'f> {
    file: &'f File,
    position: u64,
    size: u64,
    sector: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = u64::try_from(buffer.len()).map_err(io::Error::other)?;
        let end = self.position.saturating_add(wanted).min(self.size);
        if end <= self.position {
            return Ok(0);
        }
        let start = self.position / self.sector * self.sector;
        let span = end.next_multiple_of(self.sector).min(self.size) - start;
        let mut aligned = AlignedBuffer::zeroed(usize::try_from(span).map_err(io::Error::other)?);
        self.file.read_exact_at(&mut aligned, start)?;
        let from = usize::try_from(self.position - start).map_err(io::Error::other)?;
        let count = usize::try_from(end - self.position).map_err(io::Error::other)?;
        buffer[..count].copy_from_slice(&aligned[from..from + count]);
        self.position = end;
        Ok(count)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, place: SeekFrom) -> io::Result<u64> {
        let (base, distance) = match place {
            SeekFrom::Start(offset) => (offset, 0),
            SeekFrom::End(distance) => (self.size, distance),
            SeekFrom::Current(distance) => (self.position, distance),
        };
        let wanted = base.checked_add_signed(distance);
        self.position = wanted.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn inventory_disk(kind: &str, uuid: Option<&str>) -> Disk {
        let signature = protocol::inventory::Signature {
            kind: kind.to_owned(),
            uuid: uuid.map(str::to_owned),
            ..protocol::inventory::Signature::default()
        };
        let content = Content { signatures: vec![signature], ..Content::default() };
        Disk { content: Some(content), ..Disk::default() }
    }

    fn volume(group: Option<&str>) -> Disk {
        let mut disk = inventory_disk("lvm2", Some("its own"));
        disk.content.as_mut().unwrap().signatures[0].label = group.map(str::to_owned);
        disk
    }

    fn part(kind: &str, group: Option<&str>) -> Found {
        Found { kind: kind.to_owned(), group: group.map(str::to_owned) }
    }

    #[test]
    fn any_bytes_are_read_through_whole_sectors() {
        let bytes: Vec<u8> =
            (0..40_960_u32).map(|n| n.to_le_bytes()[usize::from(n % 2 == 0)]).collect();
        let file = file(&bytes);
        for (start, length) in [(0, 1), (1, 511), (511, 2), (4095, 8193), (40_959, 1), (0, 40_960)]
        {
            let mut reader = Reader { file: &file, position: 0, size: 40_960, sector: 4096 };
            reader.seek(SeekFrom::Start(start)).unwrap();
            let mut read = vec![0; length];
            reader.read_exact(&mut read).unwrap();
            let start = usize::try_from(start).unwrap();
            assert_eq!(read, bytes[start..start + length], "{start} {length}");
        }
        let mut reader = Reader { file: &file, position: 40_960, size: 40_960, sector: 512 };
        assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn blank_is_blank_and_anything_else_has_words() {
        let blank = look(&file(&vec![0; 4 << 20]), 4 << 20, 512);
        assert!(blank.is_blank && blank.found.is_empty());
        let mut bytes = vec![0; 4 << 20];
        bytes[4096 - 10..4096].copy_from_slice(b"SWAPSPACE2");
        let swap = look(&file(&bytes), 4 << 20, 512);
        assert!(!swap.is_blank);
        assert_eq!(swap.words(), "swap");
        let mut bytes = vec![0; 4 << 20];
        bytes[700] = 1;
        let something = look(&file(&bytes), 4 << 20, 512);
        assert!(!something.is_blank);
        assert_eq!(something.words(), "data");
    }

    #[test]
    fn a_disk_that_ends_early_is_not_blank() {
        let short = look(&file(&vec![0; 2 << 20]), 4 << 20, 512);
        assert!(!short.is_blank);
        assert!(short.unreadable.is_some());
    }

    #[test]
    fn storage_that_machines_share_is_seen() {
        let mut bytes = vec![0; 4 << 20];
        bytes[..22].copy_from_slice(b"bluestore block device");
        assert_eq!(look(&file(&bytes), 4 << 20, 512).shared(), ["ceph-bluestore"]);
        let mut bytes = vec![0; 4 << 20];
        // The first entry of an MBR, of VMFS's type.
        bytes[446..462].copy_from_slice(&[0, 0, 0, 0, 0xfb, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0]);
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(look(&file(&bytes), 4 << 20, 512).shared(), ["vmfs"]);
    }

    #[test]
    fn parts_belong_together_by_uuid_or_where_nobody_can_tell() {
        for (one, other, expected) in [
            (part("md", Some("1")), inventory_disk("md", Some("1")), Kinship::Kin),
            (part("md", Some("1")), inventory_disk("md", Some("2")), Kinship::Stranger),
            (part("md", Some("1")), inventory_disk("md", None), Kinship::Kin),
            (part("md", Some("1")), inventory_disk("zfs", Some("1")), Kinship::Stranger),
            (part("lvm2", Some("root")), volume(Some("root")), Kinship::Kin),
            (part("lvm2", Some("root")), volume(Some("data")), Kinship::Stranger),
            (part("lvm2", Some("root")), volume(None), Kinship::Kin),
            (part("imsm", None), inventory_disk("imsm", None), Kinship::Kin),
            (part("lvm2", Some("1")), Disk::default(), Kinship::Unknown),
        ] {
            assert_eq!(kinship(&one, &other), expected, "{one:?}");
        }
        assert!(is_part("storage-spaces") && !is_part("ext4"));
    }
}
