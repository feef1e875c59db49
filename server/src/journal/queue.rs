//! The journal's handle: entries go into memory at once and to disk in batches, on a thread of its own.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use redb::Database;
use tracing::{error, info, warn};

use super::{
    Entry, line,
    neighbours::Neighbours,
    store::{JournalError, Store, Subject},
};

/// Entries held in memory while the disk is slow or full; the oldest go first.
const WAITING_LIMIT: usize = 8_192;
/// How long the writer gathers entries for one transaction: each costs a flush of the disk.
const GATHER: Duration = Duration::from_millis(200);
/// How long after a failed write the next one is tried.
const RETRY: Duration = Duration::from_secs(5);

/// The story of every boot. Cheap to clone; recording never waits for the disk.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Option<Store>,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What has been recorded and is not on disk.
#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<(u64, Entry)>,
    next: u64,
    dropped: u64,
    /// The latest moment of any entry ever.
    newest: Option<i64>,
    neighbours: Neighbours,
    closing: bool,
}

impl Journal {
    /// Opens the journal's tables and starts its writer.
    pub fn open(database: Arc<Database>) -> Result<Self, JournalError> {
        let (store, number, newest) = Store::open(database)?;
        let journal = Self::new(Some(store.clone()), number + 1, newest);
        let shared = Arc::clone(&journal.0);
        let writer = std::thread::spawn(move || keep(&shared, |batch| store.write(batch)));
        *lock(&journal.0.writer) = Some(writer);
        Ok(journal)
    }

    /// Returns a journal that is kept in memory only.
    pub fn in_memory() -> Self {
        Self::new(None, 1, None)
    }

    fn new(store: Option<Store>, next: u64, newest: Option<i64>) -> Self {
        let waiting = Mutex::new(Waiting { next, newest, ..Waiting::default() });
        let (arrived, writer) = (Condvar::new(), Mutex::new(None));
        Self(Arc::new(Shared { store, waiting, arrived, writer }))
    }

    /// Returns the latest moment that any entry was ever recorded at, by this server or those before it on the same
    /// state directory: milliseconds since 1970. It never goes back when the clock does, but by [`Journal::begin_anew`].
    pub fn newest(&self) -> Option<i64> {
        lock(&self.0.waiting).newest
    }

    /// Forgets how late it was: the clock is right now, at this moment (milliseconds since 1970), whatever the entries say.
    pub fn begin_anew(&self, unix_milliseconds: i64) -> Result<(), JournalError> {
        lock(&self.0.waiting).newest = Some(unix_milliseconds);
        self.0.store.iter().try_for_each(|store| store.begin_anew(unix_milliseconds))
    }

    /// Records an entry: logged, held in memory, on disk soon.
    ///
    /// An entry that knows only an address is joined to the port that was last seen with it.
    pub fn record(&self, mut entry: Entry) {
        {
            let mut waiting = lock(&self.0.waiting);
            match (entry.mac, entry.address) {
                (Some(mac), Some(address)) => waiting.neighbours.learn(address, mac),
                (None, Some(address)) => entry.mac = waiting.neighbours.mac_of(address),
                (_, None) => {}
            }
            waiting.newest = waiting.newest.max(Some(entry.unix_milliseconds));
            if waiting.entries.len() >= WAITING_LIMIT {
                waiting.entries.pop_front();
                waiting.dropped += 1;
            }
            let number = waiting.next;
            waiting.next += 1;
            waiting.entries.push_back((number, entry.clone()));
        }
        self.0.arrived.notify_one();
        line::log(&entry);
    }

    /// Reads a story, oldest first. Reads the disk: not for a thread that must not wait.
    pub fn story_of(&self, subject: &Subject) -> Result<Vec<Entry>, JournalError> {
        // What is waiting is read first: an entry written meanwhile is then seen twice, never not at all.
        let waiting: Vec<(u64, Entry)> = lock(&self.0.waiting)
            .entries
            .iter()
            .filter(|(_, entry)| subject.has(entry))
            .cloned()
            .collect();
        let mut story = match &self.0.store {
            Some(store) => store.read(subject)?,
            None => BTreeMap::new(),
        };
        story.extend(waiting);
        Ok(story.into_values().filter(|entry| subject.has(entry)).collect())
    }

    /// Returns what is held in memory, oldest first: everything, when the journal is kept in memory only.
    pub fn recent(&self) -> Vec<Entry> {
        lock(&self.0.waiting).entries.iter().map(|(_, entry)| entry.clone()).collect()
    }

    /// Writes what is waiting and stops the writer. Blocks until then.
    pub fn close(&self) {
        lock(&self.0.waiting).closing = true;
        self.0.arrived.notify_one();
        let writer = lock(&self.0.writer).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            error!("the journal's writer panicked");
        }
    }
}

