//! The newest certificate, noted in the database: whoever takes the newest files away is noticed, as a gap is between others.

use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use super::CertificateError;

/// Its number and its SHA-256, under one name.
const HEAD: TableDefinition<'_, &str, (u64, &str)> = TableDefinition::new("certificate-head");
const NAME: &str = "head";

/// The newest certificate: the next one follows it, whether its file is there or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Head {
    /// Its number.
    pub serial: u64,
    /// SHA-256 of its file: 64 digits.
    pub sha256: String,
}

/// What files there are of the certificates that were ever made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inventoried {
    /// The newest that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// Those of which there is no file: first and last of each run.
    pub missing: Vec<(u64, u64)>,
    /// Those whose file is not what this server's key signed, or does not follow the one before it.
    pub broken: Vec<u64>,
    /// First and last of those that were newer, when the server started, than any that its database knew of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unnoted: Option<(u64, u64)>,
}

impl Inventoried {
    /// Says what a person should know although nothing is missing; nothing where there is nothing.
    pub fn notice(&self) -> Option<String> {
        let newer = run(self.unnoted.as_ref()?);
        Some(format!(
            "certificates {newer} are newer than all that the database knew of: it is older than they are, because it was restored \
             from a backup, or the server was cut off while it made them; new ones go on behind them, and no number is used twice"
        ))
    }

    /// Says what is wrong; nothing where all are there.
    pub fn problem(&self) -> Option<String> {
        let list = |numbers: Vec<String>| numbers.join(", ");
        let missing = (!self.missing.is_empty())
            .then(|| format!("missing: {}", list(self.missing.iter().map(run).collect())));
        let broken = (!self.broken.is_empty()).then(|| {
            let numbers = self.broken.iter().map(u64::to_string).collect();
            format!("not what was signed, or not in the chain: {}", list(numbers))
        });
        let all: Vec<String> = [missing, broken].into_iter().flatten().collect();
        (!all.is_empty()).then(|| format!("certificates {}", all.join("; ")))
    }
}

fn run((first, last): &(u64, u64)) -> String {
    if first == last { first.to_string() } else { format!("{first} to {last}") }
}

/// Returns the runs of numbers from 1 to `last` that are not among those, which rise.
pub(super) fn gaps(there: impl IntoIterator<Item = u64>, last: u64) -> Vec<(u64, u64)> {
    let mut gaps = Vec::new();
    let mut next = 1;
    for serial in there.into_iter().chain([last.saturating_add(1)]) {
        if serial > next {
            gaps.push((next, serial - 1));
        }
        next = serial.saturating_add(1).max(next);
    }
    gaps
}

/// Reads what was noted.
pub(super) fn noted(database: &Arc<Database>) -> Result<Option<Head>, CertificateError> {
    let doing = "reading which certificate is the newest";
    let transaction = database.begin_read().map_err(failed(doing))?;
    let table = match transaction.open_table(HEAD) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        table => table.map_err(failed(doing))?,
    };
    let row = table.get(NAME).map_err(failed(doing))?;
    Ok(row.map(|row| {
        let (serial, sha256) = row.value();
        Head { serial, sha256: sha256.to_owned() }
    }))
}

/// Notes the newest certificate, where none is noted that is newer. Waits for the disk.
pub fn note(database: &Arc<Database>, head: &Head) -> Result<(), CertificateError> {
    let doing = "noting which certificate is the newest";
    let transaction = database.begin_write().map_err(failed(doing))?;
    {
        let mut table = transaction.open_table(HEAD).map_err(failed(doing))?;
        let before = table.get(NAME).map_err(failed(doing))?.map(|row| row.value().0);
        if before.is_none_or(|before| before <= head.serial) {
            let row = (head.serial, head.sha256.as_str());
            table.insert(NAME, row).map_err(failed(doing))?;
        }
    }
    transaction.commit().map_err(failed(doing))
}

fn failed<E: Into<redb::Error>>(doing: &'static str) -> impl Fn(E) -> CertificateError {
    move |error| CertificateError::Database { doing, source: Box::new(error.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_runs_of_numbers() {
        for (there, last, expected) in [
            (vec![], 0, vec![]),
            (vec![], 3, vec![(1, 3)]),
            (vec![1, 2, 3], 3, vec![]),
            (vec![2, 5], 9, vec![(1, 1), (3, 4), (6, 9)]),
            (vec![1, u64::MAX], u64::MAX, vec![(2, u64::MAX - 1)]),
        ] {
            assert_eq!(gaps(there.clone(), last), expected, "{there:?} of {last}");
        }
    }

    #[test]
    fn the_newest_stays_the_newest() {
        let memory = redb::backends::InMemoryBackend::new();
        let database = Arc::new(Database::builder().create_with_backend(memory).unwrap());
        assert_eq!(noted(&database).unwrap(), None);
        let head = |serial| Head { serial, sha256: format!("{serial:064}") };
        note(&database, &head(4)).unwrap();
        note(&database, &head(3)).unwrap();
        assert_eq!(noted(&database).unwrap(), Some(head(4)));
    }

    #[test]
    fn what_is_wrong_is_said_by_number() {
        let (missing, broken) = (vec![(2, 2), (7, 9)], vec![4]);
        let all = Inventoried { missing, broken, ..Inventoried::default() };
        let words = "certificates missing: 2, 7 to 9; not what was signed, or not in the chain: 4";
        assert_eq!(all.problem().as_deref(), Some(words));
        assert_eq!(Inventoried::default().problem(), None);
    }
}
