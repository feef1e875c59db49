//! How far an install is, as one line that is drawn over itself, and what came of it.

use std::time::{Duration, Instant};

use protocol::{
    Bytes, EventKind,
    install::{Bottleneck, Guarantee, InstallPhase, InstallReport, Progress, ReadBack},
};

use super::table;

/// The shortest time between two lines of one phase: a serial line is slow, and an install lasts hours.
const PAUSE: Duration = Duration::from_secs(1);

/// Remembers what was shown last.
#[derive(Debug, Default)]
pub struct ProgressLine {
    shown: Option<(Instant, InstallPhase)>,
}

impl ProgressLine {
    /// Returns the line to show; nothing where the last one is not a second old and still true.
    pub fn next(&mut self, now: Instant, progress: &Progress) -> Option<String> {
        let done = done(progress);
        let before = self.shown.filter(|(_, phase)| *phase == progress.phase);
        if before.is_some_and(|(shown, _)| now.duration_since(shown) < PAUSE) {
            return None;
        }
        self.shown = Some((now, progress.phase));
        let mut words = vec![phase(progress.phase).to_owned()];
        let whole = progress.image_bytes.filter(|_| progress.phase == InstallPhase::Writing);
        if let Some(percent) =
            whole.and_then(|Bytes(whole)| done.min(whole).saturating_mul(100).checked_div(whole))
        {
            words.push(format!("{percent} %"));
        } else if done > 0 {
            words.push(Bytes(done).to_string());
        }
        if let Some(rate) = progress.bytes_per_second {
            words.push(format!("{rate}/s"));
        }
        if let Some(seconds) = progress.remaining_seconds {
            words.push(format!("{} left", time(seconds)));
        }
        let waits = match progress.bottleneck {
            Some(Bottleneck::Network) => Some("waits for the network"),
            Some(Bottleneck::Processor) => Some("waits for the processor"),
            Some(Bottleneck::Disk) => Some("waits for the disk"),
            Some(Bottleneck::Other) | None => None,
        };
        words.extend(waits.map(str::to_owned));
        Some(format!("  install  {}", words.join(", ")))
    }
}

/// Returns how many bytes of a phase are done.
fn done(progress: &Progress) -> u64 {
    match progress.phase {
        InstallPhase::Writing => {
            [progress.written_bytes, progress.zeroed_bytes, progress.unchanged_bytes]
                .iter()
                .fold(0, |sum, bytes| sum.saturating_add(bytes.0))
        }
        InstallPhase::Verifying => progress.verified_bytes.0,
        _ => 0,
    }
}

fn phase(phase: InstallPhase) -> &'static str {
    match phase {
        InstallPhase::Checking => "checking",
        InstallPhase::Disarming => "making the disk unbootable",
        InstallPhase::Comparing => "comparing",
        InstallPhase::Writing => "writing",
        InstallPhase::Flushing => "flushing",
        InstallPhase::Verifying => "reading back",
        InstallPhase::Finishing => "finishing",
        InstallPhase::Other => "working",
    }
}

