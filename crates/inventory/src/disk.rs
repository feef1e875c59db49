//! Disks: which block devices are disks, and what the kernel's files say of each.

use std::path::{Path, PathBuf};

use protocol::{
    Bytes,
    inventory::{Disk, Transport},
};

use crate::{
    device::{self, Ancestor},
    survey::Survey,
};

pub(crate) mod content;
mod identity;
mod names;
mod place;
mod vpd;

/// What belongs to one disk while it is surveyed.
pub(crate) struct Found {
    /// The kernel's name.
    name: String,
    /// `sys/class/block/NAME`.
    class: PathBuf,
    /// The disk and its parents; empty where a capture has no link.
    ancestors: Vec<Ancestor>,
    /// How it is attached.
    transport: Option<Transport>,
}

impl Found {
    fn what(&self, field: &str) -> String {
        format!("disks/{}/{field}", self.name)
    }
}

/// Returns every disk, sorted by name, without what is on it.
pub(crate) fn survey(survey: &mut Survey<'_>) -> Vec<Disk> {
    let names = survey.entries("disks", "sys/class/block");
    names.into_iter().filter_map(|name| disk(survey, name)).collect()
}

/// Returns one block device, where it is a disk, without what is on it.
pub(crate) fn disk(survey: &mut Survey<'_>, name: String) -> Option<Disk> {
    if !may_be_disk(&name) {
        return None;
    }
    let class = Path::new("sys/class/block").join(&name);
    let link = survey.device(&format!("disks/{name}"), &class);
    let ancestors = link.map(|path| device::ancestors(&path)).unwrap_or_default();
    if is_virtual(&ancestors) || survey.root.exists(class.join("partition")) {
        return None;
    }
    // The paths of a multipath NVMe namespace; the namespace itself is listed.
    if survey.text("disks", class.join("hidden")).is_some_and(|hidden| hidden == "1") {
        return None;
    }
    let mut found = Found { name, class, ancestors, transport: None };
    let sectors: u64 = survey.number(&found.what("sizeBytes"), found.class.join("size"))?;
    let removable = survey.flag(&found.what("removable"), found.class.join("removable"));
    if sectors == 0 && removable == Some(true) {
        return None; // A drive without a medium.
    }
    found.transport = transport(survey, &found);
    let identity = identity::of(survey, &found);
    let queue = found.class.join("queue");
    Some(Disk {
        // The kernel counts in 512 bytes here, whatever the disk's sectors are.
        size_bytes: Bytes(sectors.saturating_mul(512)),
        logical_sector_bytes: survey
            .number(&found.what("logicalSectorBytes"), queue.join("logical_block_size")),
        physical_sector_bytes: survey
            .number(&found.what("physicalSectorBytes"), queue.join("physical_block_size")),
        rotational: survey.flag(&found.what("rotational"), queue.join("rotational")),
        read_only: survey.flag(&found.what("readOnly"), found.class.join("ro")),
        removable,
        transport: found.transport,
        boot_medium: false,
        by_id: identity.by_id,
        by_path: place::by_path(survey.root, &found),
        vendor: identity.vendor,
        model: identity.model,
        serial: identity.serial,
        firmware: identity.firmware,
        wwn: identity.wwn,
        eui64: identity.eui64,
        nguid: identity.nguid,
        name: found.name,
        content: None,
    })
}

/// Sorts out by name what is never a disk, or not one by itself: the boot and RPMB areas of an eMMC,
/// floppies, optical drives, the paths of a multipath namespace.
fn may_be_disk(name: &str) -> bool {
    const NEVER: [&str; 12] =
        ["loop", "ram", "zram", "dm-", "md", "nbd", "sr", "fd", "mtdblock", "bcache", "zd", "drbd"];
    let is_never = NEVER.iter().any(|prefix| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    });
    let is_mmc_area = name.starts_with("mmcblk")
        && (name.contains("boot") || name.contains("rpmb") || name.contains("gp"));
    let is_nvme_path = name
        .strip_prefix("nvme")
        .is_some_and(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('c'));
    !is_never && !is_mmc_area && !is_nvme_path
}

/// Holds for devices made of software. The namespaces of NVMe with multipath stand among them, and are real.
fn is_virtual(ancestors: &[Ancestor]) -> bool {
    let top = ancestors.last().is_some_and(|ancestor| ancestor.name == "virtual");
    top && !ancestors.iter().any(|ancestor| ancestor.name == "nvme-subsystem")
}

