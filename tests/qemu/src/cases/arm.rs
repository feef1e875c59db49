//! Machines with 64-bit Arm processors. Left out where `dist/` has no image for them: it is built by
//! `make image ARCH=aarch64`, which takes longer than `make test` has for it.

use anyhow::{Result, ensure};

use super::{Case, When, unified::starts_only_what_is_signed};
use crate::{
    checkout,
    lab::Lab,
    machine::{Bus, Disk, Firmware, Machine},
    sealed::Sealed,
    server::{Mode, Server},
};

/// What firmware and kernel need while an image of 30 MB is in memory three times, unpacked once.
const MEMORY_MIB: u32 = 768;

/// Every case of this kind.
pub(super) const CASES: &[Case] = &[
    Case {
        name: "aarch64_http_boot",
        claim: "a blank 64-bit Arm machine boots the unified kernel image of its architecture by HTTP, has a record, and waits",
        machines: 1,
        when: When::Soak,
        run: http_boot,
    },
    Case {
        name: "aarch64_pxe",
        claim: "a blank 64-bit Arm machine boots by PXE through iPXE, loads the packed kernel of its architecture, has a record, and waits",
        machines: 1,
        when: When::Soak,
        run: pxe,
    },
    Case {
        name: "aarch64_secure_boot",
        claim: "with Secure Boot and one's own key a 64-bit Arm machine starts neither an unsigned image nor a signed one of which a bit was changed; the signed one starts, its packed kernel too, and the machine has a record",
        machines: 1,
        when: When::Soak,
        run: secure_boot,
    },
];

fn http_boot(lab: &Lab) -> Result<()> {
    let mut server =
        Server::booting_by_http(lab, Mode::Authoritative, "unified", checkout::arm()?)?;
    is_discovered(lab, &mut server, Firmware::UefiHttp, "sunshineos-aarch64-all.efi")
}

fn pxe(lab: &Lab) -> Result<()> {
    checkout::arm()?;
    let mut server = Server::start(lab, Mode::Authoritative)?;
    is_discovered(lab, &mut server, Firmware::Uefi, "sunshineos-aarch64.vmlinuz")
}

fn secure_boot(lab: &Lab) -> Result<()> {
    checkout::arm()?;
    let sealed = Sealed::make_for(lab, "aarch64")?;
    let machine = Machine::arm("crane", Firmware::UefiHttp).memory(MEMORY_MIB).without_ipv6();
    starts_only_what_is_signed(lab, &sealed, machine)
}

/// A machine boots this file, and its record says what it is.
fn is_discovered(lab: &Lab, server: &mut Server, firmware: Firmware, file: &str) -> Result<()> {
    let machine = Machine::arm("crane", firmware)
        .memory(MEMORY_MIB)
        .without_ipv6()
        .disk(Disk::blank(Bus::Nvme));
    let booted = machine.boot(lab)?;
    let known = server.waits_for(&booted)?;
    server.hears_boot(&known.name, 1)?;
    let timeline = server.names(machine.mac(), "recorded")?["timeline"].to_string();
    ensure!(timeline.contains(file), "it booted otherwise: {timeline}");
    ensure!(!timeline.contains("-x86_64"), "it was sent what it cannot run: {timeline}");
    let shown = server.shows(&known.name)?.to_string();
    ensure!(shown.contains(&machine.uuid), "the UUID {} is not shown: {shown}", machine.uuid);
    ensure!(booted.restarts() == 0, "it restarted");
    server.approves(&known.name)?;
    server.records_of(machine.mac(), |known| known.is_complete(&machine))?;
    machine.has_unchanged_disks(lab)
}
