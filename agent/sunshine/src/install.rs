//! Carries out an order to install: from the server's word to the disk and back.
//!
//! ```text
//! order ─► manifest, signed with the pinned key ─► permit ─► disk ─► install ─► steps ─► outcome
//!          or a file on another server              │
//!                          refused: nothing was touched
//! ```

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
    Held, Refusal,
    permit::{self, Circumstances, Place, Used},
};
use install::{Failure, Options, Plan, Source, Unfit};
use protocol::{
    Bytes, EventKind, Install, Level, OrderId, Verb,
    install::{Finish, ImageSource, InstallPhase, InstallReport, Progress},
};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::start::{self, Kernel};

/// How long the outcome may take to reach the server before the machine goes on: without it the order would count as
/// broken off.
const TELL_PATIENCE: Duration = Duration::from_mins(15);

/// Where orders that were begun in this boot are noted.
const USED: &str = "/run/drydock/orders";

/// What `SunshineOS` can do beyond waiting.
pub(crate) const WORKER: Worker = Worker { order, run };

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
    job.session.note(level, kind);
    if job.session.is_told_within(TELL_PATIENCE) { after } else { After::Stay }
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
    teller.tell(&first_progress(install.order.id));
    let options = Options::new(install.order.id, random_number().map_err(untouched)?);
    let listener = |progress: &Progress| teller.tell(progress);
    let (disk, mut report) = match &install.image {
        ImageSource::Store { manifest, .. } => {
            let (plan, frames) = store::find(&bulk, &job.session, manifest).map_err(untouched)?;
            let disk = permitted(job, install)?;
            let written = write_stored(&disk, &plan, &frames, &options, &listener);
            (disk, written?)
        }
        ImageSource::Foreign { urls, sha256, token } => {
            let found = foreign::find(urls, sha256.as_deref(), token.as_ref());
            let (file, mirrors) = found.map_err(untouched)?;
            let mirrors: Vec<&dyn Source> = mirrors.iter().map(|one| one as _).collect();
            let disk = permitted(job, install)?;
            let written = install::install_foreign(&disk, &file, &mirrors, &options, &listener);
            // Its size and its sectors show only while it is written.
            (disk, written.map_err(|failure| touched(chain(&failure)))?)
        }
    };
    let finishing = Progress {
        phase: InstallPhase::Finishing,
        remaining_seconds: None,
        bottleneck: None,
        ..report.progress.clone()
    };
    teller.tell(&finishing);
    let disk = Arc::new(disk);
    report.steps = install::finish(disk.as_ref(), &install.steps, &mut random_bytes);
    let failed = report.steps.iter().filter(|step| !start::is_optional(step)).find_map(|step| {
        let failure = step.failure.as_ref()?;
        Some(format!("the image is on the disk, but {} failed: {failure}", step.step))
    });
    let (kernel, failed) = match failed {
        None => (start::finish(&disk, install, &mut report.steps), None),
        // Nobody wants it started without its name, its keys or its room.
        Some(reason) => match install::disarm(disk.as_ref()) {
            Ok(()) => (Kernel::No, Some(reason)),
            Err(error) => {
                let error = chain(&error);
                (
                    Kernel::No,
                    Some(format!(
                        "{reason}; the disk still starts, because zeroing its start failed too: {error}"
                    )),
                )
            }
        },
    };
    let disk = Arc::into_inner(disk).ok_or_else(|| touched("the disk is still being read"))?;
    settle(disk).map_err(touched)?;
    match failed {
        Some(reason) => Err(touched(reason)),
        None => Ok((report, kernel)),
    }
}

fn write_stored(
    disk: &Held,
    plan: &Plan,
    frames: &dyn Source,
    options: &Options<'_>,
    listener: &install::Listener<'_>,
) -> Result<InstallReport, Broken> {
    install::install(disk, plan, &[frames], options, listener).map_err(|failure| {
        // A disk that is too small is refused before anything else.
        let touched = !matches!(failure, Failure::Unfit(Unfit::TooSmall { .. }));
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
        self.bulk.tell(progress.clone());
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
            work::Clock::Servers => permit::Clock::SetByServer,
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

/// Has the kernel see the new partitions, and lets the disk go.
fn settle(disk: Held) -> Result<(), String> {
    disk.drop_cache().map_err(|error| format!("dropping old pages of the disk: {error}"))?;
    disk.reread_partitions()
        .map_err(|error| format!("having the kernel read the new partition table: {error}"))?;
    disk.release().map_err(|error| format!("making the disk read-only again: {error}"))
}

fn first_progress(order: OrderId) -> Progress {
    Progress {
        order,
        phase: InstallPhase::Checking,
        image_bytes: None,
        fetched_bytes: Bytes(0),
        unpacked_bytes: Bytes(0),
        written_bytes: Bytes(0),
        zeroed_bytes: Bytes(0),
        unchanged_bytes: Bytes(0),
        verified_bytes: Bytes(0),
        elapsed_milliseconds: 0,
        remaining_seconds: None,
        bottleneck: None,
    }
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
