//! One file of the server's store, fetched, checked and put in its place.
//!
//! Nothing is written before its length and SHA-256 are those of the list that came with the image.

mod room;

use std::{
    fs::{self, File},
    io::{self, Read, Write as _},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use modules::{Digest, Index};
use ring::digest::{SHA256, digest};
use tracing::{debug, warn};

use self::room::{ROOM, Reserved};
use super::{
    medium::Media,
    stock::{Parcel, Stock},
};
use crate::{
    life,
    session::{Bulk, BulkError},
    work::Master,
};

/// How often a file is asked for, with pauses between that double.
const ATTEMPTS: u32 = 6;

/// The first pause: a server that is just restarting is back soon.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest time for one file: the largest driver at 100 kB/s.
const FILE_PATIENCE: Duration = Duration::from_secs(40);

/// The longest time for a module by its name and all that it needs.
const BRING_PATIENCE: Duration = Duration::from_mins(1);

/// A file's bytes as they come, and how many there will be.
pub(super) type Coming = (u64, Box<dyn Read>);

/// Where files of the store come from, by their SHA-256.
pub(super) type Source<'s> = dyn Fn(&Digest) -> Result<Coming, BulkError> + Sync + 's;

/// Says why a file is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The server has no such file, or no store.
    #[error("not in the store")]
    Absent,
    /// It is not the one that the image was made with.
    #[error("the store's file is altered: {0}")]
    Altered(String),
    /// The machine's memory is full.
    #[error("no space: {0}")]
    NoSpace(String),
    /// It took longer than anybody waits.
    #[error("the store did not send it in time: {0}")]
    Late(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Fetches a file and puts it in its place, until then at the latest. Blocks.
pub(super) fn fetch(
    parcel: &Parcel,
    stock: &Stock,
    source: &Source<'_>,
    deadline: Instant,
) -> Result<(), Failure> {
    let Some(_room) = begin(parcel, stock, deadline)? else { return Ok(()) };
    // A file's own time begins once there is room for it.
    let deadline = deadline.min(Instant::now() + FILE_PATIENCE);
    let mut why = "it was never asked for".to_owned();
    for attempt in 0..ATTEMPTS {
        let next = Instant::now()
            + if attempt > 0 { FIRST_PAUSE * 2_u32.pow(attempt - 1) } else { Duration::ZERO };
        if next >= deadline {
            return Err(Failure::Late(why));
        }
        while let Some(left) =
            next.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
        {
            thread::park_timeout(left);
        }
        match read(parcel, source, deadline) {
            Ok(bytes) => return accept(parcel, stock, &bytes),
            Err(Attempt::Again(words)) => why = words,
            Err(Attempt::Over(failure)) => return Err(failure),
        }
        debug!(file = %parcel.place, why, "the store is asked again");
    }
    Err(Failure::Other(why))
}

/// Makes room for a file before anything of it comes; nothing where it is here. Blocks while others, which are on their way,
/// have the room, until then at the latest.
pub(super) fn begin(
    parcel: &Parcel,
    stock: &Stock,
    deadline: Instant,
) -> Result<Option<Reserved<'static>>, Failure> {
    if stock.target(&parcel.place).exists() {
        return Ok(None);
    }
    let meminfo = || fs::read_to_string("/proc/meminfo").unwrap_or_default();
    ROOM.reserve(parcel.length, meminfo, deadline).map(Some)
}

/// Puts a file in its place that came, where it is the one that the image was made with.
pub(super) fn accept(parcel: &Parcel, stock: &Stock, bytes: &[u8]) -> Result<(), Failure> {
    has_length(parcel, bytes.len().try_into().unwrap_or(u64::MAX))?;
    let found = digest(&SHA256, bytes);
    if found.as_ref() != parcel.digest.0.as_slice() {
        let found = found.as_ref().try_into().map(Digest).expect("SHA-256 has 32 bytes");
        return Err(Failure::Altered(format!("SHA-256 {found} instead of {}", parcel.digest)));
    }
    put(&stock.target(&parcel.place), bytes)
}

fn has_length(parcel: &Parcel, length: u64) -> Result<(), Failure> {
    if length == parcel.length {
        return Ok(());
    }
    Err(Failure::Altered(format!("{length} bytes instead of {}", parcel.length)))
}

/// Takes what a module needs that is not here from a medium, or fetches it, for whoever waits for it. Blocks for at most [`BRING_PATIENCE`].
pub(super) fn bring(
    index: &Index<'_>,
    stock: &Stock,
    module: &str,
    media: &Media,
    source: &Source<'_>,
) -> io::Result<()> {
    let essentials = index.essentials(module);
    let lack = stock.lack(&index.plan(module), &essentials);
    if let Some(path) = lack.missing.first() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{path}: not in the store")));
    }
    let deadline = Instant::now() + BRING_PATIENCE;
    for parcel in lack.parcels {
        let came = media
            .fetch(&parcel, stock, &|gap| warn!(what = gap.source, reason = gap.reason, "gap"))
            .unwrap_or_else(|| fetch(&parcel, stock, source, deadline));
        if let Err(failure) = came {
            let words = format!("{}: {failure}", parcel.place);
            if essentials.contains(&parcel.place.as_str()) {
                return Err(io::Error::other(words));
            }
            // It may do without what it only wishes.
            warn!(reason = words, "not fetched");
        }
    }
    Ok(())
}

