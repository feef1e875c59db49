//! What `HerculesOS` asks a person at its console, without a server: which disks, how thoroughly, and each disk's name as
//! the confirmation. Pure but for the tasks that it ends in.
//!
//! ```text
//! w ─► looking at each disk ─► which disks ─► which level ─► the first disk's name ─► … ─► wiping ─► a report
//! ```
//!
//! Every answer that is not exactly one that was asked for leads back to the menu, and nothing was touched.

mod engine;

use std::fmt::Write as _;

use agent::offline::{Dialogue, Done, Reply, Topic};
use disk::permit;
use protocol::{
    Inventory,
    inventory::{Disk, Transport},
    order::DiskIdentity,
    wipe::PowerLevel,
};

use crate::confirm::{self, Asked, printable};

/// What the menu has beside the rest.
pub(crate) const TOPIC: Topic =
    Topic { key: "w", words: "wipe disks; this boot has no server then", begin };

/// The levels that can be chosen, and what they do.
const LEVELS: [(PowerLevel, &str, &str); 4] = [
    (PowerLevel::Harbour, "harbour", "removes what this machine was, and keeps the system"),
    (PowerLevel::Working, "working", "clears tables and signatures, to install anew"),
    (PowerLevel::Full, "full", "writes over all of it"),
    (PowerLevel::Redline, "redline", "the device's own erasure, or several passes"),
];

/// What is said as it begins: without a server nobody else knows of it.
const WIPING: &str = "wiping. Nobody journals this: if the power fails in the middle, nothing goes on by itself but what a disk does on its \
                      own, and a half-written disk does not say so. Wipe all of these again then.\n";

const NOTHING: &str = "nothing was touched\n";

/// Looks at the disks first, and then asks.
fn begin(inventory: &Inventory) -> Reply {
    if !inventory.awaited.is_empty() {
        let awaited = printable(&inventory.awaited.join(", "));
        return Reply::leave(format!(
            "drivers of disks did not come, so nobody knows what else belongs to them: {awaited}; {NOTHING}"
        ));
    }
    let disks: Vec<Disk> =
        inventory.disks.iter().filter(|disk| may_be_meant(disk)).cloned().collect();
    if disks.is_empty() {
        return Reply::leave(format!("this machine has no disk that can be wiped here; {NOTHING}"));
    }
    let inventory = inventory.clone();
    Reply::look("looking at the disks; nothing is written for that\n", move || {
        let mut words = String::new();
        for (number, disk) in (1..).zip(&disks) {
            let told = engine::look(&inventory, disk);
            let _infallible = writeln!(words, "\n[{number}] {}", told.trim_end());
        }
        words.push_str(
            "\nnumbers of the disks to wipe, with blanks between them; nothing to go back: ",
        );
        Done { reply: Reply::ask(words, Which { inventory, disks }), report: None }
    })
}

/// Holds for disks that are offered. USB disks are not, since one of them may be what the machine started from, nor copies
/// of a CD anywhere. The engine's checks come on top.
fn may_be_meant(disk: &Disk) -> bool {
    let is_iso = disk.content.as_ref().is_some_and(|content| {
        let inside = content.partitions.iter().flat_map(|partition| &partition.signatures);
        content.signatures.iter().chain(inside).any(|found| found.kind == "iso9660")
    });
    let is_portable = disk.transport == Some(Transport::Usb) || disk.removable == Some(true);
    let is_named = confirm::best_name(&DiskIdentity::of(disk)).is_some();
    disk.size_bytes.0 > 0 && !is_iso && !is_portable && is_named
}

/// Which disks?
struct Which {
    inventory: Inventory,
    disks: Vec<Disk>,
}

impl Dialogue for Which {
    fn answer(self: Box<Self>, line: &str) -> Reply {
        let mut chosen: Vec<Disk> = Vec::new();
        for word in line.split_whitespace() {
            let number = word.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            let Some(disk) = number.and_then(|number| self.disks.get(number)) else {
                return Reply::leave(format!("there is no disk {}; {NOTHING}", printable(word)));
            };
            if !chosen.contains(disk) {
                chosen.push(disk.clone());
            }
        }
        if chosen.is_empty() {
            return Reply::leave(NOTHING);
        }
        let mut words = String::new();
        for (_, word, what) in LEVELS {
            let _infallible = writeln!(words, "  {word:8} {what}");
        }
        words.push_str("level, as a word; nothing to go back: ");
        Reply::ask(words, Level { inventory: self.inventory, disks: chosen })
    }
}

/// How thoroughly?
struct Level {
    inventory: Inventory,
    disks: Vec<Disk>,
}

impl Dialogue for Level {
    fn answer(self: Box<Self>, line: &str) -> Reply {
        let Some((level, ..)) = LEVELS.into_iter().find(|(_, word, _)| *word == line) else {
            return Reply::leave(format!("{} is no level; {NOTHING}", printable(line)));
        };
        let Self { inventory, disks } = *self;
        Confirmation { inventory, disks, level, typed: Vec::new() }.ask()
    }
}

/// The name of each disk, as it stands on its label.
struct Confirmation {
    inventory: Inventory,
    disks: Vec<Disk>,
    level: PowerLevel,
    /// What was typed for the first of them.
    typed: Vec<String>,
}

impl Confirmation {
    /// Asks about the next disk; begins after the last one.
    fn ask(self) -> Reply {
        let Some(disk) = self.disks.get(self.typed.len()) else {
            let Self { inventory, disks, level, typed } = self;
            return Reply::work(WIPING, move || engine::wipe(&inventory, &disks, level, typed));
        };
        let Some(name) = confirm::best_name(&DiskIdentity::of(disk)) else {
            return Reply::leave(format!(
                "{} has no name that could be typed; {NOTHING}",
                disk.name
            ));
        };
        // Our own system builds nothing on disks.
        let shown = confirm::shown(&Asked { disk, built: Vec::new() });
        let level = self.level;
        let words = format!(
            "\n{shown}This cannot be undone. To have it wiped at {level}, type its {name}: "
        );
        Reply::ask(words, self)
    }
}

impl Dialogue for Confirmation {
    fn answer(mut self: Box<Self>, line: &str) -> Reply {
        let disk = self.disks.get(self.typed.len());
        match disk {
            Some(disk) if permit::names(line, &DiskIdentity::of(disk)) => {
                self.typed.push(line.to_owned());
                self.ask()
            }
            _ => Reply::leave(format!("that is not what it is called; {NOTHING}")),
        }
    }
}

#[cfg(test)]
mod tests;
