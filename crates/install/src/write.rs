//! The order of things: what was bootable is destroyed first, what will be bootable is written last.

use std::{
    thread,
    time::{Duration, Instant},
};

use disk::{AlignedBuffer, Medium, guard};
use image::Unpacker;
use protocol::install::{Guarantee, InstallPhase, InstallReport, Progress, ReadBack};

use crate::{
    Source, boot,
    chance::Chance,
    crew::{Crew, Ended},
    examine::{self, Expected},
    failure::{Failure, Unfit, flush},
    gauge::Gauge,
    mirror::Mirrors,
    options::{Compare, Options},
    pipeline::{self, Frame, Work},
    plan::{Plan, table_sector},
    stop::Stop,
};

/// How often progress is told.
const TELL_PERIOD: Duration = Duration::from_millis(500);

/// Who hears of progress.
pub type Listener<'a> = dyn Fn(&Progress) + Sync + 'a;

/// Puts an image on a disk, from sources that all hold the same file of frames. Chunks that are there already stay.
///
/// After a failure the disk does not boot; doing it again goes on where it ended.
pub fn install(
    medium: &dyn Medium,
    plan: &Plan,
    sources: &[&dyn Source],
    options: &Options<'_>,
    progress: &Listener<'_>,
) -> Result<InstallReport, Failure> {
    plan.check(medium)?;
    let gauge = Gauge::new(options.order, plan.image_bytes);
    let mirrors = Mirrors::new(sources, options);
    let work = Work { medium, plan, mirrors: &mirrors, options, gauge: &gauge };
    told(&gauge, progress, || in_order(&work))
}

/// Does something and tells how far it is, every now and then and at the end.
pub(crate) fn told(
    gauge: &Gauge,
    progress: &Listener<'_>,
    work: impl FnOnce() -> Result<InstallReport, Failure> + Send,
) -> Result<InstallReport, Failure> {
    let crew = Crew::new(1, Stop::default());
    let mut report = None;
    thread::scope(|scope| {
        scope.spawn(|| {
            crew.work(|| {
                report = Some(work()?);
                Ok(())
            });
        });
        let tell = || {
            // Who listens badly does not end an install.
            guard::run(|| progress(&gauge.progress(Instant::now())));
        };
        crew.supervise(TELL_PERIOD, tell, || {});
    });
    crew.result()?;
    let report = report.ok_or(Failure::Engine { reason: "no report".to_owned() })?;
    guard::run(|| progress(&report.progress));
    Ok(report)
}

fn in_order(work: &Work<'_>) -> Result<InstallReport, Failure> {
    let Work { medium, plan, options, gauge, .. } = *work;
    let mut chance = Chance(options.seed);

    options.stop.check()?;
    gauge.enter(InstallPhase::Disarming, 0);
    boot::disarm(medium, u64::from(plan.chunk_bytes))?;

    gauge.enter(InstallPhase::Comparing, 0);
    let todo = compare(work, &mut chance)?;

    gauge.enter(InstallPhase::Writing, plan.image_bytes);
    pipeline::run(work, &todo.missing, &todo.zeros)?;
    let withheld = fetch_withheld(work)?;

    let read_back = complete(medium, plan, withheld, options, gauge, &mut chance)?;
    Ok(InstallReport {
        guarantee: Guarantee::SignedChunks,
        progress: gauge.progress(Instant::now()),
        read_back,
        steps: Vec::new(),
    })
}

/// Writes what was withheld, once everything else is on the medium, and reads back. Where that fails the disk is
/// bootable already, or nearly: its ends are zeroed again.
pub(crate) fn complete(
    medium: &dyn Medium,
    plan: &Plan,
    withheld: Vec<boot::Withheld>,
    options: &Options<'_>,
    gauge: &Gauge,
    chance: &mut Chance,
) -> Result<ReadBack, Failure> {
    gauge.enter(InstallPhase::Flushing, 0);
    flush(medium)?;
    options.stop.check()?;
    let arm_and_verify = || {
        boot::arm(medium, &withheld)?;
        for (_, bytes) in &withheld {
            gauge.written.add(bytes.len());
        }
        drop(withheld);
        let (chosen, read_back) = examine::choose(plan, plan.chunks.len(), options.verify, chance);
        gauge.enter(InstallPhase::Verifying, chosen.iter().map(|index| length(plan, *index)).sum());
        examine::verify(medium, plan, &chosen, gauge, options.stop)?;
        Ok(read_back)
    };
    guard::catch(arm_and_verify)
        .unwrap_or_else(|words| Err(Failure::panicked(&words)))
        .map_err(|failure| disarmed(medium, u64::from(plan.chunk_bytes), failure))
}

