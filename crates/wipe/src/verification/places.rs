//! Which places of a medium are marked and looked at. All of it follows from seed, disk and size.
//!
//! ```text
//! place n    = the bytes from 4,096 × n on (with other sectors: the most whole sectors within 4,096, or one)
//! N, size    = how many places there are, the last one maybe shorter
//! chance(label, i, w) = first 8 bytes of SHA-256(seed ‖ label ‖ disk ‖ i) × w / 2^64, rounded down
//! stratum i of S      = the places from N × i / S up to, without it, N × (i + 1) / S, rounded down
//! by chance, of S     = of each stratum i the place at chance(label, i, its width)
//! known      = the first 8, the last 8, those at multiples of 1 GiB (of 2, 4, … where that would be more than 1,024),
//!              and 256 by chance with "drydock mark"
//! samples    = 4,605 or 46,050 by chance with "drydock sample"; all where there are not more
//! ```
//!
//! Numbers are little-endian; the disk's has 32 bits, `i` and offsets have 64.

use std::{collections::BTreeSet, ops::Range};

use protocol::wipe::Seed;
use sha2::{Digest, Sha256};

const PLACE_BYTES: u64 = 4096;
/// At each end: the tables of MBR and GPT, with sectors of 512 and of 4,096 bytes.
const END_PLACES: u64 = 8;
const STRIDE_BYTES: u64 = 1 << 30;
const STRIDES: u64 = 1024;
const MARKS: u64 = 256;

/// The places of one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) seed: Seed,
    pub(crate) disk: u32,
    /// All whole sectors.
    pub(crate) size: u64,
    pub(crate) bytes: u64,
}

impl Places {
    pub(crate) fn new(seed: Seed, disk: u32, size: u64, sector: u32) -> Self {
        let sector = u64::from(sector).max(1);
        let bytes = (PLACE_BYTES / sector * sector).max(sector);
        Self { seed, disk, size: size / sector * sector, bytes }
    }

    pub(crate) fn count(&self) -> u64 {
        self.size.div_ceil(self.bytes)
    }

    pub(crate) fn range(&self, place: u64) -> Range<u64> {
        place * self.bytes..((place + 1) * self.bytes).min(self.size)
    }

    /// Returns the places that have bytes of a range.
    pub(crate) fn of(&self, range: &Range<u64>) -> Range<u64> {
        range.start / self.bytes..range.end.min(self.size).div_ceil(self.bytes)
    }

    /// Returns the places where something is that everybody looks for, and some by chance.
    pub(crate) fn known(&self) -> BTreeSet<u64> {
        let count = self.count();
        let ends = (0..count.min(END_PLACES)).chain(count.saturating_sub(END_PLACES)..count);
        let mut stride = STRIDE_BYTES;
        while self.size / stride > STRIDES {
            stride *= 2;
        }
        let strides = (0..self.size.div_ceil(stride)).map(|number| number * stride / self.bytes);
        ends.chain(strides).chain(self.by_chance("drydock mark", MARKS)).collect()
    }

    /// Returns as many places as that, spread over everything, each by chance within its stratum; all where there are
    /// not more.
    pub(crate) fn samples(&self, samples: u64) -> impl Iterator<Item = u64> {
        self.by_chance("drydock sample", samples)
    }

    fn by_chance(&self, label: &'static str, wanted: u64) -> impl Iterator<Item = u64> {
        let (places, count) = (*self, self.count());
        let strata = wanted.min(count);
        let edge = move |stratum: u64| {
            let edge = u128::from(count) * u128::from(stratum) / u128::from(strata.max(1));
            u64::try_from(edge).expect("at most the count")
        };
        (0..strata).map(move |stratum| {
            let (start, end) = (edge(stratum), edge(stratum + 1));
            start + places.chance(label, stratum, end - start)
        })
    }

    fn chance(&self, label: &str, index: u64, below: u64) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.seed.0);
        hash.update(label);
        hash.update(self.disk.to_le_bytes());
        hash.update(index.to_le_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.finalize()[..8]);
        let scaled = (u128::from(u64::from_le_bytes(first)) * u128::from(below)) >> 64;
        u64::try_from(scaled).expect("below a number of 64 bits")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIB: u64 = 1 << 40;

    fn places(size: u64, sector: u32) -> Places {
        Places::new(Seed([5; 32]), 3, size, sector)
    }

    #[test]
    fn both_ends_and_every_gibibyte_are_known() {
        let known = places(TIB, 512).known();
        let in_a_gibibyte = STRIDE_BYTES / 4096;
        for place in
            (0..8).chain(TIB / 4096 - 8..TIB / 4096).chain((0..1024).map(|n| n * in_a_gibibyte))
        {
            assert!(known.contains(&place), "{place}");
        }
        assert!(known.len() <= 8 + 8 + 1024 + 256);
        assert!(places(100 * TIB, 4096).known().len() <= 8 + 8 + 1024 + 256);
    }

    #[test]
    fn a_place_is_whole_sectors() {
        for (sector, bytes) in [(512, 4096), (4096, 4096), (520, 3640), (8192, 8192)] {
            assert_eq!(places(TIB, sector).bytes, bytes);
        }
        let odd = places(10_000, 512);
        assert_eq!((odd.count(), odd.range(2)), (3, 8192..9728));
        assert_eq!((odd.of(&(4095..4097)), odd.of(&(9000..10_000))), (0..2, 2..3));
    }

    #[test]
    fn other_seeds_and_disks_have_other_samples() {
        let of = |seed: u8, disk: u32| -> Vec<u64> {
            Places::new(Seed([seed; 32]), disk, TIB, 512).samples(100).collect()
        };
        assert_eq!(of(1, 0), of(1, 0));
        assert!(of(1, 0) != of(2, 0) && of(1, 0) != of(1, 1));
    }

    /// Worked out with Python's `hashlib` from the words above.
    #[test]
    fn anybody_gets_the_same_samples() {
        let samples: Vec<u64> = places(TIB, 512).samples(4605).take(4).collect();
        assert_eq!(samples, [8523, 104_257, 118_774, 209_214]);
    }

    proptest! {
        #[test]
        fn no_sample_comes_twice_and_each_stratum_has_one(size in 1u64..1 << 34, samples in 1u64..5000) {
            let places = places(size, 512);
            let chosen: Vec<u64> = places.samples(samples).collect();
            prop_assert_eq!(u64::try_from(chosen.len()).unwrap(), samples.min(places.count()));
            prop_assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(chosen.iter().all(|place| *place < places.count()));
            prop_assert!(places.known().iter().all(|place| *place < places.count()));
        }
    }
}
