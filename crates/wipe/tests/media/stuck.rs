//! A disk that answers flushes, and one transfer not for long.

use std::{
    io,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use disk::{Medium, Zeroing};
use protocol::wipe::WipeStepKind;
use wipe::{
    Stopped, Watch,
    pass::{Gear, Pattern, write},
};

use crate::pass::pass;

/// So often it is looked how far the pass is while the transfer does not come back.
const LOOKS: u32 = 6;

/// It watches over itself: each look at the clock is time for a watermark.
#[derive(Debug, Default)]
struct Stuck {
    looks: Mutex<u32>,
    looked: Condvar,
    flushes: AtomicU32,
    seconds: AtomicU32,
    notes: Mutex<Vec<WipeStepKind>>,
}

impl Medium for Stuck {
    fn size_bytes(&self) -> u64 {
        64 << 10
    }

    fn sector_bytes(&self) -> u32 {
        512
    }

    fn read(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, _: &[u8]) -> io::Result<()> {
        if offset > 0 {
            let limit = Duration::from_secs(30);
            let looks = self.looks.lock().expect("nobody panics while it looks");
            let looked = self.looked.wait_timeout_while(looks, limit, |looks| *looks < LOOKS);
            drop(looked.expect("nobody panics while it looks"));
        }
        Ok(())
    }

    fn zero(&self, _: u64, _: u64) -> io::Result<Zeroing> {
        Ok(Zeroing::Unsupported)
    }

    fn flush(&self) -> io::Result<()> {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Watch for Stuck {
    fn check(&self) -> Result<(), Stopped> {
        Ok(())
    }

    fn wait(&self, _: Duration) -> Result<(), Stopped> {
        Ok(())
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(u64::from(self.seconds.fetch_add(11, Ordering::Relaxed)))
    }

    fn journal(&self, step: WipeStepKind) -> Result<(), Stopped> {
        self.note(step);
        Ok(())
    }

    fn note(&self, step: WipeStepKind) {
        self.notes.lock().expect("a push does not panic").push(step);
    }

    fn progress(&self, _: u64, _: u64, _: u32) {
        *self.looks.lock().expect("nobody panics while it looks") += 1;
        self.looked.notify_all();
    }
}

/// Each flush that is answered counts as a word of the disk: one that takes no transfer would never be given up.
#[test]
fn a_disk_that_takes_no_transfer_is_not_flushed_again_and_again() {
    let disk = Stuck::default();
    let gear = Gear { transfer_bytes: 32 << 10, in_flight: 1 };
    let outcome = write(&disk, &pass(Pattern::Zeros, gear), &disk);
    assert!(outcome.is_whole(), "{outcome:?}");
    assert!(*disk.looks.lock().unwrap() >= LOOKS, "it was never stuck");
    let notes = disk.notes.lock().unwrap();
    let marks = notes.iter().map(|note| match note {
        WipeStepKind::Watermark { bytes, .. } => bytes.0,
        other => panic!("{other:?}"),
    });
    let marks: Vec<u64> = marks.collect();
    assert!(marks.is_sorted_by(|before, after| before < after), "told again: {marks:?}");
    let flushes = usize::try_from(disk.flushes.load(Ordering::Relaxed)).unwrap();
    assert_eq!(flushes, marks.len() + 1, "one for each watermark, and the last one");
}
