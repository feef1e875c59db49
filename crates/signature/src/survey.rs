//! Where on a disk something may be that would be found again: old tables, what lay in their partitions, and the
//! copies that filesystems and volumes keep far from their start.
//!
//! ```text
//! disk ─► tables ─► partitions ─┬─► md, LVM, bcache ─► what lies in them ─► …
//!                               └─► ext, XFS, … ─► places of their copies
//! ```
//!
//! A [`Place`] that was read to learn of others has a rank: that of what led to it, and one. Whoever clears all places
//! without a rank first, then those with one from the highest to 0, can be cut off at any point: what is left still
//! leads to all that is not cleared yet.
//!
//! Foreign numbers are only ever used to name places inside the disk, and there is a limit to how many.

mod fixed;
mod headers;
mod label;
mod tables;
mod volumes;

use std::collections::{BTreeSet, VecDeque};

use crate::{
    Signature, Source, Unreadable, filesystem, gpt, mbr,
    region::{Reader, Region},
    remnant, volume,
};

/// The most areas that are looked into; a disk with more has a table that nobody made in earnest.
pub const AREA_LIMIT: usize = 256;

/// The most places that are named.
pub const PLACE_LIMIT: usize = 16_384;

/// How deep areas are followed: a partition in a logical volume in an array in a partition, with room.
const DEPTH_LIMIT: u32 = 6;

/// How much of both ends of an area is read at once.
const END_BYTES: u64 = 256 << 10;

/// What is on a disk, and where its traces are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// What is or was a device of its own, the disk first; an inner one after the one it lies in.
    pub areas: Vec<Area>,
    /// Where something was recognised or may be, apart from the ends of areas.
    pub places: Vec<Place>,
    /// Places that could not be read: what they would have led to is not known.
    pub unreadable: Vec<Unreadable>,
    /// Holds when there was more than the limits allow.
    pub is_cut: bool,
}

/// A run of bytes that is or was a device of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Where it begins on the disk, in bytes.
    pub start: u64,
    /// Its length in bytes. Never beyond the end of what it lies in.
    pub length: u64,
    /// What made it: `disk`, `gpt`, `mbr`, `md`, `lvm2`, …
    pub kind: &'static str,
    rank: u32,
    depth: u32,
}

/// A run of bytes in which something would be recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where it begins on the disk, in bytes.
    pub start: u64,
    /// Its length in bytes. Never beyond the end of its area.
    pub length: u64,
    /// What lives there: `gpt`, `ext`, `ceph-bluestore`, …
    pub kind: &'static str,
    /// Present when other places are known from it: how far it is from what is known without a table.
    pub rank: Option<u32>,
}

/// Something that is still recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where the area begins in which it was recognised, in bytes.
    pub area: u64,
    /// What it is, with its place counted from the area's start.
    pub signature: Signature,
}

/// Takes down what one area leads to, clipped to that area.
struct Notes<'survey> {
    area: Area,
    survey: &'survey mut Survey,
    /// Areas that are already known.
    known: &'survey mut BTreeSet<(u64, u64)>,
    queue: &'survey mut VecDeque<Area>,
}

impl Notes<'_> {
    /// Returns the run on the disk; `None` when nothing of it lies in the area.
    fn clip(&self, offset: u64, length: u64) -> Option<(u64, u64)> {
        let length = length.min(self.area.length.checked_sub(offset)?);
        (length > 0).then_some((self.area.start.checked_add(offset)?, length))
    }

    fn place(&mut self, kind: &'static str, offset: u64, length: u64, rank: Option<u32>) {
        let Some((start, length)) = self.clip(offset, length) else { return };
        if self.survey.places.len() < PLACE_LIMIT {
            self.survey.places.push(Place { start, length, kind, rank });
        } else {
            self.survey.is_cut = true;
        }
    }

    /// Something that nothing else is known from.
    fn copy(&mut self, kind: &'static str, offset: u64, length: u64) {
        self.place(kind, offset, length, None);
    }

    /// What leads to other places, `steps` reads after the area itself was known.
    fn evidence(&mut self, kind: &'static str, offset: u64, length: u64, steps: u32) {
        let rank = self.area.rank.saturating_add(steps);
        self.place(kind, offset, length, Some(rank));
    }

    /// A device in the area, known from evidence that is `steps` from the area.
    fn interior(&mut self, kind: &'static str, offset: u64, length: u64, steps: u32) {
        let Some((start, length)) = self.clip(offset, length) else { return };
        if self.area.depth >= DEPTH_LIMIT || self.known.len() >= AREA_LIMIT {
            self.survey.is_cut |= !self.known.contains(&(start, length));
        } else if self.known.insert((start, length)) {
            let rank = self.area.rank.saturating_add(steps).saturating_add(1);
            self.queue.push_back(Area { start, length, kind, rank, depth: self.area.depth + 1 });
        }
    }
}

/// Looks where on a disk of `size` bytes, whose tables count in sectors of `sector` bytes, something may be found.
/// Reads at most [`SURVEY_READ_LIMIT`](crate::SURVEY_READ_LIMIT) bytes.
pub fn survey(source: &mut dyn Source, size: u64, sector: u32) -> Survey {
    let sector = u64::from(sector).clamp(512, 65_536);
    let mut reader = Reader::patient(source);
    let mut survey = Survey::default();
    let mut known = BTreeSet::from([(0, size)]);
    let whole = Area { start: 0, length: size, kind: "disk", rank: 0, depth: 0 };
    let mut queue = VecDeque::from([whole]);
    while let Some(area) = queue.pop_front() {
        survey.areas.push(area);
        let mut region = reader.region(area.start, area.length, END_BYTES);
        let mut notes = Notes { area, survey: &mut survey, known: &mut known, queue: &mut queue };
        tables::find(&mut region, sector, &mut notes);
        label::find(&mut region, sector, &mut notes);
        volumes::find(&mut region, &mut notes);
        headers::find(&mut region, &mut notes);
        for (kind, offset, length) in fixed::FAR {
            notes.copy(kind, offset, length);
        }
    }
    survey.unreadable = reader.into_unreadable();
    survey
}

/// Looks for everything that is known in areas of a disk, and says what could not be read. Knows more than
/// [`probe`](crate::probe), and reads more: both ends of each area and every far place.
pub fn find_everything(
    source: &mut dyn Source,
    sector: u32,
    areas: &[Area],
) -> (Vec<Found>, Vec<Unreadable>) {
    let sector = u64::from(sector).clamp(512, 65_536);
    let mut reader = Reader::patient(source);
    let mut found = Vec::new();
    for area in areas {
        let mut region = reader.region(area.start, area.length, END_BYTES);
        let signatures = in_region(&mut region, sector);
        found.extend(signatures.into_iter().map(|signature| Found { area: area.start, signature }));
    }
    (found, reader.into_unreadable())
}

fn in_region(region: &mut Region<'_, '_>, sector: u64) -> Vec<Signature> {
    let mut found = filesystem::find(region);
    found.extend(volume::find(region));
    found.extend(remnant::find(region));
    found.extend(gpt::find(region, sector).signatures);
    found.extend(mbr::find(region, sector).signatures);
    found.extend(fixed::find(region));
    // Some are known to two of them.
    found.sort_by(|one, other| (one.offset, one.kind).cmp(&(other.offset, other.kind)));
    found.dedup_by(|one, other| (one.offset, one.kind) == (other.offset, other.kind));
    found
}
