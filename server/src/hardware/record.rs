//! From a machine, its inventory and the settings to its record. Pure.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    Bytes, Inventory, MacAddress,
    inventory::{BootMode, Disk, Transport},
};

use super::{
    Auto, Dhcp, DiskNames, DiskSpec, Hardware, Instance, Interface, Ip, MACHINE, MISSING,
    MachineMetadata, Metadata, Netboot, OWNER, PENDING, RecordSettings, Reservation, Spec,
    attributes, label, spelled,
};
use crate::machine::{Approval, DiskState, KnownDisk, Machine, Strength, evidence};

/// Leases of installed machines last a day at least (SAFETY.md 17).
const LEASE_SECONDS: u32 = 86_400;

/// A machine and what others know of its ports.
#[derive(Debug, Clone, Copy)]
pub struct MachineView<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// The addresses that its ports have for good.
    pub reservations: &'a BTreeMap<MacAddress, Reservation>,
    /// Its ports that an older machine shows too. Tinkerbell serves nobody whose address stands in two records.
    pub contested: &'a BTreeSet<MacAddress>,
}

/// Makes the record of a machine.
pub fn record(
    view: &MachineView<'_>,
    inventory: &Inventory,
    settings: &RecordSettings,
) -> Hardware {
    let machine = view.machine;
    let disks = disks(machine, inventory, settings.disk_names);
    let ports = ports(view);
    let missing = missing(view, inventory, &disks);
    let is_free = machine.is_approved() && missing.is_empty();
    let netboot = Netboot { allow_pxe: is_free, allow_workflow: is_free };
    let id = machine.first_mac.filter(|mac| !view.contested.contains(mac)).map(spelled);
    let interfaces = ports
        .into_iter()
        .map(|mac| Interface { dhcp: dhcp(mac, view, inventory, settings), netboot })
        .collect();
    Hardware {
        api_version: "tinkerbell.org/v1alpha1",
        kind: "Hardware",
        metadata: Metadata {
            name: machine.name.clone(),
            namespace: settings.namespace.clone(),
            labels: labels(machine, inventory, is_free),
            annotations: annotations(machine, inventory, &missing),
        },
        spec: Spec {
            agent_id: id.clone(),
            auto: (!is_free).then_some(Auto { enrollment_enabled: false }),
            disks,
            interfaces,
            metadata: MachineMetadata {
                // Without a port of its own nothing else names the machine; the record is held then.
                instance: Instance {
                    id: id.unwrap_or_else(|| machine.name.clone()),
                    hostname: machine.name.clone(),
                },
            },
            resources: resources(inventory),
        },
    }
}

/// Lists the ports that stand in the record: the one first booted through, then the others that stay with the machine.
fn ports(view: &MachineView<'_>) -> Vec<MacAddress> {
    let first = view.machine.first_mac;
    let mut others: Vec<MacAddress> = view
        .machine
        .ports
        .iter()
        .filter(|port| !port.removable && port.mac.is_usable())
        .map(|port| port.mac)
        .filter(|&mac| Some(mac) != first)
        .collect();
    others.sort_unstable();
    others.dedup();
    first.into_iter().chain(others).filter(|mac| !view.contested.contains(mac)).collect()
}

fn dhcp(
    mac: MacAddress,
    view: &MachineView<'_>,
    inventory: &Inventory,
    settings: &RecordSettings,
) -> Dhcp {
    let reservation = view.reservations.get(&mac);
    let lease = reservation.map_or(LEASE_SECONDS, |known| known.lease_seconds.max(LEASE_SECONDS));
    let name_servers = reservation
        .map(|known| &known.name_servers)
        .filter(|servers| !servers.is_empty())
        .unwrap_or(&settings.name_servers);
    Dhcp {
        mac: spelled(mac),
        hostname: view.machine.name.clone(),
        lease_time: lease.into(),
        arch: inventory.architecture.clone(),
        uefi: inventory.firmware.boot_mode.map(|mode| mode == BootMode::Uefi),
        ip: reservation.map(|known| Ip {
            address: known.address.to_string(),
            netmask: known.netmask.to_string(),
            gateway: known.gateway.map(|gateway| gateway.to_string()),
            family: 4,
        }),
        name_servers: name_servers.iter().map(ToString::to_string).collect(),
    }
}

/// Lists the disks on which something may be installed: those that a person chose, in that order;
/// else those that are blank and stay with the machine, the fastest kind and the smallest first.
fn disks(machine: &Machine, inventory: &Inventory, names: DiskNames) -> Vec<DiskSpec> {
    let own = || inventory.disks.iter().filter(|disk| is_own(disk));
    let chosen = machine.chosen_disks.iter().filter_map(|identity| {
        own().find(|disk| evidence::disk_identity(disk).as_ref() == Some(identity))
    });
    let mut disks: Vec<&Disk> = chosen.collect();
    // Who chose a disk that cannot be had did not choose another.
    if machine.chosen_disks.is_empty() {
        disks = own().filter(|disk| is_blank(machine, disk)).collect();
        disks.sort_by_key(|disk| {
            (disk.rotational != Some(false), disk.size_bytes, disk.by_id.first(), &disk.name)
        });
    }
    disks.into_iter().filter_map(|disk| device(disk, names)).collect()
}

