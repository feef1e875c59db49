//! What an order is given for, as far as the checks differ by it. Who only writes links nothing of what wiping needs.

use protocol::{
    Inventory, InventoryDigest,
    order::{DiskIdentity, OrderedDisk},
    wipe::{Obstacle, PowerLevel, Wipe, WipeStep, WipeStepKind},
};

use super::place;

/// How an order departs from the strictest checks. By default it does not.
pub(super) trait Purpose {
    /// Holds when the order names this obstacle for this disk.
    fn is_despite(&self, _disk: &DiskIdentity, _obstacle: Obstacle) -> bool {
        false
    }

    /// Holds when an earlier boot has begun with the disk of this number: what is on it says nothing any more.
    fn is_begun(&self, _number: usize) -> bool {
        false
    }

    /// Holds when an earlier boot has begun with some disk.
    fn is_continued(&self) -> bool {
        false
    }

    /// Holds when what is on the disk may go.
    fn may_lose(&self, ordered: &OrderedDisk) -> bool {
        ordered.overwrite
    }

    /// Holds when a disk is destroyed that cannot be read, so that nobody knows what goes with it.
    fn may_lose_unread(&self, _ordered: &OrderedDisk) -> bool {
        false
    }

    /// Returns the digest that the order has to have.
    fn digest(&self, inventory: &Inventory) -> InventoryDigest {
        InventoryDigest::of(inventory)
    }

    /// Holds when the order calls a disk missing.
    fn is_missing(&self, _disk: &DiskIdentity) -> bool {
        false
    }

    /// Holds when disks are only looked at: what is built on them may be there yet, and is looked at by who asks.
    fn is_only_looked_at(&self) -> bool {
        false
    }
}

/// To write an image.
pub(super) struct Writing;

impl Purpose for Writing {}

impl Purpose for Wipe {
    fn is_despite(&self, disk: &DiskIdentity, obstacle: Obstacle) -> bool {
        let named = self.options.despite.iter().filter(|despite| despite.obstacle == obstacle);
        named.into_iter().any(|despite| place::names(&despite.disk, disk))
    }

    fn is_begun(&self, number: usize) -> bool {
        let is_its = |step: &&WipeStep| usize::try_from(step.disk).is_ok_and(|disk| disk == number);
        self.journal.iter().filter(is_its).any(begins)
    }

    fn is_continued(&self) -> bool {
        self.journal.iter().any(begins)
    }

    fn may_lose(&self, ordered: &OrderedDisk) -> bool {
        ordered.overwrite || !self.level.destroys()
    }

    /// A dying disk, or one that is locked, is what has to be wiped: who said that it may be overwritten said so of what
    /// cannot be read, too.
    fn may_lose_unread(&self, ordered: &OrderedDisk) -> bool {
        ordered.overwrite && self.level.destroys()
    }

    fn digest(&self, inventory: &Inventory) -> InventoryDigest {
        InventoryDigest::without(inventory, &self.missing)
    }

    fn is_missing(&self, disk: &DiskIdentity) -> bool {
        self.missing.contains(disk)
    }
}

/// A wipe before what is built on its disks is taken down.
pub(super) struct Looking<'w>(pub(super) &'w Wipe);

impl Purpose for Looking<'_> {
    fn is_despite(&self, disk: &DiskIdentity, obstacle: Obstacle) -> bool {
        self.0.is_despite(disk, obstacle)
    }

    fn is_begun(&self, number: usize) -> bool {
        self.0.is_begun(number)
    }

    fn is_continued(&self) -> bool {
        self.0.is_continued()
    }

    fn may_lose(&self, ordered: &OrderedDisk) -> bool {
        self.0.may_lose(ordered)
    }

    fn may_lose_unread(&self, ordered: &OrderedDisk) -> bool {
        self.0.may_lose_unread(ordered)
    }

    fn digest(&self, inventory: &Inventory) -> InventoryDigest {
        self.0.digest(inventory)
    }

    fn is_missing(&self, disk: &DiskIdentity) -> bool {
        Purpose::is_missing(self.0, disk)
    }

    fn is_only_looked_at(&self) -> bool {
        true
    }
}

/// Holds for a step after which the order has begun with its disk. Passwords are passed on from earlier orders, and of the
/// order's own there is none without a technique that was begun before.
fn begins(step: &WipeStep) -> bool {
    !matches!(step.kind, WipeStepKind::AtaPassword { .. })
}

/// Holds when a level uses the device's own erasure, which can reach further than one disk of it.
pub(super) fn erases_devices(level: PowerLevel) -> bool {
    level == PowerLevel::Redline
}
