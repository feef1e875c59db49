//! The machines on disk: one row each, their inventories beside them, and the names that are never given again.

use std::{collections::BTreeMap, sync::Arc};

use protocol::Inventory;
use redb::{
    Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
    backends::InMemoryBackend,
};

use super::{
    Machine,
    wipe::{LeftPassword, password},
};

const MACHINES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("machines");
const INVENTORIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("inventories");
/// A name, and when it was taken from its machine: milliseconds since 1970.
const RETIRED: TableDefinition<'_, &str, i64> = TableDefinition::new("retired-names");
/// Such a name, and the passwords that wipes left on disks of that machine.
const PASSWORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("passwords-of-retired");

/// Facts about the database itself, by name.
const FACTS: TableDefinition<'_, &str, &str> = TableDefinition::new("facts");
/// Where it was when it was last opened.
const HOME: &str = "home";
/// How many transactions have changed it: text, because all facts are.
const GENERATION: &str = "generation";
/// The boot of the host in which it was last opened.
const BOOT: &str = "boot";
/// Where passwords are that wipes left on disks: [`WITH_MACHINES`]; absent where they stand in orders only.
const PASSWORDS_ARE: &str = "passwords";
const WITH_MACHINES: &str = "with-machines";

/// Why the database did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It could not be read or written.
    #[error("{doing} in the state database")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What the database says.
        source: Box<redb::Error>,
    },
    /// An inventory in it could not be understood.
    #[error("reading the inventory of {name}")]
    Inventory {
        /// The machine's name.
        name: String,
        /// What was wrong.
        source: serde_json::Error,
    },
}

/// The tables of this part.
#[derive(Debug, Clone)]
pub(super) struct Store(Arc<Database>);

/// What was on disk at the start.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) machines: Vec<Machine>,
    /// Names that are not given again.
    pub(super) retired: Vec<(String, Retired)>,
}

/// What is kept of a name that was taken from its machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Retired {
    /// Since when: milliseconds since 1970.
    pub(super) at: i64,
    /// What may still lock disks that were in the machine.
    pub(super) passwords: Vec<LeftPassword>,
}

/// What shall be on disk of one name.
#[derive(Debug, Clone)]
pub(super) enum Row {
    /// This machine, and its inventory where it changed.
    Machine { json: Vec<u8>, inventory: Option<Arc<[u8]>> },
    /// Nothing.
    Gone,
    /// Nothing but that it was there.
    Retired(Retired),
}

impl Store {
    /// Makes the tables where they are missing and reads all machines.
    ///
    /// A row that cannot be understood is left alone and its name not given again: its machine has to be approved anew.
    pub(super) fn open(database: Arc<Database>) -> Result<(Self, Loaded), StoreError> {
        let doing = "opening the machines";
        let transaction = database.begin_write().map_err(failed(doing))?;
        let mut loaded = Loaded::default();
        {
            let mut machines = transaction.open_table(MACHINES).map_err(failed(doing))?;
            for row in machines.iter().map_err(failed(doing))? {
                let (name, json) = row.map_err(failed(doing))?;
                match serde_json::from_slice::<Machine>(json.value()) {
                    Ok(machine) if machine.name == name.value() => loaded.machines.push(machine),
                    outcome => {
                        let problem = outcome.err().map(|error| error.to_string());
                        tracing::error!(
                            machine = name.value(),
                            problem,
                            "cannot read what is stored of a machine"
                        );
                        loaded.retired.push((name.value().to_owned(), Retired::default()));
                    }
                }
            }
            transaction.open_table(INVENTORIES).map_err(failed(doing))?;
            let mut facts = transaction.open_table(FACTS).map_err(failed(doing))?;
            let are = facts.get(PASSWORDS_ARE).map_err(failed(doing))?;
            let are_there = are.is_some_and(|are| are.value() == WITH_MACHINES);
            if !are_there {
                for machine in &mut loaded.machines {
                    let journaled = password::journaled(machine);
                    if journaled.is_empty() {
                        continue;
                    }
                    machine.passwords.extend(journaled);
                    let json = serde_json::to_vec(machine).expect("a machine's keys are texts");
                    let name = machine.name.as_str();
                    machines.insert(name, json.as_slice()).map_err(failed(doing))?;
                }
                facts.insert(PASSWORDS_ARE, WITH_MACHINES).map_err(failed(doing))?;
            }
            let retired = transaction.open_table(RETIRED).map_err(failed(doing))?;
            let kept = transaction.open_table(PASSWORDS).map_err(failed(doing))?;
            for row in retired.iter().map_err(failed(doing))? {
                let (name, at) = row.map_err(failed(doing))?;
                let passwords = kept.get(name.value()).map_err(failed(doing))?;
                let passwords = passwords.map(|json| serde_json::from_slice(json.value()));
                let passwords = passwords.transpose().unwrap_or_else(|error| {
                    tracing::error!(machine = name.value(), %error, "cannot read its passwords");
                    None
                });
                let retired = Retired { at: at.value(), passwords: passwords.unwrap_or_default() };
                loaded.retired.push((name.value().to_owned(), retired));
            }
        }
        transaction.commit().map_err(failed(doing))?;
        Ok((Self(database), loaded))
    }

