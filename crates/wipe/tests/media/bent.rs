//! Disks of any size that hold nothing: they count what is written, and fail where they are told to.

use std::{
    fmt, io,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use disk::{Medium, Zeroing};

use crate::trial::Clock;

/// Where a disk fails.
type Bad = Box<dyn Fn(&Range<u64>) -> bool + Send + Sync>;

/// A disk that takes time.
pub(crate) struct Bent {
    pub(crate) size: u64,
    pub(crate) sector: u32,
    /// Holds for ranges of which some byte cannot be written or read.
    pub(crate) bad: Bad,
    pub(crate) clock: Clock,
    /// What a transfer that fails takes.
    pub(crate) failure_time: Duration,
    /// How fast it is; absent where the clock stands still meanwhile.
    pub(crate) bytes_per_second: Option<u64>,
    pub(crate) failures: AtomicU64,
    pub(crate) transfers: AtomicU64,
    /// Which transfers went well.
    pub(crate) done: Mutex<Vec<Range<u64>>>,
}

impl fmt::Debug for Bent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bent")
    }
}

impl Bent {
    pub(crate) fn new(
        size: u64,
        clock: Clock,
        bad: impl Fn(&Range<u64>) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            size,
            sector: 512,
            bad: Box::new(bad),
            clock,
            failure_time: Duration::from_secs(7),
            bytes_per_second: None,
            failures: AtomicU64::new(0),
            transfers: AtomicU64::new(0),
            done: Mutex::default(),
        }
    }

    fn transfer(&self, offset: u64, length: usize) -> io::Result<()> {
        let end = offset + u64::try_from(length).map_err(io::Error::other)?;
        assert!(end <= self.size, "beyond the end");
        self.transfers.fetch_add(1, Ordering::Relaxed);
        if let Some(speed) = self.bytes_per_second {
            self.clock.pass(Duration::from_millis((end - offset) * 1000 / speed));
        }
        if (self.bad)(&(offset..end)) {
            self.failures.fetch_add(1, Ordering::Relaxed);
            self.clock.pass(self.failure_time);
            return Err(io::Error::from_raw_os_error(5)); // EIO
        }
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(offset..end);
        Ok(())
    }

    /// Returns how many bytes were written or read, each counted once.
    pub(crate) fn done_bytes(&self) -> u64 {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner).clone();
        done.sort_by_key(|range| range.start);
        let (mut bytes, mut until) = (0, 0);
        for range in done {
            bytes += range.end.saturating_sub(range.start.max(until));
            until = until.max(range.end);
        }
        bytes
    }
}

impl Medium for Bent {
    fn size_bytes(&self) -> u64 {
        self.size
    }

    fn sector_bytes(&self) -> u32 {
        self.sector
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.fill(0);
        self.transfer(offset, buffer.len())
    }

    fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        self.transfer(offset, buffer.len())
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<Zeroing> {
        self.transfer(offset, usize::try_from(length).map_err(io::Error::other)?)?;
        Ok(Zeroing::Done)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
