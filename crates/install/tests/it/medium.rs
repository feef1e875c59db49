//! A disk in memory that can be told how to fail, and that remembers what was written in which order.

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use disk::{Medium, Zeroing};

/// What a disk does when it is told to zero a range by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ByItself {
    #[default]
    Zeroes,
    Refuses,
    /// Says that it did, and did not.
    Lies,
    /// Does as it says this often, then only says so.
    LiesAfter(u64),
    /// Says that it did, and something else stands there.
    Spoils,
    /// Fails.
    Fails,
}

/// What is wrong with a disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    pub(crate) by_itself: ByItself,
    /// Sectors that cannot be written.
    pub(crate) unwritable: BTreeSet<u64>,
    /// Sectors that cannot be read.
    pub(crate) unreadable: BTreeSet<u64>,
    /// Sectors in which a bit flips on the way to the medium.
    pub(crate) flipping: BTreeSet<u64>,
    /// Sectors whose writes are lost without a word.
    pub(crate) forgetful: BTreeSet<u64>,
    /// From this write on the disk is gone.
    pub(crate) gone_from_write: Option<u64>,
    /// Of this write only the first half comes onto the medium.
    pub(crate) torn_write: Option<(u64, Torn)>,
    /// From this flush on every flush fails.
    pub(crate) no_flush_from: Option<u64>,
}

/// What a disk says of a write of which it kept a half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Torn {
    Failed,
    Done,
}

/// Something that was done to a disk.
#[derive(Debug, Clone)]
pub(crate) enum Done {
    Write { offset: usize, bytes: Vec<u8> },
    Flush,
}

#[derive(Debug)]
pub(crate) struct Memory {
    sector_bytes: u32,
    faults: Faults,
    state: Mutex<State>,
    pub(crate) written: AtomicU64,
    pub(crate) read: AtomicU64,
    pub(crate) zeroed: AtomicU64,
}

#[derive(Debug)]
struct State {
    bytes: Vec<u8>,
    log: Option<Vec<Done>>,
    writes: u64,
    zeroings: u64,
    flushes: u64,
}

fn gone() -> io::Error {
    io::Error::from_raw_os_error(19) // ENODEV
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(5) // EIO
}

impl Memory {
    pub(crate) fn new(bytes: Vec<u8>, sector_bytes: u32) -> Self {
        Self::with_faults(bytes, sector_bytes, Faults::default())
    }

    pub(crate) fn with_faults(bytes: Vec<u8>, sector_bytes: u32, faults: Faults) -> Self {
        Self {
            sector_bytes,
            faults,
            state: Mutex::new(State { bytes, log: None, writes: 0, zeroings: 0, flushes: 0 }),
            written: AtomicU64::new(0),
            read: AtomicU64::new(0),
            zeroed: AtomicU64::new(0),
        }
    }

    /// Begins to remember.
    pub(crate) fn logged(self) -> Self {
        self.state().log = Some(Vec::new());
        self
    }

    pub(crate) fn log(&self) -> Vec<Done> {
        self.state().log.clone().unwrap_or_default()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state().bytes.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn range(&self, offset: u64, length: usize) -> io::Result<(usize, std::ops::Range<u64>)> {
        let sector = u64::from(self.sector_bytes);
        let length = u64::try_from(length).map_err(io::Error::other)?;
        let end = offset.checked_add(length).ok_or_else(broken)?;
        if !offset.is_multiple_of(sector) || !length.is_multiple_of(sector) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if end > self.size_bytes() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok((usize::try_from(offset).map_err(io::Error::other)?, offset / sector..end / sector))
    }

    fn place(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        let (at, sectors) = self.range(offset, buffer.len())?;
        let mut state = self.state();
        state.writes += 1;
        if self.faults.gone_from_write.is_some_and(|write| state.writes >= write) {
            return Err(gone());
        }
        if self.faults.unwritable.range(sectors.clone()).next().is_some() {
            return Err(broken());
        }
        let torn = self.faults.torn_write.filter(|(write, _)| *write == state.writes);
        let sector_length = usize::try_from(self.sector_bytes).map_err(io::Error::other)?;
        let half = buffer.len() / 2 / sector_length * sector_length;
        let kept = if torn.is_some() { half } else { buffer.len() };
        let mut bytes = buffer[..kept].to_vec();
        for (number, sector) in sectors.zip(bytes.chunks_mut(sector_length)) {
            if self.faults.flipping.contains(&number) {
                sector[7] ^= 0x10;
            }
            if self.faults.forgetful.contains(&number) {
                let at = usize::try_from(number).map_err(io::Error::other)? * sector_length;
                sector.copy_from_slice(&state.bytes[at..at + sector_length]);
            }
        }
        state.bytes[at..at + bytes.len()].copy_from_slice(&bytes);
        if let Some(log) = &mut state.log {
            log.push(Done::Write { offset: at, bytes });
        }
        if matches!(torn, Some((_, Torn::Failed))) { Err(broken()) } else { Ok(()) }
    }
}

impl Medium for Memory {
    fn size_bytes(&self) -> u64 {
        u64::try_from(self.state().bytes.len()).expect("a length fits 64 bits")
    }

