//! Machines that are known, and what happens to them and to the server meanwhile.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use super::BOOT_PATIENCE;
use crate::{
    lab::Lab,
    machine::{Booted, Bus, Card, Disk, Firmware, Kernel, Machine, Port},
    server::{Known, Mode, Server, is_name_of},
    wait,
};

/// What half of all cheap boards say.
const GARBAGE_UUID: &str = "03000200-0400-0500-0006-000700080009";
const GARBAGE_SERIAL: &str = "To be filled by O.E.M.";

/// Fewer threads than the kernel has when the agent starts, and more than both ever have.
const FEWEST_THREADS: (usize, usize) = (30, 130);
/// How often a panic is looked for near the number with which the agent begins to live.
const TRIES_NEAR: usize = 14;
/// What the agent says on the console when a thread has panicked, when it ends for whatever reason, and when it waits.
const PANIC: &str = "panic in thread";
const CANNOT_GO_ON: &str = "this system cannot go on";
const WAITS: &str = "the server knows this machine";

pub(super) fn reboot_of_a_known_machine(lab: &Lab) -> Result<()> {
    let mut server = Server::start(lab, Mode::Authoritative)?;
    let mut machine = Machine::bios("tug").disk(Disk::blank(Bus::Virtio)).boot(lab)?;
    let known = server.waits_for(&machine)?;
    server.hears_boot(&known.name, 1)?;
    server.orders(&known.name, "reboot")?;
    server.hears_boot(&known.name, 2)?;
    ensure!(machine.restarts() >= 1, "it said that it booted again, and did not restart");
    is_still(&server, &known)?;
    server.orders(&known.name, "power-off")?;
    machine.switches_off(BOOT_PATIENCE)
}

pub(super) fn server_restarts_while_agent_waits(lab: &Lab) -> Result<()> {
    let mut server = Server::start(lab, Mode::Authoritative)?;
    let machine = Machine::bios("tug").disk(Disk::blank(Bus::Virtio)).boot(lab)?;
    let known = server.waits_for(&machine)?;
    server.hears_boot(&known.name, 1)?;
    server.kill()?;
    // Longer than the long poll's connection survives.
    wait::never("the machine restarted", Duration::from_secs(15), || Ok(machine.restarts() > 0))?;
    server.restart()?;
    is_still(&server, &known)?;
    // An order needs somebody to hear it: the agent comes back by itself, in the boot that it is in.
    server.hears_boot(&known.name, 1)?;
    obeys(&mut server, &known, 2)
}

/// How a boot with few threads goes.
#[derive(PartialEq, Eq)]
enum Going {
    /// The agent does not come far enough to panic.
    Ends,
    /// It panics, and its machine has restarted.
    Panics,
    /// It has all the threads that it needs.
    Lives,
}

/// Without a back door: the kernel is told that there may be fewer threads than it has itself.
pub(super) fn too_few_threads_restart(lab: &Lab) -> Result<()> {
    let server = Server::start(lab, Mode::Authoritative)?;
    let mut booted = with_threads(lab, &server, &Machine::bios("tug"), FEWEST_THREADS.0)?;
    booted.says("why it cannot go on", BOOT_PATIENCE, |console| console.contains(CANNOT_GO_ON))?;
    ensure!(!booted.console()?.contains(WAITS), "it lives with fewer threads than the kernel has");
    wait::until("its restart", BOOT_PATIENCE, || Ok((booted.restarts() > 0).then_some(())))
}

/// Boots a machine in which there may be so many threads.
fn with_threads(lab: &Lab, server: &Server, machine: &Machine, threads: usize) -> Result<Booted> {
    let kernel = Kernel::of(server, machine)?;
    let line = format!("{} sysctl.kernel.threads-max={threads}", kernel.command_line);
    machine.clone().kernel(Kernel { command_line: line, ..kernel }).boot(lab)
}

