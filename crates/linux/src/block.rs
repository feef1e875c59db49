//! Block devices: number, size, sectors, partitions, and the kernel's read-only flag.

use std::{
    fmt, io,
    os::fd::{AsFd, AsRawFd},
};

use nix::{
    libc,
    sys::stat::{SFlag, fstat, major, minor},
};

/// The number by which the kernel knows a device, as `/sys/dev/block` spells it: `259:0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number {
    /// Which kind of device.
    pub major: u64,
    /// Which one of that kind.
    pub minor: u64,
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// Whether the kernel lets anybody write to a block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Every write is refused, also with a descriptor opened for writing later.
    ReadOnly,
    /// Writes are passed to the device.
    Writable,
}

mod raw {
    use nix::libc::{c_int, c_uint};

    nix::ioctl_read!(size, 0x12, 114, u64);
    nix::ioctl_read_bad!(logical_sector, nix::request_code_none!(0x12, 104), c_int);
    nix::ioctl_read_bad!(physical_sector, nix::request_code_none!(0x12, 123), c_uint);
    nix::ioctl_read_bad!(read_only, nix::request_code_none!(0x12, 94), c_int);
    nix::ioctl_write_ptr_bad!(set_read_only, nix::request_code_none!(0x12, 93), c_int);
    nix::ioctl_read!(sequence, 0x12, 128, u64);
    nix::ioctl_none_bad!(reread_partitions, nix::request_code_none!(0x12, 95));
    nix::ioctl_none_bad!(drop_cache, nix::request_code_none!(0x12, 97));
    nix::ioctl_write_ptr_bad!(discard, nix::request_code_none!(0x12, 119), [u64; 2]);
    nix::ioctl_write_ptr_bad!(secure_discard, nix::request_code_none!(0x12, 125), [u64; 2]);
}

/// Returns the number of the block device behind a descriptor (`fstat`, `st_rdev`); `ENOTBLK` for anything else.
pub fn number(device: impl AsFd) -> io::Result<Number> {
    let status = fstat(device.as_fd())?;
    if SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT != SFlag::S_IFBLK {
        return Err(io::Error::from_raw_os_error(libc::ENOTBLK));
    }
    Ok(Number { major: major(status.st_rdev), minor: minor(status.st_rdev) })
}

/// Returns a number that no other disk gets before the kernel starts again (`BLKGETDISKSEQ`): a disk that was taken
/// out and put back has another one, and so has another disk of the same name.
pub fn sequence(device: impl AsFd) -> io::Result<u64> {
    let mut number = 0_u64;
    // SAFETY: `BLKGETDISKSEQ` writes exactly one `u64`, and `number` is one.
    unsafe { raw::sequence(device.as_fd().as_raw_fd(), &raw mut number) }?;
    Ok(number)
}

/// Reads the partition table again (`BLKRRPART`); needs `CAP_SYS_ADMIN`. `EBUSY` while a partition is open,
/// `EINVAL` for a device that has no partitions.
pub fn reread_partitions(device: impl AsFd) -> io::Result<()> {
    // SAFETY: `BLKRRPART` takes no argument.
    unsafe { raw::reread_partitions(device.as_fd().as_raw_fd()) }?;
    Ok(())
}

/// Writes out what the kernel still holds of a device, and forgets what it holds (`BLKFLSBUF`); needs `CAP_SYS_ADMIN`.
pub fn drop_cache(device: impl AsFd) -> io::Result<()> {
    // SAFETY: `BLKFLSBUF` uses no argument; the kernel ignores what stands in its place.
    unsafe { raw::drop_cache(device.as_fd().as_raw_fd()) }?;
    Ok(())
}

/// Returns the capacity in bytes (`BLKGETSIZE64`).
pub fn size(device: impl AsFd) -> io::Result<u64> {
    let mut bytes = 0_u64;
    // SAFETY: `BLKGETSIZE64` writes exactly one `u64`, and `bytes` is one.
    unsafe { raw::size(device.as_fd().as_raw_fd(), &raw mut bytes) }?;
    Ok(bytes)
}

