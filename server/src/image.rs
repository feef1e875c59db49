//! The images that the server keeps: converted once on arrival, checked chunk by chunk ever after.
//!
//! ```text
//! STATE/images/MANIFEST/manifest     what it is made of, signed with the server's key
//! STATE/images/MANIFEST/frames       its bytes, compressed; the stock zstd reads it
//! STATE/images/incoming-…            one that is not whole yet; swept away at the next start
//! database, table images             what people call it
//! ```
//!
//! `MANIFEST` is the SHA-256 of the manifest. A name is put into the database when all of its image is on disk,
//! so an image that is listed is whole.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io::{self, Read},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
};

use image::{Manifest, ManifestError, SignatureError};
use protocol::{Bytes, install::ImageSource};
use redb::Database;
use serde::{Deserialize, Serialize};

use crate::{
    api::key::ServerKey,
    machine::install::{ImageFacts, OrderedImage, Sizing},
    moment,
};

mod convert;
mod incoming;
mod index;
mod verify;

pub use self::{
    convert::ConvertError,
    incoming::{Feed, FeedError},
    index::IndexError,
    verify::Verdict,
};
use self::{incoming::Incoming, index::Index};

/// So much stays free on the disk: machines, orders and the journal need room when an image has none.
const RESERVE_BYTES: u64 = 256 << 20;

/// The longest name, in bytes.
const NAME_BYTES: usize = 100;

/// An image that the server keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    /// What people call it.
    pub name: String,
    /// SHA-256 of its manifest, 64 lower-case digits.
    pub manifest: String,
    /// SHA-256 of the image itself, as it stands on a disk, 64 lower-case digits.
    pub sha256: String,
    /// What it was when it came, outermost first: `gzip`, `qcow2`.
    pub origin: Vec<String>,
    /// Its size on a disk.
    pub image_bytes: Bytes,
    /// What it takes in the store.
    pub stored_bytes: Bytes,
    /// The smallest disk that it fits on.
    pub smallest_disk_bytes: Bytes,
    /// What its GUID partition table counts in; absent when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sector_bytes: Option<u32>,
    /// How many partitions its table has.
    pub partitions: usize,
    /// Where it came from: a file's name, or a URL without what stands behind the question mark.
    pub source: String,
    /// Who added it.
    pub by: String,
    /// When: milliseconds since 1970.
    pub at: i64,
}

/// What a person says of an image that is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// What it is to be called.
    pub name: String,
    /// Where it comes from, for people.
    pub source: String,
    /// SHA-256 of the bytes that come, if it was said.
    pub sha256: Option<String>,
    /// Who adds it.
    pub by: String,
}

