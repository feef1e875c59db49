//! Machines that start from a medium where no server is: a person types at the keyboard.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{BOOT_PATIENCE, Case, When};
use crate::{
    checkout,
    lab::Lab,
    machine::{Booted, Bus, Disk, Kernel, Machine},
    process::run,
};

/// What the kernel is told on a medium: the keyboard belongs to the screen, and the harness reads the serial line.
const LINE: &str = "console=tty0 console=ttyS0 drydock.medium=1";

/// What `HerculesOS` is loaded from; its agent always has the menu.
const HERCULES: &str = "herculesos-x86_64.initrd";

/// As much as is wiped in a moment.
const SMALL: u64 = 64 << 20;

/// How long an answer on the screen may take.
const ANSWER_PATIENCE: Duration = Duration::from_mins(2);

/// Every case of this kind.
pub(super) const CASES: &[Case] = &[
    // Seen red: the file lies in a directory that the library made, which `fsck.vfat` finds damaged.
    Case {
        name: "offline_inventory",
        claim: "a machine that started from a medium, where no server is, shows its inventory and saves it to a stick, and no byte of its disk changes",
        machines: 1,
        when: When::Soak,
        run: inventory,
    },
    // Seen red: the agent waits for drivers from a store that nobody has, and never asks; a damaged stick.
    Case {
        name: "offline_wipe",
        claim: "without a server a wrong confirmation at the console changes no byte, and the right one wipes exactly the disk that it names",
        machines: 1,
        when: When::Test,
        run: wipe,
    },
];

fn inventory(lab: &Lab) -> Result<()> {
    let disk = Disk { size_bytes: SMALL, ..Disk::of_ones(Bus::Sata) };
    let stick = stick(lab)?;
    let machine = Machine::bios("dinghy").disk(disk);
    let machine = on_medium(machine, "sunshineos", checkout::medium_initrd()?, &stick)?;
    let serial = machine.serial.clone();
    let mut booted = machine.boot(lab)?;
    booted
        .says("its menu", BOOT_PATIENCE, |console| console.contains("is off-line. Type a key"))?;
    let shown = booted.console()?;
    for part in [&serial, &booted.machine.disks[0].serial, booted.machine.mac()] {
        ensure!(shown.contains(part), "the inventory on the screen does not say {part}");
    }
    save(&mut booted, "inventory")?;
    let saved = read(&stick, &format!("{serial}.json"))?;
    ensure!(saved["system"]["serial"] == serial.as_str(), "another machine was saved: {saved}");
    let disks = saved["disks"].as_array().context("no disks were saved")?;
    let is_there = |disk: &Disk| disks.iter().any(|saved| saved["serial"] == disk.serial.as_str());
    ensure!(booted.machine.disks.iter().all(is_there), "a disk was not saved: {saved}");
    booted.machine.has_unchanged_disks(lab)?;
    answer(&mut booted, "p")?;
    booted.switches_off(ANSWER_PATIENCE)
}

fn wipe(lab: &Lab) -> Result<()> {
    let disk = || Disk { size_bytes: SMALL, ..Disk::of_ones(Bus::Sata) };
    let stick = stick(lab)?;
    let machine = Machine::bios("dredger").disk(disk()).disk(disk());
    let machine = on_medium(machine, "herculesos", checkout::hercules()?.join(HERCULES), &stick)?;
    let mut booted = machine.boot(lab)?;
    booted
        .says("its menu", BOOT_PATIENCE, |console| console.contains("is off-line. Type a key"))?;
    let serials: Vec<String> =
        booted.machine.disks.iter().map(|disk| disk.serial.clone()).collect();

    for (times, wrong) in ["", "y", &serials[1], &serials[0].to_lowercase()].iter().enumerate() {
        choose(&mut booted, &serials[0], times + 1)?;
        answer(&mut booted, wrong)?;
        waits(&mut booted, "nothing was", times + 1)?;
    }
    booted.machine.has_unchanged_disks(lab)?;

    choose(&mut booted, &serials[0], 5)?;
    answer(&mut booted, &serials[0])?;
    waits(&mut booted, &format!("{}: erased", serials[0]), 1)?;
    let wiped = fs::read(booted.machine.disk_file(lab, 0)).context("reading the wiped disk")?;
    ensure!(wiped.iter().all(|byte| *byte == 0), "something is left on the disk");
    booted.machine.has_unchanged_disk(lab, 1)?;

    save(&mut booted, "wipe")?;
    let saved = read(&stick, &format!("{}-wipe.json", booted.machine.serial))?;
    let report = &saved["report"];
    // What lies behind a disk of QEMU's nobody knows, and the report says so.
    let verdict = &report["disks"][0]["verdict"];
    ensure!(*verdict == "erasedWithExceptions", "the report says {report}");
    ensure!(report["untouched"][0]["serial"] == serials[1].as_str(), "the report says {report}");
    ensure!(saved["signature"].is_string() && saved["key"].is_string(), "nobody signed it");
    Ok(())
}

