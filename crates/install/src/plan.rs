//! What is to stand on a disk, chunk by chunk, and whether it fits.

mod table;

use std::ops::Range;

use disk::Medium;
use image::Manifest;

pub use self::table::Table;
use crate::{failure::Unfit, pipeline};

/// Old tables and labels live in this much of a disk's end: whatever of an image lies there is written last.
pub(crate) const END_BYTES: u64 = 1 << 20;

/// Chunks of more bytes would not fit the buffers.
const CHUNK_LIMIT: u32 = 8 << 20;

/// A frame may be this much longer than what is in it.
const FRAME_EXCESS: u32 = 64 << 10;

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
    pub chunks: Table,
}

impl From<&Manifest> for Plan {
    /// Takes over what a manifest says. Who vouches for it has been asked before: [`Manifest::verify`].
    fn from(manifest: &Manifest) -> Self {
        let description = manifest.description();
        let entries = manifest.chunks();
        let mut chunks = Table::with_capacity(entries.len());
        for entry in entries {
            let length = u32::try_from(entry.frame.end - entry.frame.start);
            chunks.push(&entry.chunk, length.expect("a manifest's frames are short"));
        }
        Self {
            image_bytes: description.image_bytes,
            chunk_bytes: description.chunk_bytes,
            smallest_disk_bytes: description.smallest_disk_bytes,
            sector_bytes: description.sector_bytes,
            chunks,
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
        self.chunks.frame(index)
    }

    pub(crate) fn is_zeros(&self, index: usize) -> bool {
        self.chunks.is_zeros(index)
    }

    /// Returns the length of the longest frame.
    pub(crate) fn longest_frame(&self) -> usize {
        usize::try_from(self.chunks.frame_lengths().max().unwrap_or(0)).unwrap_or(usize::MAX)
    }

    /// Holds for a chunk that makes a disk bootable: the first one, and those in the last MiB of the disk, where
    /// the backup table is.
    pub(crate) fn is_withheld(&self, index: usize, disk_bytes: u64) -> bool {
        let end = self.offset(index) + u64::from(self.chunk_bytes);
        index == 0 || end > disk_bytes.saturating_sub(END_BYTES)
    }

    fn data_bytes(&self) -> u64 {
        let chunks = u64::try_from(self.chunks.data()).expect("a number fits 64 bits");
        chunks * u64::from(self.chunk_bytes)
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
        let limit = self.chunk_bytes + FRAME_EXCESS;
        if self.chunks.frame_lengths().any(|length| length == 0 || length > limit) {
            return plan("a frame is empty, or much longer than a chunk");
        }
        if !pipeline::has_room(self) {
            return Err(Unfit::TooMuch { data_bytes: self.data_bytes() });
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
