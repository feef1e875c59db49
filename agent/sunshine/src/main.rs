//! SunshineOS: PID 1 of a machine that is discovered, and a command that shows a machine's inventory and writes images.
#![forbid(unsafe_code)]

#[cfg(feature = "command")]
mod command;
mod elsewhere;
mod install;
mod refusal;
mod start;
#[cfg(feature = "command")]
mod write;

use std::process::ExitCode;

/// What this program can do.
const CRAFT: agent::life::Craft = agent::life::Craft {
    worker: install::WORKER,
    #[cfg(feature = "offline")]
    topic: None,
};

fn main() -> ExitCode {
    match agent::boot::check() {
        Ok(()) => agent::life::run("SunshineOS", env!("CARGO_PKG_VERSION"), CRAFT),
        #[cfg(feature = "command")]
        Err(not_ours) => command::run(&not_ours),
        #[cfg(not(feature = "command"))]
        Err(not_ours) => refusal::refuse(&not_ours),
    }
}
