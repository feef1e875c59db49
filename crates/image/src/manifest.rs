//! What an image in the store is made of, signed: the file `manifest` beside the file `frames`.
//!
//! ```text
//! magic, version, length of the description     16 bytes
//! description                                    JSON
//! table: kind, BLAKE3, length of the frame       37 bytes a chunk
//! length, the signer's SubjectPublicKeyInfo       2 bytes, DER
//! ─────────────────────────────────────────────  all above is signed
//! length, signature                               2 bytes, ECDSA P-256 with SHA-256, ASN.1
//! ```
//!
//! Numbers are little-endian. What is signed is [`DOMAIN`] and the SHA-256 of all before the signature.

mod description;
mod signature;
mod table;

use std::ops::Range;

pub use self::{
    description::{Description, Partition},
    signature::{SignError, SignatureError},
    table::{Chunk, Entry},
};
use crate::reader::Reader;

const MAGIC: &[u8; 8] = b"\x89DDIMG\r\n";
const VERSION: u32 = 1;

/// What a signature begins with that is one of a manifest and of nothing else.
const DOMAIN: &[u8] = b"drydock image manifest 1\0";

/// The longest description, in bytes.
const DESCRIPTION_LIMIT: usize = 256 << 10;

/// What an image in the store is made of. Its parts agree with each other; who vouches for them is another question,
/// which [`Manifest::verify`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    bytes: Vec<u8>,
    description: Description,
    table: Range<usize>,
    signer: Range<usize>,
    signature: Range<usize>,
    frames_bytes: u64,
}

/// Why bytes are no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It begins as something else.
    #[error("this is no manifest of an image")]
    Magic,
    /// Made by a later Drydock.
    #[error("the manifest is of version {version}, of which nothing is known here")]
    Version {
        /// Which.
        version: u32,
    },
    /// It was cut.
    #[error("the manifest ends too early")]
    Truncated,
    /// It goes on.
    #[error("something follows the manifest")]
    Trailing,
    /// Longer than any manifest.
    #[error("the manifest is longer than {} bytes", Manifest::LIMIT_BYTES)]
    TooLong,
    /// The description cannot be read.
    #[error("reading the manifest's description")]
    Description(#[source] serde_json::Error),
    /// The parts do not agree with each other.
    #[error("the manifest contradicts itself: {reason}")]
    Contradiction {
        /// How.
        reason: &'static str,
    },
}

impl Manifest {
    /// The longest manifest there is, in bytes: enough for 4 TiB.
    pub const LIMIT_BYTES: usize = 20 << 20;

    /// Reads a manifest, and checks that all of its parts agree with each other; not the signature.
    ///
    /// It takes no more memory than the bytes themselves and a description of at most 256 KiB.
    pub fn parse(bytes: impl Into<Vec<u8>>) -> Result<Self, ManifestError> {
        let bytes = bytes.into();
        if bytes.len() > Self::LIMIT_BYTES {
            return Err(ManifestError::TooLong);
        }
        let mut reader = Reader::new(&bytes);
        if take(&mut reader, MAGIC.len())? != MAGIC {
            return Err(ManifestError::Magic);
        }
        let version = reader.u32().ok_or(ManifestError::Truncated)?;
        if version != VERSION {
            return Err(ManifestError::Version { version });
        }
        let length = reader.u32().and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or(ManifestError::Truncated)?;
        if length > DESCRIPTION_LIMIT {
            return Err(contradiction("a description of more than 256 KiB"));
        }
        let description: Description = serde_json::from_slice(take(&mut reader, length)?)
            .map_err(ManifestError::Description)?;
        description.check().map_err(contradiction)?;

        let count = usize::try_from(description.chunks());
        let length = count.ok().and_then(|count| count.checked_mul(table::ENTRY_BYTES));
        let start = reader.position();
        take(&mut reader, length.ok_or(ManifestError::Truncated)?)?;
        let table = start..reader.position();
        let frames_bytes =
            table::check(&bytes[table.clone()], &description).map_err(contradiction)?;

        let mut field = || {
            let length = reader.u16().ok_or(ManifestError::Truncated)?;
            let start = reader.position();
            take(&mut reader, usize::from(length))?;
            Ok(start..reader.position())
        };
        let (signer, signature) = (field()?, field()?);
        if reader.position() != bytes.len() {
            return Err(ManifestError::Trailing);
        }
        Ok(Self { bytes, description, table, signer, signature, frames_bytes })
    }

    /// Returns the manifest as it is stored and sent.
    pub fn encode(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns what it says of the image as a whole.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Returns how long the file of frames is, in bytes.
    pub fn frames_bytes(&self) -> u64 {
        self.frames_bytes
    }

    /// Returns the chunks in order, each with its place in the image and in the file of frames.
    pub fn chunks(&self) -> impl ExactSizeIterator<Item = Entry> + '_ {
        table::entries(&self.bytes[self.table.clone()], &self.description)
    }

    /// Returns the SHA-256 of the manifest: its name in the store and in orders.
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.bytes)
    }
}

fn take<'a>(reader: &mut Reader<'a>, length: usize) -> Result<&'a [u8], ManifestError> {
    reader.take(length).ok_or(ManifestError::Truncated)
}

/// Returns the SHA-256 of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn contradiction(reason: &'static str) -> ManifestError {
    ManifestError::Contradiction { reason }
}
