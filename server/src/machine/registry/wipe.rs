//! Orders to wipe from outside: taken, journaled on disk before an agent goes on, reported.

use protocol::{
    OrderId,
    wipe::{Seed, WipeStep},
};
use ring::rand::{SecureRandom, SystemRandom};

use super::{Effects, OrderOverview, Registry, Session};
use crate::{
    clock::{Clock, may_destroy},
    machine::{
        DiskOrder, Machine,
        install::InstallRefusal,
        wipe::{Against, Lot, StepError, WipePlan, WipeRefusal, WipeRequest, WipeResult},
    },
    text::chain,
};

impl Registry {
    /// Says what an order to wipe would do, and takes it unless that was only asked. Reads and writes the disk.
    /// `image` says why there is nothing to boot machines of an architecture with, if so.
    pub fn wipe(
        &self,
        name: &str,
        request: &WipeRequest,
        image: impl Fn(Option<&str>) -> Result<(), WipeRefusal>,
        by: &str,
        clock: &Clock,
    ) -> Result<(WipePlan, Option<OrderOverview>), WipeRefusal> {
        self.tidy();
        let inventory = self.inventory_for_order(name)?;
        image(inventory.architecture.as_deref())?;
        if request.dry_run {
            let plan = self.read().plan_wipe(name, &inventory, request, self.now())?;
            return Ok((plan, None));
        }
        request.check_confirmed(name)?;
        let mut lot = Lot { id: OrderId([0; 16]), seed: Seed([0; 32]) };
        let random = SystemRandom::new();
        random.fill(&mut lot.id.0).map_err(|_| InstallRefusal::NoRandom)?;
        random.fill(&mut lot.seed.0).map_err(|_| InstallRefusal::NoRandom)?;
        may_destroy(clock).map_err(|doubt| InstallRefusal::Clock(chain(&doubt)))?;
        let mut effects = Effects::default();
        let plan = {
            let (mut fleet, now) = (self.write(), self.now());
            let plan = fleet.plan_wipe(name, &inventory, request, now)?;
            let order = plan.order(lot, by, now.unix_milliseconds, request);
            fleet.take_disk_order(name, order, now, &mut effects);
            plan
        };
        self.store_order(lot.id, effects)?;
        Ok((plan, self.show_order(lot.id)))
    }

    /// Says what would be refused now of what each level does to the disks of an order; nothing of an order that is not
    /// known. Reads the disk. `image` says why there is nothing to boot machines of an architecture with, if so.
    pub fn would_refuse(
        &self,
        id: OrderId,
        image: impl Fn(Option<&str>) -> Result<(), WipeRefusal>,
        clock: &Clock,
    ) -> Result<Vec<Against>, WipeRefusal> {
        let Some(OrderOverview { machine, order, .. }) = self.show_order(id) else {
            return Ok(Vec::new());
        };
        let inventory = self.inventory_for_order(&machine)?;
        let mut found = self.read().would_refuse(&machine, &inventory, &order, self.now());
        let reasons = [
            image(inventory.architecture.as_deref()).err().map(|refusal| refusal.to_string()),
            may_destroy(clock).err().map(|doubt| chain(&doubt)),
        ];
        for reason in reasons.into_iter().flatten() {
            found.extend(Against::all(&format!("the server: {reason}")));
        }
        Ok(found)
    }

    /// Journals a step that an agent is about to take, in memory: [`Registry::settle`] before it hears that.
    pub fn journal_step(
        &self,
        session: Session,
        order: OrderId,
        step: &WipeStep,
    ) -> Result<(), StepError> {
        let mut effects = Effects::default();
        let now = self.now();
        let noted = self.write().journal_step(session, order, step, now, &mut effects);
        self.follow(effects);
        noted
    }

    /// Hears a session that hands in the report of a wipe; returns that wipe and its machine where it may.
    pub fn reports(&self, session: Session, order: OrderId) -> Option<(Machine, DiskOrder)> {
        let now = self.now();
        self.change(|fleet, effects| fleet.hear_report(session, order, now, effects));
        let fleet = self.read();
        fleet.reports(session, order).map(|(machine, order)| (machine.clone(), order.clone()))
    }

    /// Holds for a session that was given an order to wipe: its words may be long.
    pub fn wipes(&self, session: Session) -> bool {
        let has =
            |order: &DiskOrder| order.wipe().is_some_and(|wipe| wipe.boots.contains(&session));
        self.read().of_session(session).is_some_and(|machine| machine.orders.iter().any(has))
    }

    /// Holds where a session's report of this wipe was taken before.
    pub fn has_reported(&self, session: Session, order: OrderId) -> bool {
        self.read().has_reported(session, order)
    }

    /// Notes what a wipe came to.
    pub fn take_report(&self, session: Session, order: OrderId, result: WipeResult) {
        let now = self.now();
        self.change(|fleet, effects| fleet.take_report(session, order, result, now, effects));
    }
}
