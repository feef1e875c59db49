//! What an NVMe controller says of itself and its namespaces, and the seam at which tests put controllers that are not
//! there.

use std::{collections::BTreeSet, fmt, fs::File, io, path::Path, time::Duration};

use linux::{
    block::Number,
    nvme::{self, NvmeCommand, NvmeFailure, opcode},
    transfer::Data,
};

/// How long a controller may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(30); // One that is sanitizing, or wakes up, is slow to answer.

/// The most pages of a namespace list that are read: 1024 namespaces each.
const LIST_PAGES: usize = 64;

/// Identify's CNS values (NVM Express Base Specification 2.0, figure 273; libnvme, `enum nvme_identify_cns`).
mod structure {
    pub(super) const CONTROLLER: u32 = 0x01;
    pub(super) const ACTIVE_NAMESPACES: u32 = 0x02;
    pub(super) const ALLOCATED_NAMESPACES: u32 = 0x10;
    pub(super) const CONTROLLERS: u32 = 0x13;
}

/// The kernel, as far as NVMe commands go. Apart from what the checks ask, so that who only writes does not link it.
pub(crate) trait Devices: fmt::Debug + Send + Sync {
    /// Opens a controller's own device by its name, and returns its number.
    fn open_controller(&self, name: &str) -> io::Result<(File, Number)>;

    /// Returns the identifier of the namespace behind a disk's descriptor.
    fn namespace(&self, disk: &File) -> io::Result<u32>;

    /// Sends an admin command through a disk's or a controller's descriptor.
    fn admin(
        &self,
        device: &File,
        command: &NvmeCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> Result<u32, NvmeFailure>;

    /// Has the kernel look again which namespaces there are.
    fn rescan(&self, controller: &File) -> io::Result<()>;
}

/// The running kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Live;

impl Devices for Live {
    fn open_controller(&self, name: &str) -> io::Result<(File, Number)> {
        nvme::open_controller(&Path::new("/dev").join(name))
    }

    fn namespace(&self, disk: &File) -> io::Result<u32> {
        nvme::namespace(disk)
    }

    fn admin(
        &self,
        device: &File,
        command: &NvmeCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> Result<u32, NvmeFailure> {
        nvme::admin(device, command, data, limit)
    }

    fn rescan(&self, controller: &File) -> io::Result<()> {
        nvme::rescan(controller)
    }
}

/// What tells one controller from others, and what its commands touch: from Identify Controller (Base Specification 2.0,
/// figure 275; the same offsets in Linux, `include/linux/nvme.h`, `struct nvme_id_ctrl`, and the same bits in libnvme,
/// `enum nvme_id_ctrl_cmic`, `_oacs` and `_fna`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Bytes 0 to 3: PCI vendor and subsystem vendor.
    pub(crate) vendor: [u8; 4],
    /// Bytes 4 to 23.
    pub(crate) serial: String,
    /// Bytes 24 to 63.
    pub(crate) model: String,
    /// Bytes 78 and 79: its number among the controllers of its subsystem.
    pub(crate) controller: u16,
    /// Bytes 768 to 1023: the subsystem's name; empty where it has none.
    pub(crate) subsystem: String,
    /// Byte 76.
    multiple: u8,
    /// Bytes 256 and 257.
    optional: u16,
    /// Byte 524.
    format: u8,
}

impl Identity {
    pub(crate) fn ask(devices: &dyn Devices, device: &File) -> Result<Self, NvmeFailure> {
        let page = identify(devices, device, 0, structure::CONTROLLER)?;
        let text = |from: usize, to: usize| {
            let field = &page[from..to];
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).trim().to_owned()
        };
        Ok(Self {
            vendor: [page[0], page[1], page[2], page[3]],
            serial: text(4, 24),
            model: text(24, 64),
            controller: u16::from_le_bytes([page[78], page[79]]),
            subsystem: text(768, 1024),
            multiple: page[76],
            optional: u16::from_le_bytes([page[256], page[257]]),
            format: page[524],
        })
    }

    /// Holds when both are controllers of one subsystem.
    pub(crate) fn is_of_same_subsystem(&self, other: &Self) -> bool {
        (self.vendor, &self.serial, &self.model, &self.subsystem)
            == (other.vendor, &other.serial, &other.model, &other.subsystem)
    }

    /// CMIC, bits 0 and 1: several ports, several controllers.
    pub(crate) fn may_be_shared(&self) -> bool {
        self.multiple & 0b11 != 0
    }

    /// OACS, bit 3: namespaces can be made, so that there may be some that are attached nowhere.
    pub(crate) fn manages_namespaces(&self) -> bool {
        self.optional & 0x8 != 0
    }

    /// FNA: holds when a Format touches all namespaces. Bit 0 says it of one without erasure, bit 1 of one with
    /// (Base Specification 2.0, figure 275; SES is bits 9 to 11 of dword 10, §5.14).
    pub(crate) fn formats_all(&self, format: &NvmeCommand) -> bool {
        let erases = (format.dwords[0] >> 9) & 0b111 != 0;
        self.format & if erases { 0b10 } else { 0b01 } != 0
    }
}

/// Returns every namespace that the controller's subsystem has, as far as it tells: those that are attached to it, and
/// those that exist.
pub(crate) fn namespaces(
    devices: &dyn Devices,
    device: &File,
    identity: &Identity,
) -> Result<BTreeSet<u32>, NvmeFailure> {
    let mut found = list(devices, device, structure::ACTIVE_NAMESPACES)?;
    if identity.manages_namespaces() {
        found.extend(list(devices, device, structure::ALLOCATED_NAMESPACES)?);
    }
    Ok(found)
}

/// Returns the numbers of all controllers of the subsystem, of this machine or not.
pub(crate) fn controllers(
    devices: &dyn Devices,
    device: &File,
) -> Result<BTreeSet<u16>, NvmeFailure> {
    let page = identify(devices, device, 0, structure::CONTROLLERS)?;
    let count = usize::from(u16::from_le_bytes([page[0], page[1]]));
    let numbers = page[2..].chunks_exact(2).take(count);
    Ok(numbers.map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
}

/// Reads a namespace list page by page: each begins behind the number that is asked with, and ends with a zero.
fn list(
    devices: &dyn Devices,
    device: &File,
    structure: u32,
) -> Result<BTreeSet<u32>, NvmeFailure> {
    let mut found = BTreeSet::new();
    let mut after = 0;
    for _ in 0..LIST_PAGES {
        let page = identify(devices, device, after, structure)?;
        let numbers = page
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
            .take_while(|number| *number != 0);
        let before = found.len();
        found.extend(numbers);
        if found.len() - before < 1024 {
            return Ok(found);
        }
        after = found.last().copied().unwrap_or(u32::MAX);
    }
    Err(NvmeFailure::NoAnswer(io::Error::other("a list of namespaces without an end")))
}

fn identify(
    devices: &dyn Devices,
    device: &File,
    nsid: u32,
    structure: u32,
) -> Result<Box<[u8; 4096]>, NvmeFailure> {
    let mut page = Box::new([0; 4096]);
    let command =
        NvmeCommand { opcode: opcode::IDENTIFY, nsid, dwords: [structure, 0, 0, 0, 0, 0] };
    devices.admin(device, &command, Data::In(page.as_mut_slice()), PATIENCE)?;
    Ok(page)
}
