//! Whole machines in QEMU against the real server, as a newcomer would plug them in.
#![forbid(unsafe_code)]

mod bench;
mod cases;
mod checkout;
mod client;
mod command;
mod demo;
mod image;
mod interrupt;
mod lab;
mod listener;
mod machine;
mod process;
mod router;
mod sealed;
mod server;
mod shelf;
mod story;
mod suite;
mod wait;

fn main() -> std::process::ExitCode {
    command::run()
}