/// Why an image was not added, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The name is none.
    #[error(
        "an image's name has letters, digits, '.', '_' and '-', begins with a letter or digit, and is not longer than {NAME_BYTES}: {0:?}"
    )]
    Name(String),
    /// The name is taken.
    #[error("there is an image of this name; remove it first, or choose another name: {0}")]
    Taken(String),
    /// There is none.
    #[error("no image of this name: {0}")]
    NoImage(String),
    /// It is needed.
    #[error("the open order of {machine} names this image: {name}")]
    Ordered {
        /// The image.
        name: String,
        /// The machine.
        machine: String,
    },
    /// One after the other: each takes a processor and memory.
    #[error("another image is being added; try again when it is there")]
    Busy,
    /// The digest that was said is none.
    #[error("not a SHA-256 of 64 hexadecimal digits: {0:?}")]
    Digest(String),
    /// Other bytes came than were announced.
    #[error("what came has the SHA-256 {found}, not {expected}; nothing was added")]
    OtherBytes {
        /// What was said.
        expected: String,
        /// What came.
        found: String,
    },
    /// It could not be made into an image of the store.
    #[error("nothing was added")]
    Convert(#[from] ConvertError),
    /// The disk did not do it.
    #[error("{operation} {path}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The names could not be read or written.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// What is stored is no manifest of ours any more.
    #[error("the manifest of {name}")]
    Manifest {
        /// The image.
        name: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// Nobody vouches for what is stored.
    #[error("the manifest of {name}")]
    Signature {
        /// The image.
        name: String,
        /// What is wrong.
        source: SignatureError,
    },
}

/// The images that the server keeps. Clones are the same store.
#[derive(Debug, Clone)]
pub struct Images(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    index: Index,
    key: Arc<ServerKey>,
    images: RwLock<BTreeMap<String, Stored>>,
    /// Held while an image is added.
    adding: Mutex<()>,
    reserve_bytes: u64,
}

impl Images {
    /// Opens the store in a state directory; sweeps away what a cut left behind.
    pub fn open(
        state: &Path,
        database: Arc<Database>,
        key: Arc<ServerKey>,
    ) -> Result<Self, ImageError> {
        Self::open_keeping(state, database, key, RESERVE_BYTES)
    }

    fn open_keeping(
        state: &Path,
        database: Arc<Database>,
        key: Arc<ServerKey>,
        reserve_bytes: u64,
    ) -> Result<Self, ImageError> {
        let directory = state.join("images");
        match DirBuilder::new().mode(0o700).create(&directory) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                return Err(at("creating", &directory)(source));
            }
            _ => {}
        }
        let (index, images) = Index::open(database)?;
        sweep(&directory, &images)?;
        let images = images.into_iter().map(|image| (image.name.clone(), image)).collect();
        let (images, adding) = (RwLock::new(images), Mutex::default());
        Ok(Self(Arc::new(Inner { directory, index, key, images, adding, reserve_bytes })))
    }

    /// Lists the images by name.
    pub fn list(&self) -> Vec<Stored> {
        self.images().values().cloned().collect()
    }

    /// Returns an image.
    pub fn show(&self, name: &str) -> Option<Stored> {
        self.images().get(name).cloned()
    }

    /// Does something with what orders must know of an image, which stays in the store until that is done.
    pub fn with<T>(&self, name: &str, act: impl FnOnce(&ImageFacts) -> T) -> Option<T> {
        let images = self.images();
        images.get(name).map(|image| act(&image.facts()))
    }

    /// Adds an image as it comes. Blocks until all of it is on disk; whatever fails leaves nothing behind.
    pub fn add(&self, arrival: &Arrival, source: impl Read + Send) -> Result<Stored, ImageError> {
        check_name(&arrival.name)?;
        let expected = arrival.sha256.as_deref().map(digest).transpose()?;
        let _turn = match self.0.adding.try_lock() {
            Ok(turn) => turn,
            Err(std::sync::TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return Err(ImageError::Busy),
        };
        if self.images().contains_key(&arrival.name) {
            return Err(ImageError::Taken(arrival.name.clone()));
        }
        let incoming = Incoming::begin(&self.0.directory, self.0.reserve_bytes)?;
        let (manifest, found) = convert::convert(&arrival.name, source, &incoming, &self.0.key)?;
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(ImageError::OtherBytes { expected, found });
        }
        let stored = describe(&manifest, arrival);
        let place = incoming.finish(&manifest, &stored.manifest)?;
        if let Err(error) = self.0.index.insert(&stored) {
            // Not listed, so it would be swept away at the next start anyway.
            drop(fs::remove_dir_all(place));
            return Err(error.into());
        }
        let mut images = self.0.images.write().unwrap_or_else(PoisonError::into_inner);
        images.insert(stored.name.clone(), stored.clone());
        Ok(stored)
    }

    /// Removes an image that no open order names: `needs` says which machine's does.
    pub fn remove(
        &self,
        name: &str,
        needs: impl FnOnce(&str) -> Option<String>,
    ) -> Result<Stored, ImageError> {
        // Orders are taken while this lock is held for reading: see `with`.
        let mut images = self.0.images.write().unwrap_or_else(PoisonError::into_inner);
        let Some(image) = images.get(name) else {
            return Err(ImageError::NoImage(name.to_owned()));
        };
        if let Some(machine) = needs(&image.manifest) {
            return Err(ImageError::Ordered { name: name.to_owned(), machine });
        }
        self.0.index.remove(name)?;
        let Some(image) = images.remove(name) else {
            return Err(ImageError::NoImage(name.to_owned()));
        };
        drop(images);
        let path = self.0.directory.join(&image.manifest);
        fs::remove_dir_all(&path).map_err(at("removing", &path))?;
        Ok(image)
    }

    /// Opens one of the two files of an image, by its manifest.
    pub fn file(&self, manifest: &str, part: Part) -> Result<File, ImageError> {
        let is_stored = self.images().values().any(|image| image.manifest == manifest);
        if !is_stored {
            return Err(ImageError::NoImage(manifest.to_owned()));
        }
        let path = self.0.directory.join(manifest).join(part.name());
        File::open(&path).map_err(at("opening", &path))
    }

    fn images(&self) -> RwLockReadGuard<'_, BTreeMap<String, Stored>> {
        self.0.images.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the two files of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What it is made of.
    Manifest,
    /// Its bytes.
    Frames,
}

