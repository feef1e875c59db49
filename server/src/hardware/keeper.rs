//! Keeps the directory of records as the machines are: writes what changed, tries again what failed.

use std::{
    collections::BTreeSet, convert::Infallible, fmt, path::PathBuf, sync::Arc, time::Duration,
};

use protocol::MacAddress;

use super::{
    RecordSettings, Reservation,
    file::{self, Outcome},
    record::{MachineView, record},
};
use crate::{
    journal::{Entry, What},
    machine::{Overview, Record, Registry, Teller},
    text::chain,
};

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// Tells the address that a port has for good, where it has one.
pub type Reservations = Arc<dyn Fn(MacAddress) -> Option<Reservation> + Send + Sync>;

/// What keeping records needs.
#[derive(Clone)]
pub struct Keeper {
    /// The machines.
    pub registry: Registry,
    /// Where the records stand.
    pub directory: PathBuf,
    /// How they are made.
    pub settings: RecordSettings,
    /// Which ports have an address for good.
    pub reservations: Reservations,
    /// Where it is told that a record was written.
    pub tell: Teller,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// Keeps the records, for ever. May be dropped: a file is in place or not, and the next start looks at all of them.
pub async fn keep(keeper: Keeper) -> Infallible {
    let mut failed = BTreeSet::new();
    loop {
        let changed = keeper.registry.changed_records();
        let mut names = if failed.is_empty() {
            changed.await
        } else {
            tokio::time::timeout(RETRY, changed).await.unwrap_or_default()
        };
        names.append(&mut failed);
        let on_thread = keeper.clone();
        let again = names.clone();
        let writing = tokio::task::spawn_blocking(move || {
            // First the machine, then its record: a crash in between must not leave a record
            // of a name that nobody remembers. The registry itself says why it cannot.
            if on_thread.registry.settle().is_err() {
                return names;
            }
            names.into_iter().filter(|name| !on_thread.keep_one(name)).collect()
        });
        failed = writing.await.unwrap_or_else(|error| {
            tracing::error!(%error, "keeping records failed");
            again
        });
    }
}

impl Keeper {
    /// Puts one record in its place; false when it must be tried again.
    fn keep_one(&self, name: &str) -> bool {
        let Some(known) = self.registry.show(name) else {
            return match file::remove(&self.directory, name) {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!(machine = name, error = %chain(&error), "cannot remove a record");
                    false
                }
            };
        };
        match self.write(&known) {
            Ok(outcome) => {
                let entry = Entry::about(
                    known.machine.last_mac,
                    None,
                    What::RecordWritten { name: name.to_owned() },
                );
                self.registry.note_record(name, Record::Written { at: entry.unix_milliseconds });
                if outcome == Outcome::Written {
                    (self.tell)(entry.of_machine(name));
                }
                true
            }
            Err(reason) => {
                let failed = Record::Failed { reason: reason.clone() };
                if known.machine.record != failed {
                    let what = What::RecordFailed { reason };
                    (self.tell)(Entry::about(known.machine.last_mac, None, what).of_machine(name));
                    self.registry.note_record(name, failed);
                }
                false
            }
        }
    }

    fn write(&self, known: &Overview) -> Result<Outcome, String> {
        let machine = &known.machine;
        let inventory = self
            .registry
            .inventory(&machine.name)
            .map_err(|error| chain(&error))?
            .ok_or_else(|| "its inventory is not there".to_owned())?;
        let ports = machine.ports.iter().map(|port| port.mac).chain(machine.first_mac);
        let reservations = ports.filter_map(|mac| Some((mac, (self.reservations)(mac)?))).collect();
        let contested = self.registry.contested_ports(machine);
        let view = MachineView { machine, reservations: &reservations, contested: &contested };
        let hardware = record(&view, &inventory, &self.settings);
        file::write(&self.directory, &hardware).map_err(|error| chain(&error))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        net::{IpAddr, Ipv4Addr},
        sync::Mutex,
    };

    use protocol::Announce;

    use super::*;
    use crate::{
        hardware::record::tests::{inventory, mac},
        machine::{Session, Settings},
    };

