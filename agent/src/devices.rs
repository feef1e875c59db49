//! Drivers for what the machine has: cold-plug by `modalias`, then hot-plug by the kernel's uevents.
//!
//! One thread listens, a few load modules, in the order of `Class`: watchdogs, then ports, then disks, the rest when
//! the machine has been announced. Only drivers that look for disks begin at once.
//! Every disk is made read-only as soon as it appears.
//!
//! Devices are looked for on their buses (`/sys/bus/*/devices`) and not in all of `/sys/devices`:
//! every device that has drivers stands on a bus, and the walk is a tenth as long.

mod belt;
mod class;
mod event;
mod fetch;
mod findings;
mod lists;
mod load;
#[cfg_attr(not(feature = "offline"), path = "devices/no_medium.rs")]
mod medium;
mod reprobe;
mod stock;
mod supply;

use std::{
    collections::BTreeSet,
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use linux::{
    thread::Turn,
    uevent::{Heard, Socket},
};
use modules::{Index, Texts};
use protocol::inventory::Gap;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, info, warn};

pub use self::findings::Findings;
use self::{
    class::Class, event::Event, fetch::Line, load::Queue, medium::MEDIA, stock::Stock,
    supply::Supply,
};
use crate::watchdog;

/// Nothing came for so long: what the machine has at this time is there.
const QUIET_MILLISECONDS: u16 = 50;

/// How often drivers that nothing waits for are looked after.
const SLOW_MILLISECONDS: u16 = 1000;

/// Nothing came for so long: probably nothing more will.
const LULL_MILLISECONDS: u16 = 10;

/// Nothing came for so long while disks are looked for: probably everything else is there.
const SEARCH_LULL_MILLISECONDS: u16 = 30;

/// How many drivers start at once: they wait for hardware more than they compute.
const THREADS: usize = 8;

/// A driver that takes longer than this is not counted on: another thread loads in its place.
const THREAD_PATIENCE: Duration = Duration::from_secs(5);

/// The most threads that take the place of others.
const MOST_REPLACEMENTS: usize = 32;

/// How long the network waits for watchdogs.
const WATCHDOG_PATIENCE: Duration = Duration::from_secs(2);

/// After this time the machine is announced without devices that are still coming.
const DEVICE_PATIENCE: Duration = Duration::from_secs(3);

/// After this time a driver that has not come to an end is said to hang.
const HANG_PATIENCE: Duration = Duration::from_mins(2);

/// How long drivers that nothing waits for keep out of the way of the announcement.
const REST_PATIENCE: Duration = Duration::from_secs(10);

/// How long drivers of disks wait for firmware that nobody sends: slow switches take 30 s to forward.
const FIRMWARE_PATIENCE: Duration = Duration::from_secs(45);

/// Where modules and firmware are.
const LIBRARY: &str = "/lib";

/// What happened to the devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Drivers for ports and disks are loaded, but for those that still look for disks. Unless more comes,
    /// [`News::Settled`] follows: who wants to look at the machine can begin.
    Lull,
    /// Drivers for ports and disks are loaded, and nothing more came for a while.
    Settled,
    /// That takes longer than the first announcement should wait.
    Unsettled,
    /// A disk or port came, changed or went after that.
    Changed,
}

/// Loads a module that no device asks for, and what it needs; from the server's store where it is not here. `NotFound`
/// where this system has none of that name. Blocks.
pub fn load(module: &str) -> io::Result<()> {
    let directory = Path::new("/lib/modules").join(linux::release::kernel()?);
    let texts = lists::texts(&directory)?;
    let index = Index::new(&texts);
    let stock = Stock::read(&directory, Path::new(LIBRARY), false, |gap| {
        warn!(what = gap.what, source = gap.source, reason = gap.reason, "gap");
    });
    let line = Line::default();
    fetch::bring(&index, &stock, module, &MEDIA, &|digest| line.get(digest))?;
    load::load_alone(&index, &stock, module)
}

/// What somebody said of the devices.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// Drivers of storage on a network are loaded too.
    pub network_storage: bool,
    /// The machine started from a medium, whose store is used.
    pub medium: bool,
}

