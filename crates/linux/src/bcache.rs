//! bcache's devices and sets of caches, which are let go of by writing to sysfs (Linux, `Documentation/admin-guide/bcache.rst`).

use std::{fs, io, path::Path};

/// Stops a backing device: `stop` in its directory, `/sys/block/DISK/bcache`. Returns before the kernel has let go.
pub fn stop(directory: &Path) -> io::Result<()> {
    tell(&directory.join("stop"))
}

/// Lets go of a set of caches, whose dirty blocks stay on the cache: `unregister` in `/sys/fs/bcache/UUID`. Returns
/// before the kernel has let go.
pub fn unregister(set: &Path) -> io::Result<()> {
    tell(&set.join("unregister"))
}

fn tell(file: &Path) -> io::Result<()> {
    // Never made: a file that is not there is none of the kernel's.
    let mut options = fs::OpenOptions::new();
    io::Write::write_all(&mut options.write(true).open(file)?, b"1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_are_there_are_written() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(stop(directory.path()).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(directory.path().join("unregister"), "").unwrap();
        unregister(directory.path()).unwrap();
        assert_eq!(fs::read_to_string(directory.path().join("unregister")).unwrap(), "1");
        assert!(!directory.path().join("stop").exists());
    }
}
