//! Ranges of a medium, apart from each other, in bounded memory.

use std::{collections::BTreeMap, ops::Range};

/// So many are kept apart. With more, those that are near each other become one.
const LIMIT: usize = 65_536;

/// A set of ranges of bytes. It never holds less than was put into it; more only once there are very many.
#[derive(Debug, Clone)]
pub(crate) struct Ranges {
    /// Ends by starts. Neither touching nor overlapping.
    ends: BTreeMap<u64, u64>,
    /// Starts and ends are multiples of this, since there were too many.
    grain: u64,
    limit: usize,
}

impl Default for Ranges {
    fn default() -> Self {
        Self { ends: BTreeMap::new(), grain: 1, limit: LIMIT }
    }
}

impl Ranges {
    /// Puts a range in. What stands beside or over others becomes one with them.
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        self.join(range);
        while self.ends.len() > self.limit {
            self.grain = (self.grain * 2).max(4096);
            for (start, end) in std::mem::take(&mut self.ends) {
                self.join(start..end);
            }
        }
    }

    fn join(&mut self, range: Range<u64>) {
        // Never beyond the end: the last range's own end stays, as a multiple of the grain or not.
        let furthest = self.ends.values().next_back().map_or(range.end, |end| range.end.max(*end));
        let mut start = range.start / self.grain * self.grain;
        let mut end = range.end.next_multiple_of(self.grain).min(furthest.max(range.end));
        while let Some((&other, &until)) = self.ends.range(..=end).next_back() {
            if until < start {
                break;
            }
            self.ends.remove(&other);
            (start, end) = (start.min(other), end.max(until));
        }
        self.ends.insert(start, end);
    }

    /// Returns the first byte of all.
    pub(crate) fn start(&self) -> Option<u64> {
        self.ends.keys().next().copied()
    }

    /// Returns how many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Holds while nothing is in it but what was put in.
    pub(crate) fn is_exact(&self) -> bool {
        self.grain == 1
    }

    /// Returns how many bytes they have together.
    pub(crate) fn bytes(&self) -> u64 {
        self.ends.iter().map(|(start, end)| end - start).sum()
    }

    /// Returns them in their order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ {
        self.ends.iter().map(|(start, end)| *start..*end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn too_many_become_fewer_and_none_is_lost() {
        let mut ranges = Ranges { limit: 100, ..Ranges::default() };
        for sector in 0..1000 {
            ranges.insert(sector * 1024..sector * 1024 + 512);
        }
        assert!(ranges.len() <= 100 && !ranges.is_exact());
        for sector in 0..1000 {
            let at = sector * 1024;
            assert!(ranges.iter().any(|range| range.start <= at && at + 512 <= range.end));
        }
        assert_eq!(ranges.iter().next_back().unwrap().end, 999 * 1024 + 512, "not past the end");
    }

    proptest! {
        #[test]
        fn a_set_of_ranges_is_a_set_of_bytes(parts in prop::collection::vec((0u64..200, 0u64..20), 0..40)) {
            let (mut ranges, mut bytes) = (Ranges::default(), BTreeSet::new());
            for (start, length) in parts {
                ranges.insert(start..start + length);
                bytes.extend(start..start + length);
            }
            let held: Vec<u64> = ranges.iter().flatten().collect();
            prop_assert_eq!(ranges.bytes(), u64::try_from(held.len()).unwrap());
            prop_assert_eq!(held, bytes.into_iter().collect::<Vec<_>>());
            let apart: Vec<_> = ranges.iter().collect();
            prop_assert!(apart.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
