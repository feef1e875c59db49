//! Orders that write or wipe disks, for all parts of the server: on disk before they leave it.

use protocol::{EventKind, Instruction, Inventory, OrderId};
use ring::rand::{SecureRandom, SystemRandom};

use super::{Duration, Effects, Registry, Session, UnknownSession};
use crate::{
    clock::{Clock, may_destroy},
    machine::{
        DiskOrder, Machine,
        disk_order::carries_order,
        fleet::{CancelError, Fleet, Handing},
        install::{Drawn, ImageFacts, InstallRefusal, InstallRequest, Plan},
    },
    text::chain,
};

/// An order with its machine.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderOverview {
    /// The machine's name.
    pub machine: String,
    /// Whether its agent was heard within the last 90 seconds.
    pub online: bool,
    /// The order.
    #[serde(flatten)]
    pub order: DiskOrder,
}

impl Registry {
    /// Says what an order to install would do, and takes it unless that was only asked. Reads and writes the disk.
    pub fn install(
        &self,
        name: &str,
        request: &InstallRequest,
        image: &ImageFacts,
        by: &str,
        clock: &Clock,
    ) -> Result<(Plan, Option<OrderOverview>), InstallRefusal> {
        self.tidy();
        let inventory = self.inventory_for_order(name)?;
        if request.dry_run {
            let plan = self.read().plan_install(name, &inventory, request, image, self.now())?;
            return Ok((plan, None));
        }
        let mut drawn = Drawn { id: OrderId([0; 16]), token: [0; 16] };
        let random = SystemRandom::new();
        random.fill(&mut drawn.id.0).map_err(|_| InstallRefusal::NoRandom)?;
        random.fill(&mut drawn.token).map_err(|_| InstallRefusal::NoRandom)?;
        let id = drawn.id;
        may_destroy(clock).map_err(|doubt| InstallRefusal::Clock(chain(&doubt)))?;
        let mut effects = Effects::default();
        let plan = {
            let (mut fleet, now) = (self.write(), self.now());
            let plan = fleet.plan_install(name, &inventory, request, image, now)?;
            let order = plan.order(drawn, by, now.unix_milliseconds, request, image)?;
            fleet.take_disk_order(name, order, now, &mut effects);
            plan
        };
        self.store_order(id, effects)?;
        Ok((plan, self.show_order(id)))
    }

    /// Returns what an order rests on.
    pub(super) fn inventory_for_order(&self, name: &str) -> Result<Inventory, InstallRefusal> {
        match self.inventory(name) {
            Ok(Some(inventory)) => Ok(inventory),
            Ok(None) if self.show(name).is_none() => {
                Err(InstallRefusal::NoMachine(name.to_owned()))
            }
            Ok(None) | Err(_) => Err(InstallRefusal::Unstored(name.to_owned())),
        }
    }

    /// Whoever waits hears of an order when it is on disk: what is not stored is not ordered.
    pub(super) fn store_order(
        &self,
        id: OrderId,
        mut effects: Effects,
    ) -> Result<(), InstallRefusal> {
        let ring = std::mem::take(&mut effects.ring);
        self.follow(effects);
        if let Err(reason) = self.settle() {
            let mut effects = Effects::default();
            let by = "the server, because it could not be stored";
            // Whatever became of it meanwhile, it is over now.
            drop(self.write().cancel_order(id, by, self.now(), &mut effects));
            self.follow(effects);
            return Err(InstallRefusal::NotStored(reason));
        }
        self.follow(Effects { ring, ..Effects::default() });
        Ok(())
    }

    /// Lists all orders that are remembered, newest first.
    pub fn orders(&self) -> Vec<OrderOverview> {
        self.tidy();
        let (fleet, now) = (self.read(), self.now());
        let mut orders: Vec<OrderOverview> = fleet
            .machines()
            .flat_map(|machine| machine.orders.iter().map(move |order| (machine, order)))
            .map(|(machine, order)| shown(machine, order, fleet.is_online(machine, now)))
            .collect();
        orders.sort_by_key(|shown| (std::cmp::Reverse(shown.order.at), shown.order.id));
        orders
    }

    /// Returns an order.
    pub fn show_order(&self, id: OrderId) -> Option<OrderOverview> {
        let (fleet, now) = (self.read(), self.now());
        let (machine, order) = fleet.find_order(id)?;
        Some(shown(machine, order, fleet.is_online(machine, now)))
    }

    /// Takes an order back; one that an agent has is given up, whatever that agent still does.
    pub fn cancel_order(&self, id: OrderId, by: &str) -> Result<OrderOverview, CancelError> {
        self.tidy();
        let mut effects = Effects::default();
        self.write().cancel_order(id, by, self.now(), &mut effects)?;
        self.follow(effects);
        self.settle().map_err(CancelError::NotStored)?;
        self.show_order(id).ok_or_else(|| CancelError::NoOrder(id.to_string()))
    }

