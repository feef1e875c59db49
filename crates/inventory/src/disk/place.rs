//! The stable name below `/dev/disk/by-path`: where a disk is plugged in.
//!
//! Spelt as systemd's `path_id` spells it: from the disk up to its bus, each known kind of parent adds its part
//! in front. A place without a known bus at its end has no name, since it would not be distinct.

use std::path::{Path, PathBuf};

use super::{Found, identity::scsi_address};
use crate::{
    Root,
    device::{self, Ancestor, subsystem},
};

/// Returns a disk's name by place.
pub(crate) fn by_path(root: &Root, found: &Found) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut ancestors = found.ancestors.clone();
    if found.name.starts_with("nvme") {
        parts.push(format!("nvme-{}", root.text(found.class.join("nsid")).ok()??));
        if ancestors.last()?.name == "virtual" {
            // A multipath namespace has no place of its own: that of the controller with its number counts.
            ancestors = device::ancestors(&controller(root, &found.name)?);
        }
    }
    let mut has_bus = false;
    let mut has_transport = !parts.is_empty();
    let mut index = 0;
    while let Some(ancestor) = ancestors.get(index) {
        let kind = subsystem(root, ancestor);
        let kind = kind.as_deref().unwrap_or_default();
        let mut skip = kind;
        match kind {
            "scsi" if scsi_address(&ancestor.name).is_some() => {
                let (part, is_bus) = scsi(root, &ancestors, index)?;
                has_bus |= is_bus;
                has_transport = true;
                parts.push(part);
            }
            "usb" => {
                has_transport = true;
                if let Some((_, port)) = ancestor.name.split_once('-') {
                    parts.push(format!("usb-0:{port}"));
                } else {
                    skip = "";
                }
            }
            "pci" | "platform" | "acpi" | "xen" => {
                has_bus = true;
                has_transport |= kind == "platform";
                parts.push(format!("{kind}-{}", ancestor.name));
            }
            "virtio" => has_transport = true,
            // Targets and hosts, controllers: known, but without a part.
            "scsi" | "nvme" => {}
            _ => skip = "",
        }
        index += 1;
        // Bridges, hubs and hosts of the same kind add nothing.
        while !skip.is_empty()
            && ancestors
                .get(index)
                .is_some_and(|next| subsystem(root, next).as_deref() == Some(skip))
        {
            index += 1;
        }
    }
    parts.reverse();
    (has_bus && has_transport).then(|| parts.join("-"))
}

/// Returns the controller that a multipath namespace is numbered after.
fn controller(root: &Root, name: &str) -> Option<PathBuf> {
    let (number, _) = name.strip_prefix("nvme")?.split_once('n')?;
    let link = root.link(format!("sys/class/nvme/nvme{number}")).ok()??;
    let path: PathBuf =
        link.components().skip_while(|part| part.as_os_str() != "devices").collect();
    Some(Path::new("sys").join(path))
}

/// Returns the part for a SCSI disk, and whether it is distinct without a bus in front of it.
fn scsi(root: &Root, ancestors: &[Ancestor], index: usize) -> Option<(String, bool)> {
    let parents = &ancestors[index + 1..];
    let [host, channel, target, lun] = scsi_address(&ancestors.get(index)?.name)?;
    let named = |prefix: &str| parents.iter().find(|parent| parent.name.starts_with(prefix));
    if named("rport-").is_some() {
        let target = named("target")?;
        let port =
            root.text(format!("sys/class/fc_transport/{}/port_name", target.name)).ok()??;
        return Some((format!("fc-{port}-{}", lun_name(lun)), true));
    }
    if let Some(end) = named("end_device-") {
        return Some((sas(root, parents, end, lun)?, true));
    }
    if named("session").is_some() {
        // An iSCSI disk is named by its target, which sysfs tells; a place it has not.
        return None;
    }
    if let Some(port) =
        parents.iter().find(|parent| device::number_after(&parent.name, "ata").is_some())
    {
        let number = root.text(format!("sys/class/ata_port/{}/port_no", port.name)).ok()??;
        // Behind a port multiplier the channel counts, else master and slave do.
        let part = if channel != 0 {
            format!("ata-{number}.{channel}.0")
        } else {
            format!("ata-{number}.{target}")
        };
        return Some((part, false));
    }
    if let Some(bus) = parents.iter().find(|parent| is_guid(&parent.name)) {
        return Some((format!("vmbus-{}-{}", bus.name.replace('-', ""), lun_name(lun)), true));
    }
    // Hosts are numbered in the order they were found: only the distance from the bus's first one is stable.
    let above = parents
        .iter()
        .find(|parent| device::number_after(&parent.name, "host").is_some())?
        .path
        .parent()?;
    let siblings = root.entries(above).ok()?;
    let first =
        siblings.iter().filter_map(|name| device::number_after(name, "host")).min().unwrap_or(host);
    Some((format!("scsi-{}:{channel}:{target}:{lun}", host.checked_sub(first)?), false))
}

/// Returns the part for a disk behind a SAS controller: by phy, or by address where a port has several phys.
fn sas(root: &Root, parents: &[Ancestor], end: &Ancestor, lun: u32) -> Option<String> {
    let device = |name: &str, field: &str| {
        root.text(format!("sys/class/sas_device/{name}/{field}")).ok().flatten()
    };
    let at = parents.iter().position(|parent| parent == end)?;
    let port = parents.get(at + 1)?;
    let phys = root.text(format!("sys/class/sas_port/{}/num_phys", port.name)).ok()??;
    if phys != "1" {
        return Some(format!("sas-{}-{}", device(&end.name, "sas_address")?, lun_name(lun)));
    }
    let phy = device(&end.name, "phy_identifier")?;
    let expander = parents.get(at + 2)?;
    Some(match device(&expander.name, "sas_address") {
        Some(address) => format!("sas-exp{address}-phy{phy}-{}", lun_name(lun)),
        None => format!("sas-phy{phy}-{}", lun_name(lun)),
    })
}

/// Returns a logical unit's number; those beyond the first 256 keep the form that SCSI has for them (SAM-5 §4.7).
fn lun_name(lun: u32) -> String {
    if lun < 256 {
        format!("lun-{lun}")
    } else {
        format!("lun-0x{:04x}{:04x}00000000", lun & 0xffff, lun >> 16)
    }
}

fn is_guid(name: &str) -> bool {
    name.len() == 36 && name.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}
