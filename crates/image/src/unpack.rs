//! Takes an image out of what it is packed in, as it comes, in bounded memory.
//!
//! ```text
//! source ─► (gzip | xz | bzip2 | zstd | lz4)? ─► tar? ─► raw, or qcow2
//! ```
//!
//! A stream ends cleanly only where its format says that it ends, with every checksum right and the source at its end.

mod error;
mod lz4;
mod source;
mod sparse;
mod stream;
mod tar;

use std::{
    fmt,
    io::{self, BufRead, BufReader, Cursor, Read},
};

pub use self::error::{TarError, UnpackError};
use self::{
    lz4::Lz4,
    source::Source,
    stream::{Stream, Xz, Zstd},
    tar::Tar,
};
use crate::recognise::{Format, HEAD_BYTES, SECTOR, recognise};

/// The most memory that an agent gives to a foreign stream's window or dictionary, in bytes.
pub const WINDOW_LIMIT: u64 = 32 << 20;

/// How much of a source is read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// An image outside of its packing. Reading it returns errors that [`UnpackError::of`] explains.
///
/// Once reading has failed it fails for ever; the end is reached only if all of the source was read and is right.
pub struct Unpacked<'a> {
    reader: Box<dyn Read + Send + 'a>,
    layers: Vec<Format>,
    whole_sectors: bool,
    delivered: u64,
    failed: bool,
}

impl fmt::Debug for Unpacked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacked")
            .field("layers", &self.layers)
            .field("delivered", &self.delivered)
            .finish_non_exhaustive()
    }
}

impl Unpacked<'_> {
    /// Returns what the image is packed in, outermost first; nothing for a bare one.
    pub fn layers(&self) -> &[Format] {
        &self.layers
    }

    /// Returns how many bytes came out so far.
    pub fn delivered_bytes(&self) -> u64 {
        self.delivered
    }

    fn end(&self) -> io::Result<usize> {
        let sector = u64::try_from(SECTOR).expect("512 fits");
        if self.whole_sectors && !self.delivered.is_multiple_of(sector) {
            return Err(UnpackError::NotWholeSectors { bytes: self.delivered }.into());
        }
        Ok(0)
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.failed {
            return Err(UnpackError::AlreadyFailed.into());
        }
        let result = match self.reader.read(buffer) {
            Ok(0) => self.end(),
            Ok(count) => Ok(count),
            Err(error) => Err(source::original(error)),
        };
        match &result {
            Ok(count) => self.delivered += u64::try_from(*count).expect("a slice's length fits"),
            Err(_) => self.failed = true,
        }
        result
    }
}

/// What came out of the packing.
#[derive(Debug)]
pub enum Content<'a> {
    /// The bytes of a disk.
    Raw(Unpacked<'a>),
    /// A qcow2 file, which is read by seeking, so it has to be stored first.
    Qcow2(Unpacked<'a>),
}

/// Unpacks the bytes of a disk. Compression and archive are recognised by content.
///
/// Reads as much of the source as it takes to know what it is. `window_limit` is the most that a stream may make us
/// keep, in bytes: [`WINDOW_LIMIT`] on an agent.
pub fn unpack<'a>(
    source: impl Read + Send + 'a,
    window_limit: u64,
) -> Result<Unpacked<'a>, UnpackError> {
    match open(source, window_limit)? {
        Content::Raw(unpacked) => Ok(unpacked),
        Content::Qcow2(_) => Err(UnpackError::Qcow2),
    }
}

/// Unpacks the bytes of a disk or a qcow2 file; otherwise as [`unpack`].
pub fn open<'a>(
    source: impl Read + Send + 'a,
    window_limit: u64,
) -> Result<Content<'a>, UnpackError> {
    let mut layers = Vec::new();
    let (head, source) = peek(Source::new(source)).map_err(UnpackError::from_read)?;
    let mut format = recognise(&head)?;
    let mut reader = replay(head, source);
    if !matches!(format, Format::Raw | Format::Tar | Format::Qcow2) {
        layers.push(format);
        let buffered = BufReader::with_capacity(BUFFER_BYTES, reader);
        let decoder = decompress(format, buffered, window_limit)?;
        let (head, decoder) = peek(decoder).map_err(UnpackError::from_read)?;
        let inner = recognise(&head)?;
        if !matches!(inner, Format::Raw | Format::Tar | Format::Qcow2) {
            return Err(UnpackError::Nested { outer: format, inner });
        }
        format = inner;
        reader = replay(head, decoder);
    }
    if format == Format::Tar {
        layers.push(format);
        let tar = Tar::open(BufReader::with_capacity(BUFFER_BYTES, reader))
            .map_err(|error| UnpackError::from_read(error::explain(error, format)))?;
        let content = tar.content();
        reader = Box::new(Named { format, inner: tar });
        format = content;
    }
    let whole_sectors = format == Format::Raw;
    let unpacked = Unpacked { reader, layers, whole_sectors, delivered: 0, failed: false };
    Ok(if whole_sectors { Content::Raw(unpacked) } else { Content::Qcow2(unpacked) })
}

fn decompress<'a>(
    format: Format,
    source: impl BufRead + Send + 'a,
    window_limit: u64,
) -> Result<Box<dyn Read + Send + 'a>, UnpackError> {
    Ok(match format {
        Format::Gzip => {
            Box::new(Named { format, inner: flate2::bufread::MultiGzDecoder::new(source) })
        }
        Format::Bzip2 => {
            Box::new(Named { format, inner: bzip2::bufread::MultiBzDecoder::new(source) })
        }
        Format::Xz => {
            Box::new(Named { format, inner: Stream::new(source, Xz::new(window_limit)?) })
        }
        Format::Zstd => {
            Box::new(Named { format, inner: Stream::new(source, Zstd::new(window_limit)?) })
        }
        Format::Lz4 => Box::new(Named { format, inner: Lz4::new(source) }),
        Format::Raw | Format::Tar | Format::Qcow2 => {
            unreachable!("only called for what is compressed")
        }
    })
}

/// Says of a decoder's errors which decoder's they are.
struct Named<R> {
    format: Format,
    inner: R,
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| error::explain(error, self.format))
    }
}

/// Reads the first bytes: fewer than [`HEAD_BYTES`] only if there are no more.
fn peek<R: Read>(mut reader: R) -> io::Result<(Vec<u8>, R)> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let limit = u64::try_from(HEAD_BYTES).expect("a small constant fits");
    reader.by_ref().take(limit).read_to_end(&mut head)?;
    Ok((head, reader))
}

fn replay<'a>(head: Vec<u8>, rest: impl Read + Send + 'a) -> Box<dyn Read + Send + 'a> {
    Box::new(Cursor::new(head).chain(rest))
}
