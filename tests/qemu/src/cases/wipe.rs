//! Machines that are wiped.

use anyhow::{Result, ensure};

use super::BOOT_PATIENCE;
use crate::{
    lab::Lab,
    machine::{Bus, Disk, Kernel, Machine},
    server::{Mode, Server},
};

pub(super) fn waits(lab: &Lab) -> Result<()> {
    let mut server = Server::start(lab, Mode::Authoritative)?;
    let machine = Bus::ALL.into_iter().fold(Machine::bios("tug"), |machine, bus| {
        machine.disk(Disk { size_bytes: 64 << 20, ..Disk::bootable(bus) })
    });
    let kernel = Kernel::of_hercules(&server, &machine)?;
    let mut booted = machine.kernel(kernel).boot(lab)?;
    let known = server.waits_for(&booted)?;
    ensure!(booted.console()?.contains("HerculesOS"), "it does not say which system it is");
    server.orders(&known.name, "power-off")?;
    booted.switches_off(BOOT_PATIENCE)?;
    let console = booted.console()?;
    ensure!(!console.contains("SunshineOS"), "it says that it is another one:\n{console}");
    booted.machine.has_unchanged_disks(lab)
}
