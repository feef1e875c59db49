//! Partition tables.

use super::{MIB, disk::Disk};

const SECTOR: u64 = 512;

#[derive(Debug, Clone, Copy)]
pub(super) enum Table {
    Gpt,
    /// The primary one was overwritten.
    BackupGpt,
    /// The disk grew since: the backup is where only the primary says.
    GrownGpt,
    /// The first partition is a primary one, the rest are logical ones.
    Mbr,
    Bsd,
}

impl Table {
    pub(super) const ALL: [Self; 5] =
        [Self::Gpt, Self::BackupGpt, Self::GrownGpt, Self::Mbr, Self::Bsd];

    /// Writes a table with partitions of these sizes, the first of them at 1 MiB and 2 MiB between them, and returns
    /// where they are.
    pub(super) fn write(self, disk: &Disk, sizes: &[u64]) -> Vec<(u64, u64)> {
        let mut at = MIB;
        let mut partitions = Vec::new();
        for size in sizes {
            partitions.push((at, *size));
            at += size + 2 * MIB;
        }
        self.write_at(disk, &partitions);
        partitions
    }

    /// Writes a table with these partitions.
    pub(super) fn write_at(self, disk: &Disk, partitions: &[(u64, u64)]) {
        let end = ::disk::Medium::size_bytes(disk) / SECTOR;
        match self {
            Self::Gpt => gpt(disk, partitions, end - 1),
            Self::BackupGpt => {
                gpt(disk, partitions, end - 1);
                disk.erase(0, 34 * SECTOR);
            }
            Self::GrownGpt => gpt(disk, partitions, end - 20_001),
            Self::Mbr => mbr(disk, partitions),
            Self::Bsd => bsd(disk, partitions),
        }
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 * (sum & 1)))
    })
}

fn gpt(disk: &Disk, partitions: &[(u64, u64)], backup: u64) {
    let mut entries = vec![0; 128 * 128];
    for ((start, length), entry) in partitions.iter().zip(entries.chunks_mut(128)) {
        entry[..16].fill(0xaf);
        entry[16..32].fill(0x11);
        entry[32..40].copy_from_slice(&(start / SECTOR).to_le_bytes());
        entry[40..48].copy_from_slice(&((start + length) / SECTOR - 1).to_le_bytes());
    }
    for (own, other, entries_at) in [(1, backup, 2), (backup, 1, backup - 32)] {
        let mut header = b"EFI PART\0\0\x01\0\x5c\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        for number in [own, other, 34, backup - 33] {
            header.extend(number.to_le_bytes());
        }
        header.extend([0x22; 16]);
        header.extend(entries_at.to_le_bytes());
        header.extend(128_u32.to_le_bytes());
        header.extend(128_u32.to_le_bytes());
        header.extend(crc32(&entries).to_le_bytes());
        let sum = crc32(&header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        disk.plant("gpt", own * SECTOR, &header);
        disk.put(entries_at * SECTOR, &entries);
    }
    disk.plant("pmbr", 510, &[0x55, 0xaa]);
    disk.put(446, &[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
}

fn entry(kind: u8, start: u64, length: u64) -> Vec<u8> {
    let [start, length] = [start, length].map(|bytes| u32::try_from(bytes / SECTOR).unwrap());
    [&[0, 0, 0, 0, kind, 0, 0, 0], &start.to_le_bytes()[..], &length.to_le_bytes()].concat()
}

fn mbr(disk: &Disk, partitions: &[(u64, u64)]) {
    disk.plant("mbr", 510, &[0x55, 0xaa]);
    let Some(((first, length), logical)) = partitions.split_first() else { return };
    disk.put(446, &entry(0x83, *first, *length));
    let Some((start, _)) = logical.first() else { return };
    let extended = start - MIB;
    let (last, length) = logical.last().unwrap();
    disk.put(462, &entry(0x0f, extended, last + length - extended));
    // Each record stands 1 MiB before its partition.
    for (index, (start, length)) in logical.iter().enumerate() {
        let record = start - MIB;
        disk.plant("ebr", record + 510, &[0x55, 0xaa]);
        disk.put(record + 446, &entry(0x83, MIB, *length));
        if let Some((next, length)) = logical.get(index + 1) {
            disk.put(record + 462, &entry(0x05, next - MIB - extended, length + MIB));
        }
    }
}

fn bsd(disk: &Disk, partitions: &[(u64, u64)]) {
    let mut label = vec![0; 148 + 16 * 8];
    label[..4].copy_from_slice(&[0x57, 0x45, 0x56, 0x82]);
    label[132..136].copy_from_slice(&[0x57, 0x45, 0x56, 0x82]);
    label[138] = 8;
    for ((start, length), entry) in partitions.iter().zip(label[148..].chunks_mut(16)) {
        entry[..4].copy_from_slice(&u32::try_from(length / SECTOR).unwrap().to_le_bytes());
        entry[4..8].copy_from_slice(&u32::try_from(start / SECTOR).unwrap().to_le_bytes());
    }
    disk.plant("bsd", 512, &label);
}
