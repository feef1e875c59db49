//! Where files are read: this machine's `/`, or the captured tree of another one.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the one place that touches the file system"
)]

use std::{
    fs,
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

/// The largest file that is read; `/proc/cpuinfo` of 1,024 processors stays below a half.
pub(crate) const FILE_LIMIT: u64 = 4 << 20;

/// The most entries that a directory may have.
pub(crate) const ENTRY_LIMIT: usize = 65_536;

/// The most symbolic links that one path may lead through, as the kernel has it.
const LINK_LIMIT: usize = 40;

/// A tree of files that describes a machine.
///
/// Paths are relative to it (`sys/class/net`). No path and no symbolic link leads out of a captured tree:
/// an absolute link starts again at the tree's own root, and `..` stops there.
#[derive(Debug, Clone)]
pub struct Root {
    directory: PathBuf,
    live: bool,
}

/// Says why something below a root could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The kernel or the file system refused.
    #[error("reading {path}", path = path.display())]
    Read {
        /// What was read, relative to the root.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file has more bytes, or the directory more entries, than anything honest.
    #[error("{path} is larger than {limit}", path = path.display())]
    TooLarge {
        /// What was read, relative to the root.
        path: PathBuf,
        /// The limit: bytes of a file, entries of a directory.
        limit: u64,
    },
    /// The links lead in a circle, or nearly so.
    #[error("{path} leads through more than 40 symbolic links", path = path.display())]
    Loop {
        /// What was read, relative to the root.
        path: PathBuf,
    },
    /// The path is neither a file nor a directory.
    #[error("{path} is no regular file", path = path.display())]
    Kind {
        /// What was read, relative to the root.
        path: PathBuf,
    },
    /// The bytes are no text.
    #[error("{path} is no UTF-8 text", path = path.display())]
    Text {
        /// What was read, relative to the root.
        path: PathBuf,
    },
}

impl Root {
    /// Returns the root of the machine that this program runs on; ioctls and device files are used.
    pub fn live() -> Self {
        Self { directory: PathBuf::from("/"), live: true }
    }

    /// Returns the root of a captured tree; no ioctl is made for it.
    pub fn captured(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), live: false }
    }

    /// Holds when this is the running machine, so that ioctls and device files tell of it.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Returns a file's text without white space and NUL bytes at its end; `None` when it is absent or empty.
    pub fn text(&self, path: impl AsRef<Path>) -> Result<Option<String>, RootError> {
        let path = path.as_ref();
        let Some(bytes) = self.bytes(path)? else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|_| RootError::Text { path: path.into() })?;
        let text =
            text.trim_matches(|character: char| character.is_whitespace() || character == '\0');
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    /// Returns a file's bytes; `None` when it is absent.
    pub fn bytes(&self, path: impl AsRef<Path>) -> Result<Option<Vec<u8>>, RootError> {
        let path = path.as_ref();
        let Some(place) = self.resolve(path)? else { return Ok(None) };
        let failed = |source| RootError::Read { path: path.into(), source };
        self.check_regular(path, &place)?;
        let Some(file) = absent(fs::File::open(&place)).map_err(failed)? else { return Ok(None) };
        let mut bytes = Vec::new();
        if absent(file.take(FILE_LIMIT + 1).read_to_end(&mut bytes)).map_err(failed)?.is_none() {
            return Ok(None);
        }
        if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_LIMIT) {
            return Err(RootError::TooLarge { path: path.into(), limit: FILE_LIMIT });
        }
        Ok(Some(bytes))
    }

    /// Returns the names in a directory, sorted; none when it is absent. Names that are no UTF-8 are left out.
    pub fn entries(&self, path: impl AsRef<Path>) -> Result<Vec<String>, RootError> {
        let path = path.as_ref();
        let Some(place) = self.resolve(path)? else { return Ok(Vec::new()) };
        let failed = |source| RootError::Read { path: path.into(), source };
        let Some(directory) = absent(fs::read_dir(&place)).map_err(failed)? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in directory {
            if names.len() >= ENTRY_LIMIT {
                return Err(RootError::TooLarge { path: path.into(), limit: 65_536 });
            }
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Returns where a symbolic link points, as it is written; `None` when it is absent or no link.
    pub fn link(&self, path: impl AsRef<Path>) -> Result<Option<PathBuf>, RootError> {
        let path = path.as_ref();
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        let Some(place) = self.resolve(parent)? else { return Ok(None) };
        match fs::read_link(place.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(None),
            other => absent(other).map_err(|source| RootError::Read { path: path.into(), source }),
        }
    }

    /// Returns the last name of where a symbolic link points: a driver, a subsystem.
    pub fn link_name(&self, path: impl AsRef<Path>) -> Result<Option<String>, RootError> {
        let target = self.link(path)?;
        Ok(target.and_then(|target| Some(target.file_name()?.to_str()?.to_owned())))
    }

    /// Holds when something is there. A link counts when what it points to is there.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        match self.resolve(path.as_ref()) {
            Ok(Some(place)) => !self.live || fs::exists(place).unwrap_or(false),
            _ => false,
        }
    }

    /// Returns the path without symbolic links, relative to the root; `None` when it is absent.
    pub fn real(&self, path: impl AsRef<Path>) -> Result<Option<PathBuf>, RootError> {
        let path = path.as_ref();
        let place = if self.live {
            absent(fs::canonicalize(self.directory.join(path)))
                .map_err(|source| RootError::Read { path: path.into(), source })?
        } else {
            self.resolve(path)?
        };
        Ok(place.and_then(|place| Some(place.strip_prefix(&self.directory).ok()?.to_path_buf())))
    }

    /// Opens a file or device for reading; `None` when it is absent.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Option<fs::File>, RootError> {
        let path = path.as_ref();
        let Some(place) = self.resolve(path)? else { return Ok(None) };
        let failed = |source| RootError::Read { path: path.into(), source };
        self.check_regular(path, &place)?;
        absent(fs::File::open(&place)).map_err(failed)
    }

    /// Refuses everything in a captured tree that is no regular file: a FIFO would block the open,
    /// a device file would tell of this machine.
    fn check_regular(&self, path: &Path, place: &Path) -> Result<(), RootError> {
        if self.live {
            return Ok(());
        }
        match absent(fs::metadata(place)) {
            Ok(Some(metadata)) if !metadata.is_file() => Err(RootError::Kind { path: path.into() }),
            Ok(_) => Ok(()),
            Err(source) => Err(RootError::Read { path: path.into(), source }),
        }
    }

    /// Returns a path of this machine's file system that stands for a path below the root, all links followed
    /// within a captured root; `None` when it is absent there.
    fn resolve(&self, path: &Path) -> Result<Option<PathBuf>, RootError> {
        if self.live {
            let place = self.directory.join(path.strip_prefix("/").unwrap_or(path));
            return Ok(Some(place));
        }
        let mut place = self.directory.clone();
        let mut depth = 0_usize;
        let mut links = 0;
        let mut rest: Vec<PathBuf> = components(path);
        while let Some(name) = rest.pop() {
            if name == Path::new("..") {
                if depth > 0 {
                    place.pop();
                    depth -= 1;
                }
                continue;
            }
            place.push(&name);
            let failed = |source| RootError::Read { path: path.into(), source };
            let Some(metadata) = absent(fs::symlink_metadata(&place)).map_err(failed)? else {
                return Ok(None);
            };
            if !metadata.is_symlink() {
                depth += 1;
                continue;
            }
            links += 1;
            if links > LINK_LIMIT {
                return Err(RootError::Loop { path: path.into() });
            }
            let target = fs::read_link(&place).map_err(failed)?;
            if target.is_absolute() {
                place.clone_from(&self.directory);
                depth = 0;
            } else {
                place.pop();
            }
            rest.extend(components(&target));
        }
        Ok(Some(place))
    }
}

/// Splits a path into its names, the last one first.
fn components(path: &Path) -> Vec<PathBuf> {
    path.components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(PathBuf::from(name)),
            Component::ParentDir => Some(PathBuf::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// Turns "there is none" into `None`: also `ENODEV` and `ENXIO`, which sysfs answers while a device leaves,
/// and `ENOTDIR`.
fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
        Err(error) if matches!(error.raw_os_error(), Some(6 | 19)) => Ok(None),
        Err(error) => Err(error),
    }
}
