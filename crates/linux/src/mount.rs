//! Mounts of the kernel's own file systems.

use std::{io, path::Path};

use nix::mount::MsFlags;

/// What may be done with what is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Reading and writing; no device files, no programs, no other user's rights.
    Files,
    /// Reading only; otherwise like `Files`.
    ReadOnly,
    /// Reading, writing and device files; no programs, no other user's rights.
    Devices,
}

/// Mounts a file system that has no device (`mount`): `proc`, `sysfs`, `devtmpfs`, `tmpfs`, `efivarfs`.
pub fn virtual_filesystem(kind: &str, target: &Path, rights: Rights) -> io::Result<()> {
    Ok(nix::mount::mount(Some(kind), target, Some(kind), flags(rights), None::<&str>)?)
}

/// Mounts a file system that lies on a device (`mount`).
pub fn filesystem(kind: &str, device: &Path, target: &Path, rights: Rights) -> io::Result<()> {
    Ok(nix::mount::mount(Some(device), target, Some(kind), flags(rights), None::<&str>)?)
}

/// Mounts like [`filesystem`], with the filesystem's own options, and so that reading changes no times
/// (`MS_NOATIME`, `MS_NODIRATIME`).
pub fn filesystem_with(
    kind: &str,
    device: &Path,
    target: &Path,
    rights: Rights,
    options: Option<&str>,
) -> io::Result<()> {
    let flags = flags(rights) | MsFlags::MS_NOATIME | MsFlags::MS_NODIRATIME;
    Ok(nix::mount::mount(Some(device), target, Some(kind), flags, options)?)
}

/// Unmounts, when all of it is written (`umount2`). `EBUSY` while something uses it.
pub fn unmount(target: &Path) -> io::Result<()> {
    Ok(nix::mount::umount2(target, nix::mount::MntFlags::UMOUNT_NOFOLLOW)?)
}

/// Changes what may be done with a file system that is mounted (`mount`, `MS_REMOUNT`): all of it, at every mount.
///
/// `EBUSY` where files are open for writing and it is to be read only.
pub fn change(target: &Path, rights: Rights) -> io::Result<()> {
    let flags = flags(rights) | MsFlags::MS_REMOUNT;
    Ok(nix::mount::mount(None::<&str>, target, None::<&str>, flags, None::<&str>)?)
}

fn flags(rights: Rights) -> MsFlags {
    let flags = MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID;
    match rights {
        Rights::Files => flags | MsFlags::MS_NODEV,
        Rights::ReadOnly => flags | MsFlags::MS_NODEV | MsFlags::MS_RDONLY,
        Rights::Devices => flags,
    }
}
