//! How fast disks are written over and read back, beside fio, nwipe, shred and dd: loop devices over tmpfs, at full
//! speed and held to that of a disk.
//!
//! Before every run that writes, what stands behind the device is spoilt at many places; after it, ours and theirs, it
//! must be zeros.

mod noticed;
mod throttle;
mod tools;

use anyhow::{Context as _, Result, bail, ensure};

use self::{
    throttle::Throttle,
    tools::{Task, Tools},
};
use super::{
    Figure, bytes_as_float,
    ground::{self, Disk, Ground},
    load, median, number,
};
use crate::{interrupt, story::Clock};

const ROUNDS: usize = 7;
/// What is wanted beside fio, and what must be.
const AIM: f64 = 0.97;
const FLOOR: f64 = 0.95;
const MEBIBYTES: usize = 2048;
/// A disk of this speed is what many are.
const DISK_BYTES_PER_SECOND: u64 = 200_000_000;
/// Eight disks at once, of which one is slower: together less than two cores carry.
const MANY: u64 = 8;
const MANY_BYTES_PER_SECOND: u64 = 50_000_000;
const SLOWEST_BYTES_PER_SECOND: u64 = 40_000_000;
/// The keyed stream shall make so much on one core.
const STREAM_BYTES_PER_SECOND: f64 = 2e9;

/// Two that are compared, each as often as there are rounds.
#[derive(Debug)]
struct Pair {
    case: &'static str,
    peer: &'static str,
    ours: Task,
    /// Absent where it is not installed.
    theirs: Option<Task>,
    /// Whether both are held to the speed of a disk.
    is_held: bool,
    wanted: f64,
    seconds: (Vec<f64>, Vec<f64>),
}

pub(super) fn measure() -> Result<Vec<Figure>> {
    let clock = Clock::start();
    let rounds = number("DRYDOCK_BENCH_ROUNDS", ROUNDS)?;
    let mebibytes = number("DRYDOCK_BENCH_MIB", MEBIBYTES)?;
    ensure!(rounds > 0 && mebibytes >= 64, "at least one round and a disk of 64 MiB");
    let tools = Tools::find(&clock)?;
    let ground = Ground::new("wiping")?;
    let bytes = u64::try_from(mebibytes)? << 20;
    let mut figures = {
        let disk = Disk::new(&ground, "disk", bytes)?;
        clock.say(&format!("the disk is {}, direct I/O: {}", disk.device(), disk.is_direct()));
        let throttle = Throttle::new(&[(&disk, DISK_BYTES_PER_SECOND)]);
        let throttle = said(&clock, throttle);
        // Not counted: pages come from the system when they are first touched.
        tools.run(Task::Zeros, &[&disk], None)?;
        let run = Run { clock: &clock, tools: &tools, disk: &disk, throttle: throttle.as_ref() };
        let mut pairs = pairs();
        for round in 1..=rounds {
            for pair in &mut pairs {
                run.once(pair, round)?;
            }
            clock.say(&format!("round {round} done; waiting for processors: {}", load()?));
        }
        pairs.into_iter().filter_map(Pair::figure).collect::<Vec<_>>()
    };
    figures.push(stream(&tools, rounds)?);
    figures.push(offload(&clock, &ground, &tools, bytes, rounds)?);
    figures.extend(many(&clock, &ground, &tools, bytes / MANY, rounds)?);
    drop(ground);
    figures.extend(noticed::measure(&clock, rounds)?);
    Ok(figures)
}

/// Fails with the figures that are not good enough: what shall be 0.97 may be 0.95, everything else what is wanted of it.
pub(super) fn must_hold(figures: &[Figure]) -> Result<()> {
    let is_below = |figure: &&Figure| {
        let wanted = figure.wanted.unwrap_or(1.0);
        let floor = if wanted == AIM { FLOOR } else { wanted };
        figure.ratio().is_some_and(|ratio| ratio < floor)
    };
    let below: Vec<String> = figures
        .iter()
        .filter(is_below)
        .map(|figure| {
            let ratio = figure.ratio().unwrap_or_default();
            format!("{}, beside {}: {ratio:.3}", figure.case, figure.peer)
        })
        .collect();
    if !below.is_empty() {
        bail!("below what they must reach: {}", below.join("; "));
    }
    Ok(())
}

