//! Where the image comes from: a file, somebody's server, the directory of a store.

use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use fetch::{Limits, Trust};
use image::{Manifest, WINDOW_LIMIT, bmap::Bmap};
use install::{FetchError, Source};
use ring::digest::{Context, SHA256};

use super::chain;
use crate::elsewhere::Elsewhere;

/// A file that can be read from any offset.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) place: Box<dyn Source>,
    pub(super) bytes: u64,
    /// What its bytes must be compared with, where somebody said that.
    pub(super) sha256: Option<[u8; 32]>,
}

/// Opens a file or an address.
pub(super) fn open(what: &str, sha256: Option<[u8; 32]>) -> Result<Opened, String> {
    if is_address(what) {
        let client =
            fetch::Client::new(&Trust::System, Limits::default(), agent::cipher::provider());
        let found = fetch::Image::open(&client, &[what.to_owned()], sha256, None);
        let found = found.map_err(|error| error.chain())?;
        let (bytes, sha256) = (found.length(), found.sha256());
        let mirror = found.into_mirrors().into_iter().next().ok_or("there is no such image")?;
        return Ok(Opened { place: Box::new(Elsewhere(mirror)), bytes, sha256 });
    }
    let local = Local::open(Path::new(what))?;
    let bytes = local.bytes;
    Ok(Opened { place: Box::new(local), bytes, sha256 })
}

fn is_address(what: &str) -> bool {
    what.contains("://")
}

/// Returns the manifest and the frames of a store's image, where that is what is named.
pub(super) fn store(what: &str) -> Option<(String, String)> {
    let directory = if is_address(what) {
        what.strip_suffix("/manifest")?.to_owned()
    } else {
        let path = Path::new(what);
        let directory: PathBuf = match path.file_name() {
            Some(name) if name == "manifest" && path.is_file() => path.parent()?.to_owned(),
            _ if path.join("manifest").is_file() => path.to_owned(),
            _ => return None,
        };
        directory.join("").to_str()?.trim_end_matches('/').to_owned()
    };
    Some((format!("{directory}/manifest"), format!("{directory}/frames")))
}

/// Reads a manifest; with a digest or a key, only the one that is meant.
pub(super) fn manifest(
    what: &str,
    sha256: Option<[u8; 32]>,
    key: Option<[u8; 32]>,
) -> Result<Manifest, String> {
    let opened = open(what, None)?;
    if opened.bytes > u64::try_from(Manifest::LIMIT_BYTES).unwrap_or(u64::MAX) {
        return Err(format!("{what} is too long for a manifest"));
    }
    let mut bytes = Vec::new();
    let mut reader = opened.place.fetch(0..opened.bytes).map_err(|error| error.to_string())?;
    reader.read_to_end(&mut bytes).map_err(|error| format!("reading {what}: {error}"))?;
    let manifest = Manifest::parse(bytes).map_err(|error| format!("{what}: {}", chain(&error)))?;
    if sha256.is_some_and(|expected| expected != manifest.sha256()) {
        return Err(format!("the SHA-256 of {what} is {}", digits(&manifest.sha256())));
    }
    if let Some(key) = key {
        manifest.verify(&[key]).map_err(|error| chain(&error))?;
    }
    Ok(manifest)
}

pub(super) fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// A file of this machine.
#[derive(Debug)]
struct Local {
    file: Arc<File>,
    path: PathBuf,
    bytes: u64,
}

impl Local {
    fn open(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        // To open a FIFO would wait for somebody who writes into it.
        let failed = |error| format!("opening {shown}: {error}");
        if !path.metadata().map_err(failed)?.is_file() {
            return Err(format!("opening {shown}: it is no regular file"));
        }
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        Ok(Self { file: Arc::new(file), path: path.to_owned(), bytes })
    }
}

impl Source for Local {
    fn fetch(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>, FetchError> {
        let shown = self.path.display().to_string();
        let length = self.file.metadata().map_or(0, |metadata| metadata.len());
        if length != self.bytes || range.end > length {
            let reason = format!("{shown} has {length} bytes and not as many as it should");
            return Err(FetchError::Replaced { reason });
        }
        Ok(Box::new(Part { file: Arc::clone(&self.file), shown, at: range.start, end: range.end }))
    }
}

/// A part of a file.
struct Part {
    file: Arc<File>,
    shown: String,
    at: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = into.len().min(left);
        if most == 0 {
            return Ok(0);
        }
        let never = |reason| io::Error::other(FetchError::Never { reason });
        match self.file.read_at(&mut into[..most], self.at) {
            Ok(0) => {
                let reason = format!("{} has become shorter", self.shown);
                Err(io::Error::other(FetchError::Replaced { reason }))
            }
            Ok(length) => {
                self.at += u64::try_from(length).expect("a length fits 64 bits");
                Ok(length)
            }
            Err(error) => Err(never(format!("reading {}: {error}", self.shown))),
        }
    }
}

/// An image that is compared with its map while it is read: bare, as far as the engine sees.
#[derive(Debug)]
pub(super) struct Mapped {
    pub(super) file: Opened,
    /// For the length of the program: a reader outlives whoever asked for it.
    pub(super) map: &'static Bmap,
}

impl Source for Mapped {
    fn fetch(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>, FetchError> {
        if range.start > 0 {
            let reason = "an image with a map is read from its start only: begin again".to_owned();
            return Err(FetchError::Never { reason });
        }
        let hash = Arc::new(Mutex::new(Context::new(&SHA256)));
        let inner = self.file.place.fetch(0..self.file.bytes)?;
        let hashed = Hashed { inner, hash: Arc::clone(&hash) };
        let unpacked = image::unpack(hashed, WINDOW_LIMIT)
            .map_err(|error| FetchError::Never { reason: chain(&error) })?;
        Ok(Box::new(Whole {
            inner: Box::new(self.map.check(unpacked)),
            left: self.map.image_bytes(),
            hash,
            sha256: self.file.sha256,
        }))
    }
}

struct Hashed {
    inner: Box<dyn Read + Send>,
    hash: Arc<Mutex<Context>>,
}

impl Read for Hashed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(into)?;
        self.hash.lock().unwrap_or_else(PoisonError::into_inner).update(&into[..length]);
        Ok(length)
    }
}

/// Gives its last bytes away only when nothing follows and the digest is right.
struct Whole {
    inner: Box<dyn Read + Send>,
    left: u64,
    hash: Arc<Mutex<Context>>,
    sha256: Option<[u8; 32]>,
}

impl Whole {
    fn step(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(into)?;
        self.left = self.left.saturating_sub(u64::try_from(length).expect("a length fits"));
        if self.left == 0 && length > 0 {
            if self.inner.read(&mut [0])? > 0 {
                return Err(io::Error::other("the image goes on behind the map's end"));
            }
            let hash = self.hash.lock().unwrap_or_else(PoisonError::into_inner).clone().finish();
            if let Some(expected) = self.sha256
                && hash.as_ref() != expected
            {
                let reason = format!("the file's SHA-256 is {}", digits(hash.as_ref()));
                return Err(io::Error::other(FetchError::Never { reason }));
            }
        }
        Ok(length)
    }
}

impl Read for Whole {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        self.step(into).map_err(|error| {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<FetchError>()) {
                Some(cause) => io::Error::other(cause.clone()),
                None => io::Error::other(FetchError::Never { reason: reason(&error) }),
            }
        })
    }
}

fn reason(error: &io::Error) -> String {
    match error.get_ref() {
        Some(inner) => chain(inner),
        None => error.to_string(),
    }
}
