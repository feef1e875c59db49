//! Ctrl-C ends the waits, so that every `Drop` runs and nothing is left behind.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{SigSet, Signal};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Takes SIGINT, SIGTERM and SIGHUP from now on. Called before any other thread exists, so that all inherit the mask.
pub(crate) fn listen() -> Result<()> {
    let signals = signals();
    signals.thread_block().context("blocking signals")?;
    thread::spawn(move || {
        while signals.wait().is_ok() {
            INTERRUPTED.store(true, Ordering::Relaxed);
        }
    });
    Ok(())
}

/// Starts a program that shall not inherit the mask: it decides itself what SIGTERM means to it.
pub(crate) fn unmasked<T>(start: impl FnOnce() -> T) -> Result<T> {
    signals().thread_unblock().context("unblocking signals")?;
    let started = start();
    signals().thread_block().context("blocking signals")?;
    Ok(started)
}

fn signals() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect()
}

/// Fails once the user has interrupted.
pub(crate) fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    Ok(())
}
