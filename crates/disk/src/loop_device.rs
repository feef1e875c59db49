//! A loop device: a file that the kernel shows as a disk, for rehearsals with `sunshine write`.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    ZeroingProof,
    handle::{Handle, Handled},
};

/// What the kernel calls loop devices: `LOOP_MAJOR` of `linux/major.h`.
const MAJOR: u64 = 7;

/// A whole loop device over a file, claimed: nothing can mount it while this is there. Never another kind of disk, and
/// never one that shows another disk: no permit is needed, because what is written to is a file.
///
/// Reads and writes go past the page cache: whole sectors, aligned buffers ([`AlignedBuffer`](crate::AlignedBuffer)).
#[derive(Debug)]
pub struct LoopDevice {
    handle: Handle,
}

/// Says why a loop device cannot take an image.
#[derive(Debug, thiserror::Error)]
pub enum LoopDeviceError {
    /// Its name is not one of a whole loop device, or the name is on something else.
    #[error("{path} is no loop device", path = path.display())]
    Other {
        /// The name.
        path: PathBuf,
    },
    /// A mount, swap, volume or another program has claimed it.
    #[error("{path} is in use: end that first", path = path.display())]
    InUse {
        /// The device.
        path: PathBuf,
    },
    /// What is behind it is no file but another disk.
    #[error("{path} shows another disk, and no file", path = path.display())]
    OnDisk {
        /// The device.
        path: PathBuf,
    },
    /// Nothing is behind it.
    #[error("no file is behind {path}", path = path.display())]
    Empty {
        /// The device.
        path: PathBuf,
    },
    /// The kernel does not open it, or does not answer a question.
    #[error("opening {path}", path = path.display())]
    Open {
        /// The device.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl LoopDevice {
    /// Holds for `/dev/loop` and a number. Partitions of loop devices are none.
    pub fn is_name(path: &Path) -> bool {
        let number = path.to_str().and_then(|path| path.strip_prefix("/dev/loop"));
        number.is_some_and(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
    }

    /// Opens and claims one.
    pub fn open(path: &Path) -> Result<Self, LoopDeviceError> {
        let other = || LoopDeviceError::Other { path: path.to_owned() };
        // Looked at first: to open some devices is to act on them.
        if !Self::is_name(path) {
            return Err(other());
        }
        let failed = |source| LoopDeviceError::Open { path: path.to_owned(), source };
        let file = linux::direct::claim(path).map_err(|error| match error.raw_os_error() {
            Some(16) => LoopDeviceError::InUse { path: path.to_owned() }, // EBUSY
            Some(15 | 40) => other(),                                     // ENOTBLK, ELOOP
            _ => failed(error),
        })?;
        if linux::block::number(&file).map_err(failed)?.major != MAJOR {
            return Err(other());
        }
        let size = linux::block::size(&file).map_err(failed)?;
        if size == 0 {
            return Err(LoopDeviceError::Empty { path: path.to_owned() });
        }
        // Otherwise `losetup /dev/loop0 /dev/sda` would be a way around every check.
        if !linux::loop_device::is_on_file(&file).map_err(failed)? {
            return Err(LoopDeviceError::OnDisk { path: path.to_owned() });
        }
        let sector = linux::block::logical_sector(&file).map_err(failed)?;
        Ok(Self { handle: Handle::new(file, size, sector) })
    }

    /// Returns what is known of its zeroing.
    pub fn zeroing(&self) -> ZeroingProof {
        self.handle.zeroing()
    }

    /// Has the kernel forget what it holds of the device, and read its partition table again where it looks for one.
    pub fn settle(&self) -> io::Result<()> {
        linux::block::drop_cache(self.handle.file())?;
        match linux::block::reread_partitions(self.handle.file()) {
            // EINVAL: it was set up without partitions.
            Err(error) if error.raw_os_error() == Some(22) => Ok(()),
            other => other,
        }
    }
}

impl Handled for LoopDevice {
    fn handle(&self) -> &Handle {
        &self.handle
    }
}

#[cfg(test)]
mod tests {
    use linux::{block::Access, loop_device::Attached};

    use super::*;
    use crate::Medium as _;

    #[test]
    fn only_the_name_of_a_whole_loop_device_is_one() {
        for name in ["/dev/loop0", "/dev/loop12"] {
            assert!(LoopDevice::is_name(Path::new(name)), "{name}");
        }
        for name in [
            "/dev/loop",
            "/dev/loop0p1",
            "/dev/loop-control",
            "/dev/loop1/",
            "/dev/sda",
            "loop0",
            "/tmp/loop0",
            "/dev/../dev/loop0",
            "/dev/loop0/../sda",
        ] {
            let path = Path::new(name);
            assert!(!LoopDevice::is_name(path), "{name}");
            assert!(matches!(LoopDevice::open(path), Err(LoopDeviceError::Other { .. })), "{name}");
        }
    }

    #[test]
    fn one_over_a_file_is_claimed_and_one_over_another_disk_refused() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        let below = match Attached::attach(&file, 0, 1 << 20, 512, Access::Writable) {
            Ok(below) => below,
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "loop devices are needed: {error}");
                return;
            }
        };
        let device = LoopDevice::open(below.path()).unwrap();
        assert_eq!(device.size_bytes(), 1 << 20);
        let again = LoopDevice::open(below.path());
        assert!(matches!(again, Err(LoopDeviceError::InUse { .. })), "{again:?}");
        drop(device);
        let disk = std::fs::File::open(below.path()).unwrap();
        let above = Attached::attach(&disk, 0, 1 << 19, 512, Access::Writable).unwrap();
        let refused = LoopDevice::open(above.path());
        assert!(matches!(refused, Err(LoopDeviceError::OnDisk { .. })), "{refused:?}");
    }
}