/// Tells how a disk is attached, by the names of its parents.
fn transport(survey: &mut Survey<'_>, found: &Found) -> Option<Transport> {
    let parents = found.ancestors.get(1..)?;
    let has = |prefix| device::has_numbered(parents, prefix);
    let starts = |prefix: &str| parents.iter().any(|parent| parent.name.starts_with(prefix));
    if found.name.starts_with("nvme") {
        return nvme_transport(survey, found);
    }
    let transport = if has("usb") {
        Transport::Usb
    } else if found.name.starts_with("mmcblk") {
        Transport::Mmc
    } else if found.name.starts_with("vd") || found.name.starts_with("xvd") {
        Transport::Virtio
    } else if found.name.starts_with("cciss") {
        Transport::Raid
    } else if has("session") || starts("rport-") {
        Transport::Network
    } else if has("ata") {
        Transport::Ata
    } else if has("host") {
        scsi_transport(survey, found)
    } else {
        Transport::Other
    };
    Some(transport)
}

/// Asks the controller, or for a multipath namespace one of its subsystem's controllers.
fn nvme_transport(survey: &mut Survey<'_>, found: &Found) -> Option<Transport> {
    let what = found.what("transport");
    let device = found.class.join("device");
    let mut told = survey.text(&what, device.join("transport"));
    if told.is_none() {
        let controllers = survey.entries(&what, &device);
        let is_controller = |name: &String| device::number_after(name, "nvme").is_some();
        told = controllers
            .iter()
            .filter(|name| is_controller(name))
            .find_map(|name| survey.text(&what, device.join(name).join("transport")));
    }
    match told.as_deref() {
        Some("tcp" | "rdma" | "fc" | "loop") => Some(Transport::Network),
        Some("pcie" | "apple-nvme") => Some(Transport::Nvme),
        Some(_) => Some(Transport::Other),
        // Kernels before 4.8 do not tell, and have PCI Express only.
        None => device::pci(&found.ancestors).map(|_| Transport::Nvme),
    }
}

/// Tells SATA behind a SAS controller and the logical drives of RAID controllers from true SCSI.
fn scsi_transport(survey: &mut Survey<'_>, found: &Found) -> Transport {
    let what = found.what("transport");
    let address = found.ancestors.iter().find(|ancestor| ancestor.name.split(':').count() == 4);
    let host = found
        .ancestors
        .iter()
        .find(|ancestor| device::number_after(&ancestor.name, "host").is_some());
    let driver = host.and_then(|host| {
        survey.text(&what, Path::new("sys/class/scsi_host").join(&host.name).join("proc_name"))
    });
    let channel: u32 = address
        .and_then(|address| address.name.split(':').nth(1))
        .and_then(|channel| channel.parse().ok())
        .unwrap_or(0);
    let is_logical = match driver.as_deref() {
        // Channels 0 and 1 are physical disks, 2 and 3 logical ones (MEGASAS_MAX_PD_CHANNELS).
        Some("megaraid_sas") => channel >= 2,
        Some("mpt3sas" | "mpt2sas") => channel == 1,
        Some("aacraid") => channel == 0,
        Some("hpsa" | "smartpqi") => {
            let level = survey.text(&what, found.class.join("device/raid_level"));
            level.is_some_and(|level| level != "N/A")
        }
        Some(
            "ips" | "arcmsr" | "megaraid" | "megaraid_mbox" | "3w-9xxx" | "3w-sas" | "3w-xxxx"
            | "gdth",
        ) => true,
        _ => false,
    };
    if is_logical {
        return Transport::Raid;
    }
    let vendor = survey.text(&what, found.class.join("device/vendor"));
    if vendor.as_deref() == Some("ATA") { Transport::Ata } else { Transport::Scsi }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_never_a_disk_is_sorted_out_by_name() {
        for name in [
            "loop0",
            "ram15",
            "zram0",
            "dm-3",
            "md127",
            "nbd0",
            "sr0",
            "fd0",
            "mmcblk0boot0",
            "mmcblk0rpmb",
            "mmcblk0gp0",
            "nvme0c1n1",
            "nvme10c0n1",
            "zd16",
            "bcache0",
            "mtdblock0",
        ] {
            assert!(!may_be_disk(name), "{name}");
        }
        for name in [
            "sda",
            "sdfd",
            "vda",
            "xvda",
            "nvme0n1",
            "nvme10n12",
            "mmcblk0",
            "pmem0",
            "cciss!c0d0",
            "srx",
        ] {
            assert!(may_be_disk(name), "{name}");
        }
    }
}
