//! A filesystem that is only looked at: FAT and ext4, which boot loaders read and kernels of theirs lie on.
//!
//! The libraries that read them have been seen to panic at broken ones: that is an error of the filesystem here.

use std::{
    io::{self, Read as _, Seek as _, SeekFrom, Write},
    panic::{self, AssertUnwindSafe},
};

use ext4_view::{Ext4, Ext4Error};
use fatfs::{FileSystem, FsOptions};
use signature::Partition;

use super::window::Window;

/// More names than this are in no directory of a boot loader.
const NAMES_LIMIT: usize = 1024;

/// A filesystem of a disk.
pub struct Volume {
    kind: Kind,
    uuid: Option<String>,
    label: Option<String>,
    partition: Partition,
}

enum Kind {
    Fat(Box<FileSystem<Window>>),
    Ext4(Ext4),
}

/// Reads on in a file.
type Fetch<'f> = Box<dyn FnMut(&mut [u8]) -> Result<usize, VolumeError> + 'f>;

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// As it is written.
    pub text: String,
    /// Whether it is a directory's.
    pub is_directory: bool,
}

/// Says why something in a filesystem cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// Nothing here reads such a filesystem.
    #[error("partition {partition} has no filesystem that can be read here but {kind}")]
    Kind {
        /// Its number.
        partition: u32,
        /// What is there.
        kind: String,
    },
    /// The filesystem is so broken that the library which reads it stumbled.
    #[error("{path} of partition {partition} cannot be read: the filesystem is broken")]
    Broken {
        /// Its number.
        partition: u32,
        /// Which file or directory.
        path: String,
    },
    /// The FAT filesystem is broken, or the disk.
    #[error("reading {path} of partition {partition}")]
    Fat {
        /// Its number.
        partition: u32,
        /// Which file or directory.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The ext4 filesystem is broken, or the disk.
    #[error("reading {path} of partition {partition}")]
    Ext4 {
        /// Its number.
        partition: u32,
        /// Which file or directory.
        path: String,
        /// Why.
        source: Ext4Error,
    },
    /// It is not there.
    #[error("partition {partition} has no {path}")]
    Missing {
        /// Its number.
        partition: u32,
        /// Which file or directory.
        path: String,
    },
    /// It is larger than anything of its kind.
    #[error("{path} of partition {partition} has more than {limit} bytes")]
    TooLong {
        /// Its number.
        partition: u32,
        /// Which file.
        path: String,
        /// How many it may have.
        limit: u64,
    },
    /// What was read cannot be kept.
    #[error("keeping {path}")]
    Sink {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl std::fmt::Debug for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Volume").field("partition", &self.partition).finish_non_exhaustive()
    }
}

impl Volume {
    pub(super) fn open(partition: &Partition, window: Window) -> Result<Self, VolumeError> {
        let number = partition.number;
        let is = |kinds: &[&str]| partition.signatures.iter().find(|s| kinds.contains(&s.kind));
        let (found, kind) = if let Some(found) = is(&["vfat"]) {
            let options = FsOptions::new().update_accessed_date(false);
            let failed = |source| VolumeError::Fat { partition: number, path: "/".into(), source };
            let filesystem =
                careful(number, "/", || FileSystem::new(window, options).map_err(failed))?;
            (found, Kind::Fat(Box::new(filesystem)))
        } else if let Some(found) = is(&["ext2", "ext3", "ext4"]) {
            let failed = |source| VolumeError::Ext4 { partition: number, path: "/".into(), source };
            let load = || Ext4::load(Box::new(window)).map_err(failed);
            (found, Kind::Ext4(careful(number, "/", load)?))
        } else {
            let kind = partition.signatures.first().map_or("an unknown one", |s| s.kind).to_owned();
            return Err(VolumeError::Kind { partition: number, kind });
        };
        let (uuid, label) = (found.uuid.clone(), found.label.clone());
        Ok(Self { kind, uuid, label, partition: partition.clone() })
    }

    /// Returns the filesystem's UUID or serial number, as its own tools show it.
    pub fn uuid(&self) -> Option<&str> {
        self.uuid.as_deref()
    }