/// Has the menu ask for the name of a disk, for the whole of it to be wiped.
fn choose(booted: &mut Booted, serial: &str, times: usize) -> Result<()> {
    answer(booted, "w")?;
    waits(booted, "numbers of the disks", times)?;
    let console = booted.console()?;
    let row = console.lines().rev().find(|line| line.starts_with('[') && line.contains(serial));
    let row = row.with_context(|| format!("{serial} is not offered"))?;
    let number = row.trim_start_matches('[').split(']').next().unwrap_or_default().to_owned();
    answer(booted, &number)?;
    waits(booted, "level, as a word", times)?;
    answer(booted, "full")?;
    waits(booted, "type its serial number", times)
}

/// Has the menu put what it has on the only stick.
fn save(booted: &mut Booted, what: &str) -> Result<()> {
    let before = booted.console()?.matches("number of the stick").count();
    answer(booted, "s")?;
    waits(booted, "number of the stick", before + 1)?;
    answer(booted, "1")?;
    waits(booted, "saved and read back: drydock-", 1).with_context(|| format!("saving the {what}"))
}

/// Waits until something was said so many times.
fn waits(booted: &mut Booted, words: &str, times: usize) -> Result<()> {
    booted.says(words, ANSWER_PATIENCE, |console| console.matches(words).count() >= times)
}

/// Types a line at the keyboard.
fn answer(booted: &mut Booted, line: &str) -> Result<()> {
    for character in line.chars() {
        let key = character.to_ascii_lowercase().to_string();
        match character {
            'A'..='Z' => booted.press(&["shift", &key])?,
            '-' => booted.press(&["minus"])?,
            _ => booted.press(&[&key])?,
        }
        // QEMU holds a key for a tenth of a second.
        thread::park_timeout(Duration::from_millis(250));
    }
    booted.press(&["ret"])
}

/// Describes a machine that starts a system as from a medium, with a stick in it.
fn on_medium(machine: Machine, system: &str, initrd: PathBuf, stick: &Path) -> Result<Machine> {
    let dist = checkout::image()?;
    let kernel = Kernel {
        image: dist.join(format!("{system}-x86_64.vmlinuz")),
        initrd,
        command_line: LINE.to_owned(),
    };
    let drive = format!("if=none,id=stick,format=raw,file={}", stick.display());
    Ok(machine
        .kernel(kernel)
        .fitted("-device", "qemu-xhci,id=usb".to_owned())
        .fitted("-drive", drive)
        .fitted("-device", "usb-storage,bus=usb.0,drive=stick,removable=on".to_owned()))
}

/// Makes a stick with a FAT filesystem.
fn stick(lab: &Lab) -> Result<PathBuf> {
    let file = lab.scratch("stick.img");
    File::create(&file)?.set_len(SMALL).context("making a stick")?;
    run("mkfs.vfat", &["-n", "STICK", &file.to_string_lossy()])?;
    Ok(file)
}

/// Reads a file of the stick, and looks whether its filesystem is whole.
fn read(stick: &Path, name: &str) -> Result<Value> {
    let image = stick.to_string_lossy();
    run("fsck.vfat", &["-n", &image])?;
    let text = run("mtype", &["-i", &image, &format!("::drydock-{name}")])?;
    serde_json::from_str(&text).with_context(|| format!("reading {name}"))
}
