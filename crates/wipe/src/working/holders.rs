//! How what the kernel has built on disks is taken down: arrays, mapped devices, caches. From the top, and only with the
//! right to ([`Release`]), which the checks of a wipe give.
//!
//! Between those checks and each step seconds pass, and names are given anew: before anything is told to go, it is looked
//! again whether it is what was checked, on the same disks.
//!
//! Nothing is written to any disk, but for what their drivers write when they let go. HerculesOS assembles nothing, so
//! there nothing has to be released; on somebody's own machine it may.

use std::{fs, io, path::Path, time::Duration};

use disk::permit::{Holder, HolderKind, HoldersUnread, Release, holders};

use crate::{Stopped, Watch};

/// How long the kernel may take to let go of a device after it was told to: a cache is written back first.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long something may be busy: whoever looks at new devices, udev for one, opens them for a moment.
const BUSY_PATIENCE: Duration = Duration::from_secs(5);

/// How long is waited before looking again.
const PAUSE: Duration = Duration::from_millis(200);

/// Why holders are still there, and which are not.
#[derive(Debug, thiserror::Error)]
#[error("taking down what is built on the disks{}", list(released))]
pub struct NotReleased {
    /// What was taken down before, and stays down.
    pub released: Vec<Holder>,
    /// Why no more was.
    pub source: HoldersError,
}

/// Why a holder is still there.
#[derive(Debug, thiserror::Error)]
pub enum HoldersError {
    /// The kernel cannot be asked.
    #[error(transparent)]
    Unread(#[from] HoldersUnread),
    /// It is in use, or its driver refuses.
    #[error("taking down {name}")]
    Refused {
        /// What it is.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It has the name of what was checked, and is something else or lies on other disks.
    #[error("{name} is not what was looked at before: nothing that has its name is taken down")]
    Exchanged {
        /// What was looked at.
        name: String,
    },
    /// The kernel was told and did not let go.
    #[error("{name} still holds the disk {seconds} s after it was taken down", seconds = PATIENCE.as_secs())]
    Stays {
        /// What it is.
        name: String,
    },
    /// The wipe is not to go on.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Takes down all that the right names, from the top, and waits until the kernel has let go. Returns what that was: what
/// was gone before is not among it.
pub fn release(right: Release, watch: &dyn Watch) -> Result<Vec<Holder>, NotReleased> {
    let (disks, waiting) = right.into_parts();
    let disks: Vec<&str> = disks.iter().map(String::as_str).collect();
    all_down(waiting, &|| holders(&disks), &try_down, watch)
}

/// Looks what is built on the disks.
type Look<'l> = &'l dyn Fn() -> Result<Vec<Holder>, HoldersUnread>;

/// Tells one to go.
type Down<'d> = &'d dyn Fn(&Holder) -> io::Result<()>;

fn all_down(
    waiting: Vec<Holder>,
    look: Look<'_>,
    down: Down<'_>,
    watch: &dyn Watch,
) -> Result<Vec<Holder>, NotReleased> {
    let mut released = Vec::new();
    for holder in waiting {
        match take_down(&holder, look, down, watch) {
            Ok(true) => released.push(holder),
            Ok(false) => {}
            Err(source) => return Err(NotReleased { released, source }),
        }
    }
    Ok(released)
}

/// Returns whether it was there to be taken down.
fn take_down(
    holder: &Holder,
    look: Look<'_>,
    down: Down<'_>,
    watch: &dyn Watch,
) -> Result<bool, HoldersError> {
    watch.check()?;
    let since = watch.elapsed();
    let mut was_told = false;
    // It may go by itself when what lay on it did.
    while is_there(holder, look)? {
        let Err(source) = down(holder) else {
            was_told = true;
            break;
        };
        if is_absent(&source) {
            break;
        }
        let is_over = watch.elapsed().saturating_sub(since) > BUSY_PATIENCE;
        if is_over || source.kind() != io::ErrorKind::ResourceBusy {
            return Err(HoldersError::Refused { name: holder.to_string(), source });
        }
        watch.wait(PAUSE)?;
    }
    // What lies below is free only then.
    let since = watch.elapsed();
    while look()?.iter().any(|other| other.name == holder.name) {
        if watch.elapsed().saturating_sub(since) > PATIENCE {
            return Err(HoldersError::Stays { name: holder.to_string() });
        }
        watch.wait(PAUSE)?;
    }
    Ok(was_told)
}

/// Holds while the disks have what was checked on them: the same name, kind and disks.
fn is_there(holder: &Holder, look: Look<'_>) -> Result<bool, HoldersError> {
    match look()?.iter().find(|other| other.name == holder.name) {
        Some(other) if other == holder => Ok(true),
        Some(_) => Err(HoldersError::Exchanged { name: holder.to_string() }),
        None => Ok(false),
    }
}

fn try_down(holder: &Holder) -> io::Result<()> {
    match &holder.kind {
        HolderKind::Array => {
            fs::File::open(Path::new("/dev").join(&holder.name)).and_then(linux::md::stop)
        }
        HolderKind::Mapped { name } => linux::device_mapper::remove(name),
        HolderKind::Bcache { directory } => linux::bcache::stop(directory),
        HolderKind::CacheSet { directory } => linux::bcache::unregister(directory),
        HolderKind::Other => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Holds for what the kernel says of a device that is no longer there: `ENOENT`, `ENXIO`, `ENODEV`.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(2 | 6 | 19))
}

fn list(released: &[Holder]) -> String {
    let names: Vec<String> = released.iter().map(Holder::to_string).collect();
    if names.is_empty() { String::new() } else { format!(" ({} is down)", names.join(", ")) }
}

#[cfg(test)]
mod tests;
