//! A stick that a person at the machine's own console chose to have a file put on it: the one way to write that no order
//! and no wipe is behind.
//!
//! It gives less than a permit: only one range of a removable USB disk, in our own system, and never of the medium that
//! the machine may have started from.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use inventory::Root;
use linux::block;
use protocol::{
    inventory::{Disk, Transport},
    order::DiskIdentity,
};

use crate::permit::{
    NotOurs, Place,
    kernel::{Kernel, Live},
};

/// Where ISO 9660 begins, and how (ECMA-119 §8.1).
const ISO_9660: (u64, &[u8]) = (16 * 2048 + 1, b"CD001");

/// Says why nothing is written to a stick.
#[derive(Debug, thiserror::Error)]
pub enum StickError {
    /// Only our own system writes to sticks.
    #[error(transparent)]
    Place(#[from] NotOurs),
    /// It is not what was chosen.
    #[error("{0} is not the stick that was chosen any more")]
    Exchanged(String),
    /// It cannot be taken out, or is no USB disk.
    #[error("{0} is no stick")]
    NoStick(String),
    /// The machine may have started from it.
    #[error("{0} is a medium that machines start from")]
    BootMedium(String),
    /// It cannot be opened, claimed, or made writable: somebody uses it, or it is read-only by itself.
    #[error("{doing} {disk}")]
    Failed {
        /// What failed.
        doing: &'static str,
        /// Which.
        disk: String,
        /// Why.
        source: io::Error,
    },
}

/// A range of a stick, readable and writable through the page cache. The stick is claimed; when this is dropped, it is
/// read-only again.
#[derive(Debug)]
pub struct Stick {
    /// Keeps everybody else away.
    claim: File,
    window: Window,
    kernel: Arc<dyn Kernel>,
}

impl Stick {
    /// Takes the stick that a person chose: `found` as the inventory shows it, and the range of the filesystem in bytes.
    pub fn open(found: &Disk, start: u64, length: u64) -> Result<Self, StickError> {
        Place::own_initramfs()?;
        let disk = found.name.clone();
        let failed = |doing, disk: &str| {
            let disk = disk.to_owned();
            move |source| StickError::Failed { doing, disk, source }
        };
        let kernel: Arc<dyn Kernel> = Arc::new(Live);
        let claim = kernel.claim(&disk).map_err(failed("claiming", &disk))?;
        let seen = inventory::disk(&Root::live(), &disk);
        let seen = seen.filter(|seen| DiskIdentity::of(seen) == DiskIdentity::of(found));
        let seen = seen.ok_or_else(|| StickError::Exchanged(disk.clone()))?;
        if !is_stick(&seen) {
            return Err(StickError::NoStick(disk));
        }
        // The claim goes past the page cache, which what reads single bytes cannot.
        let place = Path::new("/dev").join(disk.replace('!', "/"));
        let file = File::options().read(true).write(true).open(place);
        let file = file.map_err(failed("opening", &disk))?;
        let same = |file: &File| block::sequence(file).map_err(failed("asking", &disk));
        if same(&file)? != same(&claim)? {
            return Err(StickError::Exchanged(disk));
        }
        if is_boot_medium(&file).map_err(failed("reading", &disk))? {
            return Err(StickError::BootMedium(disk));
        }
        let size = block::size(&file).map_err(failed("asking", &disk))?;
        if start.checked_add(length).is_none_or(|end| end > size) {
            return Err(StickError::Exchanged(disk));
        }
        kernel.take_belt_off(&claim).map_err(failed("making writable", &disk))?;
        Ok(Self { claim, window: Window { file, start, length, at: 0 }, kernel })
    }

