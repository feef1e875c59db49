//! What changed goes to the database in batches, on a thread of its own: nobody who serves a machine waits for a disk.
//!
//! A write that fails is said once and tried again; meanwhile memory is the truth. Inventories that do not fit
//! into the room kept for them are dropped, and their machines asked again afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{StoreError, store::Row};

/// How long changes are gathered for one transaction: each costs a flush of the disk.
const GATHER: Duration = Duration::from_millis(100);
/// How long after a failed write the next one is tried.
const RETRY: Duration = Duration::from_secs(5);
/// How long somebody who gave an order waits until it is stored.
const PATIENCE: Duration = Duration::from_secs(10);
/// Inventories kept in memory while they cannot be written.
const INVENTORIES: usize = 32 << 20;

/// What has changed and is not on disk.
#[derive(Debug, Default)]
pub(super) struct Writer {
    waiting: Mutex<Waiting>,
    bell: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Waiting {
    names: BTreeSet<String>,
    inventories: BTreeMap<String, Arc<[u8]>>,
    inventories_size: usize,
    /// Being written at this moment.
    in_flight: BTreeMap<String, Arc<[u8]>>,
    /// Machines whose inventory was dropped.
    dropped: BTreeSet<String>,
    /// Rises with every change; what is below `written` is on disk.
    changes: u64,
    written: u64,
    failures: u64,
    failure: Option<String>,
    urgent: bool,
    closing: bool,
}

/// What the writer asks and tells whoever owns the machines.
pub(super) trait Owner {
    /// Says what shall be on disk of a name; the inventory is added by the writer.
    fn row(&self, name: &str) -> Row;
    /// Writes rows, all or none.
    fn write(&self, rows: &BTreeMap<String, Row>) -> Result<(), StoreError>;
    /// Is told whose inventories were dropped, when there is room again.
    fn lost(&self, names: BTreeSet<String>);
}

impl Writer {
    /// Starts writing. Ends only by [`Writer::close`].
    pub(super) fn start<O: Owner + Send + Sync + 'static>(
        owner: &Arc<O>,
        writer: fn(&O) -> &Writer,
    ) {
        let shared = Arc::clone(owner);
        let thread = std::thread::spawn(move || keep(&*shared, writer(&shared)));
        *lock(&writer(owner).thread) = Some(thread);
    }

    /// Notes that machines changed.
    pub(super) fn changed(&self, names: impl IntoIterator<Item = String>) {
        let mut waiting = lock(&self.waiting);
        waiting.names.extend(names);
        waiting.changes += 1;
        drop(waiting);
        self.bell.notify_all();
    }

    /// Notes a machine's inventory.
    pub(super) fn inventory(&self, name: &str, json: Vec<u8>) {
        let mut waiting = lock(&self.waiting);
        waiting.keep_inventory(name.to_owned(), json.into());
        waiting.names.insert(name.to_owned());
        waiting.changes += 1;
        drop(waiting);
        self.bell.notify_all();
    }

    /// Returns an inventory that is not yet on disk.
    pub(super) fn waiting_inventory(&self, name: &str) -> Option<Arc<[u8]>> {
        let waiting = lock(&self.waiting);
        waiting.inventories.get(name).or_else(|| waiting.in_flight.get(name)).cloned()
    }

    /// Waits until everything is on disk that has changed so far.
    pub(super) fn flush(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let mut waiting = lock(&self.waiting);
        let (target, failures) = (waiting.changes, waiting.failures);
        waiting.urgent = true;
        self.bell.notify_all();
        while waiting.written < target {
            if waiting.failures > failures {
                return Err(waiting.failure.clone().unwrap_or_default());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || waiting.closing {
                return Err("the state database does not answer".to_owned());
            }
            waiting = wait(&self.bell, waiting, left);
        }
        Ok(())
    }

    /// Says why the database cannot be written, while it cannot.
    pub(super) fn failure(&self) -> Option<String> {
        lock(&self.waiting).failure.clone()
    }

    /// Writes what is waiting and stops. Blocks until then.
    pub(super) fn close(&self) {
        lock(&self.waiting).closing = true;
        self.bell.notify_all();
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writer of machines panicked");
        }
    }
}

