//! How what the kernel has built on disks is taken down: arrays, mapped devices, caches. From the top, and only with the
//! right to ([`Release`]), which the checks of a wipe give.
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

/// Takes down all that the right names, from the top, and waits until the kernel has let go. Returns what that was.
pub fn release(right: Release, watch: &dyn Watch) -> Result<Vec<Holder>, NotReleased> {
    let (disks, waiting) = right.into_parts();
    let disks: Vec<&str> = disks.iter().map(String::as_str).collect();
    let mut released = Vec::new();
    for holder in waiting {
        if let Err(source) = take_down(&holder, &disks, watch) {
            return Err(NotReleased { released, source });
        }
        released.push(holder);
    }
    Ok(released)
}

fn take_down(holder: &Holder, disks: &[&str], watch: &dyn Watch) -> Result<(), HoldersError> {
    watch.check()?;
    let since = watch.elapsed();
    while let Err(source) = try_down(holder) {
        // It went by itself when what lay on it did.
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
    while holders(disks)?.iter().any(|other| other.name == holder.name) {
        if watch.elapsed().saturating_sub(since) > PATIENCE {
            return Err(HoldersError::Stays { name: holder.to_string() });
        }
        watch.wait(PAUSE)?;
    }
    Ok(())
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
