//! Writes chunks to the medium, the lowest offset first; zeros when nothing else waits.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use disk::{AlignedBuffer, Fault, Medium};

use super::ZeroWork;
use crate::{
    crew::Ended,
    failure::{flush, write},
    gauge::Gauge,
    queue::{Popped, Queue},
};

/// Something as it is to stand on the medium.
#[derive(Debug)]
pub(crate) enum Full {
    /// A chunk.
    Chunk {
        offset: u64,
        /// How much of the buffer: whole sectors.
        length: usize,
        buffer: AlignedBuffer,
    },
    /// Zeros, perhaps of many chunks.
    Zeros(Range<u64>),
}

/// The stage.
#[derive(Debug)]
pub(crate) struct Store<'a> {
    pub(crate) medium: &'a dyn Medium,
    pub(crate) gauge: &'a Gauge,
    pub(crate) chunks: &'a Queue<Full>,
    pub(crate) empty: &'a Queue<AlignedBuffer>,
    pub(crate) zeros: ZeroWork<'a>,
    pub(crate) flushing: Flushing,
}

impl Store<'_> {
    pub(crate) fn run(&self) -> Result<(), Ended> {
        loop {
            let popped = self.chunks.try_pop()?;
            if let Popped::Thing(chunk) = popped {
                self.write(chunk)?;
            } else if let Some(range) = self.zeros.next() {
                self.zeros.zero(range)?;
            } else if let Some(chunk) = self.chunks.pop()? {
                self.write(chunk)?;
            } else {
                return Ok(());
            }
        }
    }

    fn write(&self, full: Full) -> Result<(), Fault> {
        let (offset, length, buffer) = match full {
            Full::Chunk { offset, length, buffer } => (offset, length, buffer),
            Full::Zeros(range) => return self.zeros.zero(range),
        };
        write(self.medium, offset, &buffer[..length])?;
        self.gauge.written.add(length);
        self.empty.give_back(buffer);
        self.flushing.wrote(self.medium, length)
    }
}

/// Flushes every now and then, so that a power cut does not take everything with it.
#[derive(Debug)]
pub(crate) struct Flushing {
    unflushed: AtomicU64,
    interval: u64,
}

impl Flushing {
    /// Returns one that lets a cut lose at most about a hundredth of an image.
    pub(crate) fn new(image_bytes: u64) -> Self {
        let interval = (image_bytes / 128).clamp(32 << 20, 1 << 30);
        Self { unflushed: AtomicU64::new(0), interval }
    }

    fn wrote(&self, medium: &dyn Medium, length: usize) -> Result<(), Fault> {
        let length = u64::try_from(length).expect("a length fits 64 bits");
        if self.unflushed.fetch_add(length, Ordering::Relaxed) + length < self.interval {
            return Ok(());
        }
        self.unflushed.store(0, Ordering::Relaxed);
        flush(medium)
    }
}
