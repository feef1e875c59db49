//! An agent says what its machine is: who that is, what changed, what it is told.
//!
//! Strangers are bounded. When there is no room, the stranger longest unheard of makes place, if it was never approved,
//! has a weak identity and no data, and has been silent for an hour; else new strangers are refused, and known machines served.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use protocol::{Announce, Bytes, Inventory, InventoryDigest, MacAddress, Verb, Welcome};

use super::{Effects, Expected, Fleet, Now, REMEMBERED};
use crate::{
    decision::System,
    journal::What,
    machine::{
        Approval, Boot, Description, Evidence, KnownDisk, KnownPort, Machine, Session,
        disk_order::OrderEvent,
        evidence::Kind,
        identity::{self, Match},
        limit::Grant,
        name,
    },
};

/// So long a stranger must have been silent before it makes room for another.
const SILENT: Duration = Duration::from_hours(1);
/// So long after its restart a machine is expected back: servers with much memory test it for minutes.
const RETURN: Duration = Duration::from_mins(15);
/// So many characters are kept of what an agent says its version is.
const VERSION: usize = 64;
/// So many ports a machine has at most: each costs time and memory that others need.
const PORTS: usize = 1024;
/// So many disks a machine has at most, every path of every LUN counted.
const DISKS: usize = 8192;
/// So many machines are expected back at once.
const EXPECTED: usize = 4096;

/// Why an announcement was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnnounceError {
    /// This address asks too often.
    #[error("too many announcements from this address: try again in some seconds")]
    TooOften,
    /// There is no room for another machine that nobody approved.
    #[error("too many machines that nobody approved: approve or forget some")]
    Full,
    /// It lists more parts than a machine has.
    #[error("more than {PORTS} ports or {DISKS} disks: no machine has so many")]
    TooMuch,
}

/// Whether an announcement's inventory replaces what was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::machine) enum Taken {
    /// It does.
    Whole,
    /// It is the unfinished picture of a machine of which more is known, or it is not believed.
    Refused,
}

/// What the machine is, as far as it is kept in memory.
#[derive(Debug)]
pub(in crate::machine) struct Picture<'a> {
    announce: &'a Announce,
    /// Whether the agent has looked at everything, and no driver is on its way.
    complete: bool,
    evidence: Evidence,
    booted_through: Option<MacAddress>,
    inventory_bytes: Bytes,
}

impl<'a> Picture<'a> {
    /// Refuses what no machine can be, before it costs anything.
    pub(in crate::machine) fn check(announce: &Announce) -> Result<(), AnnounceError> {
        let Announce { inventory, .. } = announce;
        if inventory.ports.len() > PORTS || inventory.disks.len() > DISKS {
            return Err(AnnounceError::TooMuch);
        }
        Ok(())
    }

    /// Reads what an agent that speaks from an address says; its inventory needs so much room in the database.
    pub(in crate::machine) fn of(
        announce: &'a Announce,
        address: IpAddr,
        inventory_bytes: Bytes,
    ) -> Self {
        Self {
            announce,
            complete: announce.complete && announce.inventory.awaited.is_empty(),
            evidence: Evidence::of(&announce.inventory),
            booted_through: announce.boot.mac.or_else(|| port_of(announce, address)),
            inventory_bytes,
        }
    }

    /// Holds where the agent has looked at everything, but for what is awaited.
    pub(super) fn has_looked(&self) -> bool {
        self.announce.complete
    }

    /// Returns what the machine shows.
    pub(super) fn inventory(&self) -> &'a Inventory {
        &self.announce.inventory
    }
}

impl Fleet {
    /// Decides whether an address may announce anything at all.
    pub(in crate::machine) fn admit(
        &mut self,
        address: IpAddr,
        now: Now,
    ) -> Result<Grant, AnnounceError> {
        match self.limit.take(address, now.uptime) {
            Grant::TooOften => Err(AnnounceError::TooOften),
            grant => Ok(grant),
        }
    }

