//! What the devices' thread noticed on the way, for the inventory and for whoever carries out an order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use protocol::{Inventory, inventory::Gap};
use tracing::{info, warn};

use super::{belt, medium::MEDIA};

/// What was noticed on the way, for the inventory.
#[derive(Debug, Clone, Default)]
pub struct Findings(Arc<(Mutex<Found>, Condvar)>);

#[derive(Debug, Default)]
struct Found {
    gaps: Vec<Gap>,
    /// Drivers that do not come to an end, for as long as they do not: by their file, or the device that they were offered.
    hanging: Vec<(String, Gap)>,
    /// Whether one of them came to an end since somebody asked.
    is_news: bool,
    read_only: BTreeMap<String, bool>,
    /// Drivers of ports and disks that are to be fetched or loaded, by name.
    awaited: BTreeSet<String>,
    /// Those of them that drive disks and did not come. They stay awaited: what they would show, nobody knows.
    failed: BTreeSet<String>,
    /// Modules that are made for a device, by its `modalias`.
    drivers: BTreeMap<String, Vec<String>>,
}

impl Findings {
    /// Adds the gaps and what is awaited; says of each disk whether it was read-only before this system made it so, and whether it is a boot medium; and
    /// of each device without a driver which modules are made for it.
    pub fn complete(&self, inventory: &mut Inventory) {
        let found = self.found();
        inventory
            .gaps
            .extend(found.gaps.iter().chain(found.hanging.iter().map(|(_, gap)| gap)).cloned());
        // What was awaited when the look began may have come after it.
        let awaited: BTreeSet<String> =
            inventory.awaited.drain(..).chain(found.awaited.iter().cloned()).collect();
        inventory.awaited.extend(awaited);
        for disk in &mut inventory.disks {
            if let Some(before) = found.read_only.get(&disk.name) {
                disk.read_only = Some(*before);
            }
            disk.boot_medium = MEDIA.has(&disk.name);
        }
        for device in &mut inventory.undriven {
            device.modules = found.drivers.get(&device.modalias).cloned().unwrap_or_default();
        }
    }

    /// Returns the drivers of ports and disks that are on their way, by name.
    pub fn awaited(&self) -> Vec<String> {
        self.found().awaited.iter().cloned().collect()
    }

    /// Waits until no driver of a port or disk is on its way, for a limited time. Then returns those that still are, and those
    /// of disks that did not come. Blocks.
    pub fn wait_for_drivers(&self, limit: Duration) -> Result<(), Vec<String>> {
        let (_, changed) = &*self.0;
        let found = self.found();
        if found.awaited.is_empty() {
            return Ok(());
        }
        info!(awaited = ?found.awaited, "waiting for drivers that are on their way");
        let may_come = |found: &mut Found| !found.awaited.is_subset(&found.failed);
        let waited = changed.wait_timeout_while(found, limit, may_come);
        let found = waited.unwrap_or_else(PoisonError::into_inner).0;
        if found.awaited.is_empty() {
            return Ok(());
        }
        Err(found.awaited.iter().cloned().collect())
    }

    pub(crate) fn await_driver(&self, name: String) {
        self.found().awaited.insert(name);
    }

    /// Notes that a driver of disks did not come, and will not in this boot.
    pub(crate) fn give_up_driver(&self, name: String) {
        self.found().failed.insert(name);
        self.0.1.notify_all();
    }

    /// Holds while something is awaited that may still come.
    pub(super) fn is_waiting(&self) -> bool {
        let found = self.found();
        !found.awaited.is_subset(&found.failed)
    }

    /// Notes that nothing comes any more: only drivers of disks that did not come stay awaited. Says whether anything else was.
    pub(crate) fn end_wait(&self) -> bool {
        let mut guard = self.found();
        let found = &mut *guard;
        let was_waiting = !found.awaited.is_subset(&found.failed);
        found.awaited.clone_from(&found.failed);
        drop(guard);
        self.0.1.notify_all();
        was_waiting
    }

    pub(super) fn note_drivers(&self, modalias: &str, drivers: &[&str]) {
        if !drivers.is_empty() {
            let mut drivers: Vec<String> = drivers.iter().map(|name| (*name).to_owned()).collect();
            drivers.sort();
            drivers.dedup();
            self.found().drivers.insert(modalias.to_owned(), drivers);
        }
    }

    pub(super) fn add_gap(&self, gap: Gap) {
        warn!(what = gap.what, reason = gap.reason, "gap");
        self.add_quietly(gap);
    }

    /// Adds a gap that nobody has to look at.
    pub(crate) fn add_quietly(&self, gap: Gap) {
        let mut found = self.found();
        if !found.gaps.contains(&gap) {
            found.gaps.push(gap);
        }
    }

