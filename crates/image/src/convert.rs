//! Makes of a disk's bytes what the store keeps: a file of frames, and what the manifest says of them.
//!
//! ```text
//!             ┌─► pack ─┐
//! read, hash ─┼─► pack ─┼─► write, in order
//!             └─► pack ─┘
//! ```
//!
//! Every queue holds one chunk, so memory is bounded by the number of threads. The frames in a row are a zstd file of
//! the whole image.

mod pack;

use std::{
    io::{self, ErrorKind, Read, Write},
    num::NonZeroUsize,
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread,
};

use ring::digest::{Context, SHA256};

use self::pack::Packer;
use crate::{
    manifest::{Chunk, Description, Manifest, SignError},
    partition::{self, PlanError},
};

/// How an image is converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What people call it.
    pub name: String,
    /// What it was when it came, outermost first.
    pub origin: Vec<String>,
    /// The length of a chunk: a power of two from 4 KiB to 8 MiB.
    pub chunk_bytes: u32,
    /// zstd's level, 1 to 22.
    pub level: i32,
    /// How many threads compress.
    pub threads: NonZeroUsize,
}

/// The length of a chunk that suits every image up to 1 TiB.
pub const CHUNK_BYTES: u32 = 4 << 20;

/// Returns the length of a chunk for an image of a length: so many that the table stays below 10 MiB, if it can.
pub fn chunk_bytes(image_bytes: u64) -> u32 {
    if image_bytes > 1 << 40 { 8 << 20 } else { CHUNK_BYTES }
}

/// zstd's level if nobody says another.
pub const LEVEL: i32 = 3;

/// A manifest that nobody has signed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What it says of the image as a whole.
    pub description: Description,
    /// Its chunks, with the lengths of their frames.
    pub chunks: Vec<(Chunk, u32)>,
}

