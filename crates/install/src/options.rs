//! How an install is done.

use std::{fmt, num::NonZeroUsize, thread, time::Duration};

use disk::{AlignedBuffer, Fault, Medium};
use protocol::OrderId;

use crate::{failure::read_into, stop::Stop, zero::is_zero};

/// How an install is done.
#[derive(Debug)]
pub struct Options<'a> {
    /// Which order it is, for the progress.
    pub order: OrderId,
    /// Whether what is on the disk already is looked for.
    pub compare: Compare,
    /// How much is read back.
    pub verify: Verify,
    /// Says that the disk reads as zeros, so that zeros need not be written.
    pub proven_zero: Option<ProvenZero<'a>>,
    /// How long a source is tried.
    pub patience: Patience,
    /// What ends it early.
    pub stop: Stop<'a>,
    /// Unpacks and hashes on so many threads.
    pub processors: NonZeroUsize,
    /// What samples and pauses are drawn from: another number in every run.
    pub seed: u64,
}

impl Options<'_> {
    /// Returns those for an order: compares where that looks worthwhile, reads back a sample, uses all processors.
    pub fn new(order: OrderId, seed: u64) -> Self {
        Self {
            order,
            compare: Compare::Auto,
            verify: Verify::Sample { detects_per_thousand: 50 },
            proven_zero: None,
            patience: Patience::default(),
            stop: Stop::default(),
            processors: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            seed,
        }
    }
}

/// Whether chunks that are on the disk already are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// When at least one of a few chunks is there.
    Auto,
    /// In any case.
    Always,
    /// Not at all.
    Never,
}

/// How much is read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Every byte.
    Whole,
    /// The first chunk, the last one, and as many others as it takes to see, in 99 of 100 cases, that so many of a
    /// thousand chunks are wrong.
    Sample {
        /// How many of a thousand; at least 1.
        detects_per_thousand: u32,
    },
}

/// How long a source is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// So often in a row for the same bytes, over all mirrors.
    pub attempts: u32,
    /// The pause after the first failure; every further one is twice as long.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
    /// In this time [`SLOWEST_BYTES`] have to arrive, or it counts as a failure.
    pub stall: Duration,
}

/// What has to arrive within [`Patience::stall`] for a request to go on.
pub const SLOWEST_BYTES: u64 = 32 << 10;

impl Default for Patience {
    /// Returns one that sits out a server's restart: about four minutes.
    fn default() -> Self {
        Self {
            attempts: 24,
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(15),
            stall: Duration::from_secs(30),
        }
    }
}

/// Says that a whole disk was read in this boot and held nothing but zeros. Valid for that disk only.
pub struct ProvenZero<'a> {
    medium: &'a dyn Medium,
}

impl<'a> ProvenZero<'a> {
    /// Reads a whole disk; `None` when it holds anything else than zeros.
    pub fn by_reading(medium: &'a dyn Medium) -> Result<Option<Self>, Fault> {
        let step = 4 << 20;
        let mut buffer = AlignedBuffer::zeroed(step);
        let mut offset = 0;
        while offset < medium.size_bytes() {
            let left = usize::try_from(medium.size_bytes() - offset).unwrap_or(usize::MAX);
            let length = left.min(step);
            read_into(medium, offset, &mut buffer[..length])?;
            if !is_zero(&buffer[..length]) {
                return Ok(None);
            }
            offset += u64::try_from(length).expect("a length fits 64 bits");
        }
        Ok(Some(Self { medium }))
    }

    /// Holds for the disk that was read.
    pub(crate) fn covers(&self, medium: &dyn Medium) -> bool {
        std::ptr::addr_eq(self.medium, medium)
    }
}

impl fmt::Debug for ProvenZero<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProvenZero({:?})", self.medium)
    }
}
