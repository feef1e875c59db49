//! What an inventory shows of who the machine is: items, each with a judgement of how far it can be trusted.
//!
//! An item is *sound* when it can belong to one machine only and cannot be carried to another in a pocket.
//! Everything else is kept, with the reason why it does not count, so that a person can read it.

use std::collections::BTreeMap;

use protocol::{
    Inventory, MacAddress,
    inventory::{Disk, Port, Transport},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hexadecimal;

pub mod garbage;

/// What kind of thing an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// The SMBIOS UUID, in a spelling that is the same for both byte orders.
    Uuid,
    /// The serial number of the machine as sold.
    SystemSerial,
    /// The main board's serial number.
    BoardSerial,
    /// The case's serial number.
    ChassisSerial,
    /// The permanent address of a network port.
    Mac,
    /// A disk: NGUID, EUI-64, WWN, else model and serial number.
    Disk,
    /// All memory modules together.
    Memory,
}

impl Kind {
    /// Holds for things that can be taken in the hand: what firmware merely claims is not among them.
    pub fn is_physical(self) -> bool {
        matches!(self, Self::Mac | Self::Disk | Self::Memory)
    }

    /// Holds for things that stay with the machine when it is serviced or filled: disks and memory wander.
    pub fn is_rooted(self) -> bool {
        !matches!(self, Self::Disk | Self::Memory)
    }

    /// Says it in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Uuid => "UUID",
            Self::SystemSerial => "system serial number",
            Self::BoardSerial => "board serial number",
            Self::ChassisSerial => "chassis serial number",
            Self::Mac => "network port",
            Self::Disk => "disk",
            Self::Memory => "set of memory modules",
        }
    }
}

/// How far an item can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Soundness {
    /// One machine's only, and not removable.
    Sound,
    /// A value that makers leave in many machines.
    Garbage,
    /// On USB, in a dock, or a medium that can be taken out.
    Removable,
    /// A MAC address made up by software.
    LocallyAdministered,
}

/// One thing that an inventory shows of who the machine is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Its value, in one spelling: equal values are equal texts.
    pub value: String,
    /// How far it can be trusted.
    pub soundness: Soundness,
}

/// How sure a machine's identity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Strength {
    /// Fewer than two sound items.
    Weak,
    /// Two sound items or more.
    Strong,
    /// A TPM has signed: kept for the version that asks it.
    Proven,
}

/// What an inventory shows of who the machine is. Sorted, without repetition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Evidence {
    items: Vec<Item>,
}

impl Evidence {
    /// Collects the evidence in an inventory.
    pub fn of(inventory: &Inventory) -> Self {
        let mut items = Vec::new();
        items.extend(uuid(inventory));
        for (kind, serial) in [
            (Kind::SystemSerial, &inventory.system.serial),
            (Kind::BoardSerial, &inventory.board.serial),
            (Kind::ChassisSerial, &inventory.chassis.serial),
        ] {
            items.extend(serial.as_deref().and_then(|text| serial_item(kind, text)));
        }
        items.extend(inventory.ports.iter().filter_map(port));
        items.extend(inventory.disks.iter().filter_map(disk));
        items.extend(memory(inventory));
        items.into_iter().collect()
    }

    /// Shows every item, sound or not.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Shows the sound items.
    pub fn sound(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.soundness == Soundness::Sound)
    }

    /// Shows the sound items of one kind.
    pub fn sound_of(&self, kind: Kind) -> impl Iterator<Item = &Item> {
        self.sound().filter(move |item| item.kind == kind)
    }

    /// Returns the sound UUID, in the spelling that [`garbage::uuid_key`] gives.
    pub fn uuid(&self) -> Option<&str> {
        self.sound_of(Kind::Uuid).next().map(|item| item.value.as_str())
    }

    /// Holds when the item is there and sound.
    pub fn has_sound(&self, item: &Item) -> bool {
        self.items.binary_search(item).is_ok() && item.soundness == Soundness::Sound
    }

    /// Says how sure the identity is.
    pub fn strength(&self) -> Strength {
        if self.sound().count() >= 2 { Strength::Strong } else { Strength::Weak }
    }
}

