//! The harness itself: what it sees happen did happen, and what it must not see it does not.

use anyhow::{Context as _, Result, ensure};

use super::BOOT_PATIENCE;
use crate::{
    lab::Lab,
    machine::{Booted, Bus, Card, Disk, Firmware, Machine, OWN_DISK, Port},
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

pub(super) fn a_firewall_is_tight(lab: &Lab) -> Result<()> {
    let router = Router::with_own_boot_server(lab)?;
    router.firewall("udp", 69)?;
    let mut machine = Machine::bios("tug").disk(Disk::bootable(Bus::Virtio)).boot(lab)?;
    machine.starts_own_disk(1, BOOT_PATIENCE)?;
    ensure!(router.has_leased_to(machine.machine.mac()), "DHCP was let through");
    ensure!(machine.beacon()? == [OWN_DISK], "nothing else was started");
    Ok(())
}

/// Every card under every firmware that can boot from it.
pub(super) fn cards_boot_from_network(lab: &Lab) -> Result<()> {
    let router = Router::with_own_boot_server(lab)?;
    let firmwares = [Firmware::Bios, Firmware::Uefi];
    let all = Card::FIXED.into_iter().flat_map(|card| firmwares.map(|firmware| (firmware, card)));
    for (firmware, card) in all.filter(|(firmware, card)| card.boots_under(*firmware)) {
        let name = format!("{firmware:?}-{card:?}");
        let machine = Machine::with(&name, firmware, Port::new(card));
        boots_from(&router, lab, &machine)
            .with_context(|| format!("{card:?} under {firmware:?}"))?;
    }
    Ok(())
}

/// The network comes first, although the machine has a disk that would start.
fn boots_from_network(lab: &Lab, machine: &Machine) -> Result<()> {
    boots_from(&Router::with_own_boot_server(lab)?, lab, machine)
}

fn boots_from(router: &Router, lab: &Lab, machine: &Machine) -> Result<()> {
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
