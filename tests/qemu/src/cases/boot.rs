//! Every way in which a machine that nobody knows boots, up to its record.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::{
    checkout,
    lab::Lab,
    machine::{Bus, Card, Disk, Firmware, Kernel, Machine, Port},
    router::{CarelessRouter, Router},
    server::{HTTP_PORT, Known, Mode, SERVER, Server},
};

pub(super) fn bios_pxe(lab: &Lab) -> Result<()> {
    // As in most houses, nobody says anything about IPv6.
    lab.without_ipv6_router();
    // Its clock is decades behind: a pinned key knows no dates.
    let machine = Machine::bios("tug").disk(Disk::blank(Bus::Sata)).clock("2001-01-01T00:00:00");
    let server = has_a_record(lab, Mode::Authoritative, std::slice::from_ref(&machine))?;
    // It loaded one build, and says what that is made of. Red without `hull::survey` reading the list.
    let build = fs::read_link(checkout::build()?).context("reading dist/current")?;
    let build = build.file_name().context("a build has a name")?.to_string_lossy().into_owned();
    let timeline = server.names(machine.mac(), "recorded")?["timeline"].to_string();
    let kernel = format!("build/{build}/image/sunshineos-x86_64.vmlinuz");
    ensure!(timeline.contains(&kernel), "it did not load {kernel}: {timeline}");
    let list = checkout::build()?.join("sunshineos-x86_64.versions");
    let list = fs::read_to_string(list).context("reading the list of an image")?;
    let machines = server.machines()?;
    let name = machines.first().and_then(|known| known["name"].as_str()).context("no machine")?;
    let told = server.shows(name)?["inventory"]["software"].clone();
    ensure!(told == json!(list.lines().collect::<Vec<_>>()), "it says it is made of {told}");
    Ok(())
}

pub(super) fn uefi_pxe(lab: &Lab) -> Result<()> {
    let machine = Machine::uefi("tug").disk(Disk::blank(Bus::Nvme));
    has_a_record(lab, Mode::Authoritative, &[machine]).map(drop)
}

pub(super) fn uefi_http_boot(lab: &Lab) -> Result<()> {
    let machine = Machine::uefi_http("tug").disk(Disk::blank(Bus::Scsi));
    has_a_record(lab, Mode::Authoritative, &[machine]).map(drop)
}

pub(super) fn nic_with_ipxe(lab: &Lab) -> Result<()> {
    let machine = Machine::with("tug", Firmware::Uefi, Port::new(Card::IntelWithIpxe))
        .disk(Disk::blank(Bus::Virtio));
    let server = has_a_record(lab, Mode::Authoritative, std::slice::from_ref(&machine))?;
    let explanation = server.names(machine.mac(), "recorded")?;
    let loads_program = explanation["timeline"].to_string().contains("snponly.efi");
    ensure!(!loads_program, "iPXE had to load another iPXE: {explanation}");
    Ok(())
}

pub(super) fn two_machines_at_once(lab: &Lab) -> Result<()> {
    let machines = ["left", "right"].map(|name| Machine::bios(name).disk(Disk::blank(Bus::Virtio)));
    has_a_record(lab, Mode::Authoritative, &machines).map(drop)
}

pub(super) fn proxy_beside_router(lab: &Lab) -> Result<()> {
    let router = Router::plain(lab)?;
    let machines = [Machine::bios("bios"), Machine::uefi("uefi")];
    has_a_record(lab, Mode::Proxy, &machines)?;
    for machine in machines {
        ensure!(
            router.has_leased_to(machine.mac()),
            "{} has no address of the router",
            machine.name
        );
    }
    Ok(())
}

pub(super) fn off_with_router_recipe(lab: &Lab) -> Result<()> {
    let mut server = Server::start(lab, Mode::Off)?;
    let recipe = server.recipe("dnsmasq")?;
    let _router = Router::configured(lab, &recipe)?;
    for machine in [Machine::bios("bios"), Machine::uefi("uefi"), Machine::uefi_http("http")] {
        let booted = machine.boot(lab)?;
        server.waits_for(&booted)?;
    }
    Ok(())
}

