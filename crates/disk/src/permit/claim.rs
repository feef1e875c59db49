//! One disk: opened, claimed, and everything about it found out again from the open descriptor.

use std::{fs::File, io, os::unix::fs::FileExt, path::PathBuf};

use linux::block::Access;
use protocol::{
    inventory::{Disk, Transport},
    order::{DiskIdentity, OrderedDisk},
    wipe::Obstacle,
};

use super::{
    Machine, boot_medium,
    content::{self, Look},
    identity,
    kernel::Facts,
    place,
    purpose::Purpose,
    refusal::{Refusal, label},
    usage,
};
use crate::AlignedBuffer;

/// A disk that is open and claimed, and that nothing was found against.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) file: File,
    /// Whether it is more than a look: nobody gets a permit for what others can claim.
    pub(super) is_exclusive: bool,
    pub(super) ordered: OrderedDisk,
    pub(super) name: String,
    pub(super) facts: Facts,
    pub(super) transport: Option<Transport>,
    /// Where it stands in the kernel's tree.
    pub(super) directory: PathBuf,
    pub(super) look: Look,
}

impl Claim {
    /// Opens the disk that an order means, the one of this number, and checks it.
    pub(super) fn open(
        machine: &Machine,
        place: &place::Kind,
        purpose: &impl Purpose,
        (number, ordered): (usize, &OrderedDisk),
        found: &Disk,
    ) -> Result<Self, Refusal> {
        let name = &found.name;
        let disk = label(Some(name), &ordered.identity);
        // By its place in the tree first: it says by whom it is used, which the refusal of an open does not.
        if let Some(directory) = machine.root.real(format!("sys/class/block/{name}")).ok().flatten()
        {
            unused(machine, purpose, name, &directory, &disk)?;
        }
        let is_exclusive = !purpose.is_only_looked_at();
        let opened =
            if is_exclusive { machine.kernel.claim(name) } else { machine.kernel.look(name) };
        let file = opened.map_err(|source| match source.raw_os_error() {
            // EBUSY, EROFS, and what is there no more: ENXIO, ENODEV, ENOENT, ENOMEDIUM.
            Some(16) => Refusal::InUse {
                disk: disk.clone(),
                uses: "the kernel does not say by whom".into(),
            },
            Some(30) => Refusal::ReadOnly { disk: disk.clone(), why: "the disk says so" },
            Some(6 | 19 | 2 | 123) => {
                Refusal::Exchanged { disk: disk.clone(), how: "it is gone".to_owned() }
            }
            _ => Refusal::Open { disk: disk.clone(), source },
        })?;
        let facts = machine.kernel.facts(&file).map_err(unanswered(&disk, "size and number"))?;
        let directory = machine
            .root
            .real(format!("sys/dev/block/{}", facts.number))
            .ok()
            .flatten()
            .ok_or_else(|| Refusal::Exchanged { disk: disk.clone(), how: "it is gone".into() })?;
        real_disk(machine, &directory, &disk)?;
        let mut claim = Self {
            file,
            is_exclusive,
            ordered: ordered.clone(),
            name: name.clone(),
            facts,
            transport: None,
            directory,
            look: Look { is_blank: false, unreadable: None, found: Vec::new() },
        };
        let seen = claim.confirm(machine)?;
        claim.transport = seen.transport;
        if facts.size_bytes == 0 {
            return Err(Refusal::NoSize { disk });
        }
        let despite = |obstacle| purpose.is_despite(&ordered.identity, obstacle);
        suitable(machine, place, despite, &seen, &disk)?;
        claim.writable(machine, place, &disk)?;
        unused(machine, purpose, name, &claim.directory, &disk)?;
        // A disk that is sanitizing, or locked, does not tell; before an earlier boot began with it, it did.
        if !despite(Obstacle::Reservations) && !purpose.is_begun(number) {
            let keys = machine.kernel.registered_keys(&claim.file, seen.transport);
            match keys.map_err(unanswered(&disk, "reservations"))? {
                0 => {}
                keys => return Err(Refusal::Reserved { disk, keys }),
            }
        }
        // What an earlier boot has begun to destroy says nothing of what it belonged to.
        if !purpose.is_begun(number) {
            claim.look = content::look(&claim.file, facts.size_bytes, facts.sector_bytes);
            claim.destructible(machine, purpose, &disk)?;
        }
        claim.confirm(machine)?;
        Ok(claim)
    }