    /// Takes what an agent says of its order.
    pub fn agent_says(&self, session: Session, kind: &EventKind) {
        let now = self.now();
        self.change(|fleet, effects| fleet.agent_says(session, kind, now, effects));
    }

    /// Holds while a session carries out an order that names this manifest, or is about to.
    pub fn may_fetch(&self, session: Session, manifest: &str) -> bool {
        self.carries_out(session, |order| names(order, manifest))
    }

    /// Holds while a session carries out this order, or is about to.
    pub fn may_go_on(&self, session: Session, id: OrderId) -> bool {
        self.carries_out(session, |order| order.id == id)
    }

    fn carries_out(&self, session: Session, is_meant: impl Fn(&DiskOrder) -> bool) -> bool {
        let fleet = self.read();
        let Some(machine) = fleet.of_session(session) else {
            return false;
        };
        // One that was lost goes on where its boot comes back, which may fetch before it has said anything.
        let lost = machine.lost_order().filter(|order| order.last_boot() == Some(session));
        let order = machine.open_order().filter(|order| order.is_with(session)).or(lost);
        order.is_some_and(is_meant)
    }

    /// Returns the machine whose open order names this manifest.
    pub fn ordered_for(&self, manifest: &str) -> Option<String> {
        self.tidy();
        let is_meant =
            |machine: &&Machine| machine.open_order().is_some_and(|order| names(order, manifest));
        self.read().machines().find(is_meant).map(|machine| machine.name.clone())
    }

    /// Ends the orders whose time is over.
    pub fn tidy(&self) {
        let now = self.now();
        self.change(|fleet, effects| fleet.expire(now, effects));
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Fleet, &mut Effects)) {
        let mut effects = Effects::default();
        change(&mut self.write(), &mut effects);
        self.follow(effects);
    }

    /// Waits for what a session is told after `after`, at most for `patience`. Can be dropped at any moment.
    ///
    /// An order is handed out only while the clock is trusted, and only after it is on disk that it was; a wipe that another
    /// boot had only when that one was silent for long enough, and whoever waits asks again then.
    /// It answers only a question that was asked after it was given: who asked before may have lost its power since,
    /// while its line still seems to be up, and would use the order up. So an order that comes while somebody waits
    /// ends the wait with nothing, and the agent asks again.
    pub async fn wait_for_instruction(
        &self,
        session: Session,
        after: u64,
        patience: Duration,
        clock: &Clock,
    ) -> Result<Option<Instruction>, UnknownSession> {
        let mut bell = self.0.bell.subscribe();
        let mut deadline = tokio::time::Instant::now() + patience;
        let mut refused = None;
        if let Some(instruction) = self.poll(session, after)? {
            refused = Some(instruction.sequence);
            if let Some(instruction) = self.hand_out(session, instruction, clock).await {
                return Ok(Some(instruction));
            }
            if let Some(left) = self.read().until_silent(session, self.now()) {
                deadline = deadline.min(tokio::time::Instant::now() + left);
            }
        }
        loop {
            // The bell cannot close: `self` holds it.
            if tokio::time::timeout_at(deadline, bell.changed()).await.is_err() {
                return Ok(None);
            }
            // The agent is not heard by that: it may be gone, and its machine run another by now.
            match self.read().pending(session, after)? {
                // What was refused a moment ago still is, whatever the bell rang for.
                Some(next) if Some(next.sequence) != refused => {
                    return Ok((!carries_order(&next)).then_some(next));
                }
                Some(_) | None => {}
            }
        }
    }

    async fn hand_out(
        &self,
        session: Session,
        instruction: Instruction,
        clock: &Clock,
    ) -> Option<Instruction> {
        if !carries_order(&instruction) {
            return Some(instruction);
        }
        let fit = may_destroy(clock).map_err(|doubt| chain(&doubt));
        let mut effects = Effects::default();
        let now = self.now();
        let handing = self.write().hand_out(session, &instruction, fit, now, &mut effects);
        self.follow(effects);
        let Handing::Out(instruction) = handing else { return None };
        let registry = self.clone();
        match tokio::task::spawn_blocking(move || registry.settle()).await {
            Ok(Ok(())) => Some(instruction),
            // The agent asks again.
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

/// Holds for an order to install the image of this manifest.
fn names(order: &DiskOrder, manifest: &str) -> bool {
    order.install().is_some_and(|work| work.image.manifest.as_deref() == Some(manifest))
}

fn shown(machine: &Machine, order: &DiskOrder, online: bool) -> OrderOverview {
    let order = order.clone().without_secrets();
    OrderOverview { machine: machine.name.clone(), online, order }
}
