//! The belt: every disk is read-only from the moment it appears (SAFETY.md 11).

use std::{fs::File, io, path::Path, thread};

use linux::block::{self, Access};
use tracing::{debug, error};

use super::{Findings, event};

/// Why a disk is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// It appeared.
    Found,
    /// It says that something about it changed.
    Changed,
}

/// Says why a disk could not be made read-only.
#[derive(Debug, thiserror::Error)]
enum BeltError {
    #[error("opening")]
    Open(#[source] io::Error),
    #[error("reading whether it is read-only")]
    Read(#[source] io::Error),
    #[error("making it read-only")]
    Set(#[source] io::Error),
    #[error("it is still writable")]
    Writable,
}

/// Makes a disk read-only, on a thread of its own: a disk that hangs holds up nobody else.
///
/// Disks that software made up are left alone: there is nothing behind them.
pub(super) fn fasten(name: &str, path: &str, occasion: Occasion, findings: &Findings) {
    if event::is_virtual(path) {
        return;
    }
    let (disk, findings) = (name.to_owned(), findings.clone());
    let work = move || match make_read_only(&Path::new("/dev").join(&disk)) {
        Ok(before) => {
            debug!(disk, "read-only");
            if occasion == Occasion::Found {
                findings.note_read_only(disk, before == Access::ReadOnly);
            }
        }
        // A drive without a medium has nothing to protect, a disk that is gone neither.
        Err(BeltError::Open(source)) if is_empty(&source) => {}
        Err(failure) => {
            error!(disk, error = display(&failure), "disk cannot be made read-only");
            findings.add_gap(super::gap(
                &format!("disks/{disk}/readOnly"),
                "BLKROSET",
                &display(&failure),
            ));
        }
    };
    let started = thread::Builder::new().name(format!("belt {name}")).spawn(work);
    if let Err(failure) = started {
        error!(disk = name, error = %failure, "disk cannot be made read-only");
    }
}

/// Sets the kernel's read-only flag and reads it back; returns what it was before.
fn make_read_only(path: &Path) -> Result<Access, BeltError> {
    let device = File::open(path).map_err(BeltError::Open)?;
    let before = block::access(&device).map_err(BeltError::Read)?;
    block::set_access(&device, Access::ReadOnly).map_err(BeltError::Set)?;
    match block::access(&device).map_err(BeltError::Read)? {
        Access::ReadOnly => Ok(before),
        Access::Writable => Err(BeltError::Writable),
    }
}

/// `ENOMEDIUM`, `ENXIO`, `ENOENT`, `ENODEV`.
fn is_empty(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(123 | 6 | 2 | 19))
}

fn display(error: &BeltError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_no_disk_and_stays_as_it_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(make_read_only(file.path()), Err(BeltError::Read(_))));
    }

    #[test]
    fn a_disk_that_is_gone_is_no_failure() {
        let error = make_read_only(Path::new("/nonexistent/sda")).unwrap_err();
        assert!(matches!(error, BeltError::Open(source) if is_empty(&source)));
    }
}
