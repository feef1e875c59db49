//! Devices of the device mapper: LVM's volumes, open encrypted ones, multipath.

use std::{fs::OpenOptions, io, mem::size_of, os::fd::AsRawFd as _};

use nix::errno::Errno;

/// Linux, `include/uapi/linux/dm-ioctl.h`, `struct dm_ioctl`.
#[repr(C)]
struct Request {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_number: u32,
    padding: u32,
    device: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
}

const _: () = assert!(size_of::<Request>() == 312);

/// Version 4 of the interface: what every kernel since 2.6 has.
const VERSION: [u32; 3] = [4, 0, 0];

mod raw {
    // `DM_DEV_REMOVE` is the fifth command.
    nix::ioctl_readwrite!(remove, 0xfd, 4, super::Request);
}

/// Removes a device by its name (`DM_DEV_REMOVE`): what it lies on is free, and what is on it stays. `EBUSY` while
/// something uses it, `ENXIO` where nothing is called so, `ENOENT` where the kernel has no device mapper.
pub fn remove(name: &str) -> io::Result<()> {
    let size = u32::try_from(size_of::<Request>()).map_err(io::Error::other)?;
    let mut request = Request {
        version: VERSION,
        data_size: size,
        data_start: size,
        target_count: 0,
        open_count: 0,
        flags: 0,
        event_number: 0,
        padding: 0,
        device: 0,
        name: [0; 128],
        uuid: [0; 129],
        data: [0; 7],
    };
    // The kernel wants a NUL at its end.
    if name.is_empty() || name.len() >= request.name.len() {
        return Err(Errno::EINVAL.into());
    }
    let control = OpenOptions::new().read(true).write(true).open("/dev/mapper/control")?;
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: `DM_DEV_REMOVE` reads and writes `data_size` bytes, which is the size of `request`.
    unsafe { raw::remove(control.as_raw_fd(), &raw mut request) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_cannot_be_removed() {
        let error = remove("drydock-there-is-no-such-volume").unwrap_err();
        let expected = [
            nix::libc::ENXIO,
            nix::libc::ENOENT,
            nix::libc::EACCES,
            nix::libc::EPERM,
            nix::libc::ENODEV,
        ];
        assert!(expected.contains(&error.raw_os_error().unwrap()), "{error}");
        for name in [String::new(), "x".repeat(128)] {
            assert_eq!(remove(&name).unwrap_err().raw_os_error(), Some(nix::libc::EINVAL));
        }
    }
}
