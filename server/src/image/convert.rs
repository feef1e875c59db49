//! Makes an image of the store of whatever comes: unpacked, cut into chunks, compressed, signed.

use std::{
    io::{self, Read, Write},
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use image::{
    Content, Format, Manifest, SignError, UnpackError, Unpacked,
    convert::{CHUNK_BYTES, CHUNKS_LIMIT, LEVEL, Options},
    qcow2::{self, Qcow2Error},
};
use sha2::{Digest, Sha256};

use super::{Part, digits, incoming::Incoming};
use crate::api::key::ServerKey;

/// The most memory that a stream's window or dictionary may take, in bytes: what `xz -9` and `zstd --ultra` ask for.
const WINDOW_LIMIT: u64 = 128 << 20;
/// How much of a qcow2 file is read and stored at once.
const PIECE_BYTES: usize = 256 << 10;
/// Threads that compress: more only wait for each other.
const THREADS: usize = 8;

/// Why what came cannot be made into an image of the store.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// It is none, or it is damaged.
    #[error("reading the image")]
    Unpack(#[source] UnpackError),
    /// It is a qcow2 image, and damaged, or one that other files are needed for.
    #[error("reading the image")]
    Qcow2(#[source] Qcow2Error),
    /// Nothing of this size fits into the store.
    #[error("the disk in the image has {bytes} bytes, more than the store takes")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// The bytes stopped coming.
    #[error("receiving the image")]
    Receive(#[source] io::Error),
    /// The disk is full, or broken.
    #[error("storing the image")]
    Store(#[source] io::Error),
    /// It could not be converted.
    #[error("converting the image")]
    Convert(#[source] image::convert::ConvertError),
    /// Its manifest could not be signed.
    #[error("signing the manifest")]
    Sign(#[source] SignError<rcgen::Error>),
}

/// Converts what comes into the frames of an incoming image; returns the manifest, and the SHA-256 of what came.
pub(super) fn convert(
    name: &str,
    source: impl Read + Send,
    incoming: &Incoming,
    key: &ServerKey,
) -> Result<(Manifest, String), ConvertError> {
    let counted = Counted::new(source);
    let digest = Arc::clone(&counted.digest);
    let draft = match image::open(counted, WINDOW_LIMIT).map_err(unpack_error)? {
        Content::Raw(unpacked) => {
            let options = options(name, origin(&unpacked, Format::Raw), CHUNK_BYTES);
            let frames = incoming.file(Part::Frames.name()).map_err(ConvertError::Store)?;
            image::convert::convert(unpacked, frames, &options).map_err(convert_error)?
        }
        Content::Qcow2(unpacked) => qcow2(name, unpacked, incoming)?,
    };
    let manifest =
        draft.sign(&key.public_key(), |message| key.sign(message)).map_err(ConvertError::Sign)?;
    let found = digest.lock().unwrap_or_else(PoisonError::into_inner).clone().finalize();
    Ok((manifest, digits(&found)))
}

/// Stores a qcow2 file, which is read by seeking, and converts what a guest would see.
fn qcow2(
    name: &str,
    mut unpacked: Unpacked<'_>,
    incoming: &Incoming,
) -> Result<image::convert::Draft, ConvertError> {
    let origin = origin(&unpacked, Format::Qcow2);
    let mut spool = incoming.spool().map_err(ConvertError::Store)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match unpacked.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => spool.write_all(&piece[..count]).map_err(ConvertError::Store)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(read_error(error)),
        }
    }
    let disk = qcow2::Image::open(spool.into_file()).map_err(qcow2_error)?;
    let bytes = disk.size_bytes();
    let chunk_bytes = image::convert::chunk_bytes(bytes);
    let chunks = bytes / u64::from(chunk_bytes);
    // Most of it may be zeros, which take no room but time.
    if usize::try_from(chunks).is_ok_and(|chunks| chunks < CHUNKS_LIMIT) {
        let options = options(name, origin, chunk_bytes);
        let frames = incoming.file(Part::Frames.name()).map_err(ConvertError::Store)?;
        image::convert::convert(disk, frames, &options).map_err(|error| match error {
            image::convert::ConvertError::Read(source) => spool_error(source),
            other => convert_error(other),
        })
    } else {
        Err(ConvertError::TooLarge { bytes })
    }
}

fn qcow2_error(error: Qcow2Error) -> ConvertError {
    match error {
        // It is our own disk that the file is on by now.
        Qcow2Error::Read(error) => ConvertError::Store(error),
        other => ConvertError::Qcow2(other),
    }
}

fn spool_error(error: io::Error) -> ConvertError {
    match error.downcast::<Qcow2Error>() {
        Ok(error) => qcow2_error(error),
        Err(error) => ConvertError::Store(error),
    }
}

fn options(name: &str, origin: Vec<String>, chunk_bytes: u32) -> Options {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(THREADS);
    Options {
        name: name.to_owned(),
        origin,
        chunk_bytes,
        level: LEVEL,
        threads: NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN),
    }
}

fn origin(unpacked: &Unpacked<'_>, innermost: Format) -> Vec<String> {
    unpacked.layers().iter().chain([&innermost]).map(ToString::to_string).collect()
}

/// Says what was wrong with the image, and not with whoever sent it or with our disk.
fn convert_error(error: image::convert::ConvertError) -> ConvertError {
    match error {
        image::convert::ConvertError::Write(source) => ConvertError::Store(source),
        image::convert::ConvertError::Read(source) => read_error(source),
        other => ConvertError::Convert(other),
    }
}

fn read_error(error: io::Error) -> ConvertError {
    match error.downcast::<UnpackError>() {
        Ok(error) => unpack_error(error),
        Err(error) => ConvertError::Receive(error),
    }
}

fn unpack_error(error: UnpackError) -> ConvertError {
    match error {
        UnpackError::Read(error) => ConvertError::Receive(error),
        other => ConvertError::Unpack(other),
    }
}

/// A stream that was read to its end and hashed on its way.
struct Counted<R> {
    source: R,
    digest: Arc<Mutex<Sha256>>,
}

impl<R> Counted<R> {
    fn new(source: R) -> Self {
        Self { source, digest: Arc::default() }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.digest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
