//! How soon a machine says that a wipe was taken back, or that its disk is gone; and how long a certificate takes to verify.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::{
    bench::{Figure, median},
    checkout,
    lab::Lab,
    machine::{Booted, Bus, Disk, Kernel, Machine},
    server::{Known, Mode, Ordered, Server},
    story::Clock,
    wait,
};

/// What is allowed, in seconds.
const NOTICED: f64 = 5.0;
const VERIFIED: f64 = 0.05;
/// A slow disk, but none on which what is on its way already takes seconds; it is wiped in some twenty.
const SIZE_BYTES: u64 = 256 << 20;
const BYTES_PER_SECOND: u64 = 12 << 20;
const PATIENCE: Duration = Duration::from_mins(5);
/// How often a certificate is verified, at least.
const VERIFIES: usize = 7;

/// Measures on one machine: a wipe of each of its SCSI disks is cancelled, and at last one of them is pulled out.
pub(super) fn measure(clock: &Clock, rounds: usize) -> Result<Vec<Figure>> {
    let lab = Lab::new(&checkout::root().join("target/bench/wiping"), false)?;
    let mut server = Server::trusting_its_clock(&lab, Mode::Authoritative)?;
    let machine = Machine::bios("tug").disk(Disk::blank(Bus::Nvme));
    let slow = |bus| Disk {
        size_bytes: SIZE_BYTES,
        bytes_per_second: Some(BYTES_PER_SECOND),
        ..Disk::blank(bus)
    };
    // As many as a controller has room for.
    let disks = rounds.clamp(1, 7);
    let machine = (0..disks).fold(machine, |machine, _| machine.disk(slow(Bus::Scsi)));
    let kernel = Kernel::of_hercules(&server, &machine)?;
    let mut booted = machine.kernel(kernel).boot(&lab)?;
    let known = server.waits_for(&booted)?;
    server.hears_boot(&known.name, 1)?;
    server.approves(&known.name)?;
    server.orders(&known.name, "wait")?;
    all(&mut server, &known, &booted)?;
    let mut cancelled = Vec::new();
    for disk in 1..=disks {
        let order = erasing(&mut server, &known, &booted, disk)?;
        let cancel = |_: &mut Booted| server.command(&["orders", "cancel", &order.id]).map(drop);
        let seconds = until_told(&mut booted, cancel)?;
        clock.say(&format!("disk {disk}: cancel told after {seconds:.2} s"));
        cancelled.push(seconds);
    }
    // Once only: a machine whose disks changed has to be approved again.
    let _order = erasing(&mut server, &known, &booted, disks)?;
    let lost = until_told(&mut booted, |booted| booted.unplug(disks))?;
    clock.say(&format!("loss told after {lost:.2} s"));
    let verified = verified(&server, &lab, rounds)?;
    let figure = |case, seconds: Vec<f64>, peer, allowed| Figure {
        case,
        unit: "s",
        // What is promised is promised each time.
        ours: seconds.into_iter().fold(0.0, f64::max),
        peer,
        theirs: Some(allowed),
        wanted: Some(1.0),
    };
    Ok(vec![
        figure("a cancelled wipe is stopped, at the latest", cancelled, "5 s", NOTICED),
        figure("a lost disk is noticed", vec![lost], "5 s", NOTICED),
        Figure {
            ours: median(verified),
            ..figure("a certificate is verified", Vec::new(), "50 ms", VERIFIED)
        },
    ])
}

/// Has all disks wiped at once, for a certificate with something in it.
fn all(server: &mut Server, known: &Known, booted: &Booted) -> Result<()> {
    let serials: Vec<&str> = booted.machine.disks.iter().map(|disk| disk.serial.as_str()).collect();
    let options = ["--overwrite", "--finish", "stay"];
    let order = server.wipes(&known.name, "working", &serials, &options)?;
    server.is_wiped(&order, PATIENCE, |_| Ok(())).map(drop)
}

/// Has a disk wiped, until some of it is written.
fn erasing(server: &mut Server, known: &Known, booted: &Booted, disk: usize) -> Result<Ordered> {
    let serial = booted.machine.disks[disk].serial.clone();
    // The one before may have to be reported first.
    let order = wait::until("an order to be taken", PATIENCE, || {
        let options = ["--overwrite", "--finish", "stay"];
        Ok(server.wipes(&known.name, "full", &[&serial], &options).ok())
    })?;
    server.is_erasing(&order, 2 * BYTES_PER_SECOND, PATIENCE)?;
    Ok(order)
}

/// Returns the seconds from something that ends a wipe until its machine has said on its console how the disk stands.
fn until_told(booted: &mut Booted, act: impl FnOnce(&mut Booted) -> Result<()>) -> Result<f64> {
    let told = |console: &str| console.matches("reached:").count();
    let before = told(&booted.console()?);
    let begun = Instant::now();
    act(booted)?;
    booted.says("how its disk stands", PATIENCE, |console| told(console) > before)?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Returns the seconds that the largest certificate takes to verify, the program's start included.
fn verified(server: &Server, lab: &Lab, rounds: usize) -> Result<Vec<f64>> {
    let key = server.command(&["certificate", "key"])?;
    let certificates = server.certificates(&lab.scratch(""))?;
    let size = |value: &serde_json::Value| value.to_string().len();
    let largest = certificates.iter().max_by_key(|(_, one)| size(one));
    let (path, _) = largest.context("no certificate was made")?;
    (0..rounds.max(VERIFIES))
        .map(|_| {
            let begun = Instant::now();
            let doubt = server.doubts(path, key.trim())?;
            let seconds = begun.elapsed().as_secs_f64();
            ensure!(doubt.is_none(), "{}: {doubt:?}", path.display());
            Ok(seconds)
        })
        .collect()
}
