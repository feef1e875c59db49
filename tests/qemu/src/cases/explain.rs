//! Five set-ups that are broken as people break them, and the reason that `drydock explain` names.

use anyhow::{Context as _, Result, ensure};

use super::BOOT_PATIENCE;
use crate::{
    lab::Lab,
    machine::{Booted, Kernel, Machine},
    router::{CarelessRouter, Router},
    server::{HTTP_PORT, Mode, Server},
    wait,
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

/// The command names the reason, in words too, and says what to try.
fn names(server: &Server, machine: &Booted, cause: &str) -> Result<()> {
    let mac = machine.machine.mac();
    let mut last = String::new();
    let explanation = wait::until(&format!("`explain` to say {cause}"), BOOT_PATIENCE, || {
        let explanation = server.explains(mac)?;
        last = explanation.to_string();
        Ok((explanation["cause"] == cause).then_some(explanation))
    })
    .with_context(|| format!("at last it said {last}"))?;
    for words in ["/summary", "/expected", "/advice/0", "/timeline/0/text"] {
        let words = explanation.pointer(words).and_then(|words| words.as_str());
        ensure!(words.is_some_and(|words| !words.is_empty()), "not in words: {explanation}");
    }
    Ok(())
}
