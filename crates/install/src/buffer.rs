//! Memory that a disk can read into and write from without the page cache.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

/// What buffers are aligned to: a page, which suits every device.
const ALIGNMENT: usize = 4096;

/// Bytes that begin at a page. Their number never changes.
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// Returns zeros.
    pub(crate) fn zeroed(length: usize) -> Self {
        let bytes = vec![0; length + ALIGNMENT].into_boxed_slice();
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        Self { bytes, start, length }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.length)
    }
}

/// Holds when all bytes are zeros. An empty slice is.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // Sixteen at a time, so that it is done in registers; there is no early end within a block of 4 KiB.
    bytes.chunks(ALIGNMENT).all(|block| {
        let mut words = block.chunks_exact(16);
        let any = words.by_ref().fold(0_u128, |any, word| {
            any | u128::from_ne_bytes(word.try_into().expect("chunks_exact(16) yields 16 bytes"))
        });
        any == 0 && words.remainder().iter().all(|byte| *byte == 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_begin_at_a_page() {
        for length in [0, 1, 512, 4096, 100_000] {
            let buffer = Buffer::zeroed(length);
            assert_eq!(buffer.as_ptr().align_offset(ALIGNMENT), 0, "{length}");
            assert_eq!(buffer.len(), length);
        }
    }

    #[test]
    fn a_single_bit_anywhere_is_not_zero() {
        let mut bytes = vec![0; 10_001];
        assert!(is_zero(&bytes));
        for at in [0, 15, 16, 4095, 4096, 9_999, 10_000] {
            bytes[at] = 0x40;
            assert!(!is_zero(&bytes), "{at}");
            bytes[at] = 0;
        }
    }
}
