//! The machine's watchdogs: armed before the network, each fed by a thread of its own.
//!
//! They stay armed through an orderly restart but are not fed any more, so that a restart that hangs ends in a reset:
//! [`feed_last`]. Their drivers would stop them there; `devices` asks the kernel that they do not.
//! Before a hand-over, a kexec or a suspend they are stopped: [`disarm`].
//!
//! A watchdog whose driver hangs holds up nobody: nothing here is locked during a call into the kernel.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use linux::watchdog::Watchdog;
use tracing::{info, warn};

/// How long nobody may feed before the hardware resets the machine.
const TIMEOUT: Duration = Duration::from_mins(1);

/// How often a watchdog is fed, unless it is hungrier.
const INTERVAL: Duration = Duration::from_secs(10);

/// The shortest time between two feedings.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(300);

/// How long arming and stopping are waited for. Drivers answer in microseconds, or hang.
const PATIENCE: Duration = Duration::from_secs(1);

/// The machine's watchdogs.
static WATCHDOGS: Watchdogs = Watchdogs::new();

/// Arms every watchdog that is not armed yet, and returns how many are.
pub fn arm_all() -> usize {
    WATCHDOGS.arm(devices(Path::new("/dev")), Watchdog::arm)
}

/// Stops all watchdogs, for what follows this system: a hand-over, a kexec, a suspend.
pub fn disarm() {
    WATCHDOGS.order(Order::Stop);
    let left = WATCHDOGS.wait(|state| state.armed > 0 || !state.arming.is_empty());
    if left.armed > 0 || !left.arming.is_empty() {
        warn!(armed = left.armed, arming = ?left.arming, "watchdogs do not stop");
    }
}

/// Arms and feeds all watchdogs again after [`disarm`], where it was not for good: after a suspend. Returns how many are.
pub fn rearm() -> usize {
    let mut state = WATCHDOGS.state();
    state.order = Order::Feed;
    // Their threads have ended with the order to stop.
    state.known.clear();
    drop(state);
    arm_all()
}

/// Has all watchdogs fed for the last time: a restart that takes longer than their patience is cut short by them.
/// Waits for nobody.
pub fn feed_last() {
    WATCHDOGS.order(Order::FeedLast);
}

struct Watchdogs {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Those that have a thread.
    known: BTreeSet<PathBuf>,
    /// Those of them that are being armed.
    arming: BTreeSet<PathBuf>,
    /// How many are armed.
    armed: usize,
    order: Order,
}

/// What the threads do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Feed,
    FeedLast,
    Stop,
}

impl Watchdogs {
    const fn new() -> Self {
        let state =
            State { known: BTreeSet::new(), arming: BTreeSet::new(), armed: 0, order: Order::Feed };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, order: Order) {
        self.state().order = order;
        self.changed.notify_all();
    }

