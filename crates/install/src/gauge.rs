//! How far an install is, how fast, and what it waits for.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use protocol::{
    Bytes, OrderId,
    install::{Bottleneck, InstallPhase, Progress},
};

/// The rate is that of this time.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// Counts what was done. Every stage adds to it.
#[derive(Debug)]
pub(crate) struct Gauge {
    order: OrderId,
    begun: Instant,
    image_bytes: u64,
    pub(crate) fetched: Count,
    pub(crate) unpacked: Count,
    pub(crate) written: Count,
    pub(crate) zeroed: Count,
    pub(crate) unchanged: Count,
    pub(crate) verified: Count,
    phase: Mutex<(InstallPhase, u64)>,
    bottleneck: Mutex<Option<Bottleneck>>,
    /// When how many bytes of the phase were done.
    past: Mutex<VecDeque<(Instant, u64)>>,
}

/// A number of bytes that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, bytes: usize) {
        self.add_wide(u64::try_from(bytes).expect("a length fits 64 bits"));
    }

    pub(crate) fn add_wide(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gauge {
    /// Begins. A length of 0 is not known: what is fetched then tells how far it is.
    pub(crate) fn new(order: OrderId, image_bytes: u64) -> Self {
        Self {
            order,
            begun: Instant::now(),
            image_bytes,
            fetched: Count::default(),
            unpacked: Count::default(),
            written: Count::default(),
            zeroed: Count::default(),
            unchanged: Count::default(),
            verified: Count::default(),
            phase: Mutex::new((InstallPhase::Checking, 0)),
            bottleneck: Mutex::new(None),
            past: Mutex::new(VecDeque::new()),
        }
    }

    /// Enters a phase in which so many bytes will be done; 0 when nobody can tell.
    pub(crate) fn enter(&self, phase: InstallPhase, bytes: u64) {
        *lock(&self.phase) = (phase, bytes);
        *lock(&self.bottleneck) = None;
        lock(&self.past).clear();
    }

    /// Says what everything else waits for.
    pub(crate) fn set_bottleneck(&self, bottleneck: Option<Bottleneck>) {
        *lock(&self.bottleneck) = bottleneck;
    }

    fn on_disk(&self) -> u64 {
        self.written.get() + self.zeroed.get() + self.unchanged.get()
    }

    /// Returns how far it is.
    pub(crate) fn progress(&self, now: Instant) -> Progress {
        let (phase, total) = *lock(&self.phase);
        let done = match phase {
            InstallPhase::Writing if self.image_bytes == 0 => self.fetched.get(),
            InstallPhase::Writing => self.on_disk(),
            InstallPhase::Verifying => self.verified.get(),
            _ => 0,
        };
        let elapsed = now.duration_since(self.begun).as_millis();
        let rate = self.rate(now, done);
        Progress {
            order: self.order,
            phase,
            image_bytes: (self.image_bytes > 0).then_some(Bytes(self.image_bytes)),
            fetched_bytes: Bytes(self.fetched.get()),
            unpacked_bytes: Bytes(self.unpacked.get()),
            written_bytes: Bytes(self.written.get()),
            zeroed_bytes: Bytes(self.zeroed.get()),
            unchanged_bytes: Bytes(self.unchanged.get()),
            verified_bytes: Bytes(self.verified.get()),
            elapsed_milliseconds: u64::try_from(elapsed).unwrap_or(u64::MAX),
            bytes_per_second: rate.and_then(|rate| rate.bytes(1000)).map(Bytes),
            remaining_seconds: rate.and_then(|rate| rate.seconds(total.checked_sub(done)?)),
            bottleneck: *lock(&self.bottleneck),
        }
    }

    /// Returns what was done in the last seconds; nothing while nothing was.
    fn rate(&self, now: Instant, done: u64) -> Option<Rate> {
        let mut past = lock(&self.past);
        past.push_back((now, done));
        while past.len() > 2 && now.duration_since(past[1].0) >= RATE_WINDOW {
            past.pop_front();
        }
        let (since, before) = past.front().copied()?;
        let milliseconds = u64::try_from(now.duration_since(since).as_millis()).ok()?;
        let moved = done.checked_sub(before).filter(|moved| *moved > 0)?;
        Some(Rate { moved, milliseconds })
    }
}

/// So many bytes in so many milliseconds.
#[derive(Debug, Clone, Copy)]
struct Rate {
    moved: u64,
    milliseconds: u64,
}

impl Rate {
    /// Returns how many bytes that are in a time.
    fn bytes(self, milliseconds: u64) -> Option<u64> {
        let bytes = u128::from(self.moved) * u128::from(milliseconds);
        u64::try_from(bytes.checked_div(u128::from(self.milliseconds))?).ok()
    }

    /// Returns how long so many bytes take.
    fn seconds(self, bytes: u64) -> Option<u64> {
        let milliseconds =
            u128::from(bytes) * u128::from(self.milliseconds) / u128::from(self.moved);
        u64::try_from(milliseconds / 1000).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_remains_is_told_from_the_last_seconds() {
        let gauge = Gauge::new(OrderId([0; 16]), 1000);
        gauge.enter(InstallPhase::Writing, 1000);
        let start = Instant::now();
        let after = |seconds: u64| {
            let told = gauge.progress(start + Duration::from_secs(seconds));
            (told.bytes_per_second, told.remaining_seconds)
        };
        assert_eq!(after(0), (None, None));
        gauge.written.add(10);
        assert_eq!(after(10), (Some(Bytes(1)), Some(990)));
        gauge.written.add(90);
        // Ten times as fast, and the slow start is forgotten.
        assert_eq!(after(20), (Some(Bytes(9)), Some(100)));
        assert_eq!(after(40), (None, None), "nothing has moved for a while");
    }
}
