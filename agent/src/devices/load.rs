//! Loading modules, each once, several at a time: they wait for hardware more than they compute.
//!
//! What computes comes first where somebody waits for the hardware behind it: with one processor, drivers of controllers
//! get it alone until they look for disks, and the others are loaded meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ffi::{CStr, CString},
    fs::File,
    io,
    path::Path,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use linux::{
    module::{self, Storage},
    thread::Turn,
};
use modules::Index;
use protocol::inventory::Gap;
use tracing::debug;

use super::{
    class,
    class::Class,
    stock::Stock,
    supply::{self, Supply},
};

/// What modules are told when they are loaded.
///
/// Drivers of watchdogs stop them on an orderly restart, and one that hangs in the kernel would hang for ever.
/// Linux, `drivers/watchdog/watchdog_core.c`: 0 is "keep watching".
const PARAMETERS: [(&str, &str); 1] = [("watchdog", "stop_on_reboot=0")];

/// Has the kernel not wait for devices that others are looking for, when it has started a module.
/// Linux, `kernel/module/main.c`, `do_init_module`.
const WAIT_FOR_NOBODY: &str = "async_probe";

/// The most drivers that look for disks before other drivers are loaded: each holds a thread until it has found them.
const MOST_SEARCHING: usize = super::THREADS / 2;

/// So long other drivers let those that look for disks go ahead. Their libraries take a tenth of this.
const LEAD_PATIENCE: Duration = Duration::from_secs(1);

/// Linux, `include/uapi/asm-generic/errno-base.h`.
const ENODEV: i32 = 19;

/// The same.
const ENOEXEC: i32 = 8;

/// What is to be loaded, and what was. Shared by all threads that load.
#[derive(Debug)]
pub(super) struct Queue<'t> {
    index: &'t Index<'t>,
    supply: &'t Supply<'t>,
    state: Mutex<State<'t>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<'t> {
    /// Files that devices ask for, by class.
    wanted: BTreeMap<Class, BTreeSet<&'t str>>,
    /// Modules that were asked for once.
    known: HashSet<String>,
    /// Files that were tried.
    tried: HashSet<&'t str>,
    /// Files that are being loaded.
    busy: Vec<Busy<'t>>,
    /// Those of them that will look for disks but do not yet: what they need is being loaded.
    ahead: Vec<&'t str>,
    /// The last class that may be loaded by [`Queue::work`].
    last: Option<Class>,
    closed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Busy<'t> {
    file: &'t str,
    /// The class that it was loaded with.
    class: Class,
    since: Instant,
}

