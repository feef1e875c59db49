//! What an install tells while it goes on.

use std::{
    io::{self, Read},
    ops::Range,
    sync::Mutex,
    thread,
    time::Duration,
};

use disk::{Medium, Zeroing};
use install::{FetchError, Source, install};
use protocol::install::{Bottleneck, InstallPhase, Progress};

use crate::{
    medium::Memory,
    order::{MIB, options},
    source::{Image, Server, wide},
};

/// A source that takes a while for everything it sends, or a disk that does for everything it writes.
#[derive(Debug)]
struct Slow<T> {
    inner: T,
    pause: Duration,
}

impl Source for Slow<Server> {
    fn fetch(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>, FetchError> {
        let inner = self.inner.fetch(range)?;
        Ok(Box::new(SlowBody { inner, pause: self.pause }))
    }
}

struct SlowBody {
    inner: Box<dyn Read + Send>,
    pause: Duration,
}

impl Read for SlowBody {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        thread::park_timeout(self.pause);
        self.inner.read(into)
    }
}

impl Medium for Slow<Memory> {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn sector_bytes(&self) -> u32 {
        self.inner.sector_bytes()
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, buffer)
    }

    fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        thread::park_timeout(self.pause);
        self.inner.write(offset, buffer)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<Zeroing> {
        self.inner.zero(offset, length)
    }

    fn flush(&self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// What was told of the writing of an image, whose counts only grow and end where they should.
fn told(image: &Image, medium: &dyn Medium, source: &dyn Source) -> Vec<Progress> {
    let all = Mutex::new(Vec::new());
    let tell = |progress: &Progress| all.lock().expect("nobody panicked").push(progress.clone());
    let report = install(medium, &image.plan, &[source], &options(), &tell).expect("it succeeds");
    let all = all.into_inner().expect("nobody panicked");
    let done = |progress: &Progress| {
        (progress.fetched_bytes, progress.unpacked_bytes, progress.written_bytes)
    };
    for pair in all.windows(2) {
        let (before, after) = (done(&pair[0]), done(&pair[1]));
        assert!(before.0 <= after.0 && before.1 <= after.1 && before.2 <= after.2, "{pair:?}");
        assert!(pair[0].elapsed_milliseconds <= pair[1].elapsed_milliseconds);
    }
    assert_eq!(all.last(), Some(&report.progress), "the last word is that of the report");
    let end = &report.progress;
    assert!(end.fetched_bytes.0 >= wide(image.frames.len()) * 9 / 10, "{end:?}");
    assert_eq!(end.written_bytes.0 + end.zeroed_bytes.0, wide(image.bytes.len()));
    assert!(end.verified_bytes.0 > 0);
    all.into_iter().filter(|progress| progress.phase == InstallPhase::Writing).collect()
}

fn image() -> Image {
    Image::by_chance(8 * MIB, 16 << 10, 401)
}

fn assert_waits_for(told: &[Progress], expected: Bottleneck) {
    let named: Vec<_> = told.iter().filter_map(|progress| progress.bottleneck).collect();
    assert!(named.len() >= 2, "{told:?}");
    let right = named.iter().filter(|found| **found == expected).count();
    assert!(right * 2 > named.len(), "{named:?}");
    let remaining = told.iter().filter_map(|progress| progress.remaining_seconds);
    assert!(remaining.clone().count() > 0, "{told:?}");
    assert!(remaining.max() < Some(600), "{told:?}");
}

#[test]
fn a_slow_source_is_named_as_what_all_wait_for() {
    let image = image();
    let source = Slow { inner: image.source(), pause: Duration::from_millis(40) };
    let medium = Memory::new(vec![0xff; 16 * MIB], 512);
    assert_waits_for(&told(&image, &medium, &source), Bottleneck::Network);
}

#[test]
fn a_slow_disk_is_named_as_what_all_wait_for() {
    let image = image();
    let inner = Memory::new(vec![0xff; 16 * MIB], 512);
    let medium = Slow { inner, pause: Duration::from_millis(30) };
    assert_waits_for(&told(&image, &medium, &image.source()), Bottleneck::Disk);
}
