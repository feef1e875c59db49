//! Orders that write or wipe disks in the life of the machines: taken, handed to one session, answered, void.

use protocol::{EventKind, Instruction, Inventory, OrderId, Verb, install::Finish};

use super::{Effects, Fleet, Now, REMEMBERED, SEEN_MILLISECONDS, instruct, silence};
use crate::{
    journal::What,
    machine::{
        DiskOrder, DiskState, Machine, Session, Told,
        awaited::Awaited,
        disk_order::{self, OrderEvent, OrderState, Work, carries_order, order_of},
        install::{self, ImageFacts, InstallRefusal, InstallRequest, Plan},
    },
};

/// Whether an instruction may leave the server.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::machine) enum Handing {
    /// It may, once it is on disk that it does.
    Out(Instruction),
    /// Not now.
    Not,
}

impl Fleet {
    /// Checks what a person asks for, and says what would be done.
    pub(in crate::machine) fn plan_install(
        &self,
        name: &str,
        inventory: &Inventory,
        request: &InstallRequest,
        image: &ImageFacts,
        now: Now,
    ) -> Result<Plan, InstallRefusal> {
        let machine = self.get(name).ok_or_else(|| InstallRefusal::NoMachine(name.to_owned()))?;
        self.check_awaited(machine, now)?;
        let shown_by = |identity: &str| self.shown_by(name, identity);
        let metadata = self.metadata.as_deref();
        let now = now.unix_milliseconds;
        install::plan(machine, inventory, request, image, shown_by, metadata, now)
    }

    /// Takes an order that was checked at this same moment.
    pub(in crate::machine) fn take_disk_order(
        &mut self,
        name: &str,
        order: DiskOrder,
        now: Now,
        effects: &mut Effects,
    ) {
        let Some(machine) = self.get(name) else {
            return;
        };
        let mut machine = machine.clone();
        let disks: Vec<&str> = order.disks().iter().map(|disk| disk.identity.as_str()).collect();
        let what = format!("{} on {}, order {}", order.title(), disks.join(", "), order.id);
        let by = order.by.clone();
        machine.order_digest = order.rests_on();
        machine.serve_nothing();
        if machine.orders.len() >= REMEMBERED {
            machine.orders.remove(0);
        }
        machine.orders.push(order);
        machine.offer(now);
        self.ordered(machine, &what, &by, now, effects);
    }

    /// Names the machines that show a disk of this identity, once for each such disk, the one asked about first.
    pub(super) fn shown_by(&self, name: &str, identity: &str) -> Vec<String> {
        let shows = |machine: &Machine| {
            let disks = machine.disks.iter().filter(|disk| disk.identity == identity).count();
            vec![machine.name.clone(); disks]
        };
        let mut owners: Vec<String> = self.machines().flat_map(shows).collect();
        owners.sort_by_key(|owner| owner != name);
        owners
    }

    /// Decides whether an instruction to write or wipe may be handed to a session, and if so notes that it was.
    ///
    /// The only place where an order leaves the server. `fit` says why nothing may be destroyed now, if so.
    pub(in crate::machine) fn hand_out(
        &mut self,
        session: Session,
        instruction: &Instruction,
        fit: Result<(), String>,
        now: Now,
        effects: &mut Effects,
    ) -> Handing {
        let Some(meant) = order_of(&instruction.verb) else {
            return Handing::Out(instruction.clone());
        };
        let Some(name) = self.of_session(session).map(|machine| machine.name.clone()) else {
            return Handing::Not;
        };
        self.watch_order(&name, now, effects);
        let Some(machine) = self.get(&name) else {
            return Handing::Not;
        };
        let sequence = instruction.sequence;
        let is_running = machine.session.as_ref().is_some_and(|boot| boot.session == session);
        let is_pending = machine.instruction.as_ref() == Some(instruction);
        let Some(order) = machine.open_order().filter(|order| order.id == meant.id) else {
            return Handing::Not;
        };
        if !is_running || !is_pending || !machine.runs(order.system()) {
            return Handing::Not;
        }
        let is_its = |state: &OrderState| {
            matches!(state, OrderState::Given { session: its, sequence: number, .. }
                if *its == session && *number == sequence)
        };
        let is_given = is_its(&order.state);
        let is_late = is_given && now.unix_milliseconds >= order.end();
        let late = is_late.then_some("its time is over");
        if let Some(reason) = machine.unfit_for(order).or(late) {
            // One of the two fits: an order that nobody has is void, one whose answer was lost stays that.
            self.happens(&name, &OrderEvent::Void { reason }, now, effects);
            self.happens(&name, &OrderEvent::Unheard { reason }, now, effects);
            return Handing::Not;
        }
        let awaits = machine.awaited.as_ref().map(Awaited::holds_back);
        let may_still_run =
            self.until_silent(session, now).map(|_| silence::words(order).to_owned());
        if let Some(reason) = fit.err().or(awaits).or(may_still_run) {
            self.hold_back(&name, &reason, now, effects);
            return Handing::Not;
        }
        if is_given {
            // The answer was lost: the same session asks for the same instruction.
            return Handing::Out(instruction.clone());
        }
        self.happens(&name, &OrderEvent::Give { session, sequence }, now, effects);
        let is_given = self.get(&name).and_then(Machine::open_order);
        if is_given.is_some_and(|order| is_its(&order.state)) {
            Handing::Out(instruction.clone())
        } else {
            Handing::Not
        }
    }

