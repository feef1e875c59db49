//! HerculesOS: PID 1 of a machine whose disks are wiped.
#![forbid(unsafe_code)]

mod refusal;
mod wipe;

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::cipher::install();
    match agent::boot::check() {
        Ok(()) => agent::life::run("HerculesOS", env!("CARGO_PKG_VERSION"), Some(wipe::WORKER)),
        Err(not_ours) => refusal::refuse(&not_ours),
    }
}
