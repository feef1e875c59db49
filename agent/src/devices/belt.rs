//! The belt: every disk is read-only from the moment it appears (SAFETY.md 11).

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use linux::{belt, block::Access};
use protocol::inventory::Gap;
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
    #[error("making it read-only")]
    Set(#[source] io::Error),
}

/// Makes a disk read-only, on a thread of its own: a disk that hangs holds up nobody else.
///
/// `name` is the kernel's, from below `/sys` or from an event. Disks that software made up are left alone:
/// there is nothing behind them.
pub(super) fn fasten(name: &str, path: &str, occasion: Occasion, findings: &Findings) {
    if event::is_virtual(path) {
        return;
    }
    let (disk, findings) = (in_sysfs(name), findings.clone());
    let work = move || match make_read_only(&device(&disk)) {
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
    if let Err(failure) = super::aside(format!("belt {name}"), Box::new(work)) {
        error!(disk = name, error = %failure, "disk cannot be made read-only");
    }
}

/// Returns the gap of each disk that the machine has written to since it appeared: there must be none.
pub(super) fn gaps(root: &Path, disks: impl IntoIterator<Item = String>) -> Vec<Gap> {
    let written = |disk: &String| {
        let statistics = fs::read_to_string(root.join("sys/block").join(disk).join("stat")).ok()?;
        writes(&statistics).filter(|writes| *writes > 0)
    };
    let gap = |disk: String| {
        let writes = written(&disk)?;
        let reason = format!("this system has written to it {writes} times");
        Some(super::gap(&format!("disks/{disk}/readOnly"), "stat", &reason))
    };
    disks.into_iter().filter_map(gap).collect()
}

/// Reads how many writes and discards a disk has finished. Linux, `Documentation/block/stat.rst`.
fn writes(statistics: &str) -> Option<u64> {
    let mut fields = statistics.split_ascii_whitespace();
    let writes: u64 = fields.nth(4)?.parse().ok()?;
    // Kernels before 4.18 do not count discards.
    let discards = fields.nth(6).map_or(Some(0), |discards| discards.parse().ok())?;
    writes.checked_add(discards)
}

/// Names a disk as `/sys/block` does: an event says `cciss/c0d0`, and there it is `cciss!c0d0`.
pub(super) fn in_sysfs(name: &str) -> String {
    name.replace('/', "!")
}

/// Returns where the disk of that name in `/sys/block` stands below `/dev`.
pub(super) fn device(disk: &str) -> PathBuf {
    Path::new("/dev").join(disk.replace('!', "/"))
}

/// Sets the kernel's read-only flag and reads it back, except where an order has taken it off; returns what it was
/// before this program first set it.
fn make_read_only(path: &Path) -> Result<Access, BeltError> {
    let device = File::open(path).map_err(BeltError::Open)?;
    belt::fasten(&device).map_err(BeltError::Set)
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
        assert!(matches!(make_read_only(file.path()), Err(BeltError::Set(_))));
    }

    #[test]
    fn a_disk_below_a_directory_has_one_name_however_it_is_heard_of() {
        for name in ["cciss!c0d0", "cciss/c0d0"] {
            assert_eq!(in_sysfs(name), "cciss!c0d0");
            assert_eq!(device(&in_sysfs(name)), Path::new("/dev/cciss/c0d0"));
        }
        assert_eq!(device("sda"), Path::new("/dev/sda"));
    }

    #[test]
    fn a_write_or_a_discard_is_a_gap_and_reading_is_none() {
        let root = tempfile::tempdir().unwrap();
        let says = |statistics: &str| {
            let disk = root.path().join("sys/block/vda");
            fs::create_dir_all(&disk).unwrap();
            fs::write(disk.join("stat"), statistics).unwrap();
            gaps(root.path(), ["vda".to_owned(), "gone".to_owned()])
        };
        let reads = "      98        0     4208      30        0        0        0        0        0       28       30        0        0        0        0        0        0\n";
        assert_eq!(says(reads), []);
        let discarded =
            reads.replacen("       30        0        0 ", "       30        2        0 ", 1);
        let old = "98 0 4208 30 7 0 56 1 0 28 30\n";
        for (statistics, times) in [(discarded.as_str(), "2 times"), (old, "7 times")] {
            let found = says(statistics);
            assert_eq!(found.len(), 1, "{statistics}");
            assert!(found[0].what == "disks/vda/readOnly" && found[0].reason.contains(times));
        }
        for n in 0..reads.len() {
            let _read = writes(&reads[..n]);
        }
    }

    #[test]
    fn a_disk_that_is_gone_is_no_failure() {
        let error = make_read_only(Path::new("/nonexistent/sda")).unwrap_err();
        assert!(matches!(error, BeltError::Open(source) if is_empty(&source)));
    }
}
