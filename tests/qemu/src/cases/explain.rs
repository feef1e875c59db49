//! Set-ups that are broken as people break them, and the reason that `drydock explain` names.

use anyhow::{Context as _, Result, ensure};

use super::BOOT_PATIENCE;
use crate::{
    image::Image,
    lab::Lab,
    machine::{Booted, Bus, Card, Disk, Firmware, Kernel, Machine, Port},
    router::{CarelessRouter, Router},
    server::{HTTP_PORT, Mode, Server, in_words},
    wait,
};

/// A key that nobody has.
const OTHER_PIN: &str = "sha256:abababababababababababababababababababababababababababababababab";

pub(super) fn no_answer_on_4011(lab: &Lab) -> Result<()> {
    let _router = Router::plain(lab)?;
    let server = Server::start(lab, Mode::Proxy)?;
    server.firewall("udp", 4011)?;
    names(&server, &Machine::uefi("tug").boot(lab)?, "port4011Blocked")
}

pub(super) fn option_54_missing(lab: &Lab) -> Result<()> {
    let _router = CarelessRouter::start(lab)?;
    let server = Server::start(lab, Mode::Proxy)?;
    names(&server, &Machine::uefi("tug").boot(lab)?, "routerWithoutServerIdentifier")
}

pub(super) fn tftp_blocked(lab: &Lab) -> Result<()> {
    let server = Server::start(lab, Mode::Authoritative)?;
    server.firewall("udp", 69)?;
    names(&server, &Machine::uefi("tug").boot(lab)?, "tftpBlocked")
}

pub(super) fn http_blocked(lab: &Lab) -> Result<()> {
    let server = Server::start(lab, Mode::Authoritative)?;
    server.firewall("tcp", HTTP_PORT)?;
    names(&server, &Machine::bios("tug").boot(lab)?, "httpBlocked")
}

pub(super) fn wrong_pin(lab: &Lab) -> Result<()> {
    let server = Server::start(lab, Mode::Authoritative)?;
    let machine = Machine::bios("tug");
    let mut kernel = Kernel::of(&server, &machine)?;
    kernel.command_line = kernel.command_line.replace(&server.pin()?, OTHER_PIN);
    let machine = machine.kernel(kernel).boot(lab)?;
    names(&server, &machine, "pinMismatch")?;
    ensure!(server.records()?.is_empty(), "a machine that refuses the server told it about itself");
    Ok(())
}

/// SAFETY 14: a pin inside the image beats the command line, a different one stops the boot.
pub(super) fn pin_in_image(lab: &Lab) -> Result<()> {
    let image = Image::make(lab)?;
    image.carry_pin(OTHER_PIN)?;
    let mut server = Server::serving(lab, Mode::Authoritative, "", image.directory.clone())?;
    let machine = Machine::bios("tug").disk(Disk::blank(Bus::Virtio)).boot(lab)?;
    names(&server, &machine, "pinMismatch")?;
    wait::until("its restart", BOOT_PATIENCE, || Ok((machine.restarts() > 0).then_some(())))?;
    ensure!(server.machines()?.is_empty(), "a machine that must stop told about itself");

    // With the right one it goes on by itself, in its next boot or the one after that.
    image.carry_pin(&server.pin()?)?;
    server.waits_for(&machine)?;
    Ok(())
}

/// What is in a card's pack is there under every firmware, and a card that nobody knows has all drivers.
pub(super) fn pack_of_the_card(lab: &Lab) -> Result<()> {
    let image = Image::make(lab)?;
    image.pack_pin(&["8086:10d3", "1af4:*"], OTHER_PIN)?;
    let mut server = Server::serving(lab, Mode::Authoritative, "", image.directory.clone())?;
    let marked = [
        Machine::with("bios", Firmware::Bios, Port::new(Card::IntelWithIpxe)),
        // Its iPXE is of 2019, and has no LoadFile2.
        Machine::with("rom", Firmware::Uefi, Port::new(Card::IntelWithIpxe)),
        Machine::uefi("uefi"),
    ];
    for machine in marked {
        let machine = machine.boot(lab)?;
        names(&server, &machine, "pinMismatch").with_context(|| machine.machine.name.clone())?;
    }
    let machine = Machine::with("unknown", Firmware::Bios, Port::new(Card::Vmxnet3)).boot(lab)?;
    server.waits_for(&machine)?;
    let timeline = server.names(machine.machine.mac(), "recorded")?["timeline"].to_string();
    let is_told = timeline.contains("pack/x86_64/network.cpio sent over HTTP");
    ensure!(is_told, "it did not load all drivers: {timeline}");
    Ok(())
}

/// The command names the reason, says what should have come next, and what to try.
fn names(server: &Server, machine: &Booted, cause: &str) -> Result<()> {
    let explanation = server.names(machine.machine.mac(), cause)?;
    in_words(&explanation, "/expected")?;
    in_words(&explanation, "/advice/0")
}
