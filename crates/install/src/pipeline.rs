//! The way of the chunks: fetched, unpacked and checked, written; a queue between each two, and buffers that go round.
//!
//! ```text
//!  sources ─► fetch ×4 ─► frames ─► unpack ×processors ─► chunks ─► store ×3 ─► medium
//!               ▲                     │        ▲                      │
//!               └──── empty frames ◄──┘        └──── empty chunks ◄───┘
//! ```
//!
//! All memory is in the buffers that go round, and their number is fixed before the first byte is fetched.

mod fetch;
mod store;
mod unpack;
mod zeros;

use std::{
    thread,
    time::{Duration, Instant},
};

use disk::{AlignedBuffer, Medium};
use protocol::install::Bottleneck;

pub(crate) use self::{
    fetch::Frame,
    store::{Flushing, Full, Store},
    unpack::one,
    zeros::{ZeroWork, runs},
};
use crate::{
    crew::Crew, failure::Failure, gauge::Gauge, mirror::Mirrors, options::Options, plan::Plan,
    queue::Queue,
};

/// All frames that are in memory at once.
const FRAMES_BYTES: usize = 16 << 20;
/// All unpacked chunks that are in memory at once.
const CHUNKS_BYTES: usize = 20 << 20;
const FETCHERS: usize = 4;
/// Writes in flight.
pub(crate) const WRITERS: usize = 3;
/// How often the gauge is told what everything waits for.
pub(crate) const GAUGE_PERIOD: Duration = Duration::from_millis(500);

/// What every stage needs.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    pub(crate) medium: &'a dyn Medium,
    pub(crate) plan: &'a Plan,
    pub(crate) mirrors: &'a Mirrors<'a>,
    pub(crate) options: &'a Options<'a>,
    pub(crate) gauge: &'a Gauge,
}

/// Returns how many buffers of a size make up an amount of memory.
fn buffers(memory: usize, size: usize, most: usize) -> usize {
    (memory / size.max(1)).clamp(2, most)
}

/// Returns as many buffers for chunks as an amount of memory allows.
pub(crate) fn chunk_buffers(memory: usize, chunk_bytes: usize) -> Queue<AlignedBuffer> {
    let count = buffers(memory, chunk_bytes, 32);
    Queue::store((0..count).map(|_| AlignedBuffer::zeroed(chunk_bytes)))
}

/// Puts chunks on the medium: those of `missing` from their frames, those of `zeros` as zeros. Both are sorted.
pub(crate) fn run(work: &Work<'_>, missing: &[usize], zeros: &[usize]) -> Result<(), Failure> {
    let chunk_bytes = usize::try_from(work.plan.chunk_bytes).expect("a chunk fits in memory");
    let frame_bytes = work.plan.longest_frame();
    let frame_count = buffers(FRAMES_BYTES, frame_bytes, 32);
    let fetchers = FETCHERS.min(frame_count);
    let unpackers = work.options.processors.get().min(8);

    let crew = Crew::new(fetchers + unpackers + WRITERS, work.options.stop);
    let requests = fetch::Requests::new(work.plan, missing);
    let empty_frames = Queue::store((0..frame_count).map(|_| Frame::new(frame_bytes)));
    let frames = Queue::new(frame_count, fetchers);
    let empty_chunks = chunk_buffers(CHUNKS_BYTES, chunk_bytes);
    let chunks = Queue::new(usize::MAX, unpackers);
    let fetch = fetch::Fetch { work, crew: &crew, requests, empty: &empty_frames, out: &frames };
    let unpack = unpack::Unpack {
        work,
        crew: &crew,
        frames: &frames,
        empty_frames: &empty_frames,
        empty_chunks: &empty_chunks,
        out: &chunks,
    };
    let store = Store {
        medium: work.medium,
        gauge: work.gauge,
        chunks: &chunks,
        empty: &empty_chunks,
        zeros: ZeroWork::new(work.medium, work.gauge, runs(work.plan, zeros, work.medium)),
        flushing: Flushing::new(work.plan.image_bytes),
    };

    let begun = Instant::now();
    let (mut waits, mut last) = ([Duration::ZERO; 2], begun);
    thread::scope(|scope| {
        for _ in 0..fetchers {
            scope.spawn(|| crew.work(|| fetch.run()));
        }
        for _ in 0..unpackers {
            scope.spawn(|| crew.work(|| unpack.run()));
        }
        for _ in 0..WRITERS {
            scope.spawn(|| crew.work(|| store.run()));
        }
        let tell = || {
            let now = [empty_frames.waited(), empty_chunks.waited()];
            let threads = [fetchers, unpackers];
            work.gauge.set_bottleneck(Some(bottleneck(waits, now, last.elapsed(), threads)));
            (waits, last) = (now, Instant::now());
        };
        let abort = || {
            empty_frames.abort();
            frames.abort();
            empty_chunks.abort();
            chunks.abort();
        };
        crew.supervise(GAUGE_PERIOD, tell, abort);
    });
    crew.result()
}

/// Says what was slowest, from how long fetchers waited for empty frames and unpackers for empty chunks: who never
/// waits for what comes after him is what all others wait for.
pub(crate) fn bottleneck(
    before: [Duration; 2],
    now: [Duration; 2],
    time: Duration,
    threads: [usize; 2],
) -> Bottleneck {
    let waited = |stage: usize| {
        let all = time * u32::try_from(threads[stage]).unwrap_or(u32::MAX);
        now[stage].saturating_sub(before[stage]) * 5 > all
    };
    match (waited(0), waited(1)) {
        (_, true) => Bottleneck::Disk,
        (true, false) => Bottleneck::Processor,
        (false, false) => Bottleneck::Network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_never_waits_for_what_comes_after_him_is_what_all_wait_for() {
        let check = |fetchers: u64, unpackers: u64, expected: Bottleneck| {
            let waited = [fetchers, unpackers].map(Duration::from_millis);
            let found = bottleneck([Duration::ZERO; 2], waited, Duration::from_secs(1), [4, 2]);
            assert_eq!(found, expected, "{fetchers} and {unpackers} ms");
        };
        check(0, 0, Bottleneck::Network);
        check(100, 100, Bottleneck::Network);
        check(3900, 0, Bottleneck::Processor);
        check(3900, 1900, Bottleneck::Disk);
        check(0, 1900, Bottleneck::Disk);
    }

    /// The rest of the 64 MiB is for the program, its manifest, what is withheld, and the decoders.
    #[test]
    fn buffers_take_at_most_36_mib_whatever_the_image() {
        for chunk in [512, 64 << 10, 1 << 20, 4 << 20, 8 << 20] {
            // The longest that a plan allows.
            let frame = chunk + (64 << 10);
            let frames = buffers(FRAMES_BYTES, frame, 32) * frame;
            let empty_chunks = chunk_buffers(CHUNKS_BYTES, chunk);
            let mut chunks = 0;
            while let Ok(crate::queue::Popped::Thing(buffer)) = empty_chunks.try_pop() {
                chunks += buffer.len();
            }
            assert!(frames + chunks <= (36 << 20) + (128 << 10), "{chunk}: {frames} + {chunks}");
            assert!(chunks >= 2 * chunk, "one is filled while another is written");
        }
    }
}
