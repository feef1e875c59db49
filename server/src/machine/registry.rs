//! The machines, for all parts of the server: one cheap handle, decisions from memory, the database behind.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use protocol::{Announce, Bytes, Instruction, Inventory, MacAddress, Welcome};
use redb::Database;
use tokio::sync::watch;

use super::{
    AnnounceError, DiskOrder, Machine, Order, OrderError, Record, Session, StoreError,
    UnknownSession, Witness,
    disk_order::carries_order,
    fleet::{Bounds, Effects, Fleet, Now, Picture, Taken},
    store::{self, Loaded, Row, Store},
    wipe::LeftPassword,
    writer::{Owner, Writer},
};
use crate::{
    decision::{Boot, Lists, System, Traveller},
    journal::Entry,
    moment,
};

mod install;
mod past;
mod served;
mod wipe;

pub use self::{install::OrderOverview, past::Past};

/// So many addresses are remembered with the port that has them.
const ADDRESSES: usize = 16_384;

/// Where entries for the journal go. Must not block.
pub type Teller = Arc<dyn Fn(Entry) + Send + Sync>;

/// What the operator decided about machines in general.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whom the server answers at all.
    pub lists: Lists,
    /// How many machines are remembered that nobody ever approved.
    pub strangers: usize,
    /// How much room their inventories may take together.
    pub stranger_bytes: Bytes,
    /// What tells this state directory from a copy of it: orders do not hold in a copy (SAFETY.md 12).
    pub home: Option<String>,
    /// What tells this state directory from an earlier state of itself.
    pub past: Option<Past>,
    /// Where installed systems find this server, if they may: `http://10.0.0.1:7480`.
    pub metadata: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lists: Lists::default(),
            strangers: 4096,
            stranger_bytes: Bytes(512 << 20),
            home: None,
            past: None,
            metadata: None,
        }
    }
}

/// A machine and what is known of it at this moment.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// The machine.
    #[serde(flatten)]
    pub machine: Machine,
    /// Whether its agent was heard within the last 90 seconds.
    pub online: bool,
    /// How sure its identity is.
    pub strength: super::Strength,
}