impl FromIterator<Item> for Evidence {
    fn from_iter<I: IntoIterator<Item = Item>>(items: I) -> Self {
        let mut items: Vec<Item> = items.into_iter().collect();
        items.sort();
        items.dedup();
        Self { items }
    }
}

fn uuid(inventory: &Inventory) -> Option<Item> {
    let text = inventory.system.uuid.as_deref()?;
    let (value, soundness) = match garbage::uuid_key(text) {
        Some(key) => (key, Soundness::Sound),
        None => (text.trim().to_lowercase(), Soundness::Garbage),
    };
    Some(Item { kind: Kind::Uuid, value, soundness })
}

/// Returns nothing for an empty text: the machine did not say.
fn serial_item(kind: Kind, text: &str) -> Option<Item> {
    let value = garbage::normalised(text);
    if value.is_empty() {
        return None;
    }
    let soundness =
        if garbage::is_garbage_serial(text) { Soundness::Garbage } else { Soundness::Sound };
    Some(Item { kind, value, soundness })
}

/// Judges a port's permanent address. The address in use says nothing: software sets it.
fn port(port: &Port) -> Option<Item> {
    let mac = port.permanent_mac.filter(|mac| mac.is_usable())?;
    let soundness = mac_soundness(mac, port.removable);
    Some(Item { kind: Kind::Mac, value: mac.to_string(), soundness })
}

fn mac_soundness(mac: MacAddress, removable: bool) -> Soundness {
    if removable {
        Soundness::Removable
    } else if mac.is_locally_administered() {
        Soundness::LocallyAdministered
    } else if garbage::is_garbage_mac(mac) {
        Soundness::Garbage
    } else {
        Soundness::Sound
    }
}

/// Judges a disk's identity. Disks over a network and disks that nothing identifies are no evidence of a machine.
fn disk(disk: &Disk) -> Option<Item> {
    if disk.transport == Some(Transport::Network) || disk.size_bytes.0 == 0 {
        return None;
    }
    let value = disk_identity(disk)?;
    let soundness = if is_portable(disk) { Soundness::Removable } else { Soundness::Sound };
    Some(Item { kind: Kind::Disk, value, soundness })
}

/// Holds for disks that can be another machine's tomorrow without a screwdriver.
pub fn is_portable(disk: &Disk) -> bool {
    disk.transport == Some(Transport::Usb) || disk.removable == Some(true)
}

/// Holds where something was recognised on a disk, or nobody could look. Noise without a name is nothing.
pub fn holds_data(disk: &Disk) -> bool {
    disk.content
        .as_ref()
        .is_none_or(|content| !content.signatures.is_empty() || !content.partitions.is_empty())
}

/// Returns the best name that a disk has everywhere; absent where there is none, or only garbage.
pub fn disk_identity(disk: &Disk) -> Option<String> {
    let wide = |name: &str, value: &Option<String>| {
        let value = value.as_deref()?;
        let digits = value.trim().trim_start_matches("0x").trim_start_matches("eui.");
        (!garbage::is_garbage_wide_name(digits))
            .then(|| format!("{name}:{}", digits.to_lowercase()))
    };
    wide("nguid", &disk.nguid)
        .or_else(|| wide("eui", &disk.eui64))
        .or_else(|| wide("wwn", &disk.wwn))
        .or_else(|| {
            let serial = disk.serial.as_deref().filter(|text| !garbage::is_garbage_serial(text))?;
            let model = garbage::normalised(disk.model.as_deref().unwrap_or_default());
            Some(format!("serial:{model}:{}", garbage::normalised(serial)))
        })
}

