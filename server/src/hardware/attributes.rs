//! The annotation `tinkerbell.org/agent-attributes`: the inventory as Tinkerbell's own agent would have told it.
//!
//! Facts: tinkerbell.md 2.3. Sizes are texts there, rounded up, in binary units that are written `KB`, `MB`, `GB`.
//! Tinkerbell ignores an annotation of more than 64 KiB, so the longest lists are left out first, whole, and named.

use protocol::{
    Bytes, Inventory,
    inventory::{Disk, Port, Transport},
};
use serde::Serialize;

/// More than this, and Tinkerbell leaves the annotation out.
const LIMIT: usize = 64 << 10;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    cpu: Cpu,
    memory: Memory,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    block_devices: Vec<Block>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    network_interfaces: Vec<Network>,
    chassis: Chassis,
    bios: Bios,
    baseboard: Baseboard,
    product: Product,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    #[serde(skip_serializing_if = "Option::is_none")]
    total_cores: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_threads: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    processors: Vec<Processor>,
}

#[derive(Debug, Serialize)]
struct Processor {
    id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    cores: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threads: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    capabilities: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Memory {
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usable: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    controller_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drive_type: Option<&'static str>,
    size: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    physical_block_size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wwn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<String>,
}

#[derive(Debug, Serialize)]
struct Network {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<String>,
}

#[derive(Debug, Serialize)]
struct Chassis {
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Bios {
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release_date: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Baseboard {
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Product {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<String>,
}

/// Writes the annotation, and names the lists that did not fit.
pub(super) fn annotation(inventory: &Inventory) -> (String, Vec<&'static str>) {
    let mut attributes = Attributes::of(inventory);
    let mut dropped = Vec::new();
    loop {
        let json = serde_json::to_string(&attributes).expect("its keys are texts");
        if json.len() <= LIMIT {
            return (json, dropped);
        }
        let Some(name) = attributes.drop_longest() else {
            // Single texts of this length are no inventory.
            return ("{}".to_owned(), vec!["everything"]);
        };
        dropped.push(name);
    }
}

/// Returns the threads of all processors; nothing when one of them did not say.
pub(super) fn total_threads(inventory: &Inventory) -> Option<u32> {
    total(inventory.processors.iter().map(|processor| processor.threads))
}

fn total(mut numbers: impl Iterator<Item = Option<u32>>) -> Option<u32> {
    numbers.try_fold(0_u32, |sum, number| sum.checked_add(number?)).filter(|&sum| sum > 0)
}

impl Attributes {
    fn of(inventory: &Inventory) -> Self {
        let (system, board) = (&inventory.system, &inventory.board);
        let (chassis, firmware) = (&inventory.chassis, &inventory.firmware);
        Self {
            cpu: Cpu::of(inventory),
            memory: Memory {
                total: inventory.memory.installed_bytes.map(readable),
                usable: inventory.memory.usable_bytes.map(readable),
            },
            block_devices: inventory.disks.iter().map(Block::of).collect(),
            network_interfaces: inventory.ports.iter().map(Network::of).collect(),
            chassis: Chassis {
                serial: chassis.serial.clone(),
                vendor: chassis.manufacturer.clone(),
            },
            bios: Bios {
                vendor: firmware.vendor.clone(),
                version: firmware.version.clone(),
                release_date: firmware.date.clone(),
            },
            baseboard: Baseboard {
                vendor: board.manufacturer.clone(),
                product: board.product.clone(),
                version: board.version.clone(),
                serial_number: board.serial.clone(),
            },
            product: Product {
                name: system.product.clone(),
                vendor: system.manufacturer.clone(),
                serial_number: system.serial.clone(),
            },
        }
    }

    /// Leaves out the longest list that is left; returns its name.
    fn drop_longest(&mut self) -> Option<&'static str> {
        let size = |list: serde_json::Result<String>| list.map_or(0, |json| json.len());
        let flags: Vec<&Vec<String>> =
            self.cpu.processors.iter().map(|processor| &processor.capabilities).collect();
        let flags_length: usize = flags.iter().map(|list| list.len()).sum();
        let lists = [
            ("cpu.processors[].capabilities", flags_length, size(serde_json::to_string(&flags))),
            (
                "blockDevices",
                self.block_devices.len(),
                size(serde_json::to_string(&self.block_devices)),
            ),
            (
                "networkInterfaces",
                self.network_interfaces.len(),
                size(serde_json::to_string(&self.network_interfaces)),
            ),
            (
                "cpu.processors",
                self.cpu.processors.len(),
                size(serde_json::to_string(&self.cpu.processors)),
            ),
        ];
        // Features before processors, where both are as long: `max_by_key` takes the last of equals.
        let longest = lists.into_iter().rev().filter(|(_, length, _)| *length > 0);
        let (name, ..) = longest.max_by_key(|(.., size)| *size)?;
        match name {
            "blockDevices" => self.block_devices.clear(),
            "networkInterfaces" => self.network_interfaces.clear(),
            "cpu.processors" if flags_length == 0 => self.cpu.processors.clear(),
            _ => {
                self.cpu.processors.iter_mut().for_each(|cpu| cpu.capabilities.clear());
                return Some("cpu.processors[].capabilities");
            }
        }
        Some(name)
    }
}

impl Cpu {
    fn of(inventory: &Inventory) -> Self {
        let processors = inventory.processors.iter();
        Self {
            total_cores: total(processors.clone().map(|processor| processor.cores)),
            total_threads: total_threads(inventory),
            processors: (0..)
                .zip(processors)
                .map(|(id, processor)| Processor {
                    id,
                    cores: processor.cores,
                    threads: processor.threads,
                    vendor: processor.vendor.clone(),
                    model: processor.model.clone(),
                    capabilities: processor.flags.clone(),
                })
                .collect(),
        }
    }
}

impl Block {
    fn of(disk: &Disk) -> Self {
        Self {
            name: disk.name.clone(),
            controller_type: disk.transport.and_then(|transport| match transport {
                Transport::Nvme => Some("NVMe"),
                Transport::Ata | Transport::Scsi | Transport::Usb | Transport::Raid => Some("SCSI"),
                Transport::Virtio => Some("virtio"),
                Transport::Mmc => Some("MMC"),
                Transport::Network | Transport::Other => None,
            }),
            drive_type: disk.rotational.map(|rotates| if rotates { "HDD" } else { "SSD" }),
            size: readable(disk.size_bytes),
            physical_block_size: disk
                .physical_sector_bytes
                .map(|size| readable(Bytes(size.into()))),
            vendor: disk.vendor.clone(),
            model: disk.model.clone(),
            wwn: disk.wwn.clone().or_else(|| disk.nguid.clone()).or_else(|| disk.eui64.clone()),
            serial_number: disk.serial.clone(),
        }
    }
}

impl Network {
    fn of(port: &Port) -> Self {
        Self {
            name: port.name.clone(),
            mac: port.permanent_mac.or(port.mac).map(super::spelled),
            speed: port.speed_mbps.map(|speed| format!("{speed}Mb/s")),
        }
    }
}

/// Writes a size as Tinkerbell's agent does: rounded up, binary units under decimal names.
fn readable(size: Bytes) -> String {
    const UNITS: [&str; 6] = ["B", "KB", "MB", "GB", "TB", "PB"];
    let mut unit = 0;
    let mut scale = 1_u64;
    while unit + 1 < UNITS.len() && size.0 / scale >= 1024 {
        unit += 1;
        scale *= 1024;
    }
    format!("{}{}", size.0.div_ceil(scale), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use protocol::inventory;

    use super::*;

    #[test]
    fn sizes_are_rounded_up_as_tinkerbell_does() {
        for (bytes, text) in [
            (512, "512B"),
            (4096, "4KB"),
            (32 << 30, "32GB"),
            (256_060_514_304, "239GB"),
            (0, "0B"),
            (u64::MAX, "16384PB"),
        ] {
            assert_eq!(readable(Bytes(bytes)), text);
        }
    }

    #[test]
    fn a_sum_with_a_gap_is_no_sum() {
        assert_eq!(total([Some(4), Some(4)].into_iter()), Some(8));
        assert_eq!(total([Some(4), None].into_iter()), None);
        assert_eq!(total([].into_iter()), None);
    }

    #[test]
    fn what_is_too_long_is_left_out_by_whole_lists_and_named() {
        let mut inventory = Inventory::default();
        for number in 0..16 {
            inventory.processors.push(inventory::Processor {
                model: Some(format!("Processor {number}")),
                flags: (0..500).map(|flag| format!("feature{flag}")).collect(),
                ..inventory::Processor::default()
            });
        }
        let (json, dropped) = annotation(&inventory);
        assert!(json.len() <= LIMIT);
        assert_eq!(dropped, ["cpu.processors[].capabilities"]);
        assert!(json.contains("Processor 15"));

        for number in 0..2000 {
            let disk = Disk { name: format!("sd{number}"), ..Disk::default() };
            inventory.disks.push(Disk { serial: Some("x".repeat(40)), ..disk });
        }
        let (json, dropped) = annotation(&inventory);
        assert!(json.len() <= LIMIT);
        assert_eq!(dropped, ["blockDevices", "cpu.processors[].capabilities"]);

        inventory.system.product = Some("y".repeat(LIMIT));
        assert_eq!(annotation(&inventory).0, "{}");
    }
}
