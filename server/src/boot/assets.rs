//! The boot programs and images of a directory, as they stand there at the moment of a request.
//!
//! Small files are held in memory; large ones are opened for each request, so that a response in flight keeps its file
//! when another is renamed into its place. A file's checksum is kept as long as the file is the same
//! (device, inode, length, time of change), so that a new file is noticed by the next request.

mod build;
mod packs;
mod store;
mod versions;

#[cfg(test)]
pub(crate) use self::build::tests as test_builds;
pub use self::{
    build::BuildName,
    store::StoreName,
    versions::{SystemVersions, Versions},
};

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;
use ring::digest;

use super::{
    asset::{Architecture, Asset, Image, Part, Program},
    raspberry::BoardFile,
    unified::{Overlay, Unified, UnifiedError},
};
use crate::decision::System;

/// Files below this are held in memory: all boot programs, no image.
const MEMORY_LIMIT_BYTES: u64 = 3_000_000;
/// How much of a file is read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// What no server can do without.
const REQUIRED: [Asset; 4] = [
    Asset::Program(Program::UndionlyKpxe),
    Asset::Program(Program::SnponlyEfi),
    Asset::Image(sunshine(Part::Kernel)),
    Asset::Image(sunshine(Part::Initrd)),
];

const fn sunshine(part: Part) -> Image {
    Image { system: System::Sunshine, architecture: Architecture::X86_64, part }
}

/// The boot programs and images of a directory: those of the moment, or those of one build in it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Assets {
    shared: Arc<Shared>,
    build: Option<BuildName>,
}

#[derive(Debug, Default)]
struct Shared {
    directory: PathBuf,
    known: Mutex<BTreeMap<(Option<BuildName>, Asset), Known>>,
    cards: Mutex<BTreeMap<(Option<BuildName>, Architecture), packs::Known>>,
    latest: Mutex<Option<BuildName>>,
}

/// What is remembered of a file.
#[derive(Debug, Clone)]
struct Known {
    state: FileState,
    tag: String,
    content: Option<Bytes>,
}

/// What tells two states of a file apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileState {
    device: u64,
    inode: u64,
    size_bytes: u64,
    changed: (i64, i64),
}

/// A file, opened for one response.
#[derive(Debug)]
pub struct Opened {
    /// Its bytes.
    pub content: Content,
    /// How many.
    pub size_bytes: u64,
    /// SHA-256 of them, in lower-case hexadecimal digits.
    pub tag: String,
    /// When they were last changed.
    pub modified: Option<SystemTime>,
    pub(super) state: FileState,
    /// What is sent in the place of some bytes of a large file.
    pub(super) overlay: Option<Overlay>,
}

/// The bytes of a file.
#[derive(Debug)]
pub enum Content {
    /// A small file.
    Memory(Bytes),
    /// A large one, at its beginning.
    File(File),
}

/// Says which file there is a problem with.
#[derive(Debug, thiserror::Error)]
pub enum AssetError {
    /// It is not there.
    #[error("missing: {path}")]
    Missing {
        /// Where it is expected.
        path: PathBuf,
    },
    /// It is there and cannot be read.
    #[error("reading {path}")]
    Read {
        /// Where it stands.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// Not a plain file.
    #[error("not a file: {path}")]
    NotAFile {
        /// Where it stands.
        path: PathBuf,
    },
    /// It cannot be given the command line of this server.
    #[error("a command line for {path}")]
    Unfit {
        /// Where it stands.
        path: PathBuf,
        /// Why.
        source: UnifiedError,
    },
    /// Somebody writes into it. A new one belongs beside it, and is then renamed into its place.
    #[error("being written: {path}")]
    Changing {
        /// Where it stands.
        path: PathBuf,
    },
}

impl Assets {
    /// Opens a directory of the layout of `dist/`, and reads all of it once. Fails where a file is missing that no server can do without.
    pub fn open(directory: &Path) -> Result<Self, AssetError> {
        let all_builds = Self::unread(directory);
        let assets = all_builds.now();
        for asset in all() {
            match assets.read(asset) {
                Err(AssetError::Missing { .. }) if !REQUIRED.contains(&asset) => {}
                other => drop(other?),
            }
        }
        Ok(all_builds)
    }

