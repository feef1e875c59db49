//! The same checks for wipes: of several disks at once, with all that goes along with them.

use std::sync::Arc;

use inventory::Root;
use protocol::{Inventory, order::DiskIdentity, wipe::Wipe};

use super::{
    Circumstances, Claim, Machine, Permit, claim, claims, for_now, identity,
    kernel::Live,
    only_what_is_ordered, permits,
    purpose::{Looking, Purpose as _},
    radius,
    refusal::{Refusal, label},
    release::to_release,
};

/// A disk by its number in the order, and what was found against it.
type Refused = (usize, Refusal);

/// A wipe that nothing was found against.
#[derive(Debug)]
pub struct Cleared {
    /// One for each disk of the order, in its order; at `idle` without those that were refused.
    pub permits: Vec<Permit>,
    /// Disks that cannot even be looked at, by their number in the order, and why: at `idle` only, and never all of them.
    pub refused: Vec<Refused>,
    /// The machine as it described itself for the checks.
    pub inventory: Inventory,
    /// Disks that the order calls missing, and that are.
    pub missing: Vec<DiskIdentity>,
    /// Disks of the machine that the order does not name.
    pub untouched: Vec<DiskIdentity>,
}

/// Checks a wipe on this machine, now: all that [`check`](super::check) does, and what its level and extras destroy
/// beside the disks. The first reason against any of them ends it; then nothing was written, and the order was not begun.
///
/// `idle` destroys nothing, neither on the disks nor beside them: there a reason against one disk keeps only that one from
/// being looked at, and what other levels reach beyond the disks [`obstacles`] says.
///
/// An order that an earlier boot has begun (its journal holds more than passwords of earlier orders) may be late, and what is on the disks that were
/// begun with is not looked at. Disks that the order calls missing need not be there, and do not count where they are.
pub fn check_wipe(wipe: &Wipe, circumstances: &Circumstances<'_>) -> Result<Cleared, Refusal> {
    let machine = Machine { root: Root::live(), kernel: Arc::new(Live) };
    check_wipe_on(&machine, wipe, circumstances)
}

/// Says all that stands in the way of a wipe: the number of the disk in the order, or none for the machine as a whole,
/// and the reason. Writes nothing, and does not use the order up: for the level `idle`.
pub fn obstacles(wipe: &Wipe, circumstances: &Circumstances<'_>) -> Vec<(Option<usize>, Refusal)> {
    let machine = Machine { root: Root::live(), kernel: Arc::new(Live) };
    obstacles_on(&machine, wipe, circumstances)
}

pub(super) fn check_wipe_on(
    machine: &Machine,
    wipe: &Wipe,
    circumstances: &Circumstances<'_>,
) -> Result<Cleared, Refusal> {
    let order = &wipe.order;
    not_missing(wipe)?;
    let inventory = for_now(machine, order, wipe, circumstances)?;
    missing_are_named(wipe, &inventory)?;
    let (claims, inventory, refused) = if wipe.only_looks() {
        let (claims, refused) = those_that_fit(machine, wipe, circumstances, &inventory)?;
        (claims, inventory, refused)
    } else {
        let claims = claims(machine, order, wipe, circumstances, &inventory)?;
        let inventory = apart(machine, wipe, inventory, &claims)?;
        (claims, inventory, Vec::new())
    };
    let permits = permits(machine, order, wipe, circumstances, claims)?;
    let there: Vec<DiskIdentity> = inventory
        .disks
        .iter()
        .filter(|disk| disk.size_bytes.0 != 0)
        .map(DiskIdentity::of)
        .collect();
    let is_ordered = |disk: &DiskIdentity| order.disks.iter().any(|one| one.identity == *disk);
    let missing: Vec<_> =
        wipe.missing.iter().filter(|disk| !there.contains(disk)).cloned().collect();
    let mute = inventory.disks.iter().filter(|disk| disk.size_bytes.0 == 0);
    let mute = mute.filter(|disk| radius::may_hold_data(disk)).map(DiskIdentity::of);
    let mute: Vec<_> = mute.filter(|disk| !missing.contains(disk)).collect();
    let untouched = there.into_iter().chain(mute).filter(|disk| !is_ordered(disk)).collect();
    Ok(Cleared { permits, refused, inventory, missing, untouched })
}