    fn announce() -> Announce {
        let mut announce: Announce =
            serde_json::from_str(r#"{"agentVersion":"0.1.0","inventory":{},"complete":true}"#)
                .unwrap();
        announce.inventory = inventory();
        announce.boot.mac = Some(mac(1));
        announce
    }

    fn reserved(port: MacAddress) -> Option<Reservation> {
        let reservation = Reservation {
            address: Ipv4Addr::new(10, 0, 0, 20),
            netmask: Ipv4Addr::new(255, 255, 255, 0),
            gateway: None,
            name_servers: vec![],
            lease_seconds: 60,
        };
        (port == mac(1)).then_some(reservation)
    }

    /// Runs the keeper until the entry that is waited for was told.
    async fn run_until(keeper: &Keeper, told: &Mutex<Vec<What>>, wanted: fn(&What) -> bool) {
        let waits = async {
            while !told.lock().unwrap().iter().any(wanted) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            never = keep(keeper.clone()) => match never {},
            () = waits => {}
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("{:?}", told.lock().unwrap()),
        }
        told.lock().unwrap().clear();
    }

    #[tokio::test]
    async fn a_record_follows_its_machine_from_discovery_to_approval_to_oblivion() {
        let directory = tempfile::tempdir().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&told);
        let registry = Registry::in_memory(Settings::default(), Arc::new(|_| {})).unwrap();
        let keeper = Keeper {
            registry: registry.clone(),
            directory: directory.path().join("hardware"),
            settings: RecordSettings::default(),
            reservations: Arc::new(reserved),
            tell: Arc::new(move |entry: Entry| hears.lock().unwrap().push(entry.what)),
        };
        let path = keeper.directory.join("4q5hmp2.yaml");
        let written = |what: &What| matches!(what, What::RecordWritten { .. });

        // A file stands where the directory should be: said, and tried again with the next change.
        fs::write(&keeper.directory, "").unwrap();
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        registry.announce(Session([1; 32]), address, &announce()).unwrap();
        run_until(&keeper, &told, |what| matches!(what, What::RecordFailed { .. })).await;
        let record = registry.show("4q5hmp2").unwrap().machine.record;
        assert!(matches!(record, Record::Failed { .. }));

        fs::remove_file(&keeper.directory).unwrap();
        file::prepare(&keeper.directory).unwrap();
        registry.announce(Session([1; 32]), address, &announce()).unwrap();
        run_until(&keeper, &told, written).await;
        assert!(fs::read_to_string(&path).unwrap().contains("drydock-pending"));
        assert!(matches!(registry.show("4q5hmp2").unwrap().machine.record, Record::Written { .. }));

        registry.approve("4q5hmp2", "uid 0").unwrap();
        run_until(&keeper, &told, written).await;
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("drydock-pending") && text.contains("10.0.0.20"), "{text}");

        registry.forget("4q5hmp2", "uid 0").unwrap();
        let gone = async {
            while path.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            never = keep(keeper.clone()) => match never {},
            () = gone => {}
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("still there"),
        }
        registry.close();
    }

    #[tokio::test]
    async fn a_machine_is_on_disk_before_its_record_is() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("drydock.redb");
        let told = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&told);
        let open = |path: &std::path::Path| {
            let database = Arc::new(redb::Database::create(path).unwrap());
            Registry::open(database, Settings::default(), Arc::new(|_| {})).unwrap()
        };
        let registry = open(&database);
        let keeper = Keeper {
            registry: registry.clone(),
            directory: directory.path().join("hardware"),
            settings: RecordSettings::default(),
            reservations: Arc::new(reserved),
            tell: Arc::new(move |entry: Entry| hears.lock().unwrap().push(entry.what)),
        };
        file::prepare(&keeper.directory).unwrap();
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        registry.announce(Session([1; 32]), address, &announce()).unwrap();
        run_until(&keeper, &told, |what| matches!(what, What::RecordWritten { .. })).await;

        // The server dies at this moment: what is in the file is what is left.
        let left = directory.path().join("left.redb");
        fs::copy(&database, &left).unwrap();
        let after = open(&left);
        assert!(after.show("4q5hmp2").is_some());
        after.close();
        registry.close();
    }
}