    /// Waits for a limited time while something holds.
    fn wait(&self, holds: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_timeout_while(self.state(), PATIENCE, |state| holds(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Arms those that have no thread yet, and returns how many are armed.
    fn arm(&'static self, paths: Vec<PathBuf>, arm: fn(&Path) -> io::Result<Watchdog>) -> usize {
        let mut state = self.state();
        let mut begun = BTreeSet::new();
        for path in paths {
            if state.order != Order::Feed || !state.known.insert(path.clone()) {
                continue;
            }
            let tended = path.clone();
            let tend = move || self.tend(&tended, arm);
            match thread::Builder::new().name("watchdog".to_owned()).spawn(tend) {
                Ok(_) => {
                    state.arming.insert(path.clone());
                    begun.insert(path);
                }
                Err(error) => {
                    state.known.remove(&path);
                    warn!(watchdog = %path.display(), %error, "watchdog has no thread");
                }
            }
        }
        drop(state);
        // One that hangs since an earlier time is not waited for again.
        self.wait(|state| !begun.is_disjoint(&state.arming)).armed
    }

    /// Arms a watchdog and feeds it.
    fn tend(&self, path: &Path, arm: fn(&Path) -> io::Result<Watchdog>) {
        let armed = arm(path).map(|dog| {
            let timeout = dog.set_timeout(TIMEOUT).unwrap_or(TIMEOUT);
            info!(watchdog = %path.display(), timeout_seconds = timeout.as_secs(), "watchdog armed");
            (dog, (timeout / 3).clamp(SHORTEST_INTERVAL, INTERVAL))
        });
        let mut state = self.state();
        state.arming.remove(path);
        state.armed += usize::from(armed.is_ok());
        let fed = armed.inspect_err(|error| {
            // It is tried again with the next one that appears.
            state.known.remove(path);
            warn!(watchdog = %path.display(), %error, "watchdog cannot be armed");
        });
        drop(state);
        self.changed.notify_all();
        if let Ok((dog, interval)) = fed {
            self.feed(path, dog, interval);
        }
    }

    /// Feeds until the watchdog is to be stopped, or not to be fed any more.
    fn feed(&self, path: &Path, dog: Watchdog, interval: Duration) {
        loop {
            let order = self.state().order;
            if order == Order::Stop {
                if let Err(error) = dog.disarm() {
                    warn!(watchdog = %path.display(), %error, "watchdog cannot be stopped");
                }
                self.state().armed -= 1;
                self.changed.notify_all();
                return;
            }
            // A watchdog that cannot be fed resets the machine: that is what it is for.
            let _unfed = dog.feed();
            if order == Order::FeedLast {
                // Closed without a word it would go on all the same, with an alarm on the console.
                std::mem::forget(dog);
                return;
            }
            let fed = |state: &mut State| state.order == order;
            drop(self.changed.wait_timeout_while(self.state(), interval, fed));
        }
    }
}

/// Lists `watchdog0`, `watchdog1` and so on; `watchdog` is another name of the first.
fn devices(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let is_watchdog = |name: &str| {
        name.strip_prefix("watchdog").is_some_and(|number| number.parse::<u16>().is_ok())
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is_watchdog(name))
        .map(|name| directory.join(name))
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Arms what is no watchdog: it can be opened and stopped, but not fed.
    fn arm_file(path: &Path) -> io::Result<Watchdog> {
        fs::write(path, "")?;
        Watchdog::arm(path)
    }

    #[test]
    fn a_stopped_watchdog_was_told_so_and_none_is_armed_afterwards() {
        static PACK: Watchdogs = Watchdogs::new();
        let directory = tempfile::tempdir().unwrap();
        let paths = ["watchdog0", "watchdog1"].map(|name| directory.path().join(name)).to_vec();
        assert_eq!(PACK.arm(paths.clone(), arm_file), 2);
        assert_eq!(PACK.arm(paths.clone(), arm_file), 2);
        PACK.order(Order::Stop);
        assert_eq!(PACK.wait(|state| state.armed > 0).armed, 0);
        for path in &paths {
            // The magic close.
            assert_eq!(fs::read(path).unwrap(), b"V");
        }
        assert_eq!(PACK.arm(vec![directory.path().join("watchdog2")], arm_file), 0);
    }

    #[test]
    fn after_the_last_time_nobody_feeds_and_nothing_is_stopped() {
        static PACK: Watchdogs = Watchdogs::new();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("watchdog0");
        let dog = arm_file(&path).unwrap();
        PACK.order(Order::FeedLast);
        PACK.feed(&path, dog, INTERVAL);
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_watchdog_that_hangs_costs_a_second_once_and_the_others_nothing() {
        static PACK: Watchdogs = Watchdogs::new();
        let directory = tempfile::tempdir().unwrap();
        let (hangs, works) =
            (directory.path().join("watchdog0"), directory.path().join("watchdog1"));
        let start = Instant::now();
        let hang = |_: &Path| loop {
            thread::park();
        };
        assert_eq!(PACK.arm(vec![hangs.clone()], hang), 0);
        assert!(start.elapsed() >= PATIENCE);
        let start = Instant::now();
        assert_eq!(PACK.arm(vec![hangs, works], arm_file), 1);
        assert!(start.elapsed() < PATIENCE);
    }

    #[test]
    fn one_that_cannot_be_armed_is_tried_again() {
        static PACK: Watchdogs = Watchdogs::new();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("watchdog0");
        let fail = |_: &Path| Err(io::Error::other("on purpose"));
        assert_eq!(PACK.arm(vec![path.clone()], fail), 0);
        assert_eq!(PACK.arm(vec![path], arm_file), 1);
    }

    #[test]
    fn only_numbered_watchdogs_count() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["watchdog", "watchdog1", "watchdog0", "watchdogs", "null"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let names = devices(directory.path());
        assert_eq!(names, [directory.path().join("watchdog0"), directory.path().join("watchdog1")]);
    }
}
