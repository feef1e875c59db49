//! Drivers that are not in the image but in the server's store.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::BOOT_PATIENCE;
use crate::{
    checkout,
    lab::Lab,
    machine::{Booted, Bus, Card, Disk, Firmware, Machine, Port},
    server::{Mode, Server},
    story::say,
    wait,
};

/// Controllers whose drivers the store has, and those drivers.
const CONTROLLERS: [(Bus, &str); 2] = [(Bus::Raid, "megaraid_sas.ko"), (Bus::Sas, "mptsas.ko")];

/// A card whose ROM boots.
const CARD: Card = Card::IntelWithIpxe;

/// What such a machine with a RAID controller may load in all.
const MOST_LOADED_BYTES: u64 = 21_000_000;
/// What a machine that waits for orders, and everybody else on the cable, says in [`QUIET`] at most.
const CHATTER_BYTES: u64 = 8 << 10;
/// How long no more has to come: drivers follow each other within a second.
const QUIET: Duration = Duration::from_secs(4);

fn machine(bus: Bus) -> Machine {
    Machine::with("tug", Firmware::Bios, Port::new(CARD)).disk(Disk::blank(bus))
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
        if bus == Bus::Raid {
            let loaded = loaded_bytes(&booted)?;
            say(&format!("a machine with {CARD:?} and {bus:?} loaded {loaded} bytes in all"));
            ensure!(loaded <= MOST_LOADED_BYTES, "it loaded {loaded} bytes in all");
        }
    }
    Ok(())
}

/// Returns what came through its cable from power-on until no more came: boot files, drivers, and the heads of all packets.
fn loaded_bytes(booted: &Booted) -> Result<u64> {
    let (mut bytes, mut since) = (0, Instant::now());
    wait::until("the last driver", BOOT_PATIENCE, || {
        let now = booted.received_bytes(0)?;
        if now > bytes + CHATTER_BYTES {
            (bytes, since) = (now, Instant::now());
        }
        Ok((since.elapsed() > QUIET).then_some(now))
    })
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
