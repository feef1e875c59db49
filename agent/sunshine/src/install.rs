//! Carries out an order to install: from the server's word to the disk and back.
//!
//! ```text
//! order ─► manifest, signed with the pinned key ─► permit ─► disk ─► install ─► steps ─► outcome
//!          or a file on another server              │
//!                          refused: nothing was touched
//! ```

mod files;
mod foreign;
mod store;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use agent::{
    console,
    panel::{self, ProgressLine},
    session::{Bulk, End},
    work::{self, After, Job, Worker},
};
use disk::{
    Held, Medium, Refusal,
    permit::{self, Circumstances, Place, Used},
};
use install::{Failure, Options, Plan, Source, Stop, Unfit};
use inventory::guard;
use protocol::{
    EventKind, Install, Level, OrderId, Verb,
    install::{Finish, ImageSource, InstallPhase, InstallReport, Progress, Step, StepOutcome},
};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::start::{self, Kernel};

/// How long the outcome may take to reach the server before the machine goes on: without it the order would count as
/// broken off.
const TELL_PATIENCE: Duration = Duration::from_mins(15);

/// Where orders that were begun in this boot are noted.
const USED: &str = "/run/drydock/orders";

/// What `SunshineOS` can do beyond waiting.
pub(crate) const WORKER: Worker = Worker { order, run, patience: CANCELLED_PATIENCE };

/// The kernel gives a disk half a minute for each command, and tries again.
const CANCELLED_PATIENCE: Duration = Duration::from_secs(90);

/// Why an order was not carried out whole.
struct Broken {
    /// For a person: what happened, and what to do.
    reason: String,
    /// Whether the disk may be another one than before.
    touched: bool,
}

fn order(verb: &Verb) -> Option<OrderId> {
    match verb {
        Verb::Install(install) => Some(install.order.id),
        _ => None,
    }
}

fn run(job: &Job) -> After {
    let Verb::Install(install) = &job.verb else { return After::Stay };
    let order = install.order.id;
    let (after, level, kind) = match carry_out(job, install) {
        Ok((report, kernel)) => {
            let kind = EventKind::Installed { order, report: Box::new(report) };
            (after(install.finish, kernel), Level::Info, kind)
        }
        // Whatever happened, the machine stays where it can be reached.
        Err(Broken { reason, touched }) => {
            (After::Stay, Level::Error, EventKind::OrderFailed { order, reason, touched })
        }
    };
    if let Some(words) = panel::outcome(&kind) {
        console::show(&words);
    }
    let outcome = job.session.note(level, kind);
    if job.session.is_told_within(outcome, TELL_PATIENCE) { after } else { After::Stay }
}

fn after(finish: Finish, kernel: Kernel) -> After {
    match (finish, kernel) {
        (Finish::Kexec, Kernel::Loaded) => After::End(End::Kexec),
        (Finish::Reboot | Finish::Kexec, _) => After::End(End::Restart),
        (Finish::PowerOff, _) => After::End(End::SwitchOff),
        (Finish::Stay, _) => After::Stay,
    }
}

fn carry_out(job: &Job, install: &Install) -> Result<(InstallReport, Kernel), Broken> {
    possible(install).map_err(untouched)?;
    let bulk = job.session.bulk().map_err(|error| untouched(chain(&error)))?;
    let teller = Teller { bulk: &bulk, line: Mutex::default() };
    teller.tell(&Progress::beginning(install.order.id));
    let mut options = Options::new(install.order.id, random_number().map_err(untouched)?);
    // Its deadline says until when it may be begun, which the permit's checks judge.
    options.stop = Stop { cancelled: Some(bulk.cancelled()), deadline: None };
    let options = options;
    let listener = |progress: &Progress| teller.tell(progress);
    let (disk, before, mut report) = match &install.image {
        ImageSource::Store { manifest, .. } => {
            let (plan, frames) =
                store::find(&bulk, &job.session, manifest, options.stop).map_err(untouched)?;
            let disk = Arc::new(permitted(job, install)?);
            let before = start::drives(&disk, install);
            let written = write_stored(&disk, &plan, &frames, &options, &listener);
            (disk, before, written?)
        }
        ImageSource::Foreign { urls, sha256, token, map } => {
            let map = map.as_deref().map(foreign::map).transpose().map_err(untouched)?;
            let found = foreign::find(urls, sha256.as_deref(), token.as_ref());
            let (file, mirrors) = found.map_err(untouched)?;
            let mirrors: Vec<&dyn Source> = mirrors.iter().map(|one| one as _).collect();
            let disk = Arc::new(permitted(job, install)?);
            let before = start::drives(&disk, install);
            let written = match &map {
                Some(map) => install::install_mapped(
                    disk.as_ref(),
                    &file,
                    map,
                    &mirrors,
                    &options,
                    &listener,
                ),
                None => {
                    install::install_foreign(disk.as_ref(), &file, &mirrors, &options, &listener)
                }
            };
            // Its size and its sectors show only while it is written.
            (disk, before, written.map_err(|failure| touched(chain(&failure)))?)
        }
    };
    let finishing = Progress {
        phase: InstallPhase::Finishing,
        bytes_per_second: None,
        remaining_seconds: None,
        bottleneck: None,
        ..report.progress.clone()
    };
    teller.tell(&finishing);
    let write_files = |outcomes: &mut [_]| files::finish(&disk, &install.steps, outcomes);
    let followed = follow(disk.as_ref(), &install.steps, options.stop, write_files);
    let (kernel, failed) = match followed {
        Ok(steps) => {
            report.steps = steps;
            (start::finish(&disk, install, &before, &mut report.steps), None)
        }
        Err(reason) => (Kernel::No, Some(reason)),
    };
    let settled = match Arc::into_inner(disk) {
        Some(disk) => settle(disk),
        None => settled(Err("it is still being read".to_owned()), Ok(())),
    };
    conclude(report, kernel, failed, settled)
}

