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

mod device;
mod disk;
mod hull;
mod port;
mod processor;
mod report;
mod root;
mod smbios;
mod survey;
mod undriven;

use std::time::Duration;

use protocol::Inventory;

use self::survey::Survey;
pub use self::{
    report::table,
    root::{Root, RootError},
};

/// How long one disk may take to tell what is on it; a disk that has to spin up needs some 20 s.
pub const PROBE_PATIENCE: Duration = Duration::from_secs(30);

/// Describes the machine. Waits for each disk at most [`PROBE_PATIENCE`].
pub fn collect(root: &Root) -> Inventory {
    complete(root, collect_fast(root))
}

/// Describes what can be read without waiting for a device: everything but what is on the disks
/// and what only a driver's slower calls tell.
pub fn collect_fast(root: &Root) -> Inventory {
    let mut survey = Survey::new(root);
    let mut inventory = Inventory::default();
    hull::survey(&mut survey, &mut inventory);
    inventory.disks = disk::survey(&mut survey);
    inventory.ports = port::survey(&mut survey);
    inventory.undriven = undriven::survey(&mut survey);
    inventory.gaps = survey.gaps;
    inventory
}

/// Adds what [`collect_fast`] left out: what is on the disks, which are read several at a time,
/// and the ports' speed and firmware.
pub fn complete(root: &Root, mut inventory: Inventory) -> Inventory {
    let mut survey = Survey::new(root);
    port::complete(&mut survey, &mut inventory.ports);
    inventory.gaps.append(&mut survey.gaps);
    inventory.gaps.extend(disk::content::fill(root, &mut inventory.disks, PROBE_PATIENCE));
    inventory
}
