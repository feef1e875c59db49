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
    nix::sys::statvfs::statvfs(directory).map_or(true, |disk| {
        u64::from(disk.blocks_available()).saturating_mul(u64::from(disk.fragment_size())) >= ROOM
    })
}
