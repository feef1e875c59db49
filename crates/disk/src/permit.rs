//! What must hold before a byte is written (SAFETY.md 5 to 11): checked on the open descriptor, just before.
//!
//! [`check`] makes [`Permit`]s and nothing else does; a permit becomes a [`Held`] disk once, and
//! cannot be copied or used twice:
//!
//! ```compile_fail,E0382
//! fn twice(permit: disk::Permit) {
//!     let one = permit.into_medium();
//!     let two = permit.into_medium();
//! }
//! ```
//!
//! ```compile_fail,E0277
//! fn copied<T: Clone>() {}
//! copied::<disk::Permit>();
//! ```
//!
//! ```compile_fail,E0451
//! fn made() -> disk::Permit {
//!     disk::Permit { claim: loop {}, order: loop {}, machine: loop {}, only_looks: loop {} }
//! }
//! ```

mod boot_medium;
mod claim;
mod content;
mod holders;
mod identity;
pub(crate) mod kernel;
mod place;
mod purpose;
mod radius;
mod refusal;
mod release;
mod usage;
mod used;
mod wiping;

use std::sync::Arc;

use inventory::Root;
use protocol::{
    Inventory, Order, OrderId,
    order::{DiskIdentity, MachineEvidence, OrderedDisk},
};

use self::{
    claim::Claim,
    content::Kinship,
    kernel::{Kernel, Live},
    purpose::{Purpose, Writing},
    refusal::label,
    used::ClaimError,
};
pub use self::{
    holders::{Holder, HolderKind, HoldersUnread, holders},
    place::{NotOurs, Place, names},
    refusal::Refusal,
    release::{Release, check_release},
    used::Used,
    wiping::{Cleared, check_wipe, obstacles},
};
use crate::Held;

/// No order lasts longer (SAFETY.md 5).
const LONGEST_HOURS: i64 = 24;

/// How long after its deadline an order may be continued that an earlier boot has begun in time: three passes over the
/// largest disks take days.
///
/// A second fence. The server hands an order that was begun out again for a day after the last sign of life of the boot
/// that had it, which may itself be days after the deadline; the agent knows the deadline and no sign of life.
const LONGEST_WORK_HOURS: i64 = 14 * 24;

const HOUR_MILLISECONDS: i64 = 3_600_000;

/// What the checks have to be told, because no kernel knows it.
#[derive(Debug)]
pub struct Circumstances<'c> {
    /// Where this program runs.
    pub place: &'c Place,
    /// What the clock says: milliseconds since 1970.
    pub now_unix_milliseconds: i64,
    /// Who set the clock.
    pub clock: Clock,
    /// The orders that were begun in this boot.
    pub used: &'c Used,
}

/// Whether a machine's clock can be compared with an order's deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The server that gave the order set it, in this boot; or, where a person gives orders to their own machine,
    /// it is the clock that the order was made with.
    SetByServer,
    /// Nobody did.
    Unset,
}

/// The right to destroy what is on one disk. Made only by [`check`]; not to be copied; used up by
/// [`into_medium`](Permit::into_medium). While it exists, the disk is claimed: nothing can mount it.
#[derive(Debug)]
pub struct Permit {
    claim: Claim,
    order: OrderId,
    machine: Machine,
    /// Whether the disk stays as read-only as it is.
    only_looks: bool,
}

/// Where the checks look: the running machine, or one that a test made up.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) root: Root,
    pub(crate) kernel: Arc<dyn Kernel>,
}

/// Checks an order on this machine, now. Returns one permit for each disk of the order, in its order, or the first
/// reason against; then nothing was written, and the order was not begun unless the reason says so.
///
/// Describes the machine again, opens every disk and looks at what is on it: some seconds, longer where another disk
/// does not answer. An ordered disk that hangs holds the caller up: call it on a thread of its own.
pub fn check(order: &Order, circumstances: &Circumstances<'_>) -> Result<Vec<Permit>, Refusal> {
    check_on(&Machine { root: Root::live(), kernel: Arc::new(Live) }, order, circumstances)
}

pub(crate) fn check_on(
    machine: &Machine,
    order: &Order,
    circumstances: &Circumstances<'_>,
) -> Result<Vec<Permit>, Refusal> {
    let inventory = for_now(machine, order, &Writing, circumstances)?;
    let claims = claims(machine, order, &Writing, circumstances, &inventory)?;
    only_what_is_ordered(machine, inventory, &Writing, &claims)?;
    permits(machine, order, &Writing, circumstances, claims)
}

