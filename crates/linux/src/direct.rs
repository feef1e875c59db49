//! Files and disks for writing in bulk: opened, zeroed, forgotten by the page cache.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::AsFd,
        unix::fs::{FileTypeExt, OpenOptionsExt},
    },
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise},
    libc,
};

/// Opens a disk for reading and writing past the page cache, and claims it: nothing can mount it, nor any of its
/// partitions, nor build on it while the descriptor is open (`O_RDWR`, `O_DIRECT`, `O_EXCL`, `O_NOFOLLOW`).
///
/// `EBUSY` when somebody has claimed it already; `ELOOP` where the path is a symbolic link; `ENOTBLK` where there is
/// no block device. The path's directories may be links.
pub fn claim(path: &Path) -> io::Result<File> {
    // `O_NONBLOCK`: an open that waits, of a FIFO for one, is none of a disk; disks ignore it.
    let flags =
        libc::O_DIRECT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.file_type().is_block_device() {
        return Err(Errno::ENOTBLK.into());
    }
    Ok(file)
}

/// Opens a disk for reading past the page cache, without a claim: it may be in use (`O_RDONLY`, `O_DIRECT`, `O_NOFOLLOW`).
/// Fails as [`claim`] does otherwise.
pub fn look(path: &Path) -> io::Result<File> {
    open_to_read(path, 0)
}

/// Holds when somebody has claimed a disk, or a whole or part of it: it is mounted, swapped on, built on, or opened by a
/// program as [`claim`] opens it. The claim by which this is found out lasts a moment.
pub fn is_claimed(path: &Path) -> io::Result<bool> {
    match open_to_read(path, libc::O_EXCL) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(true),
        Err(error) => Err(error),
    }
}

fn open_to_read(path: &Path, flag: libc::c_int) -> io::Result<File> {
    let flags = libc::O_DIRECT | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | flag;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.file_type().is_block_device() {
        return Err(Errno::ENOTBLK.into());
    }
    Ok(file)
}

/// Opens a regular file for reading and writing, through the page cache. Makes an empty one where there is none.
/// Never a device, a FIFO or what a symbolic link leads to.
pub fn open_file(path: &Path) -> io::Result<File> {
    // Looked at first: to open some devices is to act on them. What is opened is looked at again.
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Err(not_a_file()),
        _ => {}
    }
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).custom_flags(flags);
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(not_a_file());
    }
    Ok(file)
}

/// Asks the kernel to forget what its page cache holds of a file, as far as it is on the medium already
/// (`posix_fadvise`, `POSIX_FADV_DONTNEED`).
pub fn forget(file: impl AsFd) -> io::Result<()> {
    Ok(posix_fadvise(file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")
}

/// Makes a range read as zeros without sending them: `fallocate` with `PUNCH_HOLE` and `KEEP_SIZE`.
///
/// On a block device the kernel asks the device itself to zero and never falls back to writing
/// (`BLKDEV_ZERO_NOFALLBACK`; Linux, `block/fops.c`, `blkdev_fallocate`), and forgets what its page cache held of
/// the range. `EOPNOTSUPP` where the device cannot; offset and length are multiples of its sectors, else `EINVAL`.
pub fn zero(device: impl AsFd, offset: u64, length: u64) -> io::Result<()> {
    let (offset, length) = (signed(offset)?, signed(length)?);
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    loop {
        match fallocate(device.as_fd(), flags, offset, length) {
            Err(Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
}

fn signed(number: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(number).map_err(|_| Errno::EFBIG.into())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Seek, Write},
        os::unix::fs::symlink,
    };

    use super::*;

    #[test]
    fn only_a_block_device_is_claimed() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        std::fs::write(&file, [0; 4096]).unwrap();
        assert_eq!(look(&file).unwrap_err().raw_os_error(), Some(libc::ENOTBLK));
        assert!(is_claimed(&file).is_err() && look(&link).is_err());
        symlink(&file, &link).unwrap();
        let code = |path: &Path| claim(path).unwrap_err().raw_os_error();
        assert_eq!(code(&link), Some(libc::ELOOP));
        assert_eq!(code(&directory.path().join("none")), Some(libc::ENOENT));
        // tmpfs of old kernels knows no O_DIRECT.
        assert!(matches!(code(&file), Some(libc::ENOTBLK | libc::EINVAL)));
    }

    #[test]
    fn a_device_is_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        symlink("/dev/null", &link).unwrap();
        for path in [Path::new("/dev/null"), &link, directory.path()] {
            let error = open_file(path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{}", path.display());
        }
    }

    #[test]
    fn a_hole_reads_as_zeros_and_keeps_the_size() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0xff; 12_288]).unwrap();
        zero(&file, 4096, 4096).unwrap();
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 12_288);
        assert!(bytes[4096..8192].iter().all(|byte| *byte == 0));
        assert!(bytes[..4096].iter().chain(&bytes[8192..]).all(|byte| *byte == 0xff));
        assert_eq!(zero(&file, u64::MAX, 1).unwrap_err().raw_os_error(), Some(libc::EFBIG));
    }
}
