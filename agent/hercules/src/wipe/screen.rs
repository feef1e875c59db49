//! How far a wipe is, for a person at the console: one line that is drawn over itself, and a table whenever a disk enters
//! another phase.

use std::{
    fmt::Write as _,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use agent::console;
use protocol::{
    Bytes,
    wipe::{
        DiskProgress, DiskReport, Outcome, Technique, Verdict, WipePhase, WipeProgress, WipeReport,
    },
};

/// The table is drawn anew after this time, also where no disk is in another phase.
const TABLE_PERIOD: Duration = Duration::from_mins(5);

/// Disks that are shown one by one; of more, only how many there are.
const ROWS: usize = 32;

/// Remembers what was shown last.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    shown: Option<(Instant, Vec<Doing>)>,
}

/// What is being done to a disk.
type Doing = (WipePhase, Option<Technique>);

/// What is to be shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Every disk, where that says something new.
    pub(crate) table: Option<String>,
    /// All disks together.
    pub(crate) line: String,
}

impl Screen {
    /// Returns what to show of the progress.
    pub(crate) fn next(&mut self, now: Instant, progress: &WipeProgress) -> Shown {
        let phases: Vec<_> =
            progress.disks.iter().map(|disk| (disk.phase, disk.technique)).collect();
        let is_new = self.shown.as_ref().is_none_or(|(when, before)| {
            *before != phases || now.duration_since(*when) >= TABLE_PERIOD
        });
        let table = is_new.then(|| table(&progress.disks));
        if is_new {
            self.shown = Some((now, phases));
        }
        Shown { table, line: line(progress) }
    }

    /// Shows the progress on the console.
    pub(crate) fn show(screen: &Mutex<Self>, progress: &WipeProgress) {
        let mut screen = screen.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = screen.next(Instant::now(), progress);
        if let Some(table) = shown.table {
            console::show(&table);
        }
        console::show_for_now(&shown.line);
    }
}

fn table(disks: &[DiskProgress]) -> String {
    let mut text = String::from("\n");
    for disk in disks.iter().take(ROWS) {
        let _infallible = writeln!(text, "  {:10} {}", disk.name, words(disk).join(", "));
    }
    if disks.len() > ROWS {
        let _infallible = writeln!(text, "  and {} more", disks.len() - ROWS);
    }
    text.push('\n');
    text
}

fn words(disk: &DiskProgress) -> Vec<String> {
    if let Some(verdict) = disk.verdict {
        return vec![verdict_words(verdict).to_owned()];
    }
    let mut words = vec![phase(disk.phase).to_owned()];
    words.extend(disk.technique.map(|technique| format!("{technique:?}")));
    words.extend(percent(disk).map(|percent| format!("{percent} %")));
    words.extend(disk.bytes_per_second.filter(is_in_bytes(disk)).map(|rate| format!("{rate}/s")));
    words.extend(disk.remaining_seconds.map(|seconds| format!("{} left", time(seconds))));
    if disk.bad_ranges > 0 {
        words.push(format!("{} bad places", disk.bad_ranges));
    }
    words
}

/// A device's own erasure counts in 65,536ths.
fn is_in_bytes(disk: &DiskProgress) -> impl Fn(&Bytes) -> bool {
    let is = disk.total_bytes.0 > 65_536;
    move |_| is
}

fn percent(disk: &DiskProgress) -> Option<u64> {
    let (done, total) = (disk.done_bytes.0, disk.total_bytes.0);
    done.min(total).saturating_mul(100).checked_div(total)
}

fn line(progress: &WipeProgress) -> String {
    let over = progress.disks.iter().filter(|disk| disk.verdict.is_some()).count();
    let mut words = vec![format!("{over} of {} disks are over", progress.disks.len())];
    let going = progress.disks.iter().filter(|disk| disk.verdict.is_none());
    let each: Vec<String> = going
        .clone()
        .filter_map(|disk| Some(format!("{} {} %", disk.name, percent(disk)?)))
        .take(4)
        .collect();
    words.extend(each);
    let left = going.filter_map(|disk| disk.remaining_seconds).max();
    words.extend(left.map(|seconds| format!("{} left of this", time(seconds))));
    words.push(format!("since {}", time(progress.elapsed_milliseconds / 1000)));
    format!("  wipe     {}", words.join(", "))
}

fn phase(phase: WipePhase) -> &'static str {
    match phase {
        WipePhase::Waiting => "waiting",
        WipePhase::Examining => "asking what it can",
        WipePhase::Marking => "marking",
        WipePhase::Erasing => "erasing",
        WipePhase::Verifying => "reading back",
        WipePhase::Over => "over",
        WipePhase::Other => "working",
    }
}

