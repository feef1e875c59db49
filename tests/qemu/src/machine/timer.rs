//! Virtual machines whose kernel finds no timer: under emulation it counts ticks of one clock in the time of another, and
//! sees none where the processors of this host were somebody else's for that moment. It then stops for ever.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::json;

use super::qmp::Qmp;
use crate::story;

/// Linux, `arch/x86/kernel/apic/io_apic.c`, `check_timer`: said where everything was tried.
const NO_TIMER: &str = "IO-APIC + timer doesn't work!  Boot with";
const INTERVAL: Duration = Duration::from_millis(500);
/// So often it is put right: a kernel that never finds one has another reason.
const MOST: usize = 3;

/// Presses the reset button of a machine each time that its kernel has stopped so, until it is dropped.
#[derive(Debug)]
pub(super) struct TimerWatch {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TimerWatch {
    /// Watches a serial console; the control socket is nobody else's.
    pub(super) fn start(name: &str, serial: &Path, control: PathBuf) -> TimerWatch {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, name, serial) = (Arc::clone(&is_over), name.to_owned(), serial.to_owned());
        let thread = thread::spawn(move || {
            let mut pressed = 0;
            while pressed < MOST && !over.load(Ordering::Relaxed) {
                thread::park_timeout(INTERVAL);
                let console = fs::read(&serial).unwrap_or_default();
                if stops(&String::from_utf8_lossy(&console)) <= pressed {
                    continue;
                }
                let asked = Qmp::connect(&control).and_then(|qmp| {
                    qmp.map(|mut qmp| qmp.command("system_reset", &json!({}))).transpose()
                });
                if let Ok(Some(_)) = asked {
                    pressed += 1;
                    story::warn(&format!(
                        "{name}: its kernel found no timer under emulation; reset"
                    ));
                }
            }
        });
        TimerWatch { is_over, thread: Some(thread) }
    }
}

impl Drop for TimerWatch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            drop(thread.join());
        }
    }
}

/// Counts how often a kernel stopped so: it says it where it stops and once more at the end of its trace.
fn stops(console: &str) -> usize {
    let says = |line: &&str| line.contains(NO_TIMER) && !line.contains("end Kernel panic");
    console.lines().filter(says).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_counts_once_and_only_one_for_want_of_a_timer() {
        let stop = "[    0.056000] Kernel panic - not syncing: IO-APIC + timer doesn't work!  Boot with apic=debug\n\
                    [    0.056000] Call Trace:\n\
                    [    0.056000] ---[ end Kernel panic - not syncing: IO-APIC + timer doesn't work!  Boot with apic=debug ]---\n";
        assert_eq!(stops(&[stop, stop].concat()), 2);
        assert_eq!(stops("[    1.0] Kernel panic - not syncing: Attempted to kill init!\n"), 0);
    }
}