    /// Says once why an order waits.
    pub(super) fn hold_back(&mut self, name: &str, reason: &str, now: Now, effects: &mut Effects) {
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        let Some(order) = machine.open_order_mut() else {
            return;
        };
        if order.held_back.as_deref() == Some(reason) {
            return;
        }
        order.held_back = Some(reason.to_owned());
        let became = format!("not handed out: {reason}");
        let what = What::Order { order: order.id, became };
        effects.tell(machine, now, what);
        effects.touched.insert(name.to_owned());
    }

    /// Takes what an agent says; only who has an order changes anything by it.
    pub(in crate::machine) fn agent_says(
        &mut self,
        session: Session,
        kind: &EventKind,
        now: Now,
        effects: &mut Effects,
    ) {
        self.hear(session, now);
        self.hear_end(session, kind, effects);
        let running = |machine: &&Machine| {
            machine.session.as_ref().is_some_and(|boot| boot.session == session)
        };
        if let EventKind::WipeProgress(progress) = kind {
            self.hold_where_replaced_still_wipes(session, progress.order, now, effects);
        }
        if let Some(name) = self.of_session(session).filter(running).map(|one| one.name.clone()) {
            self.happens(&name, &OrderEvent::Says { session, kind }, now, effects);
        }
    }

    /// Takes an order back, or gives it up where an agent has it, or had it before it was lost.
    pub(in crate::machine) fn cancel_order(
        &mut self,
        id: OrderId,
        by: &str,
        now: Now,
        effects: &mut Effects,
    ) -> Result<DiskOrder, CancelError> {
        let Some((machine, order)) = self.find_order(id) else {
            return Err(CancelError::NoOrder(id.to_string()));
        };
        if !order.is_open() && !order.is_lost() {
            return Err(CancelError::Over { id, words: order.words() });
        }
        let name = machine.name.clone();
        let reason = format!("given up by {by}");
        self.happens(&name, &OrderEvent::GiveUp { reason: &reason }, now, effects);
        self.find_order(id)
            .map(|(_, order)| order.clone())
            .ok_or_else(|| CancelError::NoOrder(id.to_string()))
    }

    /// Returns an order and its machine.
    pub(in crate::machine) fn find_order(&self, id: OrderId) -> Option<(&Machine, &DiskOrder)> {
        self.machines().find_map(|machine| {
            Some((machine, machine.orders.iter().find(|order| order.id == id)?))
        })
    }

    /// Ends orders whose time is over, gives up for lost those of which nothing is heard any more, and says what else is
    /// overdue.
    pub(in crate::machine) fn expire(&mut self, now: Now, effects: &mut Effects) {
        self.watch_orders(now, effects);
        for event in [OrderEvent::Time, OrderEvent::Silent] {
            let is_due = |machine: &&Machine| {
                let is_meant = matches!(event, OrderEvent::Time) || !self.is_online(machine, now);
                machine.open_order().filter(|_| is_meant).is_some_and(|order| {
                    disk_order::step(order, &event, now.unix_milliseconds).is_some()
                })
            };
            let due: Vec<String> =
                self.machines().filter(is_due).map(|machine| machine.name.clone()).collect();
            for name in due {
                self.happens(&name, &event, now, effects);
            }
        }
        self.stop_serving(now, effects);
        self.say_overdue(now, effects);
    }

    /// Ends every order: the state directory is not where it was, or not what it was (SAFETY.md 12).
    pub(in crate::machine) fn end_orders(&mut self, reason: &str, now: Now, effects: &mut Effects) {
        let open: Vec<String> = self
            .machines()
            .filter(|machine| machine.open_order().or(machine.lost_order()).is_some())
            .map(|machine| machine.name.clone())
            .collect();
        for name in open {
            self.happens(&name, &OrderEvent::GiveUp { reason }, now, effects);
        }
        let serving = |machine: &&mut Box<Machine>| {
            let serves =
                |order: &DiskOrder| order.install().is_some_and(|work| work.served.is_some());
            machine.orders.iter().any(serves)
        };
        for machine in self.machines.values_mut().filter(serving) {
            machine.serve_nothing();
            effects.changed.insert(machine.name.clone());
        }
    }