/// The kernel refuses the agent a thread of which nobody expects that it is refused. With how many threads it does so
/// is found by trying; it is not the same in each boot, so that near the place where the agent begins to live more than
/// one number is tried.
pub(super) fn panic_restarts(lab: &Lab) -> Result<()> {
    let server = Server::start(lab, Mode::Authoritative)?;
    let machine = Machine::bios("tug");
    let goes =
        |threads: usize| -> Result<Going> {
            let mut booted = with_threads(lab, &server, &machine, threads)?;
            booted.says("how it goes", BOOT_PATIENCE, |console| {
                console.contains(CANNOT_GO_ON) || console.contains(WAITS)
            })?;
            let console = booted.console()?;
            if console.contains(PANIC) {
                wait::until("its restart", BOOT_PATIENCE, || {
                    Ok((booted.restarts() > 0).then_some(()))
                })?;
                return Ok(Going::Panics);
            }
            Ok(if console.contains(WAITS) { Going::Lives } else { Going::Ends })
        };
    let (mut too_few, mut enough) = FEWEST_THREADS;
    while enough - too_few > 1 {
        let threads = usize::midpoint(too_few, enough);
        match goes(threads)? {
            Going::Panics => return Ok(()),
            Going::Lives => enough = threads,
            Going::Ends => too_few = threads,
        }
    }
    for threads in (too_few - 3..enough + 3).rev().cycle().take(TRIES_NEAR) {
        if goes(threads)? == Going::Panics {
            return Ok(());
        }
    }
    bail!("with {too_few} threads it does not start, with {enough} it lives, and never panics")
}

pub(super) fn cable_pulled_and_back(lab: &Lab) -> Result<()> {
    let mut server = Server::start(lab, Mode::Authoritative)?;
    let mut machine = Machine::bios("tug").disk(Disk::blank(Bus::Virtio)).boot(lab)?;
    let known = server.waits_for(&machine)?;
    server.hears_boot(&known.name, 1)?;
    machine.pull_cable(0)?;
    server.orders(&known.name, "reboot")?;
    wait::never("it obeyed without a cable", Duration::from_secs(20), || {
        Ok(machine.restarts() > 0)
    })?;
    machine.put_cable_back(0)?;
    server.hears_boot(&known.name, 2)?;
    is_still(&server, &known)
}

pub(super) fn second_port(lab: &Lab) -> Result<()> {
    let mut server = Server::start(lab, Mode::Authoritative)?;
    let first = Machine::bios("tug").disk(Disk::blank(Bus::Nvme)).port(Port::new(Card::WithIpxe));
    let known = {
        let booted = first.boot(lab)?;
        let known = server.waits_for(&booted)?;
        server.hears_boot(&known.name, 1)?;
        server.approves(&known.name)?;
        server.records_of(first.mac(), |known| known.is_complete(&first))?;
        known
    };
    let is_whole = |known: &Known, machine: &Machine| {
        known.describes(machine)?;
        let ports = known.ports();
        let all = machine.ports.iter().all(|port| ports.contains(&port.mac.as_str()));
        ensure!(all, "the record has only the ports {ports:?}");
        Ok(())
    };

    // Through its other port nothing of what it is changes.
    let second = first.clone().boots_through(1);
    {
        let _booted = second.boot(lab)?;
        server.hears_boot(&known.name, 2)?;
        is_still(&server, &known)?;
        server.records_of(first.mac(), |known| {
            is_whole(known, &second)?;
            known.is_complete(&second)
        })?;
    }

    // SAFETY 4: with another disk it is the same machine, and a person must look again.
    let third = second.disk(Disk::blank(Bus::Virtio)).port(Port::new(Card::IntelWithIpxe));
    let mut booted = third.boot(lab)?;
    server.hears_boot(&known.name, 3)?;
    is_still(&server, &known)?;
    server.records_of(first.mac(), |known| {
        is_whole(known, &third)?;
        known.is_held("approval", "pending")
    })?;
    server.approves(&known.name)?;
    let known = server.records_of(first.mac(), |known| known.is_complete(&third))?;
    let choice = known.install_disks()?[0];
    ensure!(is_name_of(choice, &third.disks[0]), "the first choice is not the fast disk: {choice}");
    is_belted(&server, &known, third.disks.len())?;
    goes_in_order(&server, &known, &mut booted)
}

