//! Memory that disks can be read into and written from without a copy.

use std::ops::{Deref, DerefMut};

/// What the start of a buffer is a multiple of, in bytes: no disk that Linux drives asks for more.
pub const ALIGNMENT: usize = 4096;

/// A run of bytes that begins at a multiple of [`ALIGNMENT`] and never moves, for reads and writes past the page cache.
///
/// ```
/// let buffer = disk::AlignedBuffer::zeroed(1 << 20);
/// assert_eq!(buffer.as_ptr().align_offset(disk::ALIGNMENT), 0);
/// assert_eq!(buffer.len(), 1 << 20);
/// ```
pub struct AlignedBuffer {
    /// Longer than it has to be, so that an aligned run fits. Never resized.
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// Makes a buffer of zeros. Its memory is taken from the system when it is first touched.
    pub fn zeroed(length: usize) -> Self {
        let bytes = vec![0; length.saturating_add(ALIGNMENT)];
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        Self { bytes, start, length }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.length]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuffer({} bytes)", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_buffer_is_aligned_and_as_long_as_was_asked() {
        let buffers: Vec<_> =
            [0, 1, 511, 4096, 4097, 1 << 22].map(AlignedBuffer::zeroed).into_iter().collect();
        for (buffer, length) in buffers.iter().zip([0, 1, 511, 4096, 4097, 1 << 22]) {
            assert_eq!(buffer.len(), length);
            assert_eq!(buffer.as_ptr().addr() % ALIGNMENT, 0);
            assert!(buffer.iter().all(|byte| *byte == 0));
        }
    }
}
