//! Orders to wipe in the life of the machines: planned, journaled step by step, reported.

use protocol::{
    EventKind, Inventory, OrderId,
    wipe::{PowerLevel, WipeFinish, WipeStep, WipeStepKind},
};

use super::{Effects, Fleet, Now};
use crate::{
    decision::System,
    journal::What,
    machine::{
        DiskOrder, Machine, Session, Told,
        disk_order::{OrderEvent, OrderState},
        install::ChosenDisk,
        wipe::{
            self, Against, LeftPassword, StepError, WipePlan, WipeRefusal, WipeRequest, WipeResult,
            WipeWork, is_called,
            password::{self, Fit},
        },
    },
};

impl Fleet {
    /// Checks what a person asks for, and says what would be done.
    pub(in crate::machine) fn plan_wipe(
        &self,
        name: &str,
        inventory: &Inventory,
        request: &WipeRequest,
        now: Now,
    ) -> Result<WipePlan, WipeRefusal> {
        use crate::machine::install::InstallRefusal::NoMachine;

        let machine = self.get(name).ok_or_else(|| NoMachine(name.to_owned()))?;
        self.check_awaited(machine, now)?;
        let shown_by = |identity: &str| self.shown_by(name, identity);
        let seen = |called: &str| {
            let seen = machine.seen_disks.iter().rev().find(|seen| is_called(&seen.named, called));
            seen.map(|seen| seen.named.clone())
        };
        // A disk may have come from another machine, with the password that was set there.
        let passwords = self.passwords();
        let left = |disk: &ChosenDisk, number| password::inherited(&passwords, disk, number);
        wipe::plan(machine, inventory, request, shown_by, seen, left, now.unix_milliseconds)
    }

    /// Says what would be refused now of what each level does to the disks of an order.
    pub(in crate::machine) fn would_refuse(
        &self,
        name: &str,
        inventory: &Inventory,
        order: &DiskOrder,
        now: Now,
    ) -> Vec<Against> {
        wipe::against(order, |request| self.plan_wipe(name, inventory, request, now))
    }

    /// Journals a step that an agent is about to take. It may take it once that is on disk.
    pub(in crate::machine) fn journal_step(
        &mut self,
        session: Session,
        id: OrderId,
        step: &WipeStep,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), StepError> {
        self.hear(session, now);
        let name = self.of_session(session).map(|machine| machine.name.clone());
        let name = name.ok_or(StepError::NotItsOrder)?;
        self.hold_where_replaced_still_wipes(session, id, now, effects);
        let kind = EventKind::WipeStep { order: id, step: Box::new(step.clone()) };
        if self.get(&name).is_some_and(|machine| machine.lost_order().is_some()) {
            self.happens(&name, &OrderEvent::Says { session, kind: &kind }, now, effects);
        }
        let machine = self.machines.get_mut(name.as_str()).ok_or(StepError::NotItsOrder)?;
        let is_running = machine.session.as_ref().is_some_and(|boot| boot.session == session);
        let order = machine
            .open_order_mut()
            .filter(|order| is_running && order.id == id && order.is_with(session))
            .ok_or(StepError::NotItsOrder)?;
        let wipe = order.wipe_mut().ok_or(StepError::NotItsOrder)?;
        if wipe.note(step, now.unix_milliseconds)? {
            effects.touched.insert(name.clone());
        }
        let disk = usize::try_from(step.disk).ok().and_then(|number| wipe.disks.get(number));
        let disk = disk.cloned().ok_or(StepError::Nonsense)?;
        if let WipeStepKind::AtaPassword { password } = &step.kind {
            machine.keep_password(&disk, password, id, now);
        }
        self.happens(&name, &OrderEvent::Says { session, kind: &kind }, now, effects);
        Ok(())
    }

    /// Returns the passwords that wipes left on disks, oldest first.
    pub(in crate::machine) fn passwords(&self) -> Vec<&LeftPassword> {
        let of_machines = self.machines().flat_map(|machine| &machine.passwords);
        let of_retired = self.retired.values().flat_map(|retired| &retired.passwords);
        let mut all: Vec<&LeftPassword> = of_machines.chain(of_retired).collect();
        all.sort_by_key(|left| (left.at, &left.disk, &left.password));
        all
    }

    /// Forgets the passwords of a disk, wherever it was when they were set: since this moment it has none any more.
    fn release_passwords(&mut self, disk: &ChosenDisk, until: i64, effects: &mut Effects) {
        let gone = password::released(&self.passwords(), disk, until);
        let release = |name: &str, passwords: &mut Vec<LeftPassword>, effects: &mut Effects| {
            let before = passwords.len();
            passwords.retain(|left| !gone.contains(left));
            if passwords.len() < before {
                effects.touched.insert(name.to_owned());
            }
        };
        for machine in self.machines.values_mut() {
            release(&machine.name, &mut machine.passwords, effects);
        }
        for (name, retired) in &mut self.retired {
            release(name, &mut retired.passwords, effects);
        }
    }

    /// Holds a machine where a boot that another has replaced is still at the wipe that this one has, or is to continue: it
    /// did not restart, so there are two.
    pub(super) fn hold_where_replaced_still_wipes(
        &mut self,
        session: Session,
        id: OrderId,
        now: Now,
        effects: &mut Effects,
    ) {
        let Some(machine) = self.of_session(session) else { return };
        let is_replaced = machine.session.as_ref().is_none_or(|boot| boot.session != session);
        let is_its = |order: &DiskOrder| {
            order.id == id && order.wipe().is_some_and(|wipe| wipe.boots.contains(&session))
        };
        if is_replaced && machine.open_order().is_some_and(is_its) {
            let name = machine.name.clone();
            self.hold_two_sessions(&name, now, effects);
        }
    }

