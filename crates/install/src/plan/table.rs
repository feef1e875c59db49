//! The chunk table, packed: four bytes and a bit a chunk, and a digest for each that holds something.

use std::ops::Range;

use image::Chunk;

/// So many chunks are counted through to find the place of one.
const STRIDE: usize = 64;

/// Marks the length of a frame whose chunk is zeros. Frames are far shorter.
const ZEROS: u32 = 1 << 31;

/// What is in the chunks of an image, in order, and where their frames stand, which follow each other in their file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The lengths of the frames.
    frames: Vec<u32>,
    /// Those of chunks that are not zeros.
    digests: Vec<[u8; 32]>,
    /// Of every chunk whose number is a multiple of [`STRIDE`].
    marks: Vec<Mark>,
    /// Where the next frame begins.
    end: u64,
}

/// What comes before a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    frame: u64,
    digests: usize,
}

impl Table {
    /// Returns an empty one for so many chunks.
    pub(crate) fn with_capacity(chunks: usize) -> Self {
        let mut table = Self::default();
        table.frames.reserve_exact(chunks);
        table.marks.reserve_exact(chunks / STRIDE + 1);
        table
    }

    /// Adds a chunk and the length of its frame.
    pub fn push(&mut self, chunk: &Chunk, frame_bytes: u32) {
        if self.frames.len().is_multiple_of(STRIDE) {
            self.marks.push(Mark { frame: self.end, digests: self.digests.len() });
        }
        let length = frame_bytes & !ZEROS;
        match chunk {
            Chunk::Zeros => self.frames.push(length | ZEROS),
            Chunk::Data { digest } => {
                self.frames.push(length);
                self.digests.push(*digest);
            }
        }
        self.end += u64::from(length);
    }

    /// Returns the number of chunks.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Holds when there is no chunk.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Holds for a chunk of zeros.
    pub fn is_zeros(&self, index: usize) -> bool {
        self.frames.get(index).is_some_and(|length| length & ZEROS != 0)
    }

    /// Returns the number of chunks that are not zeros.
    pub fn data(&self) -> usize {
        self.digests.len()
    }

    /// Returns the digest of a chunk that is not zeros.
    pub(crate) fn digest(&self, index: usize) -> Option<&[u8; 32]> {
        let (place, before) = self.before(index)?;
        let inside = before.iter().filter(|length| *length & ZEROS == 0).count();
        if self.is_zeros(index) { None } else { self.digests.get(place.digests + inside) }
    }

    /// Returns where the frame of a chunk stands that is not zeros.
    pub(crate) fn frame(&self, index: usize) -> Option<Range<u64>> {
        let (place, before) = self.before(index)?;
        let length = self.frames.get(index).filter(|length| *length & ZEROS == 0)?;
        let start =
            place.frame + before.iter().map(|length| u64::from(length & !ZEROS)).sum::<u64>();
        Some(start..start + u64::from(*length))
    }

    /// Returns how many bytes of memory it takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let Self { frames, digests, marks, end: _ } = self;
        size_of_val(&frames[..]) + size_of_val(&digests[..]) + size_of_val(&marks[..])
    }

    /// Returns the lengths of the frames of chunks that are not zeros.
    pub(crate) fn frame_lengths(&self) -> impl Iterator<Item = u32> + '_ {
        self.frames.iter().copied().filter(|length| length & ZEROS == 0)
    }

    /// Returns the mark before a chunk, and the chunks between the two.
    fn before(&self, index: usize) -> Option<(Mark, &[u32])> {
        let mark = self.marks.get(index / STRIDE)?;
        Some((*mark, self.frames.get(index / STRIDE * STRIDE..index)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_at_its_place() {
        let mut table = Table::default();
        let mut expected = Vec::new();
        let mut at = 0;
        for number in 0..1000_u32 {
            let length = number % 7 + 1;
            let digest = [u8::try_from(number % 251).unwrap(); 32];
            let is_zeros = number % 3 == 0 || (400..600).contains(&number);
            let chunk = if is_zeros { Chunk::Zeros } else { Chunk::Data { digest } };
            table.push(&chunk, length);
            expected.push((!is_zeros).then_some((digest, at..at + u64::from(length))));
            at += u64::from(length);
        }
        assert_eq!(table.len(), 1000);
        for (index, expected) in expected.iter().enumerate() {
            assert_eq!(table.is_zeros(index), expected.is_none(), "{index}");
            let found = table.digest(index).copied().zip(table.frame(index));
            assert_eq!(&found, expected, "{index}");
        }
        assert_eq!((table.digest(1000), table.frame(1000)), (None, None));
        assert_eq!(table.data(), expected.iter().flatten().count());
        assert_eq!(Table::default().frame(0), None);
    }
}
