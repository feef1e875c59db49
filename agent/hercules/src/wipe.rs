//! Carries out an order to wipe: from the server's word to the disks and back.
//!
//! ```text
//! order ─► permits, one for each disk ─► units ─► wipe::job ─► reports ─► extras ─► signed, told ─► finish
//!           │                                      ▲  │
//!   refused: nothing was touched                   └──┴─ steps are journaled before they happen
//! ```

mod base64;
mod keeper;
mod marks;
mod result;
mod screen;
mod units;

use std::{fmt, sync::Arc, time::Duration};

use agent::{
    console, devices, panel,
    session::End,
    work::{After, Job, Worker},
};
use disk::{
    Permit, Refusal,
    permit::{self, Circumstances, Cleared, Holder, Place, Used},
};
use inventory::Root;
use protocol::{
    EventKind, Inventory, Level, OrderId, Verb, Wipe,
    order::DiskIdentity,
    wipe::{Extra, PowerLevel, WipeFinish, WipeReport, canonical},
};
use wipe::{
    job::{self, DiskWatch, Keeper},
    working::release,
};

pub(crate) use self::{
    base64::encode as base64,
    screen::{Screen, report as words},
    units::facts,
};
#[cfg(feature = "command")]
pub(crate) use self::{
    keeper::SLEEP_SECONDS,
    units::{Commands, NOT_ALONE, commands},
};
use self::{keeper::SessionKeeper, result::Beside, units::Ordered};
pub(crate) use self::{result::Clockwork, result::is_over_well};
use crate::{chain, extras, forecast::Against};

/// How long what came of an order may take to reach the server before the machine goes on by itself: it does not, since
/// who has no certificate has no proof.
const TELL_PATIENCE: Duration = Duration::from_hours(72);

/// Where orders that were begun in this boot are noted.
const USED: &str = "/run/drydock/orders";

/// The kernel gives a disk half a minute for each command, and tries again.
const CANCELLED_PATIENCE: Duration = Duration::from_secs(90);

/// What `HerculesOS` can do beyond waiting.
pub(crate) const WORKER: Worker = Worker { order, run, patience: CANCELLED_PATIENCE };

fn order(verb: &Verb) -> Option<OrderId> {
    match verb {
        Verb::Wipe(wipe) => Some(wipe.order.id),
        _ => None,
    }
}

fn run(job: &Job) -> After {
    let Verb::Wipe(wipe) = &job.verb else { return After::Stay };
    let (after, level, kind, words) = match carry_out(job, wipe) {
        Ok((report, signature)) => {
            let words = screen::report(&report);
            let is_good = report.disks.iter().all(|disk| is_over_well(wipe.level, disk));
            let (after, level) = match (is_good, wipe.finish) {
                (false, _) => (After::Stay, Level::Error),
                (true, WipeFinish::Stay) => (After::Stay, Level::Info),
                (true, WipeFinish::Reboot) => (After::End(End::Restart), Level::Info),
                (true, WipeFinish::PowerOff) => (After::End(End::SwitchOff), Level::Info),
            };
            (after, level, EventKind::Wiped { report: Box::new(report), signature }, Some(words))
        }
        // Whatever happened, the machine stays where it can be reached.
        Err(reason) => {
            let order = wipe.order.id;
            let kind = EventKind::OrderFailed { order, reason, touched: false };
            let words = panel::outcome(&kind);
            (After::Stay, Level::Error, kind, words)
        }
    };
    if let Some(words) = words {
        console::show(&words);
    }
    let outcome = job.session.note(level, kind);
    if job.session.is_told_within(outcome, TELL_PATIENCE) { after } else { After::Stay }
}

/// Wipes, and returns the report with its signature; or why nothing was touched.
fn carry_out(job: &Job, wipe: &Wipe) -> Result<(WipeReport, String), String> {
    let clock = Clockwork::begin(job.clock);
    let bulk = job.session.bulk().map_err(|error| chain(&error))?;
    let keeper: Arc<dyn Keeper> =
        Arc::new(SessionKeeper::new(job.session.clone(), bulk, wipe.order.id));
    // Before the disks are held: the checks claim each of them for a moment.
    let against = match wipe.level {
        PowerLevel::Idle => Some(here(&clock, |it| Against::find(wipe, it))?),
        _ => None,
    };
    let cleared = clear_here(wipe, &clock, &keeper)?;
    if matches!(wipe.level, PowerLevel::Idle | PowerLevel::Harbour) {
        load_filesystems();
    }
    let mut report = perform(&Arc::new(wipe.clone()), cleared, &keeper, &clock)?;
    if let Some(against) = against {
        for (number, disk) in report.disks.iter_mut().enumerate() {
            disk.forecast.iter_mut().for_each(|forecast| against.add_to(forecast, number));
        }
    }
    report.shorten();
    let signature = signed(job, &report);
    Ok((report, signature))
}

