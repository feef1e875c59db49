//! Drivers that are still on their way to a machine: while there are any, disks and ports may be missing from what it shows,
//! and nothing is decided by what is not there.
//!
//! ```text
//!  report with modules awaited ─► nothing is ordered, sent home or approved by rule ─► report without any: as ever
//!                                        └── after ten minutes: said once; data that is seen counts all the same
//!
//!  report with half an initramfs ─► it starts again, three boots in a row at most ─► whole: as ever
//!                                        └── not whole: its own disk, which nobody could read, as if it held data;
//!                                            known to be empty, it waits
//! ```

use protocol::Inventory;
use serde::{Deserialize, Serialize};

use super::{DiskState, KnownDisk, Machine, evidence::Strength};

/// So long drivers may take: a store on a slow link has as much to send as the core.
const PATIENCE_MILLISECONDS: i64 = 600_000;
/// So many boots without a whole initramfs are had in a row: a transfer that broke off may not break off again, and a boot
/// program's limit always cuts.
const CUT_BOOTS: u32 = 3;
/// So many modules are remembered: a machine has fewer kinds of devices.
const MODULES: usize = 64;
/// What is kept of a module's name (Linux, `MODULE_NAME_LEN`).
const NAME: usize = 55;
/// So many modules are named in a sentence.
const NAMED: usize = 4;

/// Drivers that are on their way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Awaited {
    /// Which. Never empty.
    pub modules: Vec<String>,
    /// Since when some are, in this boot: milliseconds since 1970.
    pub since: i64,
    /// Whether that was too long, and was said.
    pub is_overdue: bool,
}

impl Awaited {
    /// Reads what a report awaits, which follows another one of the same boot; nothing where that is nothing.
    pub(super) fn of(inventory: &Inventory, before: Option<&Self>, at: i64) -> Option<Self> {
        let shown = |module: &String| -> String {
            let plain = |c: char| if c.is_ascii_graphic() { c } else { '?' };
            module.chars().take(NAME).map(plain).collect()
        };
        let modules: Vec<String> = inventory.awaited.iter().take(MODULES).map(shown).collect();
        (!modules.is_empty()).then(|| Self {
            modules,
            since: before.map_or(at, |before| before.since),
            is_overdue: before.is_some_and(|before| before.is_overdue),
        })
    }

    /// Holds once it was waited for too long, and nobody has said so.
    pub(super) fn becomes_overdue(&self, at: i64) -> bool {
        !self.is_overdue && at.saturating_sub(self.since) >= PATIENCE_MILLISECONDS
    }

    /// Says why an order waits.
    pub(super) fn holds_back(&self) -> String {
        if lacks_initramfs(&self.modules) {
            return "the initramfs did not come to the machine as a whole: it waits for a boot in which it does".to_owned();
        }
        format!("drivers are on their way to the machine: {}", self.words())
    }

    /// Says why it is refused to order anything of a machine.
    pub(super) fn refuses(&self, machine: &str) -> StillAwaited {
        let machine = machine.to_owned();
        if lacks_initramfs(&self.modules) {
            return StillAwaited::Initramfs { machine };
        }
        StillAwaited::Drivers { machine, modules: self.words() }
    }

    /// Names the modules.
    pub fn words(&self) -> String {
        words(&self.modules)
    }
}

/// What an agent whose initramfs was cut off or damaged waits for, in all its boot (`agent/src/manifest.rs`).
const INITRAMFS: &str = "initramfs";

/// Holds where what is awaited is the rest of an initramfs: nothing of it comes in this boot.
pub fn lacks_initramfs(modules: &[String]) -> bool {
    modules.iter().any(|module| module == INITRAMFS)
}

/// Names modules, the first few of many.
pub fn words(modules: &[String]) -> String {
    let (named, rest) = modules.split_at(modules.len().min(NAMED));
    let named = named.join(", ");
    if rest.is_empty() { named } else { format!("{named} and {} more", rest.len()) }
}

/// Says that something of a machine is awaited, so that it may show less than it has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StillAwaited {
    /// Drivers.
    #[error(
        "drivers of this machine are on their way or did not come ({modules}), so disks may be missing from its report; try \
         again in a moment, or see its gaps in drydock machines show {machine} -o json"
    )]
    Drivers {
        /// The machine.
        machine: String,
        /// Which.
        modules: String,
    },
    /// The rest of its initramfs, until another boot.
    #[error(
        "the initramfs of this machine did not come as a whole, so disks may be missing from its report; it has to start again: \
         see its gaps in drydock machines show {machine} -o json"
    )]
    Initramfs {
        /// The machine.
        machine: String,
    },
}

