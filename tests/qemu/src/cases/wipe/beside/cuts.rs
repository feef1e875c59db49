//! Power cuts at one point of each level, each followed by a boot.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::super::{
    BOOT_PATIENCE, SMALL, WIPE_PATIENCE, came_to, is_zeros, starts_with_nothing, waits_approved,
};
use crate::{
    lab::Lab,
    machine::{Bus, Disk, Kernel, Machine, installed},
    server::{Mode, Ordered, Server},
};

/// A cut: what is ordered, when the power fails, and what the order comes to all the same.
struct Cut<'c> {
    level: &'c str,
    options: &'c [&'c str],
    disk: Disk,
    /// Holds for the journal as it is when the power fails.
    at: fn(&[Value]) -> bool,
    verdict: &'c str,
    reached: &'c str,
    /// Looks at the disk afterwards.
    look: fn(&Path) -> Result<()>,
}

/// Redline goes on in the pass that the power failed in, and not in the first one.
pub(super) fn in_the_second_pass(lab: &Lab) -> Result<()> {
    let mut server = Server::trusting_its_clock(lab, Mode::Authoritative)?;
    // What was written is told every ten seconds, and a pass takes twelve.
    let disk = Disk { size_bytes: 48 << 20, ..Disk::of_ones(Bus::Sata) };
    let order = cut(
        lab,
        &mut server,
        "tug",
        &Cut {
            level: "redline",
            options: &["--passes", "2"],
            disk: Disk { bytes_per_second: Some(4 << 20), ..disk },
            at: |steps| passes(steps).contains(&1),
            verdict: "erasedWithExceptions",
            reached: "logical",
            look: is_zeros,
        },
    )?;
    let passes = passes(&server.journal_of(&order)?);
    ensure!(passes.is_sorted(), "it began anew: passes {passes:?}");
    Ok(())
}

/// At `full` it is another case.
pub(super) fn at_every_level(lab: &Lab) -> Result<()> {
    let mut server = Server::trusting_its_clock(lab, Mode::Authoritative)?;
    let slow = |disk: Disk, pace| Disk { size_bytes: SMALL, bytes_per_second: Some(pace), ..disk };
    let of_ones = |bus| slow(Disk::of_ones(bus), 256 << 10);
    cut(
        lab,
        &mut server,
        "harbour",
        &Cut {
            level: "harbour",
            options: &[],
            disk: slow(Disk::installed(Bus::Nvme), 32 << 10),
            at: |steps| has_begun(steps, "ephemeralFiles"),
            verdict: "notErased",
            reached: "none",
            look: |disk| {
                let kept = installed::FILES.iter().filter(|(_, goes)| !goes).map(|(path, _)| *path);
                let left = installed::files_on(disk)?;
                ensure!(left == kept.collect::<Vec<_>>(), "these files are left: {left:?}");
                Ok(())
            },
        },
    )?;
    cut(
        lab,
        &mut server,
        "working",
        &Cut {
            level: "working",
            options: &[],
            disk: of_ones(Bus::Virtio),
            at: |steps| has_begun(steps, "signatures"),
            verdict: "erased",
            reached: "signatures",
            look: starts_with_nothing,
        },
    )?;
    let disk = Disk { size_bytes: SMALL, ..Disk::of_ones(Bus::Scsi) };
    cut(
        lab,
        &mut server,
        "verifying",
        &Cut {
            level: "redline",
            options: &["--passes", "1"],
            disk: Disk { read_bytes_per_second: Some(1 << 20), ..disk },
            at: |steps| steps.iter().any(|step| step.to_string().contains("verify")),
            verdict: "erasedWithExceptions",
            reached: "logical",
            look: is_zeros,
        },
    )?;
    Ok(())
}

