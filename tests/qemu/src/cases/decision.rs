//! Who boots what: the table of SAFETY.md 18, under BIOS and UEFI.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::BOOT_PATIENCE;
use crate::{
    checkout,
    lab::Lab,
    machine::{Booted, Bus, Disk, Machine},
    router::Router,
    server::{Mode, Server},
    wait,
};

/// An unknown machine with data on its disks may be kept that long before it restarts.
const DISCOVERY: Duration = Duration::from_mins(1);
/// How long firmware under TCG may take to go on to the disk when the server says so: 35 s under UEFI on an idle machine,
/// of which HTTP Boot over IPv6 takes 20 s. Firmware that hears nothing from the server needs 140 s.
const AT_ONCE: Duration = Duration::from_secs(90);

pub(super) fn bios_with_data(lab: &Lab) -> Result<()> {
    let server = Server::start(lab, Mode::Authoritative)?;
    let (_server, machine) = with_data(lab, server, Machine::bios("tug"))?;
    // Once the agent runs, the firmware makes no difference: this is told under BIOS only.
    let kept = DISCOVERY + DISCOVERY / 4;
    let restarts = machine.restarts();
    wait::never("it went on although told to wait", kept, || Ok(machine.restarts() > restarts))?;
    ensure!(machine.own_disk_starts()? == 2, "it started its disk although told to wait");
    machine.machine.has_unchanged_disks(lab)
}

pub(super) fn uefi_with_data(lab: &Lab) -> Result<()> {
    let _router = Router::ipv6_only(lab)?;
    let server = Server::start(lab, Mode::Authoritative)?;
    with_data(lab, server, Machine::uefi("tug").without_ipv6()).map(drop)
}

pub(super) fn unified_with_data(lab: &Lab) -> Result<()> {
    let _router = Router::ipv6_only(lab)?;
    let assets = checkout::unified()?;
    let server = Server::booting_by_http(lab, Mode::Authoritative, "unified", assets)?;
    with_data(lab, server, Machine::uefi_http("tug").memory(512)).map(drop)
}

pub(super) fn bios_ignored(lab: &Lab) -> Result<()> {
    ignored(lab, Machine::bios("tug"))
}

pub(super) fn uefi_ignored(lab: &Lab) -> Result<()> {
    let _router = Router::ipv6_only(lab)?;
    ignored(lab, Machine::uefi("tug").without_ipv6())
}

pub(super) fn bios_without_drydock(lab: &Lab) -> Result<()> {
    without_drydock(lab, Machine::bios("tug"))
}

pub(super) fn uefi_without_drydock(lab: &Lab) -> Result<()> {
    let _router = Router::ipv6_only(lab)?;
    without_drydock(lab, Machine::uefi("tug").without_ipv6())
}

/// Rows "unknown" with data, "known, no order, data on its disk", and "told to wait".
fn with_data(lab: &Lab, mut server: Server, machine: Machine) -> Result<(Server, Booted)> {
    // A watchdog that starves restarts the machine: it must not while the agent waits.
    let mut machine = machine.disk(Disk::bootable(Bus::Virtio)).watchdog().boot(lab)?;
    let known = server.waits_for(&machine)?;
    server.hears_boot(&known.name, 1)?;
    let reported = Instant::now();
    ensure!(machine.own_disk_starts()? == 0, "it started its disk before it was discovered");
    // SAFETY 2: a disk with data waits for a person, whoever approved the machine.
    server.approves(&known.name)?;
    server.records_of(machine.machine.mac(), |known| {
        known.is_held("approval", "approved")?;
        known.is_held("missing", "a disk that is blank or was chosen")
    })?;

    // It loses one restart to discovery: time enough for a person to say "wait", and no longer.
    wait::until("its restart", DISCOVERY + BOOT_PATIENCE, || {
        Ok((machine.restarts() > 0).then_some(()))
    })?;
    let kept = reported.elapsed();
    ensure!(kept > DISCOVERY / 2, "it was kept for {} s only", kept.as_secs());
    ensure!(kept < DISCOVERY * 3 / 2, "it was kept for {} s", kept.as_secs());
    machine.starts_own_disk(1, AT_ONCE)?;

    // From then on nothing of ours is loaded.
    let reset = Instant::now();
    machine.reset()?;
    let again = machine.starts_own_disk(2, BOOT_PATIENCE)? - reset;
    ensure!(again < AT_ONCE, "its own disk started after {} s", again.as_secs());
    ensure!(server.boots_of(&known.name)? == 1, "the agent ran again");
    server.names(machine.machine.mac(), "ownDisk")?;

    server.orders(&known.name, "wait")?;
    machine.reset()?;
    server.hears_boot(&known.name, 2)?;
    // SAFETY 11.
    machine.machine.has_unchanged_disks(lab)?;
    Ok((server, machine))
}

/// Row "on the ignore list", beside a router.
fn ignored(lab: &Lab, machine: Machine) -> Result<()> {
    let _router = Router::plain(lab)?;
    let mac = machine.mac().to_owned();
    let ignore = format!("      ignore: [\"{mac}\"]\n");
    let server = Server::configured(lab, Mode::Proxy, &ignore)?;
    let mut machine = machine.disk(Disk::bootable(Bus::Sata)).boot(lab)?;
    machine.starts_own_disk(1, 2 * BOOT_PATIENCE)?;
    ensure!(machine.restarts() == 0, "it started something else before");
    server.names(&mac, "silenced")?;
    ensure!(server.machines()?.is_empty(), "the server knows a machine that it shall ignore");
    ensure!(server.records()?.is_empty(), "a machine that is ignored has a record");
    machine.machine.has_unchanged_disks(lab)
}

/// Row "Drydock is down", beside a router.
fn without_drydock(lab: &Lab, machine: Machine) -> Result<()> {
    let _router = Router::plain(lab)?;
    Server::start(lab, Mode::Proxy)?.kill()?;
    let mut machine = machine.disk(Disk::bootable(Bus::Sata)).boot(lab)?;
    machine.starts_own_disk(1, 2 * BOOT_PATIENCE)?;
    ensure!(machine.restarts() == 0, "it started something else before");
    machine.machine.has_unchanged_disks(lab)
}
