//! The journal on disk: bounded for each subject, for strangers, and in all.
//!
//! Strangers are ports that no machine has been known to have. They are kept apart, so that
//! a flood of invented ones pushes out other strangers and never the story of a machine.

use std::{collections::BTreeMap, sync::Arc};

use protocol::MacAddress;
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition,
};

use super::Entry;

/// Entries kept for one port or one machine.
const PER_SUBJECT: usize = 512;
/// Entries kept of all ports and machines that are known.
const KNOWN_LIMIT: u64 = 160_000;
/// Entries kept of strangers; with [`KNOWN_LIMIT`] 200,000.
const STRANGER_LIMIT: u64 = 40_000;

/// JSON of entries by their number.
const KNOWN: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");
const STRANGERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal_strangers");
/// The numbers of each subject's entries, in both tables.
const SUBJECTS: TableDefinition<'_, (&str, u64), ()> = TableDefinition::new("journal_subjects");

/// The latest moment of any entry ever: milliseconds since 1970. Entries go, and a clock that went back writes earlier ones.
const NEWEST: TableDefinition<'_, (), i64> = TableDefinition::new("journal_newest");

/// Says that the journal on disk could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("journal: {operation}")]
pub struct JournalError {
    operation: &'static str,
    #[source]
    source: Box<redb::Error>,
}

/// Says what was being done when the database failed.
fn at<E: Into<redb::Error>>(operation: &'static str) -> impl FnOnce(E) -> JournalError {
    move |error| JournalError { operation, source: Box::new(error.into()) }
}

/// Whose story is read: everything about any of these ports, or about this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subject {
    /// The machine's name, once it has one.
    pub machine: Option<String>,
    /// Its ports.
    pub macs: Vec<MacAddress>,
}

impl Subject {
    /// Holds for entries of this story. A port that moved between machines tells each only its own part.
    pub fn has(&self, entry: &Entry) -> bool {
        match (&entry.machine, entry.mac) {
            (Some(name), _) if self.machine.is_some() => self.machine.as_ref() == Some(name),
            (_, Some(mac)) => self.macs.contains(&mac),
            (Some(_) | None, None) => false,
        }
    }

    fn keys(&self) -> impl Iterator<Item = String> {
        let machine = self.machine.as_deref().map(machine_key);
        machine.into_iter().chain(self.macs.iter().map(MacAddress::to_string))
    }
}

fn machine_key(name: &str) -> String {
    format!("machine:{name}")
}

/// Under what an entry is filed: its port, else its machine, else nothing.
fn key_of(entry: &Entry) -> String {
    match (entry.mac, &entry.machine) {
        (Some(mac), _) => mac.to_string(),
        (None, Some(machine)) => machine_key(machine),
        (None, None) => String::new(),
    }
}

/// The tables.
#[derive(Debug, Clone)]
pub(super) struct Store(Arc<Database>);

impl Store {
    /// Opens the tables; returns them with the last entry's number, 0 where there is none,
    /// and the latest moment of any entry ever: milliseconds since 1970.
    pub(super) fn open(database: Arc<Database>) -> Result<(Self, u64, Option<i64>), JournalError> {
        let transaction = database.begin_write().map_err(at("beginning to open"))?;
        let (number, newest) = {
            let known = transaction.open_table(KNOWN).map_err(at("opening entries"))?;
            let strangers = transaction.open_table(STRANGERS).map_err(at("opening strangers"))?;
            transaction.open_table(SUBJECTS).map_err(at("opening subjects"))?;
            let (number, json) = last(&known)?.max(last(&strangers)?);
            let newest = transaction.open_table(NEWEST).map_err(at("opening the latest moment"))?;
            let newest = match newest.get(()).map_err(at("reading the latest moment"))? {
                Some(newest) => Some(newest.value()),
                // A state directory from before there was this table.
                None => serde_json::from_slice(&json).ok().map(|e: Entry| e.unix_milliseconds),
            };
            (number, newest)
        };
        transaction.commit().map_err(at("creating tables"))?;
        Ok((Self(database), number, newest))
    }

    /// Says that it was never later than at this moment: milliseconds since 1970.
    pub(super) fn begin_anew(&self, unix_milliseconds: i64) -> Result<(), JournalError> {
        let transaction = self.0.begin_write().map_err(at("beginning to write"))?;
        {
            let mut newest =
                transaction.open_table(NEWEST).map_err(at("opening the latest moment"))?;
            newest.insert((), unix_milliseconds).map_err(at("writing the latest moment"))?;
        }
        transaction.commit().map_err(at("committing the latest moment"))
    }

    /// Writes entries in one transaction, and drops the oldest that are too many.
    pub(super) fn write(&self, batch: &[(u64, Entry)]) -> Result<(), JournalError> {
        let transaction = self.0.begin_write().map_err(at("beginning to write"))?;
        {
            let mut tables = Tables {
                known: transaction.open_table(KNOWN).map_err(at("opening entries"))?,
                strangers: transaction.open_table(STRANGERS).map_err(at("opening strangers"))?,
                subjects: transaction.open_table(SUBJECTS).map_err(at("opening subjects"))?,
            };
            for (number, entry) in batch {
                tables.insert(*number, entry)?;
            }
            tables.trim()?;
            let mut newest =
                transaction.open_table(NEWEST).map_err(at("opening the latest moment"))?;
            let before = newest.get(()).map_err(at("reading the latest moment"))?;
            let before = before.map(|moment| moment.value());
            let moments = batch.iter().map(|(_, entry)| entry.unix_milliseconds);
            if let Some(latest) = moments.chain(before).max()
                && Some(latest) != before
            {
                newest.insert((), latest).map_err(at("writing the latest moment"))?;
            }
        }
        transaction.commit().map_err(at("committing entries"))
    }

