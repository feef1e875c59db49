//! An initramfs that did not arrive whole.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{BOOT_PATIENCE, Case, When};
use crate::{
    image::Image,
    lab::Lab,
    machine::{Bus, Disk, Kernel, Machine},
    server::{Known, Mode, Server},
    wait,
};

/// What it is called among the gaps, and where a driver that did not come would be.
const NAME: &str = "initramfs";
/// What the kernel says, once, and goes on.
const KERNEL_SAYS: &str = "Initramfs unpacking failed";
/// How much of it arrives, in percent: the agent and what a report needs, not the drivers of most disks.
const ARRIVES: usize = 70;
/// How many boots it has (`server/src/machine/awaited.rs`).
const BOOTS: u8 = 3;
/// How long the server has each of them wait at its end for a person (`server/src/machine/fleet.rs`).
const PAUSE: Duration = Duration::from_mins(1);

pub(super) const CASES: &[Case] = &[
    // Seen red: there is no manifest in the image; what a report needs stands at the end of the archive, as the names are sorted.
    Case {
        name: "truncated_initramfs",
        claim: "a machine whose initramfs was cut off has a record all the same, says what is missing, and is not approved while its disk cannot be seen, and starts again by itself",
        machines: 1,
        when: When::Test,
        run: truncated_initramfs,
    },
    Case {
        name: "cut_off_again_and_again",
        claim: "a machine whose initramfs never comes whole starts again by itself, three boots in all, and then its own disk, which nobody touched",
        machines: 1,
        when: When::Soak,
        run: cut_off_again_and_again,
    },
];

fn truncated_initramfs(lab: &Lab) -> Result<()> {
    let mut server = Server::start(lab, Mode::Authoritative)?;
    let machine = Machine::bios("tug").disk(Disk::blank(Bus::Nvme));
    let kernel = Kernel::of(&server, &machine)?;
    let mut initrd = fs::read(&kernel.initrd).context("reading the initramfs")?;
    initrd.truncate(initrd.len() / 100 * ARRIVES);
    let place = server.beside("truncated.initrd");
    fs::write(&place, initrd).context("writing what arrives of it")?;
    let booted = machine.kernel(Kernel { initrd: place, ..kernel }).boot(lab)?;
    let machine = &booted.machine;

    let (name, inventory) = wait::until("its record and its inventory", BOOT_PATIENCE, || {
        server.must_run()?;
        let Some(known) = Known::with_port(&server.records()?, machine.mac()) else {
            return Ok(None);
        };
        let inventory = server.shows(&known.name)?["inventory"].take();
        Ok(inventory["gaps"].is_array().then_some((known.name, inventory)))
    })?;
    let gaps = inventory["gaps"].as_array().context("no gaps")?;
    let of_it: Vec<&str> = gaps
        .iter()
        .filter(|gap| gap["what"] == NAME)
        .filter_map(|gap| gap["reason"].as_str())
        .collect();
    let [reason] = of_it[..] else { anyhow::bail!("the gaps of it are {of_it:?}: {gaps:?}") };
    for words in [" files are missing or cut off, first /lib/modules/", KERNEL_SAYS] {
        ensure!(reason.contains(words), "nothing of {words:?}: {reason}");
    }
    // What it lacks is not known by anything else: its disk is just not there.
    ensure!(
        inventory["disks"].as_array().is_none_or(Vec::is_empty),
        "it sees its disk: {inventory}"
    );
    let refused = server.refuses(&["machines", "approve", &name])?;
    ensure!(refused.contains(NAME), "it is not approved for another reason: {refused}");

    // Its disk may have a system. How often it starts again, the server's own tests say.
    wait::until("it is to start again", BOOT_PATIENCE, || {
        Ok(booted.console()?.contains("restarting in 60 seconds").then_some(()))
    })?;
    let console = booted.console()?;
    ensure!(console.contains("the initramfs is not whole"), "nobody sees it:\n{console}");
    ensure!(booted.restarts() == 0, "it restarted");
    // SAFETY 11.
    machine.has_unchanged_disks(lab)
}

fn cut_off_again_and_again(lab: &Lab) -> Result<()> {
    let image = Image::make(lab)?;
    image.cut_off(ARRIVES)?;
    let server = Server::serving(lab, Mode::Authoritative, "", image.directory.clone())?;
    let mut booted = Machine::bios("tug").disk(Disk::bootable(Bus::Nvme)).boot(lab)?;
    booted.starts_own_disk(1, u32::from(BOOTS) * (BOOT_PATIENCE + PAUSE))?;
    let restarts = booted.console()?.matches("reboot: Restarting system").count();
    ensure!(restarts == usize::from(BOOTS), "it restarted {restarts} times");
    let known = Known::with_port(&server.records()?, booted.machine.mac()).context("no record")?;
    let boots = server.boots_of(&known.name)?;
    ensure!(boots == u64::from(BOOTS), "{boots} boots were heard of");
    server.names(booted.machine.mac(), "ownDisk")?;
    // SAFETY 11.
    booted.machine.has_unchanged_disks(lab)
}