    /// Writes all rows or none. Returns how many transactions have changed the database so far.
    pub(super) fn write(&self, rows: &BTreeMap<String, Row>) -> Result<u64, StoreError> {
        let doing = "writing machines";
        let transaction = self.0.begin_write().map_err(failed(doing))?;
        {
            let mut machines = transaction.open_table(MACHINES).map_err(failed(doing))?;
            let mut inventories = transaction.open_table(INVENTORIES).map_err(failed(doing))?;
            let mut retired = transaction.open_table(RETIRED).map_err(failed(doing))?;
            let mut kept = transaction.open_table(PASSWORDS).map_err(failed(doing))?;
            for (name, row) in rows {
                let name = name.as_str();
                if let Row::Machine { json, inventory } = row {
                    machines.insert(name, json.as_slice()).map_err(failed(doing))?;
                    if let Some(inventory) = inventory {
                        inventories.insert(name, &**inventory).map_err(failed(doing))?;
                    }
                    continue;
                }
                machines.remove(name).map_err(failed(doing))?;
                inventories.remove(name).map_err(failed(doing))?;
                let Row::Retired(row) = row else { continue };
                retired.insert(name, row.at).map_err(failed(doing))?;
                if row.passwords.is_empty() {
                    kept.remove(name).map_err(failed(doing))?;
                } else {
                    let json = serde_json::to_vec(&row.passwords).expect("its keys are texts");
                    kept.insert(name, json.as_slice()).map_err(failed(doing))?;
                }
            }
        }
        let generation = count(&transaction, doing, 0)?;
        transaction.commit().map_err(failed(doing))?;
        Ok(generation)
    }

    /// Returns how many transactions have changed the database; 0 where nobody has counted.
    pub(super) fn generation(&self) -> Result<u64, StoreError> {
        let generation = self.fact(GENERATION)?;
        Ok(generation.and_then(|text| text.parse().ok()).unwrap_or_default())
    }

    /// Returns the boot of the host in which the database was last opened.
    pub(super) fn boot(&self) -> Result<Option<String>, StoreError> {
        self.fact(BOOT)
    }

    /// Notes in which boot of the host the database was opened, and counts that, from no less than `least`.
    /// Returns the count.
    pub(super) fn opened(&self, boot: &str, least: u64) -> Result<u64, StoreError> {
        let doing = "writing when the database was opened";
        let transaction = self.0.begin_write().map_err(failed(doing))?;
        {
            let mut facts = transaction.open_table(FACTS).map_err(failed(doing))?;
            facts.insert(BOOT, boot).map_err(failed(doing))?;
        }
        let generation = count(&transaction, doing, least)?;
        transaction.commit().map_err(failed(doing))?;
        Ok(generation)
    }

    /// Returns what told the database from a copy of it when it was last opened.
    pub(super) fn home(&self) -> Result<Option<String>, StoreError> {
        self.fact(HOME)
    }