    /// Returns the filesystem's label.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// Returns the partition that it is on.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Reads a file, which may have so many bytes. Paths begin with a slash and are split by slashes.
    pub fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, VolumeError> {
        let mut bytes = Vec::new();
        let allowed = u64::try_from(limit).unwrap_or(u64::MAX);
        self.copy(path, 0, None, allowed, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads the start of a file, of at most so many bytes.
    pub fn head(&self, path: &str, length: usize) -> Result<Vec<u8>, VolumeError> {
        let mut bytes = Vec::new();
        let wanted = u64::try_from(length).unwrap_or(u64::MAX);
        self.copy(path, 0, Some(wanted), wanted, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies a file from an offset, to its end or so many bytes of it, and says how many those were.
    pub fn copy(
        &self,
        path: &str,
        offset: u64,
        length: Option<u64>,
        limit: u64,
        sink: &mut dyn Write,
    ) -> Result<u64, VolumeError> {
        let copy = || self.copy_out(path, offset, length, limit, sink);
        careful(self.partition.number, path, copy)
    }

    fn copy_out(
        &self,
        path: &str,
        offset: u64,
        length: Option<u64>,
        limit: u64,
        sink: &mut dyn Write,
    ) -> Result<u64, VolumeError> {
        let not_kept = |source| VolumeError::Sink { path: path.to_owned(), source };
        let wanted = length.unwrap_or(u64::MAX);
        let mut copied = 0;
        // The length that a file says it has is no reason to take so much memory at once.
        let mut piece = vec![0; 64 << 10];
        let mut fetch: Fetch<'_> = match &self.kind {
            Kind::Fat(filesystem) => {
                let failed = |error| self.fat(path, error);
                let root = filesystem.root_dir();
                let mut file = root.open_file(path.trim_start_matches('/')).map_err(failed)?;
                file.seek(SeekFrom::Start(offset)).map_err(failed)?;
                Box::new(move |piece| file.read(piece).map_err(failed))
            }
            Kind::Ext4(filesystem) => {
                let failed = |error| self.ext4(path, error);
                let mut file = filesystem.open(path).map_err(failed)?;
                file.seek_to(offset).map_err(failed)?;
                Box::new(move |piece| file.read_bytes(piece).map_err(failed))
            }
        };
        while copied < wanted {
            let left = usize::try_from(wanted - copied).unwrap_or(usize::MAX).min(piece.len());
            let count = fetch(&mut piece[..left])?;
            if count == 0 {
                break;
            }
            copied += u64::try_from(count).unwrap_or(u64::MAX);
            if copied > limit {
                let (partition, path) = (self.partition.number, path.to_owned());
                return Err(VolumeError::TooLong { partition, path, limit });
            }
            sink.write_all(&piece[..count]).map_err(not_kept)?;
        }
        Ok(copied)
    }

    /// Reads a file; nothing where it does not exist.
    pub fn find(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, VolumeError> {
        match self.read(path, limit) {
            Err(VolumeError::Missing { .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Returns the names in a directory, sorted; none where it does not exist.
    pub fn list(&self, path: &str) -> Result<Vec<Name>, VolumeError> {
        let list = || match &self.kind {
            Kind::Fat(filesystem) => self.list_fat(filesystem, path),
            Kind::Ext4(filesystem) => self.list_ext4(filesystem, path),
        };
        let mut names = match careful(self.partition.number, path, list) {
            Err(VolumeError::Missing { .. }) => Vec::new(),
            other => other?,
        };
        names.retain(|name| name.text != "." && name.text != "..");
        names.sort();
        Ok(names)
    }

    fn list_fat(
        &self,
        filesystem: &FileSystem<Window>,
        path: &str,
    ) -> Result<Vec<Name>, VolumeError> {
        let mut directory = filesystem.root_dir();
        let inner = path.trim_matches('/');
        if !inner.is_empty() {
            directory = directory.open_dir(inner).map_err(|error| self.fat(path, error))?;
        }
        let name = |entry: io::Result<fatfs::DirEntry<'_, Window>>| {
            let entry = entry.map_err(|error| self.fat(path, error))?;
            Ok(Name { text: entry.file_name(), is_directory: entry.is_dir() })
        };
        directory.iter().take(NAMES_LIMIT).map(name).collect()
    }

    fn list_ext4(&self, filesystem: &Ext4, path: &str) -> Result<Vec<Name>, VolumeError> {
        let failed = |error| self.ext4(path, error);
        let mut names = Vec::new();
        for entry in filesystem.read_dir(path).map_err(failed)?.take(NAMES_LIMIT) {
            let entry = entry.map_err(failed)?;
            let is_directory = entry.file_type().map_err(failed)?.is_dir();
            if let Ok(text) = entry.file_name().as_str() {
                names.push(Name { text: text.to_owned(), is_directory });
            }
        }
        Ok(names)
    }

    /// Holds when there is a file of that name.
    pub fn has_file(&self, path: &str) -> bool {
        let look = || match &self.kind {
            Kind::Fat(filesystem) => {
                Ok(filesystem.root_dir().open_file(path.trim_start_matches('/')).is_ok())
            }
            Kind::Ext4(filesystem) => Ok(filesystem
                .metadata(path)
                .is_ok_and(|metadata| metadata.file_type().is_regular_file())),
        };
        careful(self.partition.number, path, look).unwrap_or(false)
    }

    fn missing(&self, path: &str) -> VolumeError {
        VolumeError::Missing { partition: self.partition.number, path: path.to_owned() }
    }

    fn fat(&self, path: &str, source: io::Error) -> VolumeError {
        if source.kind() == io::ErrorKind::NotFound {
            return self.missing(path);
        }
        VolumeError::Fat { partition: self.partition.number, path: path.to_owned(), source }
    }

    fn ext4(&self, path: &str, source: Ext4Error) -> VolumeError {
        match source {
            Ext4Error::NotFound | Ext4Error::NotADirectory => self.missing(path),
            source => VolumeError::Ext4 {
                partition: self.partition.number,
                path: path.to_owned(),
                source,
            },
        }
    }
}

/// Has a library read a filesystem that anybody may have made. Where it panics, the filesystem is broken; what it left
/// half done can only panic again.
fn careful<T>(
    partition: u32,
    path: &str,
    read: impl FnOnce() -> Result<T, VolumeError>,
) -> Result<T, VolumeError> {
    panic::catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(VolumeError::Broken { partition, path: path.to_owned() }))
}
