//! What a machine loads, and how long it takes from the kernel's start to the record.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Figure, median, megabytes};
use crate::{
    cases::BOOT_PATIENCE,
    checkout, interrupt,
    lab::Lab,
    machine::{Bus, Disk, Kernel, Machine},
    server::{Mode, Server},
    story::Clock,
};

/// Single rounds differ by a fifth of a second on a machine at rest.
const ROUNDS: usize = 9;
/// The kernel says this, with its own clock, when PID 1 starts.
const INIT_STARTS: &str = "as init process";
/// What the empty PID 1 says.
const EMPTY_INIT: &str = "empty init runs";
/// What the record may take beyond the start of an empty PID 1.
const ALLOWANCE_SECONDS: f64 = 1.5;

pub(super) fn measure() -> Result<Vec<Figure>> {
    let dist = checkout::image()?;
    let kernel = megabytes(&dist.join("sunshineos-x86_64.vmlinuz"))?;
    let initrd = megabytes(&dist.join("sunshineos-x86_64.initrd"))?;
    let clock = Clock::start();
    let mut empty = Vec::new();
    let mut ours = Vec::new();
    for round in 1..=ROUNDS {
        empty.push(empty_init()?);
        ours.push(record()?);
        clock.say(&format!(
            "round {round}: empty init {:.2} s, record {:.2} s after the kernel's start",
            empty[round - 1],
            ours[round - 1]
        ));
    }
    let empty = median(empty);
    Ok(vec![
        Figure {
            case: "bytes loaded, kernel and initramfs",
            unit: "MB",
            ours: kernel + initrd,
            peer: "limit of the core",
            theirs: Some(20.0),
            wanted: None,
        },
        Figure {
            case: "kernel start to record",
            unit: "s",
            ours: median(ours),
            peer: "same kernel to an empty init, and 1.5 s",
            theirs: Some(empty + ALLOWANCE_SECONDS),
            wanted: None,
        },
    ])
}

/// Returns the seconds from the kernel's start to the first word of an empty PID 1.
fn empty_init() -> Result<f64> {
    let lab = Lab::new(&checkout::root().join("target/bench/empty"), false)?;
    let kernel = Kernel {
        image: checkout::image()?.join("sunshineos-x86_64.vmlinuz"),
        initrd: checkout::root().join("target/bench/empty.initrd"),
        // What machines are told that boot over the network, but for who and where the server is.
        command_line: "console=tty0 console=ttyS0,115200n8 cryptomgr.notests".to_owned(),
    };
    ensure!(kernel.initrd.exists(), "{} is missing: make empty-initrd", kernel.initrd.display());
    let machine = Machine::bios("empty").disk(Disk::blank(Bus::Virtio)).kernel(kernel);
    let machine = machine.boot(&lab)?;
    let start = kernel_start(machine.serial_log())?;
    let (_, runs) = line_with(machine.serial_log(), EMPTY_INIT)?;
    seconds_between(start, runs)
}

/// Returns the seconds from the kernel's start to the record's name in its directory, after a boot over the network.
fn record() -> Result<f64> {
    let lab = Lab::new(&checkout::root().join("target/bench/record"), false)?;
    let server = Server::start(&lab, Mode::Authoritative)?;
    let machine = Machine::bios("tug").disk(Disk::blank(Bus::Virtio)).boot(&lab)?;
    let start = kernel_start(machine.serial_log())?;
    let directory = lab.log("hardware");
    let begun = Instant::now();
    while server.records()?.is_empty() {
        ensure!(begun.elapsed() < BOOT_PATIENCE, "no record");
        interrupt::check()?;
        thread::sleep(Duration::from_millis(5));
    }
    // A rename into a directory is when the directory was last modified.
    let path: PathBuf = directory;
    let written = fs::metadata(&path).and_then(|of| of.modified()).context("reading times")?;
    seconds_between(start, written)
}

/// Returns when the kernel began to count its time, by this machine's clock.
fn kernel_start(log: &Path) -> Result<SystemTime> {
    let (line, arrived) = line_with(log, INIT_STARTS)?;
    let stamp = line.split(']').next().and_then(|stamp| stamp.split('[').next_back());
    let seconds: f64 = stamp
        .and_then(|stamp| stamp.trim().parse().ok())
        .with_context(|| format!("no time in {line}"))?;
    Ok(arrived - Duration::from_secs_f64(seconds))
}

/// Waits for a line on a serial console, and returns it with the moment of its arrival.
fn line_with(log: &Path, words: &str) -> Result<(String, SystemTime)> {
    let begun = Instant::now();
    loop {
        let text = fs::read(log).unwrap_or_default();
        let now = SystemTime::now();
        let text = String::from_utf8_lossy(&text);
        if let Some(line) = text.lines().find(|line| line.contains(words)) {
            return Ok((line.to_owned(), now));
        }
        interrupt::check()?;
        if begun.elapsed() > BOOT_PATIENCE {
            bail!("never said on the serial console: {words}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn seconds_between(start: SystemTime, end: SystemTime) -> Result<f64> {
    Ok(end.duration_since(start).context("the clock went backwards")?.as_secs_f64())
}