    /// Reads a story, oldest first.
    pub(super) fn read(&self, subject: &Subject) -> Result<BTreeMap<u64, Entry>, JournalError> {
        let transaction = self.0.begin_read().map_err(at("beginning to read"))?;
        let known = transaction.open_table(KNOWN).map_err(at("opening entries"))?;
        let strangers = transaction.open_table(STRANGERS).map_err(at("opening strangers"))?;
        let subjects = transaction.open_table(SUBJECTS).map_err(at("opening subjects"))?;
        let mut story = BTreeMap::new();
        for key in subject.keys() {
            for row in subjects
                .range((key.as_str(), 0)..=(key.as_str(), u64::MAX))
                .map_err(at("finding entries"))?
            {
                let number = row.map_err(at("finding entries"))?.0.value().1;
                let json = match known.get(number).map_err(at("reading an entry"))? {
                    Some(json) => Some(json),
                    None => strangers.get(number).map_err(at("reading an entry"))?,
                };
                // An entry that a newer version wrote is skipped: the rest of the story still helps.
                let entry = json.and_then(|json| serde_json::from_slice(json.value()).ok());
                story.extend(entry.map(|entry| (number, entry)));
            }
        }
        Ok(story)
    }

    /// Counts entries: of known subjects, of strangers.
    #[cfg(test)]
    pub(super) fn count(&self) -> (u64, u64) {
        let transaction = self.0.begin_read().unwrap();
        let known = transaction.open_table(KNOWN).unwrap().len().unwrap();
        (known, transaction.open_table(STRANGERS).unwrap().len().unwrap())
    }
}

fn last(table: &impl ReadableTable<u64, &'static [u8]>) -> Result<(u64, Vec<u8>), JournalError> {
    let last = table.last().map_err(at("finding the last entry"))?;
    Ok(last.map_or((0, Vec::new()), |(number, json)| (number.value(), json.value().to_vec())))
}

struct Tables<'t> {
    known: Table<'t, u64, &'static [u8]>,
    strangers: Table<'t, u64, &'static [u8]>,
    subjects: Table<'t, (&'static str, u64), ()>,
}

impl Tables<'_> {
    fn insert(&mut self, number: u64, entry: &Entry) -> Result<(), JournalError> {
        let key = key_of(entry);
        let numbers = self.numbers(&key)?;
        let was_known = match numbers.last() {
            Some(last) => self.known.get(last).map_err(at("reading an entry"))?.is_some(),
            None => false,
        };
        let is_known = was_known || entry.machine.is_some();
        if is_known && !was_known {
            for number in &numbers {
                self.introduce(*number)?;
            }
        }
        let Ok(json) = serde_json::to_vec(entry) else { return Ok(()) };
        let table = if is_known { &mut self.known } else { &mut self.strangers };
        table.insert(number, json.as_slice()).map_err(at("writing an entry"))?;
        self.subjects.insert((key.as_str(), number), ()).map_err(at("filing an entry"))?;
        let surplus = (numbers.len() + 1).saturating_sub(PER_SUBJECT);
        for number in numbers.iter().take(surplus) {
            self.known.remove(number).map_err(at("dropping an entry"))?;
            self.strangers.remove(number).map_err(at("dropping an entry"))?;
            self.subjects.remove((key.as_str(), *number)).map_err(at("dropping an entry"))?;
        }
        Ok(())
    }

    /// Returns the numbers of a subject's entries, oldest first.
    fn numbers(&self, key: &str) -> Result<Vec<u64>, JournalError> {
        self.subjects
            .range((key, 0)..=(key, u64::MAX))
            .map_err(at("finding entries"))?
            .map(|row| Ok(row.map_err(at("finding entries"))?.0.value().1))
            .collect()
    }

    /// Moves a stranger's entry among those of known subjects.
    fn introduce(&mut self, number: u64) -> Result<(), JournalError> {
        if let Some(json) = self.strangers.remove(number).map_err(at("moving an entry"))? {
            self.known.insert(number, json.value()).map_err(at("moving an entry"))?;
        }
        Ok(())
    }

    fn trim(&mut self) -> Result<(), JournalError> {
        trim(&mut self.known, &mut self.subjects, KNOWN_LIMIT)?;
        trim(&mut self.strangers, &mut self.subjects, STRANGER_LIMIT)
    }
}

fn trim(
    entries: &mut Table<'_, u64, &'static [u8]>,
    subjects: &mut Table<'_, (&'static str, u64), ()>,
    limit: u64,
) -> Result<(), JournalError> {
    while entries.len().map_err(at("counting entries"))? > limit {
        let Some((number, json)) = entries.pop_first().map_err(at("dropping an entry"))? else {
            return Ok(());
        };
        if let Ok(entry) = serde_json::from_slice(json.value()) {
            let key = key_of(&entry);
            subjects.remove((key.as_str(), number.value())).map_err(at("dropping an entry"))?;
        }
    }
    Ok(())
}