/// Starts the thread that drives devices. It lives as long as the machine is up.
///
/// What can wait, waits until `announced`, or for `REST_PATIENCE`; what has to be fetched, until `announced`, but for what
/// is on a medium that the machine started from.
pub fn start(
    findings: Findings,
    news: UnboundedSender<News>,
    announced: Arc<AtomicBool>,
    told: Told,
) -> io::Result<()> {
    if told.medium {
        MEDIA.want();
    }
    let run = move || {
        // What is to be computed meanwhile, the key of this boot above all, has time while drivers wait for hardware.
        linux::thread::go(Turn::First);
        if let Err(error) = run(&findings, &news, &announced, told.network_storage) {
            findings.add_gap(gap("devices", "uevents", &error));
            let _nobody_left = news.send(News::Settled);
        }
    };
    thread::Builder::new().name("devices".to_owned()).spawn(run).map(drop)
}

fn run(
    findings: &Findings,
    news: &UnboundedSender<News>,
    announced: &AtomicBool,
    network_storage: bool,
) -> io::Result<()> {
    // Before the first look: what comes in between is heard.
    let socket = Socket::open()?;
    let release = linux::release::kernel()?;
    let directory = Path::new("/lib/modules").join(release);
    let texts = lists::texts(&directory).unwrap_or_else(|error| {
        findings.add_gap(gap("modules", &directory.to_string_lossy(), &error));
        Texts::default()
    });
    let index = Index::new(&texts);
    let stock = Stock::read(&directory, Path::new(LIBRARY), network_storage, |gap| {
        findings.add_gap(gap);
    });
    let supply = Supply::new(stock, findings.clone(), &MEDIA);
    let queue = Queue::new(&index, &supply);
    let line = Line::default();
    look_everywhere(&queue, findings);
    thread::scope(|scope| {
        let work = || queue.work(|gap| findings.add_gap(gap));
        for _ in 0..THREADS {
            scope.spawn(work);
        }
        let fetch = || {
            supply.work(&|digest| line.get(digest), |want, firmware| {
                if !queue.want_again(want.file) {
                    debug!(module = want.file, "not loaded: not all of it came");
                } else if want.is_loaded && !firmware.is_empty() {
                    reprobe::probe_again(Path::new("/sys"), want, findings);
                }
            });
        };
        let mut replacements = 0;
        let mut hands = 0;
        let mut replace = || {
            while hands < supply.hands() {
                hands += 1;
                scope.spawn(fetch);
            }
            if supply.is_idle() {
                line.close();
            }
            // A thread that hangs in the kernel cannot be had back.
            while replacements < queue.stuck(THREAD_PATIENCE).min(MOST_REPLACEMENTS) {
                replacements += 1;
                scope.spawn(work);
            }
        };
        let ended = arm_watchdogs(&socket, &queue, findings).and_then(|()| {
            // Ports come first, but a disk that takes seconds to appear begins to meanwhile.
            queue.open(Class::Disk);
            listen(&socket, &queue, findings, news, announced, &mut replace)
        });
        // Said here: the threads may never end.
        if let Err(error) = ended {
            findings.add_gap(gap("devices", "uevents", &error));
            for name in findings.awaited() {
                findings.add_gap(supply::gap(&name, "", "nobody loads drivers any more"));
            }
            findings.end_wait();
            let _nobody_left = news.send(News::Settled);
        }
        queue.close();
        supply.close();
    });
    Ok(())
}

/// Loads what watchdogs need and arms them before any port is there, for a limited time.
fn arm_watchdogs(socket: &Socket, queue: &Queue<'_>, findings: &Findings) -> io::Result<()> {
    let end = Instant::now() + WATCHDOG_PATIENCE;
    queue.open(Class::Watchdog);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // Short: disks that come meanwhile are made read-only at once.
        queue.wait_until_idle(left.min(Duration::from_millis(LULL_MILLISECONDS.into())));
        loop {
            match socket.hear(Some(0))? {
                Heard::Event(bytes) => {
                    if let Some(event) = Event::parse(&bytes) {
                        react(&event, queue, findings);
                    }
                }
                Heard::Lost => look_everywhere(queue, findings),
                Heard::Silence => break,
            }
        }
        // A driver may have its watchdog long before it has been loaded: the kernel waits for disks at its end.
        let armed = watchdog::arm_all() > 0;
        if armed || (queue.is_idle() && !queue.prefer(Class::Chipset)) {
            return Ok(());
        }
        if left.is_zero() {
            warn!(waiting_for = ?queue.busy(), "watchdogs take their time");
            return Ok(());
        }
    }
}

