//! What a machine is made of: reads the kernel's files and a few ioctls into a [`protocol::Inventory`].
//!
//! A probe never fails the whole: what could not be read is listed in the inventory's gaps.
//! Files are read through a [`Root`], which is this machine's `/` or the captured tree of another one.
//!
//! ```
//! let machine = inventory::Root::captured("/nowhere");
//! let inventory = inventory::collect(&machine);
//! assert_eq!(inventory.system.serial, None);
//! ```
#![forbid(unsafe_code)]

mod report;
mod root;

pub use self::{
    report::table,
    root::{Root, RootError},
};
use protocol::Inventory;

/// Describes the machine, waiting for its slowest disk at most [`PROBE_PATIENCE`].
pub fn collect(root: &Root) -> Inventory {
    complete(root, collect_fast(root))
}

/// Describes what can be read without waiting for a device: everything but what is on the disks
/// and what only a driver's slower calls tell.
pub fn collect_fast(_root: &Root) -> Inventory {
    Inventory::default()
}

/// Adds what [`collect_fast`] left out; disks are probed in parallel.
pub fn complete(_root: &Root, inventory: Inventory) -> Inventory {
    inventory
}

/// How long one disk may take to tell what is on it; a disk that spins up needs some 20 s.
pub const PROBE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