    /// Takes an announcement that was admitted.
    pub(in crate::machine) fn announce(
        &mut self,
        session: Session,
        grant: Grant,
        picture: &Picture<'_>,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(Welcome, Taken), AnnounceError> {
        let (name, taken) = match self.who(session, picture, now, effects) {
            Who::Known(name) => self.arrive(&name, session, picture, now, effects),
            Who::Unchanged(name) => {
                self.amend(&name, |machine| machine.doubt(session));
                (name, Taken::Refused)
            }
            Who::Stranger { notice, approval } => {
                if grant == Grant::TooMany {
                    return Err(AnnounceError::TooOften);
                }
                self.make_room(picture.inventory_bytes, now, effects)?;
                (self.meet(session, picture, notice, approval, now, effects), Taken::Whole)
            }
        };
        if self.heard.len() > 2 * self.sessions.len() + 64 {
            self.heard.retain(|session, _| self.sessions.contains_key(session));
        }
        self.heard.insert(session, now.uptime);
        let awaits = self.note_awaited(&name, session, picture, now);
        let machine = &self.machines[name.as_str()];
        let verb = machine.standing_verb();
        let welcome = Welcome {
            machine: name.clone(),
            clock_unix_milliseconds: None,
            sequence: machine.heard_so_far(),
            notice: machine.console_notice(),
            verb,
        };
        effects.tell(
            machine,
            now,
            What::Announced {
                agent_version: picture.announce.agent_version.chars().take(VERSION).collect(),
                complete: picture.complete,
            },
        );
        effects.tell_all(machine, now, awaits);
        effects.changed.insert(name.clone());
        self.hold_back_awaited(&name, now, effects);
        // Behind the welcome: the agent asks for what comes after it.
        self.amend(&name, |machine| machine.offer(now));
        if matches!(welcome.verb, Verb::RebootAfter { .. }) {
            self.expect(picture.booted_through, name, now);
        }
        Ok((welcome, taken))
    }

    /// Finds out whose announcement it is.
    fn who(
        &mut self,
        session: Session,
        picture: &Picture<'_>,
        now: Now,
        effects: &mut Effects,
    ) -> Who {
        let found = self.recognise(&picture.evidence);
        let Some(running) = self.of_session(session) else {
            return match found {
                Match::Known { name, .. } => Who::Known(name),
                Match::New { notice } => Who::Stranger { notice, approval: Approval::Pending },
                Match::Conflict { why, .. } => {
                    Who::Stranger { notice: None, approval: Approval::Held { reason: why } }
                }
            };
        };
        let name = running.name.clone();
        if running.session.as_ref().is_none_or(|boot| boot.session != session) {
            self.hold_two_sessions(&name, now, effects);
            return Who::Unchanged(name);
        }
        // The same agent in the same boot: the same machine, unless it shows otherwise.
        match found {
            Match::Known { name: other, .. } if other != name => {
                if !running.complete {
                    // Its first, incomplete picture was not enough to recognise it: nothing hangs on that name yet.
                    self.take(&name);
                    effects.changed.insert(name);
                    return Who::Known(other);
                }
                for (name, other) in [(&name, &other), (&other, &name)] {
                    let reason = format!("one boot showed itself as this machine and as {other}");
                    self.hold(name, reason, now, effects);
                }
                Who::Unchanged(name)
            }
            Match::Known { .. } => Who::Known(name),
            Match::New { .. } | Match::Conflict { .. } => {
                let another = running.complete
                    && [Kind::Uuid, Kind::SystemSerial, Kind::BoardSerial].into_iter().any(
                        |kind| !running.evidence.sound_of(kind).eq(picture.evidence.sound_of(kind)),
                    );
                if another {
                    let reason = "it showed two identities in one boot".to_owned();
                    self.hold(&name, reason, now, effects);
                    return Who::Unchanged(name);
                }
                Who::Known(name)
            }
        }
    }

    /// Compares with the machines that share anything.
    fn recognise(&self, evidence: &Evidence) -> Match {
        let names: BTreeSet<&Arc<str>> = super::looked_up(evidence)
            .flat_map(|item| self.items.candidates(item.kind, &item.value))
            .collect();
        let known = names
            .into_iter()
            .filter_map(|name| self.get(name))
            .map(|machine| (machine.name.as_str(), &machine.evidence));
        identity::recognise(evidence, known)
    }