fn time(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Returns a verdict as the certificate spells it.
fn verdict_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Erased => "erased",
        Verdict::ErasedWithExceptions => "erased with exceptions",
        Verdict::NotErased => "NOT ERASED",
        Verdict::UnknownStillRunning => "UNKNOWN, STILL RUNNING",
    }
}

/// Returns how far data is gone, in the words of the standards.
fn outcome_words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::None => "nothing",
        Outcome::Signatures => "tables and signatures",
        Outcome::Logical => "addresses only, the medium is unknown",
        Outcome::Clear => "clear",
        Outcome::Purge => "purge",
    }
}

/// Draws what came of a wipe.
pub(crate) fn report(report: &WipeReport) -> String {
    let mut text = String::from("\n");
    for disk in &report.disks {
        text.push_str(&disk_report(disk));
    }
    let gone = report.missing.len();
    if gone > 0 {
        let _infallible = writeln!(text, "  {gone} disks are missing: destroy them physically");
    }
    for extra in &report.extras {
        let failure = extra.failure.as_deref();
        let words = failure.map_or_else(|| "done".to_owned(), |why| format!("FAILED: {why}"));
        let _infallible = writeln!(text, "  {:?}: {}", extra.extra, printable(&words));
    }
    text.push('\n');
    text
}

/// Draws what came of one disk: a line, and one for each exception.
fn disk_report(disk: &DiskReport) -> String {
    let serial = disk.disk.serial.as_deref().unwrap_or("no serial number");
    if disk.forecast.is_some() {
        // What each level would do is too long for here: who ordered it reads it.
        let serial = printable(serial);
        return format!("  {:10} {serial}: looked at, nothing was written\n", disk.name);
    }
    let mut text = format!(
        "  {:10} {}: {}; reached: {}\n",
        disk.name,
        printable(serial),
        verdict_words(disk.verdict),
        outcome_words(disk.reached)
    );
    for exception in &disk.exceptions {
        let _infallible = writeln!(text, "             {}", printable(&exception.words));
    }
    text
}

/// What others say cannot move the cursor.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use protocol::OrderId;

    use super::*;

    fn disk(name: &str, phase: WipePhase, done: u64, verdict: Option<Verdict>) -> DiskProgress {
        DiskProgress {
            name: name.to_owned(),
            phase,
            technique: (phase == WipePhase::Erasing).then_some(Technique::Zeros),
            done_bytes: Bytes(done << 20),
            total_bytes: Bytes(200 << 20),
            bytes_per_second: Some(Bytes(10 << 20)),
            remaining_seconds: Some(70),
            bad_ranges: 2,
            verdict,
        }
    }

    fn progress(disks: Vec<DiskProgress>) -> WipeProgress {
        WipeProgress { order: OrderId([1; 16]), elapsed_milliseconds: 61_000, disks }
    }

    #[test]
    fn a_person_sees_each_disk_and_all_together() {
        let (mut screen, now) = (Screen::default(), Instant::now());
        let shown = screen.next(
            now,
            &progress(vec![
                disk("nvme0n1", WipePhase::Erasing, 50, None),
                disk("sda", WipePhase::Over, 200, Some(Verdict::NotErased)),
            ]),
        );
        let table = "
  nvme0n1    erasing, Zeros, 25 %, 10 MiB/s, 1 min 10 s left, 2 bad places
  sda        NOT ERASED

";
        assert_eq!(shown.table.as_deref(), Some(table));
        let line = "  wipe     1 of 2 disks are over, nvme0n1 25 %, 1 min 10 s left of this, since 1 min 1 s";
        assert_eq!(shown.line, line);
    }

    #[test]
    fn the_table_is_drawn_when_a_phase_begins_and_now_and_then() {
        let (mut screen, start) = (Screen::default(), Instant::now());
        let at = |screen: &mut Screen, seconds, phase, done| {
            let now = start + Duration::from_secs(seconds);
            screen.next(now, &progress(vec![disk("sda", phase, done, None)])).table.is_some()
        };
        assert!(at(&mut screen, 0, WipePhase::Erasing, 1));
        assert!(!at(&mut screen, 2, WipePhase::Erasing, 9));
        assert!(at(&mut screen, 4, WipePhase::Verifying, 0));
        assert!(!at(&mut screen, 6, WipePhase::Verifying, 9));
        assert!(at(&mut screen, 304, WipePhase::Verifying, 10));
    }

    #[test]
    fn a_disk_of_no_size_divides_nothing() {
        let nothing =
            DiskProgress { total_bytes: Bytes(0), ..disk("a", WipePhase::Waiting, 0, None) };
        assert_eq!(percent(&nothing), None);
    }
}
