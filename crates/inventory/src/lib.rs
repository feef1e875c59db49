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

use std::{sync::mpsc, thread, time::Duration};

use protocol::{
    Inventory,
    inventory::{Disk, Gap},
};

use self::survey::Survey;
pub use self::{
    report::table,
    root::{Root, RootError},
};

/// How long one disk may take to tell what is on it; a disk that has to spin up needs some 20 s.
pub const PROBE_PATIENCE: Duration = Duration::from_secs(30);

/// How long a group of the kernel's files may take: they are in memory, unless a driver hangs.
const GROUP_PATIENCE: Duration = Duration::from_secs(5);

/// The source of the gap that a whole group leaves whose files could not be read in time: what it lacks may be there.
pub const UNANSWERED: &str = "a whole group";

/// Describes the machine. Waits for each disk at most [`PROBE_PATIENCE`].
pub fn collect(root: &Root) -> Inventory {
    complete(root, collect_fast(root))
}

/// Describes what can be read without waiting for a device: everything but what is on the disks
/// and what only a driver's slower calls tell.
pub fn collect_fast(root: &Root) -> Inventory {
    let mut gaps = Vec::new();
    let mut inventory = apart(root, "system", GROUP_PATIENCE, &mut gaps, |survey| {
        let mut inventory = Inventory::default();
        hull::survey(survey, &mut inventory);
        inventory
    });
    inventory.disks = apart(root, "disks", GROUP_PATIENCE, &mut gaps, disk::survey);
    inventory.ports = apart(root, "ports", GROUP_PATIENCE, &mut gaps, port::survey);
    inventory.undriven = apart(root, "undriven", GROUP_PATIENCE, &mut gaps, undriven::survey);
    inventory.gaps = gaps;
    inventory
}

/// Describes one disk by the kernel's name for it, without what is on it; `None` where there is no such disk,
/// or what has that name is none.
pub fn disk(root: &Root, name: &str) -> Option<Disk> {
    guard::run(|| disk::disk(&mut Survey::new(root), name.to_owned())).flatten()
}

/// Surveys one group on a thread of its own. A thread that hangs in the kernel is left behind: it costs its group.
fn apart<T: Default + Send + 'static>(
    root: &Root,
    what: &'static str,
    patience: Duration,
    gaps: &mut Vec<Gap>,
    read: impl FnOnce(&mut Survey<'_>) -> T + Send + 'static,
) -> T {
    let (tell, told) = mpsc::channel();
    let root = root.clone();
    let work = move || {
        let mut survey = Survey::new(&root);
        let found = group(&mut survey, what, read);
        let _nobody_waits = tell.send((found, survey.gaps));
    };
    let begun = thread::Builder::new().name(what.to_owned()).spawn(work);
    let reason = match begun.map(|_| told.recv_timeout(patience)) {
        Ok(Ok((found, mut found_gaps))) => {
            gaps.append(&mut found_gaps);
            return found;
        }
        Ok(Err(_)) => "the kernel did not answer".to_owned(),
        Err(error) => error.to_string(),
    };
    gaps.push(Gap {
        what: what.to_owned(),
        source: UNANSWERED.to_owned(),
        reason,
        after_milliseconds: patience.as_millis().try_into().ok(),
    });
    T::default()
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
    fn a_group_that_hangs_costs_itself() {
        let (root, mut gaps) = (Root::captured("/nowhere"), Vec::new());
        let short = Duration::from_millis(50);
        let hang = |_: &mut Survey<'_>| -> Vec<u8> {
            loop {
                thread::park();
            }
        };
        assert_eq!(apart(&root, "disks", short, &mut gaps, hang), [] as [u8; 0]);
        let found = apart(&root, "ports", GROUP_PATIENCE, &mut gaps, |survey| {
            survey.gap("ports/eth0", "a file", "a reason".to_owned());
            vec![7_u8]
        });
        assert_eq!(found, [7]);
        let said: Vec<_> = gaps.iter().map(|gap| (&*gap.what, &*gap.source)).collect();
        assert_eq!(said, [("disks", UNANSWERED), ("ports/eth0", "a file")]);
    }

    #[test]
    fn a_fault_of_ours_costs_one_group() {
        let root = Root::captured("/nowhere");
        let mut survey = Survey::new(&root);
        let found: Vec<u8> = group(&mut survey, "disks", |survey| {
            survey.gap("disks/sda", "a file", "a reason".to_owned());
            panic!("on purpose")
        });
        assert_eq!(found, [] as [u8; 0]);
        let missing: Vec<&str> = survey.gaps.iter().map(|gap| gap.what.as_str()).collect();
        assert_eq!(missing, ["disks/sda", "disks"]);
    }
}