impl<'t> Queue<'t> {
    /// Begins with nothing loaded, and with nothing that may be.
    pub(super) fn new(index: &'t Index<'t>, supply: &'t Supply<'t>) -> Self {
        let state = State {
            wanted: BTreeMap::new(),
            known: HashSet::new(),
            tried: HashSet::new(),
            busy: Vec::new(),
            ahead: Vec::new(),
            last: None,
            closed: false,
        };
        Self { index, supply, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Asks for everything that drives a device.
    pub(super) fn want_device(&self, modalias: &str) {
        let drivers = self.index.drivers(modalias);
        self.supply.findings().note_drivers(modalias, &drivers);
        for driver in drivers {
            self.want_module(driver, modalias);
        }
    }

    /// Asks for a module by its name, for a device where one asks for it. What is not here is wanted of the store.
    pub(super) fn want_module(&self, name: &str, device: &str) {
        if !self.state().known.insert(name.to_owned()) {
            return;
        }
        // Its own class counts, not that of what it needs.
        let own = modules::name(name);
        let plan = self.index.plan(name);
        let file = plan.iter().find(|path| modules::name(path) == own).or(plan.last());
        if let Some(file) = file
            && self.supply.is_ready(self.index, file, &plan, device)
        {
            self.want_file(file);
        }
    }

    /// Asks for a module for which something came, where everything is here that it cannot do without; says whether it is.
    pub(super) fn want_again(&self, file: &'t str) -> bool {
        let essentials = self.index.essentials(&modules::name(file));
        let is_here = essentials.iter().all(|path| self.supply.stock().may_load(path));
        if is_here {
            self.want_file(file);
        }
        is_here
    }

    /// Asks for drivers that are here while the server that has their firmware does not answer: some do without. They are
    /// offered their devices again when it comes.
    pub(super) fn want_without_firmware(&self) {
        for file in self.supply.held_back() {
            if self.want_again(file) {
                self.supply.note_loaded(file);
            }
        }
    }

    fn want_file(&self, file: &'t str) {
        self.state().wanted.entry(class::of(file)).or_default().insert(file);
        self.changed.notify_all();
    }

    /// Returns what is here and what is wanted of the store.
    pub(super) fn supply(&self) -> &'t Supply<'t> {
        self.supply
    }

    /// Returns how many module files were tried.
    pub(super) fn count(&self) -> usize {
        self.state().tried.len()
    }

    /// Returns what is being loaded at this moment.
    pub(super) fn busy(&self) -> Vec<&'t str> {
        self.state().busy.iter().map(|busy| busy.file).collect()
    }

    /// Returns how many threads load something for longer than that.
    pub(super) fn stuck(&self, patience: Duration) -> usize {
        self.state().busy.iter().filter(|busy| busy.since.elapsed() > patience).count()
    }

    /// Holds when nothing up to the opened class is wanted or being loaded.
    pub(super) fn is_idle(&self) -> bool {
        self.state().is_idle()
    }

    /// Holds when no port or disk is wanted or being loaded.
    pub(super) fn is_idle_before_rest(&self) -> bool {
        let state = self.state();
        !state.wanted.keys().any(|class| *class <= Class::Disk)
            && !state.busy.iter().any(|busy| busy.class <= Class::Disk)
    }

    /// Says which drivers up to a class have not come to an end after so long, for as long as they do not. Says whether that
    /// is new of any.
    pub(super) fn note_hanging(&self, last: Class, patience: Duration) -> bool {
        let hangs = |busy: &&Busy<'t>| busy.class <= last && busy.since.elapsed() > patience;
        let hanging: Vec<_> =
            self.state().busy.iter().filter(hangs).map(|busy| busy.file).collect();
        let findings = self.supply.findings();
        let mut is_new = false;
        for path in hanging {
            let reason = "its driver does not come to an end";
            is_new |= findings.add_hanging(path, &supply::gap(&modules::name(path), path, reason));
            // Who loads it says that it is over once it is busy no more: before it was said to hang, or after that.
            if !self.busy().contains(&path) {
                findings.end_hanging(path, None);
            }
        }
        is_new
    }

    /// Holds when nothing up to the opened class is to be begun any more, and disks are being looked for: until they are
    /// found the kernel holds up whoever loads a driver, also of something else that is there for long.
    pub(super) fn is_searching(&self) -> bool {
        let state = self.state();
        let searches = state.busy.iter().any(|busy| class::searches(busy.file));
        searches && state.ahead.is_empty() && !state.is_waiting()
    }

    /// Waits until nothing up to the opened class is wanted or being loaded, and says whether that came about in time.
    pub(super) fn wait_until_idle(&self, limit: Duration) -> bool {
        let busy = |state: &mut State<'t>| !state.is_idle();
        let waited = self.changed.wait_timeout_while(self.state(), limit, busy);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_idle()
    }

    /// Has everything that is wanted of a class loaded with the first class, and says whether there was any.
    pub(super) fn prefer(&self, class: Class) -> bool {
        let mut state = self.state();
        let Some(files) = state.wanted.remove(&class) else { return false };
        state.wanted.entry(Class::Watchdog).or_default().extend(files);
        self.changed.notify_all();
        true
    }

    /// Lets [`Queue::work`] load everything up to a class.
    pub(super) fn open(&self, last: Class) {
        self.state().last = Some(last);
        self.changed.notify_all();
    }

    /// Lets every [`Queue::work`] return.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Loads what is wanted, until the queue is closed. Any number of threads may do so.
    pub(super) fn work(&self, report: impl Fn(Gap)) {
        let mut state = self.state();
        while !state.closed {
            let Some(file) = state.take(Instant::now()) else {
                state = if state.ahead.is_empty() {
                    self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
                } else {
                    let waited = self.changed.wait_timeout(state, LEAD_PATIENCE);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                };
                continue;
            };
            drop(state);
            linux::thread::go(turn(file));
            self.load(file, &report);
            state = self.state();
            state.busy.retain(|busy| busy.file != file);
            state.ahead.retain(|ahead| *ahead != file);
            self.supply.findings().end_hanging(file, None);
            if state.is_idle() {
                self.changed.notify_all();
            }
        }
    }

    /// Loads a module and what it needs. The kernel itself waits where two threads load the same one.
    fn load(&self, file: &'t str, report: impl Fn(Gap)) {
        let stock = self.supply.stock();
        for path in self.index.plan(&modules::name(file)) {
            // What is not here may come, and then it is tried.
            if self.state().tried.contains(path) || !stock.may_load(path) {
                continue;
            }
            if path == file {
                self.state().ahead.retain(|ahead| *ahead != file);
                self.changed.notify_all();
            }
            let start = Instant::now();
            let result = load_file(&stock.module(path), &self.parameters(path));
            // Not before: who finds it here relies on it.
            if !self.state().tried.insert(path) {
                continue;
            }
            let milliseconds = start.elapsed().as_millis();
            match result {
                Ok(()) => debug!(module = path, milliseconds, "loaded"),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // A driver that found nothing to drive has answered.
                Err(error) if error.raw_os_error() == Some(ENODEV) => {
                    debug!(module = path, milliseconds, "not needed");
                }
                Err(error) => {
                    report(supply::gap(&modules::name(path), path, &words(&error)));
                }
            }
        }
    }

    /// Returns what a module is told. Libraries wait for nobody, nor does what no device here asks for, so that what needs
    /// them starts at once; drivers do, so that the devices that were being looked for are there when a driver has been
    /// loaded.
    fn parameters(&self, path: &str) -> CString {
        let name = modules::name(path);
        let told = PARAMETERS.iter().find(|(module, _)| *module == name).map(|(_, text)| *text);
        let serves = self.index.is_library(&name) || !self.state().known.contains(&name);
        let words: Vec<&str> = told.into_iter().chain(serves.then_some(WAIT_FOR_NOBODY)).collect();
        CString::new(words.join(" ")).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State<'t>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'t> State<'t> {
    fn is_waiting(&self) -> bool {
        self.wanted.keys().next().is_some_and(|class| Some(*class) <= self.last)
    }

    fn is_idle(&self) -> bool {
        !self.is_waiting() && self.busy.iter().all(|busy| Some(busy.class) > self.last)
    }

    /// Takes the next file that may be loaded: watchdogs, then what looks for disks, then the others.
    fn take(&mut self, now: Instant) -> Option<&'t str> {
        let last = self.last?;
        let first = self.wanted.keys().next().copied()?;
        if first > Class::Watchdog
            && let Some(file) = self.searching()
        {
            self.ahead.push(file);
            return Some(self.begin(file, Class::Disk, now));
        }
        let leads = |busy: &Busy<'_>| {
            self.ahead.contains(&busy.file) && now.duration_since(busy.since) < LEAD_PATIENCE
        };
        if first > last || (first > Class::Watchdog && self.busy.iter().any(leads)) {
            return None;
        }
        let file = *self.wanted.get(&first)?.first()?;
        Some(self.begin(file, first, now))
    }

