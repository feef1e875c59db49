//! What the agent and the server take up: on disk, and in memory while they wait.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{Figure, bytes_as_float, fleet, megabytes};
use crate::{
    cases::BOOT_PATIENCE,
    checkout,
    lab::Lab,
    machine::{Bus, Disk, Kernel, Machine},
    server::{Mode, Server},
    story::Clock,
    wait,
};

const MACHINES: u16 = 1000;
/// Until then a server or an agent that has nothing to do has given back what it can.
const IDLE: Duration = Duration::from_secs(20);
const PAGE_BYTES: u64 = 4096;

pub(super) fn measure() -> Result<Vec<Figure>> {
    let agent = checkout::root().join("target/x86_64-unknown-linux-musl/agent/sunshine");
    let clock = Clock::start();
    let on_disk = megabytes(&agent)?;
    let agent = agent_in_memory()?;
    clock.say(&format!("the agent waits in {agent:.1} MiB"));
    let server = server_in_memory()?;
    clock.say(&format!("the server knows {MACHINES} machines in {server:.1} MiB"));
    let limit = "limit of the first release";
    Ok(vec![
        Figure {
            case: "agent on disk",
            unit: "MB",
            ours: on_disk,
            peer: limit,
            theirs: Some(4.0),
            wanted: None,
        },
        Figure {
            case: "agent resident, waiting",
            unit: "MiB",
            ours: agent,
            peer: limit,
            theirs: Some(24.0),
            wanted: None,
        },
        Figure {
            case: "server resident, 1,000 machines known, idle",
            unit: "MiB",
            ours: server,
            peer: limit,
            theirs: Some(32.0),
            wanted: None,
        },
    ])
}

/// Returns what a waiting agent holds of a machine's memory, in MiB.
///
/// The kernel is asked through the keyboard (Alt-SysRq-M): it counts all anonymous pages, among them those of files in
/// memory (`shmem`, the initramfs), and all pages of files that are mapped. The agent is the only program there is.
fn agent_in_memory() -> Result<f64> {
    let lab = Lab::new(&checkout::root().join("target/bench/agent"), false)?;
    let mut server = Server::start(&lab, Mode::Authoritative)?;
    let machine = Machine::bios("tug").disk(Disk::blank(Bus::Virtio));
    let mut kernel = Kernel::of(&server, &machine)?;
    kernel.command_line += " sysrq_always_enabled loglevel=8";
    let mut machine = machine.kernel(kernel).boot(&lab)?;
    let known = server.waits_for(&machine)?;
    server.hears_boot(&known.name, 1)?;
    wait::never("the machine restarted", IDLE, || Ok(machine.restarts() > 0))?;
    machine.press(&["alt", "sysrq", "m"])?;
    let pages = wait::until("the kernel's memory report", BOOT_PATIENCE, || {
        let text = fs::read(machine.serial_log()).context("reading the serial console")?;
        let text = String::from_utf8_lossy(&text);
        let Some(start) = text.rfind("Mem-Info:") else { return Ok(None) };
        let count = |name: &str| -> Option<u64> {
            let (_, rest) = text[start..].split_once(&format!("{name}:"))?;
            rest.split_whitespace().next()?.parse().ok()
        };
        let counts = [" active_anon", "inactive_anon", "mapped", "shmem"].map(count);
        let [Some(active), Some(inactive), Some(mapped), Some(shared)] = counts else {
            return Ok(None); // The report is not whole yet.
        };
        Ok(Some(active + inactive + mapped - shared))
    })?;
    Ok(bytes_as_float(pages * PAGE_BYTES) / f64::from(1 << 20))
}

/// Returns the resident memory of an idle server that knows many machines, in MiB.
fn server_in_memory() -> Result<f64> {
    let lab = Lab::new(&checkout::root().join("target/bench/server"), false)?;
    let mut server = Server::start(&lab, Mode::Authoritative)?;
    let fleet = fleet::station(&lab)?;
    for number in 0..MACHINES {
        fleet::announce(&fleet, number).with_context(|| format!("machine {number}"))?;
    }
    let all = usize::from(MACHINES);
    ensure!(server.machines()?.len() == all, "{} machines", server.machines()?.len());
    wait::until("all records", BOOT_PATIENCE, || {
        Ok((server.records()?.len() == all).then_some(()))
    })?;
    // Known machines of a server that was started since, too: that is its ordinary life.
    let filled = resident(server.id())?;
    server.kill()?;
    server.restart()?;
    thread::sleep(IDLE);
    let restarted = resident(server.id())?;
    Ok(filled.max(restarted))
}

/// Returns the resident memory of a process, in MiB.
pub(super) fn resident(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))
        .context("reading the process's status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: f64 = line
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("no VmRSS in {status}"))?;
    Ok(kibibytes / 1024.0)
}
