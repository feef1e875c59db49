//! What a path lies on.

use std::{io, path::Path};

use nix::sys::{
    stat::{major, stat},
    statfs::{FsType, TMPFS_MAGIC, statfs},
};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_no_initramfs() {
        assert!(!is_in_memory(Path::new("/proc")).unwrap());
        assert!(!is_same(Path::new("/proc"), Path::new("/")).unwrap());
    }
}