    /// Returns the programs and images that are there at this moment.
    pub fn present(&self) -> Vec<Asset> {
        all().filter(|asset| self.path(*asset).is_file()).collect()
    }

    /// Holds where kernel and initramfs of a system are there for an architecture, as `uname -m` names it.
    pub fn has_system(&self, system: System, architecture: &str) -> bool {
        let mut parts = Image::all()
            .filter(|image| image.system == system && image.architecture.name() == architecture)
            .peekable();
        parts.peek().is_some() && parts.all(|image| self.path(Asset::Image(image)).is_file())
    }

    /// Opens a file for one response. Blocks: it reads the whole file where it is new.
    pub fn read(&self, asset: Asset) -> Result<Opened, AssetError> {
        if self.build.is_some() { self.read_here(asset) } else { self.now().read_here(asset) }
    }

    fn read_here(&self, asset: Asset) -> Result<Opened, AssetError> {
        let path = self.path(asset);
        let mut file = File::open(&path).map_err(|source| of_read(&path, source))?;
        let (state, modified) = state_of(&file, &path)?;
        let known = match self.known(asset, state) {
            Some(known) => known,
            None => self.learn(asset, &mut file, &path)?,
        };
        let content = match known.content {
            Some(bytes) => Content::Memory(bytes),
            None => Content::File(file),
        };
        let Known { state: FileState { size_bytes, .. }, tag, .. } = known;
        Ok(Opened { content, size_bytes, tag, modified, state, overlay: None })
    }

    pub(super) fn path(&self, asset: Asset) -> PathBuf {
        self.directory().join(asset.location())
    }

    fn known(&self, asset: Asset, state: FileState) -> Option<Known> {
        let known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(self.build, asset)).filter(|known| known.state == state).cloned()
    }

    fn learn(&self, asset: Asset, file: &mut File, path: &Path) -> Result<Known, AssetError> {
        let (before, _) = state_of(file, path)?;
        // There are as many packs as drivers: together they are no small thing.
        let in_memory = before.size_bytes < MEMORY_LIMIT_BYTES && !matches!(asset, Asset::Pack(_));
        let mut content = Vec::new();
        let mut checksum = digest::Context::new(&digest::SHA256);
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut size_bytes = 0;
        loop {
            let length = file.read(&mut chunk).map_err(|source| of_read(path, source))?;
            let Some(read) = chunk.get(..length).filter(|read| !read.is_empty()) else { break };
            size_bytes += u64::try_from(length).unwrap_or(u64::MAX);
            if size_bytes > before.size_bytes {
                break;
            }
            checksum.update(read);
            if in_memory {
                content.extend_from_slice(read);
            }
        }
        let (after, _) = state_of(file, path)?;
        if before != after || size_bytes != before.size_bytes {
            return Err(AssetError::Changing { path: path.to_owned() });
        }
        io::Seek::rewind(file).map_err(|source| of_read(path, source))?;
        let tag = hexadecimal(checksum.finish().as_ref());
        let content = in_memory.then(|| Bytes::from(content));
        let known = Known { state: before, tag, content };
        let mut all = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(build, _), _| build.is_none_or(|build| self.is_kept(build)));
        all.insert((self.build, asset), known.clone());
        Ok(known)
    }
}

/// Reads the state of an open file.
pub(super) fn state_of_file(file: &File) -> io::Result<FileState> {
    Ok(state(&file.metadata()?))
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

fn state(metadata: &std::fs::Metadata) -> FileState {
    FileState {
        device: metadata.dev(),
        inode: metadata.ino(),
        size_bytes: metadata.size(),
        changed: (metadata.mtime(), metadata.mtime_nsec()),
    }
}

fn state_of(file: &File, path: &Path) -> Result<(FileState, Option<SystemTime>), AssetError> {
    let metadata = file.metadata().map_err(|source| of_read(path, source))?;
    if !metadata.is_file() {
        return Err(AssetError::NotAFile { path: path.to_owned() });
    }
    Ok((state(&metadata), metadata.modified().ok()))
}

fn of_read(path: &Path, source: io::Error) -> AssetError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => AssetError::Missing { path },
        _ => AssetError::Read { path, source },
    }
}