    /// Takes the announcement of a known machine; returns its name, and whether it tells more than was known.
    fn arrive(
        &mut self,
        name: &str,
        session: Session,
        picture: &Picture<'_>,
        now: Now,
        effects: &mut Effects,
    ) -> (String, Taken) {
        self.watch_order(name, now, effects);
        let mut machine = (*self.machines[name]).clone();
        let macs = |machine: &Machine| -> BTreeSet<MacAddress> {
            machine.ports.iter().map(|port| port.mac).collect()
        };
        let before_ports = macs(&machine);
        let is_crowded = self.is_crowded(&machine, session, now);
        let taken =
            if picture.complete || !machine.complete { Taken::Whole } else { Taken::Refused };
        let restarted = machine
            .happens(&OrderEvent::Restarted { session }, now.unix_milliseconds)
            .and_then(|change| change.entry);
        effects.tell_all(&machine, now, restarted);
        machine.start(session, picture, now);
        if picture.complete {
            let before = machine.clone();
            machine.see(picture);
            if let Some(reason) = before.complete.then(|| change(&before, &machine)).flatten() {
                let void = machine.void_orders(&reason, now);
                effects.tell_all(&machine, now, void);
                if before.is_approved() {
                    machine.approval = Approval::Pending;
                }
                if before.approval == Approval::Pending || before.is_approved() {
                    machine.notice = Some(reason.clone());
                }
                effects.tell(&machine, now, What::Held { reason });
            }
        } else if !machine.complete {
            machine.see(picture);
            machine.complete = false;
        }
        let name = machine.name.clone();
        // What it does not show any more may be in another's record now.
        let lost = &before_ports - &macs(&machine);
        self.put(machine);
        effects.changed.extend(self.names_of_ports(&lost));
        if is_crowded {
            self.hold_two_sessions(&name, now, effects);
        }
        (name, taken)
    }

    /// Holds when one more session would push out one that was heard a short while ago: no machine boots so often,
    /// and who is forgotten can no longer be caught speaking beside the one that replaced it.
    fn is_crowded(&self, machine: &Machine, session: Session, now: Now) -> bool {
        let is_new = machine.session.as_ref().is_none_or(|boot| boot.session != session);
        let oldest = machine.replaced.first().filter(|_| machine.replaced.len() >= REMEMBERED);
        let heard = oldest.and_then(|oldest| self.heard.get(oldest));
        is_new && heard.is_some_and(|&heard| now.uptime.saturating_sub(heard) <= super::ALIVE)
    }

    /// Takes the announcement of a stranger; returns the name that it is given.
    fn meet(
        &mut self,
        session: Session,
        picture: &Picture<'_>,
        notice: Option<String>,
        approval: Approval,
        now: Now,
        effects: &mut Effects,
    ) -> String {
        let name = name::propose(&picture.announce.inventory, picture.booted_through, session)
            .find(|name| {
                !self.machines.contains_key(name.as_str()) && !self.retired.contains_key(name)
            })
            .expect("there are more numbers than machines");
        let mut machine = Machine {
            name: name.clone(),
            notice,
            approval,
            first_seen: now.unix_milliseconds,
            ..Machine::default()
        };
        machine.start(session, picture, now);
        machine.see(picture);
        if let Approval::Held { reason } = &machine.approval {
            effects.tell(&machine, now, What::Held { reason: reason.clone() });
        }
        self.put(machine);
        name
    }

    /// Makes room for one more stranger, or refuses it.
    fn make_room(
        &mut self,
        bytes: Bytes,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), AnnounceError> {
        let has_room = |fleet: &Self| {
            fleet.strangers < fleet.bounds.strangers
                && fleet.stranger_bytes.saturating_add(bytes.0) <= fleet.bounds.stranger_bytes
        };
        if has_room(self) {
            return Ok(());
        }
        // A search through thousands once a second, not once a request.
        if self.crowded.is_some_and(|at| now.uptime.saturating_sub(at) < Duration::from_secs(1)) {
            return Err(AnnounceError::Full);
        }
        let silent = i64::try_from(SILENT.as_millis()).unwrap_or(i64::MAX);
        let mut expendable: Vec<(i64, String)> = self
            .machines
            .values()
            .filter(|machine| machine.is_expendable())
            .filter(|machine| now.unix_milliseconds.saturating_sub(machine.last_seen) >= silent)
            .map(|machine| (machine.last_seen, machine.name.clone()))
            .collect();
        expendable.sort_unstable();
        for (_, name) in expendable {
            self.take(&name);
            effects.changed.insert(name);
            if has_room(self) {
                return Ok(());
            }
        }
        self.crowded = Some(now.uptime);
        Err(AnnounceError::Full)
    }

