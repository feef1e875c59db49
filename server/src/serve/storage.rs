//! A database file that waits for room when the disk is full.
//!
//! redb gives up for good after one failed write. Here a write that finds no room waits until there is some:
//! nothing is lost, and everybody who writes does so on a thread that may wait.
//! Whoever reads waits too, because redb grows its file under a lock that readers take.

use std::{
    fmt::Debug,
    fs::File,
    io::{self, ErrorKind},
    ops::Bound,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nix::{errno::Errno, fcntl::FallocateFlags};
use redb::{BackendError, StorageBackend, backends::FileBackend};
use tracing::{error, info};

/// How often a full disk is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Ends every wait for room, when the server goes down.
#[derive(Debug, Clone, Default)]
pub(super) struct GiveUp(Arc<(Mutex<bool>, Condvar)>);

impl GiveUp {
    /// Ends the waits: writes that find no room fail from now on.
    pub(super) fn give_up(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits a while; returns whether to give up.
    fn wait(&self, patience: Duration) -> bool {
        let given_up = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(given_up, patience, |given_up| !*given_up);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A backend that waits where the one inside finds no room.
#[derive(Debug)]
pub(super) struct Patient<B> {
    inside: B,
    give_up: GiveUp,
    is_full: AtomicBool,
    look_again: Duration,
}

/// A file whose every byte has its place on the disk, so that only growing it can find no room.
#[derive(Debug)]
pub(super) struct Allocated {
    file: File,
    inside: FileBackend,
}

impl Patient<Allocated> {
    /// Returns the backend of a file.
    pub(super) fn new(file: File, give_up: GiveUp) -> io::Result<Self> {
        let inside = FileBackend::new(file.try_clone()?).map_err(io::Error::other)?;
        Ok(Self::around(Allocated { file, inside }, give_up, LOOK_AGAIN))
    }
}

impl<B: StorageBackend> Patient<B> {
    fn around(inside: B, give_up: GiveUp, look_again: Duration) -> Self {
        Self { inside, give_up, is_full: AtomicBool::new(false), look_again }
    }

    fn with_room(&self, mut operation: impl FnMut(&B) -> io::Result<()>) -> io::Result<()> {
        loop {
            match operation(&self.inside) {
                Err(problem) if is_want_of_room(&problem) => {
                    if !self.is_full.swap(true, Ordering::Relaxed) {
                        error!(%problem, "the state directory's disk is full; changes wait in memory");
                    }
                    if self.give_up.wait(self.look_again) {
                        return Err(problem);
                    }
                }
                result => {
                    if result.is_ok() && self.is_full.swap(false, Ordering::Relaxed) {
                        info!("the state directory's disk has room again");
                    }
                    return result;
                }
            }
        }
    }
}

fn is_want_of_room(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

impl StorageBackend for Allocated {
    fn len(&self) -> io::Result<u64> {
        self.inside.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inside.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let before = self.inside.len()?;
        if len > before {
            let place = |bytes: u64| i64::try_from(bytes).map_err(io::Error::other);
            let (start, length) = (place(before)?, place(len - before)?);
            match nix::fcntl::fallocate(&self.file, FallocateFlags::empty(), start, length) {
                // A file system that cannot reserve: growing it by name only is all there is.
                Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {}
                Err(error) => {
                    // What was reserved of it is given back: others may need the room more.
                    self.inside.set_len(before)?;
                    return Err(error.into());
                }
            }
        }
        self.inside.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inside.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inside.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inside.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inside.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inside.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inside.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inside.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inside.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inside.query_lock_range(start, end)
    }
}

impl<B: StorageBackend> StorageBackend for Patient<B> {
    fn len(&self) -> io::Result<u64> {
        self.inside.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inside.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with_room(|inside| inside.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with_room(StorageBackend::sync_data)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with_room(|inside| inside.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.inside.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inside.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inside.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inside.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inside.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inside.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inside.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{atomic::AtomicU64, mpsc},
        thread,
    };

    use redb::{Builder, ReadableDatabase, TableDefinition, backends::InMemoryBackend};

    use super::*;

    const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("table");

    /// A disk of so many bytes.
    #[derive(Debug)]
    struct Small {
        inside: InMemoryBackend,
        room: Arc<AtomicU64>,
    }

    impl StorageBackend for Small {
        fn len(&self) -> io::Result<u64> {
            self.inside.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.inside.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            if len > self.room.load(Ordering::Relaxed) {
                return Err(ErrorKind::StorageFull.into());
            }
            self.inside.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.inside.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.inside.write(offset, data)
        }
    }

    fn put(database: &redb::Database, key: u64, value: &[u8]) -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        transaction.open_table(TABLE)?.insert(key, value)?;
        Ok(transaction.commit()?)
    }

    #[test]
    fn a_full_disk_delays_a_write_and_loses_none() {
        let room = Arc::new(AtomicU64::new(8 << 20));
        let small = Small { inside: InMemoryBackend::new(), room: Arc::clone(&room) };
        let backend = Patient::around(small, GiveUp::default(), Duration::from_millis(10));
        let database = Arc::new(Builder::new().create_with_backend(backend).unwrap());
        put(&database, 1, b"small").unwrap();
        let (done, is_done) = mpsc::channel();
        let writing = Arc::clone(&database);
        let writer = thread::spawn(move || {
            put(&writing, 2, &vec![7; 9 << 20]).unwrap();
            done.send(()).unwrap();
        });
        assert!(is_done.recv_timeout(Duration::from_millis(500)).is_err(), "there is no room");
        room.store(1 << 30, Ordering::Relaxed);
        is_done.recv_timeout(Duration::from_secs(20)).unwrap();
        writer.join().unwrap();
        let read = database.begin_read().unwrap().open_table(TABLE).unwrap();
        assert_eq!(read.get(1).unwrap().unwrap().value(), b"small");
        assert_eq!(read.get(2).unwrap().unwrap().value().len(), 9 << 20);
    }

    #[test]
    fn a_server_that_goes_down_waits_no_longer() {
        let small =
            Small { inside: InMemoryBackend::new(), room: Arc::new(AtomicU64::new(8 << 20)) };
        let give_up = GiveUp::default();
        let backend = Patient::around(small, give_up.clone(), Duration::from_hours(1));
        let database = Builder::new().create_with_backend(backend).unwrap();
        let writer = thread::spawn(move || put(&database, 2, &vec![7; 9 << 20]).is_err());
        give_up.give_up();
        assert!(writer.join().unwrap());
    }

    #[test]
    fn the_file_is_allocated_as_it_grows() {
        use std::os::unix::fs::MetadataExt;
        let file = tempfile::tempfile().unwrap();
        let backend = Patient::new(file.try_clone().unwrap(), GiveUp::default()).unwrap();
        backend.set_len(1 << 20).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.len(), 1 << 20);
        assert!(metadata.blocks() * 512 >= 1 << 20);
    }
}