    fn sector_bytes(&self) -> u32 {
        self.sector_bytes
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        assert_eq!(buffer.as_ptr().align_offset(4096), 0, "direct reads need aligned buffers");
        let (at, sectors) = self.range(offset, buffer.len())?;
        let state = self.state();
        if self.faults.gone_from_write.is_some_and(|write| state.writes >= write) {
            return Err(gone());
        }
        if self.faults.unreadable.range(sectors).next().is_some() {
            return Err(broken());
        }
        buffer.copy_from_slice(&state.bytes[at..at + buffer.len()]);
        self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        assert_eq!(buffer.as_ptr().align_offset(4096), 0, "direct writes need aligned buffers");
        self.place(offset, buffer)?;
        self.written.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<Zeroing> {
        let before = {
            let mut state = self.state();
            state.zeroings += 1;
            state.zeroings - 1
        };
        let length_here = usize::try_from(length).map_err(io::Error::other)?;
        match self.faults.by_itself {
            ByItself::Refuses => Ok(Zeroing::Unsupported),
            ByItself::Lies => Ok(Zeroing::Done),
            ByItself::LiesAfter(requests) if before >= requests => Ok(Zeroing::Done),
            ByItself::Fails => Err(broken()),
            ByItself::Spoils => {
                self.place(offset, &vec![0xee; length_here])?;
                Ok(Zeroing::Done)
            }
            ByItself::Zeroes | ByItself::LiesAfter(_) => {
                self.place(offset, &vec![0; length_here])?;
                self.zeroed.fetch_add(length, Ordering::Relaxed);
                Ok(Zeroing::Done)
            }
        }
    }

    fn flush(&self) -> io::Result<()> {
        let mut state = self.state();
        state.flushes += 1;
        if self.faults.no_flush_from.is_some_and(|flush| state.flushes >= flush) {
            return Err(broken());
        }
        if self.faults.gone_from_write.is_some_and(|write| state.writes >= write) {
            return Err(gone());
        }
        if let Some(log) = &mut state.log {
            log.push(Done::Flush);
        }
        Ok(())
    }
}

/// A generator of numbers that are the same in every run (Marsaglia's xorshift).
#[derive(Debug, Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 16).expect("48 bits") % limit
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(length).collect()
    }
}

/// What a disk may hold after a power cut once `until` things were done: all that was flushed; of the rest each
/// sector or not, and where a sector was written several times, any of these.
pub(crate) fn after_cut(
    before: &[u8],
    log: &[Done],
    until: usize,
    sector_bytes: usize,
    chance: &mut Chance,
) -> Vec<u8> {
    let log = &log[..until];
    let durable = log.iter().rposition(|done| matches!(done, Done::Flush)).unwrap_or(0);
    let mut bytes = before.to_vec();
    for done in &log[..durable] {
        if let Done::Write { offset, bytes: written } = done {
            bytes[*offset..offset + written.len()].copy_from_slice(written);
        }
    }
    let mut rest: Vec<_> = log[durable..].iter().collect();
    for index in (1..rest.len()).rev() {
        rest.swap(index, chance.below(index + 1));
    }
    // Now and then nearly everything is lost, or nearly nothing.
    let kept = [1, 4, 8, 15][chance.below(4)];
    for done in rest {
        let Done::Write { offset, bytes: written } = done else { continue };
        for (index, sector) in written.chunks(sector_bytes).enumerate() {
            if chance.below(16) < kept {
                let at = offset + index * sector_bytes;
                bytes[at..at + sector.len()].copy_from_slice(sector);
            }
        }
    }
    bytes
}

#[test]
fn a_disk_zeroes_by_itself_or_does_not_as_told() {
    for (by_itself, said, first) in [
        (ByItself::Zeroes, Zeroing::Done, 0),
        (ByItself::Refuses, Zeroing::Unsupported, 0xff),
        (ByItself::Lies, Zeroing::Done, 0xff),
        (ByItself::LiesAfter(0), Zeroing::Done, 0xff),
        (ByItself::LiesAfter(1), Zeroing::Done, 0),
        (ByItself::Spoils, Zeroing::Done, 0xee),
    ] {
        let faults = Faults { by_itself, ..Faults::default() };
        let disk = Memory::with_faults(vec![0xff; 8192], 512, faults);
        assert_eq!(disk.zero(0, 4096).unwrap(), said);
        assert_eq!(disk.bytes()[0], first);
    }
}
