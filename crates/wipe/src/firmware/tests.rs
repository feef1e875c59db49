//! Erasures of devices that are made up, from the engine's public face down to their media.

mod ata;
mod mmc;
mod nvme;
mod opal;
mod scsi;
mod transcript;

use std::{fmt, sync::Mutex, time::Duration};

use protocol::wipe::{Ended, TechniqueOutcome, WipeStepKind};

use super::*;

/// What was on a disk before.
const SECRET: u8 = 0x5a;

/// A device whose time and power are the test's.
trait Clocked: fmt::Debug + Sync {
    fn advance(&self, by: Duration);
}

/// Watches over one device, whose time passes while it waits.
#[derive(Debug)]
struct Bench<'d> {
    device: &'d dyn Clocked,
    now: Mutex<Duration>,
    stops_at: Option<Duration>,
    has_server: bool,
    /// Somebody cancels as soon as something was journaled.
    stops_after_journal: bool,
    journal: Mutex<Vec<WipeStepKind>>,
    progress: Mutex<Vec<u64>>,
}

impl<'d> Bench<'d> {
    fn new(device: &'d dyn Clocked) -> Self {
        Self {
            device,
            now: Mutex::default(),
            stops_at: None,
            has_server: true,
            stops_after_journal: false,
            journal: Mutex::default(),
            progress: Mutex::default(),
        }
    }
}

impl<'d> Bench<'d> {
    /// A watch whose order ends soon.
    fn short(device: &'d dyn Clocked) -> Self {
        Self { stops_at: Some(Duration::from_mins(5)), ..Self::new(device) }
    }
}

impl Watch for Bench<'_> {
    fn check(&self) -> Result<(), Stopped> {
        let is_over = self.stops_at.is_some_and(|at| self.elapsed() >= at)
            || self.stops_after_journal && !self.journal.lock().unwrap().is_empty();
        if is_over { Err(Stopped::Cancelled) } else { Ok(()) }
    }

    fn wait(&self, time: Duration) -> Result<(), Stopped> {
        self.device.advance(time);
        *self.now.lock().unwrap() += time;
        self.check()
    }

    fn elapsed(&self) -> Duration {
        *self.now.lock().unwrap()
    }

    fn journal(&self, step: WipeStepKind) -> Result<(), Stopped> {
        if !self.has_server {
            return Err(Stopped::Unjournaled);
        }
        self.journal.lock().unwrap().push(step);
        Ok(())
    }

    fn note(&self, _: WipeStepKind) {}

    fn progress(&self, done: u64, of: u64, pass: u32) {
        assert!(done <= of && pass == 0, "a device erases itself in one pass");
        self.progress.lock().unwrap().push(done);
    }
}

const HOUR: Duration = Duration::from_hours(1);

fn settings() -> Settings {
    Settings::with_password([0x41; 32])
}

/// How many times commands of a name were sent, as the certificate says.
fn sent(outcome: &TechniqueOutcome, name: &str) -> usize {
    outcome.commands.iter().filter(|command| command.name == name).count()
}

fn reason(outcome: &TechniqueOutcome) -> &str {
    outcome.reason.as_deref().unwrap_or("")
}

fn offered(examined: &Examined) -> Vec<Technique> {
    examined.techniques.iter().map(|offered| offered.technique).collect()
}

/// Everything that a certificate shows of a device, in one text: name, value, and what it is.
fn shown(examined: &Examined) -> String {
    let words = examined.capabilities.iter().map(|can| format!("{}={}", can.name, can.value));
    let texts = [&examined.model, &examined.serial, &examined.firmware];
    let texts = texts.map(|text| text.clone().unwrap_or_default()).join(", ");
    let native = examined.native_bytes.unwrap_or(0);
    format!("{texts}, {native}: {}", words.collect::<Vec<_>>().join(", "))
}
