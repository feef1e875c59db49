//! The belt: the kernel's read-only flag on every disk, and the one way in which it is taken off (SAFETY.md 11).
//!
//! Whoever fastens belts does so whenever a disk says that it changed, and an engine that writes makes disks say so.
//! Both go through here: a disk whose belt is off for an order stays so until that order is done with it.

use std::{
    collections::BTreeMap,
    io,
    os::fd::AsFd,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::block::{self, Access};

/// The belts of this process, by the disk's sequence number, which no other disk gets in this boot.
static BELTS: Mutex<BTreeMap<u64, Belt>> = Mutex::new(BTreeMap::new());

#[derive(Debug, Clone, Copy)]
struct Belt {
    /// What the disk was before.
    before: Access,
    /// Whether an order has taken it off.
    is_off: bool,
}

/// Makes a disk read-only, and returns what it was when this was first done; needs `CAP_SYS_ADMIN`.
///
/// Read back. A disk whose belt was [taken off](take_off) is left alone.
pub fn fasten(disk: impl AsFd) -> io::Result<Access> {
    let sequence = block::sequence(&disk)?;
    let mut belts = belts();
    let belt = match belts.get(&sequence) {
        Some(belt) => *belt,
        None => Belt { before: block::access(&disk)?, is_off: false },
    };
    if !belt.is_off {
        set(&disk, Access::ReadOnly)?;
        belts.insert(sequence, belt);
    }
    Ok(belt.before)
}

/// Returns what a disk was before it was made read-only here; `None` where that was not done here.
pub fn before(disk: impl AsFd) -> io::Result<Option<Access>> {
    let sequence = block::sequence(&disk)?;
    Ok(belts().get(&sequence).map(|belt| belt.before))
}

/// Makes one disk writable until [`put_on`]. Read back: a disk that is read-only by itself stays so, which is `EROFS`.
pub fn take_off(disk: impl AsFd) -> io::Result<()> {
    let sequence = block::sequence(&disk)?;
    let mut belts = belts();
    if let Err(error) = set(&disk, Access::Writable) {
        // Half done is worse than not done.
        set(&disk, Access::ReadOnly).ok();
        return Err(error);
    }
    let belt = Belt { before: Access::Writable, is_off: true };
    belts.entry(sequence).or_insert(belt).is_off = true;
    Ok(())
}

/// Makes a disk read-only again whose belt was taken off. Read back.
pub fn put_on(disk: impl AsFd) -> io::Result<()> {
    let sequence = block::sequence(&disk)?;
    let mut belts = belts();
    if let Some(belt) = belts.get_mut(&sequence) {
        belt.is_off = false;
    }
    set(&disk, Access::ReadOnly)
}

/// Held over the calls that set and read the flag: they are the kernel's own, no disk is asked.
/// What another thread's panic left behind is a whole table all the same.
fn belts() -> MutexGuard<'static, BTreeMap<u64, Belt>> {
    BELTS.lock().unwrap_or_else(PoisonError::into_inner)
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
