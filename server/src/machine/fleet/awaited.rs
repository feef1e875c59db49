//! Machines whose drivers are on their way: noted with each report, and said where it takes too long.

use protocol::Verb;

use super::{Effects, Fleet, Now, Session, announce::Picture, instruct};
use crate::{
    journal::What,
    machine::{DiskOrder, Machine, awaited::Awaited, install::InstallRefusal},
};

impl Fleet {
    /// Notes what a report of the running session awaits; returns what the journal hears of it.
    pub(super) fn note_awaited(
        &mut self,
        name: &str,
        session: Session,
        picture: &Picture<'_>,
        now: Now,
    ) -> Option<What> {
        let machine = self.machines.get_mut(name)?;
        if machine.session.as_ref().is_none_or(|boot| boot.session != session) {
            return None;
        }
        let before = machine.awaited.clone();
        let inventory = picture.inventory();
        machine.awaits(Awaited::of(inventory, before.as_ref(), now.unix_milliseconds));
        let modules = |awaited: &Awaited| awaited.modules.clone();
        let is_over = picture.has_looked() && machine.waits_in_vain();
        if is_over {
            machine.gives_up_waiting();
        } else if picture.has_looked() && machine.has_whole_initramfs() {
            machine.cut_boots = 0;
        }
        let is_news =
            is_over || before.as_ref().map(modules) != machine.awaited.as_ref().map(modules);
        let awaited = machine.awaited.as_ref().filter(|_| is_news)?;
        Some(What::DriversAwaited { modules: awaited.modules.clone(), overdue: awaited.is_overdue })
    }

    /// Says of an order that nobody has that it waits for drivers: from the first word of a boot on, before it is offered.
    pub(super) fn hold_back_awaited(&mut self, name: &str, now: Now, effects: &mut Effects) {
        let Some(machine) = self.get(name) else { return };
        let waits = machine.open_order().is_some_and(DiskOrder::is_to_be_given);
        let reason = machine.awaited.as_ref().filter(|_| waits).map(Awaited::holds_back);
        if let Some(reason) = reason {
            self.hold_back(name, &reason, now, effects);
        }
    }

    /// Refuses an order for a machine to which drivers are on their way: its disks may not all be there yet. Of one that is away
    /// nothing comes in a moment, and what it showed last counts.
    pub(super) fn check_awaited(&self, machine: &Machine, now: Now) -> Result<(), InstallRefusal> {
        match &machine.awaited {
            Some(awaited) if self.is_online(machine, now) => {
                Err(InstallRefusal::DriversAwaited(awaited.refuses(&machine.name)))
            }
            _ => Ok(()),
        }
    }

    /// Says of machines that run and whose drivers do not come that it takes too long.
    ///
    /// A machine with data, which would have been sent to its own disk, then is: that it has data does not depend on what may
    /// be missing.
    pub(super) fn say_overdue(&mut self, now: Now, effects: &mut Effects) {
        let is_due = |machine: &&Machine| {
            let awaited = machine.awaited.as_ref();
            awaited.is_some_and(|awaited| awaited.becomes_overdue(now.unix_milliseconds))
                && self.is_online(machine, now)
        };
        let due: Vec<String> =
            self.machines().filter(is_due).map(|machine| machine.name.clone()).collect();
        for name in due {
            let Some(machine) = self.machines.get_mut(name.as_str()) else { continue };
            machine.gives_up_waiting();
            let Some(modules) = machine.awaited.as_ref().map(|awaited| awaited.modules.clone())
            else {
                continue;
            };
            effects.tell(machine, now, What::DriversAwaited { modules, overdue: true });
            let verb = machine.standing_verb();
            // Whoever waits already need not be told to.
            if matches!(verb, Verb::RebootAfter { .. }) && machine.instruction.is_none() {
                instruct(machine, verb, now);
                effects.ring = true;
            }
            effects.touched.insert(name);
        }
    }
}