pub(super) fn same_garbage_uuid_one_usb_card(lab: &Lab) -> Result<()> {
    let mut server = Server::start(lab, Mode::Authoritative)?;
    // No firmware here boots from USB cards: QEMU loads what the server would have sent.
    let card = Port::new(Card::Usb);
    let mut names = Vec::new();
    for name in ["left", "right"] {
        let machine = Machine::with(name, Firmware::Bios, card.clone())
            .identified_by(GARBAGE_UUID, GARBAGE_SERIAL)
            .disk(Disk::blank(Bus::Sata));
        let kernel = Kernel::of(&server, &machine)?;
        let booted = machine.kernel(kernel).boot(lab)?;
        let serial = &booted.machine.disks[0].serial;
        let what = format!("a record with the disk {serial}");
        let record = wait::until(&what, BOOT_PATIENCE, || {
            server.must_run()?;
            let records = server.records()?;
            Ok(records.into_iter().find(|(_, record)| record.to_string().contains(serial)))
        })?;
        names.push(record.0);
    }
    ensure!(names[0] != names[1], "two machines became one: {names:?}");
    ensure!(server.machines()?.len() == 2, "there are two machines");
    // Neither is approved by what the other has, and each is told to be less than sure.
    for name in names {
        let shown = server.shows(&name)?;
        ensure!(shown["strength"] == "weak", "{name} is {} by a USB card", shown["strength"]);
    }
    Ok(())
}

/// Every disk of the machine is there, and nothing was found to be wrong with the belt that keeps it from being written to.
fn is_belted(server: &Server, known: &Known, disks: usize) -> Result<()> {
    let inventory = &server.shows(&known.name)?["inventory"];
    let found = inventory["disks"].as_array().map_or(0, Vec::len);
    ensure!(found == disks, "it shows {found} disks of {disks}");
    let gaps = inventory["gaps"].as_array().map_or(&[][..], Vec::as_slice);
    let is_of_the_belt = |gap: &&Value| {
        let what = gap["what"].as_str().unwrap_or_default();
        what.starts_with("disks/") && what.ends_with("/readOnly")
    };
    let failed: Vec<&Value> = gaps.iter().filter(is_of_the_belt).collect();
    ensure!(failed.is_empty(), "the belt failed: {failed:?}");
    Ok(())
}

/// Ctrl-Alt-Del is an orderly restart: the server hears of it before the machine goes.
fn goes_in_order(server: &Server, known: &Known, booted: &mut Booted) -> Result<()> {
    let before = booted.restarts();
    booted.press(&["ctrl", "alt", "delete"])?;
    wait::until("its restart", BOOT_PATIENCE, || Ok((booted.restarts() > before).then_some(())))?;
    let story = server.ask(&["explain", &known.name])?.to_string();
    ensure!(story.contains("Ctrl-Alt-Del"), "it went without a word: {story}");
    Ok(())
}

/// The machine does as it is told: it restarts, and reports again.
fn obeys(server: &mut Server, known: &Known, boots: u64) -> Result<()> {
    server.orders(&known.name, "reboot")?;
    server.hears_boot(&known.name, boots)
}

/// There is one machine and one record, and it has the name that it had.
fn is_still(server: &Server, known: &Known) -> Result<()> {
    let machines = server.machines()?;
    ensure!(machines.len() == 1, "one machine became {}", machines.len());
    ensure!(machines[0]["name"] == known.name.as_str(), "it is {} now", machines[0]["name"]);
    let records = server.records()?;
    ensure!(records.len() == 1, "one record became {}", records.len());
    ensure!(records[0].0 == known.name, "the record is called {} now", records[0].0);
    Ok(())
}
