//! Unpacks a stream into chunks; withholds what makes a disk bootable.

use std::{
    error::Error as _,
    io::{self, Read},
    ops::Range,
};

use disk::AlignedBuffer;
use image::{
    Chunk, Format, UnpackError, WINDOW_LIMIT,
    bmap::{Bmap, MapMismatch},
};
use protocol::install::InstallPhase;

use super::{CHUNK_BYTES, Work, fetch::Pieces};
use crate::{
    boot::{self, Withheld},
    crew::Ended,
    failure::{Failure, Unfit},
    pipeline::Full,
    plan::{Plan, Table, fits, table_length, table_sector},
    queue::Queue,
    zero::is_zero,
};

/// So many bytes of zeros are passed on at once.
const ZEROS_BYTES: u64 = 64 << 20;

/// What is remembered of an image's chunks may take so much memory: 460 GiB that are not zeros, or 3.8 TiB that are.
const TABLE_BYTES: usize = 8 << 20;

/// What is known of an image once all of it has come.
#[derive(Debug)]
pub(super) struct Arrived {
    /// What was written, for reading back; its frames say nothing.
    pub(super) plan: Plan,
    pub(super) withheld: Vec<Withheld>,
    /// The length that its partition table tells of, if it has one.
    pub(super) table_bytes: u64,
    /// With checksums of its own.
    pub(super) is_compressed: bool,
}

/// The stage.
#[derive(Debug)]
pub(super) struct Unpack<'a> {
    pub(super) work: &'a Work<'a>,
    pub(super) empty: &'a Queue<AlignedBuffer>,
    pub(super) out: &'a Queue<Full>,
}

impl Unpack<'_> {
    pub(super) fn run(&self, input: Pieces<'_>) -> Result<Arrived, Ended> {
        let image = image::unpack(input, WINDOW_LIMIT).map_err(|error| unsound(&error, 0))?;
        let is_compressed = image.layers().iter().any(|layer| *layer != Format::Tar);
        let is_bare = image.layers().is_empty();
        let plan = empty_plan();
        let mut image: Box<dyn Read + '_> = match self.work.map {
            Some(map) => Box::new(map.check(image)),
            None => Box::new(image),
        };
        let mut arrived = Arrived { plan, withheld: Vec::new(), table_bytes: 0, is_compressed };
        let mut zeros = 0..0;
        loop {
            let Some(mut buffer) = self.empty.pop()? else { return Err(Ended::Aborted) };
            let length = fill(&mut *image, &mut buffer, arrived.plan.image_bytes)?;
            if arrived.plan.chunks.is_empty() {
                arrived.table_bytes = self.begin(&buffer[..length], is_bare)?;
            }
            if length > 0 {
                self.chunk(&mut arrived, &mut zeros, buffer, length)?;
            } else {
                self.empty.give_back(buffer);
            }
            if length < chunk_length() {
                break;
            }
        }
        self.pass_on(&mut zeros)?;
        self.out.done();
        Ok(arrived)
    }

    /// Looks at the start of an image before anything is touched; then disarms the disk. Returns the length that
    /// the partition table tells of.
    fn begin(&self, start: &[u8], is_bare: bool) -> Result<u64, Failure> {
        let Work { medium, foreign, map, gauge, .. } = *self.work;
        if is_bare && foreign.file_bytes.is_none() && foreign.sha256.is_none() {
            return Err(Unfit::Endless.into());
        }
        let sector = table_sector(start, medium.sector_bytes());
        let told = sector.and_then(|sector| table_length(start, sector)).unwrap_or(0);
        let least = if is_bare { told.max(foreign.file_bytes.unwrap_or(0)) } else { told };
        let least = least.max(map.map_or(0, Bmap::image_bytes));
        fits(least, sector, medium)?;
        gauge.enter(InstallPhase::Disarming, 0);
        boot::disarm(medium, u64::from(CHUNK_BYTES))?;
        gauge.enter(InstallPhase::Writing, foreign.file_bytes.unwrap_or(0));
        Ok(told)
    }

    /// Takes the next chunk: passes it on, or keeps it for the end.
    fn chunk(
        &self,
        arrived: &mut Arrived,
        zeros: &mut Range<u64>,
        mut buffer: AlignedBuffer,
        length: usize,
    ) -> Result<(), Ended> {
        let Work { medium, gauge, .. } = *self.work;
        let Arrived { plan, withheld, .. } = arrived;
        let index = plan.chunks.len();
        let offset = plan.offset(index);
        plan.image_bytes = offset + wide(length);
        fits(plan.image_bytes, None, medium).map_err(Failure::from)?;
        gauge.unpacked.add(length);
        let padded = plan.padded(index, medium);
        buffer[length..padded].fill(0);
        if is_zero(&buffer[..length]) {
            plan.chunks.push(&Chunk::Zeros, 0);
            has_room(plan)?;
            self.empty.give_back(buffer);
            if zeros.end != offset || zeros.end - zeros.start >= ZEROS_BYTES {
                self.pass_on(zeros)?;
                zeros.start = offset;
            }
            zeros.end = offset + wide(padded);
            return Ok(());
        }
        plan.chunks.push(&Chunk::Data { digest: image::digest(&buffer[..length]) }, 0);
        has_room(plan)?;
        if plan.is_withheld(index, medium.size_bytes()) {
            let mut kept = AlignedBuffer::zeroed(padded);
            kept.copy_from_slice(&buffer[..padded]);
            withheld.push((offset, kept));
            self.empty.give_back(buffer);
            return Ok(());
        }
        Ok(self.out.push(offset, Full::Chunk { offset, length: padded, buffer })?)
    }

    /// Passes zeros on that have come together.
    fn pass_on(&self, zeros: &mut Range<u64>) -> Result<(), Ended> {
        let range = std::mem::replace(zeros, 0..0);
        if !range.is_empty() {
            self.out.push(range.start, Full::Zeros(range))?;
        }
        Ok(())
    }
}