pub(super) fn bios_boot_program(lab: &Lab) -> Result<()> {
    let mut server = Server::start(lab, Mode::Off)?;
    // Every BIOS card here carries iPXE, which others would tell its script at once: this router does not look.
    let script = format!("http://{SERVER}:{HTTP_PORT}/boot.ipxe");
    let _router = CarelessRouter::naming(lab, SERVER, "boot/undionly.kpxe", script)?;
    let machine = Machine::bios("tug").disk(Disk::blank(Bus::Sata)).boot(lab)?;
    server.waits_for(&machine)?;
    let explanation = server.names(machine.machine.mac(), "recorded")?;
    let is_told = explanation["timeline"].to_string().contains("undionly.kpxe");
    ensure!(is_told, "it did not load our boot program: {explanation}");
    Ok(())
}

pub(super) fn every_card_authoritative(lab: &Lab) -> Result<()> {
    every_card(lab, Server::start(lab, Mode::Authoritative)?)
}

pub(super) fn every_card_proxy(lab: &Lab) -> Result<()> {
    let _router = Router::plain(lab)?;
    every_card(lab, Server::start(lab, Mode::Proxy)?)
}

pub(super) fn every_card_off(lab: &Lab) -> Result<()> {
    let server = Server::start(lab, Mode::Off)?;
    let _router = Router::configured(lab, &server.recipe("dnsmasq")?)?;
    every_card(lab, server)
}

/// Every card under every firmware that can boot from it, one machine after the other, with every kind of disk in turn;
/// those that none can boot from with a kernel that QEMU loads.
fn every_card(lab: &Lab, mut server: Server) -> Result<()> {
    let mut buses = Bus::ALL.into_iter().cycle();
    for card in Card::FIXED {
        let mut firmwares = vec![Firmware::Bios, Firmware::Uefi, Firmware::UefiHttp];
        firmwares.retain(|firmware| card.boots_under(*firmware));
        let needs_kernel = firmwares.is_empty();
        for firmware in if needs_kernel { vec![Firmware::Bios] } else { firmwares } {
            let bus = buses.next().context("the buses go round and round")?;
            let name = format!("{card:?}-{firmware:?}-{bus:?}");
            let mut machine =
                Machine::with(&name, firmware, Port::new(card)).disk(Disk::blank(bus));
            if needs_kernel {
                machine = machine.clone().kernel(Kernel::of(&server, &machine)?);
            }
            server.waits_for(&machine.boot(lab)?).with_context(|| name)?;
        }
    }
    Ok(())
}

/// Switches the machines on together: each gets a record of its own, and waits, because its disks are blank.
/// Once approved, its record is complete where its address is ours to give.
fn has_a_record(lab: &Lab, mode: Mode, machines: &[Machine]) -> Result<Server> {
    let mut server = Server::start(lab, mode)?;
    let booted: Vec<_> = machines.iter().map(|machine| machine.boot(lab)).collect::<Result<_>>()?;
    for machine in &booted {
        let known = server.waits_for(machine)?;
        server.hears_boot(&known.name, 1)?;
        let shown = server.shows(&known.name)?.to_string();
        let uuid = &machine.machine.uuid;
        ensure!(shown.contains(uuid), "the UUID {uuid} is not shown: {shown}");
    }
    let records = server.records()?;
    ensure!(records.len() == machines.len(), "{} records", records.len());
    for booted in &booted {
        let machine = &booted.machine;
        ensure!(booted.restarts() == 0, "{} restarted", machine.name);
        // SAFETY 11.
        machine.has_unchanged_disks(lab)?;
        let name = &Known::with_port(&records, machine.mac()).context("no record any more")?.name;
        server.approves(name)?;
        server.records_of(machine.mac(), |known| match mode {
            Mode::Authoritative => known.is_complete(machine),
            // The address is the router's, who may give it to somebody else tomorrow.
            Mode::Proxy | Mode::Off => {
                known.is_held("approval", "approved")?;
                known.is_held("missing", "a reserved or fixed address")
            }
        })?;
    }
    Ok(server)
}