    fn fact(&self, name: &str) -> Result<Option<String>, StoreError> {
        let doing = "reading a fact about the database";
        let transaction = self.0.begin_read().map_err(failed(doing))?;
        let facts = transaction.open_table(FACTS).map_err(failed(doing))?;
        let fact = facts.get(name).map_err(failed(doing))?;
        Ok(fact.map(|fact| fact.value().to_owned()))
    }

    /// Notes what tells the database from a copy of it.
    pub(super) fn set_home(&self, home: &str) -> Result<(), StoreError> {
        let doing = "writing where the database is";
        let transaction = self.0.begin_write().map_err(failed(doing))?;
        {
            let mut facts = transaction.open_table(FACTS).map_err(failed(doing))?;
            facts.insert(HOME, home).map_err(failed(doing))?;
        }
        transaction.commit().map_err(failed(doing))
    }

    /// Reads an inventory.
    pub(super) fn inventory(&self, name: &str) -> Result<Option<Inventory>, StoreError> {
        let doing = "reading an inventory";
        let transaction = self.0.begin_read().map_err(failed(doing))?;
        let table = transaction.open_table(INVENTORIES).map_err(failed(doing))?;
        let Some(json) = table.get(name).map_err(failed(doing))? else {
            return Ok(None);
        };
        read_inventory(name, json.value()).map(Some)
    }
}

/// Counts a transaction, from no less than `least`; returns the count.
fn count(
    transaction: &WriteTransaction,
    doing: &'static str,
    least: u64,
) -> Result<u64, StoreError> {
    let mut facts = transaction.open_table(FACTS).map_err(failed(doing))?;
    let before = facts.get(GENERATION).map_err(failed(doing))?;
    let before: Option<u64> = before.and_then(|text| text.value().parse().ok());
    let generation = before.unwrap_or_default().max(least).saturating_add(1);
    facts.insert(GENERATION, generation.to_string().as_str()).map_err(failed(doing))?;
    Ok(generation)
}

/// Makes a database that ends with the process.
pub(super) fn in_memory() -> Result<Database, StoreError> {
    Database::builder()
        .create_with_backend(InMemoryBackend::new())
        .map_err(failed("opening a database in memory"))
}

/// Reads an inventory as it is stored.
pub(super) fn read_inventory(name: &str, json: &[u8]) -> Result<Inventory, StoreError> {
    serde_json::from_slice(json)
        .map_err(|source| StoreError::Inventory { name: name.to_owned(), source })
}