/// Wipes what nothing was found against, and reports. An error means that nothing was touched.
pub(crate) fn perform(
    wipe: &Arc<Wipe>,
    cleared: Cleared,
    keeper: &Arc<dyn Keeper>,
    clock: &Clockwork,
) -> Result<WipeReport, String> {
    let Cleared { permits, mut refused, inventory, missing, untouched } = cleared;
    let ordered = held(wipe, permits, &mut refused, &inventory)?;
    let refused = result::refused(wipe, &refused, &inventory, clock);
    let beside = Beside { inventory, missing, untouched };
    let units = units::gather(ordered, keeper);
    // From here on disks may be other ones than before: whatever happens stands in the report.
    let disks = result::in_order(wipe, job::run(units, wipe, keeper), refused);
    let mut report = result::report(wipe, beside, disks, clock);
    let after = inventory::collect(&Root::live());
    let against = extras::against(wipe, keeper.stopped(), &report.disks);
    let extra = |extra: &Extra| match &against {
        Some(why) => extras::not_done(*extra, why),
        None => extras::perform(*extra, &after),
    };
    report.extras = wipe.extras.iter().map(extra).collect();
    report.is_complete &= report.extras.iter().all(|extra| extra.failure.is_none());
    report.ended_unix_milliseconds = linux::clock::unix_milliseconds();
    Ok(report)
}

/// Loads what installed filesystems are mounted with. One that cannot be loaded shows where it is missing.
pub(crate) fn load_filesystems() {
    for module in ["loop", "ext4", "xfs", "btrfs"] {
        if let Err(error) = devices::load(module) {
            console::show(&format!("  the kernel's driver {module}: {error}\n"));
        }
    }
}

/// Returns the session key's signature; empty where it cannot be made, which the server sees.
fn signed(job: &Job, report: &WipeReport) -> String {
    let text = canonical(report).unwrap_or_default();
    job.session.sign(&text).map(|bytes| base64::encode(&bytes)).unwrap_or_default()
}

/// Has something checked where this is our own system.
fn here<T>(clock: &Clockwork, check: impl FnOnce(&Circumstances<'_>) -> T) -> Result<T, String> {
    let place = Place::own_initramfs().map_err(|error| chain(&error))?;
    let used = Used::kept_in(USED);
    Ok(check(&Circumstances {
        place: &place,
        now_unix_milliseconds: linux::clock::unix_milliseconds(),
        clock: clock.of,
        used: &used,
    }))
}

/// Has everything checked that must hold before a byte is written, where this is our own system.
fn clear_here(wipe: &Wipe, clock: &Clockwork, keeper: &Arc<dyn Keeper>) -> Result<Cleared, String> {
    let cleared = here(clock, |it| clear(wipe, it, keeper))?;
    let (cleared, released) = cleared.map_err(|not| not.to_string())?;
    if !released.is_empty() {
        console::show(&format!("  taken down: {}\n", list(&released)));
    }
    Ok(cleared)
}

/// Why a wipe was not begun: nothing was written.
#[derive(Debug)]
pub(crate) struct NotCleared {
    /// Why, in words.
    pub(crate) words: String,
    /// What was built on the disks, and is not any more.
    pub(crate) released: Vec<Holder>,
}

impl fmt::Display for NotCleared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)?;
        if self.released.is_empty() {
            return f.write_str("; nothing was touched");
        }
        write!(f, "; no disk was written, but this was taken down: {}", list(&self.released))
    }
}

impl std::error::Error for NotCleared {}

/// Has everything checked that must hold before a byte is written. What is built on the disks is taken down where all
/// else holds, and all of it is checked again; returns what that was.
pub(crate) fn clear(
    wipe: &Wipe,
    circumstances: &Circumstances<'_>,
    keeper: &Arc<dyn Keeper>,
) -> Result<(Cleared, Vec<Holder>), NotCleared> {
    let refused = |released: Vec<Holder>| {
        move |refusal: Refusal| NotCleared { words: chain(&refusal), released }
    };
    let right = permit::check_release(wipe, circumstances).map_err(refused(Vec::new()))?;
    let Some(right) = right else {
        let cleared = permit::check_wipe(wipe, circumstances).map_err(refused(Vec::new()))?;
        return Ok((cleared, Vec::new()));
    };
    let watch = DiskWatch::new(0, Arc::clone(keeper));
    let released = release(right, &watch).map_err(|not| {
        let words = chain(&not.source);
        NotCleared { words, released: not.released }
    })?;
    match permit::check_wipe(wipe, circumstances) {
        Ok(cleared) => Ok((cleared, released)),
        Err(refusal) => Err(refused(released)(refusal)),
    }
}

/// Names what was built on disks.
pub(crate) fn list(holders: &[Holder]) -> String {
    holders.iter().map(Holder::to_string).collect::<Vec<_>>().join(", ")
}

/// Opens all disks for what the order may do to them, or none; at `idle` all that let it, and the others are refused.
fn held(
    wipe: &Wipe,
    permits: Vec<Permit>,
    refused: &mut Vec<(usize, Refusal)>,
    inventory: &Inventory,
) -> Result<Vec<Ordered>, String> {
    let mut ordered = Vec::new();
    for permit in permits {
        let identity = permit.disk().identity.clone();
        let gone = || format!("{} is gone", permit.name());
        let number = wipe.order.disks.iter().position(|one| one.identity == identity);
        let number = number.ok_or_else(gone)?;
        let of = |disk: &&protocol::inventory::Disk| DiskIdentity::of(disk) == identity;
        let disk = inventory.disks.iter().find(of).ok_or_else(gone)?.clone();
        match permit.into_medium() {
            Ok(held) => {
                let number = u32::try_from(number).map_err(|_| "too many disks".to_owned())?;
                ordered.push(Ordered { number, identity, disk, held });
            }
            Err(refusal) if wipe.level == PowerLevel::Idle => refused.push((number, refusal)),
            Err(refusal) => return Err(chain(&refusal)),
        }
    }
    match refused.first() {
        Some((_, refusal)) if ordered.is_empty() => Err(chain(refusal)),
        _ => Ok(ordered),
    }
}
