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
pub mod guard;
mod hull;
mod port;
mod processor;
mod report;
mod root;
mod smbios;
mod survey;
mod undriven;

use std::time::Duration;

use protocol::{Inventory, inventory::Disk};

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
    group(&mut survey, "system", |survey| hull::survey(survey, &mut inventory));
    inventory.disks = group(&mut survey, "disks", disk::survey);
    inventory.ports = group(&mut survey, "ports", port::survey);
    inventory.undriven = group(&mut survey, "undriven", undriven::survey);
    inventory.gaps = survey.gaps;
    inventory
}

/// Describes one disk by the kernel's name for it, without what is on it; `None` where there is no such disk,
/// or what has that name is none.
pub fn disk(root: &Root, name: &str) -> Option<Disk> {
    guard::run(|| disk::disk(&mut Survey::new(root), name.to_owned())).flatten()
}

/// Surveys one group. A fault of ours that some machine brings out costs that group, not the machine's discovery.
fn group<T: Default>(
    survey: &mut Survey<'_>,
    what: &str,
    read: impl FnOnce(&mut Survey<'_>) -> T,
) -> T {
    guard::run(|| read(survey)).unwrap_or_else(|| {
        survey.gap(what, "inventory", "the probe panicked".to_owned());
        T::default()
    })
}

/// Adds what [`collect_fast`] left out: what is on the disks, which are read several at a time,
/// and the ports' speed and firmware.
pub fn complete(root: &Root, mut inventory: Inventory) -> Inventory {
    let mut survey = Survey::new(root);
    group(&mut survey, "ports", |survey| port::complete(survey, &mut inventory.ports));
    inventory.gaps.append(&mut survey.gaps);
    inventory.gaps.extend(disk::content::fill(root, &mut inventory.disks, PROBE_PATIENCE));
    inventory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_ours_costs_one_group() {
        let root = Root::captured("/nowhere");
        let mut survey = Survey::new(&root);
        let found: Vec<u8> = group(&mut survey, "disks", |survey| {
            survey.gap("disks/sda", "a file", "a reason".to_owned());
            panic!("on purpose")
        });
        assert_eq!(found, []);
        let missing: Vec<&str> = survey.gaps.iter().map(|gap| gap.what.as_str()).collect();
        assert_eq!(missing, ["disks/sda", "disks"]);
    }
}