impl Waiting {
    fn keep_inventory(&mut self, name: String, json: Arc<[u8]>) {
        self.dropped.remove(&name);
        self.inventories_size += json.len();
        if let Some(old) = self.inventories.insert(name, json) {
            self.inventories_size -= old.len();
        }
        while self.inventories_size > INVENTORIES {
            let Some((name, json)) = self.inventories.pop_first() else {
                break;
            };
            self.inventories_size -= json.len();
            self.dropped.insert(name);
        }
    }
}

fn keep<O: Owner>(owner: &O, writer: &Writer) {
    loop {
        let Some((names, inventories, changes)) = gather(writer) else {
            return;
        };
        let mut rows: BTreeMap<String, Row> =
            names.into_iter().map(|name| (name.clone(), owner.row(&name))).collect();
        for (name, json) in inventories {
            if let Some(Row::Machine { inventory, .. }) = rows.get_mut(&name) {
                *inventory = Some(json);
            }
        }
        let outcome = owner.write(&rows);
        let lost = settle(writer, rows, changes, outcome);
        if !lost.is_empty() {
            owner.lost(lost);
        }
    }
}

type Batch = (BTreeSet<String>, BTreeMap<String, Arc<[u8]>>, u64);

/// Waits for changes; nothing when the writer is closed and all is written, or cannot be.
fn gather(writer: &Writer) -> Option<Batch> {
    let mut waiting = lock(&writer.waiting);
    while waiting.names.is_empty() && !waiting.closing {
        // Everything is written that there is: nobody who waits has to.
        waiting.written = waiting.changes;
        waiting.urgent = false;
        writer.bell.notify_all();
        waiting = wait(&writer.bell, waiting, Duration::from_hours(1));
    }
    let pause = if waiting.failure.is_some() { RETRY } else { GATHER };
    let deadline = Instant::now() + pause;
    while !waiting.urgent && !waiting.closing {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        waiting = wait(&writer.bell, waiting, left);
    }
    if waiting.names.is_empty() {
        return None;
    }
    waiting.urgent = false;
    waiting.inventories_size = 0;
    let names = mem::take(&mut waiting.names);
    let inventories = mem::take(&mut waiting.inventories);
    waiting.in_flight.clone_from(&inventories);
    Some((names, inventories, waiting.changes))
}

/// Notes how a write went; returns the machines whose inventories are lost, once there is room again.
fn settle(
    writer: &Writer,
    rows: BTreeMap<String, Row>,
    changes: u64,
    outcome: Result<(), StoreError>,
) -> BTreeSet<String> {
    let mut waiting = lock(&writer.waiting);
    waiting.in_flight.clear();
    let lost = match outcome {
        Ok(()) => {
            waiting.written = waiting.written.max(changes);
            if waiting.failure.take().is_some() {
                tracing::info!("machines are stored again");
            }
            mem::take(&mut waiting.dropped)
        }
        Err(error) => {
            let chain = crate::text::chain(&error);
            if waiting.failure.is_none() {
                tracing::error!(
                    error = chain,
                    "cannot store machines: they are kept in memory, and it is tried again"
                );
            }
            waiting.failure = Some(chain);
            waiting.failures += 1;
            if waiting.closing {
                // Nobody will try again.
                return BTreeSet::new();
            }
            for (name, row) in rows {
                if let Row::Machine { inventory: Some(json), .. } = row
                    && !waiting.inventories.contains_key(&name)
                {
                    waiting.keep_inventory(name.clone(), json);
                }
                waiting.names.insert(name);
            }
            BTreeSet::new()
        }
    };
    drop(waiting);
    writer.bell.notify_all();
    lost
}

fn wait<'a>(
    bell: &Condvar,
    guard: MutexGuard<'a, Waiting>,
    time: Duration,
) -> MutexGuard<'a, Waiting> {
    bell.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner).0
}

