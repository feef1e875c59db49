//! How fast an image comes onto a disk, where the link or the disk is the slowest part.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Figure, bytes_as_float, median};
use crate::{
    checkout,
    lab::Lab,
    machine::{Bus, Disk, Kernel, Machine},
    server::{Mode, Server},
    story::Clock,
};

const ROUNDS: usize = 3;
/// Both are less than an emulated processor unpacks and checks in a second.
const DISK_BYTES_PER_SECOND: u64 = 12_000_000;
const LINK_BYTES_PER_SECOND: u64 = 5_000_000;
/// How much of a full Ethernet frame is TCP's content: 1448 of 1514 bytes, with time stamps.
const FRAME_CONTENT: f64 = 1448.0 / 1514.0;
const PATIENCE: Duration = Duration::from_mins(10);
const IMAGE: &str = "debian-13";

/// What is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slow {
    Disk,
    Link,
}

pub(super) fn measure() -> Result<Vec<Figure>> {
    let clock = Clock::start();
    let mut figures = Vec::new();
    for (slow, case, peer) in [
        (Slow::Disk, "install on a slow disk", "what the disk takes, 12 MB/s"),
        (Slow::Link, "install over a slow link", "what the link gives, 5 MB/s"),
    ] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 1..=ROUNDS {
            let (seconds, least) = install(slow)?;
            clock.say(&format!("round {round}: {case}: {seconds:.1} s, at the least {least:.1} s"));
            ours.push(seconds);
            theirs.push(least);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let (theirs, wanted) = (Some(theirs), Some(0.9));
        figures.push(Figure { case, unit: "s", ours, peer, theirs, wanted });
    }
    Ok(figures)
}

/// Installs once; returns the seconds that it took, and those that the slow part alone takes.
fn install(slow: Slow) -> Result<(f64, f64)> {
    let image = checkout::cloud()?;
    let lab = Lab::new(&checkout::root().join("target/bench/install"), false)?;
    let mut server = Server::trusting_its_clock(&lab, Mode::Authoritative)?;
    server.adds_image(&image, IMAGE)?;
    let pace = (slow == Slow::Disk).then_some(DISK_BYTES_PER_SECOND);
    let disk = Disk { bytes_per_second: pace, ..Disk::blank(Bus::Virtio) };
    let machine = Machine::bios("tug").disk(disk);
    let kernel = Kernel::of(&server, &machine)?;
    let machine = machine.kernel(kernel).boot(&lab)?;
    let known = server.waits_for(&machine)?;
    server.hears_boot(&known.name, 1)?;
    server.approves(&known.name)?;
    if slow == Slow::Link {
        machine.slow_cable(0, LINK_BYTES_PER_SECOND)?;
    }
    let serial = machine.machine.disks[0].serial.clone();
    let order = server.installs(&known.name, IMAGE, &serial, &["--finish", "stay"])?;
    let report = server.is_done(&order, PATIENCE, |_| Ok(()))?;
    let progress = |key: &str| {
        let number = report["progress"][key].as_u64();
        Ok::<_, anyhow::Error>(bytes_as_float(
            number.with_context(|| format!("no {key}: {report}"))?,
        ))
    };
    let least = match slow {
        // QEMU counts as written what a disk is told to zero (`block/throttle.c`), so that this one is as slow at that.
        Slow::Disk => {
            let bytes = progress("writtenBytes")? + progress("zeroedBytes")?;
            bytes / bytes_as_float(DISK_BYTES_PER_SECOND)
        }
        Slow::Link => {
            progress("fetchedBytes")? / bytes_as_float(LINK_BYTES_PER_SECOND) / FRAME_CONTENT
        }
    };
    Ok((progress("elapsedMilliseconds")? / 1000.0, least))
}
