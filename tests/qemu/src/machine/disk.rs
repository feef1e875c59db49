//! Disks of a machine: files of this machine's, never devices.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{chance, installed, program};

/// What the beacon says when a machine started from a disk with [`Content::Bootable`].
pub(crate) const OWN_DISK: &str = "OWN DISK STARTED";

/// QEMU's name of the NVMe controller with several namespaces.
const SPACES: &str = "spaces";

const SECTOR: usize = 512;
const MIB: usize = 1 << 20;
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
    /// Its capacity, in whole MiB.
    pub(crate) size_bytes: u64,
    /// Its serial number.
    pub(crate) serial: String,
    /// Its world wide name: on SATA, SCSI and SAS, and of a namespace.
    pub(crate) wwn: u64,
    /// What it counts in. SATA has 512 only.
    pub(crate) sector_bytes: u32,
    /// What it says that it is, where it speaks SCSI; absent: QEMU's own.
    pub(crate) make: Option<Make>,
    /// Whether it refuses to be written to.
    pub(crate) is_read_only: bool,
    /// How much can be written in a second; absent: as much as comes.
    pub(crate) bytes_per_second: Option<u64>,
    /// How much can be read in a second; absent: as much as comes.
    pub(crate) read_bytes_per_second: Option<u64>,
    /// Where, in sectors of 512 bytes, it cannot be written to.
    pub(crate) fails_at_sector: Option<u64>,
}

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bus {
    Virtio,
    Nvme,
    Sata,
    Scsi,
    /// Like [`Bus::Scsi`], behind a controller that tells nobody when a disk is exchanged.
    Silent,
    /// Behind a SAS controller, an LSI 1068.
    Sas,
    /// A logical drive of a RAID controller, an LSI `MegaRAID`.
    Raid,
    /// A namespace of the machine's one NVMe controller that has several, numbered from 1.
    Namespace,
    /// The same, attached to no controller: nobody sees a disk.
    Detached,
    /// A parallel cable, one disk at most. QEMU's AHCI tells that data is still to come when none is, and is therefore
    /// told nothing that erases.
    Pata,
}

impl Bus {
    /// Every one that a machine can start from.
    pub(crate) const ALL: [Bus; 4] = [Bus::Virtio, Bus::Nvme, Bus::Sata, Bus::Scsi];

    /// Returns the controller that disks of this kind stand behind, one in a machine; the machine has others for the
    /// others.
    pub(super) fn controller(self) -> Option<&'static str> {
        match self {
            Bus::Scsi => Some("virtio-scsi-pci,id=scsi"),
            Bus::Silent => Some("virtio-scsi-pci,id=silent,hotplug=off"),
            Bus::Sas => Some("mptsas1068,id=sas"),
            Bus::Raid => Some("megasas,id=raid"),
            Bus::Pata => Some("piix3-ide,id=pata"),
            Bus::Virtio | Bus::Nvme | Bus::Sata | Bus::Namespace | Bus::Detached => None,
        }
    }

    /// Holds for what several disks of one NVMe controller are.
    pub(super) fn is_namespace(self) -> bool {
        matches!(self, Bus::Namespace | Bus::Detached)
    }
}

/// What a SCSI disk says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Make {
    pub(crate) vendor: &'static str,
    pub(crate) product: &'static str,
    /// MEDIUM ROTATION RATE (SBC-4, section 6.6.2): 1 is flash, 1,025 and more are turns in a minute.
    pub(crate) rotation_rate: u16,
}

impl Make {
    /// A disk that turns.
    pub(crate) const TURNS: Make =
        Make { vendor: "SEAGATE", product: "ST2400MM0129", rotation_rate: 10_500 };
    /// A disk of flash.
    pub(crate) const FLASH: Make =
        Make { vendor: "SAMSUNG", product: "MZILT960HBHQ0D3", rotation_rate: 1 };
}

