//! The chunks, one after the other.

use std::ops::Range;

use super::Description;

/// A kind, a digest, the length of a frame.
pub(super) const ENTRY_BYTES: usize = 1 + 32 + 4;

const DATA: u8 = 0;
const ZEROS: u8 = 1;

/// The most that a frame is longer than what is in it, in bytes.
const FRAME_EXCESS: u32 = 64 << 10;

/// What is in a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// Nothing but zeros. It has a frame too, so that the file of frames is the whole image for any zstd, but nobody
    /// has to fetch it.
    Zeros,
    /// Something else.
    Data {
        /// Its BLAKE3.
        digest: [u8; 32],
    },
}

/// A chunk and its places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands in the image.
    pub bytes: Range<u64>,
    /// Where its frame stands in the file of frames. Never empty.
    pub frame: Range<u64>,
    /// What is in it.
    pub chunk: Chunk,
}

/// Writes one entry.
pub(super) fn encode(chunk: &Chunk, frame_bytes: u32, into: &mut Vec<u8>) {
    let (kind, digest) = match chunk {
        Chunk::Data { digest } => (DATA, *digest),
        Chunk::Zeros => (ZEROS, [0; 32]),
    };
    into.push(kind);
    into.extend_from_slice(&digest);
    into.extend_from_slice(&frame_bytes.to_le_bytes());
}

/// Checks every entry; returns the sum of the frames' lengths.
pub(super) fn check(table: &[u8], description: &Description) -> Result<u64, &'static str> {
    let limit = description.chunk_bytes + FRAME_EXCESS;
    let mut sum = 0_u64;
    for entry in table.chunks_exact(ENTRY_BYTES) {
        let Some((chunk, frame_bytes)) = decode(entry) else {
            return Err("a chunk of an unknown kind");
        };
        if frame_bytes == 0 || frame_bytes > limit {
            return Err("a frame that is empty, or much longer than a chunk");
        }
        if chunk == Chunk::Zeros && entry[1..33] != [0; 32] {
            return Err("zeros with a digest");
        }
        sum = sum.checked_add(u64::from(frame_bytes)).ok_or("frames without end")?;
    }
    Ok(sum)
}

fn decode(entry: &[u8]) -> Option<(Chunk, u32)> {
    let (kind, rest) = entry.split_first()?;
    let (digest, frame) = rest.split_first_chunk::<32>()?;
    let chunk = match *kind {
        DATA => Chunk::Data { digest: *digest },
        ZEROS => Chunk::Zeros,
        _ => return None,
    };
    Some((chunk, u32::from_le_bytes(frame.try_into().ok()?)))
}

/// Returns the entries of a table that was checked.
pub(super) fn entries<'a>(
    table: &'a [u8],
    description: &Description,
) -> impl ExactSizeIterator<Item = Entry> + use<'a> {
    let (length, chunk_bytes) = (description.image_bytes, u64::from(description.chunk_bytes));
    let (mut offset, mut frame) = (0, 0);
    table.chunks_exact(ENTRY_BYTES).map(move |entry| {
        let (chunk, frame_bytes) = decode(entry).expect("the table was checked");
        let bytes = offset..length.min(offset + chunk_bytes);
        let place = frame..frame + u64::from(frame_bytes);
        (offset, frame) = (bytes.end, place.end);
        Entry { bytes, frame: place, chunk }
    })
}