    /// Hears a session that hands in a report: one that another has replaced is a second machine by that, too.
    pub(in crate::machine) fn hear_report(
        &mut self,
        session: Session,
        id: OrderId,
        now: Now,
        effects: &mut Effects,
    ) {
        self.hear(session, now);
        self.hold_where_replaced_still_wipes(session, id, now, effects);
    }

    /// Returns a wipe whose report a session may hand in, and its machine: one that it was given, also when its time is over
    /// or it was given up, and of which there is no report.
    pub(in crate::machine) fn reports(
        &self,
        session: Session,
        id: OrderId,
    ) -> Option<(&Machine, &DiskOrder)> {
        let machine = self.of_session(session)?;
        let is_running = machine.session.as_ref().is_some_and(|boot| boot.session == session);
        let order = machine.orders.iter().find(|order| order.id == id && is_running)?;
        let had = order.wipe()?.boots.contains(&session);
        let is_unreported = !matches!(order.state, OrderState::Wiped { .. });
        (had && is_unreported).then_some((machine, order))
    }

    /// Holds where a session's report of this wipe was taken before.
    pub(in crate::machine) fn has_reported(&self, session: Session, id: OrderId) -> bool {
        let is_it = |order: &DiskOrder| {
            let by = match &order.state {
                OrderState::Wiped { session, .. } => Some(*session),
                _ => None,
            };
            order.id == id && by == Some(session)
        };
        self.of_session(session).is_some_and(|machine| machine.orders.iter().any(is_it))
    }

    /// Notes what a wipe came to: it is over by that.
    pub(in crate::machine) fn take_report(
        &mut self,
        session: Session,
        id: OrderId,
        result: WipeResult,
        now: Now,
        effects: &mut Effects,
    ) {
        let Some(name) = self.reports(session, id).map(|(machine, _)| machine.name.clone()) else {
            return;
        };
        let Some(machine) = self.machines.get_mut(name.as_str()) else { return };
        let at = now.unix_milliseconds;
        let is_last = machine.orders.last().is_some_and(|order| order.id == id);
        let Some(order) = machine.orders.iter_mut().find(|order| order.id == id) else { return };
        let was_with_an_agent = order.is_with_an_agent();
        let free = order.wipe().map(|wipe| without_password(wipe, &result));
        let (free, until) = free.unwrap_or_default();
        order.state = OrderState::Wiped { session, at, result: Box::new(result) };
        order.held_back = None;
        order.abandoned = None;
        order.close();
        let what = What::Order { order: id, became: order.words() };
        if is_last {
            machine.order_ended(was_with_an_agent, at);
        } else {
            machine.was_wiped = true;
        }
        effects.tell(machine, now, what);
        effects.changed.insert(name);
        for disk in free {
            self.release_passwords(&disk, until, effects);
        }
    }
}

/// Returns the disks that have no password any more, as the server judges, and when the wipe was last heard of: who says so may
/// be wrong, and may say it late.
fn without_password(wipe: &WipeWork, result: &WipeResult) -> (Vec<ChosenDisk>, i64) {
    let judged = wipe.disks.iter().zip(&result.disks);
    let free = judged.filter(|(_, judged)| judged.has_no_password());
    (free.map(|(disk, _)| disk.clone()).collect(), wipe.alive.unwrap_or(i64::MIN))
}

impl Machine {
    /// Holds where its agent of this moment is of a system.
    pub(in crate::machine) fn runs(&self, system: System) -> bool {
        self.session.as_ref().is_some_and(|boot| boot.system == Some(system))
    }

    /// Decides whether it is told to restart into the system that its order is for; says why it is not.
    pub(super) fn may_change_system(&mut self, session: Session) -> bool {
        let is_known = self.session.as_ref().is_some_and(|boot| boot.system.is_some());
        let from_medium = self.started_from_medium();
        let Some(order) = self.open_order_mut() else { return false };
        let reason = if from_medium {
            "the machine was started from a medium with another system than the order is for: start it from the network, or \
             from the other system's medium"
        } else if is_known && order.may_restart(session) {
            order.held_back = None;
            return true;
        } else {
            "the machine boots another system again and again, although the server sends it the one that the order is for: \
             have it start from the network first"
        };
        order.held_back = Some(reason.to_owned());
        false
    }

    /// Keeps a password that is about to be set on a disk.
    fn keep_password(&mut self, disk: &ChosenDisk, password: &str, order: OrderId, now: Now) {
        let is_it = |left: &LeftPassword| left.password == password && left.fit(disk) > Fit::Not;
        if !self.passwords.iter().any(is_it) {
            self.passwords.push(LeftPassword {
                disk: disk.identity.clone(),
                named: disk.named.clone(),
                password: password.to_owned(),
                machine: self.name.clone(),
                order,
                at: now.unix_milliseconds,
            });
        }
    }

    /// Does what follows from a wipe that is over.
    pub(super) fn wiped(&mut self, wipe: &WipeWork, result: &WipeResult, told: Told) {
        self.was_wiped |= wipe.level.destroys();
        // Who failed waits where it can be reached.
        let failed = wipe.level > PowerLevel::Idle && !result.is_done;
        let waits = wipe.finish == WipeFinish::Stay || failed;
        self.told_to_wait = waits.then_some(told);
    }
}