/// Hears what comes and goes, for ever.
fn listen(
    socket: &Socket,
    queue: &Queue<'_>,
    findings: &Findings,
    news: &UnboundedSender<News>,
    announced: &AtomicBool,
    replace: &mut dyn FnMut(),
) -> io::Result<()> {
    let start = Instant::now();
    let mut stirred = start;
    let mut stage = Stage::Arriving;
    let mut lulled = false;
    let supply = queue.supply();
    // Disks that were looked at whether anybody had written to them.
    let mut looked_at = BTreeSet::new();
    // Since when nothing is wanted of the store that disks or ports may appear with.
    let mut over = None;
    // How many drivers were awaited when somebody was told last.
    let mut told = 0;
    loop {
        let is_known = announced.load(Ordering::Relaxed);
        if is_known {
            supply.open();
        }
        let patience = match stage {
            Stage::Resting if !supply.is_idle() && is_known => Some(QUIET_MILLISECONDS),
            Stage::Resting if is_at_rest(queue, findings) => None,
            Stage::Resting => Some(SLOW_MILLISECONDS),
            Stage::Settled => Some(QUIET_MILLISECONDS),
            Stage::Arriving | Stage::Late => Some(LULL_MILLISECONDS),
        };
        let heard = socket.hear(patience)?;
        replace();
        let mut matters = false;
        match heard {
            Heard::Event(bytes) => {
                let Some(event) = Event::parse(&bytes) else { continue };
                matters = react(&event, queue, findings);
                stirred = Instant::now();
            }
            Heard::Lost => {
                warn!("events of devices were lost, looking at all of them again");
                look_everywhere(queue, findings);
                matters = true;
                stirred = Instant::now();
            }
            Heard::Silence => {}
        }
        let still_for =
            |milliseconds: u16| stirred.elapsed() >= Duration::from_millis(milliseconds.into());
        let silent_for = |milliseconds: u16| queue.is_idle() && still_for(milliseconds);
        let lull = silent_for(LULL_MILLISECONDS)
            || (queue.is_searching() && still_for(SEARCH_LULL_MILLISECONDS));
        lulled &= lull;
        if lull && !lulled && matches!(stage, Stage::Arriving | Stage::Late) {
            lulled = true;
            finish();
            let _nobody_left = news.send(News::Lull);
        }
        stage = match stage {
            Stage::Arriving | Stage::Late
                if silent_for(QUIET_MILLISECONDS) || start.elapsed() > HANG_PATIENCE =>
            {
                queue.note_hanging(Class::Disk, THREAD_PATIENCE);
                finish();
                check_belt(findings, &mut looked_at);
                if watchdog::arm_all() == 0 {
                    info!("this machine shows no hardware watchdog");
                }
                info!(modules = queue.count(), "devices settled");
                let _nobody_left = news.send(News::Settled);
                Stage::Settled
            }
            Stage::Arriving if start.elapsed() > DEVICE_PATIENCE => {
                info!(waiting_for = ?queue.busy(), "devices take their time");
                let _nobody_left = news.send(News::Unsettled);
                Stage::Late
            }
            // A medium may be in a drive, and those come with the rest.
            Stage::Settled if is_known || MEDIA.is_wanted() || start.elapsed() > REST_PATIENCE => {
                queue.open(Class::Rest);
                Stage::Resting
            }
            stage => stage,
        };
        // Over a network the server may still come, and until then nothing is decided by what the firmware would show.
        if MEDIA.is_wanted() && !is_known && start.elapsed() > FIRMWARE_PATIENCE {
            queue.want_without_firmware();
            if MEDIA.count() == 0 && !supply.is_idle() {
                let reason = "none found that answers";
                findings.add_quietly(gap("medium", "ISO 9660", &reason));
            }
        }
        if matches!(stage, Stage::Settled | Stage::Resting) {
            // In this order: what has come is passed on before it is no longer wanted.
            over = supply.is_over().then(|| over.unwrap_or_else(Instant::now));
            let is_loaded = queue.is_idle_before_rest() && still_for(QUIET_MILLISECONDS);
            let hangs = over.is_some_and(|since| since.elapsed() > HANG_PATIENCE);
            if over.is_some() && (is_loaded || hangs) && findings.is_waiting() {
                queue.note_hanging(Class::Disk, THREAD_PATIENCE);
                check_belt(findings, &mut looked_at);
                finish();
                matters |= findings.end_wait();
            }
            matters |= queue.note_hanging(Class::Rest, HANG_PATIENCE);
            matters |= [supply.take_end(), MEDIA.take_news(), findings.take_news()].contains(&true);
            // A driver that is wanted only now: until it has come, nothing is to be decided by what it would show.
            let awaited = findings.awaited().len();
            matters |= awaited > told;
            told = awaited;
            if matters {
                let _nobody_left = news.send(News::Changed);
            }
        }
    }
}