/// Never USB, never over a network, nothing that can be taken out or only be read, no boot medium (SAFETY.md 2).
fn is_own(disk: &Disk) -> bool {
    !evidence::is_portable(disk)
        && !disk.boot_medium
        && !matches!(disk.transport, Some(Transport::Network | Transport::Usb))
        && disk.read_only != Some(true)
        && disk.size_bytes > Bytes(0)
}

/// Blank when its machine reported, and nothing was installed on it since.
fn is_blank(machine: &Machine, disk: &Disk) -> bool {
    let written = |known: &KnownDisk| {
        let this = KnownDisk::of(disk);
        known.state != DiskState::Blank && this.is_some_and(|this| this.identity == known.identity)
    };
    disk.content.as_ref().is_some_and(|content| content.blank) && !machine.disks.iter().any(written)
}

fn device(disk: &Disk, names: DiskNames) -> Option<DiskSpec> {
    let below = |directory: &str, name: &String| format!("/dev/disk/{directory}/{name}");
    let device = match names {
        // The kernel's list has `cciss!c0d0` where `/dev` has a directory.
        DiskNames::Kernel => Some(format!("/dev/{}", disk.name.replace('!', "/"))),
        DiskNames::Stable => disk
            .by_id
            .first()
            .map(|name| below("by-id", name))
            .or_else(|| disk.by_path.as_ref().map(|name| below("by-path", name))),
    };
    device.map(|device| DiskSpec { device })
}

/// Says what Tinkerbell's services and Cluster API's provider would look for in vain.
fn missing(view: &MachineView<'_>, inventory: &Inventory, disks: &[DiskSpec]) -> Vec<String> {
    let machine = view.machine;
    let mut missing = Vec::new();
    if !machine.complete {
        missing.push("a complete report".to_owned());
    }
    match machine.first_mac {
        None => missing.push("the port it booted through".to_owned()),
        Some(mac) if view.contested.contains(&mac) => {
            missing.push(format!("a port of its own: {mac} is another machine's too"));
        }
        Some(mac) if !view.reservations.contains_key(&mac) => {
            missing.push(format!("a reserved or fixed address for {mac}"));
        }
        Some(_) => {}
    }
    if disks.is_empty() {
        missing.push("a disk that is blank or was chosen, with a stable name".to_owned());
    }
    if inventory.architecture.is_none() {
        missing.push("the architecture".to_owned());
    }
    if inventory.firmware.boot_mode.is_none() {
        missing.push("the boot mode".to_owned());
    }
    missing
}

fn labels(machine: &Machine, inventory: &Inventory, is_free: bool) -> BTreeMap<String, String> {
    let mut facts: BTreeMap<&str, String> = inventory.facts();
    facts.insert("identity", strength(machine.strength()).to_owned());
    if let Some(threads) = attributes::total_threads(inventory) {
        facts.insert("threads", threads.to_string());
    }
    if let Some(memory) = inventory.memory.installed_bytes.or(inventory.memory.usable_bytes) {
        facts.insert("memory-gib", memory.0.div_ceil(1 << 30).to_string());
    }
    let fixed = inventory.disks.iter().filter(|disk| is_own(disk)).count();
    facts.insert("disks", fixed.to_string());
    let mut labels: BTreeMap<String, String> = facts
        .into_iter()
        .filter_map(|(key, fact)| {
            Some((format!("drydock.evoteum.com/{key}"), label::value(&fact)?))
        })
        .collect();
    labels.insert(MACHINE.to_owned(), machine.name.clone());
    if !is_free {
        labels.insert(OWNER.to_owned(), PENDING.to_owned());
    }
    labels
}

fn strength(strength: Strength) -> &'static str {
    match strength {
        Strength::Weak => "weak",
        Strength::Strong => "strong",
        Strength::Proven => "proven",
    }
}

fn annotations(
    machine: &Machine,
    inventory: &Inventory,
    missing: &[String],
) -> BTreeMap<String, String> {
    let (json, dropped) = attributes::annotation(inventory);
    let mut annotations = BTreeMap::from([("tinkerbell.org/agent-attributes".to_owned(), json)]);
    let mut note = |key: &str, text: String| {
        annotations.insert(format!("drydock.evoteum.com/{key}"), text);
    };
    if !dropped.is_empty() {
        note("agent-attributes-dropped", dropped.join(", "));
    }
    match &machine.approval {
        Approval::Pending => note("approval", "pending".to_owned()),
        Approval::Approved { by, .. } => note("approval", format!("approved by {by}")),
        Approval::Held { reason } => note("approval", format!("held: {reason}")),
    }
    if let Some(notice) = &machine.notice {
        note("notice", notice.clone());
    }
    if !missing.is_empty() {
        annotations.insert(MISSING.to_owned(), missing.join("; "));
    }
    annotations
}

fn resources(inventory: &Inventory) -> BTreeMap<&'static str, String> {
    let threads = attributes::total_threads(inventory).map(|threads| threads.to_string());
    // What the kernel can use differs from boot to boot; the record must not.
    let installed = inventory.memory.installed_bytes.or(inventory.memory.usable_bytes);
    let memory = installed.map(|bytes| bytes.0.to_string());
    [("cpu", threads), ("memory", memory)]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
}

#[cfg(test)]
pub(super) mod tests;
