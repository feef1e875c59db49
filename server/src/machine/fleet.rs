//! All known machines in memory, with their indexes. No I/O and no clock: what follows is returned.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use protocol::{Instruction, MacAddress, Verb};

use self::index::Index;
use super::{
    Evidence, Machine, Session,
    disk_order::OrderEvent,
    evidence::{Item, Soundness},
    limit::Limit,
    store::Retired,
};
use crate::journal::{Entry, What};

mod announce;
mod awaited;
mod index;
mod install;
mod lookup;
mod order;
mod served;
mod silence;
#[cfg(test)]
mod tests;
mod wipe;

pub(super) use self::announce::{Picture, Taken};
pub(super) use self::install::Handing;
pub use self::{
    announce::AnnounceError,
    install::CancelError,
    order::{Order, OrderError},
};

/// A session that polled or announced within this time is alive. An agent's long poll lasts 30 s.
const ALIVE: Duration = Duration::from_secs(90);

/// A machine with data restarts after this time, unless a person says otherwise (SAFETY.md 18).
pub(super) const PATIENCE_SECONDS: u32 = 60;

/// How exactly it is stored when a machine was last seen: a write for every poll would be a thousand a minute.
const SEEN_MILLISECONDS: i64 = 600_000;

/// Why orders end whose machine, or whose witness, knows more than the state directory.
pub(super) const WENT_BACK: &str = "the server's state went back in time: an order in it may have been carried out \
                                    already, so look at the machine, then order again";

/// No sequence number is taken over from an agent above this: there must be room for later ones.
const FARTHEST: u64 = 1 << 53;

/// How many replaced sessions and past boots a machine remembers.
const REMEMBERED: usize = 8;

/// A moment, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Now {
    /// For people and the database.
    pub(super) unix_milliseconds: i64,
    /// For liveness: since the server started, never backwards.
    pub(super) uptime: Duration,
}

/// How many strangers are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Machines that were never approved.
    pub(super) strangers: usize,
    /// The bytes of their inventories.
    pub(super) stranger_bytes: u64,
}

/// Says that no machine belongs to a session: the agent must announce itself again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown session: announce again")]
pub struct UnknownSession;

/// All known machines.
#[derive(Debug)]
pub(super) struct Fleet {
    bounds: Bounds,
    machines: HashMap<Arc<str>, Box<Machine>>,
    /// Who shows an item. Sound ones, and permanent addresses that software made up: enough to look, not to believe.
    items: Index,
    /// Running and replaced sessions.
    sessions: HashMap<Session, Arc<str>>,
    /// When a session was last heard.
    heard: HashMap<Session, Duration>,
    /// Names that a person took from a machine: never given again.
    retired: HashMap<String, Retired>,
    /// Who was just sent to its own disk and is about to come back through a port that tells nothing.
    expected: HashMap<MacAddress, Expected>,
    /// Where installed systems find this server, if they may.
    pub(super) metadata: Option<String>,
    limit: Limit,
    strangers: usize,
    stranger_bytes: u64,
    /// When it was last tried in vain to make room.
    crowded: Option<Duration>,
    /// Which ports' contradictions were said, and when.
    said: HashMap<MacAddress, Duration>,
}

/// Who comes back through a port.
#[derive(Debug, Clone)]
struct Expected {
    name: String,
    until: Duration,
}

/// What follows from something that happened.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// For the journal.
    pub(super) entries: Vec<Entry>,
    /// Machines to be stored and recorded again, or removed where they are no more.
    pub(super) changed: BTreeSet<String>,
    /// Machines to be stored again, of which nothing changed that a record says.
    pub(super) touched: BTreeSet<String>,
    /// Whether waiting agents should look for instructions.
    pub(super) ring: bool,
}

impl Effects {
    fn tell_all(&mut self, machine: &Machine, now: Now, happened: impl IntoIterator<Item = What>) {
        for what in happened {
            self.tell(machine, now, what);
        }
    }

    fn tell(&mut self, machine: &Machine, now: Now, what: What) {
        self.entries.push(Entry {
            unix_milliseconds: now.unix_milliseconds,
            mac: machine.last_mac,
            address: None,
            machine: Some(machine.name.clone()),
            what,
        });
    }
}

