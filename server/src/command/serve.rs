//! `drydock serve`: runs the server until it is told to stop.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use tracing::Level;

use super::STATE;
use crate::{
    clock::Trust,
    serve::{self, ASSETS, Options},
};

/// Threads for the network. Disks have threads of their own.
const WORKERS: usize = 2;
/// Threads for disks: some wait while a disk is full.
const DISK_THREADS: usize = 64;

/// How long threads for disks may take to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// `drydock serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// What to do where; without it, proxy on the only interface.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where key, machines and history are kept: a directory of our own, mode 0700.
    #[arg(long, default_value = STATE, value_name = "DIR")]
    state: PathBuf,
    /// Where Hardware records are written, one file for each machine [default: hardware in the state directory].
    #[arg(long, value_name = "DIR")]
    hardware: Option<PathBuf>,
    /// Where boot programs and images are, as `make image` writes them.
    #[arg(long, default_value = ASSETS, value_name = "DIR")]
    assets: PathBuf,
    /// Where is noted how far the state directory is, so that one that went back in time is noticed: outside of it
    /// [default: the unit's runtime directory, else /run/drydock or one of the user's].
    #[arg(long, value_name = "DIR")]
    runtime: Option<PathBuf>,
    /// The network interface to serve on, where there are several and no configuration names them.
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Takes this machine's clock for right, though no time service keeps it or its journal knows a later time.
    #[arg(long)]
    trust_clock: bool,
    /// Logs every packet that concerns us.
    #[arg(short, long)]
    verbose: bool,
}

impl Serve {
    /// Serves until SIGTERM or SIGINT.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let level = if self.verbose { Level::DEBUG } else { Level::INFO };
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .init();
        let hardware = self.hardware.unwrap_or_else(|| self.state.join("hardware"));
        let options = Options {
            config: self.config,
            state: self.state,
            hardware,
            assets: self.assets,
            runtime: self.runtime,
            interface: self.interface,
            trust: if self.trust_clock { Trust::Person } else { Trust::Kernel },
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(DISK_THREADS)
            .enable_all()
            .build()
            .context("starting threads")?;
        let served = runtime.block_on(async { serve::bind(options).await?.run().await });
        // What must be written is written. A record that is still being written is whole or not there:
        // with hundreds of them on a slow disk, waiting for all would take minutes.
        runtime.shutdown_timeout(FAREWELL);
        Ok(served?)
    }
}
