//! What is to stand on a disk, chunk by chunk, and whether it fits.

use std::ops::Range;

use disk::Medium;
use image::Manifest;

use crate::failure::Unfit;

/// Old tables and labels live in this much of a disk's end: whatever of an image lies there is written last.
pub(crate) const END_BYTES: u64 = 1 << 20;

/// Chunks of more bytes would not fit the buffers.
const CHUNK_LIMIT: u32 = 8 << 20;

/// A frame may be this much longer than what is in it.
const FRAME_EXCESS: u64 = 64 << 10;

/// The chunk table of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The image's length. Its last sector is filled up with zeros.
    pub image_bytes: u64,
    /// The length of every chunk but the last: a multiple of the disk's sector.
    pub chunk_bytes: u32,
    /// The smallest disk that it fits on, where that is more than the image's length.
    pub smallest_disk_bytes: u64,
    /// What the image's partition table counts in; absent when it has none.
    pub sector_bytes: Option<u32>,
    /// What is in the chunks.
    pub chunks: Vec<Chunk>,
}

/// What is in one chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// Nothing but zeros.
    Zeros,
    /// Something else.
    Data {
        /// BLAKE3 of the chunk.
        digest: [u8; 32],
        /// Where the frame that holds it stands in the file of frames.
        frame: Range<u64>,
    },
}

impl From<&Manifest> for Plan {
    /// Takes over what a manifest says. Who vouches for it has been asked before: [`Manifest::verify`].
    fn from(manifest: &Manifest) -> Self {
        let description = manifest.description();
        let chunk = |entry: image::Entry| match entry.chunk {
            image::Chunk::Zeros => Chunk::Zeros,
            image::Chunk::Data { digest } => Chunk::Data { digest, frame: entry.frame },
        };
        Self {
            image_bytes: description.image_bytes,
            chunk_bytes: description.chunk_bytes,
            smallest_disk_bytes: description.smallest_disk_bytes,
            sector_bytes: description.sector_bytes,
            chunks: manifest.chunks().map(chunk).collect(),
        }
    }
}

impl Plan {
    /// Returns where a chunk begins.
    pub(crate) fn offset(&self, index: usize) -> u64 {
        u64::try_from(index).expect("an index fits 64 bits") * u64::from(self.chunk_bytes)
    }

    /// Returns the length of a chunk.
    pub(crate) fn length(&self, index: usize) -> usize {
        let left = self.image_bytes.saturating_sub(self.offset(index));
        usize::try_from(left.min(u64::from(self.chunk_bytes))).expect("a chunk fits in memory")
    }

    /// Returns the length of a chunk with its last sector filled up.
    pub(crate) fn padded(&self, index: usize, medium: &dyn Medium) -> usize {
        let sector = usize::try_from(medium.sector_bytes()).expect("a sector fits in memory");
        self.length(index).next_multiple_of(sector)
    }

    /// Returns the frame of a chunk that has one.
    pub(crate) fn frame(&self, index: usize) -> Option<Range<u64>> {
        match self.chunks.get(index)? {
            Chunk::Zeros => None,
            Chunk::Data { frame, .. } => Some(frame.clone()),
        }
    }

    pub(crate) fn is_zeros(&self, index: usize) -> bool {
        matches!(self.chunks.get(index), Some(Chunk::Zeros))
    }

    /// Returns the length of the longest frame.
    pub(crate) fn longest_frame(&self) -> usize {
        let lengths =
            (0..self.chunks.len()).filter_map(|index| self.frame(index)).map(|f| f.end - f.start);
        usize::try_from(lengths.max().unwrap_or(0)).unwrap_or(usize::MAX)
    }

    /// Holds for a chunk that makes a disk bootable: the first one, and those in the last MiB of the disk, where
    /// the backup table is.
    pub(crate) fn is_withheld(&self, index: usize, disk_bytes: u64) -> bool {
        let end = self.offset(index) + u64::from(self.chunk_bytes);
        index == 0 || end > disk_bytes.saturating_sub(END_BYTES)
    }

    /// Says why the image cannot be put on a disk.
    pub(crate) fn check(&self, medium: &dyn Medium) -> Result<(), Unfit> {
        let plan = |reason: &str| Err(Unfit::Plan { reason: reason.to_owned() });
        let sector = medium.sector_bytes();
        if !(512..=65_536).contains(&sector) || !sector.is_power_of_two() {
            return plan("the disk has sectors of no usual size");
        }
        fits(self.image_bytes.max(self.smallest_disk_bytes), self.sector_bytes, medium)?;
        if self.image_bytes == 0 {
            return plan("the image is empty");
        }
        if !(sector..=CHUNK_LIMIT).contains(&self.chunk_bytes)
            || !self.chunk_bytes.is_multiple_of(sector)
        {
            return plan("its chunks are not made of whole sectors, or too long");
        }
        let count = self.image_bytes.div_ceil(u64::from(self.chunk_bytes));
        if u64::try_from(self.chunks.len()) != Ok(count) {
            return plan("its number of chunks does not agree with the image's length");
        }
        let limit = u64::from(self.chunk_bytes) + FRAME_EXCESS;
        let is_wrong =
            |frame: Range<u64>| frame.end <= frame.start || frame.end - frame.start > limit;
        if (0..self.chunks.len()).filter_map(|index| self.frame(index)).any(is_wrong) {
            return plan("a frame is empty, or much longer than a chunk");
        }
        Ok(())
    }
}

/// Says why an image of a length and a sector size cannot be put on a disk.
pub(crate) fn fits(
    image_bytes: u64,
    image_sector: Option<u32>,
    medium: &dyn Medium,
) -> Result<(), Unfit> {
    let (sector, disk_bytes) = (medium.sector_bytes(), medium.size_bytes());
    if let Some(image_sector) = image_sector.filter(|image_sector| *image_sector != sector) {
        return Err(Unfit::SectorSize { image_bytes: image_sector, disk_bytes: sector });
    }
    let needed = image_bytes.checked_next_multiple_of(u64::from(sector)).unwrap_or(u64::MAX);
    if needed > disk_bytes {
        return Err(Unfit::TooSmall { image_bytes, disk_bytes });
    }
    Ok(())
}

/// Returns what the partition table at an image's start counts in, when it has a GUID partition table.
pub(crate) fn table_sector(start: &[u8], disk_sector: u32) -> Option<u32> {
    [disk_sector, 512, 4096].into_iter().find(|sector| table_header(start, *sector).is_some())
}

/// Returns the length that an image has at least if its partition table is right: up to the backup of the table.
pub(crate) fn table_length(start: &[u8], sector: u32) -> Option<u64> {
    let alternate = table_header(start, sector)?.get(32..40)?.try_into().ok()?;
    u64::from_le_bytes(alternate).checked_add(1)?.checked_mul(u64::from(sector))
}

fn table_header(start: &[u8], sector: u32) -> Option<&[u8]> {
    let header = start.get(usize::try_from(sector).ok()?..)?;
    header.starts_with(b"EFI PART").then_some(header)
}