/// Returns the plan of an image of which nothing has come.
fn empty_plan() -> Plan {
    Plan {
        image_bytes: 0,
        chunk_bytes: CHUNK_BYTES,
        smallest_disk_bytes: 0,
        sector_bytes: None,
        chunks: Table::default(),
    }
}

fn has_room(plan: &Plan) -> Result<(), Failure> {
    let Plan { image_bytes, chunks, .. } = plan;
    if chunks.memory_bytes() <= TABLE_BYTES {
        return Ok(());
    }
    let data_bytes = wide(chunks.data()) * u64::from(CHUNK_BYTES);
    Err(Unfit::TooLong { image_bytes: *image_bytes, data_bytes }.into())
}

fn chunk_length() -> usize {
    usize::try_from(CHUNK_BYTES).expect("a chunk fits in memory")
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).expect("a length fits 64 bits")
}

/// Fills a buffer with what stands from an offset on; less than that only at the end of the image.
fn fill(image: &mut dyn Read, buffer: &mut [u8], offset: u64) -> Result<usize, Ended> {
    let mut length = 0;
    while length < buffer.len() {
        match image.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                let offset = offset + wide(length);
                if let Some(mismatch) = MapMismatch::of(&error) {
                    let reason = mismatch.to_string();
                    return Err(Ended::Failed(Failure::BadStream { offset, reason }));
                }
                return Err(match UnpackError::of(&error) {
                    Some(reason) => unsound(reason, offset),
                    None => Ended::Aborted,
                });
            }
        }
    }
    Ok(length)
}

/// Says what is wrong with an image; where fetching failed, somebody else says so.
fn unsound(error: &UnpackError, offset: u64) -> Ended {
    if matches!(error, UnpackError::Read(_)) {
        return Ended::Aborted;
    }
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        reason = format!("{reason}: {next}");
        cause = next.source();
    }
    Ended::Failed(Failure::BadStream { offset, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_of_a_foreign_image_is_kept_track_of() {
        let (data, zeros) = (Chunk::Data { digest: [1; 32] }, Chunk::Zeros);
        for (chunk, fits_gib, refused_gib) in [(&data, 440, 480), (&zeros, 3700, 4000)] {
            let mut plan = empty_plan();
            for gib in 1..=refused_gib {
                for _ in 0..(1 << 30) / CHUNK_BYTES {
                    plan.chunks.push(chunk, 0);
                }
                plan.image_bytes = gib << 30;
                assert!(gib > fits_gib || has_room(&plan).is_ok(), "{gib} GiB");
            }
            let refused = has_room(&plan).unwrap_err();
            let Failure::Unfit(Unfit::TooLong { image_bytes, .. }) = refused else {
                panic!("{refused:?}")
            };
            assert_eq!(image_bytes, refused_gib << 30);
        }
    }
}