    /// Something happens to a machine's open order.
    pub(super) fn happens(
        &mut self,
        name: &str,
        event: &OrderEvent<'_>,
        now: Now,
        effects: &mut Effects,
    ) {
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        let before = machine.open_order().map(DiskOrder::is_with_an_agent);
        let Some(what) = machine.happens(event, now.unix_milliseconds) else {
            return;
        };
        let after = machine.open_order().map(DiskOrder::is_with_an_agent);
        if after.is_none() {
            if let Some(verb) = machine.verb_after_order(event) {
                instruct(machine, verb, now);
                effects.ring = true;
            }
            effects.changed.insert(name.to_owned());
        } else if before != after || what.is_late {
            // How far it is, is kept in memory only: it comes again in a moment.
            effects.touched.insert(name.to_owned());
        }
        effects.tell_all(machine, now, what.entry);
    }
}

/// Why an order was not taken back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CancelError {
    /// There is none.
    #[error("no order of this name: {0}")]
    NoOrder(String),
    /// It is over.
    #[error("the order is over ({words}): {id}")]
    Over {
        /// Which.
        id: OrderId,
        /// What became of it.
        words: String,
    },
    /// It holds, but only in memory.
    #[error("taken back, but that is not yet stored: {0}")]
    NotStored(String),
}

/// What changed in an order.
#[derive(Debug)]
pub(in crate::machine) struct Change {
    /// For the journal; nothing where only the progress changed.
    pub(in crate::machine) entry: Option<What>,
    /// Whether what is stored of when its agent was heard is too old.
    is_late: bool,
}

impl Machine {
    /// Returns the order that is not over.
    pub fn open_order(&self) -> Option<&DiskOrder> {
        self.orders.last().filter(|order| order.is_open())
    }

    /// Returns its last order where that is lost: whoever has it may come back, and go on.
    pub fn lost_order(&self) -> Option<&DiskOrder> {
        self.orders.last().filter(|order| order.is_lost())
    }

    /// Holds where the running agent has heard more than this server remembers to have said, while an order is open
    /// that nobody has: it may have been handed out in a time that the state directory knows nothing of.
    pub(super) fn has_heard_ahead(&self, after: u64) -> bool {
        let is_ordered = self.open_order().is_some_and(DiskOrder::is_to_be_given);
        let offered =
            self.instruction.as_ref().filter(|next| carries_order(next)).map(|next| next.sequence);
        is_ordered && (after > self.sequence || offered.is_some_and(|offered| after >= offered))
    }

    pub(in crate::machine) fn open_order_mut(&mut self) -> Option<&mut DiskOrder> {
        self.orders.last_mut().filter(|order| order.is_open())
    }

    /// Holds while an order decides what the machine boots.
    pub(in crate::machine) fn has_order_at(&self, unix_milliseconds: i64) -> bool {
        self.open_order()
            .is_some_and(|order| order.is_with_an_agent() || unix_milliseconds < order.end())
    }

    /// Changes the open order, and what follows from that on this machine. Returns nothing where nothing changed.
    pub(in crate::machine) fn happens(
        &mut self,
        event: &OrderEvent<'_>,
        at: i64,
    ) -> Option<Change> {
        let order = self.orders.last_mut().filter(|order| order.is_open() || order.is_lost())?;
        let was_with_an_agent = order.is_with_an_agent();
        let had = order.last_boot();
        let after = disk_order::step(order, event, at)?;
        let is_progress = matches!(
            (&order.state, &after),
            (
                OrderState::Running { progress: Some(before), .. },
                OrderState::Running { progress: Some(after), .. },
            ) if before.phase == after.phase
        ) || matches!(
            (&order.state, &after),
            (
                OrderState::Running { wiping: Some(_), .. },
                OrderState::Running { wiping: Some(_), .. },
            )
        );
        let is_heard = matches!(
            (&order.state, &after),
            (OrderState::Given { .. }, OrderState::Given { heard: true, .. })
        );
        order.state = after;
        order.held_back = None;
        let mut is_late = false;
        match (event, order.wipe_mut()) {
            (OrderEvent::Give { session, .. }, Some(wipe)) => wipe.boots.push(*session),
            (
                OrderEvent::Says {
                    kind: EventKind::WipeProgress(_) | EventKind::Progress(_), ..
                },
                _,
            ) => {
                let before = order.lives(at);
                is_late = before.is_none_or(|before| {
                    before.div_euclid(SEEN_MILLISECONDS) != at.div_euclid(SEEN_MILLISECONDS)
                });
            }
            _ => {}
        }
        // What its boot says of the end, or did not hear, needs no waiting for.
        let is_its_word = matches!(
            event,
            OrderEvent::Says { .. } | OrderEvent::Asks { .. } | OrderEvent::Unheard { .. }
        );
        if !order.is_open() && !order.is_lost() {
            order.abandoned = had.filter(|_| !is_its_word);
        }
        let what = What::Order { order: order.id, became: order.words() };
        let entry = (!is_progress && !is_heard).then_some(what);
        if order.is_open() {
            return Some(Change { entry, is_late });
        }
        self.order_ended(was_with_an_agent, at);
        Some(Change { entry, is_late })
    }

