//! What crashed kernels left behind: their logs, with whatever stood in them.

use std::{fs, io, path::Path};

use linux::mount::{self, Rights};

/// Removes all of it, and looks whether anything is left. Returns the names of what was there.
pub(super) fn empty(directory: &Path) -> Result<Vec<String>, String> {
    if !directory.exists() {
        return Err("this kernel keeps nothing of crashes".to_owned());
    }
    // EBUSY: it is mounted.
    match mount::virtual_filesystem("pstore", directory, Rights::Files) {
        Err(error) if error.raw_os_error() != Some(16) => {
            return Err(format!("mounting {}: {error}", directory.display()));
        }
        _ => {}
    }
    remove_all(directory)
}

fn remove_all(directory: &Path) -> Result<Vec<String>, String> {
    let failed = |error: io::Error| format!("reading {}: {error}", directory.display());
    let names = || -> io::Result<Vec<String>> {
        let entries = fs::read_dir(directory)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    let mut found = names().map_err(failed)?;
    for name in &found {
        let path = directory.join(name);
        fs::remove_file(&path).map_err(|error| format!("removing {}: {error}", path.display()))?;
    }
    match names().map_err(failed)?.as_slice() {
        [] => {
            found.sort();
            Ok(found)
        }
        left => Err(format!("these are still there: {}", left.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_goes_and_is_named() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["dmesg-efi-2", "dmesg-efi-1"] {
            fs::write(directory.path().join(name), "secret").unwrap();
        }
        assert_eq!(remove_all(directory.path()).unwrap(), ["dmesg-efi-1", "dmesg-efi-2"]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        assert_eq!(remove_all(directory.path()).unwrap(), [""; 0]);
    }

    #[test]
    fn what_stays_is_a_failure() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("stays")).unwrap();
        assert!(remove_all(directory.path()).unwrap_err().contains("stays"));
    }
}
