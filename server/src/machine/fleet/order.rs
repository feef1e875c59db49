//! What people say of machines: approve, forget, wait, restart.

use protocol::Verb;

use super::{Effects, Fleet, Now, instruct};
use crate::{
    decision::System,
    journal::What,
    machine::{
        Approval, Load, Machine, Told,
        awaited::StillAwaited,
        disk_order::{DiskOrder, OrderEvent},
        evidence::Strength,
        store::Retired,
        wipe::password,
    },
};

/// What a person can order. None of these destroys anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Stays in SunshineOS, now and at every boot, until released.
    Wait,
    /// Ends [`Order::Wait`].
    Release,
    /// Restarts, once, at once: only while its agent runs.
    Reboot,
    /// Switches off, once, at once: only while its agent runs.
    PowerOff,
    /// Collects its inventory and announces again: only while its agent runs.
    Announce,
}

impl Order {
    /// Names it as the command does.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Release => "release",
            Self::Reboot => "reboot",
            Self::PowerOff => "power-off",
            Self::Announce => "announce",
        }
    }

    /// Reads the name that [`Order::name`] gives.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Wait, Self::Release, Self::Reboot, Self::PowerOff, Self::Announce]
            .into_iter()
            .find(|order| order.name() == name)
    }
}

/// Why an order was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is no such machine.
    #[error("no machine of this name: {name}")]
    NoMachine {
        /// The name.
        name: String,
    },
    /// Its agent has not finished looking at it.
    #[error("the machine has not reported completely yet: {name}")]
    Incomplete {
        /// The name.
        name: String,
    },
    /// Drivers are on their way to it, so that it may show less than it has.
    #[error(transparent)]
    DriversAwaited(StillAwaited),
    /// A rule may not approve it (SAFETY.md 3).
    #[error("a rule approves only a machine of strong identity whose disks are all blank: {name}")]
    NotForRules {
        /// The name.
        name: String,
    },
    /// Its agent does not run, so nobody would carry the order out.
    #[error("the machine's agent does not run: {name}")]
    Offline {
        /// The name.
        name: String,
    },
    /// An order is being carried out: it is not disturbed.
    #[error("an order is being carried out by the machine: {name}")]
    Busy {
        /// The name.
        name: String,
    },
    /// The machine has no such disk, or none that can be chosen.
    #[error("the machine has no such disk that could be chosen: {disk}")]
    NoDisk {
        /// What was asked for.
        disk: String,
    },
    /// It holds, but only in memory: the database could not be written. It is tried again.
    #[error("taken, but not yet stored: {reason}")]
    NotStored {
        /// Why.
        reason: String,
    },
}

impl Fleet {
    /// Approves a machine as it is now, also one that is held.
    pub(in crate::machine) fn approve(
        &mut self,
        name: &str,
        by: &str,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), OrderError> {
        let mut machine = self.known(name)?.clone();
        let is_coming = !machine.complete && self.is_online(&machine, now);
        if let Some(awaited) = machine.awaited.as_ref().filter(|_| is_coming) {
            return Err(OrderError::DriversAwaited(awaited.refuses(name)));
        }
        if !machine.complete {
            return Err(OrderError::Incomplete { name: name.to_owned() });
        }
        if machine.is_approved() {
            return Ok(());
        }
        let was_held = matches!(machine.approval, Approval::Held { .. });
        machine.approval = Approval::Approved { by: by.to_owned(), at: now.unix_milliseconds };
        machine.ever_approved = true;
        machine.notice = None;
        if was_held {
            let verb = machine.standing_verb();
            instruct(&mut machine, verb, now);
        }
        self.ordered(machine, "approve", by, now, effects);
        Ok(())
    }

    /// Approves a machine in the name of a rule: only one that is beyond doubt and empty (SAFETY.md 3).
    pub(in crate::machine) fn approve_by_rule(
        &mut self,
        name: &str,
        rule: &str,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), OrderError> {
        if !self.known(name)?.is_approvable_by_rule() {
            return Err(OrderError::NotForRules { name: name.to_owned() });
        }
        self.approve(name, rule, now, effects)
    }

    /// Removes a machine from the list, and from nothing else (SAFETY.md 13). Its name is never given again, and the passwords
    /// that wipes left on its disks stay.
    pub(in crate::machine) fn forget(
        &mut self,
        name: &str,
        by: &str,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), OrderError> {
        self.known(name)?;
        if let Some(mut machine) = self.take(name) {
            let event = OrderEvent::GiveUp { reason: "the machine was forgotten" };
            let void = machine.happens(&event, now.unix_milliseconds);
            effects.tell_all(&machine, now, void.and_then(|change| change.entry));
            effects.tell(
                &machine,
                now,
                What::Ordered { order: "forget".to_owned(), by: by.to_owned() },
            );
            effects.changed.insert(name.to_owned());
            effects.ring = true;
            let ports = machine.ports.iter().map(|port| port.mac).collect();
            effects.changed.extend(self.names_of_ports(&ports));
            let retired = Retired { at: now.unix_milliseconds, passwords: machine.passwords };
            self.retired.insert(name.to_owned(), retired);
        }
        Ok(())
    }

