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

use super::{class, class::Class};

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

/// What is to be loaded, and what was. Shared by all threads that load.
#[derive(Debug)]
pub(super) struct Queue<'t> {
    index: &'t Index<'t>,
    directory: &'t Path,
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
    pub(super) fn new(index: &'t Index<'t>, directory: &'t Path) -> Self {
        let state = State {
            wanted: BTreeMap::new(),
            known: HashSet::new(),
            tried: HashSet::new(),
            busy: Vec::new(),
            ahead: Vec::new(),
            last: None,
            closed: false,
        };
        Self { index, directory, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Asks for everything that drives a device.
    pub(super) fn want_device(&self, modalias: &str) {
        for driver in self.index.drivers(modalias) {
            self.want_module(driver);
        }
    }

    /// Asks for a module by its name.
    pub(super) fn want_module(&self, name: &str) {
        let mut state = self.state();
        if !state.known.insert(name.to_owned()) {
            return;
        }
        // Its own class counts, not that of what it needs.
        let own = modules::name(name);
        let plan = self.index.plan(name);
        let file = plan.iter().find(|path| modules::name(path) == own).or(plan.last());
        if let Some(file) = file {
            state.wanted.entry(class::of(file)).or_default().insert(file);
            self.changed.notify_all();
        }
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
            if state.is_idle() {
                self.changed.notify_all();
            }
        }
    }

    /// Loads a module and what it needs. The kernel itself waits where two threads load the same one.
    fn load(&self, file: &'t str, report: impl Fn(Gap)) {
        for path in self.index.plan(&modules::name(file)) {
            if self.state().tried.contains(path) {
                continue;
            }
            if path == file {
                self.state().ahead.retain(|ahead| *ahead != file);
                self.changed.notify_all();
            }
            let start = Instant::now();
            let result = load_file(&self.directory.join(path), &self.parameters(path));
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
                    report(super::gap(&format!("modules/{}", modules::name(path)), path, &error));
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

/// Loads a module and what it needs, in the calling thread.
pub(super) fn load_alone(index: &Index<'_>, directory: &Path, module: &str) -> io::Result<()> {
    let plan = index.plan(module);
    if !plan.iter().any(|path| modules::name(path) == module) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "this system has no such module"));
    }
    for path in plan {
        match load_file(&directory.join(path), c"") {
            // What it needs may be there in another shape, or find nothing to drive: the module itself says what it lacks.
            Err(error)
                if modules::name(path) == module && error.kind() != io::ErrorKind::AlreadyExists =>
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
mod tests {
    use std::{fs, time::Duration};

    use modules::Texts;

    use super::*;

    /// Runs the queue over files that are no modules: the kernel refuses each, and each refusal is reported.
    fn check(play: impl Fn(&Queue<'_>, &(dyn Fn(Gap) + Sync)), expected: &[&str]) {
        let directory = tempfile::tempdir().unwrap();
        let mut texts = Texts::default();
        for path in ["watchdog/dog", "net/port", "block/disk", "hwmon/fan"] {
            let path = format!("kernel/drivers/{path}.ko");
            fs::create_dir_all(directory.path().join(&path).parent().unwrap()).unwrap();
            fs::write(directory.path().join(&path), "no module").unwrap();
            texts.alias.push_str(&["alias test:* ", &modules::name(&path), "\n"].concat());
            texts.dep.push_str(&[&path, ":\n"].concat());
        }
        let index = Index::new(&texts);
        let queue = Queue::new(&index, directory.path());
        let reports = Mutex::new(Vec::new());
        queue.want_device("test:1");
        play(&queue, &|gap| reports.lock().unwrap().push(gap.what));
        assert_eq!(reports.into_inner().unwrap(), expected);
    }

    /// Plays with three threads at work.
    fn check_at_work(play: impl Fn(&Queue<'_>), expected: &[&str]) {
        let play = |queue: &Queue<'_>, report: &(dyn Fn(Gap) + Sync)| {
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| queue.work(report));
                }
                play(queue);
                queue.close();
            });
        };
        check(play, expected);
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn nothing_is_loaded_before_it_is_let_in_and_everything_once() {
        let play = |queue: &Queue<'_>| {
            assert!(queue.wait_until_idle(LONG));
            assert_eq!(queue.count(), 0);
            queue.open(Class::Watchdog);
            assert!(queue.wait_until_idle(LONG));
            queue.want_device("test:2");
            assert!(queue.wait_until_idle(LONG));
            assert_eq!(queue.count(), 1);
        };
        check_at_work(play, &["modules/dog"]);
    }

    #[test]
    fn what_is_preferred_comes_with_the_watchdogs() {
        let play = |queue: &Queue<'_>| {
            queue.open(Class::Watchdog);
            assert!(queue.wait_until_idle(LONG));
            assert!(queue.prefer(Class::Rest));
            assert!(!queue.prefer(Class::Rest));
            assert!(queue.wait_until_idle(LONG));
        };
        check_at_work(play, &["modules/dog", "modules/fan"]);
    }

    #[test]
    fn what_looks_for_disks_has_the_way_free_until_it_looks_and_no_longer_than_a_second() {
        let mut texts = Texts::default();
        for path in ["watchdog/dog", "net/port", "block/disk", "ata/libata", "ata/ahci"] {
            let needs = if path == "ata/ahci" { " kernel/drivers/ata/libata.ko" } else { "" };
            texts.dep.push_str(&["kernel/drivers/", path, ".ko:", needs, "\n"].concat());
        }
        let index = Index::new(&texts);
        let queue = Queue::new(&index, Path::new("/"));
        for name in ["dog", "port", "disk", "ahci"] {
            queue.want_module(name);
        }
        let mut state = queue.state();
        let start = Instant::now();
        assert_eq!(state.take(start), None);
        // Disks are looked for while watchdogs are loaded, and hold up neither them nor who waits for them.
        state.last = Some(Class::Watchdog);
        assert_eq!(state.take(start), Some("kernel/drivers/watchdog/dog.ko"));
        assert_eq!(state.take(start), Some("kernel/drivers/ata/ahci.ko"));
        assert!(!state.is_idle());
        state.busy.retain(|busy| busy.class > Class::Watchdog);
        assert!(state.is_idle());
        // Ports wait for watchdogs, however long a disk takes.
        assert_eq!(state.take(start + LEAD_PATIENCE), None);
        state.last = Some(Class::Disk);
        assert!(!state.is_idle());
        assert_eq!(state.take(start), None);
        assert_eq!(state.take(start + LEAD_PATIENCE), Some("kernel/drivers/net/port.ko"));
        state.ahead.clear();
        assert_eq!(state.take(start), Some("kernel/drivers/block/disk.ko"));
        assert_eq!(state.take(start), None);
    }

    #[test]
    fn many_that_look_for_disks_leave_threads_to_the_others() {
        let texts = Texts::default();
        let index = Index::new(&texts);
        let queue = Queue::new(&index, Path::new("/"));
        queue.open(Class::Disk);
        let names: Vec<String> =
            (0..9).map(|number| format!("kernel/drivers/ata/pata{number}.ko")).collect();
        // The queue lives as long as the lists that its names come from.
        let names: &[String] = names.leak();
        let mut state = queue.state();
        state.wanted.insert(Class::Disk, names.iter().map(String::as_str).collect());
        state.wanted.insert(Class::Port, BTreeSet::from(["kernel/drivers/net/port.ko"]));
        let now = Instant::now();
        for name in &names[..MOST_SEARCHING] {
            assert_eq!(state.take(now), Some(name.as_str()));
        }
        assert_eq!(state.take(now), None);
        state.ahead.clear();
        assert_eq!(state.take(now), Some("kernel/drivers/net/port.ko"));
    }

    #[test]
    fn a_module_that_hangs_is_not_waited_for_and_holds_up_no_other_thread() {
        let released = Mutex::new(false);
        let (changed, patience) = (Condvar::new(), Duration::from_millis(50));
        // Nobody can hang a module here: what hangs is the word about its end.
        let hang = |gap: Gap| {
            if gap.what == "modules/dog" {
                drop(changed.wait_while(released.lock().unwrap(), |released| !*released));
            }
        };
        let play = |queue: &Queue<'_>, report: &(dyn Fn(Gap) + Sync)| {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    queue.work(|gap| {
                        report(gap.clone());
                        hang(gap);
                    });
                });
                queue.open(Class::Watchdog);
                assert!(!queue.wait_until_idle(patience));
                assert!(queue.stuck(Duration::ZERO) == 1 && queue.stuck(LONG) == 0);
                scope.spawn(|| queue.work(report));
                queue.open(Class::Rest);
                while queue.count() < 4 {
                    std::thread::yield_now();
                }
                assert_eq!(queue.busy().len(), 1);
                *released.lock().unwrap() = true;
                changed.notify_all();
                assert!(queue.wait_until_idle(LONG));
                queue.close();
            });
        };
        check(play, &["modules/dog", "modules/port", "modules/disk", "modules/fan"]);
    }

    #[test]
    fn the_core_of_the_watchdogs_keeps_watching_and_libraries_wait_for_nobody() {
        let mut texts = Texts::default();
        texts.alias.push_str("alias pci:v1* ahci\nalias acpi:1* intel_pmc_bxt\n");
        let index = Index::new(&texts);
        let queue = Queue::new(&index, Path::new("/"));
        let core = "kernel/drivers/watchdog/watchdog.ko.xz";
        assert_eq!(queue.parameters(core).as_c_str(), c"stop_on_reboot=0 async_probe");
        assert_eq!(queue.parameters("kernel/drivers/ata/libata.ko").as_c_str(), c"async_probe");
        queue.want_module("ahci");
        assert_eq!(queue.parameters("kernel/drivers/ata/ahci.ko").as_c_str(), c"");
        let needed = "kernel/drivers/mfd/intel_pmc_bxt.ko.xz";
        assert_eq!(queue.parameters(needed).as_c_str(), c"async_probe");
    }

    #[test]
    fn ports_come_before_disks_and_the_rest_when_it_is_let_in() {
        let play = |queue: &Queue<'_>, report: &(dyn Fn(Gap) + Sync)| {
            queue.open(Class::Disk);
            std::thread::scope(|scope| {
                scope.spawn(|| queue.work(report));
                assert!(queue.wait_until_idle(LONG));
                assert_eq!(queue.count(), 3);
                queue.open(Class::Rest);
                assert!(queue.wait_until_idle(LONG));
                queue.close();
            });
        };
        check(play, &["modules/dog", "modules/port", "modules/disk", "modules/fan"]);
    }
}