    /// Notes that a driver does not come to an end: the one in this file, or with the device at this place.
    /// Says whether nobody knew.
    pub(super) fn add_hanging(&self, what: &str, gap: &Gap) -> bool {
        let mut found = self.found();
        if found.hanging.iter().any(|(hanging, _)| hanging == what) {
            return false;
        }
        found.hanging.push((what.to_owned(), gap.clone()));
        // A console may be slow, and who loads drivers would wait for it.
        drop(found);
        warn!(what = gap.what, reason = gap.reason, "gap");
        true
    }

    /// Notes that it came to an end, with what is wrong then, if anything. That is news where it was said to hang.
    pub(super) fn end_hanging(&self, what: &str, then: Option<Gap>) {
        if let Some(gap) = then {
            self.add_gap(gap);
        }
        let mut found = self.found();
        let before = found.hanging.len();
        found.hanging.retain(|(hanging, _)| hanging != what);
        found.is_news |= found.hanging.len() < before;
    }

    /// Holds where no driver hangs so, and none came to an end that nobody asked about.
    pub(super) fn is_quiet(&self) -> bool {
        let found = self.found();
        found.hanging.is_empty() && !found.is_news
    }

    /// Says once that a driver which was said to hang came to an end.
    pub(super) fn take_news(&self) -> bool {
        std::mem::take(&mut self.found().is_news)
    }

    pub(super) fn note_read_only(&self, disk: String, before: bool) {
        self.found().read_only.insert(disk, before);
    }

    pub(super) fn forget(&self, disk: &str) {
        self.found().read_only.remove(&belt::in_sysfs(disk));
    }

    /// Returns the disks that this system has made read-only.
    pub(super) fn fastened(&self) -> BTreeSet<String> {
        self.found().read_only.keys().cloned().collect()
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Findings {
    /// Returns what the gaps name of the drivers that do not come to an end.
    pub(super) fn hanging(&self) -> Vec<String> {
        self.found().hanging.iter().map(|(_, gap)| gap.what.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use protocol::inventory::Undriven;

    use super::*;

    #[test]
    fn what_was_awaited_when_a_look_began_is_awaited_in_it() {
        let findings = Findings::default();
        findings.await_driver("megaraid_sas".to_owned());
        let mut inventory = Inventory { awaited: vec!["igc".to_owned()], ..Inventory::default() };
        findings.complete(&mut inventory);
        assert_eq!(inventory.awaited, ["igc", "megaraid_sas"]);
        assert!(findings.end_wait() && !findings.end_wait());
        let mut inventory = Inventory { awaited: vec!["igc".to_owned()], ..Inventory::default() };
        findings.complete(&mut inventory);
        assert_eq!(inventory.awaited, ["igc"]);
    }

    #[test]
    fn a_driver_of_disks_that_did_not_come_stays_awaited_and_is_not_waited_for() {
        let findings = Findings::default();
        findings.await_driver("igc".to_owned());
        findings.await_driver("megaraid_sas".to_owned());
        findings.give_up_driver("megaraid_sas".to_owned());
        assert!(findings.is_waiting());
        assert!(findings.end_wait() && !findings.is_waiting() && !findings.end_wait());
        assert_eq!(findings.awaited(), ["megaraid_sas"]);
        let begun = std::time::Instant::now();
        let refused = findings.wait_for_drivers(Duration::from_secs(20));
        assert_eq!(refused, Err(vec!["megaraid_sas".to_owned()]), "no order goes on without it");
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing more comes");
    }

    #[test]
    fn a_device_without_a_driver_is_told_with_what_would_drive_it() {
        let findings = Findings::default();
        findings.note_drivers("pci:1", &["b", "a", "b"]);
        findings.note_drivers("pci:2", &[]);
        let device =
            |modalias: &str| Undriven { modalias: modalias.to_owned(), ..Undriven::default() };
        let undriven = vec![device("pci:1"), device("pci:2")];
        let mut inventory = Inventory { undriven, ..Inventory::default() };
        findings.complete(&mut inventory);
        assert_eq!(inventory.undriven[0].modules, ["a", "b"]);
        assert!(inventory.undriven[1].modules.is_empty());
    }

    #[test]
    fn who_waits_for_drivers_goes_on_when_they_are_there_and_not_before() {
        let findings = Findings::default();
        assert_eq!(findings.wait_for_drivers(Duration::ZERO), Ok(()));
        findings.await_driver("mptsas".to_owned());
        let short = Duration::from_millis(50);
        assert_eq!(findings.wait_for_drivers(short), Err(vec!["mptsas".to_owned()]));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| findings.wait_for_drivers(Duration::from_secs(20)));
            findings.end_wait();
            assert_eq!(waiter.join().unwrap(), Ok(()));
        });
    }
}
