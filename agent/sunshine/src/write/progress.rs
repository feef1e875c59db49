//! How far it is: a bar on a terminal, a line now and then elsewhere.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use protocol::{
    Bytes,
    install::{Bottleneck, InstallPhase, Progress},
};

/// Between two lines where nobody watches.
const LINE_PERIOD: Duration = Duration::from_secs(10);

const BAR: usize = 24;

/// Shows progress on stderr.
#[derive(Debug)]
pub(super) struct Shown {
    is_terminal: bool,
    /// The length of the file that is fetched, where that tells how far a foreign image is.
    file_bytes: Option<u64>,
    last: Mutex<(Option<Instant>, usize)>,
}

impl Shown {
    pub(super) fn new(file_bytes: Option<u64>) -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self { is_terminal, file_bytes, last: Mutex::new((None, 0)) }
    }

    /// Shows how far it is, if it is time.
    pub(super) fn tell(&self, progress: &Progress) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_terminal && last.0.is_some_and(|last| last.elapsed() < LINE_PERIOD) {
            return;
        }
        let line = line(progress, self.file_bytes, self.is_terminal);
        let (before, after) = if self.is_terminal { ("\r", "") } else { ("", "\n") };
        // What was longer is covered with blanks.
        let width = last.1.max(line.chars().count());
        let text = if self.is_terminal { format!("{line:width$}") } else { line };
        *last = (Some(Instant::now()), text.trim_end().chars().count());
        let _nobody_reads = write!(io::stderr(), "{before}{text}{after}");
    }

    /// Leaves the line of the bar.
    pub(super) fn end(&self) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_terminal && last.0.is_some() {
            let _nobody_reads = writeln!(io::stderr());
        }
    }
}

fn line(progress: &Progress, file_bytes: Option<u64>, with_bar: bool) -> String {
    let Progress { written_bytes, zeroed_bytes, unchanged_bytes, fetched_bytes, .. } = progress;
    let there = written_bytes.0 + zeroed_bytes.0 + unchanged_bytes.0;
    let (done, all) = match (progress.image_bytes, file_bytes) {
        (Some(Bytes(all)), _) => (there, Some(all)),
        (None, all) => (fetched_bytes.0, all),
    };
    let phase = match progress.phase {
        InstallPhase::Checking | InstallPhase::Other => "checking",
        InstallPhase::Disarming => "disarming",
        InstallPhase::Comparing => "comparing",
        InstallPhase::Writing => "writing",
        InstallPhase::Flushing => "flushing",
        InstallPhase::Verifying => "reading back",
        InstallPhase::Finishing => "finishing",
    };
    let percent = all.filter(|all| *all > 0).map(|all| (done.min(all)) * 100 / all);
    let mut text = phase.to_owned();
    if let Some(percent) = percent {
        if with_bar {
            let full = usize::try_from(percent).unwrap_or(0) * BAR / 100;
            text = format!("{text:12} [{}{}]", "#".repeat(full), "-".repeat(BAR - full));
        }
        text = format!("{text} {percent} %");
    }
    text = format!("{text}, {}", Bytes(there));
    if let Some(rate) = progress.bytes_per_second {
        text = format!("{text}, {rate}/s");
    }
    if let Some(seconds) = progress.remaining_seconds {
        text = format!("{text}, {seconds} s left");
    }
    match progress.bottleneck {
        Some(Bottleneck::Network) => text + ", waits for the image",
        Some(Bottleneck::Processor) => text + ", waits for the processor",
        Some(Bottleneck::Disk) => text + ", waits for the disk",
        Some(Bottleneck::Other) | None => text,
    }
}

#[cfg(test)]
mod tests {
    use protocol::OrderId;

    use super::*;

    #[test]
    fn a_line_says_how_much_is_there_and_what_it_waits_for() {
        let progress = Progress {
            order: OrderId([0; 16]),
            phase: InstallPhase::Writing,
            image_bytes: Some(Bytes(4 << 30)),
            fetched_bytes: Bytes(1 << 20),
            unpacked_bytes: Bytes(0),
            written_bytes: Bytes(1 << 30),
            zeroed_bytes: Bytes(1 << 30),
            unchanged_bytes: Bytes(0),
            verified_bytes: Bytes(0),
            elapsed_milliseconds: 1000,
            bytes_per_second: Some(Bytes(1 << 30)),
            remaining_seconds: Some(2),
            bottleneck: Some(Bottleneck::Disk),
        };
        let text = line(&progress, None, false);
        assert!(text.starts_with("writing 50 %, "), "{text}");
        assert!(text.ends_with(", 1 GiB/s, 2 s left, waits for the disk"), "{text}");
        let text = line(&progress, None, true);
        assert!(text.contains("[############------------] 50 %"), "{text}");
        let unknown = Progress { image_bytes: None, ..progress };
        assert!(line(&unknown, Some(4 << 20), false).starts_with("writing 25 %, "));
        assert!(line(&unknown, None, false).starts_with("writing, "));
    }
}
