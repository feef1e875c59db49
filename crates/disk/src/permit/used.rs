//! Orders that were begun in this boot: an order is used once (SAFETY.md 5).

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
};

use protocol::OrderId;

/// The orders that were begun, one empty file each: in a directory that goes with the boot, `/run/drydock/orders`,
/// so that a program that was started again still knows them.
#[derive(Debug, Clone)]
pub struct Used {
    directory: PathBuf,
}

impl Used {
    /// Keeps them in a directory, which is made when it is first needed.
    pub fn kept_in(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Holds when an order was begun.
    pub fn contains(&self, order: OrderId) -> io::Result<bool> {
        fs::exists(self.directory.join(order.to_string()))
    }

    /// Notes that an order is begun. Fails when it was begun before; of several callers at once one succeeds.
    pub(super) fn claim(&self, order: OrderId) -> Result<(), ClaimError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.directory).map_err(ClaimError::Note)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        match options.open(self.directory.join(order.to_string())) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(ClaimError::Used),
            Err(error) => Err(ClaimError::Note(error)),
        }
    }
}

/// Says why an order is not to be begun.
#[derive(Debug)]
pub(super) enum ClaimError {
    /// It was.
    Used,
    /// That it is cannot be noted.
    Note(io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_begun_once_also_by_a_program_that_was_started_again() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("run/orders");
        let (one, other) = (OrderId([1; 16]), OrderId([2; 16]));
        let used = Used::kept_in(&place);
        assert!(!used.contains(one).unwrap());
        used.claim(one).unwrap();
        assert!(used.contains(one).unwrap());
        assert!(matches!(used.claim(one), Err(ClaimError::Used)));
        assert!(matches!(Used::kept_in(&place).claim(one), Err(ClaimError::Used)));
        Used::kept_in(&place).claim(other).unwrap();
    }

    #[test]
    fn what_cannot_be_noted_is_not_begun() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let used = Used::kept_in(file.path());
        assert!(matches!(used.claim(OrderId([1; 16])), Err(ClaimError::Note(_))));
    }
}
