//! The right to take down what the kernel has built on disks: only those of a wipe that nothing else is found against.
//!
//! ```text
//! look at all disks ─► nothing else against it? ─► Release ─► taken down ─► check_wipe: all of it again, with claims
//! ```

use std::{path::Path, sync::Arc};

use inventory::Root;
use protocol::{Inventory, order::DiskIdentity, wipe::Wipe};

use super::{
    Circumstances, Machine,
    claim::Claim,
    claims, for_now,
    holders::{self, Holder, HolderKind, HoldersUnread},
    identity,
    kernel::Live,
    place,
    purpose::{Looking, Purpose as _},
    refusal::Refusal,
    usage,
    wiping::{apart, missing_are_named, not_missing},
};

/// The right to take down what the kernel has built on the disks of a wipe. Made only by [`check_release`]; not to be
/// copied; used up by who takes it down. It gives no right to write.
///
/// ```compile_fail,E0277
/// fn copied<T: Clone>() {}
/// copied::<disk::permit::Release>();
/// ```
///
/// ```compile_fail,E0451
/// fn made() -> disk::permit::Release {
///     disk::permit::Release { disks: Vec::new(), holders: Vec::new() }
/// }
/// ```
#[derive(Debug)]
pub struct Release {
    disks: Vec<String>,
    holders: Vec<Holder>,
}

impl Release {
    /// Returns the kernel's names of the disks, and what is built on them in the order in which it is taken down.
    pub fn into_parts(self) -> (Vec<String>, Vec<Holder>) {
        (self.disks, self.holders)
    }
}

/// Checks all that [`check_wipe`](super::check_wipe) does, but for what the kernel has built on the disks: of that it
/// checks that nobody uses it, that it lies on no other disk, and that a person who gives the order was shown it
/// ([`Place::having_shown`](super::Place::having_shown)). Returns nothing where there is nothing to take down,
/// and at levels that keep what is on disks.
///
/// Nothing is claimed, and the order is not begun: after the release, `check_wipe` decides.
pub fn check_release(
    wipe: &Wipe,
    circumstances: &Circumstances<'_>,
) -> Result<Option<Release>, Refusal> {
    let machine = Machine { root: Root::live(), kernel: Arc::new(Live) };
    check_release_on(&machine, wipe, circumstances)
}

pub(super) fn check_release_on(
    machine: &Machine,
    wipe: &Wipe,
    circumstances: &Circumstances<'_>,
) -> Result<Option<Release>, Refusal> {
    if !wipe.level.destroys() {
        return Ok(None);
    }
    not_missing(wipe)?;
    let order = &wipe.order;
    let inventory = for_now(machine, order, wipe, circumstances)?;
    missing_are_named(wipe, &inventory)?;
    let mut disks = Vec::new();
    for ordered in &order.disks {
        disks.push(identity::find(&inventory, &ordered.identity)?.name.clone());
    }
    let names: Vec<&str> = disks.iter().map(String::as_str).collect();
    if holders::order(&machine.root, &names).map_err(unread(&disks))?.is_empty() {
        return Ok(None);
    }
    let looked = claims(machine, order, &Looking(wipe), circumstances, &inventory)?;
    let inventory = apart(machine, wipe, inventory, &looked)?;
    let holders = to_release(machine, wipe, &inventory, &looked)?;
    as_shown(circumstances.place.kind(), &looked, &holders)?;
    Ok(Some(Release { disks, holders }))
}

/// Refuses what a person did not see before they typed: built since, or something else or on other disks by now.
fn as_shown(place: &place::Kind, looked: &[Claim], holders: &[Holder]) -> Result<(), Refusal> {
    let place::Kind::Person { shown, .. } = place else { return Ok(()) };
    match holders.iter().find(|holder| !shown.contains(holder)) {
        Some(holder) => Err(Refusal::InUse {
            disk: label(looked, holder),
            uses: format!("{holder} is built on it, which was not shown when it was asked about"),
        }),
        None => Ok(()),
    }
}

/// Returns what is built on disks that were looked at, or why it cannot be taken down.
pub(super) fn to_release(
    machine: &Machine,
    wipe: &Wipe,
    inventory: &Inventory,
    looked: &[Claim],
) -> Result<Vec<Holder>, Refusal> {
    let names: Vec<String> = looked.iter().map(|claim| claim.name.clone()).collect();
    let unread = unread(&names);
    let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
    let holders = holders::order(&machine.root, &borrowed).map_err(&unread)?;
    // A disk that was written off may be there yet, with a part of what is taken down.
    let is_missing = |name: &String| {
        let found = inventory.disks.iter().find(|disk| disk.name == *name);
        found.is_some_and(|disk| wipe.is_missing(&DiskIdentity::of(disk)))
    };
    for holder in &holders {
        let disk = label(looked, holder);
        let others: Vec<&str> = holder
            .disks
            .iter()
            .filter(|name| !names.contains(name) && !is_missing(name))
            .map(String::as_str)
            .collect();
        if !others.is_empty() {
            let (content, others) = (holder.to_string(), others.join(", "));
            return Err(Refusal::Member { disk, content, others });
        }
        if holder.kind == HolderKind::Other {
            let uses = format!("{holder} is built on it, and cannot be taken down from here");
            return Err(Refusal::InUse { disk, uses });
        }
        let directory = Path::new("sys/class/block").join(&holder.name);
        let uses = usage::mounted_at(machine, &holder.name, &directory)
            .map_err(|what| Refusal::UseUnknown { disk: disk.clone(), what })?;
        if !uses.is_empty() {
            let uses = format!("{holder}: {}", uses.join(", "));
            return Err(Refusal::InUse { disk, uses });
        }
    }
    let on_disks = looked.iter().map(|claim| (&claim.name, claim.label()));
    let on_holders = holders.iter().map(|holder| (&holder.name, label(looked, holder)));
    for (device, disk) in on_disks.chain(on_holders) {
        for bare in holders::bare(&machine.root, device).map_err(&unread)? {
            // What has no node, or is read-only, is nobody's.
            if machine.kernel.is_claimed(&bare).unwrap_or(false) {
                return Err(Refusal::InUse { disk, uses: format!("{bare} is used by a program") });
            }
        }
    }
    Ok(holders)
}

/// Returns the disk that something is built on, or the first one: a set of caches does not say.
fn label(looked: &[Claim], holder: &Holder) -> String {
    let below = looked.iter().find(|claim| holder.disks.contains(&claim.name));
    below.or(looked.first()).map(Claim::label).unwrap_or_default()
}

fn unread(disks: &[String]) -> impl Fn(HoldersUnread) -> Refusal {
    let disk = disks.join(", ");
    move |unread| Refusal::UseUnknown {
        disk: disk.clone(),
        what: unread.path.display().to_string(),
    }
}

#[cfg(test)]
mod tests;