/// The disks of a machine whose power was cut are put into another one, which nobody ordered anything of.
pub(super) fn other_machine(lab: &Lab) -> Result<()> {
    let mut server = Server::trusting_its_clock(lab, Mode::Authoritative)?;
    let disk = Disk { size_bytes: 4 * SMALL, ..Disk::of_ones(Bus::Virtio) };
    let machine = two_disks("tug", Disk { bytes_per_second: Some(4 << 20), ..disk });
    let kernel = Kernel::of_hercules(&server, &machine)?;
    let booted = machine.kernel(kernel).boot(lab)?;
    let known = waits_approved(&mut server, &booted)?;
    let serial = booted.machine.disks[0].serial.clone();
    let options = ["--overwrite", "--finish", "power-off"];
    let order = server.wipes(&known.name, "full", &[&serial], &options)?;
    server.is_erasing(&order, SMALL, WIPE_PATIENCE)?;
    let mut machine = booted.cut_power()?;
    machine.disks[0].bytes_per_second = None;
    let half = fs::read(machine.disk_file(lab, 0)).context("reading the disk")?;
    ensure!(half.contains(&0xff) && half.contains(&0), "it was not cut in the middle");

    // The same name in the lab, so that it has the same disks; everything else is another machine's.
    let other = machine.disks.iter().cloned().fold(Machine::bios("tug"), Machine::disk);
    let kernel = Kernel::of_hercules(&server, &other)?;
    let mut booted = other.kernel(kernel).boot(lab)?;
    let stranger = waits_approved(&mut server, &booted)?;
    ensure!(stranger.name != known.name, "it is taken for the machine that its disks were in");
    let state = server.state_of(&order)?;
    server.orders(&stranger.name, "power-off")?;
    booted.switches_off(BOOT_PATIENCE)?;
    drop(booted);
    ensure!(state["is"] == "interrupted" || state["is"] == "running", "it went on: {state}");
    let now = fs::read(machine.disk_file(lab, 0)).context("reading the disk")?;
    ensure!(now == half, "the disk was written to in another machine");
    machine.has_unchanged_disk(lab, 1)?;

    let mut booted = machine.boot(lab)?;
    let result = server.is_wiped(&order, WIPE_PATIENCE, |_| Ok(()))?;
    booted.switches_off(BOOT_PATIENCE)?;
    came_to(&result, "erasedWithExceptions", "logical")?;
    is_zeros(&machine.disk_file(lab, 0))?;
    machine.has_unchanged_disk(lab, 1)
}

/// Cuts the power there, switches the machine on again, and holds what comes of it against what is expected.
fn cut(lab: &Lab, server: &mut Server, name: &str, cut: &Cut<'_>) -> Result<Ordered> {
    let machine = two_disks(name, cut.disk.clone());
    let kernel = Kernel::of_hercules(server, &machine)?;
    let booted = machine.kernel(kernel).boot(lab)?;
    let known = waits_approved(server, &booted)?;
    let serial = booted.machine.disks[0].serial.clone();
    let options = [&["--overwrite", "--finish", "power-off"][..], cut.options].concat();
    let order = server.wipes(&known.name, cut.level, &[&serial], &options)?;
    let steps = server.journals(&order, WIPE_PATIENCE, cut.at)?;
    let mut machine = booted.cut_power()?;
    ensure!(!is_over(&steps), "{name}: it was cut when it was over: {steps:?}");

    machine.disks[0].bytes_per_second = None;
    machine.disks[0].read_bytes_per_second = None;
    let mut booted = machine.boot(lab)?;
    let result = server.is_wiped(&order, WIPE_PATIENCE, |_| Ok(()))?;
    booted.switches_off(BOOT_PATIENCE)?;
    came_to(&result, cut.verdict, cut.reached).context(name.to_owned())?;
    let file = machine.disk_file(lab, 0);
    (cut.look)(&file).with_context(|| name.to_owned())?;
    machine.has_unchanged_disk(lab, 1)?;
    let certificates = server.certificates(&lab.scratch(""))?;
    let orders = certificates.iter().map(|(_, one)| &one["certificate"]["order"]);
    let of_order = orders.filter(|one| one["id"] == order.id.as_str());
    let continued = of_order.filter(|one| one["continuedBoots"] == 1).count();
    ensure!(continued == 2, "{continued} certificates say that a boot continued: {certificates:?}");
    Ok(order)
}

fn two_disks(name: &str, first: Disk) -> Machine {
    let kept = Disk { size_bytes: SMALL, ..Disk::bootable(Bus::Sata) };
    let kept = if first.bus == Bus::Sata { Disk { bus: Bus::Nvme, ..kept } } else { kept };
    Machine::bios(name).disk(first).disk(kept)
}

fn has_begun(steps: &[Value], technique: &str) -> bool {
    steps.iter().any(|step| {
        let words = step.to_string();
        words.contains("begin") && words.contains(technique)
    })
}

fn is_over(steps: &[Value]) -> bool {
    steps.iter().any(|step| step.to_string().contains("over\""))
}

/// Returns the passes of all watermarks, in the order in which they were told.
fn passes(steps: &[Value]) -> Vec<u64> {
    steps.iter().filter_map(pass_in).collect()
}

fn pass_in(value: &Value) -> Option<u64> {
    match value.get("pass") {
        Some(pass) => pass.as_u64(),
        None => value.as_object()?.values().find_map(pass_in),
    }
}
