//! Disks under their permits, put together with the doors that they take commands through: those that share a device in one
//! unit.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use disk::{Asking, Controller, Held};
use protocol::{
    inventory::{Disk, Transport},
    order::DiskIdentity,
    wipe::PowerLevel,
};
use wipe::{
    Handling, Part,
    firmware::{Device, Hiding, Reach},
    forecast::USB_UNASKED,
    harbour::Live,
    job::{DiskWatch, Keeper, Unit, UnitDisk},
    plan::MediumKind,
    unit::{self, Tell, Terms},
};

/// Why a disk is not told to erase all that its device holds.
pub(crate) const NOT_ALONE: &str = "it may hold other disks";

/// Where installed filesystems are mounted for a while.
const INSTALLED: &str = "/run/drydock/installed";

/// A disk of an order, held.
#[derive(Debug)]
pub(super) struct Ordered {
    /// Its number in the order, from 0.
    pub(super) number: u32,
    /// As the order names it.
    pub(super) identity: DiskIdentity,
    /// As the inventory shows it.
    pub(super) disk: Disk,
    /// Its bytes and doors.
    pub(super) held: Held,
}

/// What is known of a disk without asking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// What lies behind its addresses.
    pub(crate) kind: MediumKind,
    /// How it is attached, in the certificate's words.
    pub(crate) transport: &'static str,
}

/// In which commands a disk is asked what it can, and told to erase itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commands {
    Nvme,
    Ata,
    Scsi,
    Mmc,
    /// It is only read and written.
    None,
}

/// Returns the commands of disks that are attached in a way: none through USB bridges. Linux keeps questions from them
/// too (`no_report_opcodes`, `skip_vpd_pages` in `drivers/usb/storage`), since some hang; and behind one may be several
/// disks.
pub(crate) fn commands(transport: Option<Transport>) -> Commands {
    match transport {
        Some(Transport::Nvme) => Commands::Nvme,
        Some(Transport::Ata) => Commands::Ata,
        Some(Transport::Scsi) => Commands::Scsi,
        Some(Transport::Mmc) => Commands::Mmc,
        _ => Commands::None,
    }
}

/// Models of virtual disks that look like real ones: those of hypervisors and clouds.
const VIRTUAL: [&str; 8] = [
    "QEMU",
    "VMware",
    "Virtual disk",
    "Virtual Disk",
    "VBOX",
    "Amazon Elastic Block Store",
    "PersistentDisk",
    "Microsoft NVMe Direct Disk",
];

/// Returns what an inventory says of a disk.
pub(crate) fn facts(disk: &Disk) -> Known {
    let transport = disk.transport.unwrap_or(Transport::Other);
    let says = |text: &Option<String>| {
        let text = text.as_deref().unwrap_or_default();
        VIRTUAL.iter().any(|name| text.starts_with(name))
    };
    let is_virtual = matches!(transport, Transport::Raid | Transport::Virtio | Transport::Network)
        || says(&disk.model)
        || says(&disk.vendor);
    let kind = match (is_virtual, disk.rotational) {
        (true, _) => MediumKind::Virtual,
        (false, Some(true)) => MediumKind::Magnetic,
        // Without a word it is taken for what is harder to erase.
        (false, _) => MediumKind::Flash,
    };
    let transport = match transport {
        Transport::Nvme => "nvme",
        Transport::Ata => "sata",
        Transport::Scsi => "sas",
        Transport::Virtio => "virtio",
        Transport::Usb => "usb",
        Transport::Mmc => "mmc",
        Transport::Raid => "raid",
        Transport::Network => "network",
        Transport::Other => "other",
    };
    Known { kind, transport }
}

/// Puts disks together that their device erases together, and gives each its watch.
pub(super) fn gather(ordered: Vec<Ordered>, keeper: &Arc<dyn Keeper>) -> Vec<Unit> {
    let mut devices: BTreeMap<PathBuf, Vec<Ordered>> = BTreeMap::new();
    for disk in ordered {
        devices.entry(device(&disk)).or_default().push(disk);
    }
    devices.into_values().map(|disks| unit(disks, keeper)).collect()
}

/// Returns what tells a disk's device from others: the subsystem of an NVMe disk, the disk itself else.
fn device(ordered: &Ordered) -> PathBuf {
    let name = ordered.held.name();
    let alone = PathBuf::from(name);
    if ordered.disk.transport != Some(Transport::Nvme) {
        return alone;
    }
    // With multipath this is the subsystem, else the controller, which says its subsystem's name.
    let device = Path::new("/sys/block").join(name).join("device");
    let subsystem = fs::read_to_string(device.join("subsysnqn"));
    subsystem.map_or(alone, |name| PathBuf::from(name.trim()))
}

