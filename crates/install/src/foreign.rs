//! An image from somebody else's server: unpacked as it comes, believed only at its end.
//!
//! ```text
//!  sources ─► fetch, hash ─► pieces ─► unpack ─► chunks ─► store ×3 ─► medium
//! ```
//!
//! The order is that of any image: both ends of the disk are zeros before the rest is written, and what makes the
//! disk bootable is written last, once the stream has ended as its format says and its digest is right. Nothing can
//! be checked earlier, and nothing is recognised on the disk: after a failure all of it is fetched again.

mod fetch;
mod unpack;

use std::{
    fmt::Write as _,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use disk::Medium;
use image::bmap::Bmap;
use protocol::install::{Guarantee, InstallReport};
use sha2::{Digest as _, Sha256};

use crate::{
    Source,
    chance::Chance,
    crew::Crew,
    failure::{Failure, Unfit},
    gauge::Gauge,
    mirror::Mirrors,
    options::Options,
    pipeline::{self, Flushing, GAUGE_PERIOD, Store, WRITERS, ZeroWork},
    plan::fits,
    queue::Queue,
    write::{Listener, complete, told},
};

/// What is written at once, and remembered by its digest for reading back.
const CHUNK_BYTES: u32 = 2 << 20;
/// All unpacked chunks that are in memory at once; the stream's own window may take [`image::WINDOW_LIMIT`].
const CHUNKS_BYTES: usize = 12 << 20;
/// What is handed from the network to the decoder at once.
const PIECE_BYTES: usize = 256 << 10;
const PIECES: usize = 12;

/// A file on somebody else's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// Its length, as the server announces it; absent where nobody knows, as of a pipe: it ends where its source ends.
    pub file_bytes: Option<u64>,
    /// SHA-256 of the file. Without it only the format is checked, and mirrors are not changed on the way; a bare image
    /// whose length nobody knows either is refused, since a cut one would look whole.
    pub sha256: Option<[u8; 32]>,
}

/// Puts a foreign image on a disk, from sources that all hold the same file.
///
/// After a failure the disk does not boot.
pub fn install_foreign(
    medium: &dyn Medium,
    foreign: &Foreign,
    sources: &[&dyn Source],
    options: &Options<'_>,
    progress: &Listener<'_>,
) -> Result<InstallReport, Failure> {
    install_any(medium, foreign, None, sources, options, progress)
}

/// The same for an image with a map, which vouches for its parts. What the map leaves out is written as zeros.
pub fn install_mapped(
    medium: &dyn Medium,
    foreign: &Foreign,
    map: &Bmap,
    sources: &[&dyn Source],
    options: &Options<'_>,
    progress: &Listener<'_>,
) -> Result<InstallReport, Failure> {
    install_any(medium, foreign, Some(map), sources, options, progress)
}

fn install_any(
    medium: &dyn Medium,
    foreign: &Foreign,
    map: Option<&Bmap>,
    sources: &[&dyn Source],
    options: &Options<'_>,
    progress: &Listener<'_>,
) -> Result<InstallReport, Failure> {
    let sector = medium.sector_bytes();
    if !(512..=65_536).contains(&sector) || !sector.is_power_of_two() {
        let reason = "the disk has sectors of no usual size".to_owned();
        return Err(Unfit::Plan { reason }.into());
    }
    let gauge = Gauge::new(options.order, 0);
    let mirrors = Mirrors::new(sources, options);
    let work = Work { medium, foreign, map, mirrors: &mirrors, options, gauge: &gauge };
    told(&gauge, progress, || in_order(&work))
}

/// What every stage needs.
#[derive(Debug)]
struct Work<'a> {
    medium: &'a dyn Medium,
    foreign: &'a Foreign,
    map: Option<&'a Bmap>,
    mirrors: &'a Mirrors<'a>,
    options: &'a Options<'a>,
    gauge: &'a Gauge,
}

