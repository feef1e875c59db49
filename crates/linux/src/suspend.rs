//! Suspending a machine to memory for some seconds, and waking it by its clock. What firmware has frozen on ATA disks is
//! not frozen after it: their power was off.
//!
//! A machine that nobody sits at must not be put to sleep unless it wakes by itself: the clock's alarm is shown to ring
//! first. Whoever calls this has stopped the watchdog (it would go on counting) and has nothing under way on any disk.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::clock::since_boot;

/// When the alarm that is only a trial is to ring.
const TRIAL: Duration = Duration::from_secs(2);

/// How late it may ring: the clock counts whole seconds, and a busy machine takes its time.
const TRIAL_PATIENCE: Duration = Duration::from_secs(8);

/// How often it is looked whether it rang.
const PAUSE: Duration = Duration::from_millis(50);

/// Says why a machine was not suspended, or did not sleep.
#[derive(Debug, thiserror::Error)]
pub enum SuspendError {
    /// It has no clock that wakes it.
    #[error("no clock of this machine can wake it")]
    NoClock,
    /// It knows no sleep in which disks lose their power: none at all, or one only in which everything stays on.
    #[error("this machine cannot be suspended to memory")]
    NoSleep,
    /// The trial alarm did not ring.
    #[error("the alarm of the clock did not ring")]
    NoAlarm,
    /// The kernel came back without having slept.
    #[error("the machine did not sleep")]
    Awake,
    /// A file of the kernel could not be read or written.
    #[error("using {path}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A clock that wakes the machine, and whose alarm was seen to ring in this boot. Made only by [`prove`](Alarm::prove).
#[derive(Debug)]
pub struct Alarm {
    root: PathBuf,
    wakealarm: PathBuf,
}

impl Alarm {
    /// Sets the alarm of the machine's first clock to two seconds from now, stays awake, and returns when it rang.
    /// Nothing is suspended, and an alarm that was set is gone.
    ///
    /// The kernel takes an alarm for over only in its interrupt's work (`rtc_timer_do_work`, Linux,
    /// `drivers/rtc/interface.c`); until then the file shows it.
    pub fn prove() -> Result<Self, SuspendError> {
        Self::prove_below(Path::new("/"))
    }

    fn prove_below(root: &Path) -> Result<Self, SuspendError> {
        let clock = root.join("sys/class/rtc/rtc0");
        let wakealarm = clock.join("wakealarm");
        if !wakealarm.exists() {
            return Err(SuspendError::NoClock);
        }
        sleeps(root)?;
        let wakeup = clock.join("device/power/wakeup");
        match fs::read_to_string(&wakeup) {
            Ok(text) if text.trim() == "enabled" => {}
            Ok(_) => write(&wakeup, "enabled")?,
            Err(_) => return Err(SuspendError::NoClock),
        }
        let alarm = Self { root: root.to_owned(), wakealarm };
        alarm.set(TRIAL)?;
        let begun = Instant::now();
        while !read(&alarm.wakealarm)?.is_empty() {
            if begun.elapsed() > TRIAL + TRIAL_PATIENCE {
                write(&alarm.wakealarm, "0").ok();
                return Err(SuspendError::NoAlarm);
            }
            thread::park_timeout(PAUSE);
        }
        // One that was never set does not ring, and shows nothing either.
        if begun.elapsed() < TRIAL / 2 {
            return Err(SuspendError::NoAlarm);
        }
        Ok(alarm)
    }

    /// Suspends the machine to memory (`mem`, with the firmware's sleep state S3, `deep`) and sets the alarm to wake it
    /// after `seconds`, ten at least. Returns how long it slept. Uses the proof up: it holds for a machine as it was.
    pub fn sleep(self, seconds: u64) -> Result<Duration, SuspendError> {
        let state = sleeps(&self.root)?;
        let mem_sleep = self.root.join("sys/power/mem_sleep");
        if mem_sleep.exists() {
            write(&mem_sleep, "deep")?;
        }
        self.set(Duration::from_secs(seconds.max(10)))?;
        let (awake, all) = (Instant::now(), since_boot());
        let slept = write(&state, "mem");
        // Where it did not sleep, nothing is to wake it later on.
        write(&self.wakealarm, "0").ok();
        slept?;
        // One of these clocks stands still meanwhile, the other does not.
        let asleep = since_boot().saturating_sub(all).saturating_sub(awake.elapsed());
        if asleep < Duration::from_secs(1) { Err(SuspendError::Awake) } else { Ok(asleep) }
    }