/// Does what follows the image on its disk. Where that fails or the order is over, the disk starts nothing afterwards:
/// nobody wants it started without its name, its keys or its room.
fn follow(
    medium: &dyn Medium,
    steps: &[Step],
    stop: Stop<'_>,
    write_files: impl FnOnce(&mut [StepOutcome]),
) -> Result<Vec<StepOutcome>, String> {
    let ended = || stop.check().map_err(|stopped| format!("the install was ended: {stopped}"));
    let done = || {
        ended()?;
        let finish = || {
            let mut outcomes = install::finish(medium, steps, &mut random_bytes);
            write_files(&mut outcomes);
            outcomes
        };
        let outcomes = guard::catch(finish)
            .map_err(|words| format!("what follows the image panicked: {words}"))?;
        let failed = outcomes.iter().filter(|step| !start::is_optional(step)).find_map(|step| {
            let failure = step.failure.as_ref()?;
            Some(format!("the image is on the disk, but {} failed: {failure}", step.step))
        });
        // Before anything of this machine is told to start it.
        ended()?;
        failed.map_or(Ok(outcomes), Err)
    };
    done().map_err(|reason| match install::disarm(medium) {
        Ok(()) => reason,
        Err(error) => format!(
            "{reason}; the disk still starts, because zeroing its start failed too: {}",
            chain(&error)
        ),
    })
}

/// Says what came of an order whose image is on the disk, read back. What became of the kernel's view of that disk
/// changes nothing about it: the next start sees it anew.
fn conclude(
    mut report: InstallReport,
    kernel: Kernel,
    failed: Option<String>,
    settled: Vec<StepOutcome>,
) -> Result<(InstallReport, Kernel), Broken> {
    if let Some(reason) = failed {
        let also = settled.into_iter().filter_map(|outcome| outcome.failure);
        return Err(touched(also.fold(reason, |reason, also| format!("{reason}; {also}"))));
    }
    report.steps.extend(settled);
    Ok((report, kernel))
}

fn write_stored(
    disk: &Held,
    plan: &Plan,
    frames: &dyn Source,
    options: &Options<'_>,
    listener: &install::Listener<'_>,
) -> Result<InstallReport, Broken> {
    install::install(disk, plan, &[frames], options, listener).map_err(|failure| {
        // These are refused before anything else.
        let untouched = matches!(
            failure,
            Failure::Unfit(Unfit::TooSmall { .. } | Unfit::TooMuch { .. } | Unfit::Plan { .. })
        );
        let touched = !untouched;
        Broken { reason: chain(&failure), touched }
    })
}

/// Tells server and console how far it is.
struct Teller<'b> {
    bulk: &'b Bulk,
    line: Mutex<ProgressLine>,
}

impl Teller<'_> {
    fn tell(&self, progress: &Progress) {
        self.bulk.tell(EventKind::Progress(Box::new(progress.clone())));
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(words) = line.next(Instant::now(), progress) {
            console::show_for_now(&words);
        }
    }
}

/// Refuses what this program cannot do, before anything is touched.
fn possible(install: &Install) -> Result<(), &'static str> {
    match install.order.disks.len() {
        1 => Ok(()),
        _ => Err("an install is ordered for exactly one disk"),
    }
}

/// Has everything checked that must hold before a byte is written, and opens the disk for writing.
fn permitted(job: &Job, install: &Install) -> Result<Held, Broken> {
    let place = Place::own_initramfs().map_err(|error| untouched(chain(&error)))?;
    let used = Used::kept_in(USED);
    let circumstances = Circumstances {
        place: &place,
        now_unix_milliseconds: linux::clock::unix_milliseconds(),
        clock: match job.clock {
            work::Clock::Servers { .. } => permit::Clock::SetByServer,
            work::Clock::Unknown => permit::Clock::Unset,
        },
        used: &used,
    };
    let refused = |refusal: Refusal| untouched(chain(&refusal));
    let mut permits = permit::check(&install.order, &circumstances).map_err(refused)?.into_iter();
    match (permits.next(), permits.next()) {
        (Some(permit), None) => permit.into_medium().map_err(refused),
        _ => Err(untouched("an install is ordered for exactly one disk")),
    }
}