/// Makes a disk that was installed start nothing, as it was while the image was being written: its first chunk and its
/// end are zeros, flushed and read back. Another install recognises all the rest.
pub fn disarm(medium: &dyn Medium) -> Result<(), Failure> {
    boot::disarm(medium, DISARMED_BYTES)
}

/// Boot code, partition tables and what else makes a disk start.
const DISARMED_BYTES: u64 = 4 << 20;

/// Zeroes the ends of a disk again that failed when it was bootable already, or nearly.
fn disarmed(medium: &dyn Medium, first_bytes: u64, failure: Failure) -> Failure {
    match boot::disarm(medium, first_bytes) {
        Ok(()) => failure,
        Err(_) => Failure::StillStarts { failure: Box::new(failure) },
    }
}

fn length(plan: &Plan, index: usize) -> u64 {
    u64::try_from(plan.length(index)).expect("a length fits 64 bits")
}

impl Expected for Plan {
    fn chunk(&self, index: usize) -> (u64, usize, Option<&[u8; 32]>) {
        (self.offset(index), self.length(index), self.chunks.digest(index))
    }
}

/// What is to be written, apart from what is withheld: chunks by number, in order.
#[derive(Debug, Default)]
struct Todo {
    missing: Vec<usize>,
    zeros: Vec<usize>,
}

/// Finds out what is not on the disk yet.
fn compare(work: &Work<'_>, chance: &mut Chance) -> Result<Todo, Failure> {
    let Work { medium, plan, options, gauge, .. } = *work;
    let disk_bytes = medium.size_bytes();
    let is_proven = options.proven_zero.as_ref().is_some_and(|proof| proof.covers(medium));
    let all = 0..plan.chunks.len();
    // Zeros make nothing bootable, except over the first chunk, which is zeros by now.
    let data: Vec<usize> = all
        .clone()
        .filter(|index| !plan.is_zeros(*index) && !plan.is_withheld(*index, disk_bytes))
        .collect();
    let zeros: Vec<usize> = all.filter(|index| plan.is_zeros(*index)).collect();
    let is_compared = match options.compare {
        Compare::Never => false,
        Compare::Always => true,
        Compare::Auto if is_proven => false,
        Compare::Auto => examine::is_worthwhile(medium, plan, &data, chance, options.stop)?,
    };
    let right = if is_compared {
        let mut both = [&data[..], &zeros[..]].concat();
        both.sort_unstable();
        examine::unchanged(medium, plan, &both, options.stop)?
    } else {
        [].into()
    };
    let is_there = |index: &usize| right.contains(index) || is_proven && plan.is_zeros(*index);
    let (there, todo): (Vec<usize>, Vec<usize>) =
        [data, zeros].concat().into_iter().partition(is_there);
    for index in there {
        gauge.unchanged.add(plan.length(index));
    }
    let (mut zeros, mut missing): (Vec<usize>, Vec<usize>) =
        todo.into_iter().partition(|index| plan.is_zeros(*index));
    zeros.sort_unstable();
    missing.sort_unstable();
    Ok(Todo { missing, zeros })
}

/// Fetches the chunks that are written last, and looks once more whether they belong on this disk.
fn fetch_withheld(work: &Work<'_>) -> Result<Vec<boot::Withheld>, Failure> {
    let Work { medium, plan, .. } = *work;
    let disk_bytes = medium.size_bytes();
    let is_wanted = |index: &usize| !plan.is_zeros(*index) && plan.is_withheld(*index, disk_bytes);
    let crew = Crew::new(1, work.options.stop);
    let mut unpacker = Unpacker::new();
    let mut frame = Frame::new(plan.longest_frame());
    let mut withheld = Vec::new();
    for index in (0..plan.chunks.len()).filter(is_wanted) {
        let mut bytes = AlignedBuffer::zeroed(plan.padded(index, medium));
        let fetched = pipeline::one(work, &crew, &mut unpacker, &mut frame, index, &mut bytes);
        match fetched {
            Ok(()) => {}
            Err(Ended::Failed(failure) | Ended::Dry(failure)) => return Err(failure),
            Err(Ended::Aborted) => {
                crew.result()?;
                return Err(Failure::Engine { reason: "aborted".to_owned() });
            }
        }
        withheld.push((plan.offset(index), bytes));
    }
    check_table(medium, withheld.first())?;
    Ok(withheld)
}

/// Refuses an image whose partition table counts in other sectors than the disk.
pub(crate) fn check_table(
    medium: &dyn Medium,
    first: Option<&boot::Withheld>,
) -> Result<(), Unfit> {
    let disk_bytes = medium.sector_bytes();
    let start = first.filter(|(offset, _)| *offset == 0);
    match start.and_then(|(_, bytes)| table_sector(bytes, disk_bytes)) {
        Some(image_bytes) if image_bytes != disk_bytes => {
            Err(Unfit::SectorSize { image_bytes, disk_bytes })
        }
        _ => Ok(()),
    }
}
