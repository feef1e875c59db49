//! Where this program knows of no media, since machines start it over a network.

use protocol::inventory::Gap;

use super::{
    fetch::Failure,
    stock::{Parcel, Stock},
};

/// The media of this machine: none.
pub(super) static MEDIA: Media = Media;

/// See the other module of this name.
#[derive(Debug)]
pub(super) struct Media;

impl Media {
    pub(super) fn want(&self) {}

    pub(super) fn is_wanted(&self) -> bool {
        false
    }

    pub(super) fn count(&self) -> usize {
        0
    }

    pub(super) fn is_quiet(&self) -> bool {
        true
    }

    pub(super) fn take_news(&self) -> bool {
        false
    }

    pub(super) fn look(&self, _disk: &str) {}

    pub(super) fn has(&self, _disk: &String) -> bool {
        false
    }

    pub(super) fn forget(&self, _disk: &str) {}

    pub(super) fn fetch(
        &self,
        _parcel: &Parcel,
        _stock: &Stock,
        _report: &dyn Fn(Gap),
    ) -> Option<Result<(), Failure>> {
        None
    }
}
