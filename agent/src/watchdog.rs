//! The machine's watchdogs: armed before the network, fed by a thread of their own.
//!
//! They stay armed through an orderly restart but are not fed any more, so that a restart that hangs ends in a reset,
//! unless their driver stops them there by itself: [`feed_last`].
//! Before a hand-over, a kexec or a suspend they are stopped: [`disarm`].

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use linux::watchdog::Watchdog;
use tracing::{info, warn};

/// How long nobody may feed before the hardware resets the machine.
const TIMEOUT: Duration = Duration::from_mins(1);

/// How often the watchdogs are fed, unless one of them is hungrier.
const INTERVAL: Duration = Duration::from_secs(10);

/// The armed watchdogs.
static ARMED: Mutex<Armed> = Mutex::new(Armed { dogs: Vec::new(), interval: INTERVAL });
/// Tells the feeding thread that the watchdogs changed.
static CHANGED: Condvar = Condvar::new();
/// Whether the next time that they are fed is the last.
static LAST: AtomicBool = AtomicBool::new(false);

struct Armed {
    dogs: Vec<(PathBuf, Watchdog)>,
    interval: Duration,
}

/// Arms every watchdog that is not armed yet, and returns how many are.
pub fn arm_all() -> usize {
    let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
    for path in devices(Path::new("/dev")) {
        if armed.dogs.iter().any(|(known, _)| *known == path) {
            continue;
        }
        match Watchdog::arm(&path) {
            Ok(dog) => {
                let timeout = dog.set_timeout(TIMEOUT).unwrap_or(TIMEOUT);
                info!(watchdog = %path.display(), timeout_seconds = timeout.as_secs(), "watchdog armed");
                armed.interval = armed.interval.min(timeout / 3).max(Duration::from_millis(300));
                if armed.dogs.is_empty() {
                    start_feeding();
                }
                armed.dogs.push((path, dog));
            }
            Err(error) => warn!(watchdog = %path.display(), %error, "watchdog cannot be armed"),
        }
    }
    CHANGED.notify_all();
    armed.dogs.len()
}

/// Stops all watchdogs, for what follows this system: a hand-over, a kexec, a suspend.
pub fn disarm() {
    let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
    for (path, dog) in armed.dogs.drain(..) {
        if let Err(error) = dog.disarm() {
            warn!(watchdog = %path.display(), %error, "watchdog cannot be stopped");
        }
    }
    CHANGED.notify_all();
}

/// Has all watchdogs fed for the last time: a restart that takes longer than their patience is cut short by them.
/// Waits for nobody.
pub fn feed_last() {
    LAST.store(true, Ordering::Relaxed);
    CHANGED.notify_all();
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

fn start_feeding() {
    let started = thread::Builder::new().name("watchdog".to_owned()).spawn(feed);
    if let Err(error) = started {
        warn!(%error, "watchdog will not be fed");
    }
}

/// Feeds until there is nothing left to feed, or nothing is to be fed any more.
fn feed() {
    let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
    // The thread starts while its first watchdog is still being put in place.
    while !armed.dogs.is_empty() {
        for (_, dog) in &armed.dogs {
            // A watchdog that cannot be fed resets the machine: that is what it is for.
            let _unfed = dog.feed();
        }
        if LAST.load(Ordering::Relaxed) {
            return;
        }
        let interval = armed.interval;
        armed = CHANGED
            .wait_timeout(armed, interval)
            .map_or_else(|poisoned| poisoned.into_inner().0, |(armed, _)| armed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_last_time_nobody_feeds() {
        // Any file can be taken for a watchdog, until it is fed.
        let file = tempfile::NamedTempFile::new().unwrap();
        let dog = Watchdog::arm(file.path()).unwrap();
        ARMED.lock().unwrap().dogs.push((file.path().to_owned(), dog));
        let feeding = thread::spawn(feed);
        feed_last();
        feeding.join().unwrap();
        assert_eq!(ARMED.lock().unwrap().dogs.len(), 1);
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
