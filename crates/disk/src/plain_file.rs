//! A plain file in the place of a disk: `sunshine write` to a file on a laptop, and tests.

use std::{
    fs::TryLockError,
    io,
    path::{Path, PathBuf},
};

use crate::{
    ZeroingProof,
    handle::{Handle, Handled},
};

/// A regular file that an image is written to. Never a device, and no permit is needed: who may write it, may.
///
/// It is written through the page cache; [`flush`](crate::Medium::flush) waits for the medium and has the kernel forget
/// what it holds, so that what is read back afterwards comes from there.
#[derive(Debug)]
pub struct PlainFile {
    handle: Handle,
}

/// Says why a file cannot take an image.
#[derive(Debug, thiserror::Error)]
pub enum PlainFileError {
    /// It cannot be opened, or is no regular file.
    #[error("opening {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another program has it locked.
    #[error("{path} is being written by another program", path = path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The file system has no room, or no files of this size.
    #[error("making {path} {size_bytes} bytes long", path = path.display())]
    Resize {
        /// The file.
        path: PathBuf,
        /// The size that the image needs.
        size_bytes: u64,
        /// Why.
        source: io::Error,
    },
    /// The size is not made of whole sectors.
    #[error("{size_bytes} bytes are not whole sectors of {sector_bytes} bytes")]
    Sectors {
        /// The size that was asked for.
        size_bytes: u64,
        /// The sector size that was asked for.
        sector_bytes: u32,
    },
}

impl PlainFile {
    /// Opens a file, or makes one, and gives it the size of the image. What stands in it within that size stays.
    pub fn open(path: &Path, size_bytes: u64, sector_bytes: u32) -> Result<Self, PlainFileError> {
        let is_sector = sector_bytes.is_power_of_two() && sector_bytes >= 512;
        if !is_sector || !size_bytes.is_multiple_of(u64::from(sector_bytes)) {
            return Err(PlainFileError::Sectors { size_bytes, sector_bytes });
        }
        let failed = |source| PlainFileError::Open { path: path.to_owned(), source };
        let file = linux::direct::open_file(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(PlainFileError::Busy { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(size_bytes).map_err(|source| PlainFileError::Resize {
            path: path.to_owned(),
            size_bytes,
            source,
        })?;
        Ok(Self { handle: Handle::new(file, size_bytes, sector_bytes) })
    }

    /// Returns what is known of the file system's zeroing.
    pub fn zeroing(&self) -> ZeroingProof {
        self.handle.zeroing()
    }
}

impl Handled for PlainFile {
    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn flushed(&self) {
        // A file system that forgets nothing, tmpfs for one, is its own medium.
        linux::direct::forget(self.handle.file()).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Medium as _, Zeroing};

    #[test]
    fn a_file_is_made_and_has_the_size_of_the_image() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        let file = PlainFile::open(&path, 1 << 20, 512).unwrap();
        assert_eq!((file.size_bytes(), file.sector_bytes()), (1 << 20, 512));
        assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20);
        assert!(matches!(PlainFile::open(&path, 1 << 20, 512), Err(PlainFileError::Busy { .. })));
    }

    #[test]
    fn what_was_written_before_is_there_to_be_compared() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        fs::write(&path, vec![9; 10_000]).unwrap();
        let file = PlainFile::open(&path, 8192, 512).unwrap();
        let mut bytes = [0; 8192];
        file.read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [9; 8192]);
        assert_eq!(file.zero(0, 512).unwrap(), Zeroing::Done);
        file.write(512, &[1; 512]).unwrap();
        file.flush().unwrap();
        drop(file);
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes, [vec![0; 512], vec![1; 512], vec![9; 7168]].concat());
    }

    #[test]
    fn a_device_or_a_link_is_no_plain_file() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        for path in [Path::new("/dev/null"), &link, directory.path()] {
            let error = PlainFile::open(path, 512, 512).unwrap_err();
            assert!(matches!(error, PlainFileError::Open { .. }), "{error}");
        }
        let path = directory.path().join("image");
        for (size, sector) in [(1000, 512), (4096, 0), (4096, 1), (512, 4096), (4096, 768)] {
            let error = PlainFile::open(&path, size, sector).unwrap_err();
            assert!(matches!(error, PlainFileError::Sectors { .. }), "{error}");
        }
        assert!(!path.exists());
    }
}
