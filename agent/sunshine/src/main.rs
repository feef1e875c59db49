//! SunshineOS: PID 1 of a machine that is discovered, and a command that shows a machine's inventory and writes images.
#![forbid(unsafe_code)]

mod command;
#[cfg(feature = "foreign")]
mod elsewhere;
mod install;
mod start;
#[cfg(feature = "foreign")]
mod write;

use std::process::ExitCode;

fn main() -> ExitCode {
    match agent::boot::check() {
        Ok(()) => agent::life::run("SunshineOS", env!("CARGO_PKG_VERSION"), Some(install::WORKER)),
        Err(not_ours) => command::run(&not_ours),
    }
}