/// Returns the smallest addressable unit in bytes (`BLKSSZGET`).
pub fn logical_sector(device: impl AsFd) -> io::Result<u32> {
    let mut bytes = 0;
    // SAFETY: `BLKSSZGET` writes exactly one `int`, and `bytes` is one.
    unsafe { raw::logical_sector(device.as_fd().as_raw_fd(), &raw mut bytes) }?;
    u32::try_from(bytes).map_err(io::Error::other)
}

/// Returns the unit in bytes that the medium writes without reading first (`BLKPBSZGET`).
pub fn physical_sector(device: impl AsFd) -> io::Result<u32> {
    let mut bytes = 0;
    // SAFETY: `BLKPBSZGET` writes exactly one `unsigned int`, and `bytes` is one.
    unsafe { raw::physical_sector(device.as_fd().as_raw_fd(), &raw mut bytes) }?;
    Ok(bytes)
}

/// Returns the kernel's read-only flag (`BLKROGET`); the device itself may refuse writes all the same.
pub fn access(device: impl AsFd) -> io::Result<Access> {
    let mut flag = 0;
    // SAFETY: `BLKROGET` writes exactly one `int`, and `flag` is one.
    unsafe { raw::read_only(device.as_fd().as_raw_fd(), &raw mut flag) }?;
    Ok(if flag == 0 { Access::Writable } else { Access::ReadOnly })
}

/// Sets the kernel's read-only flag of a whole disk or a partition (`BLKROSET`); needs `CAP_SYS_ADMIN`.
///
/// It does not reach descriptors that are open for writing already: check [`access`] and open afterwards.
pub fn set_access(device: impl AsFd, access: Access) -> io::Result<()> {
    let flag = match access {
        Access::ReadOnly => 1,
        Access::Writable => 0,
    };
    // SAFETY: `BLKROSET` reads exactly one `int`, and `flag` is one that outlives the call.
    unsafe { raw::set_read_only(device.as_fd().as_raw_fd(), &raw const flag) }?;
    Ok(())
}

/// Tells a device that a range of bytes is not needed any more (`BLKDISCARD`): whole sectors. What it reads as
/// afterwards is the device's choice, and what the medium holds too. `EOPNOTSUPP` where the device knows no discard.
///
/// A range of gigabytes can take minutes, and nothing ends the call before.
pub fn discard(device: impl AsFd, offset: u64, length: u64) -> io::Result<()> {
    let range = [offset, length];
    // SAFETY: `BLKDISCARD` reads exactly two `u64`, and `range` is both and outlives the call.
    unsafe { raw::discard(device.as_fd().as_raw_fd(), &raw const range) }?;
    Ok(())
}

/// Has a device erase a range of bytes securely (`BLKSECDISCARD`): whole erase groups. `EOPNOTSUPP` where it cannot.
///
/// Nothing ends the call before it is done.
pub fn secure_discard(device: impl AsFd, offset: u64, length: u64) -> io::Result<()> {
    let range = [offset, length];
    // SAFETY: `BLKSECDISCARD` reads exactly two `u64`, and `range` is both and outlives the call.
    unsafe { raw::secure_discard(device.as_fd().as_raw_fd(), &raw const range) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // A loop device or a real disk needs privileges; `tests/qemu` sees the true answers.
    #[test]
    fn a_file_is_no_block_device_for_any_call() {
        let file = tempfile::tempfile().unwrap();
        let errors = [
            size(&file).unwrap_err(),
            logical_sector(&file).unwrap_err(),
            physical_sector(&file).unwrap_err(),
            access(&file).unwrap_err(),
            set_access(&file, Access::ReadOnly).unwrap_err(),
            sequence(&file).unwrap_err(),
            reread_partitions(&file).unwrap_err(),
            drop_cache(&file).unwrap_err(),
            discard(&file, 0, 4096).unwrap_err(),
            secure_discard(&file, 0, 4096).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.raw_os_error(), Some(libc::ENOTTY), "{error}");
        }
        assert_eq!(number(&file).unwrap_err().raw_os_error(), Some(libc::ENOTBLK));
        let zero = std::fs::File::open("/dev/zero").unwrap();
        assert_eq!(number(&zero).unwrap_err().raw_os_error(), Some(libc::ENOTBLK));
    }
}