/// Has the kernel see the new partitions, and lets the disk go. Returns what of that failed.
fn settle(disk: Held) -> Vec<StepOutcome> {
    let reread = disk.drop_cache().and_then(|()| disk.reread_partitions());
    let released = disk.release();
    settled(reread.map_err(|error| chain(&error)), released.map_err(|error| chain(&error)))
}

fn settled(reread: Result<(), String>, released: Result<(), String>) -> Vec<StepOutcome> {
    let reread = reread.err().map(|error| {
        let failure = format!(
            "the image is on the disk, but until the machine restarts its kernel does not see the new partitions: \
             {error}"
        );
        StepOutcome { step: start::REREAD.to_owned(), failure: Some(failure) }
    });
    let released = released.err().map(|error| {
        let failure =
            format!("until the machine restarts its kernel lets the disk be written to: {error}");
        StepOutcome { step: start::READ_ONLY.to_owned(), failure: Some(failure) }
    });
    reread.into_iter().chain(released).collect()
}

fn random_number() -> Result<u64, &'static str> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the kernel has no random numbers")?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Returns the bytes of a new GUID.
fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).expect("the kernel gave random numbers a moment ago");
    bytes
}

fn untouched(reason: impl Into<String>) -> Broken {
    Broken { reason: reason.into(), touched: false }
}

fn touched(reason: impl Into<String>) -> Broken {
    Broken { reason: reason.into(), touched: true }
}

/// Shows an error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use protocol::install::{Guarantee, ReadBack};

    use super::*;

    fn report() -> InstallReport {
        InstallReport {
            guarantee: Guarantee::SignedChunks,
            progress: Progress::beginning(OrderId([1; 16])),
            read_back: ReadBack::Whole {},
            steps: vec![StepOutcome { step: "seed".to_owned(), failure: None }],
        }
    }

    #[test]
    fn a_kernel_that_does_not_see_the_new_partitions_fails_no_order() {
        let busy = || settled(Err("Device or resource busy".to_owned()), Err("gone".to_owned()));
        let (report, kernel) =
            conclude(report(), Kernel::Loaded, None, busy()).ok().expect("the image is there");
        assert_eq!(kernel, Kernel::Loaded);
        let steps: Vec<(&str, bool)> =
            report.steps.iter().map(|one| (one.step.as_str(), one.failure.is_some())).collect();
        assert_eq!(steps, [("seed", false), ("rereadPartitions", true), ("readOnly", true)]);
        let why = report.steps[1].failure.as_deref().unwrap_or_default();
        assert!(why.contains("the image is on the disk") && why.contains("busy"), "{why}");
        assert!(report.steps.iter().skip(1).all(start::is_optional));
        assert_eq!(settled(Ok(()), Ok(())), []);
    }

    /// A disk in a file, that has something at its start; and what is there after the steps.
    fn start_after(steps: &[Step], is_over: bool) -> (Result<Vec<StepOutcome>, String>, u8) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        let file = disk::PlainFile::open(&path, 8 << 20, 512).unwrap();
        let mut sector = disk::AlignedBuffer::zeroed(4096);
        sector.fill(0x55);
        file.write(0, &sector).unwrap();
        let flag = AtomicBool::new(is_over);
        let stop = Stop { cancelled: Some(&flag), deadline: None };
        let followed = follow(&file, steps, stop, |_| {});
        file.read(0, &mut sector).unwrap();
        (followed, sector[0])
    }

    #[test]
    fn an_order_that_is_over_when_its_image_is_there_leaves_a_disk_that_starts_nothing() {
        assert_eq!(start_after(&[], false), (Ok(Vec::new()), 0x55));
        let (followed, start) = start_after(&[], true);
        assert_eq!(
            (followed, start),
            (Err("the install was ended: it was cancelled".to_owned()), 0)
        );
    }

    #[test]
    fn a_step_that_fails_leaves_a_disk_that_starts_nothing() {
        let (followed, start) = start_after(&[Step::MoveBackupGpt {}], false);
        assert!(followed.is_err_and(|reason| reason.contains("moveBackupGpt failed")));
        assert_eq!(start, 0);
    }

    #[test]
    fn a_step_that_matters_fails_the_order_and_takes_the_rest_along() {
        let busy = settled(Err("busy".to_owned()), Ok(()));
        let failed = conclude(report(), Kernel::No, Some("no room".to_owned()), busy);
        let Err(Broken { reason, touched: true }) = failed else { panic!("it failed") };
        assert!(reason.starts_with("no room; ") && reason.ends_with("busy"), "{reason}");
    }
}