/// Makes one item of all modules: single modules wander from machine to machine.
/// A serial number that stands on two modules of one machine spoils the set.
fn memory(inventory: &Inventory) -> Option<Item> {
    let mut serials: BTreeMap<String, usize> = BTreeMap::new();
    for module in &inventory.memory.modules {
        let serial = module.serial.as_deref().filter(|text| !garbage::is_garbage_serial(text))?;
        let part = garbage::normalised(module.part_number.as_deref().unwrap_or_default());
        *serials.entry(format!("{part}:{}", garbage::normalised(serial))).or_default() += 1;
    }
    if serials.is_empty() || serials.values().any(|&count| count > 1) {
        return None;
    }
    let names: Vec<String> = serials.into_keys().collect();
    let digest = Sha256::digest(names.join("\n"));
    Some(Item {
        kind: Kind::Memory,
        value: hexadecimal(&digest[..16]),
        soundness: Soundness::Sound,
    })
}

#[cfg(test)]
mod tests {
    use protocol::{
        Bytes,
        inventory::{MemoryModule, System},
    };

    use super::*;

    fn port(mac: &str, removable: bool) -> Port {
        Port { permanent_mac: Some(mac.parse().unwrap()), removable, ..Port::default() }
    }

    fn judged(inventory: &Inventory) -> Vec<(Kind, Soundness)> {
        Evidence::of(inventory).items().iter().map(|item| (item.kind, item.soundness)).collect()
    }

    #[test]
    fn both_byte_orders_of_a_uuid_are_one_item() {
        let of = |text: &str| {
            Evidence::of(&Inventory {
                system: System { uuid: Some(text.to_owned()), ..System::default() },
                ..Inventory::default()
            })
        };
        let straight = of("4c4c4544-0051-3510-8048-b4c04f4d5032");
        assert_eq!(straight, of("44454C4C-5100-1035-8048-B4C04F4D5032"));
        assert!(straight.uuid().is_some());
        assert_eq!(straight.strength(), Strength::Weak);
    }

    #[test]
    fn usb_cards_and_made_up_addresses_are_never_sound() {
        let inventory = Inventory {
            ports: vec![
                port("00:e0:4c:68:12:34", true),
                port("52:54:00:12:34:56", false),
                port("3c:ec:ef:01:02:03", false),
                Port { mac: "3c:ec:ef:09:09:09".parse().ok(), ..Port::default() },
            ],
            ..Inventory::default()
        };
        let found = judged(&inventory);
        assert_eq!(found.len(), 3, "an address in use is no evidence");
        for soundness in [Soundness::Removable, Soundness::LocallyAdministered, Soundness::Sound] {
            assert!(found.contains(&(Kind::Mac, soundness)), "{soundness:?}");
        }
    }

    #[test]
    fn a_usb_disk_and_a_lun_are_not_the_machines_own() {
        let disk = |transport, serial: &str| Disk {
            transport: Some(transport),
            serial: Some(serial.to_owned()),
            size_bytes: Bytes(1 << 30),
            ..Disk::default()
        };
        let inventory = Inventory {
            disks: vec![
                disk(Transport::Usb, "AA00012345"),
                disk(Transport::Network, "BB00012345"),
                disk(Transport::Ata, "S3Z1NB0K123456"),
                disk(Transport::Ata, "QM00001"),
            ],
            ..Inventory::default()
        };
        let found = judged(&inventory);
        assert_eq!(
            found.iter().filter(|item| item.1 == Soundness::Sound).count(),
            1,
            "only the real one counts: {found:?}"
        );
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn memory_counts_only_as_a_whole_and_without_repetition() {
        let with = |serials: &[&str]| {
            let mut inventory = Inventory::default();
            for serial in serials {
                inventory.memory.modules.push(MemoryModule {
                    serial: Some((*serial).to_owned()),
                    ..MemoryModule::default()
                });
            }
            Evidence::of(&inventory)
        };
        assert_eq!(with(&["1A2B3C4D", "1A2B3C4E"]), with(&["1A2B3C4E", "1a2b3c4d"]));
        assert_ne!(with(&["1A2B3C4D", "1A2B3C4E"]), with(&["1A2B3C4D"]));
        assert_eq!(with(&["1A2B3C4D", "1A2B3C4D"]), Evidence::default());
        assert_eq!(with(&["1A2B3C4D", "00000000"]), Evidence::default());
    }

    #[test]
    fn an_empty_inventory_shows_nothing() {
        assert_eq!(Evidence::of(&Inventory::default()), Evidence::default());
    }
}