    /// Has everything on the stick, and forgets what is remembered of it: what is read from here on is read from it.
    pub fn settle(&mut self) -> io::Result<()> {
        self.window.file.sync_all()?;
        block::drop_cache(&self.window.file)
    }
}

impl Drop for Stick {
    fn drop(&mut self) {
        // Whoever looks at the belts finds it where this fails.
        let _fastened = self.kernel.put_belt_on(&self.claim);
    }
}

/// Holds for a disk that can be taken out, as it says and as it hangs there.
pub fn is_stick(disk: &Disk) -> bool {
    disk.transport == Some(Transport::Usb) && disk.removable == Some(true) && disk.size_bytes.0 > 0
}

fn is_boot_medium(file: &File) -> io::Result<bool> {
    let mut start = [0; ISO_9660.1.len()];
    match file.read_exact_at(&mut start, ISO_9660.0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| start == ISO_9660.1),
    }
}

/// A range of a file.
#[derive(Debug)]
struct Window {
    file: File,
    start: u64,
    length: u64,
    at: u64,
}

impl Window {
    /// Returns how much of so many bytes lies inside, from where it stands.
    fn inside(&self, length: usize) -> usize {
        let left = self.length.saturating_sub(self.at);
        usize::try_from(left).map_or(length, |left| left.min(length))
    }
}

impl Read for Stick {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.window.read(buffer)
    }
}

impl Write for Stick {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.window.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.window.flush()
    }
}

impl Seek for Stick {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.window.seek(to)
    }
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inside(buffer.len());
        let read = self.file.read_at(&mut buffer[..length], self.start + self.at)?;
        self.at += u64::try_from(read).map_err(io::Error::other)?;
        Ok(read)
    }
}

impl Write for Window {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inside(bytes.len());
        let written = self.file.write_at(&bytes[..length], self.start + self.at)?;
        self.at += u64::try_from(written).map_err(io::Error::other)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use protocol::Bytes;

    use super::*;

    fn window(length: u64) -> Window {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[b'.'; 64], 0).unwrap();
        Window { file, start: 16, length, at: 0 }
    }

    #[test]
    fn nothing_outside_the_range_is_read_or_written() {
        let mut window = window(8);
        assert_eq!(window.write(&[b'x'; 40]).unwrap(), 8);
        assert_eq!(window.write(b"y").unwrap(), 0);
        window.seek(SeekFrom::Start(1000)).unwrap();
        assert_eq!(window.write(b"y").unwrap(), 0);
        assert!(window.seek(SeekFrom::Current(-2000)).is_err());
        assert_eq!(window.seek(SeekFrom::End(-2)).unwrap(), 6);
        let mut all = Vec::new();
        window.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"xx");
        let mut file = [0; 64];
        window.file.read_exact_at(&mut file, 0).unwrap();
        let around: Vec<usize> = (0..64).filter(|at| file[*at] == b'.').collect();
        assert_eq!(around, (0..16).chain(24..64).collect::<Vec<_>>());
    }

    #[test]
    fn only_a_removable_usb_disk_is_a_stick() {
        let disk = |transport, removable| Disk {
            transport: Some(transport),
            removable,
            size_bytes: Bytes(1 << 30),
            ..Disk::default()
        };
        assert!(is_stick(&disk(Transport::Usb, Some(true))));
        for (transport, removable) in [
            (Transport::Usb, Some(false)),
            (Transport::Usb, None),
            (Transport::Ata, Some(true)),
            (Transport::Mmc, Some(true)),
        ] {
            assert!(!is_stick(&disk(transport, removable)), "{transport:?} {removable:?}");
        }
        let empty = Disk { size_bytes: Bytes(0), ..disk(Transport::Usb, Some(true)) };
        assert!(!is_stick(&empty), "a drive without a medium");
    }

    #[test]
    fn a_copy_of_a_cd_is_a_boot_medium() {
        let file = tempfile::tempfile().unwrap();
        assert!(!is_boot_medium(&file).unwrap());
        file.set_len(1 << 20).unwrap();
        assert!(!is_boot_medium(&file).unwrap());
        file.write_all_at(b"\x01CD001\x01", 16 * 2048).unwrap();
        assert!(is_boot_medium(&file).unwrap());
    }

    #[test]
    fn another_system_than_ours_writes_to_no_stick() {
        let refused = Stick::open(&Disk::default(), 0, 0);
        assert!(matches!(refused, Err(StickError::Place(_))), "{refused:?}");
    }
}
