//! What is still recognised.

use disk::Medium;
use signature::{
    Unreadable,
    survey::{Found, find_everything},
};

use super::{Places, source::Source};

/// What a look at a cleared disk found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Left {
    /// What is recognised: nothing, it is to be hoped.
    pub found: Vec<Found>,
    /// Where nothing can be said.
    pub unreadable: Vec<Unreadable>,
}

impl Left {
    /// Holds when everything could be read and nothing is recognised.
    pub fn is_nothing(&self) -> bool {
        self.found.is_empty() && self.unreadable.is_empty()
    }
}

/// Looks for everything that is known, on the disk and in all that was ever a device on it as the plan had it.
pub fn probe(medium: &dyn Medium, places: &Places) -> Left {
    let sector = medium.sector_bytes();
    let (found, unreadable) = find_everything(&mut Source::new(medium), sector, &places.areas);
    Left { found, unreadable }
}