fn unit(disks: Vec<Ordered>, keeper: &Arc<dyn Keeper>) -> Unit {
    let watched: Vec<(Ordered, Arc<DiskWatch>)> = disks
        .into_iter()
        .map(|disk| {
            let watch = Arc::new(DiskWatch::new(disk.number, Arc::clone(keeper)));
            (disk, watch)
        })
        .collect();
    let said = watched
        .iter()
        .map(|(disk, watch)| UnitDisk {
            number: disk.number,
            identity: disk.identity.clone(),
            name: disk.held.name().to_owned(),
            watch: Arc::clone(watch),
        })
        .collect();
    Unit { disks: said, work: Box::new(move |terms, tell| work(watched, terms, tell)) }
}

/// Wipes disks, and lets them go. What comes after the reports nobody has to wait for.
fn work(disks: Vec<(Ordered, Arc<DiskWatch>)>, terms: Terms<'_>, tell: &mut Tell<'_>) {
    let is_nvme = disks.iter().all(|(one, _)| one.disk.transport == Some(Transport::Nvme));
    if is_nvme {
        nvme(&disks, terms, tell);
    } else {
        alone(&disks, terms, tell);
    }
    for (disk, _) in disks {
        let name = disk.held.name().to_owned();
        if terms.wipe.level != PowerLevel::Idle {
            // The kernel shall not show partitions that are gone. That they are is known by then.
            let _shown = disk.held.drop_cache().and_then(|()| disk.held.reread_partitions());
        }
        if let Err(error) = disk.held.release() {
            agent::console::show(&format!("  {name}: it stays writable: {error}\n"));
        }
    }
}

/// All ordered namespaces of a subsystem. Only where none is left out its controller may be told to erase everything.
fn nvme(disks: &[(Ordered, Arc<DiskWatch>)], terms: Terms<'_>, tell: &mut Tell<'_>) {
    let held: Vec<&Held> = disks.iter().map(|(disk, _)| &disk.held).collect();
    let doors: Vec<_> = held.iter().map(|held| held.nvme()).collect();
    let (controller, withheld) = match Controller::of(&held) {
        Ok(controller) => (Some(controller), None),
        Err(error) => (None, Some(crate::chain(&error))),
    };
    let opal = controller.as_ref().and_then(Controller::opal);
    let handling: Vec<_> =
        held.iter().map(|held| Whole { held, controller: controller.as_ref() }).collect();
    let filesystems: Vec<Live<'_>> = disks.iter().map(|(disk, _)| filesystems(disk)).collect();
    let parts: Vec<Part<'_>> = disks
        .iter()
        .zip(&doors)
        .zip(handling.iter().zip(&filesystems))
        .map(|(((disk, watch), door), (handling, filesystems))| {
            let device = match (door.namespace(), &controller) {
                (Ok(nsid), Some(controller)) => Device::Nvme { controller, nsid },
                (Ok(nsid), None) => Device::Nvme { controller: door, nsid },
                (Err(_), _) => Device::None,
            };
            let may = if controller.is_some() { Reach::Everything } else { Reach::Addressed };
            let opal = opal.as_ref().map(|opal| opal as _);
            let withheld = withheld.clone();
            Part { device, may, withheld, opal, ..part(disk, watch, handling, filesystems) }
        })
        .collect();
    unit::wipe_each(&parts, terms, tell);
}

/// A disk that shares its device with none.
fn alone(disks: &[(Ordered, Arc<DiskWatch>)], terms: Terms<'_>, tell: &mut Tell<'_>) {
    for (disk, watch) in disks {
        let handling = Whole { held: &disk.held, controller: None };
        let filesystems = filesystems(disk);
        let (scsi, mmc, opal) = (disk.held.scsi(), disk.held.mmc(), disk.held.opal());
        // The doors let nothing else through; so what would be refused is not tried.
        let is_alone = disk.held.is_only_unit();
        let whole = if is_alone { Reach::Everything } else { Reach::Addressed };
        let withheld = match disk.disk.transport {
            Some(Transport::Usb) => Some(USB_UNASKED.to_owned()),
            _ => (!is_alone).then(|| NOT_ALONE.to_owned()),
        };
        let (device, may, opal) = match commands(disk.disk.transport) {
            Commands::Ata => (Device::Ata { device: &scsi }, whole, Some(&opal as _)),
            Commands::Scsi => (Device::Scsi { device: &scsi }, whole, Some(&opal as _)),
            Commands::Mmc => {
                let size = disk.identity.size_bytes.0;
                (Device::Mmc { device: &mmc, size }, Reach::Everything, None)
            }
            Commands::Nvme | Commands::None => (Device::None, Reach::Addressed, None),
        };
        let part =
            Part { device, may, withheld, opal, ..part(disk, watch, &handling, &filesystems) };
        unit::wipe_each(&[part], terms, tell);
    }
}

