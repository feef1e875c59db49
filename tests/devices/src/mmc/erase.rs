//! Erasing (JESD84-B51, sections 6.6.9 to 6.6.13).
//!
//! Erase and trim only move addresses to where the host sees nothing; what they held stays until a sanitize removes all
//! that the host does not see. The secure ones remove it at once, with its copies.

use std::{ops::Range, time::Duration};

use super::{Card, Error, status};
use crate::{
    Course,
    course::{Effect, Erasure, Standing},
};

/// Arguments of ERASE (section 6.6.9; also `<linux/mmc/mmc.h>`).
const ERASE: u32 = 0x0000_0000;
const TRIM: u32 = 0x0000_0001;
const DISCARD: u32 = 0x0000_0003;
const SECURE_ERASE: u32 = 0x8000_0000;
const SECURE_TRIM_MARK: u32 = 0x8000_0001;
const SECURE_TRIM_ERASE: u32 = 0x8000_8000;

impl Card {
    pub(super) fn set_erase_start(&mut self, sector: u64) {
        self.erase_end = None;
        self.erase_start = self.checked(sector);
    }

    pub(super) fn set_erase_end(&mut self, sector: u64) {
        if self.erase_start.is_none() {
            self.errors |= status::ERASE_SEQUENCE;
            return;
        }
        self.erase_end = self.checked(sector);
    }

    fn checked(&mut self, sector: u64) -> Option<u64> {
        let is_there = sector < self.sectors(self.partition);
        if !is_there {
            self.errors |= status::OUT_OF_RANGE;
        }
        Some(sector).filter(|_| is_there)
    }

    pub(super) fn erase(&mut self, argument: u32) -> Result<(), Error> {
        let (Some(start), Some(end)) = (self.erase_start.take(), self.erase_end.take()) else {
            self.errors |= status::ERASE_SEQUENCE;
            return Ok(());
        };
        let can = match argument {
            ERASE | DISCARD => true,
            TRIM => self.config.trim,
            SECURE_ERASE => self.config.secure_erase,
            SECURE_TRIM_MARK | SECURE_TRIM_ERASE => self.config.secure_erase && self.config.trim,
            _ => false,
        };
        if !can || start > end {
            self.errors |= if can { status::ERASE_PARAMETER } else { status::ERROR };
            return Ok(());
        }
        // Erases take whole groups, those in which start and end are; trims take sectors.
        let group = self.group();
        let groups = start / group * group..(end / group + 1) * group;
        let sectors = start..end + 1;
        let partition = self.partition;
        match argument {
            ERASE => self.give_up(partition, groups),
            TRIM => self.give_up(partition, sectors),
            SECURE_ERASE => return self.erase_securely(vec![(partition, groups)]),
            SECURE_TRIM_MARK => self.marked.push((partition, sectors)),
            SECURE_TRIM_ERASE => {
                let marked = std::mem::take(&mut self.marked);
                return self.erase_securely(marked);
            }
            // Discarded sectors may read as they did: here they do.
            _ => {}
        }
        Ok(())
    }

    fn give_up(&mut self, partition: u32, sectors: Range<u64>) {
        for sector in sectors {
            self.medium.unmap(partition, sector);
        }
    }

    pub(super) fn erase_securely(&mut self, ranges: Vec<(u32, Range<u64>)>) -> Result<(), Error> {
        let pages = ranges
            .iter()
            .flat_map(|(partition, range)| self.medium.written_for(*partition, range.clone()))
            .collect();
        let course = self.config.erase_course;
        self.run(Effect::Erase(pages), course, self.config.erase_time)?;
        if course == Course::Finishes {
            for (partition, range) in ranges {
                self.give_up(partition, range);
            }
        }
        Ok(())
    }

    /// Removes all that the host does not see, whichever partition it was of.
    pub(super) fn sanitize(&mut self) -> Result<(), Error> {
        let effect = Effect::Erase(self.medium.unseen());
        self.run(effect, self.config.sanitize_course, self.config.sanitize_time)
    }

    /// The card is busy until it is done.
    fn run(&mut self, effect: Effect, course: Course, time: Duration) -> Result<(), Error> {
        if let Some(at) = self.cut_at.take() {
            Erasure::new(effect, Course::SticksAt(at), time).advance(time, &mut self.medium);
            self.now += time * u32::from(at) / 0x1_0000;
            self.power_cut();
            return Err(Error::NoAnswer);
        }
        let standing = Erasure::new(effect, course, time).advance(time, &mut self.medium);
        self.now += time;
        self.took = time;
        match standing {
            Standing::Done => {}
            Standing::Failed => self.errors |= status::ERROR,
            Standing::Running => {
                self.is_silent = true;
                return Err(Error::NoAnswer);
            }
        }
        Ok(())
    }
}
