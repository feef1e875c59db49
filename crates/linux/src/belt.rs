//! The belt: the kernel's read-only flag on every disk, and the one way in which it is taken off (SAFETY.md 11).
//!
//! Whoever fastens belts does so whenever a disk says that it changed, and an engine that writes makes disks say so.
//! Both go through here: a disk whose belt is off for an order stays so until that order is done with it.

use std::{
    collections::BTreeSet,
    io,
    os::fd::AsFd,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::block::{self, Access};

/// The disks whose belt is off, by the kernel's sequence number, which no other disk gets in this boot.
static OFF: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// What became of an attempt to fasten a belt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fastened {
    /// The disk is read-only; this is what it was before.
    Now(Access),
    /// The disk is being written to under an order, and was left alone.
    LeftOff,
}

/// Makes a disk read-only, unless its belt was [taken off](take_off). Read back; needs `CAP_SYS_ADMIN`.
pub fn fasten(disk: impl AsFd) -> io::Result<Fastened> {
    let sequence = block::sequence(&disk)?;
    let off = off();
    if off.contains(&sequence) {
        return Ok(Fastened::LeftOff);
    }
    let before = block::access(&disk)?;
    set(&disk, Access::ReadOnly)?;
    drop(off);
    Ok(Fastened::Now(before))
}

/// Makes one disk writable until [`put_on`]. Read back: a disk that is read-only by itself stays so, which is `EROFS`.
pub fn take_off(disk: impl AsFd) -> io::Result<()> {
    let sequence = block::sequence(&disk)?;
    let mut off = off();
    if let Err(error) = set(&disk, Access::Writable) {
        // Half done is worse than not done.
        set(&disk, Access::ReadOnly).ok();
        return Err(error);
    }
    off.insert(sequence);
    Ok(())
}

/// Makes a disk read-only again whose belt was taken off. Read back.
pub fn put_on(disk: impl AsFd) -> io::Result<()> {
    let sequence = block::sequence(&disk)?;
    let mut off = off();
    off.remove(&sequence);
    set(&disk, Access::ReadOnly)
}

/// What another thread's panic left behind is a whole set all the same.
fn off() -> MutexGuard<'static, BTreeSet<u64>> {
    OFF.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set(disk: impl AsFd, wanted: Access) -> io::Result<()> {
    block::set_access(&disk, wanted)?;
    if block::access(&disk)? == wanted {
        return Ok(());
    }
    Err(match wanted {
        Access::Writable => io::Error::from_raw_os_error(nix::libc::EROFS),
        Access::ReadOnly => io::Error::other("it is still writable"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // `crates/disk` tries the belt on loop devices.
    #[test]
    fn a_file_has_no_belt() {
        let file = tempfile::tempfile().unwrap();
        for error in
            [fasten(&file).unwrap_err(), take_off(&file).unwrap_err(), put_on(&file).unwrap_err()]
        {
            assert_eq!(error.raw_os_error(), Some(nix::libc::ENOTTY), "{error}");
        }
    }
}