fn said(clock: &Clock, throttle: Result<Throttle>) -> Option<Throttle> {
    throttle
        .inspect_err(|error| clock.say(&format!("nothing is held to a disk's speed: {error:#}")))
        .ok()
}

fn pairs() -> Vec<Pair> {
    let pair = |case, ours, peer, theirs: Task, wanted| Pair {
        case,
        peer,
        ours,
        theirs: theirs.is_there().then_some(theirs),
        is_held: false,
        wanted,
        seconds: (Vec::new(), Vec::new()),
    };
    let fio_write = "fio, sequential write, depth 32";
    let fio_read = "fio, sequential read, depth 32";
    let held = |pair: Pair| Pair { is_held: true, ..pair };
    vec![
        pair("a pass of zeros", Task::Zeros, fio_write, Task::FioWrite, AIM),
        pair("reading all back", Task::Verify, fio_read, Task::FioRead, AIM),
        held(pair("a pass, 200 MB/s disk", Task::Zeros, fio_write, Task::FioWrite, AIM)),
        held(pair("a stream's pass, 200 MB/s disk", Task::Stream, fio_write, Task::FioWrite, AIM)),
        held(pair("reading back, 200 MB/s disk", Task::Verify, fio_read, Task::FioRead, AIM)),
        pair("a pass of zeros", Task::Zeros, "nwipe, one pass, no verifying", Task::Nwipe, 1.0),
        pair("a pass of zeros", Task::Zeros, "shred, one pass", Task::Shred, 1.0),
        pair("a pass of zeros", Task::Zeros, "dd, bs=4M", Task::Dd, 1.0),
        pair("a pass of zeros", Task::Zeros, "dd, bs=4M, direct", Task::DdDirect, AIM),
    ]
}

impl Pair {
    /// Returns medians; nothing where ours could not be measured.
    fn figure(self) -> Option<Figure> {
        let Self { case, peer, wanted, seconds: (ours, theirs), .. } = self;
        if ours.is_empty() {
            return None;
        }
        let theirs = (!theirs.is_empty()).then(|| median(theirs));
        let ours = median(ours);
        Some(Figure { case, unit: "s", ours, peer, theirs, wanted: Some(wanted) })
    }
}

/// What all runs have in common.
#[derive(Debug)]
struct Run<'a> {
    clock: &'a Clock,
    tools: &'a Tools,
    disk: &'a Disk,
    throttle: Option<&'a Throttle>,
}

impl Run<'_> {
    /// Runs both of a pair, each second in every other round.
    fn once(&self, pair: &mut Pair, round: usize) -> Result<()> {
        if pair.is_held && self.throttle.is_none() {
            return Ok(());
        }
        let mut order = vec![(true, Some(pair.ours)), (false, pair.theirs)];
        if round.is_multiple_of(2) {
            order.reverse();
        }
        for (is_ours, task) in order {
            let Some(task) = task else { continue };
            let seconds = self.task(task, pair.is_held)?;
            let who = if is_ours { "ours" } else { pair.peer };
            self.clock.say(&format!("round {round}: {}: {who} {seconds:.2} s", pair.case));
            if is_ours { &mut pair.seconds.0 } else { &mut pair.seconds.1 }.push(seconds);
        }
        Ok(())
    }

    fn task(&self, task: Task, is_held: bool) -> Result<f64> {
        interrupt::check()?;
        if task.makes_zeros() {
            ground::spoil(self.disk.file())?;
        } else {
            self.tools.run(Task::Zeros, &[self.disk], None)?;
        }
        let throttle = self.throttle.filter(|_| is_held);
        let seconds = self.tools.run(task, &[self.disk], throttle)?;
        if task.makes_zeros() {
            ground::must_be_zeros(self.disk.file()).with_context(|| format!("after {task:?}"))?;
        }
        Ok(seconds)
    }
}

