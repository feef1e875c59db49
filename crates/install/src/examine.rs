//! Looks at what is on a disk: before writing, for what need not be written; after it, for what was not kept.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use disk::{AlignedBuffer, Fault, Medium};
use protocol::{Bytes, install::ReadBack};

use crate::{
    chance::Chance,
    crew::{Crew, Ended},
    failure::{Failure, read_into},
    gauge::Gauge,
    options::Verify,
    stop::Stop,
    zero::is_zero,
};

/// Reads in flight, each with a buffer of its own.
const READERS: usize = 3;

/// Of so many chunks it is looked whether comparing all of them is worthwhile.
const TASTERS: usize = 16;

/// Chunks of which it is known what they should be.
pub(crate) trait Expected: Sync {
    /// Returns where a chunk begins, its length, and its digest; no digest means zeros.
    fn chunk(&self, index: usize) -> (u64, usize, Option<&[u8; 32]>);
}

/// Reads a chunk and says whether it is right.
fn is_right(
    medium: &dyn Medium,
    expected: &dyn Expected,
    index: usize,
    buffer: &mut [u8],
) -> Result<bool, Fault> {
    let (offset, length, digest) = expected.chunk(index);
    let sector = usize::try_from(medium.sector_bytes()).expect("a sector fits in memory");
    let buffer = &mut buffer[..length.next_multiple_of(sector)];
    read_into(medium, offset, buffer)?;
    let (content, padding) = buffer.split_at(length);
    Ok(is_zero(padding)
        && digest.map_or_else(|| is_zero(content), |digest| image::digest(content) == *digest))
}

/// Looks at some chunks, several at once; `each` hears of every one, whether it is right or what went wrong.
fn look(
    medium: &dyn Medium,
    expected: &dyn Expected,
    chunks: &[usize],
    stop: Stop<'_>,
    each: impl Fn(usize, Result<bool, Fault>) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let longest = chunks.iter().map(|index| expected.chunk(*index).1).max().unwrap_or(0);
    let longest = longest.next_multiple_of(4096).max(64 << 10);
    let readers = READERS.min(chunks.len());
    let (crew, next) = (Crew::new(readers, stop), AtomicUsize::new(0));
    let read = || -> Result<(), Ended> {
        let mut buffer = AlignedBuffer::zeroed(longest);
        while let Some(index) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
            crew.pause(Duration::ZERO)?;
            each(*index, is_right(medium, expected, *index, &mut buffer))?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        for _ in 0..readers {
            scope.spawn(|| crew.work(read));
        }
    });
    crew.result()
}

/// Returns which of some chunks are on the disk as they should be. What cannot be read is not.
pub(crate) fn unchanged(
    medium: &dyn Medium,
    expected: &dyn Expected,
    chunks: &[usize],
    stop: Stop<'_>,
) -> Result<BTreeSet<usize>, Failure> {
    let right = Mutex::new(BTreeSet::new());
    look(medium, expected, chunks, stop, |index, result| {
        if result.unwrap_or(false) {
            right.lock().unwrap_or_else(PoisonError::into_inner).insert(index);
        }
        Ok(())
    })?;
    Ok(right.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Says whether comparing is worthwhile: at least one of a few chunks with data is on the disk. The first ones are
/// among the few, since an install that was cut short has written those.
pub(crate) fn is_worthwhile(
    medium: &dyn Medium,
    expected: &dyn Expected,
    data: &[usize],
    chance: &mut Chance,
    stop: Stop<'_>,
) -> Result<bool, Failure> {
    let (first, rest) = data.split_at(data.len().min(TASTERS / 2));
    let mut chosen = first.to_vec();
    chosen.extend(chance.sample(rest, TASTERS / 2));
    Ok(!unchanged(medium, expected, &chosen, stop)?.is_empty())
}

/// Reads back some chunks; the first that is not right is a failure.
pub(crate) fn verify(
    medium: &dyn Medium,
    expected: &dyn Expected,
    chunks: &[usize],
    gauge: &Gauge,
    stop: Stop<'_>,
) -> Result<(), Failure> {
    look(medium, expected, chunks, stop, |index, result| {
        let (offset, length, _) = expected.chunk(index);
        if !result? {
            return Err(Failure::ReadBack { offset });
        }
        gauge.verified.add(length);
        Ok(())
    })
}

/// Chooses what is read back, and says what that tells.
pub(crate) fn choose(
    expected: &dyn Expected,
    count: usize,
    verify: Verify,
    chance: &mut Chance,
) -> (Vec<usize>, ReadBack) {
    let all: Vec<usize> = (0..count).collect();
    let Verify::Sample { detects_per_thousand } = verify else {
        return (all, ReadBack::Whole {});
    };
    let size = sample_size(detects_per_thousand);
    if size >= count {
        return (all, ReadBack::Whole {});
    }
    let mut chosen = BTreeSet::from([0, count - 1]);
    chosen.extend(chance.sample(&all, size));
    let chosen: Vec<usize> = chosen.into_iter().collect();
    let length = |index: &usize| u64::try_from(expected.chunk(*index).1).unwrap_or(u64::MAX);
    let bytes = Bytes(chosen.iter().map(length).sum());
    (chosen, ReadBack::Sample { bytes, detects_per_thousand })
}

/// Returns how many chunks by chance show, in 99 of 100 cases, one of so many wrong ones in a thousand: the least n
/// with (1 - k/1000)ⁿ ≤ 1/100. Drawn without replacement it is a little better than that.
fn sample_size(detects_per_thousand: u32) -> usize {
    let right = 1.0 - f64::from(detects_per_thousand.clamp(1, 999)) / 1000.0;
    let (mut size, mut missed) = (0, 1.0);
    while missed > 0.01 {
        missed *= right;
        size += 1;
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_sample_is_that_of_the_books() {
        // ln 0.01 / ln 0.99, and so on.
        assert_eq!(sample_size(10), 459);
        assert_eq!(sample_size(50), 90);
        assert_eq!(sample_size(1), 4603);
        assert_eq!(sample_size(0), 4603);
        assert_eq!(sample_size(5000), 1);
    }
}