    /// Does what follows on this machine when its last order is over.
    pub(super) fn order_ended(&mut self, was_with_an_agent: bool, at: i64) {
        let Some(order) = self.orders.last_mut() else { return };
        order.close();
        let order = order.clone();
        let told = Told { by: format!("order {}", order.id), at };
        match (&order.state, &order.work) {
            (OrderState::Done { .. }, Work::Install(install)) => {
                self.fill(&install.disk.identity);
                self.told_to_wait = (install.finish == Finish::Stay).then_some(told);
            }
            // What is left on its disk starts nothing: it stays where it can be reached.
            (OrderState::Failed { touched: true, .. } | OrderState::Lost { .. }, work) => {
                if let Work::Install(install) = work {
                    self.fill(&install.disk.identity);
                }
                self.was_wiped |= matches!(work, Work::Wipe { .. });
                self.told_to_wait = Some(told);
            }
            (OrderState::Wiped { result, .. }, Work::Wipe { wipe }) => {
                self.wiped(wipe, result, told);
            }
            _ => {}
        }
        if !was_with_an_agent || self.instruction.as_ref().is_some_and(carries_order) {
            self.instruction = self.instruction.take().filter(|next| !carries_order(next));
        }
    }

    /// Notes that a disk is not blank any more.
    fn fill(&mut self, identity: &str) {
        for disk in self.disks.iter_mut().filter(|disk| disk.identity == identity) {
            disk.state = DiskState::Data;
        }
    }

    /// Says what a waiting agent is told when an order is over; nothing where it goes on by itself.
    fn verb_after_order(&self, event: &OrderEvent<'_>) -> Option<Verb> {
        let is_done = self.orders.last().is_some_and(|order| {
            order.is_lost()
                || matches!(order.state, OrderState::Done { .. } | OrderState::Wiped { .. })
        });
        // A machine that comes back is welcomed with what it does.
        let is_welcomed = matches!(event, OrderEvent::Restarted { .. });
        (!is_done && !is_welcomed).then(|| self.standing_verb())
    }

    /// Says why an order that was taken does not fit the machine any more.
    fn unfit_for(&self, order: &DiskOrder) -> Option<&'static str> {
        let rests_on = order.rests_on();
        if !self.is_approved() {
            Some("the machine is not approved any more")
        } else if self.claimed_by.is_some() {
            Some("the machine belongs to somebody else now")
        } else if self.session.as_ref().is_none_or(|boot| !boot.complete) {
            Some("the machine had not reported completely in this boot")
        } else if rests_on.is_none() || self.order_digest != rests_on {
            Some("the machine is not what it was when the order was given")
        } else {
            None
        }
    }

    /// Puts the open order before its machine's agent, where one runs that has reported completely.
    ///
    /// Nothing is handed out by that: see [`Fleet::hand_out`].
    pub(in crate::machine) fn offer(&mut self, now: Now) {
        let is_urgent = |next: &Instruction| {
            !matches!(next.verb, Verb::Wait {} | Verb::RebootAfter { .. }) && !carries_order(next)
        };
        if self.instruction.as_ref().is_some_and(is_urgent) {
            return;
        }
        let Some(session) = self.session.as_ref().map(|boot| boot.session) else { return };
        if !self.has_reported() {
            return;
        }
        let order = self.open_order().filter(|order| order.is_to_be_given());
        let Some((system, Some(verb))) = order.map(|order| (order.system(), order.verb())) else {
            return;
        };
        if self.runs(system) {
            instruct(self, verb, now);
        } else if self.may_change_system(session) {
            // The order itself is for the other system: the server sends that at the next boot.
            instruct(self, Verb::Reboot {}, now);
        }
    }

    /// Returns the number after which an agent that announces itself again must listen:
    /// an order that it was given and has not heard of comes again.
    pub(in crate::machine) fn heard_so_far(&self) -> u64 {
        let unheard = self.open_order().and_then(|order| match order.state {
            // What is pending may be something else since: by what it asks for next, the agent shows what it heard.
            OrderState::Given { sequence, heard: false, .. } => Some(sequence),
            _ => None,
        });
        let pending = self.instruction.as_ref().filter(|next| carries_order(next));
        unheard
            .or(pending.map(|next| next.sequence))
            .map_or(self.sequence, |sequence| sequence.saturating_sub(1))
    }
}
