//! What the checks ask of the kernel through a descriptor: the one seam at which tests put machines that are not there.

use std::{
    fmt,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use linux::{
    belt,
    block::{self, Access, Number},
    direct, loop_device, reservation, scsi,
};
use protocol::inventory::Transport;

/// The kernel, seen through one disk's descriptor. Everything else the checks read is a file below a root.
pub(crate) trait Kernel: fmt::Debug + Send + Sync {
    /// Opens a disk by the kernel's name for it, for reading and writing, and claims it.
    fn claim(&self, name: &str) -> io::Result<File>;

    /// Opens a disk for reading, without a claim.
    fn look(&self, name: &str) -> io::Result<File>;

    /// Holds when somebody has claimed a device.
    fn is_claimed(&self, name: &str) -> io::Result<bool>;

    /// Returns the device behind a loop device; `None` where that is a file, or nothing.
    fn behind_loop(&self, name: &str) -> io::Result<Option<Number>>;

    /// Reads what a descriptor itself tells.
    fn facts(&self, disk: &File) -> io::Result<Facts>;

    /// Returns whether it may be written.
    fn access(&self, disk: &File) -> io::Result<Access>;

    /// Returns what it was before the belt was put on it; `None` where this program did not do that.
    fn before_belt(&self, disk: &File) -> io::Result<Option<Access>>;

    /// Makes it writable.
    fn take_belt_off(&self, disk: &File) -> io::Result<()>;

    /// Makes it read-only again.
    fn put_belt_on(&self, disk: &File) -> io::Result<()>;

    /// Asks a disk that speaks SCSI for the page on which its serial number stands: at most so many bytes of it.
    fn serial_page(&self, disk: &File, length: u8) -> io::Result<Vec<u8>>;

    /// Returns how many keys of persistent reservations are registered with it.
    fn registered_keys(&self, disk: &File, transport: Option<Transport>) -> io::Result<u64>;
}

/// What a descriptor tells of the disk behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Its device number.
    pub(crate) number: Number,
    /// Its sequence number: no other disk has it in this boot.
    pub(crate) sequence: u64,
    /// Its capacity.
    pub(crate) size_bytes: u64,
    /// Its smallest addressable unit.
    pub(crate) sector_bytes: u32,
}

/// The running kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Live;

impl Kernel for Live {
    fn claim(&self, name: &str) -> io::Result<File> {
        direct::claim(&node(name))
    }

    fn look(&self, name: &str) -> io::Result<File> {
        direct::look(&node(name))
    }

    fn is_claimed(&self, name: &str) -> io::Result<bool> {
        direct::is_claimed(&node(name))
    }

    fn behind_loop(&self, name: &str) -> io::Result<Option<Number>> {
        loop_device::behind(direct::look(&node(name))?)
    }

    fn facts(&self, disk: &File) -> io::Result<Facts> {
        Ok(Facts {
            number: block::number(disk)?,
            sequence: block::sequence(disk)?,
            size_bytes: block::size(disk)?,
            sector_bytes: block::logical_sector(disk)?,
        })
    }

    fn access(&self, disk: &File) -> io::Result<Access> {
        block::access(disk)
    }

    fn before_belt(&self, disk: &File) -> io::Result<Option<Access>> {
        belt::before(disk)
    }

    fn take_belt_off(&self, disk: &File) -> io::Result<()> {
        belt::take_off(disk)
    }

    fn put_belt_on(&self, disk: &File) -> io::Result<()> {
        belt::put_on(disk)
    }

    fn serial_page(&self, disk: &File, length: u8) -> io::Result<Vec<u8>> {
        scsi::vital_page(disk, 0x80, length)
    }

    fn registered_keys(&self, disk: &File, transport: Option<Transport>) -> io::Result<u64> {
        match transport {
            Some(Transport::Nvme) => reservation::nvme(disk),
            Some(Transport::Scsi | Transport::Raid) => reservation::scsi(disk),
            // ATA, virtio's own protocol and MMC have no such command; USB bridges that were never asked for it
            // have been known to hang. What comes over a network is refused before it is asked.
            _ => Ok(0),
        }
    }
}

/// A slash in a device's name is an exclamation mark in sysfs.
fn node(name: &str) -> PathBuf {
    Path::new("/dev").join(name.replace('!', "/"))
}
