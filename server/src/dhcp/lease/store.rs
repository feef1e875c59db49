//! Leases on disk: a thread that writes many at a time, and never lets a full disk stop the service.

use std::{
    collections::BTreeMap,
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::oneshot;

use super::Lease;

/// By address as a number; the value is a [`Lease`] as JSON.
const LEASES: TableDefinition<'_, u32, &str> = TableDefinition::new("leases");

/// How many answers may wait for the disk. More requests than that are in flight never.
const QUEUE_LENGTH: usize = 1024;

/// How long until a failed write is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// How long an answer waits for the disk. A client asks again after 4 s.
const PATIENCE: Duration = Duration::from_secs(2);

/// What stays free on the disk. A database that fails for want of room must be opened anew, so it is never brought there.
const ROOM: u64 = 8 << 20;

/// What happened to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It survives a power cut.
    Durable,
    /// It is in memory, and will be written when that works again.
    Later,
}

/// Why stored leases cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("reading the stored leases")]
    Read(#[source] Box<redb::Error>),
    /// No thread for writing.
    #[error("starting the thread that stores leases")]
    Thread(#[source] io::Error),
}

/// The door to the writing thread. Dropped, it writes what is left and ends the thread.
#[derive(Debug)]
pub struct Store {
    queue: Option<mpsc::SyncSender<Write>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Write {
    address: Ipv4Addr,
    lease: Lease,
    done: oneshot::Sender<Written>,
}

impl Store {
    /// Reads all leases and starts the writing thread. `directory` is where the database lies, for the room there.
    pub fn open(
        database: Arc<Database>,
        directory: &Path,
    ) -> Result<(Self, Vec<(Ipv4Addr, Lease)>), StoreError> {
        let directory = directory.to_owned();
        Self::open_with(database, move || has_room(&directory))
    }

    fn open_with(
        database: Arc<Database>,
        has_room: impl Fn() -> bool + Send + 'static,
    ) -> Result<(Self, Vec<(Ipv4Addr, Lease)>), StoreError> {
        let stored = read(&database).map_err(|error| StoreError::Read(Box::new(error)))?;
        let (sender, receiver) = mpsc::sync_channel(QUEUE_LENGTH);
        let thread = thread::Builder::new()
            .name("leases".to_owned())
            .spawn(move || write_all(&database, &receiver, has_room))
            .map_err(StoreError::Thread)?;
        Ok((Self { queue: Some(sender), thread: Some(thread) }, stored))
    }

    /// Writes a lease; returns when it survives a power cut, or when it is clear that this takes longer.
    ///
    /// Cancelled, it is written all the same.
    pub async fn write(&self, address: Ipv4Addr, lease: Lease) -> Written {
        let (done, written) = oneshot::channel();
        let Some(queue) = &self.queue else { return Written::Later };
        if queue.try_send(Write { address, lease, done }).is_err() {
            tracing::warn!(%address, "too many leases wait for the disk: this one stays in memory");
            return Written::Later;
        }
        match tokio::time::timeout(PATIENCE, written).await {
            Ok(Ok(written)) => written,
            Ok(Err(_)) | Err(_) => Written::Later,
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// Runs until the door is dropped: takes all that waits, writes it in one transaction, answers all.
fn write_all(database: &Database, queue: &mpsc::Receiver<Write>, has_room: impl Fn() -> bool) {
    let mut unwritten = BTreeMap::new();
    let mut failing = false;
    loop {
        let first = if unwritten.is_empty() {
            queue.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected)
        } else {
            queue.recv_timeout(RETRY)
        };
        let mut waiting = Vec::new();
        let mut closed = false;
        match first {
            Ok(write) => waiting.push(write),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => closed = true,
        }
        waiting.extend(queue.try_iter().take(QUEUE_LENGTH));
        for write in &waiting {
            unwritten.insert(write.address, write.lease);
        }
        let result = if !has_room() {
            Err("the disk is full".to_owned())
        } else if unwritten.is_empty() {
            Ok(())
        } else {
            commit(database, &unwritten).map_err(|error| error.to_string())
        };
        let written = match &result {
            Ok(()) => {
                if failing {
                    tracing::info!(leases = unwritten.len(), "leases are stored again");
                }
                unwritten.clear();
                Written::Durable
            }
            Err(reason) => {
                if !failing {
                    tracing::error!(%reason, "leases cannot be stored: serving from memory");
                }
                Written::Later
            }
        };
        failing = result.is_err();
        for write in waiting {
            // Its reader may have lost patience.
            let _unheard = write.done.send(written);
        }
        if closed {
            return;
        }
    }
}

fn commit(database: &Database, leases: &BTreeMap<Ipv4Addr, Lease>) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(LEASES)?;
        for (address, lease) in leases {
            let json = serde_json::to_string(lease).expect("a lease has string keys only");
            table.insert(address.to_bits(), json.as_str())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn read(database: &Database) -> Result<Vec<(Ipv4Addr, Lease)>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(LEASES) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut leases = Vec::new();
    for entry in table.iter()? {
        let (address, json) = entry?;
        let address = Ipv4Addr::from_bits(address.value());
        match serde_json::from_str(json.value()) {
            Ok(lease) => leases.push((address, lease)),
            Err(error) => tracing::warn!(%address, %error, "a stored lease cannot be read"),
        }
    }
    Ok(leases)
}

/// Holds while there is room for the database to grow. What cannot be asked is taken for room.
fn has_room(directory: &PathBuf) -> bool {
    nix::sys::statvfs::statvfs(directory)
        .map_or(true, |disk| disk.blocks_available().saturating_mul(disk.fragment_size()) >= ROOM)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use protocol::MacAddress;

    use super::{
        super::{State, UnixTime},
        *,
    };

    fn lease(last: u8) -> Lease {
        Lease {
            mac: MacAddress([0x52, 0x54, 0, 0, 0, last]),
            until: UnixTime(1_800_000_000_000),
            state: State::Leased,
            reserved: last == 1,
        }
    }

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, last)
    }

    fn database(directory: &Path) -> Arc<Database> {
        Arc::new(Database::create(directory.join("drydock.redb")).unwrap())
    }

    #[tokio::test]
    async fn what_was_answered_survives() {
        let directory = tempfile::tempdir().unwrap();
        {
            let (store, stored) =
                Store::open(database(directory.path()), directory.path()).unwrap();
            assert_eq!(stored, []);
            assert_eq!(store.write(address(1), lease(1)).await, Written::Durable);
            assert_eq!(store.write(address(2), lease(3)).await, Written::Durable);
            assert_eq!(store.write(address(2), lease(2)).await, Written::Durable);
        }
        let (_store, stored) = Store::open(database(directory.path()), directory.path()).unwrap();
        assert_eq!(stored, [(address(1), lease(1)), (address(2), lease(2))]);
    }

    #[tokio::test]
    async fn many_at_once_share_a_transaction() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(database(directory.path()), directory.path()).unwrap();
        let store = Arc::new(store);
        let start = std::time::Instant::now();
        let one = store.write(address(200), lease(200)).await;
        let alone = start.elapsed();
        assert_eq!(one, Written::Durable);
        let start = std::time::Instant::now();
        let mut writes = tokio::task::JoinSet::new();
        for last in 0..100 {
            let store = Arc::clone(&store);
            writes.spawn(async move { store.write(address(last), lease(last)).await });
        }
        let written = writes.join_all().await;
        assert!(written.iter().all(|written| *written == Written::Durable));
        // Not a hundred times as long as one: 20 leaves room for a busy machine.
        let together = start.elapsed();
        assert!(together < 20 * alone.max(Duration::from_millis(5)), "{alone:?}, {together:?}");
    }

    #[tokio::test]
    async fn a_full_disk_stops_nothing_and_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let is_full = Arc::new(AtomicBool::new(true));
        {
            let has_room = {
                let is_full = Arc::clone(&is_full);
                move || !is_full.load(Ordering::SeqCst)
            };
            let (store, _) = Store::open_with(database(directory.path()), has_room).unwrap();
            assert_eq!(store.write(address(1), lease(1)).await, Written::Later);
            is_full.store(false, Ordering::SeqCst);
            assert_eq!(store.write(address(2), lease(2)).await, Written::Durable);
        }
        let (_store, stored) = Store::open(database(directory.path()), directory.path()).unwrap();
        assert_eq!(stored, [(address(1), lease(1)), (address(2), lease(2))]);
    }

    #[tokio::test]
    async fn a_lease_that_cannot_be_read_harms_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let database = database(directory.path());
        let transaction = database.begin_write().unwrap();
        transaction.open_table(LEASES).unwrap().insert(1, "{").unwrap();
        transaction.commit().unwrap();
        commit(&database, &BTreeMap::from([(address(1), lease(1))])).unwrap();
        let (_store, stored) = Store::open(database, directory.path()).unwrap();
        assert_eq!(stored, [(address(1), lease(1))]);
    }

    #[test]
    fn room_is_measured_where_the_database_lies() {
        assert!(has_room(&PathBuf::from("/nowhere/at/all")), "unknown is taken for room");
    }
}
