//! A medium as something that can be read at any place and in any length.

use std::io::{self, Read, Seek, SeekFrom};

use disk::{AlignedBuffer, Medium};

/// The most that is read at once.
const WINDOW: usize = 1 << 20;

/// Reads a medium through a window of whole sectors.
#[derive(Debug)]
pub(crate) struct Source<'medium> {
    medium: &'medium dyn Medium,
    position: u64,
    window: AlignedBuffer,
}

impl<'medium> Source<'medium> {
    pub(crate) fn new(medium: &'medium dyn Medium) -> Self {
        Self { medium, position: 0, window: AlignedBuffer::zeroed(WINDOW) }
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let sector = u64::from(self.medium.sector_bytes()).max(1);
        let left = self.medium.size_bytes().saturating_sub(self.position);
        let wanted = u64::try_from(buffer.len()).map_err(io::Error::other)?.min(left);
        if wanted == 0 {
            return Ok(0);
        }
        let start = self.position - self.position % sector;
        let skip = usize::try_from(self.position - start).map_err(io::Error::other)?;
        let length = (self.position - start + wanted).next_multiple_of(sector);
        let length = usize::try_from(length).map_err(io::Error::other)?.min(WINDOW);
        let window = &mut self.window[..length];
        self.medium.read(start, window)?;
        let bytes = &window[skip..];
        let count =
            bytes.len().min(buffer.len()).min(usize::try_from(wanted).unwrap_or(usize::MAX));
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.position += u64::try_from(count).map_err(io::Error::other)?;
        Ok(count)
    }
}

impl Seek for Source<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(position) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        self.position = position;
        Ok(position)
    }
}
