//! All disks of an order at once: each device on a thread of its own, none waits for another, none is waited for for
//! ever.

mod watch;

use std::{
    fmt,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use protocol::{
    Bytes,
    order::DiskIdentity,
    wipe::{
        DiskProgress, DiskReport, Validation, Verdict, Wipe, WipePhase, WipeProgress, WipeStep,
    },
};

pub use self::watch::DiskWatch;
use crate::{Gate, Opening, Stopped, unit::Terms, verdict::exception};

/// How often it is told how far a wipe is.
const TELL_PERIOD: Duration = Duration::from_secs(2);

/// How long disks have to say what they can, before the others go on.
const EXAMINE_PATIENCE: Duration = Duration::from_mins(2);

/// Who keeps the order: the session with the server, or a person at a terminal.
pub trait Keeper: fmt::Debug + Send + Sync {
    /// Says why the wipe does not go on, if so.
    fn stopped(&self) -> Option<Stopped>;

    /// Has a step written down before it happens, and returns once it is.
    fn journal(&self, step: WipeStep) -> Result<(), Stopped>;

    /// Has a step written down when that is possible; returns at once.
    fn note(&self, step: WipeStep);

    /// Takes how far it is. Returns at once.
    fn progress(&self, progress: WipeProgress);

    /// Lets the machine sleep and wake again, to unfreeze its disks. Only called where that was ordered, and before
    /// anything was destroyed. Says why not otherwise.
    fn sleep(&self) -> Result<(), String>;

    /// Returns the clock: milliseconds since 1970.
    fn unix_milliseconds(&self) -> i64;
}

/// The disks of one device, and how they are wiped.
pub struct Unit {
    /// Each of its disks.
    pub disks: Vec<UnitDisk>,
    /// Wipes them: holds them, and calls [`unit::wipe`](crate::unit::wipe). On a thread of its own.
    pub work: Box<Work>,
}

/// What wipes the disks of a unit.
pub type Work = dyn FnOnce(Terms<'_>) -> Vec<DiskReport> + Send;

/// One disk of a unit.
#[derive(Debug, Clone)]
pub struct UnitDisk {
    /// Its number in the order, from 0.
    pub number: u32,
    /// Which disk.
    pub identity: DiskIdentity,
    /// The kernel's name of it in this boot.
    pub name: String,
    /// Who watches over it; its [`Part`](crate::Part) has the same.
    pub watch: Arc<DiskWatch>,
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unit").field("disks", &self.disks).finish_non_exhaustive()
    }
}

/// Wipes all units at once. Returns the reports in the order's order, once every disk is over, or does not answer for so
/// long that nobody waits any more.
pub fn run(units: Vec<Unit>, wipe: &Arc<Wipe>, keeper: &Arc<dyn Keeper>) -> Vec<DiskReport> {
    let (begun, begun_unix) = (Instant::now(), keeper.unix_milliseconds());
    let gate = Arc::new(Gate::new(units.len()));
    let (tell, told) = mpsc::channel();
    let mut waiting: Vec<Option<Vec<UnitDisk>>> = Vec::new();
    for (index, unit) in units.into_iter().enumerate() {
        let (gate, wipe, keeper) = (Arc::clone(&gate), Arc::clone(wipe), Arc::clone(keeper));
        let tell = tell.clone();
        let name = unit.disks.first().map_or("wipe", |disk| disk.name.as_str()).to_owned();
        let work = move || {
            let now = || keeper.unix_milliseconds();
            let terms = Terms { wipe: &wipe, gate: &gate, now: &now };
            let reports = disk::guard::catch(|| (unit.work)(terms));
            let _nobody_waits = tell.send((index, reports));
        };
        // A unit whose thread does not begin is answered for below: its end of the line is closed.
        let _not_begun = thread::Builder::new().name(name).spawn(work);
        waiting.push(Some(unit.disks));
    }
    drop(tell);
    open(&gate, wipe, keeper.as_ref());
    let all: Vec<UnitDisk> = waiting.iter().flatten().flatten().cloned().collect();
    let mut reports: Vec<(u32, DiskReport)> = Vec::new();
    let lost = |disks: Vec<UnitDisk>, code: &str, words: &str| {
        let report = |disk: UnitDisk| {
            let number = disk.number;
            (number, unanswered(disk, wipe, begun_unix, keeper.unix_milliseconds(), code, words))
        };
        disks.into_iter().map(report).collect::<Vec<_>>()
    };
    while waiting.iter().any(Option::is_some) {
        match told.recv_timeout(TELL_PERIOD) {
            Ok((index, outcome)) => {
                let Some(disks) = waiting.get_mut(index).and_then(Option::take) else { continue };
                match outcome {
                    Ok(found) => {
                        reports.extend(disks.iter().map(|disk| disk.number).zip(found));
                    }
                    Err(words) => {
                        reports.extend(lost(
                            disks,
                            "failed",
                            &format!("the program failed: {words}"),
                        ));
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                for disks in waiting.iter_mut().filter_map(Option::take) {
                    reports.extend(lost(disks, "failed", "its thread could not begin"));
                }
            }
        }
        for unit in &mut waiting {
            let is_silent = |disks: &Vec<UnitDisk>| disks.iter().all(|disk| disk.watch.is_silent());
            if unit.as_ref().is_some_and(is_silent)
                && let Some(disks) = unit.take()
            {
                reports.extend(lost(disks, "hangs", "the disk does not answer, and was given up"));
            }
        }
        keeper.progress(progress(&all, wipe, begun));
    }
    reports.sort_by_key(|(number, _)| *number);
    reports.into_iter().map(|(_, report)| report).collect()
}

/// Lets all units go on once they have looked, after a sleep where that is ordered and of use.
fn open(gate: &Gate, wipe: &Wipe, keeper: &dyn Keeper) {
    let frozen = gate.gather(EXAMINE_PATIENCE);
    let opening = if frozen == 0 || !wipe.options.unfreeze {
        Opening::Go
    } else {
        match keeper.sleep() {
            Ok(()) => Opening::Slept,
            Err(why) => Opening::Awake(why),
        }
    };
    gate.open(opening);
}

fn progress(disks: &[UnitDisk], wipe: &Wipe, begun: Instant) -> WipeProgress {
    let disks: Vec<DiskProgress> =
        disks.iter().map(|disk| disk.watch.told(disk.name.clone())).collect();
    let elapsed = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    WipeProgress { order: wipe.order.id, elapsed_milliseconds: elapsed, disks }
}

/// Reports a disk of which nobody says anything.
fn unanswered(
    disk: UnitDisk,
    wipe: &Wipe,
    begun: i64,
    ended: i64,
    code: &str,
    words: &str,
) -> DiskReport {
    // While its own erasure may run, it may also come to its end.
    let verdict = if disk.watch.is_erasing_itself() {
        Verdict::UnknownStillRunning
    } else {
        Verdict::NotErased
    };
    disk.watch.over(verdict);
    DiskReport {
        accessible_bytes: Bytes(disk.identity.size_bytes.0),
        disk: disk.identity,
        name: disk.name,
        transport: None,
        firmware: None,
        verdict,
        asked: wipe.level.asked(),
        reached: protocol::wipe::Outcome::None,
        native_bytes: None,
        capabilities: Vec::new(),
        techniques: Vec::new(),
        verification: None,
        filesystems: Vec::new(),
        forecast: None,
        exceptions: vec![exception(code, words)],
        out_of_scope: Vec::new(),
        validation: Validation::EmulatedOnly,
        begun_unix_milliseconds: begun,
        ended_unix_milliseconds: ended,
    }
}

/// Holds for a phase in which a disk's own command may take hours without a word.
fn is_long(phase: WipePhase) -> bool {
    phase == WipePhase::Erasing
}

#[cfg(test)]
mod tests;
