//! What people call the images: one row each.

use std::sync::Arc;

use redb::{Database, ReadableTable, TableDefinition};

use super::Stored;

const IMAGES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("images");

/// Why the names of the images could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{doing} in the state database")]
pub struct IndexError {
    /// What was being done.
    doing: &'static str,
    /// What the database says.
    source: Box<redb::Error>,
}

/// The table of this part.
#[derive(Debug)]
pub(super) struct Index(Arc<Database>);

impl Index {
    /// Makes the table where it is missing and reads it. A row that cannot be understood is left out:
    /// its image is swept away, and must be added again.
    pub(super) fn open(database: Arc<Database>) -> Result<(Self, Vec<Stored>), IndexError> {
        let doing = "reading the names of images";
        let transaction = database.begin_write().map_err(failed(doing))?;
        let mut images = Vec::new();
        {
            let table = transaction.open_table(IMAGES).map_err(failed(doing))?;
            for row in table.iter().map_err(failed(doing))? {
                let (name, json) = row.map_err(failed(doing))?;
                match serde_json::from_slice::<Stored>(json.value()) {
                    Ok(image) if image.name == name.value() => images.push(image),
                    _ => tracing::error!(image = name.value(), "cannot read what is stored of it"),
                }
            }
        }
        transaction.commit().map_err(failed(doing))?;
        Ok((Self(database), images))
    }

    pub(super) fn insert(&self, image: &Stored) -> Result<(), IndexError> {
        let doing = "writing the name of an image";
        let json = serde_json::to_vec(image).expect("an image's keys are texts");
        let transaction = self.0.begin_write().map_err(failed(doing))?;
        {
            let mut table = transaction.open_table(IMAGES).map_err(failed(doing))?;
            table.insert(image.name.as_str(), json.as_slice()).map_err(failed(doing))?;
        }
        transaction.commit().map_err(failed(doing))
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), IndexError> {
        let doing = "removing the name of an image";
        let transaction = self.0.begin_write().map_err(failed(doing))?;
        {
            let mut table = transaction.open_table(IMAGES).map_err(failed(doing))?;
            table.remove(name).map_err(failed(doing))?;
        }
        transaction.commit().map_err(failed(doing))
    }
}

fn failed<E: Into<redb::Error>>(doing: &'static str) -> impl Fn(E) -> IndexError {
    move |error| IndexError { doing, source: Box::new(error.into()) }
}
