//! What a machine is made of. Every value is absent rather than guessed.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{Bytes, MacAddress};

/// A machine, as its own kernel sees it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Inventory {
    /// The kernel's name of the architecture: `x86_64` or `aarch64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// What the system that reports was made of, `NAME=VERSION`: its own image first, by what is in it
    /// (`sunshineos=0a1b2c3d4e5f`), then Debian's packages of kernel and firmware. Empty for a system that is not ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub software: Vec<String>,
    /// The machine as sold.
    pub system: System,
    /// The main board.
    pub board: Board,
    /// The case.
    pub chassis: Chassis,
    /// The firmware and how it booted.
    pub firmware: Firmware,
    /// One for each populated socket.
    pub processors: Vec<Processor>,
    /// Memory and its modules.
    pub memory: Memory,
    /// Every block device that is a disk, sorted by kernel name.
    pub disks: Vec<Disk>,
    /// Every physical network port, sorted by PCI address, then name.
    pub ports: Vec<Port>,
    /// Devices on a bus that no driver has taken.
    pub undriven: Vec<Undriven>,
    /// Modules that are still to be fetched or loaded, by name: while there are any, disks and ports may be missing, and
    /// nothing is to be decided by what is not there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub awaited: Vec<String>,
    /// What could not be read.
    pub gaps: Vec<Gap>,
}

/// The machine as sold: SMBIOS type 1, or the device tree's root.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct System {
    /// The maker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The maker's version of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The serial number, as it stands there; whether it is garbage is for the reader to judge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The stock keeping unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    /// The model family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// The SMBIOS UUID in the spelling of `/sys/class/dmi/id/product_uuid`: lower case, canonical.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
}

/// The main board: SMBIOS type 2.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Board {
    /// The maker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Its asset tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asset_tag: Option<String>,
}

/// The case: SMBIOS type 3.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Chassis {
    /// The maker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// The type in words, for example `Rack Mount Chassis`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Its asset tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asset_tag: Option<String>,
}

/// The firmware: SMBIOS type 0, and how it booted this time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Firmware {
    /// The maker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// The version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The release date as the maker wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// How the machine booted this time: UEFI when `/sys/firmware/efi` exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_mode: Option<BootMode>,
    /// Whether Secure Boot was enforced, from the EFI variable `SecureBoot`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<bool>,
}

/// How a machine's firmware starts systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BootMode {
    /// Legacy BIOS.
    Bios,
    /// UEFI.
    Uefi,
}

/// A processor in its socket: SMBIOS type 4, else `/proc/cpuinfo`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Processor {
    /// The socket's designation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    /// The maker, for example `GenuineIntel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// The model in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Enabled cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// Hardware threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// The highest rated speed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_megahertz: Option<u32>,
    /// Features that placement depends on (`/proc/cpuinfo` flags), sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// Memory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// What is installed: the sum of the modules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed_bytes: Option<Bytes>,
    /// What the kernel can use: `MemTotal` of `/proc/meminfo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usable_bytes: Option<Bytes>,
    /// Slots, populated or not: SMBIOS type 17 entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
    /// The modules of populated slots.
    pub modules: Vec<MemoryModule>,
}

/// A memory module: SMBIOS type 17.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemoryModule {
    /// The slot's designation ("Device Locator").
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// Its capacity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<Bytes>,
    /// The kind, for example `DDR4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The rated speed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed_megatransfers_per_second: Option<u32>,
    /// The speed that it runs at ("Configured Memory Speed").
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configured_speed_megatransfers_per_second: Option<u32>,
    /// The maker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// The part number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_number: Option<String>,
    /// The serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
}

