//! Disks in memory that are zero but for what a test wrote.

use std::{
    collections::BTreeMap,
    io::{self, Cursor, Read, Seek, SeekFrom},
};

use signature::{Content, Source};

pub(crate) const MIB: u64 = 1 << 20;

/// A disk of any size that remembers only what was written, and counts what is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    size: u64,
    pieces: BTreeMap<u64, Vec<u8>>,
    position: u64,
    pub(crate) bytes_read: u64,
}

impl Image {
    pub(crate) fn new(size: u64) -> Self {
        Self { size, ..Self::default() }
    }

    /// Writes bytes; later pieces cover earlier ones.
    pub(crate) fn write(mut self, offset: u64, bytes: impl AsRef<[u8]>) -> Self {
        self.pieces.insert(offset, bytes.as_ref().to_vec());
        self
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn probe(&mut self) -> Content {
        let size = self.size;
        signature::probe(self, size, 512)
    }

    /// Returns the whole disk as bytes.
    pub(crate) fn contents(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.clone().read_to_end(&mut bytes).expect("an image can be read");
        bytes
    }
}

impl Read for Image {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.size.saturating_sub(self.position);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..length];
        buffer.fill(0);
        let start = i128::from(self.position);
        for (offset, piece) in &self.pieces {
            let shift = i128::from(*offset) - start;
            for (index, byte) in (0_i128..).zip(piece) {
                if let Ok(at) = usize::try_from(shift + index)
                    && let Some(place) = buffer.get_mut(at)
                {
                    *place = *byte;
                }
            }
        }
        let length = u64::try_from(length).expect("a length fits");
        self.position += length;
        self.bytes_read += length;
        Ok(buffer.len())
    }
}

impl Seek for Image {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::Start(offset) => self.position = offset,
            SeekFrom::Current(_) | SeekFrom::End(_) => {
                return Err(io::ErrorKind::Unsupported.into());
            }
        }
        Ok(self.position)
    }
}

/// Probes bytes as a disk.
pub(crate) fn probe(bytes: &[u8]) -> Content {
    let size = u64::try_from(bytes.len()).expect("a length fits");
    let mut cursor = Cursor::new(bytes);
    let source: &mut dyn Source = &mut cursor;
    signature::probe(source, size, 512)
}

/// CRC-32 bit by bit: another way than the crate's own.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(sum & 1))
        })
    })
}
