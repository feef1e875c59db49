//! Machines with as little memory as they may have.

use anyhow::{Context as _, Result, ensure};

use super::{Case, When};
use crate::{
    checkout,
    lab::Lab,
    machine::{Bus, Card, Disk, Firmware, Machine, Port},
    server::{Mode, Server},
};

/// Every case of this kind.
///
/// Seen red: the initramfs holds 31 MB more, so that there is no room for the driver.
pub(super) const CASES: &[Case] = &[Case {
    name: "least_memory",
    claim: "a BIOS machine of 128 MiB and a UEFI machine of 224 MiB, whose disks stand behind a controller that only the server's store has a driver for, boot by PXE, and have records",
    machines: 1,
    when: When::Soak,
    run: least,
}];

/// What machines must do with, in MiB.
const LEAST: [(Firmware, Card, u32); 2] =
    [(Firmware::Bios, Card::IntelWithIpxe, 128), (Firmware::Uefi, Card::Plain, 224)];

fn least(lab: &Lab) -> Result<()> {
    checkout::store()?;
    let mut server = Server::start(lab, Mode::Authoritative)?;
    for (firmware, card, mebibytes) in LEAST {
        let name = format!("{firmware:?}-{mebibytes}");
        let machine = Machine::with(&name, firmware, Port::new(card)).memory(mebibytes);
        let booted = machine.disk(Disk::blank(Bus::Raid)).boot(lab)?;
        let known = server.waits_for(&booted).with_context(|| name.clone())?;
        server.hears_boot(&known.name, 1)?;
        ensure!(booted.restarts() == 0, "{name} restarted");
        let console = booted.console()?;
        let is_short = |line: &&str| line.contains("ut of memory") || line.contains("oom-kill");
        ensure!(!console.lines().any(|line| is_short(&line)), "{name} was short of it:\n{console}");
        booted.machine.has_unchanged_disks(lab)?;
    }
    Ok(())
}