/// Opens and checks all disks of an order, each by itself, and says why not of those that do not fit; only of the first one
/// where none does.
fn those_that_fit(
    machine: &Machine,
    wipe: &Wipe,
    circumstances: &Circumstances<'_>,
    inventory: &Inventory,
) -> Result<(Vec<Claim>, Vec<Refused>), Refusal> {
    let (mut claims, mut refused) = (Vec::new(), Vec::new());
    for number in 0..wipe.order.disks.len() {
        match claim(machine, &wipe.order, number, wipe, circumstances, inventory) {
            Ok(claim) => claims.push(claim),
            Err(refusal) => refused.push((number, refusal)),
        }
    }
    if claims.is_empty() && !refused.is_empty() {
        return Err(refused.swap_remove(0).1);
    }
    Ok((claims, refused))
}

pub(super) fn obstacles_on(
    machine: &Machine,
    wipe: &Wipe,
    circumstances: &Circumstances<'_>,
) -> Vec<(Option<usize>, Refusal)> {
    let order = &wipe.order;
    let begin = || {
        not_missing(wipe)?;
        let inventory = for_now(machine, order, wipe, circumstances)?;
        missing_are_named(wipe, &inventory)?;
        Ok(inventory)
    };
    let inventory = match begin() {
        Ok(inventory) => inventory,
        Err(refusal) => return vec![(None, refusal)],
    };
    let (mut open, mut against) = (Vec::new(), Vec::new());
    for number in 0..order.disks.len() {
        // What is built on a disk is in the way only where it is not taken down first.
        let claim = if wipe.level.destroys() {
            claim(machine, order, number, &Looking(wipe), circumstances, &inventory)
        } else {
            claim(machine, order, number, wipe, circumstances, &inventory)
        };
        match claim {
            Ok(claim) => open.push(claim),
            Err(refusal) => against.push((Some(number), refusal)),
        }
    }
    // With some of the disks refused, all that they share with the others would look as if it was not ordered.
    if !against.is_empty() {
        return against;
    }
    let released = apart(machine, wipe, inventory, &open).and_then(|inventory| {
        if wipe.level.destroys() {
            to_release(machine, wipe, &inventory, &open)?;
        }
        Ok(())
    });
    against.extend(released.err().map(|refusal| (None, refusal)));
    against
}

/// Refuses what reaches beyond the disks of the order.
pub(super) fn apart(
    machine: &Machine,
    wipe: &Wipe,
    inventory: Inventory,
    claims: &[Claim],
) -> Result<Inventory, Refusal> {
    radius::whole_devices(machine, wipe, claims)?;
    let mut inventory = only_what_is_ordered(machine, inventory, wipe, claims)?;
    if radius::clears_tpm(wipe) {
        if inventory.disks.iter().any(|disk| disk.content.is_none()) {
            inventory = inventory::complete(&machine.root, inventory);
        }
        radius::sealed(wipe, &inventory, claims)?;
    }
    Ok(inventory)
}

/// Refuses an order that wipes a disk and calls it missing.
pub(super) fn not_missing(wipe: &Wipe) -> Result<(), Refusal> {
    let is_both = |disk: &&DiskIdentity| identity::is_one_of(disk, &wipe.missing);
    match wipe.order.disks.iter().map(|disk| &disk.identity).find(is_both) {
        Some(disk) => Err(Refusal::NamedTwice { disk: label(None, disk) }),
        None => Ok(()),
    }
}

/// Refuses to call a disk that is there missing by a name that others may have: they would count as gone with it.
pub(super) fn missing_are_named(wipe: &Wipe, inventory: &Inventory) -> Result<(), Refusal> {
    for missing in &wipe.missing {
        let same = inventory.disks.iter().filter(|disk| DiskIdentity::of(disk) == *missing);
        if same.clone().next().is_some() {
            // Refuses one that names none or several.
            identity::find(inventory, missing)?;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