/// What is on a disk when it is first put into a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nothing but zeros.
    Blank,
    /// A partition table, an EFI system partition, and something that starts under BIOS and UEFI and says [`OWN_DISK`].
    Bootable,
    /// Nothing but ones.
    Ones,
    /// A partition table, and a Linux whose root filesystem is ext4, with files that `harbour` removes and others.
    Installed,
    /// One partition in a GUID partition table, with the GUID that [`Disk::partition_guid`] returns.
    Partitioned,
    /// What LUKS begins with.
    Encrypted,
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
            sector_bytes: 512,
            make: None,
            is_read_only: false,
            bytes_per_second: None,
            read_bytes_per_second: None,
            fails_at_sector: None,
        }
    }

    /// Describes a disk that a machine can start from.
    pub(crate) fn bootable(bus: Bus) -> Disk {
        Disk { content: Content::Bootable, ..Disk::blank(bus) }
    }

    /// Describes a disk with an installed system.
    pub(crate) fn installed(bus: Bus) -> Disk {
        Disk { content: Content::Installed, ..Disk::blank(bus) }
    }

    /// Describes a disk on which every bit is set.
    pub(crate) fn of_ones(bus: Bus) -> Disk {
        Disk { content: Content::Ones, ..Disk::blank(bus) }
    }

    /// Returns the GUID of the only partition of a disk with [`Content::Partitioned`].
    pub(crate) fn partition_guid(&self) -> String {
        format!("6c6f6e65-0000-4000-8000-{:012x}", self.wwn & 0xffff_ffff_ffff)
    }

    /// Returns QEMU's `-drive` for the disk with this number.
    pub(super) fn medium(&self, number: usize, file: &Path) -> String {
        let file = file.display();
        let path = match self.fails_at_sector {
            None => format!("format=raw,file={file}"),
            Some(sector) => format!(
                "driver=raw,file.driver=blkdebug,file.image.driver=file,file.image.filename={file},\
                 file.inject-error.0.event=none,file.inject-error.0.iotype=write,\
                 file.inject-error.0.sector={sector},file.inject-error.0.errno=5"
            ),
        };
        let pace = |of: &str, pace: Option<u64>| {
            pace.map(|pace| format!(",throttling.bps-{of}={pace}")).unwrap_or_default()
        };
        let pace = pace("write", self.bytes_per_second) + &pace("read", self.read_bytes_per_second);
        let mode = if self.is_read_only { ",readonly=on" } else { "" };
        format!("if=none,id=medium{number},cache=unsafe,discard=unmap,{path}{pace}{mode}")
    }

    /// Returns QEMU's `-device` for the disk with this number, from which the machine tries to start after the network.
    /// A namespace's own number is counted apart.
    pub(super) fn device(&self, number: usize, namespace: usize) -> String {
        let wwn = self.wwn;
        let device = match self.bus {
            Bus::Virtio => "virtio-blk-pci".to_owned(),
            Bus::Nvme => "nvme".to_owned(),
            Bus::Sata => format!("ide-hd,bus=ide.{number},wwn={wwn}"),
            Bus::Pata => format!("ide-hd,bus=pata.0,wwn={wwn}"),
            Bus::Scsi => format!("scsi-hd,bus=scsi.0,wwn={wwn}"),
            Bus::Silent => format!("scsi-hd,bus=silent.0,wwn={wwn}"),
            Bus::Sas => format!("scsi-hd,bus=sas.0,scsi-id={number},wwn={wwn}"),
            Bus::Raid => format!("scsi-hd,bus=raid.0,scsi-id={number},wwn={wwn}"),
            Bus::Namespace => format!("nvme-ns,bus={SPACES},nsid={namespace},eui64={wwn}"),
            Bus::Detached => {
                format!("nvme-ns,bus={SPACES},nsid={namespace},eui64={wwn},detached=on")
            }
        };
        let size = self.sector_bytes;
        let sectors = match self.bus {
            Bus::Sata | Bus::Pata => String::new(),
            _ => format!(",logical_block_size={size},physical_block_size={size}"),
        };
        // All namespaces of a controller have its serial number.
        let serial = match self.bus {
            Bus::Namespace | Bus::Detached => String::new(),
            _ => format!(",serial={}", self.serial),
        };
        let make = self.make.map(|make| {
            let Make { vendor, product, rotation_rate } = make;
            format!(",vendor={vendor},product={product},rotation_rate={rotation_rate}")
        });
        let (make, order) = (make.unwrap_or_default(), number + 1);
        format!(
            "{device},id=disk{number},drive=medium{number},bootindex={order}{serial}{sectors}{make}"
        )
    }

    /// Returns QEMU's `-device`s for the controller whose namespaces this and others are.
    pub(super) fn controller_of_namespaces(&self) -> [String; 2] {
        let serial = &self.serial;
        [
            "nvme-subsys,id=subsystem".to_owned(),
            format!("nvme,id={SPACES},subsys=subsystem,serial={serial}"),
        ]
    }

    /// Writes the disk's first content to a sparse file, unless the file is there.
    pub(super) fn create(&self, path: &Path) -> Result<()> {
        if path.exists() {
            return Ok(());
        }
        let context = || format!("making disk {}", path.display());
        let bytes = match self.content {
            Content::Installed => installed::disk(path, self.size_bytes)?,
            Content::Partitioned => partitioned(path, self)?,
            other => other.bytes(),
        };
        fs::write(first_content(path), &bytes).with_context(context)?;
        let mut file = File::create_new(path).with_context(context)?;
        file.write_all(&bytes).with_context(context)?;
        if self.content.rest() != 0 {
            let ones = vec![self.content.rest(); MIB];
            let mebibytes = 0..self.size_bytes >> 20;
            mebibytes.into_iter().try_for_each(|_| file.write_all(&ones)).with_context(context)?;
        }
        file.set_len(self.size_bytes).with_context(context)
    }

    /// Fails when the file holds anything else than the disk's first content.
    pub(super) fn is_unchanged(&self, path: &Path) -> Result<()> {
        let context = || format!("reading disk {}", path.display());
        let first = fs::read(first_content(path)).with_context(context)?;
        let mut file = File::open(path).with_context(context)?;
        let length = file.metadata().with_context(context)?.len();
        ensure!(length == self.size_bytes, "the disk {} has {length} bytes", self.serial);
        let (mut expected, mut found) = (vec![0; MIB], vec![0; MIB]);
        let parts = first.chunks(MIB).chain(std::iter::repeat(&[][..]));
        for (number, part) in (0..length >> 20).zip(parts) {
            expected.fill(self.content.rest());
            expected[..part.len()].copy_from_slice(part);
            file.read_exact(&mut found).with_context(context)?;
            ensure!(found == expected, "MiB {number} of disk {} was written to", self.serial);
        }
        Ok(())
    }
}

