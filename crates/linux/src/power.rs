//! Restarting and switching off.

use std::{convert::Infallible, io};

use nix::sys::reboot::{self, RebootMode};

/// Restarts the machine through its firmware at once (`LINUX_REBOOT_CMD_RESTART`); returns only on failure.
pub fn restart() -> io::Error {
    failure(reboot::reboot(RebootMode::RB_AUTOBOOT))
}

/// Switches the machine off at once (`LINUX_REBOOT_CMD_POWER_OFF`); returns only on failure.
pub fn switch_off() -> io::Error {
    failure(reboot::reboot(RebootMode::RB_POWER_OFF))
}

/// Has Ctrl-Alt-Del send `SIGINT` to PID 1 instead of restarting the machine (`LINUX_REBOOT_CMD_CAD_OFF`).
pub fn catch_ctrl_alt_del() -> io::Result<()> {
    Ok(reboot::set_cad_enabled(false)?)
}

fn failure(result: nix::Result<Infallible>) -> io::Error {
    match result {
        Ok(never) => match never {},
        Err(errno) => errno.into(),
    }
}
