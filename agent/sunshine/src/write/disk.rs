//! A disk of this machine that a person named by what stands on its label.

use ::disk::{
    Permit, Refusal,
    permit::{self, Circumstances, Clock, Place, Used},
};
use inventory::Root;
use protocol::{
    Bytes, InventoryDigest, Order, OrderId,
    order::{DiskIdentity, MachineEvidence, OrderedDisk},
};

/// Where orders that were begun in this boot are noted.
const USED: &str = "/run/drydock/orders";

const HOUR_MILLISECONDS: i64 = 3_600_000;

/// Why there is no permit.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoPermit {
    /// No disk has that name.
    #[error(
        "no disk has the serial number, WWN, EUI-64 or NGUID {typed:?}; names such as sda are not taken, and a file needs a slash: ./{typed}"
    )]
    NotTyped {
        /// What was typed.
        typed: String,
    },
    /// It is not to be written to.
    #[error(transparent)]
    Refused(Refusal),
}

impl NoPermit {
    /// Returns the word that docs/imaging.md explains.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::NotTyped { .. } => "not-typed",
            Self::Refused(refusal) => refusal.code(),
        }
    }
}

/// Makes the person's order, and has all of it checked on the open disk. Nothing is written.
pub(super) fn permit(typed: &str, overwrite: bool, id: OrderId) -> Result<Permit, NoPermit> {
    let not_typed = || NoPermit::NotTyped { typed: typed.to_owned() };
    let inventory = inventory::collect_fast(&Root::live());
    let present = inventory.disks.iter().filter(|disk| disk.size_bytes != Bytes(0));
    let mut named = present.map(DiskIdentity::of).filter(|disk| permit::names(typed, disk));
    // A second disk of that name is seen by the checks, and refused.
    let identity = named.next().ok_or_else(not_typed)?;
    let now = linux::clock::unix_milliseconds();
    let order = Order {
        id,
        by: "whoever typed the disk's name".to_owned(),
        machine: MachineEvidence::of(&inventory),
        disks: vec![OrderedDisk { identity, overwrite }],
        deadline_unix_milliseconds: now.saturating_add(HOUR_MILLISECONDS),
        inventory: InventoryDigest::of(&inventory),
    };
    let circumstances = Circumstances {
        place: &Place::person(vec![typed.to_owned()]),
        now_unix_milliseconds: now,
        clock: Clock::SetByServer,
        used: &Used::kept_in(USED),
    };
    let permits = permit::check(&order, &circumstances).map_err(NoPermit::Refused)?;
    permits.into_iter().next().ok_or_else(not_typed)
}