    /// Sets the alarm to so long from now; an alarm that stands has to be taken back first (`EBUSY`).
    fn set(&self, after: Duration) -> Result<(), SuspendError> {
        write(&self.wakealarm, "0")?;
        write(&self.wakealarm, &format!("+{}", after.as_secs()))?;
        if read(&self.wakealarm)?.is_empty() {
            return Err(SuspendError::NoAlarm);
        }
        Ok(())
    }
}

/// Finds out that the machine can be suspended to memory, and returns the file that does it.
fn sleeps(root: &Path) -> Result<PathBuf, SuspendError> {
    let power = root.join("sys/power");
    let state = power.join("state");
    if !words(&state)?.iter().any(|word| word == "mem") {
        return Err(SuspendError::NoSleep);
    }
    // Kernels that do not have this file know no other sleep. `s2idle` leaves disks their power.
    let mem_sleep = power.join("mem_sleep");
    if mem_sleep.exists() && !words(&mem_sleep)?.iter().any(|word| word == "deep") {
        return Err(SuspendError::NoSleep);
    }
    Ok(state)
}

/// Reads the words of a file, without the brackets that show which one is chosen.
fn words(path: &Path) -> Result<Vec<String>, SuspendError> {
    let text = read(path)?;
    Ok(text.split_whitespace().map(|word| word.trim_matches(['[', ']']).to_owned()).collect())
}

fn read(path: &Path) -> Result<String, SuspendError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(source) => Err(SuspendError::File { path: path.to_owned(), source }),
    }
}

fn write(path: &Path, text: &str) -> Result<(), SuspendError> {
    fs::write(path, text).map_err(|source| SuspendError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(state: &str, mem_sleep: Option<&str>) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("sys/class/rtc/rtc0/wakealarm", "");
        put("sys/class/rtc/rtc0/device/power/wakeup", "disabled\n");
        put("sys/power/state", state);
        if let Some(text) = mem_sleep {
            put("sys/power/mem_sleep", text);
        }
        directory
    }

    /// Proves the alarm of a machine whose clock rings so long after it was set, if at all.
    fn proven(directory: &Path, rings_after: Option<Duration>) -> Result<Alarm, SuspendError> {
        let file = directory.join("sys/class/rtc/rtc0/wakealarm");
        thread::scope(|scope| {
            let ringing = rings_after.map(|after| {
                let file = file.clone();
                scope.spawn(move || {
                    let begun = Instant::now();
                    while fs::read_to_string(&file).unwrap() != "+2" {
                        assert!(begun.elapsed() < Duration::from_secs(5), "it was never set");
                        thread::park_timeout(Duration::from_millis(1));
                    }
                    let set = Instant::now();
                    while set.elapsed() < after {
                        thread::park_timeout(Duration::from_millis(1));
                    }
                    fs::write(&file, "").unwrap();
                })
            });
            let alarm = Alarm::prove_below(directory);
            if let Some(ringing) = ringing {
                ringing.join().unwrap();
            }
            alarm
        })
    }

    #[test]
    fn an_alarm_that_rings_is_proof_and_the_clock_may_wake() {
        let machine = machine("freeze mem disk\n", Some("s2idle [deep]\n"));
        let alarm = proven(machine.path(), Some(Duration::from_millis(2100))).unwrap();
        let wakeup = machine.path().join("sys/class/rtc/rtc0/device/power/wakeup");
        assert_eq!(fs::read_to_string(wakeup).unwrap(), "enabled");
        // A file puts no machine to sleep, and that is noticed.
        assert!(matches!(alarm.sleep(0), Err(SuspendError::Awake)));
        let text = |path: &str| fs::read_to_string(machine.path().join(path)).unwrap();
        assert_eq!(text("sys/power/state"), "mem");
        assert_eq!(text("sys/power/mem_sleep"), "deep");
        assert_eq!(text("sys/class/rtc/rtc0/wakealarm"), "0", "no alarm is left behind");
    }

    #[test]
    fn an_alarm_that_does_not_ring_or_was_never_set_is_none() {
        let machine = machine("mem\n", None);
        let late = proven(machine.path(), None);
        assert!(matches!(late, Err(SuspendError::NoAlarm)), "{late:?}");
        let early = proven(machine.path(), Some(Duration::from_millis(20)));
        assert!(matches!(early, Err(SuspendError::NoAlarm)), "{early:?}");
        let state = fs::read_to_string(machine.path().join("sys/power/state")).unwrap();
        assert_eq!(state, "mem\n", "nothing was suspended");
    }

    #[test]
    fn a_machine_that_cannot_sleep_so_that_disks_lose_power_is_left_alone() {
        for (state, mem_sleep) in
            [("freeze\n", None), ("", None), ("freeze mem\n", Some("[s2idle]"))]
        {
            let machine = machine(state, mem_sleep);
            let refused = Alarm::prove_below(machine.path());
            assert!(matches!(refused, Err(SuspendError::NoSleep)), "{state}");
            let alarm = machine.path().join("sys/class/rtc/rtc0/wakealarm");
            assert_eq!(fs::read_to_string(alarm).unwrap(), "", "no alarm was set");
        }
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(Alarm::prove_below(empty.path()), Err(SuspendError::NoClock)));
    }
}