/// Measures what one core makes of the keyed stream.
fn stream(tools: &Tools, rounds: usize) -> Result<Figure> {
    let seconds = (0..rounds).map(|_| Ok(1e9 / tools.stream_bytes_per_second()?));
    let ours = median(seconds.collect::<Result<_>>()?);
    let theirs = Some(1e9 / STREAM_BYTES_PER_SECOND);
    let (case, peer) = ("a GB of the keyed stream, one core", "2 GB/s");
    Ok(Figure { case, unit: "s", ours, peer, theirs, wanted: None })
}

/// Measures a disk over a sparse file that zeroes itself, beside writing zeros to it.
fn offload(
    clock: &Clock,
    ground: &Ground,
    tools: &Tools,
    bytes: u64,
    rounds: usize,
) -> Result<Figure> {
    let disk = Disk::new(ground, "sparse", bytes)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        for (task, seconds) in [(Task::Offload, &mut ours), (Task::Zeros, &mut theirs)] {
            interrupt::check()?;
            disk.clear()?;
            ground::spoil(disk.file())?;
            let took = tools.run(task, &[&disk], None)?;
            ground::must_be_zeros(disk.file()).with_context(|| format!("after {task:?}"))?;
            clock.say(&format!("round {round}: a sparse disk: {task:?} {took:.3} s"));
            seconds.push(took);
        }
    }
    let (case, peer) = ("a sparse disk zeroes itself", "writing zeros to it");
    let (ours, theirs) = (median(ours), Some(median(theirs)));
    Ok(Figure { case, unit: "s", ours, peer, theirs, wanted: Some(20.0) })
}

/// Measures eight disks at once, beside the slowest of them alone.
fn many(
    clock: &Clock,
    ground: &Ground,
    tools: &Tools,
    bytes: u64,
    rounds: usize,
) -> Result<Option<Figure>> {
    let names = ["disk0", "disk1", "disk2", "disk3", "disk4", "disk5", "disk6", "disk7"];
    let disks = names.iter().map(|name| Disk::new(ground, name, bytes));
    let disks: Vec<Disk> = disks.collect::<Result<_>>()?;
    let all: Vec<&Disk> = disks.iter().collect();
    let speed = |number| match number {
        0 => SLOWEST_BYTES_PER_SECOND,
        _ => MANY_BYTES_PER_SECOND,
    };
    let limits: Vec<_> =
        all.iter().enumerate().map(|(number, disk)| (*disk, speed(number))).collect();
    let Some(throttle) = said(clock, Throttle::new(&limits)) else { return Ok(None) };
    tools.run(Task::Zeros, &all, None)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        for (disks, seconds) in [(&all[..], &mut ours), (&all[..1], &mut theirs)] {
            interrupt::check()?;
            for disk in disks {
                ground::spoil(disk.file())?;
            }
            let took = tools.run(Task::Zeros, disks, Some(&throttle))?;
            for disk in disks {
                ground::must_be_zeros(disk.file())?;
            }
            clock.say(&format!("round {round}: {} disks: {took:.2} s", disks.len()));
            seconds.push(took);
        }
    }
    let least = bytes_as_float(bytes) / bytes_as_float(SLOWEST_BYTES_PER_SECOND);
    clock.say(&format!("the slowest cannot take less than {least:.2} s"));
    let (case, peer) = ("8 disks at once", "the slowest of them alone");
    let (ours, theirs) = (median(ours), Some(median(theirs)));
    Ok(Some(Figure { case, unit: "s", ours, peer, theirs, wanted: Some(1.0 / 1.1) }))
}