/// Returns a disk that takes no commands.
fn part<'p>(
    disk: &'p Ordered,
    watch: &'p DiskWatch,
    handling: &'p dyn Handling,
    filesystems: &'p Live<'p>,
) -> Part<'p> {
    let known = facts(&disk.disk);
    Part {
        number: disk.number,
        identity: disk.identity.clone(),
        name: disk.held.name().to_owned(),
        transport: Some(known.transport.to_owned()),
        medium: &disk.held,
        kind: known.kind,
        device: Device::None,
        may: Reach::Addressed,
        opal: None,
        withheld: None,
        handling,
        filesystems: Some(filesystems),
        watch,
    }
}

/// Returns who mounts a disk's filesystems, each at a place of its own: several disks are cleaned at once.
fn filesystems(disk: &Ordered) -> Live<'_> {
    Live::new(&disk.held, &Path::new(INSTALLED).join(disk.held.name()))
}

/// What the kernel does with a disk as a whole.
#[derive(Debug)]
struct Whole<'h> {
    held: &'h Held,
    controller: Option<&'h Controller<'h>>,
}

impl Whole<'_> {
    /// Reads what the kernel says of the disk's queue (Linux, Documentation/ABI/stable/sysfs-block).
    fn queue(&self, name: &str) -> Option<String> {
        let path = format!("/sys/block/{}/queue/{name}", self.held.name());
        fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
    }
}

impl Handling for Whole<'_> {
    fn discards(&self) -> bool {
        // Zero where the device does not.
        let most = self.queue("discard_max_bytes").and_then(|text| text.parse::<u64>().ok());
        most.is_some_and(|most| most > 0)
    }

    fn is_zoned(&self) -> bool {
        // "host-aware" is written like any other.
        self.queue("zoned").is_some_and(|zoned| zoned == "host-managed")
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.held.discard(offset, length)
    }

    fn grow(&self, bytes: u64, hidden_by: &[Hiding]) -> io::Result<()> {
        let is_area = hidden_by.iter().all(|by| *by == Hiding::Hpa);
        self.held.grow(bytes, if is_area { Asking::Link } else { Asking::Disk }).map(drop)
    }

    fn refresh(&self) -> io::Result<()> {
        if let Some(controller) = self.controller {
            controller.rescan()?;
        }
        self.held.drop_cache()?;
        self.held.reread_partitions()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(transport: Transport, model: &str, rotational: Option<bool>) -> Known {
        let model = Some(model.to_owned());
        facts(&Disk { transport: Some(transport), model, rotational, ..Disk::default() })
    }

    #[test]
    fn what_lies_behind_a_volume_is_unknown_however_it_looks() {
        let kind = |transport, model, rotational| known(transport, model, rotational).kind;
        assert_eq!(kind(Transport::Ata, "ST4000NM000A", Some(true)), MediumKind::Magnetic);
        assert_eq!(kind(Transport::Ata, "Samsung SSD 870", Some(false)), MediumKind::Flash);
        assert_eq!(kind(Transport::Scsi, "MZILT960", None), MediumKind::Flash);
        for (transport, model) in [
            (Transport::Raid, "PERC H740P"),
            (Transport::Virtio, ""),
            (Transport::Network, "LUN"),
            (Transport::Nvme, "QEMU NVMe Ctrl"),
            (Transport::Scsi, "Virtual disk"),
        ] {
            assert_eq!(kind(transport, model, Some(true)), MediumKind::Virtual, "{model}");
        }
    }

    #[test]
    fn nothing_is_sent_through_a_usb_bridge() {
        assert_eq!(commands(Some(Transport::Usb)), Commands::None);
        assert_eq!(commands(Some(Transport::Scsi)), Commands::Scsi);
        assert_eq!(commands(None), Commands::None);
    }

    #[test]
    fn the_certificate_names_how_a_disk_is_attached() {
        assert_eq!(known(Transport::Ata, "", None).transport, "sata");
        assert_eq!(known(Transport::Scsi, "", None).transport, "sas");
    }
}
