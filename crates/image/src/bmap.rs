//! Maps of foreign images (`.bmap`, version 2): which blocks hold data, and their SHA-256.
//!
//! What a map leaves out are zeros, which are written as everything else is: a disk that held something else before
//! would keep it (<https://github.com/yoctoproject/bmaptool>).

#[cfg(feature = "bmap")]
mod parse;

use std::{
    io::{self, ErrorKind, Read},
    ops::Range,
};

use ring::digest::{Context, SHA256};

/// The longest map, in bytes.
pub const LIMIT_BYTES: usize = 16 << 20;

/// Why a file is no map.
#[derive(Debug, thiserror::Error)]
pub enum BmapError {
    /// Longer than [`LIMIT_BYTES`].
    #[error("the map is longer than {LIMIT_BYTES} bytes")]
    TooLong,
    /// No XML.
    #[cfg(feature = "bmap")]
    #[error("reading the map")]
    Xml(#[source] roxmltree::Error),
    /// XML of something else, or of another version.
    #[error("the map has no {what} that is understood")]
    Missing {
        /// The element or attribute.
        what: &'static str,
    },
    /// It was changed after it was made.
    #[error("the map's own checksum is wrong")]
    Checksum,
    /// The parts do not agree with each other.
    #[error("the map contradicts itself: {reason}")]
    Contradiction {
        /// How.
        reason: &'static str,
    },
}

/// A map whose checksum is right and whose ranges are ascending, none beyond the image's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bmap {
    image_bytes: u64,
    ranges: Vec<Mapped>,
}

/// A part of an image that holds data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// Where it is.
    pub bytes: Range<u64>,
    /// SHA-256 of it.
    pub sha256: [u8; 32],
}

/// Why an image is not the one of the map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapMismatch {
    /// A part of it has another digest.
    #[error("the image is not the map's: bytes {} to {} have another digest", .bytes.start, .bytes.end)]
    Digest {
        /// Which part.
        bytes: Range<u64>,
    },
    /// There is something where the map has nothing.
    #[error("the image is not the map's: behind byte {offset} it is not zeros, as the map says")]
    NotZeros {
        /// Where.
        offset: u64,
    },
    /// It ends elsewhere.
    #[error("the image is not the map's: it is not {expected_bytes} bytes long")]
    Length {
        /// How long the map says that it is.
        expected_bytes: u64,
    },
}

impl MapMismatch {
    /// Returns the reason in an error of [`Checked`]; nothing if it is another's.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl Bmap {
    /// Makes a map of parts that hold data, ascending, none beyond the image's end.
    pub fn new(image_bytes: u64, ranges: Vec<Mapped>) -> Result<Self, BmapError> {
        let mut end = 0;
        for range in &ranges {
            if range.bytes.start < end {
                return Err(contradiction("ranges out of order"));
            }
            if range.bytes.is_empty() || range.bytes.end > image_bytes {
                return Err(contradiction("a range beyond the image's end"));
            }
            end = range.bytes.end;
        }
        Ok(Self { image_bytes, ranges })
    }

    /// Returns the length of the image.
    pub fn image_bytes(&self) -> u64 {
        self.image_bytes
    }

    /// Returns the parts that hold data.
    pub fn ranges(&self) -> &[Mapped] {
        &self.ranges
    }

    /// Reads an image and compares it with the map: what is read was right only if the end is reached.
    pub fn check<R: Read>(&self, image: R) -> Checked<'_, R> {
        Checked { map: self, image, position: 0, next: 0, hash: Context::new(&SHA256) }
    }
}

fn contradiction(reason: &'static str) -> BmapError {
    BmapError::Contradiction { reason }
}

/// An image that is compared with its map while it is read. After an error it is of no use.
pub struct Checked<'a, R> {
    map: &'a Bmap,
    image: R,
    position: u64,
    /// The range that the position is in or before.
    next: usize,
    hash: Context,
}

impl<R> std::fmt::Debug for Checked<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checked").field("position", &self.position).finish_non_exhaustive()
    }
}

impl<R: Read> Read for Checked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wrong = |mismatch| Err(io::Error::new(ErrorKind::InvalidData, mismatch));
        let length = MapMismatch::Length { expected_bytes: self.map.image_bytes };
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.position == self.map.image_bytes {
            return match self.image.read(&mut buffer[..1])? {
                0 => Ok(0),
                _ => wrong(length),
            };
        }
        let range = self.map.ranges.get(self.next);
        let (mapped, end) = match range {
            Some(range) if range.bytes.start <= self.position => (true, range.bytes.end),
            Some(range) => (false, range.bytes.start),
            None => (false, self.map.image_bytes),
        };
        let limit = usize::try_from(end - self.position).unwrap_or(usize::MAX);
        let limit = limit.min(buffer.len());
        let count = self.image.read(&mut buffer[..limit])?;
        if count == 0 {
            return wrong(length);
        }
        let content = &buffer[..count];
        if mapped {
            self.hash.update(content);
        } else if content.iter().any(|byte| *byte != 0) {
            return wrong(MapMismatch::NotZeros { offset: self.position });
        }
        self.position += u64::try_from(count).expect("a slice's length fits");
        if let Some(range) = range.filter(|_| mapped && self.position == end) {
            let hash = std::mem::replace(&mut self.hash, Context::new(&SHA256)).finish();
            if hash.as_ref() != range.sha256 {
                return wrong(MapMismatch::Digest { bytes: range.bytes.clone() });
            }
            self.next += 1;
        }
        Ok(count)
    }
}
