//! Why an image is not on a disk, so that a person knows what to do.

use std::io;

use disk::{AlignedBuffer, Fault, Medium, Operation};

use crate::stop::Stopped;

/// Why an install failed. After every one of these the disk does not boot, unless it says that nothing was touched.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The image does not fit the disk. Nothing was touched, unless it is a foreign one that did not say before.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The disk failed, or is gone.
    #[error(transparent)]
    Medium(#[from] Fault),
    /// Zeros were written over the old start or end, flushed, and something else was read.
    #[error("the disk does not keep zeros at byte {offset}: it would still start what was on it")]
    NotDisarmed {
        /// Where.
        offset: u64,
    },
    /// The image cannot be fetched.
    #[error("fetching the image at byte {offset} of its file, {attempts} times: {reason}")]
    Unreachable {
        /// Where in the file of frames, or in the foreign file.
        offset: u64,
        /// How often it was tried, at all mirrors together.
        attempts: u32,
        /// What happened last.
        reason: String,
    },
    /// The image changed while it was fetched.
    #[error("the image was replaced while it was fetched: {reason}")]
    Replaced {
        /// How that was seen.
        reason: String,
    },
    /// A source refuses for good.
    #[error("the image is refused: {reason}")]
    Refused {
        /// What happened.
        reason: String,
    },
    /// What all mirrors sent for a chunk is not what the manifest says.
    #[error("chunk {index} of the image arrives wrong from every mirror: {reason}")]
    BadChunk {
        /// Its number, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A foreign image is not what it should be.
    #[error("the image is not sound at byte {offset} of its content: {reason}")]
    BadStream {
        /// How much of it was unpacked.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// What was written reads back otherwise.
    #[error("the disk gives back something else than was written at byte {offset}")]
    ReadBack {
        /// Where the chunk begins.
        offset: u64,
    },
    /// It failed when the disk was bootable already, or nearly, and stays that. The only failure of which the disk may
    /// boot afterwards.
    #[error(
        "the disk may start half an image: its first bytes could not be zeroed again after this"
    )]
    StillStarts {
        /// What failed first.
        #[source]
        failure: Box<Failure>,
    },
    /// It was ended from outside. What is on the disk then is of use to the next install.
    #[error("the install was ended: {0}")]
    Stopped(#[from] Stopped),
    /// The engine itself failed.
    #[error("{reason}")]
    Engine {
        /// What happened.
        reason: String,
    },
}

impl Failure {
    /// A fault of ours.
    pub(crate) fn panicked(words: &str) -> Self {
        Self::Engine { reason: format!("the engine that writes the image panicked: {words}") }
    }
}

/// Why an image and a disk do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The disk is too small.
    #[error("the image needs {image_bytes} bytes and the disk has {disk_bytes}")]
    TooSmall {
        /// What the image needs.
        image_bytes: u64,
        /// What the disk has.
        disk_bytes: u64,
    },
    /// The image's partition table counts in other sectors.
    #[error(
        "the image is for disks with sectors of {image_bytes} bytes, and this one has {disk_bytes}"
    )]
    SectorSize {
        /// What the image counts in.
        image_bytes: u32,
        /// What the disk has.
        disk_bytes: u32,
    },
    /// A foreign image is too long to be kept track of.
    #[error(
        "{image_bytes} bytes of the image have come, {data_bytes} of them in parts that are not zeros, and a machine \
         keeps track of no more of what is not the server's own: `drydock image add` makes it that"
    )]
    TooLong {
        /// How much has come.
        image_bytes: u64,
        /// What of it is not zeros, in whole chunks.
        data_bytes: u64,
    },
    /// The image's table does not fit the memory that an install may take.
    #[error(
        "the image holds {data_bytes} bytes that are not zeros, and a machine keeps the table of at most 2.8 TiB of \
         them: make its filesystems smaller, and grow them on the disk"
    )]
    TooMuch {
        /// How many those are.
        data_bytes: u64,
    },
    /// Nothing would tell a whole image from one that was cut.
    #[error("a bare image does not say where it ends: its length or its SHA-256 is needed")]
    Endless,
    /// The manifest contradicts itself, or its chunks cannot be written to this disk.
    #[error("the manifest is of no use: {reason}")]
    Plan {
        /// Why.
        reason: String,
    },
}

/// Says what a disk was asked for when it failed; one of ours knows better itself.
pub(crate) fn failed(
    operation: Operation,
    offset: u64,
    length: u64,
) -> impl Fn(io::Error) -> Fault {
    move |source| match source.downcast::<Fault>() {
        Ok(fault) => fault,
        Err(source) => Fault { operation, offset, length, is_gone: false, source },
    }
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).expect("a length fits 64 bits")
}

/// Reads a range of whole sectors.
pub(crate) fn read(
    medium: &dyn Medium,
    offset: u64,
    length: usize,
) -> Result<AlignedBuffer, Fault> {
    let mut buffer = AlignedBuffer::zeroed(length);
    read_into(medium, offset, &mut buffer)?;
    Ok(buffer)
}

/// Fills an aligned buffer.
pub(crate) fn read_into(medium: &dyn Medium, offset: u64, buffer: &mut [u8]) -> Result<(), Fault> {
    let length = buffer.len();
    medium.read(offset, buffer).map_err(failed(Operation::Read, offset, wide(length)))
}

/// Writes an aligned buffer.
pub(crate) fn write(medium: &dyn Medium, offset: u64, buffer: &[u8]) -> Result<(), Fault> {
    medium.write(offset, buffer).map_err(failed(Operation::Write, offset, wide(buffer.len())))
}

/// Brings everything onto the medium.
pub(crate) fn flush(medium: &dyn Medium) -> Result<(), Fault> {
    medium.flush().map_err(failed(Operation::Flush, 0, 0))
}