    /// Checks that the descriptor still leads to the disk that was ordered, and returns what the kernel says of it.
    pub(super) fn confirm(&self, machine: &Machine) -> Result<Disk, Refusal> {
        let disk = self.label();
        let exchanged = |how: &str| Refusal::Exchanged { disk: disk.clone(), how: how.to_owned() };
        let facts = machine.kernel.facts(&self.file).map_err(unanswered(&disk, "size"))?;
        let ordered = &self.ordered.identity;
        if facts.size_bytes == 0 && ordered.size_bytes.0 != 0 {
            return Err(exchanged("it is gone"));
        }
        if facts.size_bytes != ordered.size_bytes.0 {
            let (ordered, found) = (ordered.size_bytes.0, facts.size_bytes);
            return Err(Refusal::OtherSize { disk, ordered, found });
        }
        if ordered.logical_sector_bytes != Some(facts.sector_bytes) {
            return Err(Refusal::OtherSectors { disk, found: facts.sector_bytes });
        }
        if facts != self.facts {
            return Err(exchanged("another number"));
        }
        // The tree tells of this descriptor's disk only where it has its sequence number.
        let sequence = |directory: &PathBuf| {
            let text = machine.root.text(directory.join("diskseq")).ok().flatten();
            text.and_then(|text| text.parse::<u64>().ok())
        };
        let class = machine.root.real(format!("sys/class/block/{}", self.name)).ok().flatten();
        if class.as_ref() != Some(&self.directory) {
            return Err(exchanged("its name is another disk's"));
        }
        if sequence(&self.directory) != Some(facts.sequence) {
            return Err(exchanged("its number is another disk's"));
        }
        let seen = inventory::disk(&machine.root, &self.name).ok_or_else(|| exchanged("gone"))?;
        let differences = identity::differences(ordered, &DiskIdentity::of(&seen));
        if !differences.is_empty() {
            return Err(exchanged(&differences.join(", ")));
        }
        self.says_its_serial(machine)?;
        if sequence(&self.directory) != Some(facts.sequence) {
            return Err(exchanged("its number became another disk's"));
        }
        Ok(seen)
    }

    /// Has a disk that speaks SCSI say its serial number once more. What the kernel knows is from when it found the disk,
    /// and a controller that tells nobody lets another one take its place: then even the sequence number stays.
    fn says_its_serial(&self, machine: &Machine) -> Result<(), Refusal> {
        let page = format!("sys/class/block/{}/device/vpd_pg80", self.name);
        let Some(mut known) = machine.root.bytes(page).ok().flatten() else { return Ok(()) };
        let length = u8::try_from(known.len()).unwrap_or(u8::MAX);
        known.truncate(usize::from(length));
        if known.is_empty() {
            return Ok(());
        }
        let disk = self.label();
        let said = machine.kernel.serial_page(&self.file, length);
        if said.map_err(unanswered(&disk, "serial number"))? == known {
            return Ok(());
        }
        Err(Refusal::Exchanged { disk, how: "it says another serial number itself".to_owned() })
    }

    /// Refuses a disk that somebody began to use since it was claimed: of a claimed disk, too, loop devices can be made.
    pub(super) fn still_unused(&self, machine: &Machine) -> Result<(), Refusal> {
        by_nobody(usage::of(machine, &self.name, &self.directory), &self.label())
    }

    pub(super) fn label(&self) -> String {
        label(Some(&self.name), &self.ordered.identity)
    }

    /// Refuses a disk that is read-only by itself, or by somebody else than the belt of this program.
    fn writable(&self, machine: &Machine, place: &place::Kind, disk: &str) -> Result<(), Refusal> {
        let access = machine.kernel.access(&self.file).map_err(unanswered(disk, "rights"))?;
        let before = machine.kernel.before_belt(&self.file).map_err(unanswered(disk, "rights"))?;
        let is_own_belt = before == Some(Access::Writable) && place.is_ours();
        if access == Access::Writable || is_own_belt {
            return Ok(());
        }
        let why = match before {
            Some(Access::ReadOnly) => "it was so when it was found",
            _ => "somebody made it so",
        };
        Err(Refusal::ReadOnly { disk: disk.to_owned(), why })
    }

    /// Refuses what the order does not allow to be destroyed, and what belongs to several machines.
    fn destructible(
        &self,
        machine: &Machine,
        purpose: &impl Purpose,
        disk: &str,
    ) -> Result<(), Refusal> {
        let disk = disk.to_owned();
        let despite = |obstacle| purpose.is_despite(&self.ordered.identity, obstacle);
        if !despite(Obstacle::BootMedium)
            && self.is_boot_medium(machine).map_err(unanswered(&disk, "first sectors"))?
        {
            return Err(Refusal::BootMedium { disk });
        }
        let shared = self.look.shared();
        if !shared.is_empty() && !despite(Obstacle::SharedStorage) {
            let content = shared.join(", ");
            return Err(Refusal::Shared { disk, content });
        }
        if let Some(reason) = self.look.unreadable.clone()
            && !purpose.may_lose_unread(&self.ordered)
        {
            return Err(Refusal::Unreadable { disk, reason });
        }
        if !self.look.is_blank && !purpose.may_lose(&self.ordered) {
            return Err(Refusal::HasData { disk, content: self.look.words() });
        }
        Ok(())
    }

    /// Holds when the machine was, or may have been, started from this disk.
    fn is_boot_medium(&self, machine: &Machine) -> io::Result<bool> {
        let sector = u64::from(self.facts.sector_bytes);
        if let Some(signature) = boot_medium::signature(&machine.root) {
            // As much as a partition table of the usual size takes.
            let start = self.part(0, (6 * sector).max(34 * 512))?;
            if boot_medium::is_on(&signature, &start) {
                return Ok(true);
            }
        }
        let place = boot_medium::DESCRIPTOR_AT;
        Ok(boot_medium::is_ours(&machine.root)
            && boot_medium::is_one(&self.part(place, sector.max(2048))?))
    }

