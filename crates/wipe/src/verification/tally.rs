//! Compares what was read with what is expected, and counts.

use std::{
    collections::{BTreeSet, HashSet},
    ops::Range,
    sync::{Mutex, PoisonError},
};

use super::{Content, places::Places};
use crate::pass::{BadRanges, Key};

/// So much of a stream is made at a time: it stays in the processor's cache.
const STREAM_STEP: usize = 32 << 10;
/// By so much of its start a canary is known, wherever it stands.
const HEAD_BYTES: usize = 16;
/// So many offsets are told.
pub(super) const OFFSETS: usize = 16;

/// What was found so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub(super) places: u64,
    pub(super) bytes: u64,
    pub(super) left_out: u64,
    pub(super) differing: u64,
    pub(super) canaries: u64,
    /// The first ones.
    pub(super) offsets: BTreeSet<u64>,
}

impl Found {
    pub(super) fn tell(&mut self, offset: u64) {
        self.offsets.insert(offset);
        if self.offsets.len() > OFFSETS {
            self.offsets.pop_last();
        }
    }

    fn add(&mut self, other: Self) {
        self.places += other.places;
        self.bytes += other.bytes;
        self.left_out += other.left_out;
        self.differing += other.differing;
        self.canaries += other.canaries;
        other.offsets.into_iter().for_each(|offset| self.tell(offset));
    }
}

/// What is expected, and what was found.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    pub(super) places: Places,
    pub(super) content: Content,
    pub(super) left_out: &'a BadRanges,
    pub(super) heads: HashSet<[u8; HEAD_BYTES]>,
    found: Mutex<Found>,
}

impl<'a> Tally<'a> {
    /// Begins, with the canaries that may still be there.
    pub(super) fn new(
        places: Places,
        content: Content,
        left_out: &'a BadRanges,
        canaries: impl Iterator<Item = u64>,
        key: &Key,
    ) -> Self {
        let heads = canaries.map(|place| {
            let mut head = [0; HEAD_BYTES];
            key.fill(place * places.bytes, &mut head);
            head
        });
        Self { places, content, left_out, heads: heads.collect(), found: Mutex::default() }
    }

    /// Compares whole places.
    pub(super) fn compare(&self, piece: &Range<u64>, bytes: &[u8], scratch: &mut Vec<u8>) {
        let mut found = Found {
            places: piece_places(&self.places, piece),
            bytes: piece.end - piece.start,
            ..Found::default()
        };
        let is_as_expected = match self.content {
            Content::NoCanary => false,
            _ => self.holds(piece.start, bytes, scratch),
        };
        if !is_as_expected || self.is_left_out(piece) {
            self.look_closely(piece, bytes, scratch, &mut found);
        }
        self.found.lock().unwrap_or_else(PoisonError::into_inner).add(found);
    }

    fn look_closely(
        &self,
        piece: &Range<u64>,
        bytes: &[u8],
        scratch: &mut Vec<u8>,
        found: &mut Found,
    ) {
        let size = usize::try_from(self.places.bytes).expect("a few KiB");
        let mut at = piece.start;
        for place in bytes.chunks(size) {
            let range = at..at + u64::try_from(place.len()).expect("a few KiB");
            let is_canary =
                place.first_chunk::<HEAD_BYTES>().is_some_and(|head| self.heads.contains(head));
            let is_left_out = self.is_left_out(&range);
            found.left_out += u64::from(is_left_out);
            found.canaries += u64::from(is_canary);
            let is_right = match self.content {
                Content::NoCanary => !is_canary,
                _ => self.holds(at, place, scratch),
            };
            let differs = !is_right && !is_left_out;
            found.differing += u64::from(differs);
            if differs || is_canary {
                found.tell(at);
            }
            at = range.end;
        }
    }

    fn holds(&self, offset: u64, bytes: &[u8], scratch: &mut Vec<u8>) -> bool {
        match &self.content {
            Content::Zeros => is_all(bytes, 0),
            Content::Ones => is_all(bytes, u64::MAX),
            Content::Stream(key) => {
                scratch.resize(STREAM_STEP, 0);
                let mut at = offset;
                bytes.chunks(STREAM_STEP).all(|part| {
                    let expected = &mut scratch[..part.len()];
                    key.fill(at, expected);
                    at += u64::try_from(part.len()).expect("a few KiB");
                    is_same(part, expected)
                })
            }
            Content::NoCanary => false,
        }
    }

    fn is_left_out(&self, range: &Range<u64>) -> bool {
        self.left_out.after(range.start).is_some_and(|bad| bad.start < range.end)
    }

    pub(super) fn found(self) -> Found {
        self.found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

fn piece_places(places: &Places, piece: &Range<u64>) -> u64 {
    let numbers = places.of(piece);
    numbers.end - numbers.start
}

// Both written out, with no branch within a block: the C library's comparison is slow where the agent is built.
fn is_all(bytes: &[u8], word: u64) -> bool {
    let mut blocks = bytes.chunks_exact(256);
    let is_block = |block: &[u8]| words(block).fold(0, |sum, found| sum | (found ^ word)) == 0;
    blocks.by_ref().all(is_block)
        && blocks.remainder().iter().all(|byte| *byte == word.to_le_bytes()[0])
}

fn is_same(one: &[u8], other: &[u8]) -> bool {
    let (mut ones, mut others) = (one.chunks_exact(256), other.chunks_exact(256));
    one.len() == other.len()
        && ones.by_ref().zip(others.by_ref()).all(|(one, other)| {
            words(one).zip(words(other)).fold(0, |sum, (one, other)| sum | (one ^ other)) == 0
        })
        && ones.remainder().iter().eq(others.remainder())
}

fn words(block: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let (words, _) = block.as_chunks::<8>();
    words.iter().map(|word| u64::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn one_byte_makes_a_difference(length in 1usize..2000, at: prop::sample::Index, flip in 1u8..) {
            let mut bytes = vec![0; length];
            prop_assert!(is_all(&bytes, 0) && is_same(&bytes, &vec![0; length]));
            prop_assert!(!is_same(&bytes, &vec![0; length + 1]));
            bytes[at.index(length)] ^= flip;
            prop_assert!(!is_all(&bytes, 0) && !is_same(&bytes, &vec![0; length]));
            let ones: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
            prop_assert!(!is_all(&ones, u64::MAX) && is_all(&vec![0xff; length], u64::MAX));
        }
    }
}
