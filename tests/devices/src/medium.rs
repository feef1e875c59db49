//! What is really stored: pages, of which the host sees only those that something refers to.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
};

use crate::layout::{count, index};

/// What an erased page of flash holds.
pub(crate) const ERASED: u8 = 0xff;

/// Pages, and which of them the host sees where. A *space* is a namespace, or 0 for a device that has none; a *unit* is
/// the smallest piece that is written at once.
///
/// Flash writes each time to another page: what a page held stays there until it is used again. A rotating disk writes in
/// place, but for units that were reallocated.
#[derive(Debug, Clone)]
pub(crate) struct Medium {
    unit: usize,
    pages: Vec<u8>,
    /// Which page holds a unit.
    places: BTreeMap<(u32, u64), usize>,
    /// Pages that hold no unit: the next to be written comes first.
    free: VecDeque<usize>,
    /// Which unit of which space wrote a page last.
    owners: Vec<(u32, u64)>,
    in_place: bool,
    /// The media keys of the spaces; none where the device does not encrypt.
    keys: Option<BTreeMap<u32, u64>>,
}

impl Medium {
    /// Returns blank flash.
    pub(crate) fn flash(unit: usize, pages: u64, encrypts: bool) -> Self {
        let pages = index(pages);
        Self {
            unit,
            pages: vec![ERASED; unit * pages],
            places: BTreeMap::new(),
            free: (0..pages).collect(),
            owners: vec![(0, 0); pages],
            in_place: false,
            keys: encrypts.then(BTreeMap::new),
        }
    }

    /// Returns a rotating disk full of zeros with `units` that the host can reach and `spare` for reallocation.
    pub(crate) fn rotating(unit: usize, units: u64, spare: u64, encrypts: bool) -> Self {
        let mut medium = Self::flash(unit, units + spare, encrypts);
        medium.in_place = true;
        medium.pages.fill(0);
        medium.places = (0..units).map(|at| ((0, at), index(at))).collect();
        medium.free = (index(units)..index(units + spare)).collect();
        medium
    }

    /// How many pages there are.
    pub(crate) fn page_count(&self) -> usize {
        self.owners.len()
    }

    /// Gives every page another size: what is stored stays as it is, nothing refers to it but, on a rotating disk, its
    /// place.
    pub(crate) fn divide_into(&mut self, unit: usize, spare: u64) {
        let pages = self.pages.len() / unit;
        let units = count(pages) - spare;
        self.unit = unit;
        self.pages.truncate(pages * unit);
        self.owners = vec![(0, 0); pages];
        self.places.clear();
        self.free = (0..pages).collect();
        if self.in_place {
            self.places = (0..units).map(|at| ((0, at), index(at))).collect();
            self.free = (index(units)..pages).collect();
        }
    }

    /// What the host reads of a unit; `None` where nothing is mapped.
    pub(crate) fn read(&self, space: u32, unit: u64) -> Option<Vec<u8>> {
        self.places.get(&(space, unit)).map(|page| self.page(*page))
    }

    /// Writes a unit.
    pub(crate) fn write(&mut self, space: u32, unit: u64, bytes: &[u8]) {
        let old = self.places.get(&(space, unit)).copied();
        let page = match old {
            Some(page) if self.in_place => page,
            _ => match self.free.pop_front() {
                Some(page) => {
                    self.free.extend(old);
                    page
                }
                None => old.expect("a device has at least as many pages as units"),
            },
        };
        self.places.insert((space, unit), page);
        self.owners[page] = (space, unit);
        self.set_page(page, bytes);
    }

    /// Forgets where a unit is; what it held stays on the medium.
    pub(crate) fn unmap(&mut self, space: u32, unit: u64) {
        if let Some(page) = self.places.remove(&(space, unit)) {
            self.free.push_back(page);
        }
    }

    /// Forgets where all units of a space are.
    pub(crate) fn unmap_space(&mut self, space: u32) {
        let units: Vec<u64> =
            self.places.range((space, 0)..=(space, u64::MAX)).map(|(key, _)| key.1).collect();
        for unit in units {
            self.unmap(space, unit);
        }
    }

    /// Forgets where everything is.
    pub(crate) fn unmap_all(&mut self) {
        let pages: Vec<usize> = std::mem::take(&mut self.places).into_values().collect();
        self.free.extend(pages);
    }

    /// Replaces the page of a unit by a spare one, as for a sector that became weak: the host sees no difference.
    /// Returns whether there was a spare page.
    pub(crate) fn reallocate(&mut self, space: u32, unit: u64) -> bool {
        let (Some(bytes), Some(page)) = (self.read(space, unit), self.free.pop_front()) else {
            return false;
        };
        self.places.insert((space, unit), page);
        self.owners[page] = (space, unit);
        self.set_page(page, &bytes);
        true
    }

    /// Which pages hold units of a space.
    pub(crate) fn seen(&self, space: u32, units: Range<u64>) -> Vec<usize> {
        self.places.range((space, units.start)..(space, units.end)).map(|(_, page)| *page).collect()
    }

