//! Disks of a machine: files of this machine's, never devices.

use std::{
    fs::{self, File},
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};

use super::{chance, program};

/// What the beacon says when a machine started from a disk with [`Content::Bootable`].
pub(crate) const OWN_DISK: &str = "OWN DISK STARTED";

const SECTOR: usize = 512;
/// Where the only partition begins: 1 MiB.
const PARTITION_START_SECTORS: u32 = 2048;
/// Its length. FAT16 needs at least 4,085 clusters, here of one sector.
const PARTITION_SECTORS: u32 = 8192;
const FAT_SECTORS: u16 = 32;
const ROOT_ENTRIES: u16 = 512;

/// A disk.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    /// How it is attached.
    pub(crate) bus: Bus,
    /// What is on it at first.
    pub(crate) content: Content,
    /// Its capacity.
    pub(crate) size_bytes: u64,
    /// Its serial number.
    pub(crate) serial: String,
    /// Its world wide name; on SATA and SCSI only.
    pub(crate) wwn: u64,
}

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bus {
    Virtio,
    Nvme,
    Sata,
    Scsi,
}

/// What is on a disk when it is first put into a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nothing but zeros.
    Blank,
    /// A partition table, an EFI system partition, and something that starts under BIOS and UEFI and says [`OWN_DISK`].
    Bootable,
}

impl Disk {
    /// Describes a blank disk.
    pub(crate) fn blank(bus: Bus) -> Disk {
        Disk {
            bus,
            content: Content::Blank,
            size_bytes: 1 << 30,
            serial: format!("DISK{}", chance::digits(8)),
            wwn: 0x5000_c500_0000_0000 | u64::from(chance::number()),
        }
    }

    /// Describes a disk that a machine can start from.
    pub(crate) fn bootable(bus: Bus) -> Disk {
        Disk { content: Content::Bootable, ..Disk::blank(bus) }
    }

    /// Writes the disk's first content to a sparse file, unless the file is there.
    pub(super) fn create(&self, path: &Path) -> Result<()> {
        if path.exists() {
            return Ok(());
        }
        let context = || format!("making disk {}", path.display());
        let mut file = File::create_new(path).with_context(context)?;
        file.set_len(self.size_bytes).with_context(context)?;
        if self.content == Content::Bootable {
            file.write_all(&boot_sector()).with_context(context)?;
            let start = u64::from(PARTITION_START_SECTORS) * 512;
            file.seek(SeekFrom::Start(start)).with_context(context)?;
            file.write_all(&system_partition()).with_context(context)?;
        }
        Ok(())
    }
}

/// Writes the two network boot programs that say a line, for a boot server that is not ours.
pub(crate) fn write_network_programs(directory: &Path, line: &str) -> Result<()> {
    let write = |name: &str, bytes: Vec<u8>| {
        fs::write(directory.join(name), bytes).with_context(|| format!("writing {name}"))
    };
    write("program.bios", program::bios(line))?;
    write("program.efi", program::efi(line))
}

/// A master boot record with code, and one active partition of type 0xef, "EFI system partition".
fn boot_sector() -> Vec<u8> {
    let mut sector = program::bios(OWN_DISK);
    sector.resize(446, 0);
    sector.extend([0x80, 0xfe, 0xff, 0xff, 0xef, 0xfe, 0xff, 0xff]);
    sector.extend(PARTITION_START_SECTORS.to_le_bytes());
    sector.extend(PARTITION_SECTORS.to_le_bytes());
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector
}

/// A FAT16 file system that holds `\EFI\BOOT\BOOTX64.EFI`. Microsoft's FAT specification 1.03.
fn system_partition() -> Vec<u8> {
    let program = program::efi(OWN_DISK);
    let first = [&[0xeb, 0x3c, 0x90][..], b"DRYDOCK "].concat();
    let mut boot = first;
    boot.extend(512_u16.to_le_bytes()); // bytes per sector
    boot.push(1); // sectors per cluster
    boot.extend(1_u16.to_le_bytes()); // reserved sectors
    boot.push(1); // file allocation tables
    boot.extend(ROOT_ENTRIES.to_le_bytes());
    boot.extend(8192_u16.to_le_bytes()); // sectors
    boot.push(0xf8); // fixed disk
    boot.extend(FAT_SECTORS.to_le_bytes());
    boot.extend([63, 0, 255, 0]); // geometry
    boot.extend(PARTITION_START_SECTORS.to_le_bytes());
    boot.extend(0_u32.to_le_bytes());
    boot.extend([0x80, 0, 0x29]);
    boot.extend(chance::number().to_le_bytes()); // volume id
    boot.extend(b"OWN DISK   FAT16   ");
    boot.resize(510, 0);
    boot.extend([0x55, 0xaa]);

    // Clusters: 2 is \EFI, 3 is \EFI\BOOT, the file begins at 4.
    let clusters = u16::try_from(program.len().div_ceil(SECTOR)).expect("a program of 1 KiB");
    let mut table: Vec<u16> = vec![0xfff8, 0xffff, 0xffff, 0xffff];
    table.extend((1..clusters).map(|number| 4 + number));
    table.push(0xffff);
    let mut table: Vec<u8> = table.into_iter().flat_map(u16::to_le_bytes).collect();
    table.resize(usize::from(FAT_SECTORS) * SECTOR, 0);

    let size = u32::try_from(program.len()).expect("a program of 1 KiB");
    let mut root = entry(b"EFI        ", 0x10, 2, 0);
    root.resize(usize::from(ROOT_ENTRIES) * 32, 0);
    let dots = |own: u16, parent: u16| {
        [entry(b".          ", 0x10, own, 0), entry(b"..         ", 0x10, parent, 0)].concat()
    };
    let mut efi = [dots(2, 0), entry(b"BOOT       ", 0x10, 3, 0)].concat();
    efi.resize(SECTOR, 0);
    let mut directory = [dots(3, 2), entry(b"BOOTX64 EFI", 0x20, 4, size)].concat();
    directory.resize(SECTOR, 0);

    [boot, table, root, efi, directory, program].concat()
}

/// A directory entry: 8.3 name, attributes, first cluster, size.
fn entry(name: &[u8; 11], attributes: u8, cluster: u16, size: u32) -> Vec<u8> {
    let mut entry = name.to_vec();
    entry.push(attributes);
    entry.resize(26, 0);
    entry.extend(cluster.to_le_bytes());
    entry.extend(size.to_le_bytes());
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_sector_fits_and_ends_with_its_magic() {
        let sector = boot_sector();
        assert_eq!(sector.len(), SECTOR);
        assert_eq!(sector[510..], [0x55, 0xaa]);
        assert_eq!(sector[446 + 4], 0xef);
    }

    #[test]
    fn every_directory_entry_is_32_bytes() {
        assert_eq!(entry(b"EFI        ", 0x10, 2, 0).len(), 32);
    }
}
