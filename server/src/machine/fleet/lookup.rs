//! Which machine boots there: from a port's address, a UUID, a serial number to a known machine, before any agent runs.

use std::{collections::BTreeSet, time::Duration};

use protocol::MacAddress;

use super::{Effects, Fleet, Machine, Now};
use crate::{
    decision::{self, Boot, Errand, Known, Names, System, Traveller},
    journal::{Entry, What},
    machine::{
        DiskOrder, Load,
        evidence::{Kind, garbage},
    },
};

/// A contradiction of one port is said once within this time.
const QUIET: Duration = Duration::from_mins(10);
/// Contradictions of so many ports are remembered; those of more are not said.
const SAID: usize = 256;

/// What a traveller turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    /// This machine.
    Machine(String),
    /// Nobody known.
    Nobody,
    /// Its signs contradict each other.
    Unclear(String),
}

impl Fleet {
    /// Decides what a traveller boots.
    pub(in crate::machine) fn decide(
        &mut self,
        lists: &decision::Lists,
        traveller: &Traveller,
        now: Now,
        effects: &mut Effects,
    ) -> Boot {
        let found = self.find(traveller, now);
        if let Found::Machine(name) = &found {
            self.watch_order(name, now, effects);
        }
        let machine = match &found {
            Found::Machine(name) => self.get(name),
            Found::Nobody | Found::Unclear(_) => None,
        };
        if let Err(silence) = decision::answer(lists, &names(traveller, machine)) {
            return Boot::Silence(silence);
        }
        let known = machine.map(|machine| known(machine, now));
        let boot = decision::decide(known.as_ref());
        if let Found::Unclear(reason) = found {
            self.say(traveller.mac, reason, now, effects);
        }
        boot
    }

    /// Says whether a traveller looks for disks on a network: in HerculesOS by no list, but by the order that it boots it for
    /// (SAFETY.md 11).
    pub(in crate::machine) fn has_network_storage(
        &mut self,
        lists: &decision::Lists,
        traveller: &Traveller,
        system: System,
        now: Now,
    ) -> bool {
        let machine = match self.find(traveller, now) {
            Found::Machine(name) => self.get(&name),
            Found::Nobody | Found::Unclear(_) => None,
        };
        match system {
            System::Sunshine => decision::has_network_storage(lists, &names(traveller, machine)),
            System::Hercules => {
                let wipe = machine.and_then(Machine::open_order).and_then(DiskOrder::wipe);
                wipe.is_some_and(|wipe| wipe.network_storage)
            }
        }
    }

    /// Says a contradiction once in a while: firmware asks a dozen times in a boot.
    fn say(&mut self, mac: Option<MacAddress>, reason: String, now: Now, effects: &mut Effects) {
        let Some(port) = mac else {
            return;
        };
        self.said.retain(|_, at| now.uptime.saturating_sub(*at) < QUIET);
        if self.said.len() >= SAID || self.said.contains_key(&port) {
            return;
        }
        self.said.insert(port, now.uptime);
        let what = What::Held { reason };
        let unix_milliseconds = now.unix_milliseconds;
        effects.entries.push(Entry { unix_milliseconds, mac, address: None, machine: None, what });
    }

    /// Finds a machine by its port, else by its UUID, else by its serial number, else because it is awaited.
    /// Signs that contradict each other make it a stranger: SunshineOS then finds out.
    fn find(&mut self, traveller: &Traveller, now: Now) -> Found {
        let uuid = traveller.uuid.as_deref().and_then(garbage::uuid_key);
        let by_uuid = uuid.as_ref().and_then(|uuid| self.only_one(Kind::Uuid, uuid));
        if let Some(by_port) = traveller.mac.and_then(|mac| self.by_port(mac, uuid.as_deref())) {
            let shown = self.get(by_port).and_then(|machine| machine.evidence.uuid());
            return match (&uuid, shown) {
                (Some(uuid), Some(shown)) if uuid != shown => Found::Unclear(format!(
                    "its port belongs to {by_port}, its UUID to {}: taken for a stranger",
                    by_uuid.unwrap_or("no known machine")
                )),
                _ => Found::Machine(by_port.to_owned()),
            };
        }
        let serial =
            traveller.serial.as_deref().filter(|serial| !garbage::is_garbage_serial(serial));
        let by_serial = serial
            .and_then(|serial| self.only_one(Kind::SystemSerial, &garbage::normalised(serial)));
        if let Some(machine) = by_uuid.or(by_serial).and_then(|name| self.get(name)) {
            // Sleds of one chassis show the same names: who comes through a port that was never seen is discovered,
            // once, and the port, a removable one too, is known from then on.
            let fits = |mac| shows(machine, mac) || machine.last_mac == Some(mac);
            let contradicts =
                uuid.is_some() && by_uuid.is_none() && machine.evidence.uuid().is_some();
            if traveller.mac.is_none_or(fits) && !contradicts {
                return Found::Machine(machine.name.clone());
            }
        }
        self.awaited(traveller, uuid.as_deref(), now).map_or(Found::Nobody, Found::Machine)
    }

