//! An order that destroys: whom it is for, what it is about, and until when (SAFETY.md 5).
//!
//! Writing an image and wiping are ordered in the same way. The server makes an order from what a machine reported;
//! the agent compares all of it with what it sees itself, just before the first byte is written.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Bytes, Inventory, MacAddress, inventory::Disk, wipe::Seed};

/// An order to destroy what is on disks of one machine. Single use: an agent that has begun it never begins it again
/// by itself, and the server gives it out to one session only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// Which order this is.
    pub id: OrderId,
    /// Who gave it, for the console and the report.
    pub by: String,
    /// The machine that it is for.
    pub machine: MachineEvidence,
    /// The disks that it is about; never empty.
    pub disks: Vec<OrderedDisk>,
    /// When it ends: milliseconds since 1970, by the server's clock. It is not begun after that.
    pub deadline_unix_milliseconds: i64,
    /// Of the inventory that it was made from.
    pub inventory: InventoryDigest,
}

/// The name of one order: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderId(pub [u8; 16]);

/// SHA-256 over what identifies a machine and its disks, and over nothing that changes by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InventoryDigest(pub [u8; 32]);

/// Says that a text is no digest or identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {digits} lower-case hexadecimal digits: {text:?}")]
pub struct HexadecimalError {
    digits: usize,
    text: String,
}

/// What a machine says of itself that another one does not say, as its inventory spells it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MachineEvidence {
    /// The SMBIOS UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// The serial number of the machine as sold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_serial: Option<String>,
    /// The main board's serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board_serial: Option<String>,
    /// The permanent addresses of all its network ports that cannot be taken out, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<MacAddress>,
}

/// A disk that an order is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderedDisk {
    /// Which disk.
    pub identity: DiskIdentity,
    /// Whether what is on it may be destroyed. Without it only a blank disk is touched.
    pub overwrite: bool,
}

/// What tells one disk from all others, as the inventory spells it. Absent values are compared like others:
/// a disk that had no serial number and has one is another disk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiskIdentity {
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The world wide name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wwn: Option<String>,
    /// The NVMe namespace's EUI-64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eui64: Option<String>,
    /// The NVMe namespace's NGUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nguid: Option<String>,
    /// Its capacity.
    pub size_bytes: Bytes,
    /// Its smallest addressable unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_sector_bytes: Option<u32>,
}

impl MachineEvidence {
    /// Takes it from an inventory.
    pub fn of(inventory: &Inventory) -> Self {
        let fixed = inventory.ports.iter().filter(|port| !port.removable);
        let mut ports: Vec<_> = fixed.filter_map(|port| port.permanent_mac).collect();
        ports.sort_unstable();
        ports.dedup();
        Self {
            uuid: inventory.system.uuid.clone(),
            system_serial: inventory.system.serial.clone(),
            board_serial: inventory.board.serial.clone(),
            ports,
        }
    }
}

impl DiskIdentity {
    /// Takes it from an inventory's disk.
    pub fn of(disk: &Disk) -> Self {
        Self {
            model: disk.model.clone(),
            serial: disk.serial.clone(),
            wwn: disk.wwn.clone(),
            eui64: disk.eui64.clone(),
            nguid: disk.nguid.clone(),
            size_bytes: disk.size_bytes,
            logical_sector_bytes: disk.logical_sector_bytes,
        }
    }

    /// Holds when it names something: a world wide name, or a model with a serial number (SAFETY.md 7).
    /// Whether the name is garbage or shared is for the server to judge, which knows all machines.
    pub fn is_named(&self) -> bool {
        self.wwn.is_some() || self.eui64.is_some() || self.nguid.is_some() || self.serial.is_some()
    }
}

impl InventoryDigest {
    /// Computes it. Disks without a medium do not count; the order in which disks were found does not matter.
    pub fn of(inventory: &Inventory) -> Self {
        Self::compute(inventory, |_| true)
    }

    /// Computes it as if some disks were not there: those that an order calls missing, so that it holds whether a dying
    /// disk shows up or not.
    pub fn without(inventory: &Inventory, missing: &[DiskIdentity]) -> Self {
        Self::compute(inventory, |disk| !missing.contains(disk))
    }

    fn compute(inventory: &Inventory, counts: impl Fn(&DiskIdentity) -> bool) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"drydock inventory 1\0");
        let MachineEvidence { uuid, system_serial, board_serial, ports } =
            MachineEvidence::of(inventory);
        for text in [uuid, system_serial, board_serial] {
            add(&mut hash, text.as_deref());
        }
        add_count(&mut hash, ports.len());
        for port in ports {
            hash.update(port.0);
        }
        let present = inventory.disks.iter().filter(|disk| disk.size_bytes != Bytes(0));
        let identities = present.map(DiskIdentity::of).filter(counts);
        let mut disks: Vec<[u8; 32]> = identities.map(|disk| disk.digest()).collect();
        disks.sort_unstable();
        add_count(&mut hash, disks.len());
        for disk in disks {
            hash.update(disk);
        }
        Self(hash.finalize().into())
    }
}