impl Part {
    /// Names it as its file and its path do.
    pub fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Frames => "frames",
        }
    }

    /// Reads the name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Manifest, Self::Frames].into_iter().find(|part| part.name() == name)
    }
}

impl Stored {
    fn facts(&self) -> ImageFacts {
        ImageFacts {
            source: ImageSource::Store { manifest: self.manifest.clone(), name: self.name.clone() },
            shown: OrderedImage {
                name: self.name.clone(),
                manifest: Some(self.manifest.clone()),
                size_bytes: Some(self.image_bytes),
            },
            sizing: Sizing {
                smallest_disk: Some(self.smallest_disk_bytes),
                sector_bytes: self.sector_bytes,
            },
            has_gpt: self.sector_bytes.is_some(),
        }
    }
}

fn describe(manifest: &Manifest, arrival: &Arrival) -> Stored {
    let description = manifest.description();
    let manifest_bytes = u64::try_from(manifest.encode().len()).unwrap_or(u64::MAX);
    Stored {
        name: arrival.name.clone(),
        manifest: digits(&manifest.sha256()),
        sha256: digits(&description.sha256),
        origin: description.origin.clone(),
        image_bytes: Bytes(description.image_bytes),
        stored_bytes: Bytes(manifest.frames_bytes().saturating_add(manifest_bytes)),
        smallest_disk_bytes: Bytes(description.smallest_disk_bytes),
        sector_bytes: description.sector_bytes,
        partitions: description.partitions.len(),
        source: arrival.source.clone(),
        by: arrival.by.clone(),
        at: moment::now(),
    }
}

/// Says whether a name can be an image's: it stands in paths and in messages.
pub fn check_name(name: &str) -> Result<(), ImageError> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins && name.len() <= NAME_BYTES && name.bytes().all(is_fit) {
        Ok(())
    } else {
        Err(ImageError::Name(name.chars().take(NAME_BYTES).collect()))
    }
}

fn digest(text: &str) -> Result<String, ImageError> {
    let digits = text.trim().to_lowercase();
    let is_digest = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then_some(digits).ok_or_else(|| ImageError::Digest(text.to_owned()))
}

/// Removes what no name stands for: images that were cut while they came or while they went.
fn sweep(directory: &Path, images: &[Stored]) -> Result<(), ImageError> {
    for entry in fs::read_dir(directory).map_err(at("reading", directory))? {
        let path = entry.map_err(at("reading", directory))?.path();
        let is_named = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| images.iter().any(|image| image.manifest == name));
        if !is_named && path.is_dir() {
            tracing::info!(path = %path.display(), "removing an image that is not whole");
            fs::remove_dir_all(&path).map_err(at("removing", &path))?;
        }
    }
    Ok(())
}

fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::Io { operation, path, source }
}

fn digits(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

#[cfg(test)]
pub(crate) mod tests;