/// Checks time and machine, and returns the machine as it describes itself now.
fn for_now(
    machine: &Machine,
    order: &Order,
    purpose: &impl Purpose,
    circumstances: &Circumstances<'_>,
) -> Result<Inventory, Refusal> {
    in_time(order, purpose, circumstances)?;
    if circumstances.used.contains(order.id).map_err(unknown(order.id))? {
        return Err(Refusal::Used { order: order.id });
    }
    let inventory = inventory::collect_fast(&machine.root);
    for_this_machine(order, &inventory, purpose, circumstances.place.kind())?;
    Ok(inventory)
}

/// Opens and checks all disks of an order, each by itself.
fn claims(
    machine: &Machine,
    order: &Order,
    purpose: &impl Purpose,
    circumstances: &Circumstances<'_>,
    inventory: &Inventory,
) -> Result<Vec<Claim>, Refusal> {
    let numbers = 0..order.disks.len();
    numbers.map(|number| claim(machine, order, number, purpose, circumstances, inventory)).collect()
}

fn claim(
    machine: &Machine,
    order: &Order,
    number: usize,
    purpose: &impl Purpose,
    circumstances: &Circumstances<'_>,
    inventory: &Inventory,
) -> Result<Claim, Refusal> {
    let ordered = order.disks.get(number).ok_or(Refusal::NoDisks)?;
    // First: a disk that has no name cannot be typed.
    let found = identity::find(inventory, &ordered.identity)?;
    if let place::Kind::Person { typed, .. } = circumstances.place.kind()
        && !typed.iter().any(|typed| names(typed, &ordered.identity))
    {
        return Err(Refusal::NotTyped { disk: label(None, &ordered.identity) });
    }
    Claim::open(machine, circumstances.place.kind(), purpose, (number, ordered), found)
}

/// Looks at all disks once more, and uses the order up.
fn permits(
    machine: &Machine,
    order: &Order,
    purpose: &impl Purpose,
    circumstances: &Circumstances<'_>,
    claims: Vec<Claim>,
) -> Result<Vec<Permit>, Refusal> {
    for claim in &claims {
        if !claim.is_exclusive {
            return Err(Refusal::InUse {
                disk: claim.label(),
                uses: "it is not claimed".to_owned(),
            });
        }
        claim.confirm(machine)?;
    }
    // Last: an order that is refused was not begun.
    circumstances.used.claim(order.id).map_err(|error| match error {
        ClaimError::Used => Refusal::Used { order: order.id },
        ClaimError::Note(source) => Refusal::UsedUnknown { order: order.id, source },
    })?;
    let only_looks = purpose.only_looks();
    let permit = |claim| Permit { claim, order: order.id, machine: machine.clone(), only_looks };
    Ok(claims.into_iter().map(permit).collect())
}

fn unknown(order: OrderId) -> impl FnOnce(std::io::Error) -> Refusal {
    move |source| Refusal::UsedUnknown { order, source }
}

fn in_time(
    order: &Order,
    purpose: &impl Purpose,
    circumstances: &Circumstances<'_>,
) -> Result<(), Refusal> {
    if circumstances.clock == Clock::Unset {
        return Err(Refusal::ClockUnset);
    }
    let left = order.deadline_unix_milliseconds.saturating_sub(circumstances.now_unix_milliseconds);
    // What was begun in time goes on after it.
    let longest = if purpose.is_continued() { LONGEST_WORK_HOURS * HOUR_MILLISECONDS } else { 0 };
    if left <= -longest {
        return Err(Refusal::DeadlineOver { late_seconds: left.saturating_neg() / 1000 });
    }
    if left > LONGEST_HOURS * HOUR_MILLISECONDS {
        return Err(Refusal::DeadlineFar { hours: left / HOUR_MILLISECONDS });
    }
    Ok(())
}

