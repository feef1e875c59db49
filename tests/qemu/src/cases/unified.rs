//! Machines that start kernel and initramfs out of one program, without iPXE; Secure Boot with one's own key.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};

use super::{BOOT_PATIENCE, Case, When};
use crate::{
    checkout,
    lab::Lab,
    machine::{Booted, Bus, Disk, Machine},
    router::Router,
    sealed::{SYSTEMS, Sealed},
    server::{Mode, Server},
    wait,
};

/// A key that nobody has.
const OTHER_PIN: &str = "sha256:abababababababababababababababababababababababababababababababab";
/// What firmware and kernel need while an image of 30 MB is in memory three times.
const MEMORY_MIB: u32 = 512;

/// Every case of this kind.
pub(super) const CASES: &[Case] = &[
    // Seen red: firmware is sent to iPXE as ever.
    Case {
        name: "unified_http_boot",
        claim: "a blank UEFI machine boots the unified kernel image by HTTP, without iPXE, is told where its server is, has a record, and waits",
        machines: 1,
        when: When::Test,
        run: http_boot,
    },
    Case {
        name: "unified_with_data",
        claim: "a UEFI machine with data that boots the unified kernel image is discovered once, then starts its own disk at once, unless told to wait",
        machines: 1,
        when: When::Soak,
        run: super::decision::unified_with_data,
    },
    Case {
        name: "secure_boot",
        claim: "with Secure Boot and one's own key neither an unsigned image starts nor a signed one of which a bit was changed; the signed one does, finds its server by DHCP, and the machine has a record",
        machines: 1,
        when: When::Test,
        run: secure_boot,
    },
    Case {
        name: "secure_boot_foreign_initrd",
        claim: "with Secure Boot the signed image does not start beside another initramfs, and takes no other command line",
        machines: 1,
        when: When::Test,
        run: foreign_initrd,
    },
    Case {
        name: "secure_boot_rogue",
        claim: "a strange server that serves the genuine signed image with an order to wipe is refused: no byte of the disk changes",
        machines: 1,
        when: When::Test,
        run: rogue,
    },
    Case {
        name: "secure_boot_shim",
        claim: "a machine with Secure Boot as it leaves its factory boots by HTTP through Debian's shim, GRUB and kernel, and has a record",
        machines: 1,
        when: When::Test,
        run: shim_by_http,
    },
    Case {
        name: "secure_boot_shim_pxe",
        claim: "beside a router a machine with Secure Boot as it leaves its factory boots by PXE through Debian's shim, GRUB and kernel, and has a record",
        machines: 1,
        when: When::Soak,
        run: shim_by_pxe,
    },
];

fn http_boot(lab: &Lab) -> Result<()> {
    let assets = checkout::unified()?;
    let mut server = Server::booting_by_http(lab, Mode::Authoritative, "unified", assets)?;
    let machine = Machine::uefi_http("tug").memory(MEMORY_MIB).disk(Disk::blank(Bus::Nvme));
    let booted = machine.boot(lab)?;
    let known = server.waits_for(&booted)?;
    server.hears_boot(&known.name, 1)?;
    let timeline = server.names(machine.mac(), "recorded")?["timeline"].to_string();
    ensure!(timeline.contains("sunshineos-x86_64-all.efi"), "it booted otherwise: {timeline}");
    ensure!(!timeline.contains(".ipxe"), "iPXE was there: {timeline}");
    let shown = server.shows(&known.name)?.to_string();
    ensure!(shown.contains(&machine.uuid), "the UUID {} is not shown: {shown}", machine.uuid);
    ensure!(booted.restarts() == 0, "it restarted");
    server.approves(&known.name)?;
    server.records_of(machine.mac(), |known| known.is_complete(&machine))?;
    machine.has_unchanged_disks(lab)
}

fn secure_boot(lab: &Lab) -> Result<()> {
    let machine = Machine::uefi_http("tug").memory(MEMORY_MIB);
    starts_only_what_is_signed(lab, &Sealed::make(lab)?, machine)
}

/// A machine that boots by HTTP and trusts our keys starts neither what nobody signed nor what was changed.
pub(super) fn starts_only_what_is_signed(
    lab: &Lab,
    sealed: &Sealed,
    machine: Machine,
) -> Result<()> {
    let mut server =
        Server::booting_by_http(lab, Mode::Authoritative, "signed", sealed.directory.clone())?;
    let machine = machine.disk(Disk::blank(Bus::Nvme)).trusting(&sealed.keys);

    let mut booted = machine.boot(lab)?;
    is_refused_by_firmware(&mut booted, 1)?;
    sealed.sign("sunshineos", &server.pin()?)?;
    sealed.tamper("sunshineos")?;
    booted.reset()?;
    is_refused_by_firmware(&mut booted, 2)?;
    ensure!(server.machines()?.is_empty(), "what was refused told about the machine");

    sealed.sign("sunshineos", &server.pin()?)?;
    booted.reset()?;
    let known = server.waits_for(&booted)?;
    server.hears_boot(&known.name, 1)?;
    let console = booted.console()?;
    let is_told =
        console.lines().any(|line| line.contains("where a server is") && line.contains("by=DHCP"));
    ensure!(is_told, "who told it?\n{console}");
    let inventory = server.shows(&known.name)?["inventory"].to_string();
    ensure!(inventory.contains("\"secureBoot\":true"), "Secure Boot is not on: {inventory}");
    machine.has_unchanged_disks(lab)
}

