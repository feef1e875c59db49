//! Sets of byte ranges.

use std::ops::Range;

/// Returns ranges in order, none empty, none touching another.
pub(super) fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// Returns what is in one set and not in the other. Both are merged.
pub(super) fn without(ranges: &[Range<u64>], other: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut left = Vec::with_capacity(ranges.len());
    let mut holes = other.iter().peekable();
    for range in ranges {
        let mut start = range.start;
        while let Some(hole) = holes.peek().filter(|hole| hole.start < range.end) {
            if start < hole.start {
                left.push(start..hole.start);
            }
            start = start.max(hole.end);
            if hole.end > range.end {
                break; // It goes on in the next range.
            }
            holes.next();
        }
        if start < range.end {
            left.push(start..range.end);
        }
    }
    left
}

/// Returns how many bytes a merged set has.
pub(super) fn bytes(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn members(ranges: &[Range<u64>]) -> BTreeSet<u64> {
        ranges.iter().cloned().flatten().collect()
    }

    prop_compose! {
        fn some()(ranges in prop::collection::vec((0_u64..60, 0_u64..12), 0..8)) -> Vec<Range<u64>> {
            ranges.into_iter().map(|(start, length)| start..start + length).collect()
        }
    }

    proptest! {
        #[test]
        fn sets_of_ranges_are_sets_of_bytes(one in some(), other in some()) {
            let (set, hole) = (merged(one.clone()), merged(other.clone()));
            prop_assert_eq!(members(&set), members(&one));
            prop_assert!(set.windows(2).all(|pair| pair[0].end < pair[1].start), "{:?}", set);
            let left = without(&set, &hole);
            let expected: BTreeSet<u64> = members(&one).difference(&members(&other)).copied().collect();
            prop_assert_eq!(members(&left), expected);
            prop_assert_eq!(bytes(&set), u64::try_from(members(&set).len()).unwrap());
        }
    }
}