/// Compares the order with the machine as it describes itself now.
fn for_this_machine(
    order: &Order,
    inventory: &Inventory,
    purpose: &impl Purpose,
    place: &place::Kind,
) -> Result<(), Refusal> {
    if order.disks.is_empty() {
        return Err(Refusal::NoDisks);
    }
    for (index, one) in order.disks.iter().enumerate() {
        if order.disks.iter().skip(index + 1).any(|other| one.identity == other.identity) {
            return Err(Refusal::NamedTwice { disk: label(None, &one.identity) });
        }
    }
    let found = MachineEvidence::of(inventory);
    // Who sits at the machine need not tell it from others.
    let is_at_hand = matches!(place, place::Kind::Person { .. });
    if found == MachineEvidence::default() && !is_at_hand {
        return Err(Refusal::NoEvidence);
    }
    let MachineEvidence { uuid, system_serial, board_serial, ports } = &order.machine;
    let differences: Vec<&str> = [
        ("another UUID", *uuid == found.uuid),
        ("another serial number", *system_serial == found.system_serial),
        ("another main board", *board_serial == found.board_serial),
        ("other network ports", *ports == found.ports),
    ]
    .into_iter()
    .filter_map(|(difference, is_same)| (!is_same).then_some(difference))
    .collect();
    if !differences.is_empty() {
        return Err(Refusal::OtherMachine { differences: differences.join(", ") });
    }
    // Whether the disk is there is said more clearly below; that another one appeared is said here only.
    if order.inventory != purpose.digest(inventory) {
        for ordered in &order.disks {
            identity::find(inventory, &ordered.identity)?;
        }
        return Err(Refusal::OtherInventory);
    }
    Ok(())
}

/// Refuses disks that are parts of something which lies on disks that the order does not name (SAFETY.md 8).
///
/// A write touches nothing else: the other namespaces of an NVMe disk, and other units of a SCSI one, stay as they are.
/// What else a wipe touches, [`radius`] says. Returns the inventory, with what is on the disks where that was asked for.
fn only_what_is_ordered(
    machine: &Machine,
    inventory: Inventory,
    purpose: &impl Purpose,
    claims: &[Claim],
) -> Result<Inventory, Refusal> {
    let Some(_) = claims.iter().find(|claim| !claim.look.parts().is_empty()) else {
        return Ok(inventory);
    };
    // What is on the other disks is read only now: where nothing is a part, nobody has to wait for them.
    let inventory = inventory::complete(&machine.root, inventory);
    let is_ordered =
        |identity: &DiskIdentity| claims.iter().any(|claim| claim.ordered.identity == *identity);
    let is_other = |identity: &DiskIdentity| !is_ordered(identity) && !purpose.is_missing(identity);
    let others: Vec<_> =
        inventory.disks.iter().filter(|disk| is_other(&DiskIdentity::of(disk))).collect();
    for claim in claims {
        for part in claim.look.parts() {
            let named = |wanted: Kinship| {
                let kin = others.iter().filter(|disk| content::kinship(part, disk) == wanted);
                kin.map(|disk| label(Some(&disk.name), &DiskIdentity::of(disk))).collect::<Vec<_>>()
            };
            let (disk, content) = (claim.label(), part.words());
            let (kin, unknown) = (named(Kinship::Kin), named(Kinship::Unknown));
            if !kin.is_empty() {
                return Err(Refusal::Member { disk, content, others: kin.join("; ") });
            }
            if !unknown.is_empty() {
                return Err(Refusal::MemberUnknown { disk, content, others: unknown.join("; ") });
            }
        }
    }
    Ok(inventory)
}

impl Permit {
    /// Returns the order that it comes from.
    pub fn order(&self) -> OrderId {
        self.order
    }

    /// Returns the disk as it was ordered.
    pub fn disk(&self) -> &OrderedDisk {
        &self.claim.ordered
    }

    /// Returns the kernel's name of the disk in this boot, for progress and logs.
    pub fn name(&self) -> &str {
        &self.claim.name
    }

    /// Checks once more that it is the same disk and that nobody uses it, takes its belt off, and hands it over. The belt
    /// stays on where the order is one of the level `idle`: nothing that such an order leads to can write.
    pub fn into_medium(self) -> Result<Held, Refusal> {
        self.claim.confirm(&self.machine)?;
        self.claim.still_unused(&self.machine)?;
        let disk = self.claim.label();
        if self.only_looks {
            let Self { claim, machine, .. } = self;
            return Ok(Held::look(claim.file, claim.facts, claim.name, machine.kernel));
        }
        Held::take(self.claim.file, self.claim.facts, self.claim.name, self.machine.kernel).map_err(
            |source| match source.raw_os_error() {
                Some(30) => Refusal::ReadOnly { disk, why: "the disk says so" },
                _ => Refusal::Belt { disk, source },
            },
        )
    }
}

#[cfg(test)]
mod interlock;
#[cfg(test)]
pub(crate) mod simulation;
#[cfg(test)]
mod tests;
