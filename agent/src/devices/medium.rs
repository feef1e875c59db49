//! Media that the machine started from, a CD or a stick: their store stands in for the server's, before there is one.
//!
//! They are looked for only where the command line says so, on whole disks. Each file is found anew, read on a thread of
//! its own, and checked as one of the server's is: a medium that hangs, is half written or was pulled out costs a gap.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use protocol::inventory::Gap;
use signature::medium;

use super::{
    belt,
    fetch::{self, Failure},
    stock::{Parcel, Stock},
};

/// How long a file may take: the largest over a BMC's virtual media, with a drive that has to start first.
const PATIENCE: Duration = Duration::from_secs(40);

/// The media of this machine.
pub(super) static MEDIA: Media = Media::none();

/// What became of reading a file, on its way from the thread that reads it.
type Reading = (Mutex<Option<Result<Vec<u8>, String>>>, Condvar);

/// Media that were found.
#[derive(Debug)]
pub(super) struct Media(Mutex<Found>);

#[derive(Debug)]
struct Found {
    /// Whether disks are looked at: the machine started from a medium.
    is_wanted: bool,
    /// The disks that are one, as `/sys/block` names them.
    disks: Vec<String>,
    /// Those of them that did not answer: nothing more is read of them, but they are what they are.
    silent: Vec<String>,
    /// How many times one was found.
    count: usize,
    /// How many disks are being looked at.
    looks: usize,
    /// Whether one was found since somebody asked: a picture from before does not show that it is one.
    is_news: bool,
}

impl Found {
    fn answering(&self) -> Vec<String> {
        self.disks.iter().filter(|disk| !self.silent.contains(disk)).cloned().collect()
    }
}

impl Media {
    pub(super) const fn none() -> Self {
        Self(Mutex::new(Found {
            is_wanted: false,
            disks: Vec::new(),
            silent: Vec::new(),
            count: 0,
            looks: 0,
            is_news: false,
        }))
    }

    /// Has disks be looked at that come from now on.
    pub(super) fn want(&self) {
        self.found().is_wanted = true;
    }

    /// Holds where disks are looked at.
    pub(super) fn is_wanted(&self) -> bool {
        self.found().is_wanted
    }

    /// Returns how many times one was found; 0 where none is there now.
    pub(super) fn count(&self) -> usize {
        let found = self.found();
        if found.answering().is_empty() { 0 } else { found.count }
    }

    /// Looks on a thread of its own whether a disk is one, by its name in `/sys/block` or in an event.
    pub(super) fn look(&'static self, disk: &str) {
        if !self.is_wanted() {
            return;
        }
        let disk = belt::in_sysfs(disk);
        // A drive without a medium is none. What else is wrong with a disk is told where it is described.
        self.found().looks += 1;
        let work = move || {
            if is_ours(&belt::device(&disk)).unwrap_or(false) {
                self.add(disk);
            }
            self.found().looks -= 1;
        };
        // Where there is no thread there is no medium, which is said where something is missing.
        if super::aside("medium".to_owned(), Box::new(work)).is_err() {
            self.found().looks -= 1;
        }
    }

    /// Holds where no disk is being looked at, and nothing was found that nobody asked about.
    pub(super) fn is_quiet(&self) -> bool {
        let found = self.found();
        found.looks == 0 && !found.is_news
    }

    /// Says once that one was found.
    pub(super) fn take_news(&self) -> bool {
        std::mem::take(&mut self.found().is_news)
    }

    pub(super) fn add(&self, disk: String) {
        let mut found = self.found();
        if !found.disks.contains(&disk) {
            found.disks.push(disk);
            found.count += 1;
            found.is_news = true;
        }
    }

    /// Holds for a disk that is one, by its name in `/sys/block`.
    pub(super) fn has(&self, disk: &String) -> bool {
        self.found().disks.contains(disk)
    }

    /// Forgets a disk that is gone, by its name in an event.
    pub(super) fn forget(&self, disk: &str) {
        let disk = belt::in_sysfs(disk);
        let mut found = self.found();
        found.disks.retain(|known| *known != disk);
        found.silent.retain(|known| *known != disk);
    }

    /// Takes a file from one of the media, and puts it in its place; nothing where none has it as it should be, which is
    /// reported. Blocks, for [`PATIENCE`] on each of them.
    pub(super) fn fetch(
        &self,
        parcel: &Parcel,
        stock: &Stock,
        report: &dyn Fn(Gap),
    ) -> Option<Result<(), Failure>> {
        self.fetch_within(PATIENCE, parcel, stock, report)
    }

    fn fetch_within(
        &self,
        limit: Duration,
        parcel: &Parcel,
        stock: &Stock,
        report: &dyn Fn(Gap),
    ) -> Option<Result<(), Failure>> {
        let disks = self.found().answering();
        for disk in disks {
            let _room = match fetch::begin(parcel, stock, Instant::now() + limit) {
                Ok(Some(room)) => room,
                Ok(None) => return Some(Ok(())),
                Err(failure) => return Some(Err(failure)),
            };
            let (path, name, length) =
                (belt::device(&disk), parcel.digest.to_string(), parcel.length);
            let came = patiently(limit, Box::new(move || read(&path, &name, length)));
            let why = match came {
                Some(Ok(bytes)) => match fetch::accept(parcel, stock, &bytes) {
                    Err(altered @ Failure::Altered(_)) => altered.to_string(),
                    came => return Some(came),
                },
                Some(Err(why)) => why,
                None => {
                    // The next file would take as long.
                    self.found().silent.push(disk.clone());
                    "it does not answer".to_owned()
                }
            };
            let reason = format!("{}: {why}", parcel.place);
            report(super::gap("medium", &disk, &reason));
        }
        None
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does that on a thread of its own, and returns what comes of it in time.
fn patiently(
    limit: Duration,
    work: Box<dyn FnOnce() -> Result<Vec<u8>, String> + Send>,
) -> Option<Result<Vec<u8>, String>> {
    let reading = Arc::new(Reading::default());
    let told = Arc::clone(&reading);
    let work = move || {
        let came = work();
        *told.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(came);
        told.1.notify_all();
    };
    super::aside("medium".to_owned(), Box::new(work)).ok()?;
    let (came, changed) = &*reading;
    let came = came.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = changed.wait_timeout_while(came, limit, |came| came.is_none());
    waited.unwrap_or_else(PoisonError::into_inner).0.take()
}

fn is_ours(place: &Path) -> io::Result<bool> {
    let mut descriptor = [0; medium::DESCRIPTOR_LENGTH];
    File::open(place)?.read_exact_at(&mut descriptor, medium::DESCRIPTOR_AT)?;
    Ok(medium::is_ours(&descriptor))
}

/// Reads a file of a medium's store. It has this length, or is altered: no more is read than that.
fn read(place: &Path, name: &str, length: u64) -> Result<Vec<u8>, String> {
    let words = |error: io::Error| error.to_string();
    let file = File::open(place).map_err(words)?;
    let range = medium::find(&mut |buffer, offset| file.read_exact_at(buffer, offset), name)?;
    let length = length.min(range.end - range.start);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut bytes, range.start).map_err(words)?;
    Ok(bytes)
}

#[cfg(test)]
pub(super) mod tests;
