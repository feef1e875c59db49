//! How far the database has come, noted outside of the state directory: a directory that went back in time, because a
//! snapshot of its disk was taken back, is behind its witness.
//!
//! The database counts its transactions. After each the count is noted here, and before anything leaves that rests on
//! it; so the database is never behind, unless somebody took it back. The witness ends with the host's boot, where it is
//! kept in `/run`: after that nothing is known here, and only agents can tell.

use std::{
    fs,
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use protocol::Pin;
use sha2::{Digest, Sha256};

/// The place where it is noted.
#[derive(Debug)]
pub struct Witness {
    path: PathBuf,
    /// What stands there.
    noted: AtomicU64,
}

impl Witness {
    /// Names the witness of one state directory, whose key has this pin, in a directory that is there.
    pub fn new(directory: &Path, state: &Path, pin: Pin) -> Self {
        let state = fs::canonicalize(state).unwrap_or_else(|_| state.to_owned());
        let mut hash = Sha256::new();
        hash.update(state.as_os_str().as_encoded_bytes());
        hash.update(pin.0);
        let name = super::hexadecimal(&hash.finalize()[..16]);
        Self { path: directory.join(format!("state-{name}")), noted: AtomicU64::new(0) }
    }

    /// Returns where it is noted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how far the database had come; nothing where that was never noted in this boot.
    pub(super) fn read(&self) -> io::Result<Option<u64>> {
        let text = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let generation =
            text.trim().parse().map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
        Ok(Some(generation))
    }

    /// Notes how far the database has come; never less than before.
    pub(super) fn note(&self, generation: u64) -> io::Result<()> {
        if self.noted.fetch_max(generation, Ordering::SeqCst) >= generation {
            return Ok(());
        }
        let new = self.path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        writeln!(file, "{generation}")?;
        fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_never_goes_back_and_says_when_it_knows_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let witness = Witness::new(directory.path(), directory.path(), Pin([1; 32]));
        assert_eq!(witness.read().unwrap(), None);
        witness.note(7).unwrap();
        witness.note(5).unwrap();
        assert_eq!(witness.read().unwrap(), Some(7));
        let other = Witness::new(directory.path(), directory.path(), Pin([2; 32]));
        assert_eq!(other.read().unwrap(), None, "another server's");
        fs::write(witness.path(), "seven").unwrap();
        assert!(witness.read().is_err());
    }
}
