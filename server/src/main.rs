//! `drydock`: the boot server, and the command that talks to it.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use drydock::command::Command;

fn main() -> ExitCode {
    Command::parse().run()
}