/// A disk: one block device (for NVMe one namespace, for SCSI one LUN).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Disk {
    /// The kernel's name in this boot, for example `nvme0n1`; never an identity.
    pub name: String,
    /// The maker, where the bus tells one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The firmware's revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// The world wide name of ATA and SCSI disks: `0x` and lower-case digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wwn: Option<String>,
    /// The NVMe namespace's EUI-64: 16 lower-case digits; absent when zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eui64: Option<String>,
    /// The NVMe namespace's NGUID: 32 lower-case digits; absent when zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nguid: Option<String>,
    /// Its capacity.
    pub size_bytes: Bytes,
    /// The smallest addressable unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logical_sector_bytes: Option<u32>,
    /// The unit that the medium writes without reading first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub physical_sector_bytes: Option<u32>,
    /// Whether the medium rotates (`queue/rotational`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotational: Option<bool>,
    /// Whether it is read-only (`ro`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// Whether the medium can be taken out (`removable`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removable: Option<bool>,
    /// Whether the machine started from it, or could have: it is a medium of ours, and the machine started from one. Absent
    /// is false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub boot_medium: bool,
    /// How it is attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Stable names below `/dev/disk/by-id`, as udev's `60-persistent-storage.rules` makes them, best first.
    pub by_id: Vec<String>,
    /// The stable name below `/dev/disk/by-path`, by position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_path: Option<String>,
    /// What is on it; absent when it could not be read (then there is a gap).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// NVMe over PCI Express.
    Nvme,
    /// ATA and SATA.
    Ata,
    /// SAS and parallel SCSI.
    Scsi,
    /// A paravirtual disk.
    Virtio,
    /// USB storage.
    Usb,
    /// eMMC and SD.
    Mmc,
    /// A RAID controller's logical drive.
    Raid,
    /// Anything over a network: iSCSI, Fibre Channel, NVMe over Fabrics.
    Network,
    /// Something this version does not know.
    #[serde(other)]
    Other,
}

/// What is on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Content {
    /// True when no signature is known and the first and the last MiB are zero.
    pub blank: bool,
    /// What was recognised on the whole disk, for example `gpt`, `ext4`, `lvm2`, `luks2`.
    pub signatures: Vec<Signature>,
    /// Its partitions.
    pub partitions: Vec<Partition>,
}

/// Something recognised at a place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Signature {
    /// What it is, in lower case: `gpt`, `mbr`, `ext4`, `xfs`, `btrfs`, `lvm2`, `md`, `luks1`, `luks2`, `zfs`, …
    pub kind: String,
    /// Where its magic was found, from the start of the disk or partition.
    pub offset_bytes: Bytes,
    /// Its label, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its UUID, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
}

/// A partition and what is on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Partition {
    /// Its number in the table, from 1.
    pub number: u32,
    /// Where it starts on the disk.
    pub start_bytes: Bytes,
    /// Its length.
    pub size_bytes: Bytes,
    /// Its type: a GUID in lower case, or an MBR type as `0x83`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its name in the table (GPT).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What was recognised in it.
    pub signatures: Vec<Signature>,
}

/// A physical network port.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    /// The kernel's name in this boot.
    pub name: String,
    /// The address burnt into the port (`ETHTOOL_GPERMADDR`); absent when the driver does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permanent_mac: Option<MacAddress>,
    /// The address in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// The kernel driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The card's firmware (`ETHTOOL_GDRVINFO`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// For example `0000:00:03.0`; absent when it is no PCI device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pci_address: Option<String>,
    /// PCI vendor and device, for example `8086:10d3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pci_id: Option<String>,
    /// Whether it hangs on USB or Thunderbolt: a card or dock that may be another machine's tomorrow.
    pub removable: bool,
    /// Whether it has a link; absent while the port is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<bool>,
    /// The speed of the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed_mbps: Option<u32>,
    /// The port's addresses at the time of the report.
    pub addresses: Vec<IpAddr>,
}

/// A device that no driver has taken.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Undriven {
    /// Its path below `/sys/devices`.
    pub path: String,
    /// Its `modalias`.
    pub modalias: String,
    /// Its class, for PCI devices as six digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Modules that are made for it, by name; empty where this system's kernel has none, or nobody looked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gap {
    /// What is missing, for example `disks/sda/content`.
    pub what: String,
    /// Where it was looked for, for example a path or an ioctl.
    pub source: String,
    /// Why, in words.
    pub reason: String,
    /// After how long it was given up, where that matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_milliseconds: Option<u64>,
}

impl Inventory {
    /// Returns facts that others may label a machine with: small, stable, sorted.
    pub fn facts(&self) -> BTreeMap<&'static str, String> {
        let mut facts = BTreeMap::new();
        let mut put = |key, value: Option<String>| {
            if let Some(value) = value {
                facts.insert(key, value);
            }
        };
        put("architecture", self.architecture.clone());
        put("manufacturer", self.system.manufacturer.clone());
        put("product", self.system.product.clone());
        put(
            "boot-mode",
            self.firmware.boot_mode.map(|mode| match mode {
                BootMode::Bios => "bios".to_owned(),
                BootMode::Uefi => "uefi".to_owned(),
            }),
        );
        facts
    }
}
