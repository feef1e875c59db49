//! Image formats: recognise, unpack, cut into chunks that can be checked one by one. Pure streams, no sockets.
//!
//! A foreign image is unpacked as it comes, whatever it is packed with:
//!
//! ```
//! use std::io::Read;
//!
//! let disk = vec![7; 4096];
//! let mut unpacked = image::unpack(disk.as_slice(), image::WINDOW_LIMIT)?;
//! let mut bytes = Vec::new();
//! unpacked.read_to_end(&mut bytes)?;
//! assert_eq!(bytes, disk);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

#[cfg(feature = "bmap")]
pub mod bmap;
mod chunk;
#[cfg(feature = "convert")]
pub mod convert;
mod manifest;
#[cfg(feature = "convert")]
mod partition;
#[cfg(feature = "convert")]
pub mod qcow2;
mod reader;
mod recognise;
mod unpack;

pub use self::{
    chunk::{ChunkError, Unpacker, digest},
    manifest::{
        Chunk, Description, Entry, Manifest, ManifestError, Partition, SignError, SignatureError,
    },
    recognise::{Format, HEAD_BYTES, NotAnImage, TextKind, recognise},
    unpack::{Content, TarError, UnpackError, Unpacked, WINDOW_LIMIT, open, unpack},
};
