//! A range of a disk or file as a block device of its own, for filesystems on a disk that is claimed.

use std::{
    fs::{File, OpenOptions},
    io,
    mem::size_of,
    os::fd::{AsFd, AsRawFd as _},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    libc,
    sys::stat::{major, minor},
};

use crate::block::Number;

/// How often a free device is asked for that somebody else takes first.
const ATTEMPTS: usize = 16;

/// Linux, `include/uapi/linux/loop.h`, `LO_FLAGS_READ_ONLY`.
const READ_ONLY: u32 = 1;
/// Past the page cache of what lies below: `LO_FLAGS_DIRECT_IO`.
const DIRECT: u32 = 16;

mod raw {
    nix::ioctl_none_bad!(get_free, 0x4c82);
    nix::ioctl_write_ptr_bad!(configure, 0x4c0a, super::Configuration);
    nix::ioctl_none_bad!(clear, 0x4c01);
    nix::ioctl_read_bad!(status, 0x4c05, super::Status);
}

/// Linux, `include/uapi/linux/loop.h`, `struct loop_info64`.
#[repr(C)]
struct Status {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size: u64,
    number: u32,
    encryption: [u32; 2],
    flags: u32,
    names: [u8; 160],
    init: [u64; 2],
}

impl Status {
    fn new(offset: u64, size: u64, flags: u32) -> Self {
        Self {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset,
            size,
            number: 0,
            encryption: [0; 2],
            flags,
            names: [0; 160],
            init: [0; 2],
        }
    }
}

/// Linux, `include/uapi/linux/loop.h`, `struct loop_config`.
#[repr(C)]
struct Configuration {
    fd: u32,
    block_size: u32,
    status: Status,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<Configuration>() == 304);

/// Returns whether what is behind a loop device is a file, and not another disk (`LOOP_GET_STATUS64`). `ENXIO` where
/// nothing is behind it, `ENOTTY` or `EINVAL` where it is no loop device.
pub fn is_on_file(device: impl AsFd) -> io::Result<bool> {
    let mut status = Status::new(0, 0, 0);
    // SAFETY: `LOOP_GET_STATUS64` writes one `struct loop_info64`, and `status` is one.
    unsafe { raw::status(device.as_fd().as_raw_fd(), &raw mut status) }?;
    // Linux, `loop_get_status`: the number of the device that the file is, which is none for a regular file.
    Ok(status.rdevice == 0)
}

/// Returns the number of the device behind a loop device (`LOOP_GET_STATUS64`, `lo_rdevice`): how the kernel knows it,
/// whatever its node is called. `None` where a file is behind it, or nothing.
pub fn behind(device: impl AsFd) -> io::Result<Option<Number>> {
    let mut status = Status::new(0, 0, 0);
    // SAFETY: `LOOP_GET_STATUS64` writes one `struct loop_info64`, and `status` is one.
    match unsafe { raw::status(device.as_fd().as_raw_fd(), &raw mut status) } {
        Ok(_) if status.rdevice == 0 => Ok(None),
        Ok(_) => Ok(Some(Number { major: major(status.rdevice), minor: minor(status.rdevice) })),
        Err(Errno::ENXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A loop device of our own. When it is dropped and nothing uses it any more, it is free again.
#[derive(Debug)]
pub struct Attached {
    device: File,
    path: PathBuf,
}

impl Attached {
    /// Makes a block device of a range of bytes, in blocks of `sector` bytes (`LOOP_CTL_GET_FREE`, `LOOP_CONFIGURE`).
    /// Whatever may be done with `backing` may be done with it, but no writing where it is to be read only.
    ///
    /// Offset and size are multiples of the sector. `ENOENT` where the kernel has no loop devices.
    pub fn attach(
        backing: impl AsFd,
        offset: u64,
        size: u64,
        sector: u32,
        access: crate::block::Access,
    ) -> io::Result<Self> {
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
        let fd = u32::try_from(backing.as_fd().as_raw_fd()).map_err(|_| Errno::EBADF)?;
        let read_only = match access {
            crate::block::Access::ReadOnly => READ_ONLY,
            crate::block::Access::Writable => 0,
        };
        let configuration = Configuration {
            fd,
            block_size: sector,
            status: Status::new(offset, size, DIRECT | read_only),
            reserved: [0; 8],
        };
        for _ in 0..ATTEMPTS {
            // SAFETY: `LOOP_CTL_GET_FREE` takes no argument.
            let number = unsafe { raw::get_free(control.as_raw_fd()) }?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let flags = libc::O_NOFOLLOW;
            let device = std::os::unix::fs::OpenOptionsExt::custom_flags(
                OpenOptions::new().read(true).write(true),
                flags,
            )
            .open(&path)?;
            // SAFETY: `LOOP_CONFIGURE` reads one `struct loop_config`, and `configuration` is one that outlives the call.
            match unsafe { raw::configure(device.as_raw_fd(), &raw const configuration) } {
                Ok(_) => return Ok(Self { device, path }),
                Err(Errno::EBUSY) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::EBUSY.into())
    }

    /// Returns where it stands below `/dev`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Where something still uses it, the kernel frees it when that ends.
        // SAFETY: `LOOP_CLR_FD` takes no argument.
        let _busy = unsafe { raw::clear(self.device.as_raw_fd()) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::block::Access;

    #[test]
    fn a_range_is_a_device_of_its_own_and_nothing_outside_it_changes() {
        if !Path::new("/dev/loop-control").exists() || !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "loop devices are needed");
            return;
        }
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[7; 16384], 0).unwrap();
        let device = Attached::attach(&file, 4096, 8192, 512, Access::Writable).unwrap();
        assert!(is_on_file(&device.device).unwrap());
        let above = Attached::attach(&device.device, 0, 4096, 512, Access::ReadOnly).unwrap();
        assert!(!is_on_file(&above.device).unwrap());
        let number = crate::block::number(&device.device).unwrap();
        assert_eq!(behind(&above.device).unwrap(), Some(number));
        assert_eq!(behind(&device.device).unwrap(), None);
        drop(above);
        let inside = OpenOptions::new().read(true).write(true).open(device.path()).unwrap();
        assert_eq!(crate::block::size(&inside).unwrap(), 8192);
        inside.write_all_at(&[1; 8192], 0).unwrap();
        inside.sync_all().unwrap();
        drop((inside, device));
        let mut bytes = [0; 16384];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes[..4096].iter().chain(&bytes[12288..]).all(|byte| *byte == 7));
        assert!(bytes[4096..12288].iter().all(|byte| *byte == 1));
        let device = Attached::attach(&file, 0, 4096, 512, Access::ReadOnly).unwrap();
        let inside = OpenOptions::new().read(true).write(true).open(device.path());
        assert!(inside.is_err() || inside.unwrap().write_all_at(&[1], 0).is_err());
    }
}