impl Fleet {
    /// Takes over what the database knows.
    pub(super) fn new(
        bounds: Bounds,
        machines: impl IntoIterator<Item = Machine>,
        retired: impl IntoIterator<Item = (String, Retired)>,
    ) -> Self {
        let mut fleet = Self {
            bounds,
            machines: HashMap::new(),
            items: Index::default(),
            sessions: HashMap::new(),
            heard: HashMap::new(),
            retired: retired.into_iter().collect(),
            expected: HashMap::new(),
            metadata: None,
            limit: Limit::default(),
            strangers: 0,
            stranger_bytes: 0,
            crowded: None,
            said: HashMap::new(),
        };
        for machine in machines {
            fleet.put(machine);
        }
        fleet
    }

    /// Returns a machine by its name.
    pub(super) fn get(&self, name: &str) -> Option<&Machine> {
        self.machines.get(name).map(Box::as_ref)
    }

    /// Returns all machines, in no order.
    pub(super) fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.machines.values().map(Box::as_ref)
    }

    /// Returns the machine of a session, also of one that another has replaced.
    pub(super) fn of_session(&self, session: Session) -> Option<&Machine> {
        self.get(self.sessions.get(&session)?)
    }

    /// Holds when the machine's agent was heard a short while ago.
    pub(super) fn is_online(&self, machine: &Machine, now: Now) -> bool {
        machine
            .session
            .as_ref()
            .and_then(|boot| self.heard.get(&boot.session))
            .is_some_and(|&heard| now.uptime.saturating_sub(heard) <= ALIVE)
    }

    /// Notes that a session says something.
    fn hear(&mut self, session: Session, now: Now) {
        if self.sessions.contains_key(&session) {
            self.heard.insert(session, now.uptime);
        }
    }

    /// Returns when a name was taken from its machine.
    pub(super) fn retired(&self) -> impl Iterator<Item = (String, i64)> {
        self.retired.iter().map(|(name, retired)| (name.clone(), retired.at))
    }

    /// Returns what is kept of a name that was taken from its machine.
    pub(super) fn retired_name(&self, name: &str) -> Option<&Retired> {
        self.retired.get(name)
    }

    /// Asks machines that run to report again: what they said was lost.
    pub(super) fn ask_again(&mut self, names: &BTreeSet<String>, now: Now, effects: &mut Effects) {
        for name in names {
            if self.get(name).is_some_and(|machine| self.is_online(machine, now)) {
                self.amend(name, |machine| instruct(machine, Verb::Announce {}, now));
                effects.touched.insert(name.clone());
                effects.ring = true;
            }
        }
    }

    /// Changes what is recorded of a machine without any other consequence.
    pub(super) fn amend(&mut self, name: &str, amend: impl FnOnce(&mut Machine)) {
        if let Some(machine) = self.machines.get_mut(name) {
            amend(machine);
        }
    }

    /// Hands a session what comes after `after`.
    ///
    /// A session that another has replaced must be silent: one that speaks again is a second machine, and both are held.
    pub(super) fn poll(
        &mut self,
        session: Session,
        after: u64,
        now: Now,
        effects: &mut Effects,
    ) -> Result<Option<Instruction>, UnknownSession> {
        let name = self.sessions.get(&session).ok_or(UnknownSession)?.to_string();
        self.heard.insert(session, now.uptime);
        self.watch_order(&name, now, effects);
        let machine = self.machines.get_mut(name.as_str()).ok_or(UnknownSession)?;
        if now.unix_milliseconds / SEEN_MILLISECONDS != machine.last_seen / SEEN_MILLISECONDS {
            effects.touched.insert(name.clone());
        }
        machine.last_seen = now.unix_milliseconds;
        if machine.session.as_ref().is_none_or(|boot| boot.session != session) {
            self.hold_two_sessions(&name, now, effects);
            return Ok(None);
        }
        // After a database was lost the agent may know a higher number than we do.
        let heard_ahead = machine.has_heard_ahead(after);
        machine.sequence = machine.sequence.max(after.min(FARTHEST));
        let pending = machine.instruction.as_ref().map(|next| next.sequence);
        if heard_ahead {
            let event = OrderEvent::GiveUp { reason: WENT_BACK };
            self.happens(&name, &event, now, effects);
        }
        self.happens(&name, &OrderEvent::Asks { session, after, pending }, now, effects);
        let machine = self.machines.get_mut(name.as_str()).ok_or(UnknownSession)?;
        if machine.instruction.as_ref().is_some_and(|next| next.sequence <= after) {
            machine.instruction = None;
            effects.touched.insert(name);
            return Ok(None);
        }
        Ok(machine.instruction.clone())
    }

    /// Returns what a session would be handed that has already asked: it is not heard again by that.
    pub(super) fn pending(
        &self,
        session: Session,
        after: u64,
    ) -> Result<Option<Instruction>, UnknownSession> {
        let machine = self.of_session(session).ok_or(UnknownSession)?;
        let is_running = machine.session.as_ref().is_some_and(|boot| boot.session == session);
        let next = machine.instruction.clone();
        Ok(next.filter(|next| is_running && next.sequence > after))
    }

    /// Takes an approval back, voids orders, and asks for a person.
    fn hold(&mut self, name: &str, reason: String, now: Now, effects: &mut Effects) {
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        if matches!(&machine.approval, super::Approval::Held { reason: old } if *old == reason) {
            return;
        }
        machine.approval = super::Approval::Held { reason: reason.clone() };
        let void = machine.void_orders("a person must look which machine this is", now);
        instruct(machine, Verb::Wait {}, now);
        effects.tell_all(machine, now, void);
        effects.tell(machine, now, What::Held { reason });
        effects.changed.insert(name.to_owned());
        effects.ring = true;
    }

    fn hold_two_sessions(&mut self, name: &str, now: Now, effects: &mut Effects) {
        let reason = "two agents with different keys run as this machine at once".to_owned();
        self.hold(name, reason, now, effects);
    }

    /// Puts a machine in its place, and the indexes right.
    fn put(&mut self, machine: Machine) {
        self.take(&machine.name);
        let name: Arc<str> = machine.name.as_str().into();
        for item in looked_up(&machine.evidence) {
            self.items.insert(item.kind, &item.value, &name);
        }
        let boots = machine.session.iter().map(|boot| boot.session);
        for session in boots.chain(machine.replaced.iter().copied()) {
            self.sessions.insert(session, Arc::clone(&name));
        }
        if !machine.ever_approved {
            self.strangers += 1;
            self.stranger_bytes += machine.inventory_bytes.0;
        }
        self.machines.insert(name, Box::new(machine));
    }

    /// Removes a machine from its place and from the indexes.
    fn take(&mut self, name: &str) -> Option<Machine> {
        let machine = self.machines.remove(name)?;
        for item in looked_up(&machine.evidence) {
            self.items.remove(item.kind, &item.value, name);
        }
        let boots = machine.session.iter().map(|boot| boot.session);
        for session in boots.chain(machine.replaced.iter().copied()) {
            self.sessions.remove(&session);
        }
        if !machine.ever_approved {
            self.strangers -= 1;
            self.stranger_bytes -= machine.inventory_bytes.0;
        }
        Some(*machine)
    }
}