impl Draft {
    /// Has the manifest signed, as [`Manifest::sign`].
    pub fn sign<E>(
        &self,
        signer: &[u8],
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Manifest, SignError<E>> {
        Manifest::sign(&self.description, self.chunks.iter().copied(), signer, sign)
    }
}

/// Why an image is not converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The image cannot be read. [`UnpackError::of`](crate::UnpackError::of) knows more.
    #[error("reading the image")]
    Read(#[source] io::Error),
    /// The frames cannot be written.
    #[error("writing the frames")]
    Write(#[source] io::Error),
    /// The options are none.
    #[error("a chunk must be a power of two from 4 KiB to 8 MiB, a level from 1 to 22")]
    Options,
    /// There is nothing in it, or less than a sector at its end.
    #[error("the image is {bytes} bytes long, which is no number of sectors")]
    NotWholeSectors {
        /// Its length.
        bytes: u64,
    },
    /// Its chunks are more than fit into a manifest.
    #[error("the image is too large: a manifest has room for {limit} chunks")]
    TooLarge {
        /// How many fit.
        limit: usize,
    },
    /// Its partition table is damaged, or speaks of more than there is.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// zstd's library has no memory left, or refuses.
    #[error("compressing a chunk: {detail}")]
    Compress {
        /// What it says.
        detail: &'static str,
    },
    /// No thread can be started.
    #[error("starting a thread")]
    Thread(#[source] io::Error),
}

/// The most chunks that a manifest has room for.
pub const CHUNKS_LIMIT: usize = (Manifest::LIMIT_BYTES - (1 << 20)) / 37;

/// How much of an image's start is kept, to find its partition table in.
const START_BYTES: usize = 1 << 20;

/// A packed chunk.
struct Packed {
    chunk: Chunk,
    frame: Vec<u8>,
    /// The buffer that the chunk was in, to be used again.
    buffer: Vec<u8>,
}

/// What the reader knows in the end.
struct Whole {
    bytes: u64,
    sha256: [u8; 32],
    start: Vec<u8>,
}

/// Converts a disk's bytes, as [`unpack`](crate::unpack()) or [`qcow2::Image`](crate::qcow2::Image) give them.
///
/// What was written to `frames` when it fails is of no use.
pub fn convert(
    mut image: impl Read + Send,
    mut frames: impl Write,
    options: &Options,
) -> Result<Draft, ConvertError> {
    let chunk_bytes = usize::try_from(options.chunk_bytes).map_err(|_| ConvertError::Options)?;
    let usual = chunk_bytes.is_power_of_two() && (4 << 10..=8 << 20).contains(&chunk_bytes);
    if !usual || !(1..=22).contains(&options.level) {
        return Err(ConvertError::Options);
    }
    let mut chunks = Vec::new();
    let whole = thread::scope(|scope| {
        let (recycle, recycled) = channel();
        let mut inboxes = Vec::new();
        let mut outboxes = Vec::new();
        for _ in 0..options.threads.get() {
            let (input, inputs) = sync_channel(1);
            let (output, outputs) = sync_channel(1);
            let packer = Packer::new(options.level, chunk_bytes)?;
            thread::Builder::new()
                .name("pack".into())
                .spawn_scoped(scope, move || pack_all(packer, &inputs, &output))
                .map_err(ConvertError::Thread)?;
            inboxes.push(input);
            outboxes.push(outputs);
        }
        let reader = thread::Builder::new()
            .name("read".into())
            .spawn_scoped(scope, move || read_all(&mut image, chunk_bytes, inboxes, &recycled))
            .map_err(ConvertError::Thread)?;
        let written = write_all(&mut frames, outboxes, &recycle, &mut chunks);
        // The reader's error comes first: with it, the chunks that were written are too few.
        let whole = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.and(whole)
    })?;
    frames.flush().map_err(ConvertError::Write)?;
    let table = partition::plan(&whole.start, whole.bytes)?;
    let description = Description {
        name: options.name.clone(),
        origin: options.origin.clone(),
        image_bytes: whole.bytes,
        chunk_bytes: options.chunk_bytes,
        sector_bytes: table.sector_bytes,
        smallest_disk_bytes: whole.bytes,
        sha256: whole.sha256,
        partitions: table.partitions,
    };
    Ok(Draft { description, chunks })
}

/// Reads chunk after chunk and gives them to the packers in turn.
fn read_all(
    image: &mut impl Read,
    chunk_bytes: usize,
    inboxes: Vec<SyncSender<Vec<u8>>>,
    recycled: &Receiver<Vec<u8>>,
) -> Result<Whole, ConvertError> {
    let mut hash = Context::new(&SHA256);
    let mut bytes = 0;
    let mut start = Vec::new();
    for (index, inbox) in inboxes.iter().cycle().enumerate() {
        let mut buffer = recycled.try_recv().unwrap_or_default();
        buffer.resize(chunk_bytes, 0);
        let length = fill(image, &mut buffer).map_err(ConvertError::Read)?;
        buffer.truncate(length);
        if length == 0 {
            break;
        }
        if index >= CHUNKS_LIMIT {
            return Err(ConvertError::TooLarge { limit: CHUNKS_LIMIT });
        }
        hash.update(&buffer);
        bytes += u64::try_from(length).expect("a slice's length fits");
        if start.len() < START_BYTES {
            start.extend_from_slice(&buffer[..length.min(START_BYTES - start.len())]);
        }
        if inbox.send(buffer).is_err() {
            // Somebody behind failed, and says so.
            break;
        }
        if length < chunk_bytes {
            break;
        }
    }
    drop(inboxes);
    if bytes == 0 || bytes % 512 != 0 {
        return Err(ConvertError::NotWholeSectors { bytes });
    }
    let sha256 = hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
    Ok(Whole { bytes, sha256, start })
}

/// Reads until the buffer is full or the end is reached.
fn fill(image: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match image.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn pack_all(
    mut packer: Packer,
    inputs: &Receiver<Vec<u8>>,
    output: &SyncSender<Result<Packed, ConvertError>>,
) {
    while let Ok(buffer) = inputs.recv() {
        if output.send(packer.pack(buffer)).is_err() {
            break;
        }
    }
}

/// Writes the frames in the order of the chunks.
fn write_all(
    frames: &mut impl Write,
    outboxes: Vec<Receiver<Result<Packed, ConvertError>>>,
    recycle: &Sender<Vec<u8>>,
    chunks: &mut Vec<(Chunk, u32)>,
) -> Result<(), ConvertError> {
    for outbox in outboxes.iter().cycle() {
        let Ok(next) = outbox.recv() else { break };
        let Packed { chunk, frame, buffer } = next?;
        frames.write_all(&frame).map_err(ConvertError::Write)?;
        let length = u32::try_from(frame.len())
            .map_err(|_| ConvertError::Compress { detail: "a frame of more than 4 GiB" })?;
        chunks.push((chunk, length));
        // Nobody wants it any more once all is read.
        recycle.send(buffer).ok();
    }
    drop(outboxes);
    Ok(())
}