fn in_order(work: &Work<'_>) -> Result<InstallReport, Failure> {
    let Work { medium, foreign, options, gauge, .. } = *work;
    let (arrived, digest) = stream(work)?;
    let end = arrived.plan.image_bytes;
    if foreign.sha256.is_some_and(|expected| expected != digest) {
        let mut reason = "the file's SHA-256 is ".to_owned();
        for byte in digest {
            // Writing to a text does not fail.
            write!(reason, "{byte:02x}").unwrap_or_default();
        }
        return Err(Failure::BadStream { offset: end, reason });
    }
    if end < arrived.table_bytes {
        let reason =
            format!("its partition table is that of an image of {} bytes", arrived.table_bytes);
        return Err(Failure::BadStream { offset: end, reason });
    }
    let guarantee = match foreign.sha256 {
        Some(_) => Guarantee::Digest,
        None if work.map.is_some() => Guarantee::Ranges,
        None if arrived.is_compressed => Guarantee::Format,
        None => Guarantee::Length,
    };
    fits(end, None, medium)?;
    let mut chance = Chance(options.seed);
    let plan = &arrived.plan;
    let read_back = complete(medium, plan, arrived.withheld, options, gauge, &mut chance)?;
    let progress = gauge.progress(Instant::now());
    Ok(InstallReport { guarantee, progress, read_back, steps: Vec::new() })
}

/// Writes everything but what makes the disk bootable; returns that, and the digest of what was fetched.
fn stream(work: &Work<'_>) -> Result<(unpack::Arrived, [u8; 32]), Failure> {
    let Work { medium, foreign, gauge, .. } = *work;
    let crew = Crew::new(2 + WRITERS, work.options.stop);
    let empty_pieces = Queue::store((0..PIECES).map(|_| fetch::Piece::new(PIECE_BYTES)));
    let pieces = Queue::new(PIECES, 1);
    let chunk_bytes = usize::try_from(CHUNK_BYTES).expect("a chunk fits in memory");
    let empty_chunks = pipeline::chunk_buffers(CHUNKS_BYTES, chunk_bytes);
    let chunks = Queue::new(64, 1);
    let store = Store {
        medium,
        gauge,
        chunks: &chunks,
        empty: &empty_chunks,
        zeros: ZeroWork::new(medium, gauge, Vec::new()),
        flushing: Flushing::new(foreign.file_bytes.unwrap_or(0)),
    };
    let hash = Mutex::new(Sha256::new());
    let arrived = Mutex::new(None);
    let fetch = fetch::Fetch { work, crew: &crew, empty: &empty_pieces, out: &pieces, hash: &hash };
    let unpack = unpack::Unpack { work, empty: &empty_chunks, out: &chunks };
    let input = || fetch::Pieces::new(&pieces, &empty_pieces);

    let (mut waits, mut last) = ([Duration::ZERO; 2], Instant::now());
    thread::scope(|scope| {
        scope.spawn(|| crew.work(|| fetch.run()));
        scope.spawn(|| {
            crew.work(|| {
                *lock(&arrived) = Some(unpack.run(input())?);
                Ok(())
            });
        });
        for _ in 0..WRITERS {
            scope.spawn(|| crew.work(|| store.run()));
        }
        let tell = || {
            let now = [empty_pieces.waited(), empty_chunks.waited()];
            let told = pipeline::bottleneck(waits, now, last.elapsed(), [1, 1]);
            gauge.set_bottleneck(Some(told));
            (waits, last) = (now, Instant::now());
        };
        let abort = || {
            empty_pieces.abort();
            pieces.abort();
            empty_chunks.abort();
            chunks.abort();
        };
        crew.supervise(GAUGE_PERIOD, tell, abort);
    });
    crew.result()?;
    let arrived = lock(&arrived).take();
    let arrived = arrived.ok_or(Failure::Engine { reason: "nothing arrived".to_owned() })?;
    let digest = lock(&hash).clone().finalize().into();
    Ok((arrived, digest))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
