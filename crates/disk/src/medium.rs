//! What the engines that write and wipe see of a disk.

use std::{fmt, io};

/// Something that holds bytes at offsets: a disk, a plain file, a disk that a test made up.
///
/// Offsets and lengths are multiples of [`sector_bytes`](Medium::sector_bytes), and buffers are aligned to a page:
/// the page cache is not used. Calls may come from several threads at once. What was written is on the medium
/// after [`flush`](Medium::flush) and not before.
pub trait Medium: fmt::Debug + Send + Sync {
    /// Returns the capacity in bytes.
    fn size_bytes(&self) -> u64;

    /// Returns the smallest addressable unit in bytes.
    fn sector_bytes(&self) -> u32;

    /// Fills a buffer from the medium itself. A short read is an error.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes a whole buffer.
    fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()>;

    /// Makes a range read as zeros without sending them, where the device does that.
    fn zero(&self, offset: u64, length: u64) -> io::Result<Zeroing>;

    /// Returns when everything written before is on the medium.
    fn flush(&self) -> io::Result<()>;
}

/// Whether a device zeroed a range by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeroing {
    /// It did: the range reads as zeros.
    Done,
    /// It cannot: nothing was changed, zeros have to be written.
    Unsupported,
}