/// Locks, also after another thread panicked while it held the lock: what waits is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use protocol::Inventory;

    use super::*;
    use crate::machine::store;

    /// A database whose disk can be full.
    #[derive(Default)]
    struct Disk {
        writer: Writer,
        full: AtomicBool,
        rows: Mutex<BTreeMap<String, Row>>,
        lost: Mutex<BTreeSet<String>>,
    }

    impl Owner for Disk {
        fn row(&self, name: &str) -> Row {
            if name.starts_with("gone") {
                Row::Gone
            } else {
                Row::Machine { json: name.as_bytes().to_vec(), inventory: None }
            }
        }

        fn write(&self, rows: &BTreeMap<String, Row>) -> Result<(), StoreError> {
            if self.full.load(Ordering::SeqCst) {
                let problem = serde_json::from_str::<Inventory>("no space left").unwrap_err();
                return Err(StoreError::Inventory { name: String::new(), source: problem });
            }
            self.rows.lock().unwrap().extend(rows.clone());
            Ok(())
        }

        fn lost(&self, names: BTreeSet<String>) {
            self.lost.lock().unwrap().extend(names);
        }
    }

    fn disk() -> Arc<Disk> {
        let disk = Arc::new(Disk::default());
        Writer::start(&disk, |disk| &disk.writer);
        disk
    }

    fn stored(disk: &Disk, name: &str) -> Option<usize> {
        match disk.rows.lock().unwrap().get(name) {
            Some(Row::Machine { inventory: Some(json), .. }) => Some(json.len()),
            _ => None,
        }
    }

    #[test]
    fn what_changed_is_on_disk_after_a_flush() {
        let disk = disk();
        disk.writer.inventory("one", vec![b'x'; 10]);
        disk.writer.changed(["gone".to_owned()]);
        disk.writer.flush().unwrap();
        assert_eq!(stored(&disk, "one"), Some(10));
        assert!(matches!(disk.rows.lock().unwrap()["gone"], Row::Gone));
        assert!(disk.writer.waiting_inventory("one").is_none());
        disk.writer.flush().unwrap();
        disk.writer.close();
    }

    #[test]
    fn a_full_disk_is_said_and_everything_is_there_when_it_has_room() {
        let disk = disk();
        disk.full.store(true, Ordering::SeqCst);
        disk.writer.inventory("one", vec![b'x'; 10]);
        assert!(disk.writer.flush().is_err());
        disk.writer.changed(["two".to_owned()]);
        assert!(disk.writer.flush().is_err());
        assert!(disk.writer.failure().is_some());
        assert_eq!(disk.writer.waiting_inventory("one").map(|json| json.len()), Some(10));
        disk.full.store(false, Ordering::SeqCst);
        disk.writer.flush().unwrap();
        assert_eq!(stored(&disk, "one"), Some(10));
        assert!(disk.rows.lock().unwrap().contains_key("two"));
        assert_eq!(disk.writer.failure(), None);
        disk.writer.close();
    }

    #[test]
    fn memory_is_bounded_while_the_disk_is_full_and_the_dropped_are_asked_again() {
        let disk = disk();
        disk.full.store(true, Ordering::SeqCst);
        let names: Vec<String> = (0..48).map(|number| format!("m{number:02}")).collect();
        for name in &names {
            disk.writer.inventory(name, vec![b'x'; 1 << 20]);
            assert!(disk.writer.flush().is_err());
        }
        let kept =
            names.iter().filter(|name| disk.writer.waiting_inventory(name).is_some()).count();
        assert_eq!(kept, 32, "of 48 MiB");
        disk.full.store(false, Ordering::SeqCst);
        disk.writer.flush().unwrap();
        disk.writer.close();
        assert_eq!(disk.lost.lock().unwrap().len(), 16);
        assert_eq!(disk.rows.lock().unwrap().len(), 48, "the machines themselves are all there");
    }

    #[test]
    fn closing_writes_what_is_waiting() {
        let (disk, full) = (disk(), disk());
        disk.writer.changed(["one".to_owned()]);
        disk.writer.close();
        assert!(disk.rows.lock().unwrap().contains_key("one"));
        full.full.store(true, Ordering::SeqCst);
        full.writer.changed(["one".to_owned()]);
        full.writer.close();
        assert!(full.writer.failure().is_some(), "and ends also when it cannot");
    }

    #[test]
    fn a_database_in_memory_opens() {
        assert!(store::in_memory().is_ok());
    }
}
