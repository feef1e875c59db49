//! The harness itself: what it sees happen did happen, and what it must not see it does not.

use anyhow::{Result, ensure};

use super::BOOT_PATIENCE;
use crate::{
    lab::Lab,
    machine::{Booted, Bus, Disk, Machine},
    router::{FROM_NETWORK, Router},
    wait,
};

pub(super) fn bios_boots_from_network(lab: &Lab) -> Result<()> {
    boots_from_network(lab, &Machine::bios("tug"))
}

pub(super) fn uefi_boots_from_network(lab: &Lab) -> Result<()> {
    boots_from_network(lab, &Machine::uefi("tug"))
}

pub(super) fn own_disk_where_nothing_boots(lab: &Lab) -> Result<()> {
    let router = Router::plain(lab)?;
    for bus in [Bus::Virtio, Bus::Sata] {
        let machine = Machine::bios(&format!("{bus:?}")).disk(Disk::bootable(bus));
        let mut machine = machine.boot(lab)?;
        machine.starts_own_disk(1, BOOT_PATIENCE)?;
        ensure!(router.has_leased_to(machine.machine.mac()), "the network was asked first");
    }
    Ok(())
}

/// The network comes first, although the machine has a disk that would start.
fn boots_from_network(lab: &Lab, machine: &Machine) -> Result<()> {
    let router = Router::with_own_boot_server(lab)?;
    let machine = machine.clone().disk(Disk::bootable(Bus::Virtio)).boot(lab)?;
    let says = |machine: &Booted| Ok(machine.beacon()?.first().cloned());
    let first = wait::until("a boot program", BOOT_PATIENCE, || says(&machine))?;
    ensure!(first == FROM_NETWORK, "it started {first} instead");
    ensure!(machine.own_disk_starts()? == 0, "and its own disk");
    ensure!(router.has_leased_to(machine.machine.mac()), "without asking the router");
    Ok(())
}

pub(super) fn uefi_own_disk_where_nothing_boots(lab: &Lab) -> Result<()> {
    let _router = Router::plain(lab)?;
    let machine = Machine::uefi("uefi").disk(Disk::bootable(Bus::Nvme));
    let mut machine = machine.boot(lab)?;
    machine.starts_own_disk(1, BOOT_PATIENCE * 2)?;
    Ok(())
}
