//! HerculesOS: PID 1 of a machine whose disks are wiped, and a command that wipes those of any Linux machine.
#![forbid(unsafe_code)]

#[cfg(feature = "command")]
mod command;
#[cfg_attr(
    not(any(test, feature = "command")),
    expect(
        dead_code,
        reason = "the network's PID 1 asks nobody; who sits at a medium's console is asked"
    )
)]
mod confirm;
mod extras;
mod forecast;
mod offline;
mod refusal;
mod wipe;

use std::process::ExitCode;

/// What this program can do.
const CRAFT: agent::life::Craft =
    agent::life::Craft { worker: wipe::WORKER, topic: Some(offline::TOPIC) };

fn main() -> ExitCode {
    match agent::boot::check() {
        Ok(()) => agent::life::run("HerculesOS", env!("CARGO_PKG_VERSION"), CRAFT),
        #[cfg(feature = "command")]
        Err(not_ours) => command::run(&not_ours),
        #[cfg(not(feature = "command"))]
        Err(not_ours) => refusal::refuse(&not_ours),
    }
}

/// Shows an error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