    /// Chooses a disk for installing, after those chosen before.
    pub(in crate::machine) fn choose_disk(
        &mut self,
        name: &str,
        disk: &str,
        by: &str,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), OrderError> {
        let mut machine = self.known(name)?.clone();
        let mut found = machine.disks.iter().filter(|known| known.identity == disk);
        let chosen = found
            .next()
            .filter(|known| !known.portable && !known.read_only && known.has_identity());
        let (Some(chosen), None) = (chosen, found.next()) else {
            return Err(OrderError::NoDisk { disk: disk.to_owned() });
        };
        let chosen = chosen.identity.clone();
        if !machine.chosen_disks.contains(&chosen) {
            machine.chosen_disks.push(chosen);
        }
        self.ordered(machine, &format!("choose disk {disk}"), by, now, effects);
        Ok(())
    }

    /// Takes an order.
    pub(in crate::machine) fn order(
        &mut self,
        name: &str,
        order: Order,
        by: &str,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), OrderError> {
        let mut machine = self.known(name)?.clone();
        let online = self.is_online(&machine, now);
        let verb = match order {
            Order::Wait => {
                machine.told_to_wait = Some(Told { by: by.to_owned(), at: now.unix_milliseconds });
                machine.standing_verb()
            }
            Order::Release => {
                machine.told_to_wait = None;
                machine.standing_verb()
            }
            Order::Reboot => Verb::Reboot {},
            Order::PowerOff => Verb::PowerOff {},
            Order::Announce => Verb::Announce {},
        };
        // One that was lost and asks again is at its disks, although it has not said so yet.
        let is_back = online && machine.lost_order().is_some();
        let is_busy = is_back || machine.open_order().is_some_and(DiskOrder::is_with_an_agent);
        if is_busy && !matches!(order, Order::Wait | Order::Release) {
            return Err(OrderError::Busy { name: name.to_owned() });
        }
        // Who carries out an order waits already, and an order whose answer was lost must come again.
        if online && !is_busy {
            instruct(&mut machine, verb, now);
            machine.offer(now);
        } else if !online && !matches!(order, Order::Wait | Order::Release) {
            return Err(OrderError::Offline { name: name.to_owned() });
        }
        self.ordered(machine, order.name(), by, now, effects);
        Ok(())
    }

    /// Takes machines over from a backup, without any order (SAFETY.md 12) and without a running session;
    /// not those whose name is known or was taken from a machine. Returns how many.
    pub(in crate::machine) fn restore(
        &mut self,
        machines: Vec<Machine>,
        by: &str,
        now: Now,
        effects: &mut Effects,
    ) -> usize {
        let mut restored = 0;
        for mut machine in machines {
            if self.machines.contains_key(machine.name.as_str())
                || self.retired.contains_key(&machine.name)
            {
                continue;
            }
            let journaled = password::journaled(&machine);
            machine.passwords.extend(journaled);
            machine.forget_orders();
            machine.session = None;
            machine.replaced.clear();
            machine.record = crate::machine::Record::Unwritten;
            self.ordered(machine, "restore", by, now, effects);
            restored += 1;
        }
        restored
    }

    fn known(&self, name: &str) -> Result<&Machine, OrderError> {
        self.get(name).ok_or_else(|| OrderError::NoMachine { name: name.to_owned() })
    }

    pub(super) fn ordered(
        &mut self,
        machine: Machine,
        order: &str,
        by: &str,
        now: Now,
        effects: &mut Effects,
    ) {
        let what = What::Ordered { order: order.to_owned(), by: by.to_owned() };
        effects.tell(&machine, now, what);
        effects.changed.insert(machine.name.clone());
        effects.ring = true;
        self.put(machine);
    }
}

impl Machine {
    /// Says what its agent does until something else is said (SAFETY.md 18).
    pub(in crate::machine) fn standing_verb(&self) -> Verb {
        let is_over = self.has_reported() || self.is_overdue();
        let is_free =
            self.told_to_wait.is_none() && !matches!(self.approval, Approval::Held { .. });
        if self.claimed_by.is_some() {
            // Its owner's boot server gets it.
            Verb::Reboot {}
        } else if self.started_from_medium() {
            Verb::Wait {}
        } else if self.tries_again() && is_free {
            // Its order, too, is not begun in this boot.
            Verb::RebootAfter { seconds: super::PATIENCE_SECONDS }
        } else if self.open_order().or(self.lost_order()).is_some() {
            Verb::Wait {}
        } else if is_over && is_free && self.runs(System::Hercules) {
            // It has nothing to wipe, whatever it may show yet. Not at once: its medium may start it again and again.
            Verb::RebootAfter { seconds: super::PATIENCE_SECONDS }
        } else if is_over && is_free && self.load() == Load::Data && !self.was_wiped {
            Verb::RebootAfter { seconds: super::PATIENCE_SECONDS }
        } else {
            Verb::Wait {}
        }
    }

    /// Holds where somebody put a medium in: the machine would start from it again and again.
    pub(super) fn started_from_medium(&self) -> bool {
        self.session.as_ref().is_some_and(|boot| boot.from_medium)
    }

    /// Returns what a person at the console should read.
    pub(in crate::machine) fn console_notice(&self) -> Option<String> {
        match &self.approval {
            Approval::Held { reason } => Some(format!("held, a person must look: {reason}")),
            Approval::Pending | Approval::Approved { .. } => self.notice.clone(),
        }
    }

    /// Holds for machines that may make room for others: weak, never approved, empty.
    pub(in crate::machine) fn is_expendable(&self) -> bool {
        !self.ever_approved
            && self.passwords.is_empty()
            && self.strength() == Strength::Weak
            && self.load() != Load::Data
    }
}