    /// Reads that many bytes at an offset, or as many as there are.
    fn part(&self, offset: u64, length: u64) -> io::Result<AlignedBuffer> {
        let length = length.next_multiple_of(u64::from(self.facts.sector_bytes));
        let length = length.min(self.facts.size_bytes.saturating_sub(offset));
        let mut buffer = AlignedBuffer::zeroed(usize::try_from(length).map_err(io::Error::other)?);
        self.file.read_exact_at(&mut buffer, offset)?;
        Ok(buffer)
    }
}

fn unanswered<'d>(
    disk: &'d str,
    what: &'static str,
) -> impl FnOnce(io::Error) -> Refusal + use<'d> {
    move |source| match source.raw_os_error() {
        Some(6 | 19) => Refusal::Exchanged { disk: disk.to_owned(), how: "it is gone".to_owned() },
        _ => Refusal::Unanswered { disk: disk.to_owned(), what, source },
    }
}

fn unused(
    machine: &Machine,
    purpose: &impl Purpose,
    name: &str,
    directory: &std::path::Path,
    disk: &str,
) -> Result<(), Refusal> {
    let look = if purpose.is_only_looked_at() { usage::mounted_at } else { usage::of };
    by_nobody(look(machine, name, directory), disk)
}

fn by_nobody(uses: Result<Vec<String>, String>, disk: &str) -> Result<(), Refusal> {
    let uses = uses.map_err(|what| Refusal::UseUnknown { disk: disk.to_owned(), what })?;
    if uses.is_empty() {
        return Ok(());
    }
    Err(Refusal::InUse { disk: disk.to_owned(), uses: uses.join(", ") })
}

/// Refuses partitions and devices that software made up, by where the descriptor's own device stands.
fn real_disk(machine: &Machine, directory: &std::path::Path, disk: &str) -> Result<(), Refusal> {
    let disk = disk.to_owned();
    if machine.root.exists(directory.join("partition")) {
        return Err(Refusal::Partition { disk });
    }
    // The namespaces of an NVMe disk with several controllers stand among what software made up, and are real.
    let is_virtual = directory.starts_with("sys/devices/virtual")
        && !directory.starts_with("sys/devices/virtual/nvme-subsystem");
    if is_virtual || !machine.root.entries(directory.join("slaves")).unwrap_or_default().is_empty()
    {
        return Err(Refusal::Virtual { disk });
    }
    Ok(())
}

/// Refuses disks of a kind that no order means.
fn suitable(
    machine: &Machine,
    place: &place::Kind,
    despite: impl Fn(Obstacle) -> bool,
    seen: &Disk,
    disk: &str,
) -> Result<(), Refusal> {
    let disk = disk.to_owned();
    if seen.transport == Some(Transport::Network) && !despite(Obstacle::Network) {
        return Err(Refusal::Network { disk });
    }
    let device = format!("sys/class/block/{}/device", seen.name);
    if seen.name.starts_with("nvme") {
        let is_controller = |name: &String| {
            name.strip_prefix("nvme").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
        };
        let entries = machine.root.entries(&device).unwrap_or_default();
        let paths = entries.iter().filter(|name| is_controller(name)).count();
        if paths > 1 && !despite(Obstacle::Multipath) {
            return Err(Refusal::Multipath { disk, paths });
        }
    }
    // A card in a slot, and not a chip on the board: `removable` says it of neither.
    let is_card = seen.transport == Some(Transport::Mmc)
        && machine.root.text(format!("{device}/type")).ok().flatten().is_none_or(|t| t != "MMC");
    let is_portable = seen.transport == Some(Transport::Usb)
        || seen.removable != Some(false)
        || is_card
        || hangs_outside(machine, &device);
    if place.is_ours() && is_portable && !despite(Obstacle::Removable) {
        return Err(Refusal::Removable { disk });
    }
    Ok(())
}

/// Holds when the kernel says of a disk's controller, or of what that hangs on, that it can be taken out: Thunderbolt
/// (Linux, `Documentation/ABI/testing/sysfs-devices-removable`).
fn hangs_outside(machine: &Machine, device: &str) -> bool {
    // A namespace with several ways to it hangs on its controllers, not on what stands above it.
    let controllers = machine.root.entries(device).unwrap_or_default();
    let controllers = controllers.iter().filter(|name| name.starts_with("nvme"));
    let places = controllers.map(|name| format!("{device}/{name}")).chain([device.to_owned()]);
    places.filter_map(|place| machine.root.real(place).ok().flatten()).any(|place| {
        place.ancestors().take_while(|above| above.starts_with("sys/devices")).any(|above| {
            let text = machine.root.text(above.join("removable")).ok().flatten();
            text.is_some_and(|text| text == "removable")
        })
    })
}
