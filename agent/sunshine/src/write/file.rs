//! A plain file in the place of a disk, for images whose length shows only at their end.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use disk::{Medium, Zeroing};

use super::words::is_device_name;

/// Longer than any image: nothing of one lies at its end.
const SIZE_BYTES: u64 = 1 << 62;

const MIB: u64 = 1 << 20;

/// What is at a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum There {
    /// A regular file of a length, or nothing: 0.
    File { bytes: u64, is_blank: bool },
    /// A device, a link, a directory.
    Other(String),
}

/// Looks at a path, and changes nothing.
pub(super) fn look(path: &Path) -> Result<There, String> {
    let shown = path.display();
    let link = "names below /dev are other disks' tomorrow: type the disk's serial number or WWN";
    if is_device_name(path) {
        return Ok(There::Other(format!("{shown} is no plain file: {link}")));
    }
    let failed = |error: io::Error| format!("looking at {shown}: {error}");
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(There::File { bytes: 0, is_blank: true });
        }
        other => other.map_err(failed)?,
    };
    if !metadata.is_file() {
        let what = if metadata.is_symlink() { "is a link: name what it leads to" } else { link };
        return Ok(There::Other(format!("{shown} is no plain file: {what}")));
    }
    let file = File::open(path).map_err(failed)?;
    let bytes = metadata.len();
    let is_blank = [0, bytes.saturating_sub(MIB)].into_iter().try_fold(true, |blank, offset| {
        let mut part = vec![0; usize::try_from((bytes - offset).min(MIB)).expect("a MiB fits")];
        file.read_exact_at(&mut part, offset)?;
        Ok(blank && part.iter().all(|byte| *byte == 0))
    });
    Ok(There::File { bytes, is_blank: is_blank.map_err(failed)? })
}

/// A file that grows as it is written. What was in it before is zeros where the image has zeros, and stays behind
/// the image's end.
#[derive(Debug)]
pub(super) struct Growing {
    file: File,
    sector_bytes: u32,
}

impl Growing {
    /// Opens a file, or makes one.
    pub(super) fn open(path: &Path, sector_bytes: u32) -> io::Result<Self> {
        let file = linux::direct::open_file(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::other("another program is writing to it"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // A file that was a disk before has the backup of its partition table there.
        let bytes = file.metadata()?.len();
        let start = bytes.saturating_sub(MIB);
        file.write_all_at(&vec![0; usize::try_from(bytes - start).expect("a MiB fits")], start)?;
        file.sync_data()?;
        Ok(Self { file, sector_bytes })
    }

    /// Gives it at least the length of the image, whose last bytes may be zeros.
    pub(super) fn close(self, image_bytes: u64) -> io::Result<()> {
        let bytes = self.file.metadata()?.len().max(image_bytes);
        self.file.set_len(bytes)?;
        self.file.sync_all()
    }
}

impl Medium for Growing {
    fn size_bytes(&self) -> u64 {
        SIZE_BYTES
    }

    fn sector_bytes(&self) -> u32 {
        self.sector_bytes
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = self.file.metadata()?.len().saturating_sub(offset);
        let inside = buffer.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
        self.file.read_exact_at(&mut buffer[..inside], offset)?;
        buffer[inside..].fill(0);
        Ok(())
    }

    fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        self.file.write_all_at(buffer, offset)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<Zeroing> {
        let bytes = self.file.metadata()?.len();
        if offset >= bytes {
            return Ok(Zeroing::Done);
        }
        match linux::direct::zero(&self.file, offset, length) {
            Ok(()) => Ok(Zeroing::Done),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(Zeroing::Unsupported),
            Err(error) => Err(error),
        }
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_data()?;
        // A file system that forgets nothing, tmpfs for one, is its own medium.
        linux::direct::forget(&self.file).ok();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_file_reads_as_zeros_behind_its_end_and_ends_with_the_image() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        let file = Growing::open(&path, 512).unwrap();
        assert!(Growing::open(&path, 512).is_err());
        let mut bytes = [1; 1024];
        file.read(SIZE_BYTES - 1024, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 1024]);
        file.write(512, &[7; 512]).unwrap();
        assert_eq!(file.zero(4096, 512).unwrap(), Zeroing::Done);
        file.read(512, &mut bytes).unwrap();
        assert_eq!(bytes, *[[7; 512], [0; 512]].as_flattened());
        file.close(4096).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 4096);
    }

    #[test]
    fn old_content_is_zeros_where_zeros_are_written_and_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        fs::write(&path, vec![9; 3 << 20]).unwrap();
        assert_eq!(look(&path), Ok(There::File { bytes: 3 << 20, is_blank: false }));
        let file = Growing::open(&path, 512).unwrap();
        file.zero(0, MIB).unwrap();
        file.close(512).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes, [vec![0; 1 << 20], vec![9; 1 << 20], vec![0; 1 << 20]].concat());
        assert_eq!(look(&path), Ok(There::File { bytes: 3 << 20, is_blank: true }));
    }

    #[test]
    fn devices_links_and_directories_are_no_plain_files() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        for path in [Path::new("/dev/sda"), Path::new("/dev/null"), &link, directory.path()] {
            assert!(matches!(look(path), Ok(There::Other(_))), "{}", path.display());
        }
    }
}
