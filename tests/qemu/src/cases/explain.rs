//! Five set-ups that are broken as people break them, and the reason that `drydock explain` names.

use anyhow::{Context as _, Result, ensure};

use crate::{
    lab::Lab,
    machine::{Booted, Kernel, Machine},
    router::{CarelessRouter, Router},
    server::{HTTP_PORT, Mode, Server, in_words},
};

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
    let (before, pin) =
        kernel.command_line.split_once("drydock.pin=sha256:").context("no pin in the script")?;
    let after = pin.trim_start_matches(|character: char| character.is_ascii_hexdigit());
    kernel.command_line = format!("{before}drydock.pin=sha256:{}{after}", "ab".repeat(32));
    let machine = machine.kernel(kernel).boot(lab)?;
    names(&server, &machine, "pinMismatch")?;
    ensure!(server.records()?.is_empty(), "a machine that refuses the server told it about itself");
    Ok(())
}

/// The command names the reason, says what should have come next, and what to try.
fn names(server: &Server, machine: &Booted, cause: &str) -> Result<()> {
    let explanation = server.names(machine.machine.mac(), cause)?;
    in_words(&explanation, "/expected")?;
    in_words(&explanation, "/advice/0")
}
