//! A disk as its partitions, read in bounded time and memory.

mod volume;
mod window;

use std::{fmt, io, sync::Arc};

pub use signature::{Partition, Signature};

pub use self::volume::{Name, Volume, VolumeError};
use self::window::Window;
use crate::entry::{HardDrive, Identity};

/// An EFI system partition. UEFI 2.10 §5.3.3.
const SYSTEM: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
/// The same in an MBR. UEFI 2.10 §5.2.2.
const SYSTEM_MBR: &str = "0xef";
/// What a boot loader reads beside the EFI system partition. Boot Loader Specification, "The Partitions".
const EXTENDED_BOOT: &str = "bc13c2ff-59e6-4262-a352-b275fd6f7172";

/// What holds a disk's bytes.
pub trait Storage: fmt::Debug {
    /// Returns the capacity in bytes.
    fn size_bytes(&self) -> u64;

    /// Returns the smallest addressable unit in bytes.
    fn sector_bytes(&self) -> u32;

    /// Fills a buffer. Offset and length are multiples of 4096 bytes, but at the disk's end of whole sectors.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// A disk and what its partition table says.
#[derive(Debug)]
pub struct Disk {
    storage: Arc<dyn Storage>,
    partitions: Vec<Partition>,
}

impl Disk {
    /// Reads the partition table and what tells filesystems apart. A disk that cannot be read has no partitions.
    pub fn open(storage: Arc<dyn Storage>) -> Self {
        let (size, sector) = (storage.size_bytes(), storage.sector_bytes());
        let mut whole = Window::new(Arc::clone(&storage), 0, size);
        let partitions = signature::probe(&mut whole, size, sector).partitions;
        Self { storage, partitions }
    }

    /// Returns all partitions, by number.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// Returns the EFI system partitions.
    pub fn system_partitions(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.iter().filter(|partition| [SYSTEM, SYSTEM_MBR].contains(&&*partition.kind))
    }

    /// Returns the partitions in which boot loaders look for entries: first those of the firmware, then extended ones.
    pub fn boot_partitions(&self) -> impl Iterator<Item = &Partition> {
        let extended = self.partitions.iter().filter(|partition| partition.kind == EXTENDED_BOOT);
        self.system_partitions().chain(extended)
    }

    /// Opens the filesystem of a partition.
    pub fn volume(&self, partition: &Partition) -> Result<Volume, VolumeError> {
        let window = Window::new(Arc::clone(&self.storage), partition.start, partition.size);
        Volume::open(partition, window)
    }

    /// Returns how firmware finds a partition again; nothing where the table has no name for it.
    pub fn hard_drive(&self, partition: &Partition) -> Option<HardDrive> {
        let sector = u64::from(self.storage.sector_bytes()).max(1);
        let uuid = partition.uuid.as_deref()?;
        let identity = match uuid.split_once('-') {
            Some((signature, _)) if partition.kind.starts_with("0x") => {
                Identity::Mbr(u32::from_str_radix(signature, 16).ok()?)
            }
            _ => Identity::Guid(stored_guid(uuid)?),
        };
        Some(HardDrive {
            partition: partition.number,
            first_sector: partition.start / sector,
            sectors: partition.size / sector,
            identity,
        })
    }
}

/// Returns a GUID as it is stored: its first three fields little endian (UEFI 2.10 appendix A).
fn stored_guid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|digit| *digit != '-').collect();
    if digits.len() != 32 {
        return None;
    }
    let mut guid = u128::from_str_radix(&digits, 16).ok()?.to_be_bytes();
    guid[0..4].reverse();
    guid[4..6].reverse();
    guid[6..8].reverse();
    Some(guid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_stored_with_three_fields_reversed() {
        let stored = stored_guid("00010203-0405-0607-0809-0a0b0c0d0e0f").unwrap();
        assert_eq!(stored, [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(stored_guid("1234abcd-01"), None);
    }
}
