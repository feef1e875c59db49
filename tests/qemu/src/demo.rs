//! `make demo`: one machine, from power-on to its Hardware record.

use std::fs;

use anyhow::{Context as _, Result};

use crate::{
    checkout,
    lab::{self, Lab},
    machine::{Bus, Disk, Machine},
    server::{Mode, SERVER, Server},
    story::{Clock, say},
};

/// Boots a machine that nobody has ever seen and prints the record that it caused.
///
/// The machine's serial number, UUID and address are random: the record can come from this boot only.
pub(crate) fn run(show_serial: bool) -> Result<()> {
    lab::clean_leftovers()?;
    let directory = checkout::root().join("target/demo");
    let lab = Lab::new(&directory, show_serial)?;
    let outcome = tell(&lab);
    // Kept also when the machine did not get far: that is when it is wanted.
    let serial = lab.log("demo.serial.log");
    if serial.exists() {
        fs::rename(&serial, lab.log("serial.log")).context("keeping the serial log")?;
    }
    outcome.with_context(|| format!("the logs are in {}", directory.display()))
}

fn tell(lab: &Lab) -> Result<()> {
    let clock = Clock::start();
    clock.say("a network without a way out, with nothing on it but a switch");
    let mut server = Server::start(lab, Mode::Authoritative)?;
    clock.say(&format!("Drydock runs at {SERVER} and owns DHCP there"));
    let machine = Machine::bios("demo").disk(Disk::blank(Bus::Nvme)).boot(lab)?;
    let serial = &machine.machine.serial;
    let mac = machine.machine.mac();
    clock.say(&format!(
        "a machine with serial number {serial} is switched on; it boots through {mac}"
    ));
    let known = server.waits_for(&machine)?;
    clock.say(&format!("Drydock knows it as {} and has written its record:", known.name));
    say(&fs::read_to_string(lab.log("hardware").join(format!("{}.yaml", known.name)))
        .context("reading the record")?);
    Ok(())
}
