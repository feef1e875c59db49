//! Loading modules, each once, several at a time where there are several processors.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs::File,
    io,
    num::NonZero,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use linux::module::{self, Storage};
use protocol::inventory::Gap;
use tracing::debug;

use super::{class, class::Class, index, index::Index};

/// The most modules that are loaded at once: they wait for hardware more than they compute.
const PARALLEL: usize = 4;

/// Linux, `include/uapi/asm-generic/errno-base.h`.
const ENODEV: i32 = 19;

/// What is to be loaded, and what was.
#[derive(Debug)]
pub(super) struct Loader<'t> {
    index: &'t Index<'t>,
    directory: &'t Path,
    /// Modules that devices ask for, by class.
    wanted: BTreeMap<Class, BTreeSet<&'t str>>,
    /// Modules that were asked for once.
    known: HashSet<String>,
    /// Files that were tried.
    tried: Mutex<HashSet<&'t str>>,
}

impl<'t> Loader<'t> {
    /// Begins with nothing loaded.
    pub(super) fn new(index: &'t Index<'t>, directory: &'t Path) -> Self {
        let (wanted, known, tried) = (BTreeMap::new(), HashSet::new(), Mutex::default());
        Self { index, directory, wanted, known, tried }
    }

    /// Asks for everything that drives a device.
    pub(super) fn want_device(&mut self, modalias: &str) {
        for driver in self.index.drivers(modalias) {
            self.want_module(driver);
        }
    }

    /// Asks for a module by its name.
    pub(super) fn want_module(&mut self, name: &str) {
        if !self.known.insert(name.to_owned()) {
            return;
        }
        // Its own class counts, not that of what it needs.
        let own = index::name(name);
        let plan = self.index.plan(name);
        let file = plan.iter().find(|path| index::name(path) == own).or(plan.last());
        if let Some(file) = file {
            self.wanted.entry(class::of(file)).or_default().insert(file);
        }
    }

    /// Returns how many module files were tried.
    pub(super) fn loaded(&self) -> usize {
        self.tried().len()
    }

    fn tried(&self) -> MutexGuard<'_, HashSet<&'t str>> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads everything of the first class that something is wanted of, up to `last`, and names the class.
    pub(super) fn load_next(&mut self, last: Class, report: impl Fn(Gap) + Sync) -> Option<Class> {
        let (class, _) = self.wanted.first_key_value().filter(|(class, _)| **class <= last)?;
        let class = *class;
        let files: Vec<&str> = self.wanted.remove(&class)?.into_iter().collect();
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = processors.min(PARALLEL).min(files.len());
        let queue = Mutex::new(files);
        let work = || {
            while let Some(file) = queue.lock().unwrap_or_else(PoisonError::into_inner).pop() {
                self.load(file, &report);
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        Some(class)
    }

    /// Loads a module and what it needs. The kernel itself waits where two threads load the same one.
    fn load(&self, file: &'t str, report: impl Fn(Gap)) {
        for path in self.index.plan(&index::name(file)) {
            if self.tried().contains(path) {
                continue;
            }
            let start = Instant::now();
            let result = load_file(&self.directory.join(path));
            // Not before: who finds it here relies on it.
            if !self.tried().insert(path) {
                continue;
            }
            match result {
                Ok(()) => {
                    debug!(module = path, milliseconds = start.elapsed().as_millis(), "loaded");
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // A driver that found nothing to drive has answered.
                Err(error) if error.raw_os_error() == Some(ENODEV) => {
                    debug!(module = path, milliseconds = start.elapsed().as_millis(), "not needed");
                }
                Err(error) => {
                    report(super::gap(&format!("modules/{}", index::name(path)), path, &error));
                }
            }
        }
    }
}

fn load_file(path: &Path) -> io::Result<()> {
    let plain = path.extension().is_some_and(|extension| extension == "ko");
    module::load(File::open(path)?, if plain { Storage::Plain } else { Storage::Compressed })
}
