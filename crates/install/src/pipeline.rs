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

/// All frames and all unpacked chunks that are in memory at once.
const BUFFERS: [usize; 2] = [16 << 20, 20 << 20];
/// The same for an image whose table is large.
const FEWER_BUFFERS: [usize; 2] = [8 << 20, 12 << 20];
/// A table from which on there are fewer buffers.
const LARGE_TABLE_BYTES: usize = 10 << 20;
/// All buffers and the table together. The rest of 64 MiB is the program, what is withheld, and the decoders.
const MEMORY_BYTES: usize = 48 << 20;
/// The most buffers of one kind.
const MOST_BUFFERS: usize = 32;
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

/// Returns how much memory the frames and the unpacked chunks of an image may take.
fn budget(plan: &Plan) -> [usize; 2] {
    if table_bytes(plan) > LARGE_TABLE_BYTES { FEWER_BUFFERS } else { BUFFERS }
}

/// Returns what the table takes, and the lists of what is to be written.
fn table_bytes(plan: &Plan) -> usize {
    plan.chunks.memory_bytes() + plan.chunks.len() * size_of::<usize>()
}

/// Holds for an image whose table leaves room for the buffers in the memory that an install may take.
pub(crate) fn has_room(plan: &Plan) -> bool {
    let chunk = usize::try_from(plan.chunk_bytes).unwrap_or(usize::MAX);
    let sizes = [plan.longest_frame(), chunk];
    let all = budget(plan)
        .into_iter()
        .zip(sizes)
        .map(|(memory, size)| buffers(memory, size, MOST_BUFFERS).saturating_mul(size));
    all.fold(table_bytes(plan), usize::saturating_add) <= MEMORY_BYTES
}

/// Returns how many buffers of a size make up an amount of memory.
fn buffers(memory: usize, size: usize, most: usize) -> usize {
    (memory / size.max(1)).clamp(2, most)
}

/// Returns as many buffers for chunks as an amount of memory allows.
pub(crate) fn chunk_buffers(memory: usize, chunk_bytes: usize) -> Queue<AlignedBuffer> {
    let count = buffers(memory, chunk_bytes, MOST_BUFFERS);
    Queue::store((0..count).map(|_| AlignedBuffer::zeroed(chunk_bytes)))
}

/// Puts chunks on the medium: those of `missing` from their frames, those of `zeros` as zeros. Both are sorted.
pub(crate) fn run(work: &Work<'_>, missing: &[usize], zeros: &[usize]) -> Result<(), Failure> {
    let chunk_bytes = usize::try_from(work.plan.chunk_bytes).expect("a chunk fits in memory");
    let frame_bytes = work.plan.longest_frame();
    let [for_frames, for_chunks] = budget(work.plan);
    let frame_count = buffers(for_frames, frame_bytes, MOST_BUFFERS);
    let fetchers = FETCHERS.min(frame_count);
    let unpackers = work.options.processors.get().min(8);

    let crew = Crew::new(fetchers + unpackers + WRITERS, work.options.stop);
    let requests = fetch::Requests::new(work.plan, missing);
    let empty_frames = Queue::store((0..frame_count).map(|_| Frame::new(frame_bytes)));
    let frames = Queue::new(frame_count, fetchers);
    let empty_chunks = chunk_buffers(for_chunks, chunk_bytes);
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

    /// An image that holds something in so many chunks, and zeros in as many others.
    fn plan(chunk_bytes: u32, data: usize, zeros: usize) -> Plan {
        let mut chunks = crate::Table::default();
        for _ in 0..data {
            chunks.push(&image::Chunk::Data { digest: [7; 32] }, chunk_bytes + (64 << 10));
        }
        for _ in 0..zeros {
            chunks.push(&image::Chunk::Zeros, 150);
        }
        let count = u64::try_from(chunks.len()).unwrap();
        Plan {
            image_bytes: count * u64::from(chunk_bytes),
            chunk_bytes,
            smallest_disk_bytes: 0,
            sector_bytes: None,
            chunks,
        }
    }

    #[test]
    fn table_and_buffers_take_at_most_48_mib_of_what_is_not_refused() {
        let (small, large) = (4 << 20, 8 << 20);
        let (tebibyte, all) = (1 << 17, (19 << 20) / 37);
        for fits in [
            plan(small, 2 * tebibyte, 0),
            // As many as a manifest has.
            plan(small, all, 0),
            plan(large, 2 * tebibyte, all - 2 * tebibyte),
            plan(large, 370_000, 0),
        ] {
            assert!(has_room(&fits), "{} chunks of {}", fits.chunks.len(), fits.chunk_bytes);
        }
        assert!(!has_room(&plan(large, 3 * tebibyte, 0)), "3 TiB");
        assert!(!has_room(&plan(large, all, 0)));
    }

    /// The rest of the 64 MiB is for the program, its manifest, what is withheld, and the decoders.
    #[test]
    fn buffers_take_at_most_36_mib_whatever_the_image() {
        for chunk in [512, 64 << 10, 1 << 20, 4 << 20, 8 << 20] {
            // The longest that a plan allows.
            let frame = chunk + (64 << 10);
            let frames = buffers(BUFFERS[0], frame, MOST_BUFFERS) * frame;
            let empty_chunks = chunk_buffers(BUFFERS[1], chunk);
            let mut chunks = 0;
            while let Ok(crate::queue::Popped::Thing(buffer)) = empty_chunks.try_pop() {
                chunks += buffer.len();
            }
            assert!(frames + chunks <= (36 << 20) + (128 << 10), "{chunk}: {frames} + {chunks}");
            assert!(chunks >= 2 * chunk, "one is filled while another is written");
        }
    }
}