/// Lists the items under which a machine is found.
fn looked_up(evidence: &Evidence) -> impl Iterator<Item = &Item> {
    evidence
        .items()
        .iter()
        .filter(|item| matches!(item.soundness, Soundness::Sound | Soundness::LocallyAdministered))
}

/// Gives a machine's running session an instruction, in place of one that it has not fetched.
///
/// The number is at least the time, so that it rises even when a database was restored.
fn instruct(machine: &mut Machine, verb: Verb, now: Now) {
    let time = u64::try_from(now.unix_milliseconds).unwrap_or_default();
    machine.sequence = machine.sequence.saturating_add(1).max(time);
    machine.instruction = Some(Instruction { sequence: machine.sequence, verb });
}

impl Machine {
    /// Voids what was ordered and chosen: it does not hold for another machine. Returns what the journal hears of it.
    ///
    /// An order that an agent has stays what it is: that agent looks for itself, and says what came of it.
    pub(super) fn void_orders(&mut self, reason: &str, now: Now) -> Option<What> {
        self.told_to_wait = None;
        self.chosen_disks.clear();
        self.instruction = None;
        self.serve_nothing();
        self.happens(&OrderEvent::Void { reason }, now.unix_milliseconds)?.entry
    }

    /// Voids everything: the machine is taken over from a backup (SAFETY.md 12). What may lock its disks stays known.
    pub(super) fn forget_orders(&mut self) {
        self.told_to_wait = None;
        self.chosen_disks.clear();
        self.instruction = None;
        self.orders.clear();
    }
}