impl DiskIdentity {
    fn digest(&self) -> [u8; 32] {
        let Self { model, serial, wwn, eui64, nguid, size_bytes, logical_sector_bytes } = self;
        let mut hash = Sha256::new();
        for text in [model, serial, wwn, eui64, nguid] {
            add(&mut hash, text.as_deref());
        }
        hash.update(size_bytes.0.to_be_bytes());
        hash.update(logical_sector_bytes.unwrap_or(0).to_be_bytes());
        hash.finalize().into()
    }
}

/// Adds a text so that no two lists of texts look the same: absent is not empty, and each has its length before it.
fn add(hash: &mut Sha256, text: Option<&str>) {
    match text {
        None => hash.update([0]),
        Some(text) => {
            hash.update([1]);
            add_count(hash, text.len());
            hash.update(text);
        }
    }
}

fn add_count(hash: &mut Sha256, count: usize) {
    hash.update(u64::try_from(count).unwrap_or(u64::MAX).to_be_bytes());
}

fn write_digits(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn read_digits<const N: usize>(text: &str) -> Result<[u8; N], HexadecimalError> {
    let error = || HexadecimalError { digits: 2 * N, text: text.chars().take(80).collect() };
    if text.len() != 2 * N || !text.bytes().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(error());
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        let pair = text.get(2 * index..2 * index + 2).ok_or_else(error)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| error())?;
    }
    Ok(bytes)
}

/// Text of hexadecimal digits, both ways.
macro_rules! hexadecimal {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_digits(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_digits(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = HexadecimalError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                read_digits(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = HexadecimalError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}

hexadecimal!(OrderId);
hexadecimal!(InventoryDigest);
hexadecimal!(Seed);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Port;

    fn inventory() -> Inventory {
        let disk = |serial: &str| Disk {
            model: Some("QEMU NVMe Ctrl".to_owned()),
            serial: Some(serial.to_owned()),
            size_bytes: Bytes(1 << 30),
            logical_sector_bytes: Some(512),
            ..Disk::default()
        };
        let mut inventory = Inventory::default();
        inventory.system.uuid = Some("4c4c4544-0042-3510-8052-b9c04f4e3732".to_owned());
        inventory.system.serial = Some("B5R9N72".to_owned());
        inventory.disks = vec![disk("A"), disk("B")];
        inventory.ports =
            vec![Port { permanent_mac: "52:54:00:00:00:01".parse().ok(), ..Port::default() }];
        inventory
    }

    #[test]
    fn what_changes_by_itself_does_not_change_the_digest() {
        let before = InventoryDigest::of(&inventory());
        let mut later = inventory();
        later.disks.reverse();
        later.disks[0].content = None;
        later.disks[0].name = "sdz".to_owned();
        later.ports[0].link = Some(true);
        later.firmware.version = Some("2".to_owned());
        assert_eq!(InventoryDigest::of(&later), before);
    }

    #[test]
    fn a_disk_that_is_called_missing_does_not_count_whether_it_is_there_or_not() {
        let (with, mut gone) = (inventory(), inventory());
        let missing = [DiskIdentity::of(&gone.disks.remove(1))];
        let digest = InventoryDigest::of(&gone);
        assert_eq!(InventoryDigest::without(&gone, &missing), digest);
        assert_eq!(InventoryDigest::without(&with, &missing), digest);
        assert_eq!(InventoryDigest::without(&with, &[]), InventoryDigest::of(&with));
        assert_ne!(InventoryDigest::of(&with), digest);
    }

    #[test]
    fn whatever_tells_machines_and_disks_apart_changes_the_digest() {
        let before = InventoryDigest::of(&inventory());
        let changes: &[fn(&mut Inventory)] = &[
            |i| i.system.uuid = None,
            |i| i.system.serial = Some(String::new()),
            |i| i.board.serial = Some("B".to_owned()),
            |i| i.ports.clear(),
            |i| i.disks.truncate(1),
            |i| i.disks[0].model = None,
            |i| i.disks[0].serial = Some("C".to_owned()),
            |i| i.disks[0].wwn = Some("0x5000000000000001".to_owned()),
            |i| i.disks[0].eui64 = Some("0000000000000001".to_owned()),
            |i| i.disks[0].nguid = Some("00000000000000000000000000000001".to_owned()),
            |i| i.disks[0].size_bytes = Bytes((1 << 30) + 512),
            |i| i.disks[0].logical_sector_bytes = Some(4096),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut other = inventory();
            change(&mut other);
            assert_ne!(InventoryDigest::of(&other), before, "change {number}");
        }
    }

    #[test]
    fn an_identifier_reads_back_and_nothing_else_is_one() {
        let id = OrderId([0xa5; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "a5", &"A5".repeat(16), &"é".repeat(16), &"a5".repeat(17)] {
            assert!(text.parse::<OrderId>().is_err(), "{text}");
        }
    }
}
