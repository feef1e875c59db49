//! Which bytes are cleared, and why.

use std::{collections::BTreeSet, fmt, ops::Range};

use disk::Medium;
use signature::{
    Unreadable,
    survey::{self, Area},
};

use super::{
    ranges::{merged, without},
    source::Source,
};

/// How much of a disk's and a partition's start is cleared by writing: LUKS2's largest headers and the key slots of its
/// usual ones, and everything else that stands near a start. A disk of 100 MB/s takes a sixth of a second for it.
pub const START_WRITTEN: u64 = 16 << 20;

/// How much of an end is cleared by writing: every header of mainboards' RAID, ZFS's labels and Windows' database of
/// dynamic disks lie in the last MiB.
pub const END_WRITTEN: u64 = 4 << 20;

/// How much of both ends is cleared where the device zeroes by itself, which costs it nothing.
pub const END_ZEROED: u64 = 64 << 20;

/// The same for runs of logical volumes, of which a disk may have hundreds.
const RUN_START: u64 = 8 << 20;
const RUN_END: u64 = 2 << 20;

/// What is cleared on one disk. Ends and places lie on the disk, and their number is bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Every place, by offset. They may overlap.
    pub places: Vec<Place>,
    /// The disk itself, its partitions, and what lies in them.
    pub areas: Vec<Area>,
    /// What could not be read: places that it would have led to are not among these.
    pub unreadable: Vec<Unreadable>,
    /// Holds when the disk names more than anybody makes in earnest, and some of it was left out.
    pub is_cut: bool,
    size: u64,
    sector: u64,
}

/// A run of bytes to be cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Where it begins, in bytes.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
    /// What may be there.
    pub why: Why,
}

/// What may be in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It is the start or the end of a device: `disk`, `gpt` for a partition of a GPT, `md`, `lvm2`…
    End {
        /// Of what.
        of: &'static str,
    },
    /// The same, further in: cleared only where the device zeroes by itself.
    WideEnd {
        /// Of what.
        of: &'static str,
    },
    /// A copy that nothing else is known from.
    Copy {
        /// Of what.
        of: &'static str,
    },
    /// A table or a header that leads to other places: cleared after those.
    Lead {
        /// Of what.
        of: &'static str,
        /// How many others lead to it.
        rank: u32,
    },
}

/// Why there is nothing to plan for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The disk has no capacity: there is no medium in it, or it does not answer.
    #[error("the disk has no bytes")]
    Empty,
    /// The capacity is not made of whole sectors.
    #[error("{size_bytes} bytes are not whole sectors of {sector_bytes} bytes")]
    Sectors {
        /// What the disk says of its capacity.
        size_bytes: u64,
        /// And of its sectors.
        sector_bytes: u32,
    },
}

/// Looks what is on a disk, and says what is to be cleared. Only reads, and not much.
pub fn plan(medium: &dyn Medium) -> Result<Places, PlanError> {
    let (size, sector_bytes) = (medium.size_bytes(), medium.sector_bytes());
    if size == 0 {
        return Err(PlanError::Empty);
    }
    let sector = u64::from(sector_bytes);
    if sector == 0 || !size.is_multiple_of(sector) {
        return Err(PlanError::Sectors { size_bytes: size, sector_bytes });
    }
    let survey = survey::survey(&mut Source::new(medium), size, sector_bytes);
    let mut places: Vec<Place> = survey.areas.iter().flat_map(ends).collect();
    places.extend(survey.places.iter().map(|place| {
        let why = match place.rank {
            Some(rank) => Why::Lead { of: place.kind, rank },
            None => Why::Copy { of: place.kind },
        };
        Place { start: place.start, length: place.length, why }
    }));
    places.sort_unstable();
    places.dedup();
    let (areas, unreadable) = (survey.areas, survey.unreadable);
    Ok(Places { places, areas, unreadable, is_cut: survey.is_cut, size, sector })
}

fn ends(area: &Area) -> [Place; 4] {
    let of = area.kind;
    let (start, end) = match of {
        "lvm2" => (RUN_START, RUN_END),
        _ => (START_WRITTEN, END_WRITTEN),
    };
    let at_start =
        |length: u64, why| Place { start: area.start, length: length.min(area.length), why };
    let at_end = |length: u64, why| {
        let length = length.min(area.length);
        Place { start: area.start + (area.length - length), length, why }
    };
    [
        at_start(start, Why::End { of }),
        at_end(end, Why::End { of }),
        at_start(END_ZEROED, Why::WideEnd { of }),
        at_end(END_ZEROED, Why::WideEnd { of }),
    ]
}

/// What is cleared before the disk is flushed, and the next phase begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Phase {
    pub(super) ranges: Vec<Range<u64>>,
    /// Only where the device zeroes by itself.
    pub(super) is_wide: bool,
}

impl Places {
    /// Returns what is cleared on any device, in whole sectors, in order, without overlaps.
    pub fn ranges(&self) -> Vec<Range<u64>> {
        self.select(|why| !matches!(why, Why::WideEnd { .. }))
    }

    /// Returns the phases: first what leads nowhere, then what leads furthest in, and so on to the disk's own tables.
    pub(super) fn phases(&self) -> Vec<Phase> {
        let ranks: BTreeSet<u32> =
            self.places.iter().filter_map(|place| place.why.rank()).collect();
        let leads = self.select(|why| why.rank().is_some());
        let first = without(&self.ranges(), &leads);
        let wide = self.select(|why| matches!(why, Why::WideEnd { .. }));
        let wide = without(&without(&wide, &first), &leads);
        let mut phases =
            vec![Phase { ranges: first, is_wide: false }, Phase { ranges: wide, is_wide: true }];
        for rank in ranks.into_iter().rev() {
            // What is also a nearer lead stays until that one's turn.
            let nearer = self.select(|why| why.rank().is_some_and(|other| other < rank));
            let ranges = without(&self.select(|why| why.rank() == Some(rank)), &nearer);
            phases.push(Phase { ranges, is_wide: false });
        }
        phases.retain(|phase| !phase.ranges.is_empty());
        phases
    }

    fn select(&self, wanted: impl Fn(Why) -> bool) -> Vec<Range<u64>> {
        let ranges = self.places.iter().filter(|place| wanted(place.why)).map(|place| {
            let end = (place.start + place.length).next_multiple_of(self.sector).min(self.size);
            place.start - place.start % self.sector..end
        });
        merged(ranges.collect())
    }
}

impl Why {
    fn rank(self) -> Option<u32> {
        match self {
            Self::Lead { rank, .. } => Some(rank),
            Self::End { .. } | Self::WideEnd { .. } | Self::Copy { .. } => None,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End { of: "disk" } => f.write_str("end of the disk"),
            Self::End { of } => write!(f, "end of what {of} names"),
            Self::WideEnd { of: "disk" } => f.write_str("end of the disk, if it zeroes by itself"),
            Self::WideEnd { of } => {
                write!(f, "end of what {of} names, if the disk zeroes by itself")
            }
            Self::Copy { of } => write!(f, "place of a copy of {of}"),
            Self::Lead { of, .. } => write!(f, "{of}"),
        }
    }
}
