//! Disks that tests make up.

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use crate::disk::Storage;

/// A disk in memory, of sectors of 512 bytes.
#[derive(Debug)]
pub(crate) struct Memory(Vec<u8>);

impl Memory {
    pub(crate) fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self(bytes))
    }
}

impl Storage for Memory {
    fn size_bytes(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap()
    }

    fn sector_bytes(&self) -> u32 {
        512
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let bytes = self.0.get(offset..offset + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Makes a disk with a GPT: of each partition its type as stored, and its content.
pub(crate) fn gpt(partitions: &[([u8; 16], &[u8])]) -> Vec<u8> {
    const FIRST: usize = 2048;
    let mut disk = vec![0; FIRST * 512];
    let mut entries = vec![0; 128 * 128];
    for (number, (kind, content)) in (1_u8..).zip(partitions) {
        let first = disk.len() / 512;
        disk.extend_from_slice(content);
        disk.resize(disk.len().next_multiple_of(1 << 20), 0);
        let entry = &mut entries[128 * usize::from(number - 1)..][..128];
        entry[..16].copy_from_slice(kind);
        entry[16..32].fill(number);
        entry[32..40].copy_from_slice(&u64::try_from(first).unwrap().to_le_bytes());
        let last = disk.len() / 512 - 1;
        entry[40..48].copy_from_slice(&u64::try_from(last).unwrap().to_le_bytes());
    }
    disk.resize(disk.len() + (1 << 20), 0);
    let mut header = [0; 92];
    header[..8].copy_from_slice(b"EFI PART");
    header[8..16].copy_from_slice(&[0, 0, 1, 0, 92, 0, 0, 0]);
    header[24] = 1;
    header[32..40].copy_from_slice(&u64::try_from(disk.len() / 512 - 1).unwrap().to_le_bytes());
    header[56..72].fill(0xdd);
    header[72] = 2;
    header[80] = 128;
    header[84] = 128;
    header[88..92].copy_from_slice(&crc32(&entries).to_le_bytes());
    let checksum = crc32(&header);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    disk[512..604].copy_from_slice(&header);
    disk[1024..1024 + entries.len()].copy_from_slice(&entries);
    disk[446..512].fill(0);
    disk[450] = 0xee;
    disk[454] = 1;
    disk[458..462].fill(0xff);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(sum & 1))
        })
    })
}

/// The type of an EFI system partition, as stored.
pub(crate) const SYSTEM: [u8; 16] = [
    0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
];

/// Makes a FAT filesystem with files in it. Paths begin with a slash.
pub(crate) fn fat(files: &[(&str, &[u8])]) -> Vec<u8> {
    let total: usize = files.iter().map(|(_, content)| content.len() + 8192).sum();
    let mut bytes = io::Cursor::new(vec![0; (total + (1 << 20)).next_multiple_of(1 << 20)]);
    let options =
        fatfs::FormatVolumeOptions::new().volume_label(*b"ESP        ").volume_id(0xabcd_1234);
    fatfs::format_volume(&mut bytes, options).unwrap();
    let filesystem = fatfs::FileSystem::new(&mut bytes, fatfs::FsOptions::new()).unwrap();
    for (path, content) in files {
        let mut directory = filesystem.root_dir();
        let mut names = path.trim_start_matches('/').split('/').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_some() {
                directory = directory.create_dir(name).unwrap();
            } else {
                directory.create_file(name).unwrap().write_all(content).unwrap();
            }
        }
    }
    filesystem.unmount().unwrap();
    bytes.into_inner()
}
