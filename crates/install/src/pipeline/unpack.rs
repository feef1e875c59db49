//! Unpacks frames and checks what was in them. A chunk that arrived wrong is fetched again, elsewhere.

use disk::AlignedBuffer;
use image::Unpacker;

use super::{Frame, Full, Work};
use crate::{
    FetchError,
    crew::{Crew, Ended},
    failure::Failure,
    mirror::Attempts,
    plan::Plan,
    queue::Queue,
};

/// So often a mirror may send a chunk that is not the right one.
const CHANCES: usize = 2;

/// The stage.
#[derive(Debug)]
pub(super) struct Unpack<'a> {
    pub(super) work: &'a Work<'a>,
    pub(super) crew: &'a Crew<'a>,
    pub(super) frames: &'a Queue<Frame>,
    pub(super) empty_frames: &'a Queue<Frame>,
    pub(super) empty_chunks: &'a Queue<AlignedBuffer>,
    pub(super) out: &'a Queue<Full>,
}

impl Unpack<'_> {
    pub(super) fn run(&self) -> Result<(), Ended> {
        let mut unpacker = Unpacker::new();
        while let Some(mut frame) = self.frames.pop()? {
            let Some(mut buffer) = self.empty_chunks.pop()? else { return Err(Ended::Aborted) };
            let index = frame.index;
            let length = self.work.plan.padded(index, self.work.medium);
            unpack(self.work, self.crew, &mut unpacker, &mut frame, &mut buffer)?;
            self.empty_frames.give_back(frame);
            let offset = self.work.plan.offset(index);
            self.out.push(offset, Full::Chunk { offset, length, buffer })?;
        }
        self.out.done();
        Ok(())
    }
}

/// Unpacks a frame that has arrived; as long as what is in it is wrong, fetches it again.
fn unpack(
    work: &Work<'_>,
    crew: &Crew<'_>,
    unpacker: &mut Unpacker,
    frame: &mut Frame,
    into: &mut [u8],
) -> Result<(), Ended> {
    let index = frame.index;
    let mut wrong = 0;
    loop {
        let arrived = &frame.bytes[..frame.length];
        match checked(work.plan, index, unpacker, arrived, into) {
            Ok(length) => {
                into[length..].fill(0);
                work.gauge.unpacked.add(length);
                return Ok(());
            }
            Err(reason) => {
                wrong += 1;
                if wrong >= CHANCES * work.mirrors.count() {
                    return Err(Failure::BadChunk { index, reason }.into());
                }
            }
        }
        fetch_elsewhere(work, crew, frame)?;
    }
}

/// Unpacks a frame into the start of a buffer; returns how many bytes it holds, or what is wrong.
fn checked(
    plan: &Plan,
    index: usize,
    unpacker: &mut Unpacker,
    frame: &[u8],
    into: &mut [u8],
) -> Result<usize, String> {
    let Some(digest) = plan.chunks.digest(index) else {
        return Err("the manifest has no such frame".to_owned());
    };
    let length = plan.length(index);
    let result = unpacker.unpack(frame, digest, &mut into[..length]);
    result.map_err(|error| error.to_string())?;
    Ok(length)
}

/// Fetches the frame of a chunk again, from the next mirror.
fn fetch_elsewhere(work: &Work<'_>, crew: &Crew<'_>, frame: &mut Frame) -> Result<(), Ended> {
    let index = frame.index;
    let range = work.plan.frame(index).unwrap_or_default();
    work.mirrors.leave(frame.mirror);
    fetch(work, crew, frame, index, range)
}

/// Fetches the frame of a chunk, with patience.
fn fetch(
    work: &Work<'_>,
    crew: &Crew<'_>,
    frame: &mut Frame,
    index: usize,
    range: std::ops::Range<u64>,
) -> Result<(), Ended> {
    let mut attempts = Attempts::new(work.mirrors);
    loop {
        let (mirror, opened) = work.mirrors.open(range.clone());
        let read = |mut reading: crate::mirror::Reading<'_>| -> Result<(), FetchError> {
            reading.fill(frame.prepare(index, &range, mirror), work.gauge)
        };
        match opened.and_then(read) {
            Ok(()) => return Ok(()),
            Err(error) => attempts.failed(mirror, range.start, error, crew)?,
        }
    }
}

/// Fetches and unpacks one chunk outside the pipeline. The buffer is filled up with zeros.
pub(crate) fn one(
    work: &Work<'_>,
    crew: &Crew<'_>,
    unpacker: &mut Unpacker,
    frame: &mut Frame,
    index: usize,
    into: &mut [u8],
) -> Result<(), Ended> {
    let Some(range) = work.plan.frame(index) else {
        into.fill(0);
        return Ok(());
    };
    fetch(work, crew, frame, index, range)?;
    unpack(work, crew, unpacker, frame, into)
}