impl Machine {
    /// Notes which drivers are on their way to it. An order does not wait for those any more that were before.
    pub(super) fn awaits(&mut self, awaited: Option<Awaited>) {
        let reason = |awaited: &Option<Awaited>| awaited.as_ref().map(Awaited::holds_back);
        let before =
            reason(&self.awaited).filter(|before| Some(before) != reason(&awaited).as_ref());
        self.awaited = awaited;
        if let Some(order) = self.open_order_mut().filter(|_| before.is_some())
            && order.held_back == before
        {
            order.held_back = None;
        }
    }

    /// Notes that what it awaits takes too long, or comes no more in this boot.
    pub(super) fn gives_up_waiting(&mut self) {
        let Some(awaited) = &mut self.awaited else { return };
        awaited.is_overdue = true;
        self.cut_boots = self.cut_boots.saturating_add(lacks_initramfs(&awaited.modules).into());
    }

    /// Holds where nothing comes any more that it awaits, and nobody has noted so: its agent has looked at everything else.
    pub(super) fn waits_in_vain(&self) -> bool {
        let awaited = self.awaited.as_ref().filter(|awaited| !awaited.is_overdue);
        awaited.is_some_and(|awaited| awaited.modules.iter().all(|module| module == INITRAMFS))
    }

    /// Holds where its initramfs came whole, whatever else it awaits.
    pub(super) fn has_whole_initramfs(&self) -> bool {
        self.awaited.as_ref().is_none_or(|awaited| !lacks_initramfs(&awaited.modules))
    }

    /// Holds where it is to start again, since its initramfs did not come whole and may the next time.
    pub(super) fn tries_again(&self) -> bool {
        let lacks = |awaited: &Awaited| awaited.is_overdue && lacks_initramfs(&awaited.modules);
        // Whom nothing names would be a stranger in its next boot, whose boots are counted anew: it would go on for ever.
        let is_known_again = self.evidence.strength() != Strength::Weak;
        is_known_again && self.awaited.as_ref().is_some_and(lacks) && self.cut_boots < CUT_BOOTS
    }

    /// Holds where nobody will see what is on its disks, and nobody ever has: one boot after the other was cut off.
    pub(super) fn hides_its_disks(&self) -> bool {
        !self.complete && self.cut_boots >= CUT_BOOTS
    }

    /// Holds where its agent has looked at all of it in this boot, as far as anybody knows.
    pub(super) fn has_reported(&self) -> bool {
        self.session.as_ref().is_some_and(|boot| boot.complete) && self.awaited.is_none()
    }

    /// Holds where drivers were waited for too long. What is seen counts then, and what is not seen still does not.
    pub(super) fn is_overdue(&self) -> bool {
        self.awaited.as_ref().is_some_and(|awaited| awaited.is_overdue)
    }
}

/// Holds for disks that have something on them, as far as it is known.
pub(super) fn has_data(disk: &KnownDisk) -> bool {
    disk.state != DiskState::Blank
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_modules_are_named_and_the_others_counted() {
        let all = ["ixgbe", "mpt3sas", "a", "b", "c", "d"].map(str::to_owned);
        assert_eq!(words(&all[..2]), "ixgbe, mpt3sas");
        assert_eq!(words(&all), "ixgbe, mpt3sas, a, b and 2 more");
    }

    #[test]
    fn who_has_half_an_initramfs_is_to_be_restarted_and_not_waited_for() {
        let holds_back = |name: &str| {
            let inventory = Inventory { awaited: vec![name.to_owned()], ..Inventory::default() };
            Awaited::of(&inventory, None, 7).unwrap().holds_back()
        };
        assert!(holds_back("ixgbe").ends_with("on their way to the machine: ixgbe"));
        assert!(holds_back("initramfs").contains("a boot in which it does"));
    }

    #[test]
    fn what_strangers_await_is_bounded_and_harmless() {
        let long = format!("{}\n", "x".repeat(1000));
        let awaited = vec!["\u{1b}[2J".to_owned(), long]
            .into_iter()
            .chain((0..10_000).map(|number| number.to_string()))
            .collect();
        let inventory = Inventory { awaited, ..Inventory::default() };
        let read = Awaited::of(&inventory, None, 7).unwrap();
        assert_eq!((read.modules.len(), read.since), (MODULES, 7));
        assert_eq!(read.modules[0], "?[2J");
        assert_eq!(read.modules[1], "x".repeat(NAME));
        assert_eq!(Awaited::of(&Inventory::default(), Some(&read), 9), None);
    }
}