fn all() -> impl Iterator<Item = Asset> {
    Program::ALL
        .into_iter()
        .map(Asset::Program)
        .chain(Image::all().map(Asset::Image))
        .chain(Unified::all().map(Asset::Unified))
        .chain(BoardFile::all().map(Asset::Board))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;

    pub(crate) const NEEDED: [Asset; 4] = REQUIRED;
    pub(crate) const SNPONLY: Asset = Asset::Program(Program::SnponlyEfi);
    pub(crate) const KERNEL: Asset = Asset::Image(sunshine(Part::Kernel));

    /// Bytes that are nowhere the same, so that a block in the wrong place shows.
    pub(crate) fn pattern(length: usize) -> Vec<u8> {
        (0..length)
            .map(|index| u8::try_from((index ^ (index >> 8) ^ (index >> 16)) & 0xff).unwrap())
            .collect()
    }

    /// A directory with every file that a server needs; the kernel is too large for memory.
    pub(crate) fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("ipxe")).unwrap();
        for asset in REQUIRED {
            let size = match asset {
                Asset::Program(_) => 100_000,
                _ => 3_000_000,
            };
            fs::write(directory.path().join(asset.location()), pattern(size)).unwrap();
        }
        directory
    }

    #[test]
    fn a_missing_file_is_named() {
        let directory = directory();
        fs::remove_file(directory.path().join("ipxe/snponly.efi")).unwrap();
        let error = Assets::open(directory.path()).unwrap_err();
        let path = directory.path().join("ipxe/snponly.efi");
        assert_eq!(error.to_string(), format!("missing: {}", path.display()));
    }

    #[test]
    fn what_is_not_needed_may_be_missing() {
        let assets_directory = directory();
        let assets = Assets::open(assets_directory.path()).unwrap();
        assert_eq!(assets.present(), REQUIRED);
        let error = assets.read(Asset::Program(Program::IpxeArm64Efi)).unwrap_err();
        assert!(matches!(error, AssetError::Missing { .. }), "{error}");
    }

    #[test]
    fn a_directory_in_the_place_of_a_file_is_an_error() {
        let directory = directory();
        fs::create_dir(directory.path().join("ipxe/ipxe.efi")).unwrap();
        let error = Assets::open(directory.path()).unwrap_err();
        assert!(matches!(error, AssetError::NotAFile { .. }), "{error}");
    }

    #[test]
    fn small_files_are_held_in_memory_and_large_ones_are_not() {
        let directory = directory();
        let assets = Assets::open(directory.path()).unwrap();
        let small = assets.read(SNPONLY).unwrap();
        assert!(matches!(small.content, Content::Memory(bytes) if bytes == pattern(100_000)));
        let large = assets.read(KERNEL).unwrap();
        let Content::File(mut file) = large.content else { panic!("in memory") };
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        assert!(read == pattern(3_000_000));
        let sum = digest::digest(&digest::SHA256, &read);
        assert_eq!(large.tag, hexadecimal(sum.as_ref()));
    }

    #[test]
    fn a_replaced_file_is_noticed_and_an_open_one_stays_what_it_was() {
        let directory = directory();
        let assets = Assets::open(directory.path()).unwrap();
        for asset in [SNPONLY, KERNEL] {
            let before = assets.read(asset).unwrap();
            let beside = directory.path().join("new");
            fs::write(&beside, b"another").unwrap();
            fs::rename(&beside, directory.path().join(asset.location())).unwrap();
            let after = assets.read(asset).unwrap();
            assert_ne!(before.tag, after.tag);
            assert_eq!(after.size_bytes, 7);
            let old = match before.content {
                Content::Memory(bytes) => bytes.to_vec(),
                Content::File(mut file) => {
                    let mut read = Vec::new();
                    file.read_to_end(&mut read).unwrap();
                    read
                }
            };
            assert_eq!(u64::try_from(old.len()).unwrap(), before.size_bytes);
        }
    }
}
