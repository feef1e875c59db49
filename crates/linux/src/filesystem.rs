//! What a path lies on, what names can do at once, and what nobody may change.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
    path::Path,
};

use nix::{
    NixPath,
    errno::Errno,
    libc,
    sys::{
        stat::{major, stat},
        statfs::{FsType, TMPFS_MAGIC, statfs},
    },
};

mod raw {
    use nix::libc::c_long;

    nix::ioctl_read!(flags, b'f', 1, c_long);
    nix::ioctl_write_ptr!(set_flags, b'f', 2, c_long);
}

/// Linux, `include/uapi/linux/fs.h`, `FS_IMMUTABLE_FL`.
const IMMUTABLE: libc::c_long = 0x10;

/// Linux, `include/uapi/linux/magic.h`.
const RAMFS: FsType = FsType(0x8584_58f6);

/// Holds when a path lies in memory and on no device: a ramfs or tmpfs (`statfs`), of major number 0 (`stat`).
pub fn is_in_memory(path: &Path) -> io::Result<bool> {
    let kind = statfs(path)?.filesystem_type();
    Ok((kind == RAMFS || kind == TMPFS_MAGIC) && major(stat(path)?.st_dev) == 0)
}

/// Holds when two paths lie on the same file system (`stat`).
pub fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    Ok(stat(one)?.st_dev == stat(other)?.st_dev)
}

/// Exchanges what two names stand for, in one step (`renameat2`, `RENAME_EXCHANGE`). Both must exist.
///
/// Not every file system can: those say `EINVAL`, and then nothing has changed.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    // Not the C library's: musl's older ones have none.
    let answer = one.with_nix_path(|one| {
        other.with_nix_path(|other| {
            let (one, other) = (one.as_ptr(), other.as_ptr());
            let here = libc::AT_FDCWD;
            // SAFETY: `renameat2` reads two paths that end in NUL, which a `CStr` does; both live until it returns.
            unsafe {
                libc::syscall(libc::SYS_renameat2, here, one, here, other, libc::RENAME_EXCHANGE)
            }
        })
    })??;
    Errno::result(answer)?;
    Ok(())
}

/// Whether a file can be changed or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutability {
    /// It can, by who may.
    Mutable,
    /// It cannot, not even by root.
    Immutable,
}

/// Returns whether a file can be changed (`FS_IOC_GETFLAGS`, `FS_IMMUTABLE_FL`).
pub fn mutability(file: impl AsFd) -> io::Result<Mutability> {
    let mut flags = 0;
    // SAFETY: `FS_IOC_GETFLAGS` writes at most one `long`, and `flags` is one.
    unsafe { raw::flags(file.as_fd().as_raw_fd(), &raw mut flags) }?;
    Ok(if flags & IMMUTABLE == 0 { Mutability::Mutable } else { Mutability::Immutable })
}

/// Says whether a file can be changed (`FS_IOC_SETFLAGS`); needs `CAP_LINUX_IMMUTABLE`.
pub fn set_mutability(file: impl AsFd, mutability: Mutability) -> io::Result<()> {
    let mut flags = 0;
    // SAFETY: `FS_IOC_GETFLAGS` writes at most one `long`, and `flags` is one.
    unsafe { raw::flags(file.as_fd().as_raw_fd(), &raw mut flags) }?;
    match mutability {
        Mutability::Mutable => flags &= !IMMUTABLE,
        Mutability::Immutable => flags |= IMMUTABLE,
    }
    // SAFETY: `FS_IOC_SETFLAGS` reads at most one `long`, and `flags` is one that outlives the call.
    unsafe { raw::set_flags(file.as_fd().as_raw_fd(), &raw const flags) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn two_directories_change_places_and_a_missing_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let [one, other, none] = ["one", "other", "none"].map(|name| directory.path().join(name));
        for path in [&one, &other] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("who"), path.file_name().unwrap().as_encoded_bytes()).unwrap();
        }
        exchange(&one, &other).unwrap();
        let who = |path: &Path| fs::read_to_string(path.join("who")).unwrap();
        assert_eq!((who(&one), who(&other)), ("other".to_owned(), "one".to_owned()));
        let error = exchange(&one, &none).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(who(&one), "other");
    }

    #[test]
    fn a_pipe_has_no_flags() {
        let (pipe, _other) = io::pipe().unwrap();
        assert!(mutability(&pipe).is_err());
        assert!(set_mutability(&pipe, Mutability::Mutable).is_err());
    }

    #[test]
    fn a_file_that_can_be_changed_says_so() {
        // Not every file system under a temporary directory has flags.
        let file = fs::File::open(env!("CARGO_MANIFEST_PATH")).unwrap();
        match mutability(&file) {
            Ok(found) => assert_eq!(found, Mutability::Mutable),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOTTY)),
        }
    }

    #[test]
    fn proc_is_no_initramfs() {
        assert!(!is_in_memory(Path::new("/proc")).unwrap());
        assert!(!is_same(Path::new("/proc"), Path::new("/")).unwrap());
    }
}
