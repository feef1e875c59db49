//! Carries out an order to install: from the server's word to the disk and back.
//!
//! ```text
//! order ─► manifest, signed with the pinned key ─► permit ─► disk ─► install ─► steps ─► outcome
//!          (the server's own store only)            │
//!                          refused: nothing was touched
//! ```

use std::{io::Read, ops::Range, sync::Arc, time::Duration};

use agent::{
    session::{Bulk, BulkError, End, Session},
    work::{self, After, Job, Worker},
};
use disk::{
    Held, Refusal,
    permit::{self, Circumstances, Place, Used},
};
use image::Manifest;
use install::{Failure, FetchError, Options, Plan, Source, Unfit};
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
    let begin = |phase| bulk.tell(first_progress(install.order.id, phase));
    begin(InstallPhase::Checking);
    let (manifest, frames) = manifest(&bulk, &job.session, &install.image)?;
    let plan = Plan::from(&manifest);
    drop(manifest);
    let disk = Arc::new(permitted(job, install)?);
    let source = Frames { bulk: &bulk, path: frames };
    let options = Options::new(install.order.id, random_number().map_err(untouched)?);
    let tell = |progress: &Progress| bulk.tell(progress.clone());
    let written = install::install(&*disk, &plan, &[&source], &options, &tell);
    let mut report = written.map_err(|failure| {
        // A disk that is too small is refused before anything else.
        let touched = !matches!(failure, Failure::Unfit(Unfit::TooSmall { .. }));
        Broken { reason: chain(&failure), touched }
    })?;
    begin_again(&bulk, &report.progress, InstallPhase::Finishing);
    report.steps = install::finish(&*disk, &install.steps, &mut random_bytes);
    let kernel = start::finish(&disk, install, &mut report.steps);
    let failed = report.steps.iter().filter(|step| !start::is_optional(step)).find_map(|step| {
        let failure = step.failure.as_ref()?;
        Some(format!("the image is on the disk, but {} failed: {failure}", step.step))
    });
    let disk = Arc::into_inner(disk).ok_or_else(|| touched("the disk is still being read"))?;
    settle(disk).map_err(touched)?;
    match failed {
        Some(reason) => Err(Broken { reason, touched: true }),
        None => Ok((report, kernel)),
    }
}

/// Refuses what this program cannot do, before anything is touched.
fn possible(install: &Install) -> Result<(), &'static str> {
    match install.order.disks.len() {
        1 => Ok(()),
        _ => Err("an install is ordered for exactly one disk"),
    }
}

/// Gets the manifest that was ordered, and checks who vouches for it. Returns it with the path of the file of frames.
fn manifest(
    bulk: &Bulk,
    session: &Session,
    image: &ImageSource,
) -> Result<(Manifest, String), Broken> {
    let ImageSource::Store { manifest: digest, .. } = image else {
        return Err(untouched("this agent installs from the server's own store only"));
    };
    let directory = format!("/v1/images/{digest}");
    let limit = u64::try_from(Manifest::LIMIT_BYTES).unwrap_or(u64::MAX);
    let bytes = bulk
        .get(&format!("{directory}/manifest"), limit)
        .map_err(|error| untouched(chain(&error)))?;
    let manifest = Manifest::parse(bytes).map_err(|error| untouched(chain(&error)))?;
    let found = hexadecimal(&manifest.sha256());
    if found != *digest {
        return Err(untouched(format!("the server sent manifest {found} instead of {digest}")));
    }
    let pins: Vec<[u8; 32]> = session.pins().iter().map(|pin| pin.0).collect();
    manifest.verify(&pins).map_err(|error| untouched(chain(&error)))?;
    Ok((manifest, format!("{directory}/frames")))
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

/// The file of frames, on the server.
#[derive(Debug)]
struct Frames<'b> {
    bulk: &'b Bulk,
    path: String,
}

impl Source for Frames<'_> {
    fn fetch(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>, FetchError> {
        match self.bulk.read(&self.path, range) {
            Ok(body) => Ok(Box::new(body)),
            Err(BulkError::Never(reason)) => Err(FetchError::Never { reason }),
            Err(error) => Err(FetchError::Again { reason: error.to_string() }),
        }
    }
}

fn first_progress(order: OrderId, phase: InstallPhase) -> Progress {
    Progress {
        order,
        phase,
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

fn begin_again(bulk: &Bulk, before: &Progress, phase: InstallPhase) {
    bulk.tell(Progress { phase, remaining_seconds: None, bottleneck: None, ..before.clone() });
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

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Shows an error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
