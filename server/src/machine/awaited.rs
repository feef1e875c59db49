//! Drivers that are still on their way to a machine: while there are any, disks and ports may be missing from what it shows,
//! and nothing is decided by what is not there.
//!
//! ```text
//!  report with modules awaited ─► nothing is ordered, sent home or approved by rule ─► report without any: as ever
//!                                        └── after ten minutes: said once; data that is seen counts all the same
//! ```

use protocol::Inventory;
use serde::{Deserialize, Serialize};

use super::{DiskState, KnownDisk, Machine};

/// So long drivers may take: a store on a slow link has as much to send as the core.
const PATIENCE_MILLISECONDS: i64 = 600_000;
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
        if self.modules.iter().any(|module| module == INITRAMFS) {
            return "the initramfs did not come to the machine as a whole: restart it".to_owned();
        }
        format!("drivers are on their way to the machine: {}", self.words())
    }

    /// Names the modules.
    pub fn words(&self) -> String {
        words(&self.modules)
    }
}

/// What an agent whose initramfs was cut off or damaged waits for, in all its boot (`agent/src/manifest.rs`).
const INITRAMFS: &str = "initramfs";

/// Names modules, the first few of many.
pub fn words(modules: &[String]) -> String {
    let (named, rest) = modules.split_at(modules.len().min(NAMED));
    let named = named.join(", ");
    if rest.is_empty() { named } else { format!("{named} and {} more", rest.len()) }
}

/// Says that drivers of a machine are awaited, so that it may show less than it has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "drivers of this machine are on their way or did not come ({modules}), so disks may be missing from its report; try again \
     in a moment, or see its gaps in drydock machines show {machine} -o json"
)]
pub struct StillAwaited {
    /// The machine.
    pub machine: String,
    /// Which drivers.
    pub modules: String,
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
        assert!(holds_back("initramfs").contains("restart it"));
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
