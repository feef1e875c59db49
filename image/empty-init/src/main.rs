//! The least that can be PID 1: says on the console that it runs, and powers the machine off.
//!
//! Boot times of the real systems are compared with this one, which needs nothing but the kernel.
#![forbid(unsafe_code)]

use std::{io, io::Write as _, process};

use nix::sys::reboot::{RebootMode, reboot};

fn main() -> io::Result<()> {
    if process::id() != 1 {
        return Err(io::Error::other("powers off at once: runs as PID 1 only"));
    }
    io::stdout().write_all(b"empty init runs\n")?;
    // Returns only where powering off is impossible.
    reboot(RebootMode::RB_POWER_OFF)?;
    Ok(())
}