fn shim_by_http(lab: &Lab) -> Result<()> {
    let server = Server::set_up(lab, Mode::Authoritative, "httpBoot: shim", checkout::unified()?)?;
    boots_through_shim(lab, server, Machine::uefi_http("tug"))
}

fn shim_by_pxe(lab: &Lab) -> Result<()> {
    let _router = Router::plain(lab)?;
    let server = Server::set_up(lab, Mode::Proxy, "pxeBoot: shim", checkout::unified()?)?;
    boots_through_shim(lab, server, Machine::uefi("tug"))
}

fn boots_through_shim(lab: &Lab, mut server: Server, machine: Machine) -> Result<()> {
    let machine = machine.memory(MEMORY_MIB).disk(Disk::blank(Bus::Nvme)).trusting_microsoft();
    let booted = machine.boot(lab)?;
    let known = server.waits_for(&booted)?;
    server.hears_boot(&known.name, 1)?;
    let timeline = server.names(machine.mac(), "recorded")?["timeline"].to_string();
    for loaded in ["shimx64.efi", "grubx64.efi", "grub.cfg", "network.cpio"] {
        ensure!(timeline.contains(loaded), "{loaded} was not loaded: {timeline}");
    }
    ensure!(!timeline.contains(".ipxe"), "iPXE was there: {timeline}");
    let inventory = server.shows(&known.name)?["inventory"].to_string();
    ensure!(inventory.contains("\"secureBoot\":true"), "Secure Boot is not on: {inventory}");
    ensure!(booted.restarts() == 0, "it restarted");
    machine.has_unchanged_disks(lab)
}

/// Firmware loads the image, and does not start it: for the time that many were refused since it was switched on.
fn is_refused_by_firmware(booted: &mut Booted, times: usize) -> Result<()> {
    // Firmware refuses its own shell too, where nothing else is left.
    let refused = |console: &str| {
        let is_ours = |line: &&str| line.contains("HTTPv4") && line.contains("Access Denied");
        console.lines().filter(is_ours).count()
    };
    booted.says("that it does not start the image", BOOT_PATIENCE, |console| {
        refused(console) >= times
    })?;
    ensure!(!booted.console()?.contains("Linux version"), "a kernel started");
    Ok(())
}

/// A loader that firmware trusts, here iPXE, offers what is below no signature.
fn foreign_initrd(lab: &Lab) -> Result<()> {
    let sealed = Sealed::make(lab)?;
    let directory = sealed.beside_foreign(lab, &crate::image::foreign(OTHER_PIN))?;
    let server = Server::booting_by_http(lab, Mode::Authoritative, "ipxe", directory.clone())?;
    sealed.sign("sunshineos", &server.pin()?)?;
    fs::copy(sealed.image("sunshineos"), directory.join("signed"))?;
    fs::rename(directory.join("signed"), directory.join("sunshineos-x86_64.vmlinuz"))?;
    let machine = Machine::uefi_http("tug")
        .memory(MEMORY_MIB)
        .disk(Disk::blank(Bus::Nvme))
        .trusting(&sealed.keys);
    let mut booted = machine.boot(lab)?;
    booted.says("that there is another initramfs", BOOT_PATIENCE, |console| {
        console.contains("Error registering initrd")
    })?;
    drop(booted.cut_power()?);
    ensure!(server.machines()?.is_empty(), "what was refused told about the machine");

    // QEMU hands its kernel to the firmware with another command line.
    let line = format!("drydock.pin={OTHER_PIN} drydock.server=https://10.77.0.66:7443");
    let image = sealed.image("sunshineos").display().to_string();
    let told = machine.clone().fitted("-kernel", image).fitted("-append", line);
    let mut server = server;
    let booted = told.boot(lab)?;
    server.waits_for(&booted)?;
    let console = booted.console()?;
    let line = console.lines().find(|line| line.contains("Command line:"));
    ensure!(line.is_some_and(|line| !line.contains("drydock.")), "it was told: {line:?}");
    ensure!(!console.contains("iPXE"), "QEMU's kernel did not start:\n{console}");
    machine.has_unchanged_disks(lab)
}

/// SAFETY 14. The strange server knows the machine well, and has a person's order to wipe it.
fn rogue(lab: &Lab) -> Result<()> {
    let sealed = Sealed::make(lab)?;
    let mut server =
        Server::booting_by_http(lab, Mode::Authoritative, "signed", sealed.directory.clone())?;
    let own = server.pin()?;
    for system in SYSTEMS {
        sealed.sign(system, &own)?;
    }
    // It has seen the machine where Secure Boot was off and another image was booted.
    let disk = Disk { size_bytes: 32 << 20, ..Disk::of_ones(Bus::Nvme) };
    let machine = Machine::uefi_http("tug").memory(MEMORY_MIB).disk(disk);
    let booted = machine.boot(lab)?;
    let known = server.waits_for(&booted)?;
    server.approves(&known.name)?;
    drop(booted.cut_power()?);
    let serial = machine.disks[0].serial.as_str();
    let order = server.wipes(&known.name, "full", &[serial], &["--overwrite"])?;

    // The genuine images trust another server.
    for system in SYSTEMS {
        sealed.sign(system, OTHER_PIN)?;
    }
    let machine = machine.trusting(&sealed.keys);
    let booted = machine.boot(lab)?;
    server.names(machine.mac(), "pinMismatch")?;
    let console = booted.console()?;
    ensure!(console.contains("HerculesOS"), "it was not sent to be wiped:\n{console}");
    let wait = Duration::from_secs(20);
    wait::never("it took the order", wait, || Ok(server.state_of(&order)?["is"] != "ordered"))?;
    machine.has_unchanged_disks(lab)
}