    /// Returns the machine that has a port. Where several were seen with it, those of another UUID are out;
    /// of the others the last one seen has it: cards are moved.
    fn by_port(&self, mac: MacAddress, uuid: Option<&str>) -> Option<&str> {
        let machines = self.showing(Kind::Mac, &mac.to_string());
        let fits = |machine: &&Machine| {
            let shown = machine.evidence.uuid();
            uuid.is_none() || shown.is_none() || shown == uuid
        };
        let since = |machine: &&Machine| machine.session.as_ref().map(|boot| boot.since);
        machines
            .iter()
            .copied()
            .filter(fits)
            .max_by_key(since)
            .or_else(|| machines.iter().copied().max_by_key(since))
            .map(|machine| machine.name.as_str())
    }

    /// Returns the machines that show one of these ports, also one that can be taken out.
    pub(in crate::machine) fn names_of_ports(
        &self,
        macs: &BTreeSet<MacAddress>,
    ) -> BTreeSet<String> {
        if macs.is_empty() {
            return BTreeSet::new();
        }
        let shows = |machine: &&Machine| ports(machine).any(|mac| macs.contains(&mac));
        self.machines().filter(shows).map(|machine| machine.name.clone()).collect()
    }

    /// Returns those ports of a machine that another one shows too, which was seen before it.
    pub(in crate::machine) fn contested_ports(&self, machine: &Machine) -> BTreeSet<MacAddress> {
        let is_older = |other: &&Machine| {
            (other.first_seen, &other.name) < (machine.first_seen, &machine.name)
        };
        let own: BTreeSet<MacAddress> = ports(machine).collect();
        let others = self.machines().filter(is_older).flat_map(ports);
        others.filter(|mac| own.contains(mac)).collect()
    }

    fn only_one(&self, kind: Kind, value: &str) -> Option<&str> {
        match self.showing(kind, value).as_slice() {
            [one] => Some(&one.name),
            _ => None,
        }
    }

    /// Returns the machines that show an item.
    fn showing(&self, kind: Kind, value: &str) -> Vec<&Machine> {
        let shows = |machine: &&Machine| {
            super::looked_up(&machine.evidence).any(|item| item.kind == kind && item.value == value)
        };
        let candidates = self.items.candidates(kind, value).iter();
        candidates.filter_map(|name| self.get(name)).filter(shows).collect()
    }

    /// Returns the machine that was sent to its own disk and is expected back through a port that tells nothing
    /// (a USB card, together with a garbage UUID): it would otherwise be discovered for ever.
    fn awaited(&mut self, traveller: &Traveller, uuid: Option<&str>, now: Now) -> Option<String> {
        let mac = traveller.mac?;
        let expected = self.expected.get_mut(&mac)?;
        if expected.until < now.uptime {
            self.expected.remove(&mac);
            return None;
        }
        // Firmware asks a few times within one boot.
        expected.until = expected.until.min(now.uptime + super::ALIVE);
        let name = expected.name.clone();
        let machine = self.get(&name)?;
        let fits = uuid.is_none() || machine.evidence.uuid().is_none();
        fits.then_some(name)
    }
}

fn shows(machine: &Machine, mac: MacAddress) -> bool {
    ports(machine).any(|port| port == mac)
}

fn ports(machine: &Machine) -> impl Iterator<Item = MacAddress> {
    machine.ports.iter().map(|port| port.mac).chain(machine.first_mac)
}

fn known(machine: &Machine, now: Now) -> Known {
    let open = machine.open_order().filter(|_| machine.has_order_at(now.unix_milliseconds));
    let order = match open {
        Some(order) if order.wipe().is_some() => Some(Errand::Wipe),
        Some(_) => Some(Errand::Sunshine),
        None => machine.told_to_wait.is_some().then_some(Errand::Sunshine),
    };
    Known {
        // What a wipe left, SunshineOS finds out.
        load: if machine.was_wiped { Load::Unreported } else { machine.load() },
        order,
        claimed_by: machine.claimed_by.clone(),
    }
}

/// Collects everything by which a person may have put the machine on a list.
fn names(traveller: &Traveller, machine: Option<&Machine>) -> Names {
    let mut names = Names {
        macs: traveller.mac.into_iter().collect(),
        uuid: traveller.uuid.clone(),
        words: traveller.serial.iter().cloned().collect(),
    };
    if let Some(machine) = machine {
        names.macs.extend(machine.ports.iter().filter(|port| !port.removable).map(|port| port.mac));
        names.words.push(machine.name.clone());
        names.words.extend(machine.description.serial.clone());
        if names.uuid.is_none() {
            names.uuid = machine.evidence.uuid().map(str::to_owned);
        }
    }
    names
}
