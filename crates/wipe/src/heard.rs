//! A disk's medium, whose every answer is heard: so that no reader of it, however slow, is taken for a disk that hangs.

use std::io;

use disk::{Medium, Zeroing};

use crate::Watch;

/// A medium that tells who watches of each answer, well or not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard<'h> {
    pub(crate) medium: &'h dyn Medium,
    pub(crate) watch: &'h dyn Watch,
}

impl Heard<'_> {
    fn hear<T>(&self, answer: T) -> T {
        self.watch.heard();
        answer
    }
}

impl Medium for Heard<'_> {
    fn size_bytes(&self) -> u64 {
        self.medium.size_bytes()
    }

    fn sector_bytes(&self) -> u32 {
        self.medium.sector_bytes()
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.hear(self.medium.read(offset, buffer))
    }

    fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        self.hear(self.medium.write(offset, buffer))
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<Zeroing> {
        self.hear(self.medium.zero(offset, length))
    }

    fn flush(&self) -> io::Result<()> {
        self.hear(self.medium.flush())
    }
}