    /// Returns a wanted driver that will look for disks, where not too many do.
    fn searching(&self) -> Option<&'t str> {
        let already = self.busy.iter().filter(|busy| class::searches(busy.file)).count();
        let mut disks = self.wanted.get(&Class::Disk)?.iter().copied();
        disks.find(|file| class::searches(file)).filter(|_| already < MOST_SEARCHING)
    }

    fn begin(&mut self, file: &'t str, class: Class, since: Instant) -> &'t str {
        if let Some(files) = self.wanted.get_mut(&class) {
            files.remove(file);
            if files.is_empty() {
                self.wanted.remove(&class);
            }
        }
        self.busy.push(Busy { file, class, since });
        file
    }
}

/// Drivers wait for hardware: the sooner they begin to, the more of the rest is done meanwhile.
fn turn(file: &str) -> Turn {
    if class::searches(file) { Turn::BeforeAll } else { Turn::First }
}

/// Says why a module was not taken. The kernel refuses one that was built for another with this: its version magic.
fn words(error: &io::Error) -> String {
    if error.raw_os_error() == Some(ENOEXEC) {
        return format!("is for another kernel: {error}");
    }
    error.to_string()
}

/// Loads a module and what it needs, in the calling thread.
pub(super) fn load_alone(index: &Index<'_>, stock: &Stock, module: &str) -> io::Result<()> {
    let plan = index.plan(module);
    if !plan.iter().any(|path| modules::name(path) == module) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "this system has no such module"));
    }
    for path in plan {
        // What it wishes may be nowhere; it itself shows when it is.
        if !stock.may_load(path) && modules::name(path) != module {
            continue;
        }
        match load_file(&stock.module(path), c"") {
            // What it needs may be there in another shape, or find nothing to drive: the module itself says what it lacks.
            Err(error)
                if modules::name(path) == module
                    && error.kind() != io::ErrorKind::AlreadyExists =>
            {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(())
}

fn load_file(path: &Path, parameters: &CStr) -> io::Result<()> {
    let plain = path.extension().is_some_and(|extension| extension == "ko");
    let storage = if plain { Storage::Plain } else { Storage::Compressed };
    module::load(File::open(path)?, storage, parameters)
}

#[cfg(test)]
mod tests;