/// Locks, also after another thread panicked while it held the lock: entries are always whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes entries as they arrive, until the journal is closed. A failure is said once, and its entries tried again.
fn keep<E: std::error::Error>(
    shared: &Shared,
    mut write: impl FnMut(&[(u64, Entry)]) -> Result<(), E>,
) {
    let mut is_failing = false;
    loop {
        let (batch, closing) = gather(shared, if is_failing { RETRY } else { GATHER });
        if batch.is_empty() && closing {
            return;
        }
        match write(&batch) {
            Ok(()) => {
                let written = batch.last().map_or(0, |(number, _)| *number);
                let mut waiting = lock(&shared.waiting);
                while waiting.entries.front().is_some_and(|(number, _)| *number <= written) {
                    waiting.entries.pop_front();
                }
                let dropped = mem::take(&mut waiting.dropped);
                drop(waiting);
                if mem::take(&mut is_failing) {
                    info!(entries = batch.len(), "the journal is written again");
                }
                if dropped > 0 {
                    warn!(dropped, "journal entries were dropped: the disk did not keep up");
                }
            }
            Err(error) => {
                if !is_failing {
                    let cause = error.source().map(ToString::to_string);
                    error!(%error, cause, "journal cannot be written; it is kept in memory");
                }
                is_failing = true;
                if closing {
                    return;
                }
            }
        }
    }
}

/// Waits for an entry, then a little for more; returns copies of all that wait, and whether the journal is closing.
fn gather(shared: &Shared, patience: Duration) -> (Vec<(u64, Entry)>, bool) {
    let waiting = shared
        .arrived
        .wait_while(lock(&shared.waiting), |waiting| waiting.entries.is_empty() && !waiting.closing)
        .unwrap_or_else(PoisonError::into_inner);
    let (waiting, _) = shared
        .arrived
        .wait_timeout_while(waiting, patience, |waiting| !waiting.closing)
        .unwrap_or_else(PoisonError::into_inner);
    (waiting.entries.iter().cloned().collect(), waiting.closing)
}

#[cfg(test)]
mod tests {
    use std::{io, net::Ipv4Addr, sync::mpsc};

    use protocol::MacAddress;

    use super::*;
    use crate::journal::What;

    fn mac(number: u32) -> MacAddress {
        let [a, b, c, d] = number.to_be_bytes();
        MacAddress([0x52, 0x54, a, b, c, d])
    }

    fn looped(number: u32, rounds: u32) -> Entry {
        Entry::about(Some(mac(number)), None, What::BootLoop { rounds })
    }

    fn of(number: u32) -> Subject {
        Subject { machine: None, macs: vec![mac(number)] }
    }

    fn database(directory: &tempfile::TempDir) -> Arc<Database> {
        Arc::new(Database::create(directory.path().join("drydock.redb")).unwrap())
    }