/// Holds where nothing is under way, and nothing came that nobody has told: until the kernel says something, there is nothing
/// to do. In the order in which things go on: what leaves one of these is in the next before.
fn is_at_rest(queue: &Queue<'_>, findings: &Findings) -> bool {
    let is_brought = queue.supply().is_quiet() && queue.is_idle();
    is_brought && !findings.is_waiting() && findings.is_quiet() && MEDIA.is_quiet()
}

/// Looks whether anybody has written to the disks that came: nobody had a permit, so that went past the belt.
fn check_belt(findings: &Findings, looked_at: &mut BTreeSet<String>) {
    let disks = findings.fastened();
    for gap in belt::gaps(Path::new("/"), disks.difference(looked_at).cloned()) {
        findings.add_gap(gap);
    }
    *looked_at = disks;
}

/// How far the devices are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Ports and disks come.
    Arriving,
    /// They still do, and somebody was told that it takes long.
    Late,
    /// They are there.
    Settled,
    /// What nothing waits for comes too.
    Resting,
}

/// Does what needed drivers.
fn finish() {
    if crate::boot::is_efi()
        && let Err(error) = crate::boot::mount_efi_variables()
    {
        debug!(%error, "EFI variables are not mounted again");
    }
}

/// Finds all devices there are, and what drives them.
fn look_everywhere(queue: &Queue<'_>, findings: &Findings) {
    let mut seen = BTreeSet::new();
    for bus in names(Path::new("/sys/bus")) {
        let devices = Path::new("/sys/bus").join(bus).join("devices");
        for device in names(&devices) {
            if let Ok(modalias) = fs::read_to_string(devices.join(device).join("modalias")) {
                seen.insert(modalias);
            }
        }
    }
    // The machine itself stands on no bus: drivers for one model of board.
    seen.extend(fs::read_to_string("/sys/class/dmi/id/modalias"));
    for modalias in &seen {
        queue.want_device(modalias.trim_end());
    }
    if crate::boot::is_efi() {
        queue.want_module("efivarfs", "");
    }
    for disk in names(Path::new("/sys/block")) {
        if let Ok(place) = fs::read_link(Path::new("/sys/block").join(&disk)) {
            belt::fasten(&disk, &place.to_string_lossy(), belt::Occasion::Found, findings);
            MEDIA.look(&disk);
        }
    }
    watchdog::arm_all();
    debug!(devices = seen.len(), "devices found");
}

/// Does what one event asks for; says whether the machine became another by it.
fn react(event: &Event<'_>, queue: &Queue<'_>, findings: &Findings) -> bool {
    if let (event::Action::Add, Some(modalias)) = (event.action, event.modalias) {
        queue.want_device(modalias);
    }
    match (event.subsystem, event.action) {
        ("block", event::Action::Remove) if event.is_whole_disk => {
            if let Some(disk) = event.device_name {
                findings.forget(disk);
                MEDIA.forget(disk);
            }
            true
        }
        ("block", action) if event.is_whole_disk => {
            let occasion = match action {
                event::Action::Add => belt::Occasion::Found,
                _ => belt::Occasion::Changed,
            };
            if let Some(disk) = event.device_name {
                belt::fasten(disk, event.path, occasion, findings);
                MEDIA.look(disk);
            }
            action == event::Action::Add
        }
        ("net", event::Action::Add | event::Action::Remove) => !event.is_virtual(),
        ("watchdog", event::Action::Add) => {
            watchdog::arm_all();
            false
        }
        _ => false,
    }
}

/// Does something on a thread of its own that nobody waits for.
fn aside(name: String, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    thread::Builder::new().name(name).spawn(work).map(drop)
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

fn gap(what: &str, source: &str, reason: &dyn std::fmt::Display) -> Gap {
    Gap {
        what: what.to_owned(),
        source: source.to_owned(),
        reason: reason.to_string(),
        after_milliseconds: None,
    }
}
