//! A disk that is written to under a permit: claimed, its belt off until it is let go.

mod grown;

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use inventory::Root;
use linux::loop_device::Attached;

pub use self::grown::Asking;
use crate::{
    MmcDoor, NamespaceDoor, OpalDoor, ScsiDoor, ZeroingProof,
    handle::{Handle, Handled},
    nvme::{self, Devices as _},
    permit::kernel::{Facts, Kernel},
    target::{self, Unit},
};

/// How long the kernel may take to let go of old partitions: something that looks at each new one may have it open.
const REREAD_PATIENCE: Duration = Duration::from_secs(5);

/// The time between two attempts.
const REREAD_PAUSE: Duration = Duration::from_millis(100);

/// A disk that a permit was given up for. Reads and writes go past the page cache: whole sectors, aligned buffers
/// ([`AlignedBuffer`](crate::AlignedBuffer)).
///
/// When it is dropped, the disk is no longer claimed, and read-only again if the belt was on it;
/// [`release`](Held::release) says whether that worked.
#[derive(Debug)]
pub struct Held {
    handle: Handle,
    /// As it was when it was taken.
    facts: Facts,
    name: String,
    kernel: Arc<dyn Kernel>,
    belt_is_off: bool,
}

impl Held {
    /// Takes the belt off, where it is on: on somebody's own system there is none, and none is left behind. `EROFS`
    /// where the disk is read-only by itself.
    pub(crate) fn take(
        file: File,
        facts: Facts,
        name: String,
        kernel: Arc<dyn Kernel>,
    ) -> io::Result<Self> {
        let has_belt = kernel.before_belt(&file)?.is_some();
        kernel.take_belt_off(&file)?;
        let handle = Handle::new(file, facts.size_bytes, facts.sector_bytes);
        Ok(Self { handle, facts, name, kernel, belt_is_off: has_belt })
    }

    /// Returns the kernel's name of the disk in this boot, for progress and logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what is known of the disk's own zeroing.
    pub fn zeroing(&self) -> ZeroingProof {
        self.handle.zeroing()
    }

    /// Has the kernel write out and forget what it holds of the disk (`BLKFLSBUF`), so that nobody reads an old page.
    pub fn drop_cache(&self) -> io::Result<()> {
        linux::block::drop_cache(self.handle.file())
    }

    /// Returns a range of the disk as a block device of its own, while nobody but this program has the disk: for its
    /// filesystems. Offset and size are multiples of the disk's sector.
    pub fn window(
        &self,
        offset: u64,
        size: u64,
        access: linux::block::Access,
    ) -> io::Result<Attached> {
        Attached::attach(self.handle.file(), offset, size, self.handle.sector(), access)
    }

    /// Has the kernel read the partition table again (`BLKRRPART`). Waits at most five seconds while an old partition
    /// is open.
    pub fn reread_partitions(&self) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            match linux::block::reread_partitions(self.handle.file()) {
                // EBUSY
                Err(error)
                    if error.raw_os_error() == Some(16) && begun.elapsed() < REREAD_PATIENCE =>
                {
                    thread::park_timeout(REREAD_PAUSE);
                }
                other => return other,
            }
        }
    }

    /// Has the kernel tell the disk that a range is not needed any more (`BLKDISCARD`): whole sectors. That is no erasure.
    pub fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        linux::block::discard(self.handle.file(), offset, length)
    }

    /// Opens the door for NVMe commands that touch no other namespace; `ENOTTY` from it where the disk is none.
    pub fn nvme(&self) -> NamespaceDoor<'_> {
        NamespaceDoor::new(self.handle.file(), &nvme::Live)
    }

    /// Opens the door for SCSI commands, and for those of ATA through SAT (`SG_IO`); `ENOTTY` from it where the disk
    /// takes none. What erases the whole device goes through where this is its [only unit](Held::is_only_unit).
    pub fn scsi(&self) -> ScsiDoor<'_> {
        self.scsi_beside(&[])
    }

    /// The same, for one of several logical units of a device: what erases the whole device goes through where all the
    /// others are among those that are brought. It is then for one of them to be told, and for all to be read back.
    pub fn scsi_beside<'h>(&'h self, others: &'h [&'h Held]) -> ScsiDoor<'h> {
        ScsiDoor { disk: self.handle.file(), may_erase: self.has_all_units(&Root::live(), others) }
    }

    /// Opens the door for commands to an eMMC or SD card (`MMC_IOC_CMD`); `ENOTTY` from it where the disk is none.
    pub fn mmc(&self) -> MmcDoor<'_> {
        MmcDoor(self.handle.file())
    }

    /// Opens the door for self-encrypting disks. An NVMe disk, and one of several units, is only asked through it: to
    /// revert it touches all that the device holds, see [`Controller::opal`](crate::Controller::opal).
    pub fn opal(&self) -> OpalDoor<'_> {
        let disk = self.handle.file();
        // What the kernel says to a call that the device does not know: ENOTTY, EINVAL, EOPNOTSUPP.
        let is_none = |error: io::Error| matches!(error.raw_os_error(), Some(25 | 22 | 95));
        let is_namespace = !nvme::Live.namespace(disk).is_err_and(is_none);
        OpalDoor { disk, may_revert: !is_namespace && self.is_only_unit() }
    }

    /// Holds for the only logical unit of its SCSI target, as far as the kernel's tree shows: what erases the whole device
    /// erases nothing else then. Not where the tree does not tell, nor for what stands below no target.
    pub fn is_only_unit(&self) -> bool {
        self.has_all_units(&Root::live(), &[])
    }

    /// Holds where all other units of the target are among some disks.
    pub(crate) fn has_all_units(&self, root: &Root, others: &[&Held]) -> bool {
        let Some(own) = self.directory(root) else { return false };
        let held: Vec<_> = others.iter().filter_map(|other| other.directory(root)).collect();
        let is_held =
            |unit: &Unit| unit.directory.as_ref().is_some_and(|directory| held.contains(directory));
        target::others(root, &own).is_some_and(|units| units.iter().all(is_held))
    }

    /// Returns where the disk stands in the kernel's tree, by its descriptor's number.
    fn directory(&self, root: &Root) -> Option<PathBuf> {
        let facts = self.kernel.facts(self.handle.file()).ok()?;
        root.real(format!("sys/dev/block/{}", facts.number)).ok()?
    }

    pub(crate) fn kernel(&self) -> &dyn Kernel {
        &*self.kernel
    }

    /// Makes the disk read-only again, if the belt was on it, and lets it go. Flush before: what was not is not waited for.
    pub fn release(mut self) -> io::Result<()> {
        self.put_belt_on()
    }

    fn put_belt_on(&mut self) -> io::Result<()> {
        if !self.belt_is_off {
            return Ok(());
        }
        self.belt_is_off = false;
        match self.kernel.put_belt_on(self.handle.file()) {
            // A disk that was taken out has nothing left to protect.
            Err(error) if crate::fault::says_gone(&error) => Ok(()),
            other => other,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Nobody is left to be told; `release` tells.
        self.put_belt_on().ok();
    }
}

impl Handled for Held {
    fn handle(&self) -> &Handle {
        &self.handle
    }
}
