//! Signals to PID 1: orphans that ended, Ctrl-Alt-Del, SIGTERM.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Two requests to restart within this time mean: at once.
const IMPATIENCE: Duration = Duration::from_secs(5);

/// What a person or program at the machine asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Restart after a word to the server.
    Restart,
    /// Restart without another word.
    RestartAtOnce,
}

/// Hears signals and takes leave of orphans.
#[derive(Debug)]
pub struct Signals {
    child: Signal,
    interrupt: Signal,
    terminate: Signal,
    asked: Asked,
}

impl Signals {
    /// Starts to hear: `SIGCHLD`; `SIGINT`, which Ctrl-Alt-Del sends; `SIGTERM`.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            asked: Asked::default(),
        })
    }

    /// Waits for a request. May be cancelled and called again.
    pub async fn next(&mut self) -> Request {
        loop {
            tokio::select! {
                _ = self.child.recv() => {
                    linux::child::reap();
                }
                _ = self.interrupt.recv() => return self.asked.again(Instant::now()),
                _ = self.terminate.recv() => return self.asked.again(Instant::now()),
            }
        }
    }
}

/// When somebody asked last.
#[derive(Debug, Default)]
struct Asked(Option<Instant>);

impl Asked {
    fn again(&mut self, now: Instant) -> Request {
        let before = self.0.replace(now);
        match before {
            Some(before) if now.duration_since(before) < IMPATIENCE => Request::RestartAtOnce,
            _ => Request::Restart,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_within_five_seconds_means_at_once() {
        let mut asked = Asked::default();
        let start = Instant::now();
        assert_eq!(asked.again(start), Request::Restart);
        assert_eq!(asked.again(start + Duration::from_secs(6)), Request::Restart);
        assert_eq!(asked.again(start + Duration::from_secs(8)), Request::RestartAtOnce);
    }
}