/// What came of one attempt that failed.
enum Attempt {
    Again(String),
    Over(Failure),
}

/// Reads a file of the length that it should have.
fn read(parcel: &Parcel, source: &Source<'_>, deadline: Instant) -> Result<Vec<u8>, Attempt> {
    let (length, mut coming) = source(&parcel.digest).map_err(|error| match error {
        BulkError::Again(words) => Attempt::Again(words),
        BulkError::Absent(_) => Attempt::Over(Failure::Absent),
        BulkError::Never(words) => Attempt::Over(Failure::Other(words)),
        error @ BulkError::Thread(_) => Attempt::Over(Failure::Other(error.to_string())),
    })?;
    has_length(parcel, length).map_err(Attempt::Over)?;
    // No more than the list says, whatever comes.
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let mut filled = 0;
    while filled < bytes.len() {
        if Instant::now() > deadline {
            let words = format!("{filled} of {length} bytes came");
            return Err(Attempt::Over(Failure::Late(words)));
        }
        match coming.read(&mut bytes[filled..]) {
            Ok(0) => return Err(Attempt::Again(format!("{filled} of {length} bytes came"))),
            Ok(count) => filled += count,
            Err(error) => return Err(Attempt::Again(error.to_string())),
        }
    }
    Ok(bytes)
}

/// Puts a file in its place, whole or not at all.
fn put(target: &Path, bytes: &[u8]) -> Result<(), Failure> {
    // Two may fetch the same file at once, one for a device and one by name.
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    put_through(&target.with_file_name(format!(".{name}.{number}.part")), target, bytes)
}

fn put_through(unfinished: &Path, target: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let write = || {
        fs::create_dir_all(target.parent().unwrap_or(Path::new("/")))?;
        File::create(unfinished)?.write_all(bytes)?;
        fs::rename(unfinished, target)
    };
    write().map_err(|error| {
        // What is left of it takes room.
        let _may_not_be_there = fs::remove_file(unfinished);
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Failure::NoSpace(format!("writing {}: {error}", target.display()))
            }
            _ => Failure::Other(format!("writing {}: {error}", target.display())),
        }
    })
}

/// The line to the server's store. It is there while something is fetched.
#[derive(Debug, Default)]
pub(super) struct Line(Mutex<Option<Arc<Bulk>>>);

impl Line {
    /// Asks for a file of the store.
    pub(super) fn get(&self, digest: &Digest) -> Result<Coming, BulkError> {
        let body = self.bulk()?.open(&format!("/v1/store/{digest}"))?;
        Ok((body.left(), Box::new(body)))
    }

    /// Hangs up; the next question makes a new line.
    pub(super) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn bulk(&self) -> Result<Arc<Bulk>, BulkError> {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bulk) = &*line {
            return Ok(Arc::clone(bulk));
        }
        let none = || {
            if Master::Person.has_it() {
                BulkError::Never("no server is spoken to in this boot".to_owned())
            } else {
                BulkError::Again("there is no session".to_owned())
            }
        };
        let bulk = Arc::new(life::session().ok_or_else(none)?.bulk()?);
        *line = Some(Arc::clone(&bulk));
        Ok(bulk)
    }
}

#[cfg(test)]
mod tests;