/// All machines. Clones are the same registry.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    fleet: RwLock<Fleet>,
    store: Store,
    witness: Option<Arc<Witness>>,
    writer: Writer,
    lists: Lists,
    tell: Teller,
    addresses: Mutex<HashMap<Ipv4Addr, MacAddress>>,
    records: Mutex<BTreeSet<String>>,
    records_bell: watch::Sender<()>,
    bell: watch::Sender<()>,
    started: Instant,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    /// Opens the machines in the database, and starts to write there what changes. End it with [`Registry::close`].
    pub fn open(
        database: Arc<Database>,
        settings: Settings,
        tell: Teller,
    ) -> Result<Self, StoreError> {
        let (store, Loaded { machines, retired }) = Store::open(database)?;
        let bounds =
            Bounds { strangers: settings.strangers, stranger_bytes: settings.stranger_bytes.0 };
        // A record may have outlived its machine, or the approval that stands in it.
        let gone = retired.iter().map(|(name, _)| name.clone());
        let records = machines.iter().map(|machine| machine.name.clone()).chain(gone).collect();
        let mut fleet = Fleet::new(bounds, machines, retired);
        fleet.metadata = settings.metadata;
        if let Some(home) = &settings.home {
            void_orders_of_a_copy(&mut fleet, &store, home, &tell)?;
        }
        if let Some(past) = &settings.past {
            past::void_orders(&mut fleet, &store, past, &tell)?;
        }
        let inner = Arc::new(Inner {
            fleet: RwLock::new(fleet),
            store,
            witness: settings.past.map(|past| past.witness),
            writer: Writer::default(),
            lists: settings.lists,
            tell,
            addresses: Mutex::default(),
            records: Mutex::new(records),
            records_bell: watch::channel(()).0,
            bell: watch::channel(()).0,
            started: Instant::now(),
        });
        Writer::start(&inner, |inner| &inner.writer);
        let registry = Self(inner);
        // While it was off nobody was heard.
        let now = registry.now();
        registry.change(|fleet, effects| fleet.watch_orders(now, effects));
        Ok(registry)
    }

    /// Opens a registry whose database is in memory and ends with the process.
    pub fn in_memory(settings: Settings, tell: Teller) -> Result<Self, StoreError> {
        Self::open(Arc::new(store::in_memory()?), settings, tell)
    }

    /// Writes what is not yet on disk, and writes nothing after that. Blocks until then.
    pub fn close(&self) {
        let names: Vec<String> =
            self.read().machines().map(|machine| machine.name.clone()).collect();
        // When each was last seen is stored only now and then.
        self.0.writer.changed(names);
        self.0.writer.close();
    }

    /// Says why machines cannot be stored, while they cannot; they are served from memory meanwhile.
    pub fn storage_failure(&self) -> Option<String> {
        self.0.writer.failure()
    }

    /// Decides what a machine boots. Touches no disk.
    pub fn decide(&self, traveller: &Traveller) -> Boot {
        let mut effects = Effects::default();
        let boot = self.write().decide(&self.0.lists, traveller, self.now(), &mut effects);
        self.follow(effects);
        boot
    }

    /// Says whether a machine looks for disks on a network in a system: in SunshineOS where it is on the list of those that do,
    /// in HerculesOS where its order is for such a disk. Touches no disk.
    pub fn has_network_storage(&self, traveller: &Traveller, system: System) -> bool {
        let lists = &self.0.lists;
        // Most servers have no such list.
        (system == System::Hercules || !lists.network_storage.is_empty())
            && self.write().has_network_storage(lists, traveller, system, self.now())
    }

    /// Returns the port that has an address, as far as anybody said.
    pub fn mac_of(&self, address: Ipv4Addr) -> Option<MacAddress> {
        lock(&self.0.addresses).get(&address).copied()
    }

    /// Remembers which port has an address.
    pub fn note_address(&self, mac: MacAddress, address: Ipv4Addr) {
        let mut addresses = lock(&self.0.addresses);
        if addresses.len() >= ADDRESSES && !addresses.contains_key(&address) {
            // Any of them: all are hints, and machines that matter say theirs again.
            let victim = addresses.keys().next().copied();
            victim.and_then(|address| addresses.remove(&address));
        }
        addresses.insert(address, mac);
    }

    /// Takes what an agent says of its machine. Fill in [`Welcome::clock_unix_milliseconds`] where the clock is known to be right.
    pub fn announce(
        &self,
        session: Session,
        address: IpAddr,
        announce: &Announce,
    ) -> Result<Welcome, AnnounceError> {
        let grant = self.write().admit(address, self.now())?;
        Picture::check(announce)?;
        // Outside the lock: DHCP answers must not wait for it.
        let inventory =
            serde_json::to_vec(&announce.inventory).expect("an inventory's keys are texts");
        let bytes = Bytes(u64::try_from(inventory.len()).unwrap_or(u64::MAX));
        let picture = Picture::of(announce, address, bytes);
        let mut effects = Effects::default();
        let now = self.now();
        let result = self.write().announce(session, grant, &picture, now, &mut effects);
        if let Ok((welcome, Taken::Whole)) = &result {
            self.0.writer.inventory(&welcome.machine, inventory);
        }
        self.follow(effects);
        result.map(|(welcome, _)| welcome)
    }

    /// Notes that an agent is alive, and returns what comes after `after`: an order is not to be handed out by that.
    fn poll(&self, session: Session, after: u64) -> Result<Option<Instruction>, UnknownSession> {
        let mut effects = Effects::default();
        let next = self.write().poll(session, after, self.now(), &mut effects);
        self.follow(effects);
        next
    }

    /// Returns the name of a session's machine.
    pub fn machine_of(&self, session: Session) -> Option<String> {
        self.read().of_session(session).map(|machine| machine.name.clone())
    }

    /// Lists all machines, by name.
    pub fn list(&self) -> Vec<Overview> {
        let fleet = self.read();
        let now = self.now();
        let mut list: Vec<Overview> =
            fleet.machines().map(|machine| overview(&fleet, machine, now)).collect();
        list.sort_by(|one, two| one.machine.name.cmp(&two.machine.name));
        list
    }

    /// Returns the names that are not given again, and when each was taken from its machine: milliseconds since 1970.
    pub fn retired(&self) -> Vec<(String, i64)> {
        let mut retired: Vec<_> = self.read().retired().collect();
        retired.sort();
        retired
    }

    /// Returns the passwords that wipes left on disks, oldest first, also those of machines that were forgotten.
    pub fn left_passwords(&self) -> Vec<LeftPassword> {
        self.read().passwords().into_iter().cloned().collect()
    }

    /// Returns a machine by name.
    pub fn show(&self, name: &str) -> Option<Overview> {
        let fleet = self.read();
        fleet.get(name).map(|machine| overview(&fleet, machine, self.now()))
    }

    /// Returns a machine's inventory, as last announced. Reads the disk: not for a thread that must not wait.
    pub fn inventory(&self, name: &str) -> Result<Option<Inventory>, StoreError> {
        match self.0.writer.waiting_inventory(name) {
            Some(json) => store::read_inventory(name, &json).map(Some),
            None => self.0.store.inventory(name),
        }
    }

    /// Approves a machine in the name of a person. Like all orders, waits until that is on disk.
    pub fn approve(&self, name: &str, by: &str) -> Result<(), OrderError> {
        self.take_order(|fleet, now, effects| fleet.approve(name, by, now, effects))
    }

    /// Approves a machine in the name of a rule, if rules may approve it.
    pub fn approve_by_rule(&self, name: &str, rule: &str) -> Result<(), OrderError> {
        self.take_order(|fleet, now, effects| fleet.approve_by_rule(name, rule, now, effects))
    }

    /// Removes a machine from the list; does nothing to the machine.
    pub fn forget(&self, name: &str, by: &str) -> Result<(), OrderError> {
        self.take_order(|fleet, now, effects| fleet.forget(name, by, now, effects))
    }

    /// Takes machines over from a backup, without any order; not those whose name is known already.
    /// Returns how many. Their inventories come with their next boot.
    pub fn restore(&self, machines: Vec<Machine>, by: &str) -> Result<usize, OrderError> {
        let mut restored = 0;
        self.take_order(|fleet, now, effects| {
            restored = fleet.restore(machines, by, now, effects);
            Ok(())
        })?;
        Ok(restored)
    }

    /// Takes an order for a machine.
    pub fn order(&self, name: &str, order: Order, by: &str) -> Result<(), OrderError> {
        self.take_order(|fleet, now, effects| fleet.order(name, order, by, now, effects))
    }

    /// Chooses a disk, by its identity in [`Machine::disks`], for the record's list.
    pub fn choose_disk(&self, name: &str, disk: &str, by: &str) -> Result<(), OrderError> {
        self.take_order(|fleet, now, effects| fleet.choose_disk(name, disk, by, now, effects))
    }

    /// Returns those ports of a machine that another one shows too, which was seen before it.
    pub fn contested_ports(&self, machine: &Machine) -> BTreeSet<MacAddress> {
        self.read().contested_ports(machine)
    }

    /// Has the records of a port's machines looked at again, for example because its address was reserved.
    pub fn refresh_records(&self, mac: MacAddress) {
        let changed = self.read().names_of_ports(&BTreeSet::from([mac]));
        self.follow(Effects { changed, ..Effects::default() });
    }

    /// Notes the state of a machine's record.
    pub fn note_record(&self, name: &str, record: Record) {
        self.write().amend(name, |machine| machine.record = record);
    }

    /// Waits until records may have to be written, and returns the names of their machines;
    /// a name that is no machine's any more is a record to be removed. Can be dropped at any moment.
    pub async fn changed_records(&self) -> BTreeSet<String> {
        let mut bell = self.0.records_bell.subscribe();
        loop {
            bell.mark_unchanged();
            let changed = std::mem::take(&mut *lock(&self.0.records));
            if !changed.is_empty() {
                return changed;
            }
            if bell.changed().await.is_err() {
                return BTreeSet::new();
            }
        }
    }

    /// Waits until everything that changed so far is on disk, 10 s at most; says why it is not.
    pub fn settle(&self) -> Result<(), String> {
        self.0.writer.flush()
    }

    fn take_order(
        &self,
        order: impl FnOnce(&mut Fleet, Now, &mut Effects) -> Result<(), OrderError>,
    ) -> Result<(), OrderError> {
        let mut effects = Effects::default();
        order(&mut self.write(), self.now(), &mut effects)?;
        if effects.changed.is_empty() {
            return Ok(());
        }
        self.follow(effects);
        self.settle().map_err(|reason| OrderError::NotStored { reason })
    }

    fn follow(&self, effects: Effects) {
        self.0.follow(effects);
    }

    fn now(&self) -> Now {
        self.0.now()
    }

    fn read(&self) -> RwLockReadGuard<'_, Fleet> {
        self.0.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, Fleet> {
        self.0.fleet.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Does what follows, outside the lock.
    fn follow(&self, effects: Effects) {
        for entry in effects.entries {
            (self.tell)(entry);
        }
        if !effects.changed.is_empty() || !effects.touched.is_empty() {
            self.writer.changed(effects.changed.iter().cloned().chain(effects.touched));
        }
        if !effects.changed.is_empty() {
            lock(&self.records).extend(effects.changed);
            self.records_bell.send_replace(());
        }
        if effects.ring {
            self.bell.send_replace(());
        }
    }

    fn now(&self) -> Now {
        Now { unix_milliseconds: moment::now(), uptime: self.started.elapsed() }
    }

    fn read(&self) -> RwLockReadGuard<'_, Fleet> {
        self.fleet.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends every order where the database is not where it was when it was written.
fn void_orders_of_a_copy(
    fleet: &mut Fleet,
    store: &Store,
    home: &str,
    tell: &Teller,
) -> Result<(), StoreError> {
    let before = store.home()?;
    if before.as_deref() == Some(home) {
        return Ok(());
    }
    if before.is_some() {
        end_orders(fleet, store, "the state directory was restored or copied", tell)?;
    }
    // After that: a crash in between ends them again.
    store.set_home(home)
}

/// Ends every order, on disk, before anybody can ask for one.
fn end_orders(
    fleet: &mut Fleet,
    store: &Store,
    reason: &str,
    tell: &Teller,
) -> Result<(), StoreError> {
    let mut effects = Effects::default();
    let now = Now { unix_milliseconds: moment::now(), uptime: Duration::ZERO };
    fleet.end_orders(reason, now, &mut effects);
    effects.entries.into_iter().for_each(|entry| tell(entry));
    let machines = effects.changed.into_iter().filter_map(|name| fleet.get(&name));
    let rows = machines.map(|machine| (machine.name.clone(), row(machine))).collect();
    store.write(&rows).map(drop)
}

fn row(machine: &Machine) -> Row {
    Row::Machine {
        json: serde_json::to_vec(machine).expect("a machine's keys are texts"),
        inventory: None,
    }
}

impl Owner for Inner {
    fn row(&self, name: &str) -> Row {
        let fleet = self.read();
        match fleet.get(name) {
            Some(machine) => row(machine),
            None => fleet.retired_name(name).cloned().map_or(Row::Gone, Row::Retired),
        }
    }

    fn write(&self, rows: &BTreeMap<String, Row>) -> Result<(), StoreError> {
        let generation = self.store.write(rows)?;
        if let Some(witness) = &self.witness {
            // What was written holds: without its witness only a state that goes back is not noticed.
            past::note(witness, generation);
        }
        Ok(())
    }

    fn lost(&self, names: BTreeSet<String>) {
        let mut effects = Effects::default();
        let now = self.now();
        self.fleet.write().unwrap_or_else(PoisonError::into_inner).ask_again(
            &names,
            now,
            &mut effects,
        );
        self.follow(effects);
    }
}

/// Shows a machine, without what only its agent may read.
fn overview(fleet: &Fleet, machine: &Machine, now: Now) -> Overview {
    let orders = machine.orders.iter().cloned().map(DiskOrder::without_secrets).collect();
    let instruction = machine.instruction.clone().filter(|next| !carries_order(next));
    Overview {
        machine: Machine { orders, instruction, ..machine.clone() },
        online: fleet.is_online(machine, now),
        strength: machine.strength(),
    }
}

/// A panic elsewhere leaves the value as it was: it is used on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