fn time(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Draws what came of an order; nothing for other events.
pub fn outcome(event: &EventKind) -> Option<String> {
    match event {
        EventKind::Installed { report, .. } => Some(table(&installed(report))),
        EventKind::OrderFailed { reason, touched, .. } => {
            let disk = if *touched {
                "is not what it was, and does not boot unless the image is all there"
            } else {
                "nothing was written"
            };
            Some(table(&[("failed", reason.clone()), ("disk", disk.to_owned())]))
        }
        _ => None,
    }
}

fn installed(report: &InstallReport) -> Vec<(&'static str, String)> {
    let progress = &report.progress;
    let vouched = match report.guarantee {
        Guarantee::SignedChunks => "every chunk is what the server signed",
        Guarantee::Ranges => "every range has the digest of the map",
        Guarantee::Digest => "the whole file has the digest that was ordered",
        Guarantee::Format => "by the format's own checksums only",
        Guarantee::Length => "by its length only: nothing vouches for it",
    };
    let read_back = match &report.read_back {
        ReadBack::Whole {} => "all of it".to_owned(),
        ReadBack::Sample { bytes, .. } => format!("a sample of {bytes}"),
    };
    let size = progress.image_bytes.map(|bytes| format!("{bytes}, ")).unwrap_or_default();
    let written = format!(
        "{size}{} written, {} zeroed, {} found unchanged, in {}",
        progress.written_bytes,
        progress.zeroed_bytes,
        progress.unchanged_bytes,
        time(progress.elapsed_milliseconds / 1000)
    );
    let mut rows = vec![("done", "the image is on the disk".to_owned()), ("image", written)];
    rows.extend([("vouched", vouched.to_owned()), ("read", read_back)]);
    for step in &report.steps {
        let failure = step.failure.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        rows.push(("step", format!("{}{failure}", step.step)));
    }
    rows
}

#[cfg(test)]
mod tests {
    use protocol::{OrderId, install::StepOutcome};

    use super::*;

    fn progress(phase: InstallPhase, written: u64) -> Progress {
        Progress {
            order: OrderId([0; 16]),
            phase,
            image_bytes: Some(Bytes(1 << 30)),
            fetched_bytes: Bytes(7),
            unpacked_bytes: Bytes(7),
            written_bytes: Bytes(written),
            zeroed_bytes: Bytes(1 << 28),
            unchanged_bytes: Bytes(0),
            verified_bytes: Bytes(0),
            elapsed_milliseconds: 61_000,
            bytes_per_second: Some(Bytes(128 << 20)),
            remaining_seconds: Some(125),
            bottleneck: Some(Bottleneck::Network),
        }
    }

    #[test]
    fn a_line_says_phase_percent_rate_time_and_bottleneck() {
        let (mut line, start) = (ProgressLine::default(), Instant::now());
        let first = line.next(start, &progress(InstallPhase::Writing, 0));
        let expected = "  install  writing, 25 %, 128 MiB/s, 2 min 5 s left, waits for the network";
        assert_eq!(first.as_deref(), Some(expected));
        let later = start + Duration::from_secs(2);
        let second = line.next(later, &progress(InstallPhase::Writing, 1 << 28));
        let expected = "  install  writing, 50 %, 128 MiB/s, 2 min 5 s left, waits for the network";
        assert_eq!(second.as_deref(), Some(expected));
    }

    #[test]
    fn a_line_is_drawn_once_a_second_and_at_once_in_another_phase() {
        let (mut line, start) = (ProgressLine::default(), Instant::now());
        let lines = (0..5000_u64).filter(|milliseconds| {
            let now = start + Duration::from_millis(*milliseconds);
            line.next(now, &progress(InstallPhase::Writing, *milliseconds)).is_some()
        });
        assert_eq!(lines.count(), 5);
        let now = start + Duration::from_millis(4001);
        assert!(line.next(now, &progress(InstallPhase::Flushing, 0)).is_some());
    }

    #[test]
    fn an_image_of_unknown_size_shows_its_bytes() {
        let mut line = ProgressLine::default();
        let unknown = Progress {
            image_bytes: None,
            bytes_per_second: None,
            remaining_seconds: None,
            bottleneck: None,
            ..progress(InstallPhase::Writing, 1 << 28)
        };
        let expected = "  install  writing, 512 MiB";
        assert_eq!(line.next(Instant::now(), &unknown).as_deref(), Some(expected));
    }

    #[test]
    fn a_person_reads_what_vouches_for_the_image_and_what_was_read_back() {
        let report = InstallReport {
            guarantee: Guarantee::Format,
            progress: progress(InstallPhase::Finishing, 1 << 20),
            read_back: ReadBack::Sample { bytes: Bytes(8 << 20), detects_per_thousand: 50 },
            steps: vec![StepOutcome { step: "seed".to_owned(), failure: None }],
        };
        let order = OrderId([0; 16]);
        let drawn = outcome(&EventKind::Installed { order, report: Box::new(report) });
        let expected = "
  done     the image is on the disk
  image    1 GiB, 1 MiB written, 256 MiB zeroed, 0 B found unchanged, in 1 min 1 s
  vouched  by the format's own checksums only
  read     a sample of 8 MiB
  step     seed

";
        assert_eq!(drawn.as_deref(), Some(expected));
    }

    #[test]
    fn a_failure_says_why_and_what_the_disk_is() {
        let failed = |touched| {
            let reason = "the disk\x1b[2J is gone".to_owned();
            outcome(&EventKind::OrderFailed { order: OrderId([0; 16]), reason, touched })
        };
        let expected = "
  failed   the disk [2J is gone
  disk     nothing was written

";
        assert_eq!(failed(false).as_deref(), Some(expected));
        assert!(failed(true).is_some_and(|text| text.contains("is not what it was")));
        assert_eq!(outcome(&EventKind::Obeys { sequence: 1 }), None);
    }
}
