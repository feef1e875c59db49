//! What is known of the certificates' files: read once at the start; the newest is looked at again before another follows it.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use protocol::Pin;
use sha2::{Digest as _, Sha256};

use super::{
    CertificateError, Head, Listed, Verified, digits,
    store::{file_name, list, serial_of},
    verify,
};

/// What is known of the files.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) listed: Vec<Listed>,
    /// The newest that was made, whether its file is there and verifies or not.
    pub(super) head: Option<Head>,
    /// Files that do not verify, or do not follow the one before them.
    pub(super) broken: BTreeSet<u64>,
    /// The highest number of a file that could not be read; 0 where there is none. The next one goes on behind it.
    pub(super) unread: u64,
    /// First and last number of the files that are newer than all that the database knew at the start.
    pub(super) unnoted: Option<(u64, u64)>,
    /// The newest file as it was seen last; absent where it was not there.
    seen: Option<Seen>,
}

/// What tells a file from what it was before, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Seen {
    fn at(path: &Path) -> Option<Self> {
        let file = fs::symlink_metadata(path).ok()?;
        Some(Self {
            inode: file.ino(),
            bytes: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

impl Chain {
    /// Reads all files. `noted` is the newest certificate that the database knows.
    pub(super) fn read(
        directory: &Path,
        noted: Option<Head>,
        key: Pin,
    ) -> Result<Self, CertificateError> {
        let io = |source| {
            let path = directory.to_owned();
            CertificateError::Io { path, operation: "listing", source }
        };
        let known = noted.as_ref().map_or(0, |head| head.serial);
        let mut chain = Self { head: noted, ..Self::default() };
        for entry in fs::read_dir(directory).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let Some(serial) = serial_of(&path) else { continue };
            if serial > known {
                let (first, last) = chain.unnoted.unwrap_or((serial, serial));
                chain.unnoted = Some((first.min(serial), last.max(serial)));
            }
            match fs::read(&path) {
                Ok(bytes) => chain.take(serial, &bytes, key),
                // One that was copied by somebody else, or whose sectors are bad, keeps no server from starting.
                Err(error) => {
                    let path = path.display();
                    tracing::error!(%error, "the certificate {path} cannot be read");
                    chain.broken.insert(serial);
                    chain.unread = chain.unread.max(serial);
                }
            }
        }
        chain.listed.sort_by_key(|one| one.serial);
        chain.mark_cut();
        let newest = chain.listed.last();
        let is_another = |head: &Head| {
            newest.is_some_and(|one| one.serial == head.serial && one.sha256 != head.sha256)
        };
        chain.broken.extend(chain.head.as_ref().filter(|head| is_another(head)).map(|h| h.serial));
        chain.see(directory);
        Ok(chain)
    }

    /// Marks what does not follow the one before it. The list must be in order.
    fn mark_cut(&mut self) {
        let pairs = self.listed.iter().zip(self.listed.iter().skip(1));
        let is_cut = |(before, after): &(&Listed, &Listed)| {
            let is_next = before.serial.checked_add(1) == Some(after.serial);
            is_next && after.previous.as_ref() != Some(&before.sha256)
        };
        let cut: Vec<u64> = pairs.filter(is_cut).map(|(_, after)| after.serial).collect();
        self.broken.extend(cut);
    }

    /// Takes a file into account.
    pub(super) fn take(&mut self, serial: u64, bytes: &[u8], key: Pin) {
        if self.head.as_ref().is_none_or(|newest| serial > newest.serial) {
            self.head = Some(Head { serial, sha256: digits(&Sha256::digest(bytes)) });
        }
        match verify(bytes, Some(key)) {
            Ok(Verified { certificate, .. }) if certificate.serial == serial => {
                self.listed.push(list(&certificate, bytes));
            }
            outcome => {
                let problem = outcome.err().map(|problem| problem.to_string());
                tracing::error!(serial, problem, "a certificate does not verify under its number");
                self.broken.insert(serial);
            }
        }
    }

    /// Notes how the newest file looks.
    pub(super) fn see(&mut self, directory: &Path) {
        self.seen = self.newest(directory).and_then(|path| Seen::at(&path));
    }

    /// Looks whether the newest file is what was made, and says where it is not: the next one names its SHA-256, as it was.
    /// Reads the file only where it looks another than before.
    pub(super) fn look(&mut self, directory: &Path, key: Pin) {
        let Some((path, head)) = self.newest(directory).zip(self.head.clone()) else { return };
        let seen = Seen::at(&path);
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        let read = fs::read(&path);
        let is_the_same =
            read.as_ref().is_ok_and(|bytes| digits(&Sha256::digest(bytes)) == head.sha256);
        if is_the_same && self.listed.iter().any(|one| one.serial == head.serial) {
            // It was touched. What else is known of it holds: whether it follows the one before it, for one.
            return;
        }
        self.listed.retain(|one| one.serial != head.serial);
        self.broken.remove(&head.serial);
        let path = path.display();
        match read {
            Ok(bytes) if is_the_same => {
                self.take(head.serial, &bytes, key);
                self.mark_cut();
            }
            Ok(_) => {
                tracing::error!("the certificate {path} is not what was signed any more");
                self.broken.insert(head.serial);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::error!("the certificate {path} is gone: find the file again");
            }
            Err(error) => {
                tracing::error!(%error, "the certificate {path} cannot be read any more");
                self.broken.insert(head.serial);
            }
        }
    }

    fn newest(&self, directory: &Path) -> Option<PathBuf> {
        self.head.as_ref().map(|head| head_path(directory, head))
    }
}

fn head_path(directory: &Path, head: &Head) -> PathBuf {
    directory.join(file_name(head.serial))
}
