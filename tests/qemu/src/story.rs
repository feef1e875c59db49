//! What the harness says to the person who runs it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the harness is a program for terminals"
)]

use std::time::Instant;

/// Says a line on standard output.
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Says that something went wrong that does not end the run.
pub(crate) fn warn(line: &str) {
    eprintln!("warning: {line}");
}

/// Says why the run ends.
pub(crate) fn complain(line: &str) {
    eprintln!("error: {line}");
}

/// Says lines with the seconds since it began.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// Begins.
    pub(crate) fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Says a line, on standard error: standard output is for results.
    pub(crate) fn say(&self, line: &str) {
        eprintln!("{:7.1} s  {line}", self.start.elapsed().as_secs_f32());
    }
}
