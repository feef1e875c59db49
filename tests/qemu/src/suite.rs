//! Runs cases, two machines at a time, and says how each went and how long it took.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::{
    cases::Case,
    checkout, interrupt,
    lab::{self, Lab},
    process::tail,
    story::{Clock, say},
};

/// How many machines run at once: one for each processor of the smallest machine that this must run on.
const MACHINES_AT_ONCE: usize = 2;

/// What a case could not be told for. Nothing was tried.
#[derive(Debug)]
pub(crate) struct LeftOut(pub(crate) String);

impl std::fmt::Display for LeftOut {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "left out: {}", self.0)
    }
}

impl std::error::Error for LeftOut {}

/// How a case went.
#[derive(Debug)]
enum Outcome {
    Passed,
    Failed(String),
    LeftOut(String),
}

/// What is still to be told, and how many machines may be switched on meanwhile.
#[derive(Debug)]
struct Queue {
    waiting: VecDeque<Case>,
    free: usize,
}

/// Runs cases; fails when one failed, or was left out where `CI=true`.
pub(crate) fn run(cases: &[Case], show_serial: bool) -> Result<()> {
    lab::clean_leftovers()?;
    let clock = Clock::start();
    let queue =
        Mutex::new(Queue { waiting: cases.iter().copied().collect(), free: MACHINES_AT_ONCE });
    let freed = Condvar::new();
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        // One more for a case without machines.
        for _ in 0..=MACHINES_AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = take(&queue, &freed) {
                    clock.say(&format!("{}: {}", case.name, case.claim));
                    let start = Instant::now();
                    let outcome = tell(&case, show_serial);
                    report(&clock, &case, &outcome, start);
                    let minutes = start.elapsed().as_secs_f32() / 60.0;
                    results
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((case.name, outcome, minutes));
                    queue.lock().unwrap_or_else(PoisonError::into_inner).free += case.machines;
                    freed.notify_all();
                }
            });
        }
    });
    interrupt::check()?;
    summary(&results.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Takes the first case for which there is room; absent when none is left.
fn take(queue: &Mutex<Queue>, freed: &Condvar) -> Option<Case> {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if queue.waiting.is_empty() || interrupt::check().is_err() {
            return None;
        }
        let free = queue.free;
        if let Some(place) = queue.waiting.iter().position(|case| case.machines <= free) {
            let case = queue.waiting.remove(place)?;
            queue.free -= case.machines;
            return Some(case);
        }
        queue = freed.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Tells one case in a lab of its own. A thread of its own: a panic is a failure like any other.
fn tell(case: &Case, show_serial: bool) -> Outcome {
    let logs = logs(case);
    let story = thread::scope(|scope| {
        let story = scope.spawn(|| (case.run)(&Lab::new(&logs, show_serial)?));
        story.join().unwrap_or_else(|panic| {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(anyhow!("panicked: {}", words.unwrap_or("without a word")))
        })
    });
    match story {
        Ok(()) => Outcome::Passed,
        Err(error) => match error.downcast_ref::<LeftOut>() {
            Some(LeftOut(reason)) => Outcome::LeftOut(reason.clone()),
            // The summary has no room for more.
            None => Outcome::Failed(format!("{error:#}\n{}", last_words(case, ".serial.log", 6))),
        },
    }
}

fn logs(case: &Case) -> PathBuf {
    checkout::root().join("target/qemu").join(case.name)
}

fn report(clock: &Clock, case: &Case, outcome: &Outcome, start: Instant) {
    let seconds = start.elapsed().as_secs();
    match outcome {
        Outcome::Passed => clock.say(&format!("{}: passed in {seconds} s", case.name)),
        Outcome::LeftOut(reason) => clock.say(&format!("{}: left out: {reason}", case.name)),
        Outcome::Failed(reason) => {
            let logs = last_words(case, ".log", 60);
            clock.say(&format!("{}: FAILED after {seconds} s: {reason}\n{logs}", case.name));
        }
    }
}

/// Returns the end of every log of a case with such a name: on failure nobody should have to look for them.
fn last_words(case: &Case, ending: &str, lines: usize) -> String {
    ends(&logs(case), ending, lines).unwrap_or_else(|error| format!("{error:#}"))
}

fn ends(logs: &Path, ending: &str, lines: usize) -> Result<String> {
    let mut paths: Vec<PathBuf> = fs::read_dir(logs)
        .with_context(|| format!("reading {}", logs.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| path.to_string_lossy().ends_with(ending));
    paths.sort();
    let end = |path: &PathBuf| {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(format!("----- the end of {}\n{}", path.display(), tail(&printable(&bytes), lines)))
    };
    let ends: Vec<String> = paths.iter().map(end).collect::<Result<_>>()?;
    Ok(ends.join("\n"))
}

/// Returns text without the control sequences of a serial console.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut clean = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\x1b' {
            // ECMA-48 §5.4: a control sequence ends with a character from `@` to `~`.
            if characters.next_if_eq(&'[').is_some() {
                while characters.next_if(|next| !('@'..='~').contains(next)).is_some() {}
            }
            characters.next();
        } else if character == '\n' || !character.is_control() {
            clean.push(character);
        }
    }
    clean
}

fn summary(results: &[(&str, Outcome, f32)]) -> Result<()> {
    let mut results: Vec<_> = results.iter().collect();
    // Where only the end of a long log is kept, what failed is in it.
    results.sort_by_key(|(name, outcome, _)| (matches!(outcome, Outcome::Failed(_)), *name));
    say("");
    say("minutes  case");
    for (name, outcome, minutes) in &results {
        let how = match outcome {
            Outcome::Passed => "passed".to_owned(),
            Outcome::Failed(reason) => format!("FAILED: {reason}"),
            Outcome::LeftOut(reason) => format!("LEFT OUT: {reason}"),
        };
        say(&format!("{minutes:7.2}  {name} {how}"));
    }
    let count = |wanted: fn(&Outcome) -> bool| {
        results.iter().filter(|(_, outcome, _)| wanted(outcome)).count()
    };
    let passed = count(|outcome| matches!(outcome, Outcome::Passed));
    let left_out = count(|outcome| matches!(outcome, Outcome::LeftOut(_)));
    let mut failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    // What nobody looks at must not be able to rot.
    if std::env::var_os("CI").is_some_and(|value| value == "true") {
        failed += left_out;
    } else if left_out > 0 {
        say(&format!("{left_out} left out"));
    }
    say(&format!("{passed} passed, {failed} failed"));
    ensure!(failed == 0, "{failed} of {} cases failed", results.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_shown_without_control_sequences() {
        assert_eq!(printable(b"\x1b[2J\x1b[01;01HBoot\x07ing\r\n\x1bcdone"), "Booting\ndone");
    }
}
