//! All disks of an order at once: each device on a thread of its own, none waits for another, none is waited for for
//! ever.

mod waiting;
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
    order::DiskIdentity,
    wipe::{DiskProgress, DiskReport, Verdict, Wipe, WipePhase, WipeProgress, WipeStep},
};

use self::waiting::Waiting;
pub use self::watch::DiskWatch;
use crate::{
    Gate, Opening, Stopped,
    part::Journal,
    plan::is_devices,
    unit::{Tell, Terms},
    verdict::{exception, still_running},
};

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
    /// Wipes them: holds them, and calls [`unit::wipe_each`](crate::unit::wipe_each). On a thread of its own, that may go on
    /// with a disk after its report: to let it go.
    pub work: Box<Work>,
}

/// What wipes the disks of a unit, and tells the report of each as soon as it is over.
pub type Work = dyn FnOnce(Terms<'_>, &mut Tell<'_>) + Send;

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

/// What the thread of a unit says.
#[derive(Debug)]
enum Said {
    /// What came of a disk, by its number in the order.
    Report(u32, Box<DiskReport>),
    /// The thread is over; with why, where it failed.
    Ended(Result<(), String>),
}

/// Wipes all units at once. Returns the reports in the order's order, once every disk is over and let go, or does not
/// answer for so long that nobody waits any more.
pub fn run(units: Vec<Unit>, wipe: &Arc<Wipe>, keeper: &Arc<dyn Keeper>) -> Vec<DiskReport> {
    let (begun, begun_unix) = (Instant::now(), keeper.unix_milliseconds());
    let gate = Arc::new(Gate::new(units.len()));
    let (tell, told) = mpsc::channel();
    let all: Vec<UnitDisk> = units.iter().flat_map(|unit| &unit.disks).cloned().collect();
    for disk in &all {
        if Journal::of(wipe, disk.number).begun.is_some_and(is_devices) {
            disk.watch.may_erase_still();
        }
    }
    let mut waiting: Vec<Waiting> = Vec::new();
    for (index, unit) in units.into_iter().enumerate() {
        let (gate, wipe, keeper) = (Arc::clone(&gate), Arc::clone(wipe), Arc::clone(keeper));
        let tell = tell.clone();
        let name = unit.disks.first().map_or("wipe", |disk| disk.name.as_str()).to_owned();
        let work = move || {
            let now = || keeper.unix_milliseconds();
            let terms = Terms { wipe: &wipe, gate: &gate, now: &now };
            // Where nobody waits any more, nobody needs to be told.
            let say = |said| tell.send((index, said)).unwrap_or_default();
            let mut reported = |number, report| say(Said::Report(number, Box::new(report)));
            let ended = disk::guard::catch(|| (unit.work)(terms, &mut reported));
            say(Said::Ended(ended));
        };
        // A unit whose thread does not begin is answered for below: its end of the line is closed.
        let _not_begun = thread::Builder::new().name(name).spawn(work);
        waiting.push(Waiting::new(unit.disks));
    }
    drop(tell);
    open(&gate, wipe, keeper.as_ref());
    let mut reports: Vec<(u32, DiskReport)> = Vec::new();
    let lost = |disks: Vec<UnitDisk>, code: &str, words: &str| {
        let report = |disk: UnitDisk| {
            let number = disk.number;
            (number, unanswered(disk, wipe, begun_unix, keeper.unix_milliseconds(), code, words))
        };
        disks.into_iter().map(report).collect::<Vec<_>>()
    };
    while waiting.iter().any(Waiting::is_waited_for) {
        match told.recv_timeout(TELL_PERIOD) {
            Ok((index, said)) => {
                let Some(unit) = waiting.get_mut(index) else { continue };
                match said {
                    Said::Report(number, report) => {
                        if unit.take(number) {
                            reports.push((number, *report));
                        }
                    }
                    Said::Ended(ended) => {
                        let words = match ended {
                            Ok(()) => "nothing was said of it".to_owned(),
                            Err(words) => format!("the program failed: {words}"),
                        };
                        reports.extend(lost(unit.end(), "failed", &words));
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                for unit in &mut waiting {
                    reports.extend(lost(unit.end(), "failed", "its thread could not begin"));
                }
            }
        }
        for unit in waiting.iter_mut().filter(|unit| unit.is_silent()) {
            for disk in unit.reported() {
                let is_it = |told: &&mut (u32, DiskReport)| told.0 == disk.number;
                if let Some((_, report)) = reports.iter_mut().find(is_it) {
                    not_let_go(&disk, report);
                }
            }
            let words = "the disk does not answer, and was given up";
            reports.extend(lost(unit.end(), "hangs", words));
        }
        keeper.progress(progress(&all, wipe, begun));
    }
    reports.sort_by_key(|(number, _)| *number);
    reports.into_iter().map(|(_, report)| report).collect()
}

/// Says of a disk that was reported well that it did not answer any more when it was let go.
fn not_let_go(disk: &UnitDisk, report: &mut DiskReport) {
    let words = "after its verdict the disk did not answer any more: it could not be let go";
    report.exceptions.push(exception("hangs", words));
    if report.verdict == Verdict::Erased {
        report.verdict = Verdict::ErasedWithExceptions;
    }
    disk.watch.over(report.verdict);
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
    let mut exceptions = vec![exception(code, words)];
    // While its own erasure may run, it may also come to its end.
    let verdict = if disk.watch.may_be_erasing_itself() {
        exceptions.push(still_running());
        Verdict::UnknownStillRunning
    } else {
        Verdict::NotErased
    };
    disk.watch.over(verdict);
    DiskReport {
        name: disk.name,
        verdict,
        exceptions,
        begun_unix_milliseconds: begun,
        ended_unix_milliseconds: ended,
        ..DiskReport::nothing_done(disk.identity, wipe.level.asked())
    }
}

/// Holds for a phase in which a disk's own command may take hours without a word.
fn is_long(phase: WipePhase) -> bool {
    phase == WipePhase::Erasing
}

#[cfg(test)]
mod tests;