    /// Remembers who is about to come back through a port.
    fn expect(&mut self, mac: Option<MacAddress>, name: String, now: Now) {
        let Some(mac) = mac else {
            return;
        };
        if self.expected.len() >= EXPECTED {
            self.expected.retain(|_, expected| expected.until >= now.uptime);
        }
        if self.expected.len() < EXPECTED {
            let patience = Duration::from_secs(super::PATIENCE_SECONDS.into());
            let until = now.uptime + patience + RETURN;
            self.expected.insert(mac, Expected { name, until });
        }
    }
}

/// Whose announcement it is.
enum Who {
    /// This machine's; it is taken.
    Known(String),
    /// This machine's session spoke, but what it said is not taken.
    Unchanged(String),
    /// Nobody's that is known.
    Stranger { notice: Option<String>, approval: Approval },
}

/// Returns the port that has the address from which the agent speaks.
fn port_of(announce: &Announce, address: IpAddr) -> Option<MacAddress> {
    let ports = &announce.inventory.ports;
    let port = ports.iter().find(|port| port.addresses.contains(&address))?;
    port.permanent_mac.or(port.mac)
}

/// Says what changed so much that approval and orders do not hold any more (SAFETY.md 4).
fn change(before: &Machine, after: &Machine) -> Option<String> {
    identity::changed(&before.evidence, &after.evidence).or_else(|| {
        (before.disk_set() != after.disk_set()).then(|| "its set of disks changed".to_owned())
    })
}

impl Machine {
    /// Begins a boot, or goes on with it.
    fn start(&mut self, session: Session, picture: &Picture<'_>, now: Now) {
        self.last_seen = now.unix_milliseconds;
        let complete = picture.complete;
        if let Some(boot) = self.session.as_mut().filter(|boot| boot.session == session) {
            boot.complete |= complete;
            return;
        }
        self.last_mac = picture.booted_through.or(self.last_mac);
        self.first_mac = self.first_mac.or(picture.booted_through);
        let system = System::named(picture.announce.system.as_deref());
        let boot = Boot {
            session,
            since: now.unix_milliseconds,
            mac: picture.booted_through,
            complete,
            system,
            from_medium: picture.announce.boot.from_medium,
        };
        if let Some(old) = self.session.replace(boot.clone()) {
            push(&mut self.replaced, old.session);
        }
        push(&mut self.history, boot);
        self.boots += 1;
        // What the last boot has not fetched is not this one's, and what it waited for neither.
        self.instruction = None;
        self.awaits(None);
    }

    /// Notes that a session said something of the machine that was not believed: it gets no order before it has
    /// reported anew.
    fn doubt(&mut self, session: Session) {
        if let Some(boot) = self.session.as_mut().filter(|boot| boot.session == session) {
            boot.complete = false;
        }
    }

    /// Takes over what the agent saw.
    fn see(&mut self, picture: &Picture<'_>) {
        let inventory = &picture.announce.inventory;
        self.complete = picture.complete;
        self.inventory_digest = self.complete.then(|| InventoryDigest::of(inventory));
        let missing = self.called_missing();
        self.order_digest = self.complete.then(|| InventoryDigest::without(inventory, missing));
        self.description = Description::of(inventory);
        self.evidence = picture.evidence.clone();
        self.disks = inventory.disks.iter().filter_map(KnownDisk::of).collect();
        self.ports = inventory
            .ports
            .iter()
            .filter_map(|port| {
                Some(KnownPort { mac: port.permanent_mac?, removable: port.removable })
            })
            .collect();
        self.inventory_bytes = picture.inventory_bytes;
        self.was_wiped &= !self.complete;
        if self.complete {
            self.cut_boots = 0;
            self.remember_disks(inventory, self.last_seen);
        }
    }
}

fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() >= REMEMBERED {
        list.remove(0);
    }
    list.push(item);
}
