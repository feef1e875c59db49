//! A person at a terminal as who keeps an order. Nobody else writes down what happens.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use protocol::wipe::{WipeProgress, WipeStep};
use wipe::{Stopped, job::Keeper};

use crate::wipe::Screen;

/// Shows how far it is on standard error, where that is a terminal.
#[derive(Debug, Default)]
pub(super) struct TerminalKeeper(Mutex<Screen>);

impl Keeper for TerminalKeeper {
    fn stopped(&self) -> Option<Stopped> {
        None
    }

    fn journal(&self, _step: WipeStep) -> Result<(), Stopped> {
        Ok(())
    }

    fn note(&self, _step: WipeStep) {}

    fn progress(&self, progress: WipeProgress) {
        let shown =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).next(Instant::now(), &progress);
        let mut terminal = io::stderr();
        if terminal.is_terminal() {
            // Goes to the beginning of the line and clears it. ECMA-48, "erase in line".
            let table = shown.table.unwrap_or_default();
            let _nobody_reads = write!(terminal, "\r\x1b[K{table}{}", shown.line);
        }
    }

    fn sleep(&self) -> Result<(), String> {
        Err("somebody else's system is not put to sleep".to_owned())
    }

    fn unix_milliseconds(&self) -> i64 {
        linux::clock::unix_milliseconds()
    }
}
