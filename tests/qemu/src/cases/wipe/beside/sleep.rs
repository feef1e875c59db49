//! A machine that sleeps to unfreeze its disks.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::super::{SMALL, WIPE_PATIENCE, came_to, is_zeros, waits_approved};
use crate::{
    lab::Lab,
    machine::{Bus, Disk, Kernel, Machine, frozen::Security},
    server::{Mode, Server},
};

/// It sleeps for ten seconds, by a clock that need not be QEMU's.
const SLEEP_PATIENCE: Duration = Duration::from_mins(2);

/// First a machine whose alarm does not ring while it is awake, then one whose alarm does.
pub(super) fn unfreezes(lab: &Lab) -> Result<()> {
    let mut server = Server::trusting_its_clock(lab, Mode::Authoritative)?;
    // QEMU's ACPI knows an alarm only of a machine that sleeps.
    stays_awake(lab, &mut server, " rtc_cmos.use_acpi_alarm=1")?;
    sleeps(lab, &mut server)
}

fn stays_awake(lab: &Lab, server: &mut Server, parameter: &str) -> Result<()> {
    let machine = described(server, "insomniac", parameter)?;
    let mut booted = machine.boot(lab)?;
    let known = waits_approved(server, &booted)?;
    booted.set_security(0, Security::Frozen)?;
    let serial = machine.disks[0].serial.as_str();
    let options = ["--overwrite", "--unfreeze", "--passes", "1"];
    let order = server.wipes(&known.name, "redline", &[serial], &options)?;
    let result = server.is_wiped(&order, WIPE_PATIENCE, |_| Ok(()))?;
    came_to(&result, "erasedWithExceptions", "logical")?;
    ensure!(booted.sleeps() == (0, 0), "it slept without an alarm: {:?}", booted.sleeps());
    ensure!(booted.has_armed_watchdog()?, "nothing watches it any more");
    is_zeros(&machine.disk_file(lab, 0))?;
    machine.has_unchanged_disk(lab, 1)?;
    let told = told(lab, server, serial)?;
    let says = told.contains("could not sleep to unfreeze it") && told.contains("did not ring");
    ensure!(says, "no certificate says why: {told}");
    Ok(())
}

fn sleeps(lab: &Lab, server: &mut Server) -> Result<()> {
    let machine = described(server, "sleeper", "")?;
    let mut booted = machine.boot(lab)?;
    let known = waits_approved(server, &booted)?;
    booted.set_security(0, Security::Frozen)?;
    ensure!(booted.has_armed_watchdog()?, "nothing watches it");
    let serial = machine.disks[0].serial.as_str();
    let options = ["--overwrite", "--unfreeze", "--passes", "1"];
    let order = server.wipes(&known.name, "redline", &[serial], &options)?;
    booted.falls_asleep(SLEEP_PATIENCE)?;
    ensure!(!booted.has_armed_watchdog()?, "its watchdog would reset it in its sleep");
    // Nothing was begun before, on no disk.
    machine.has_unchanged_disks(lab)?;
    let steps = server.journal_of(&order)?;
    ensure!(steps.is_empty(), "it slept after it had begun: {steps:?}");
    // What its power does to a disk.
    booted.set_security(0, Security::Supported)?;
    let result = server.is_wiped(&order, WIPE_PATIENCE, |_| Ok(()))?;
    came_to(&result, "erasedWithExceptions", "logical")?;
    ensure!(booted.sleeps() == (1, 1), "it slept and woke {:?} times", booted.sleeps());
    ensure!(booted.restarts() == 0, "it restarted");
    // SeaBIOS does not say again where the chipset's registers are, so that only the machine itself can tell.
    let console = booted.console()?;
    let (_, after) = console.split_once("PM: suspend exit").context("nothing of a sleep")?;
    ensure!(after.contains("watchdog armed"), "nothing watches it after its sleep: {after}");
    is_zeros(&machine.disk_file(lab, 0))?;
    machine.has_unchanged_disk(lab, 1)?;
    let told = told(lab, server, serial)?;
    // QEMU's disk refuses the password, which was tried only because nothing was frozen any more.
    ensure!(told.contains("SECURITY SET PASSWORD"), "it did not look again: {told}");
    ensure!(!told.contains("is frozen") && !told.contains("unfreeze it"), "still frozen: {told}");
    // The same boot hears the next order.
    let shown = server.ask(&["machines", "show", &known.name])?;
    ensure!(shown["boots"] == 1, "another boot ended it: {shown}");
    // SeaBIOS wakes a q35 without the chipset's power management, so that it cannot switch itself off any more.
    server.orders(&known.name, "power-off")?;
    booted.says("that it goes down", SLEEP_PATIENCE, |console| console.contains("going down"))
}

fn described(server: &Server, name: &str, parameter: &str) -> Result<Machine> {
    let small = |disk: Disk| Disk { size_bytes: SMALL, ..disk };
    let machine = Machine::bios(name)
        .watchdog()
        .disk(small(Disk::of_ones(Bus::Pata)))
        .disk(small(Disk::bootable(Bus::Nvme)));
    let mut kernel = Kernel::of_hercules(server, &machine)?;
    kernel.command_line += parameter;
    Ok(machine.kernel(kernel))
}

/// Returns all that certificates tell of a disk.
fn told(lab: &Lab, server: &Server, serial: &str) -> Result<String> {
    let certificates = server.certificates(&lab.scratch(""))?;
    let texts = certificates.iter().map(|(_, one): &(_, Value)| one.to_string());
    Ok(texts.filter(|text| text.contains(serial)).collect())
}
