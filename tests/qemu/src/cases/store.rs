//! Drivers that are not in the image but in the server's store.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
};

use anyhow::{Context as _, Result, ensure};

use super::BOOT_PATIENCE;
use crate::{
    checkout,
    lab::Lab,
    machine::{Bus, Card, Disk, Firmware, Machine, Port},
    server::{Mode, Server},
    wait,
};

/// Controllers whose drivers the store has, and those drivers.
const CONTROLLERS: [(Bus, &str); 2] = [(Bus::Raid, "megaraid_sas.ko"), (Bus::Sas, "mptsas.ko")];

fn machine(bus: Bus) -> Machine {
    Machine::with("tug", Firmware::Bios, Port::new(Card::IntelWithIpxe)).disk(Disk::blank(bus))
}

pub(super) fn late_disks(lab: &Lab) -> Result<()> {
    checkout::store()?;
    let mut server = Server::start(lab, Mode::Authoritative)?;
    for (bus, driver) in CONTROLLERS {
        let booted = machine(bus).boot(lab)?;
        // Its record lists the disk, which nobody had seen when the machine was announced first.
        server.waits_for(&booted)?;
        let console = booted.console()?;
        let is_fetched =
            console.lines().any(|line| line.contains("fetched") && line.contains(driver));
        ensure!(is_fetched, "{driver} was not fetched:\n{console}");
        ensure!(booted.restarts() == 0, "it restarted");
        // SAFETY 11.
        booted.machine.has_unchanged_disks(lab)?;
    }
    Ok(())
}

pub(super) fn altered_store(lab: &Lab) -> Result<()> {
    let store = checkout::store()?;
    let assets = lab.scratch("altered");
    let altered = assets.join("store");
    fs::create_dir_all(&altered).context("making a directory for a store")?;
    for entry in fs::read_dir(checkout::build()?).context("reading a build")? {
        let entry = entry?;
        if entry.file_name() != "store" {
            symlink(entry.path(), assets.join(entry.file_name())).context("linking an image")?;
        }
    }
    // Every file is as long as it should be, and holds zeros.
    for entry in fs::read_dir(store).context("reading the store")? {
        let entry = entry?;
        let file = File::create(altered.join(entry.file_name())).context("altering a file")?;
        file.set_len(entry.metadata()?.len()).context("altering a file")?;
    }
    let mut server = Server::serving(lab, Mode::Authoritative, "", assets)?;
    let booted = machine(Bus::Raid).boot(lab)?;
    let machine = &booted.machine;
    wait::until("the machine to say what was wrong", BOOT_PATIENCE, || {
        server.must_run()?;
        let machines = server.machines()?;
        let Some(name) = machines.first().and_then(|known| known["name"].as_str()) else {
            return Ok(None);
        };
        let shown = server.shows(name)?.to_string();
        let is_told = shown.contains("altered") && shown.contains("megaraid_sas");
        Ok(is_told.then_some(()))
    })?;
    machine.has_unchanged_disks(lab)?;
    ensure!(booted.restarts() == 0, "it restarted");
    Ok(())
}