    #[test]
    fn a_story_is_there_at_once_and_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(database(&directory)).unwrap();
        journal.record(looped(1, 1));
        journal.record(looped(2, 9));
        journal.record(looped(1, 2));
        let before = journal.story_of(&of(1)).unwrap();
        assert_eq!(before.len(), 2);
        journal.close();
        assert!(journal.recent().is_empty(), "all is on disk");
        drop(journal);
        let journal = Journal::open(database(&directory)).unwrap();
        assert_eq!(journal.newest(), before.last().map(|entry| entry.unix_milliseconds));
        assert_eq!(journal.story_of(&of(1)).unwrap(), before);
        journal.record(looped(1, 3));
        assert_eq!(journal.story_of(&of(1)).unwrap().len(), 3);
        journal.close();
    }

    #[test]
    fn the_latest_moment_outlives_entries_of_a_clock_that_went_back() {
        let directory = tempfile::tempdir().unwrap();
        let at = |unix_milliseconds| Entry { unix_milliseconds, ..looped(1, 1) };
        let reopened = || Journal::open(database(&directory)).unwrap();
        let journal = reopened();
        assert_eq!(journal.newest(), None);
        journal.record(at(2_000));
        journal.record(at(1_000));
        assert_eq!(journal.newest(), Some(2_000));
        journal.close();
        drop(journal);
        let journal = reopened();
        assert_eq!(journal.newest(), Some(2_000));
        journal.record(at(1_500));
        journal.close();
        drop(journal);
        let journal = reopened();
        assert_eq!(journal.newest(), Some(2_000), "a restart does not make it forget");
        journal.begin_anew(500).unwrap();
        assert_eq!(journal.newest(), Some(500));
        journal.close();
        drop(journal);
        let journal = reopened();
        assert_eq!(journal.newest(), Some(500), "a person's word outlives the restart");
        journal.close();
    }

    #[test]
    fn an_address_alone_is_joined_to_its_port() {
        let journal = Journal::in_memory();
        let address = Ipv4Addr::new(10, 0, 0, 7);
        journal.record(Entry::about(Some(mac(1)), Some(address), What::BootLoop { rounds: 1 }));
        journal.record(Entry::about(None, Some(address), What::BootLoop { rounds: 2 }));
        journal.record(Entry::about(None, Some(Ipv4Addr::LOCALHOST), What::BootLoop { rounds: 3 }));
        assert_eq!(journal.story_of(&of(1)).unwrap().len(), 2);
    }

    #[test]
    fn a_port_that_moved_tells_each_machine_its_own_part() {
        let journal = Journal::in_memory();
        journal.record(looped(1, 1).of_machine("first"));
        journal.record(looped(1, 2).of_machine("second"));
        journal.record(Entry::about(None, None, What::BootLoop { rounds: 3 }).of_machine("second"));
        let subject = Subject { machine: Some("second".to_owned()), macs: vec![mac(1)] };
        let rounds: Vec<What> =
            journal.story_of(&subject).unwrap().into_iter().map(|entry| entry.what).collect();
        assert_eq!(rounds, [What::BootLoop { rounds: 2 }, What::BootLoop { rounds: 3 }]);
    }

    #[test]
    fn a_disk_that_fails_loses_nothing_and_recovers() {
        let journal = Journal::in_memory();
        let (reports, written) = mpsc::channel();
        journal.record(looped(1, 1));
        journal.record(looped(1, 2));
        let shared = Arc::clone(&journal.0);
        let writer = std::thread::spawn(move || {
            let mut attempts = 0;
            keep(&shared, |batch| {
                attempts += 1;
                if attempts == 1 {
                    return Err(io::Error::from(io::ErrorKind::StorageFull));
                }
                reports.send(batch.len()).map_err(io::Error::other)
            });
        });
        // Longer than the retry, far shorter than anybody's patience.
        assert_eq!(written.recv_timeout(RETRY * 4).unwrap(), 2);
        journal.close();
        writer.join().unwrap();
        assert!(journal.recent().is_empty());
    }

    #[test]
    fn memory_is_bounded_while_nothing_can_be_written() {
        let journal = Journal::in_memory();
        for rounds in 0..10_000 {
            journal.record(looped(1, rounds));
        }
        let recent = journal.recent();
        assert_eq!(recent.len(), WAITING_LIMIT);
        assert_eq!(recent.last().unwrap().what, What::BootLoop { rounds: 9_999 });
    }

    #[test]
    fn one_port_keeps_its_512_newest_and_strangers_never_push_out_machines() {
        let directory = tempfile::tempdir().unwrap();
        let (tables, _, _) = Store::open(database(&directory)).unwrap();
        let mut number = 0;
        let mut write = |entries: Vec<Entry>| {
            let batch: Vec<(u64, Entry)> = entries
                .into_iter()
                .map(|entry| {
                    number += 1;
                    (number, entry)
                })
                .collect();
            tables.write(&batch).unwrap();
        };
        write((0..700).map(|rounds| looped(1, rounds)).collect());
        let story: Vec<Entry> = tables.read(&of(1)).unwrap().into_values().collect();
        assert_eq!(story.len(), 512);
        assert_eq!(story[0].what, What::BootLoop { rounds: 188 });
        assert_eq!(tables.count(), (0, 512));

        write(vec![looped(1, 700).of_machine("m")]);
        assert_eq!(tables.count(), (512, 0), "a stranger that is introduced takes its story along");

        write((2..60_000).map(|stranger| looped(stranger, 1)).collect());
        assert_eq!(tables.count(), (512, 40_000));
        assert_eq!(tables.read(&of(1)).unwrap().len(), 512);
        assert!(tables.read(&of(2)).unwrap().is_empty());
        assert_eq!(tables.read(&of(59_999)).unwrap().len(), 1);
    }

    #[test]
    fn every_kind_of_entry_survives_the_disk() {
        let event = protocol::Event {
            uptime_milliseconds: 5,
            level: protocol::Level::Error,
            kind: protocol::EventKind::Failed {
                reason: "panic".to_owned(),
                kernel_log: "x".to_owned(),
            },
        };
        let address = Some(Ipv4Addr::LOCALHOST);
        for what in [
            What::DhcpReply { message: "ACK".to_owned(), address, file: Some("x".to_owned()) },
            What::DhcpSilence(crate::journal::Silence::OtherServer { server: Ipv4Addr::LOCALHOST }),
            What::Agent(event),
            What::TlsFailed { reason: "alert".to_owned(), pin_refused: true },
        ] {
            let entry = Entry::about(Some(mac(1)), address, what).of_machine("m");
            let json = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), entry, "{json}");
        }
    }
}
