//! Installs that are ended from outside.

use std::{
    fmt,
    io::{self, Read},
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use disk::{Medium, Zeroing};
use install::{
    Failure, FetchError, Foreign, Options, Source, Stop, Stopped, install, install_foreign,
};

use crate::{
    faults::{DISK, assert_disarmed, image},
    medium::Memory,
    order::{CHUNK, assert_holds, options, put},
    source::{Fault, Server, wide},
};

/// Somebody cancels when so many bytes were served.
#[derive(Debug)]
struct Cancelling<'a> {
    server: Server,
    after_bytes: u64,
    flag: &'a AtomicBool,
}

impl Source for Cancelling<'_> {
    fn fetch(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>, FetchError> {
        let limit = range.start + u64::from(CHUNK);
        if self.server.served() >= self.after_bytes {
            self.flag.store(true, Ordering::Relaxed);
        }
        // A little at a time, so that it is asked often.
        self.server.fetch(range.start..range.end.min(limit))
    }
}

fn stopped(stop: Stop<'_>) -> Options<'_> {
    Options { stop, ..options() }
}

fn by(flag: &AtomicBool) -> Stop<'_> {
    Stop { cancelled: Some(flag), deadline: None }
}

#[test]
fn who_cancels_is_heard_at_once_and_what_was_written_is_of_use() {
    let image = image();
    let whole = wide(image.frames.len());
    for part in [0, 3, 6] {
        let flag = AtomicBool::new(false);
        let server = image.source();
        let source = Cancelling { server, after_bytes: whole * part / 10, flag: &flag };
        let medium = Memory::new(vec![0xff; DISK], 512);
        let failure = put(&medium, &image, &[&source], &stopped(by(&flag))).unwrap_err();
        assert!(matches!(failure, Failure::Stopped(Stopped::Cancelled)), "{failure:?}");
        assert_disarmed(&medium);
        let again = image.source();
        put(&medium, &image, &[&again], &options()).unwrap();
        assert_holds(&medium, &image, &vec![0xff; DISK]);
    }
}

#[test]
fn what_was_cancelled_or_is_too_late_before_it_began_touches_nothing() {
    let image = image();
    let flag = AtomicBool::new(true);
    let late = Stop { cancelled: None, deadline: Some(Instant::now()) };
    for (stop, expected) in [(by(&flag), Stopped::Cancelled), (late, Stopped::DeadlineOver)] {
        let medium = Memory::new(vec![0xff; DISK], 512);
        let failure = put(&medium, &image, &[&image.source()], &stopped(stop)).unwrap_err();
        assert!(matches!(failure, Failure::Stopped(found) if found == expected), "{failure:?}");
        assert!(medium.bytes().iter().all(|byte| *byte == 0xff));
    }
}

#[test]
fn a_deadline_ends_what_a_slow_source_would_draw_out() {
    let image = image();
    let begun = Instant::now();
    let stop = Stop { cancelled: None, deadline: Some(begun + Duration::from_millis(300)) };
    let slow = image.faulty(Fault::Slow { pause: Duration::from_millis(1) });
    let medium = Memory::new(vec![0xff; DISK], 512);
    let failure = put(&medium, &image, &[&slow], &stopped(stop)).unwrap_err();
    assert!(matches!(failure, Failure::Stopped(Stopped::DeadlineOver)), "{failure:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_disarmed(&medium);
}

#[test]
fn a_pause_between_attempts_does_not_hold_up_who_cancels() {
    let image = image();
    let begun = Instant::now();
    let stop = Stop { cancelled: None, deadline: Some(begun + Duration::from_millis(300)) };
    let mut options = stopped(stop);
    options.patience.first_pause = Duration::from_mins(10);
    options.patience.longest_pause = Duration::from_mins(10);
    let down = image.faulty(Fault::Down { requests: 1000 });
    let medium = Memory::new(vec![0xff; DISK], 512);
    let failure = put(&medium, &image, &[&down], &options).unwrap_err();
    assert!(matches!(failure, Failure::Stopped(Stopped::DeadlineOver)), "{failure:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_disarmed(&medium);
}

#[test]
fn a_foreign_image_can_be_cancelled_too() {
    let image = image();
    let file = &image.bytes;
    let begun = Instant::now();
    let stop = Stop { cancelled: None, deadline: Some(begun + Duration::from_millis(300)) };
    let slow = Server::new(file.clone().into(), Fault::Slow { pause: Duration::from_millis(1) });
    let medium = Memory::new(vec![0xff; DISK], 512);
    let foreign = Foreign { file_bytes: Some(wide(file.len())), sha256: None };
    let failure =
        install_foreign(&medium, &foreign, &[&slow], &stopped(stop), &|_| {}).unwrap_err();
    assert!(matches!(failure, Failure::Stopped(Stopped::DeadlineOver)), "{failure:?}");
    assert!(medium.bytes()[..512].iter().all(|byte| [0, 0xff].contains(byte)));
}

/// A disk on which something happens, once: with this flush.
struct Eventful<E> {
    memory: Memory,
    flushes: AtomicU64,
    at: u64,
    event: E,
}

impl<E> Eventful<E> {
    fn new(at: u64, event: E) -> Self {
        let memory = Memory::new(vec![0xff; DISK], 512);
        Self { memory, flushes: AtomicU64::new(0), at, event }
    }
}

impl<E> fmt::Debug for Eventful<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.memory.fmt(formatter)
    }
}

impl<E: Fn() + Send + Sync> Medium for Eventful<E> {
    fn size_bytes(&self) -> u64 {
        self.memory.size_bytes()
    }

    fn sector_bytes(&self) -> u32 {
        self.memory.sector_bytes()
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, buffer)
    }

    fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        self.memory.write(offset, buffer)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<Zeroing> {
        self.memory.zero(offset, length)
    }

    fn flush(&self) -> io::Result<()> {
        self.memory.flush()?;
        if self.flushes.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            (self.event)();
        }
        Ok(())
    }
}

#[test]
fn a_panic_when_the_image_is_nearly_or_just_bootable_leaves_a_disk_that_does_not_boot() {
    let image = image();
    for at in 2..=6 {
        let medium = Eventful::new(at, || panic!("a curse"));
        let source = image.source();
        let result = install(&medium, &image.plan, &[&source], &options(), &|_| {});
        let failure = result.unwrap_err().to_string();
        assert!(failure.contains("a curse"), "{at}: {failure}");
        assert_disarmed(&medium.memory);
    }
}

#[test]
fn who_panics_when_told_how_far_it_is_ends_no_install() {
    let image = image();
    let medium = Memory::new(vec![0xff; DISK], 512);
    let deaf = |_: &protocol::install::Progress| panic!("on purpose");
    install(&medium, &image.plan, &[&image.source()], &options(), &deaf).unwrap();
    assert_holds(&medium, &image, &vec![0xff; DISK]);
}

#[test]
fn who_cancels_when_the_image_is_there_but_not_read_back_gets_a_disk_that_does_not_boot() {
    let image = image();
    // The last of them is that of the first sector.
    for at in 1..=6 {
        let flag = AtomicBool::new(false);
        let medium = Eventful::new(at, || flag.store(true, Ordering::Relaxed));
        let source = image.source();
        let result = install(&medium, &image.plan, &[&source], &stopped(by(&flag)), &|_| {});
        let failure = result.unwrap_err();
        assert!(matches!(failure, Failure::Stopped(Stopped::Cancelled)), "{at}: {failure:?}");
        assert_disarmed(&medium.memory);
    }
}