impl Content {
    /// Returns the byte that fills a disk behind [`Content::bytes`].
    fn rest(self) -> u8 {
        match self {
            Content::Ones => 0xff,
            _ => 0,
        }
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Content::Encrypted => {
                [&b"LUKS\xba\xbe\0\x02"[..], &[0; 1016], b"a key's slots"].concat()
            }
            Content::Blank | Content::Ones | Content::Installed | Content::Partitioned => {
                Vec::new()
            }
            Content::Bootable => {
                let mut bytes = boot_sector();
                bytes.resize(MIB, 0);
                bytes.extend(system_partition());
                bytes
            }
        }
    }
}

/// Returns what is on a disk with one partition in a table that Debian's own tool made.
fn partitioned(beside: &Path, disk: &Disk) -> Result<Vec<u8>> {
    let (table, plan) = (beside.with_extension("gpt"), beside.with_extension("sfdisk"));
    File::create(&table).and_then(|file| file.set_len(disk.size_bytes)).context("making a disk")?;
    let guid = disk.partition_guid();
    fs::write(&plan, format!("label: gpt\nstart=2048, size=6144, type=uefi, uuid={guid}\n"))
        .context("planning a disk")?;
    let output = Command::new("sfdisk")
        .args([OsStr::new("--no-reread"), table.as_os_str()])
        .stdin(File::open(&plan).context("opening a plan")?)
        .output()
        .context("running sfdisk")?;
    ensure!(output.status.success(), "sfdisk: {}", String::from_utf8_lossy(&output.stderr));
    let bytes = fs::read(&table).context("reading a disk")?;
    fs::remove_file(&table).context("removing a disk")?;
    Ok(bytes)
}

/// Returns where a disk's first content is kept, to be compared with.
fn first_content(disk: &Path) -> PathBuf {
    disk.with_extension("first")
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
    fn a_changed_byte_anywhere_is_a_written_disk() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tug-0.disk");
        let disk = Disk { size_bytes: 16 << 20, ..Disk::bootable(Bus::Sata) };
        disk.create(&path).unwrap();
        disk.is_unchanged(&path).unwrap();
        for place in [0, MIB + 3, (16 << 20) - 1] {
            let mut bytes = fs::read(&path).unwrap();
            bytes[place] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert!(disk.is_unchanged(&path).is_err(), "byte {place}");
            bytes[place] ^= 1;
            fs::write(&path, &bytes).unwrap();
        }
        disk.is_unchanged(&path).unwrap();
    }

    #[test]
    fn every_directory_entry_is_32_bytes() {
        assert_eq!(entry(b"EFI        ", 0x10, 2, 0).len(), 32);
    }
}