    /// Which pages a space wrote last: those the host sees, and those that were given up.
    pub(crate) fn owned(&self, space: u32) -> Vec<usize> {
        self.written_for(space, 0..u64::MAX)
    }

    /// Which pages these units wrote last: those the host sees, and all older copies.
    pub(crate) fn written_for(&self, space: u32, units: Range<u64>) -> Vec<usize> {
        let is_theirs = |page: &usize| {
            let (owner, unit) = self.owners[*page];
            owner == space && units.contains(&unit)
        };
        (0..self.page_count()).filter(is_theirs).collect()
    }

    /// Which pages hold nothing that the host sees.
    pub(crate) fn unseen(&self) -> Vec<usize> {
        let mut pages: Vec<usize> = self.free.iter().copied().collect();
        pages.sort_unstable();
        pages
    }

    /// Makes all spaces one, number 0, without touching what is stored.
    pub(crate) fn merge_spaces(&mut self) {
        let places = std::mem::take(&mut self.places);
        self.places = places.into_iter().map(|((_, unit), page)| ((0, unit), page)).collect();
        for owner in &mut self.owners {
            owner.0 = 0;
        }
    }

    /// Erases a page as flash does.
    pub(crate) fn erase_page(&mut self, page: usize) {
        self.pages[page * self.unit..][..self.unit].fill(ERASED);
    }

    /// Fills a page with a pattern, again and again.
    pub(crate) fn fill_page(&mut self, page: usize, pattern: &[u8]) {
        let bytes: Vec<u8> = pattern.iter().copied().cycle().take(self.unit).collect();
        self.set_page(page, &bytes);
    }

    /// Changes the media key of a space: what was written with the old one cannot be read any more. Without encryption
    /// nothing changes.
    pub(crate) fn change_key(&mut self, space: u32) {
        if let Some(keys) = &mut self.keys {
            *keys.entry(space).or_default() += 1;
        }
    }

    /// Changes all media keys.
    pub(crate) fn change_keys(&mut self) {
        let spaces: BTreeSet<u32> = self.owners.iter().map(|(space, _)| *space).collect();
        for space in spaces {
            self.change_key(space);
        }
    }

    /// All that is on the medium, page by page, read with the keys that the device has.
    pub(crate) fn contents(&self) -> Vec<u8> {
        let mut contents = Vec::with_capacity(self.pages.len());
        for page in 0..self.page_count() {
            contents.extend_from_slice(&self.page(page));
        }
        contents
    }

    fn page(&self, page: usize) -> Vec<u8> {
        let mut bytes = self.pages[page * self.unit..][..self.unit].to_vec();
        self.cipher(page, &mut bytes);
        bytes
    }

    fn set_page(&mut self, page: usize, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        self.cipher(page, &mut bytes);
        self.pages[page * self.unit..][..self.unit].copy_from_slice(&bytes);
    }

    /// Stands for the device's cipher: with another key other bytes come out.
    fn cipher(&self, page: usize, bytes: &mut [u8]) {
        let Some(keys) = &self.keys else { return };
        let (space, _) = self.owners[page];
        let key = keys.get(&space).copied().unwrap_or_default();
        let mut state = (key + 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(count(page) << 20)
            .wrapping_add(u64::from(space) << 52);
        for piece in bytes.chunks_mut(8) {
            // SplitMix64 (Steele, Lea, Flood 2014).
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            for (byte, mask) in piece.iter_mut().zip((word ^ (word >> 31)).to_le_bytes()) {
                *byte ^= mask;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(medium: &Medium, byte: u8) -> bool {
        medium.contents().chunks(16).any(|page| page.iter().all(|found| *found == byte))
    }

    #[test]
    fn flash_keeps_what_was_overwritten_and_what_was_unmapped() {
        let mut medium = Medium::flash(16, 4, false);
        medium.write(1, 0, &[1; 16]);
        medium.write(1, 0, &[2; 16]);
        medium.unmap(1, 0);
        assert_eq!(medium.read(1, 0), None);
        assert!(holds(&medium, 1) && holds(&medium, 2));
    }

    #[test]
    fn a_rotating_disk_writes_in_place_and_keeps_what_was_reallocated() {
        let mut medium = Medium::rotating(16, 2, 1, false);
        medium.write(0, 1, &[1; 16]);
        medium.write(0, 1, &[2; 16]);
        assert!(!holds(&medium, 1));
        assert!(medium.reallocate(0, 1));
        medium.write(0, 1, &[3; 16]);
        assert!(holds(&medium, 2) && holds(&medium, 3));
        assert!(!medium.reallocate(0, 1), "there was one spare page");
    }

    #[test]
    fn a_changed_key_makes_the_pages_of_its_space_unreadable_and_no_others() {
        let mut medium = Medium::flash(16, 4, true);
        medium.write(1, 0, &[1; 16]);
        medium.write(2, 0, &[2; 16]);
        medium.change_key(1);
        assert!(!holds(&medium, 1));
        assert_ne!(medium.read(1, 0), Some(vec![1; 16]));
        assert_eq!(medium.read(2, 0), Some(vec![2; 16]));
        medium.change_keys();
        assert!(!holds(&medium, 2));
    }
}