fn failed<E: Into<redb::Error>>(doing: &'static str) -> impl Fn(E) -> StoreError {
    move |error| StoreError::Database { doing, source: Box::new(error.into()) }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use protocol::{
        OrderId,
        order::DiskIdentity,
        wipe::{Verdict, WipeStepKind},
    };

    use super::*;
    use crate::machine::{
        disk_order::{OrderState, Work},
        wipe::{WipeResult, WipedDisk},
    };

    /// Makes a row unreadable, as a newer or broken server may leave it.
    pub(in crate::machine) fn spoil(file: &Path, name: &str) {
        let database = Database::open(file).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(MACHINES).unwrap().insert(name, b"{\"name\":7}".as_slice()).unwrap();
        transaction.commit().unwrap();
    }

    /// A password that was left on disk `a` in a machine.
    pub(in crate::machine) fn left(machine: &str) -> LeftPassword {
        LeftPassword {
            disk: "serial::a".to_owned(),
            named: DiskIdentity { serial: Some("a-serial".to_owned()), ..DiskIdentity::default() },
            password: "a5".repeat(32),
            machine: machine.to_owned(),
            order: OrderId([1; 16]),
            at: 3,
        }
    }

    #[test]
    fn a_machine_is_read_back_and_an_older_servers_too() {
        let (store, loaded) = Store::open(Arc::new(in_memory().unwrap())).unwrap();
        assert!(loaded.machines.is_empty());
        let machine = Machine { name: "one".to_owned(), boots: 3, ..Machine::default() };
        let row = |json: Vec<u8>| Row::Machine { json, inventory: None };
        let rows = [
            ("one".to_owned(), row(serde_json::to_vec(&machine).unwrap())),
            ("two".to_owned(), row(br#"{"name":"two","unknown":1}"#.to_vec())),
            ("three".to_owned(), Row::Retired(Retired { at: 7, passwords: vec![left("three")] })),
            ("four".to_owned(), Row::Retired(Retired { at: 8, passwords: vec![] })),
        ];
        store.write(&BTreeMap::from(rows)).unwrap();
        let (store, loaded) = Store::open(store.0).unwrap();
        assert_eq!(loaded.machines[0], machine);
        assert_eq!(loaded.machines[1].name, "two");
        let kept = |at, passwords| Retired { at, passwords };
        let retired = [("four", kept(8, vec![])), ("three", kept(7, vec![left("three")]))];
        assert_eq!(loaded.retired, retired.map(|(name, kept)| (name.to_owned(), kept)));
        store.write(&BTreeMap::from([("one".to_owned(), Row::Gone)])).unwrap();
        assert_eq!(Store::open(store.0).unwrap().1.machines.len(), 1);
    }

    #[test]
    fn passwords_that_an_older_server_kept_in_its_orders_only_are_taken_over_once() {
        let database = Arc::new(in_memory().unwrap());
        let mut order = crate::machine::wipe::tests::order(1);
        let step = |disk, digit: &str| {
            crate::machine::wipe::tests::step(
                disk,
                WipeStepKind::AtaPassword { password: digit.repeat(64) },
            )
        };
        let Work::Wipe { wipe } = &mut order.work else { panic!("no wipe") };
        for disk in &mut wipe.disks {
            disk.named.model = Some("PM883".to_owned());
            disk.named.serial = Some(format!("S3Z1NB0K-{}", disk.identity));
        }
        (wipe.inherited, wipe.journal) = (vec![step(1, "1")], vec![step(0, "2"), step(1, "3")]);
        wipe.begun = Some(5);
        // Disk `a` was erased by the next order.
        let mut next = order.clone();
        next.id = OrderId([2; 16]);
        let Work::Wipe { wipe } = &mut next.work else { panic!("no wipe") };
        (wipe.inherited, wipe.journal) = (vec![step(0, "2")], vec![]);
        wipe.disks.truncate(1);
        let wiped = |verdict| WipedDisk {
            identity: String::new(),
            verdict,
            reached: protocol::wipe::Outcome::Clear,
            password_went: false,
        };
        next.state = OrderState::Wiped {
            session: crate::machine::Session([1; 32]),
            at: 9,
            result: Box::new(WipeResult {
                level: protocol::wipe::PowerLevel::Full,
                is_done: true,
                is_complete: false,
                disks: vec![wiped(Verdict::Erased)],
                findings: vec![],
                undone: vec![],
                certificate: 1,
            }),
        };
        let machine =
            Machine { name: "one".to_owned(), orders: vec![order, next], ..Machine::default() };
        let transaction = database.begin_write().unwrap();
        let json = serde_json::to_vec(&machine).unwrap();
        transaction.open_table(MACHINES).unwrap().insert("one", json.as_slice()).unwrap();
        transaction.commit().unwrap();
        let (_, loaded) = Store::open(Arc::clone(&database)).unwrap();
        let found: Vec<_> =
            loaded.machines[0].passwords.iter().map(|left| &left.password[..1]).collect();
        assert_eq!(found, ["1", "3"], "those of disk b");
        assert_eq!(loaded.machines[0].passwords[0].at, 5);
        // From then on what is released does not come back.
        let (store, loaded) = Store::open(database).unwrap();
        let mut machine = loaded.machines[0].clone();
        assert_eq!(machine.passwords.len(), 2, "they are on disk");
        machine.passwords.clear();
        let json = serde_json::to_vec(&machine).unwrap();
        let row = Row::Machine { json, inventory: None };
        store.write(&BTreeMap::from([("one".to_owned(), row)])).unwrap();
        assert!(Store::open(store.0).unwrap().1.machines[0].passwords.is_empty());
    }

    #[test]
    fn an_inventory_that_cannot_be_read_is_an_error_that_names_it() {
        let error = read_inventory("one", b"[").unwrap_err();
        assert_eq!(error.to_string(), "reading the inventory of one");
    }
}
