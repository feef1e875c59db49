//! ATA SANITIZE (ACS-3, sections 4.18 and 7.36).
//!
//! ```text
//! SANITIZE STATUS EXT ─► running ─► wait for it
//!                     ─► frozen ──► nothing is tried
//!                     ─► failed ──► clear failure ─┐
//!                     ─► idle, completed ──────────┴► SANITIZE ─► SANITIZE STATUS EXT until it says over
//! ```

use std::time::Duration;

use disk::command::{Data, ScsiDevice};
use protocol::wipe::Technique;

use super::super::polling::{Answer, Patience, until_over};
use super::super::tape::Tape;
use super::super::{Ending, Settings};
use super::passthrough::{SANITIZE_CLEAR, SANITIZE_STATUS, Sanitize, Taskfile, sanitize};
use super::{Port, QUESTION_LIMIT, Trouble};
use crate::Watch;

// SANITIZE returns at once and goes on by itself.
const START_LIMIT: Duration = Duration::from_mins(10);
const GRACE_POLLS: u32 = 10;

/// How sanitizing stands.
#[derive(Debug)]
pub(super) enum Standing {
    /// None ran since the disk was made, as far as it says.
    Idle,
    Running {
        progress: u16,
    },
    /// The last one came through.
    Completed {
        /// No other one is taken until the next power cycle.
        is_frozen: bool,
    },
    /// The last one failed, and everything else is refused.
    Failed,
    /// None is taken until the next power cycle.
    Frozen,
    /// No answer that can be understood.
    Silent(Trouble),
}

/// Asks how sanitizing stands.
pub(super) fn standing(port: &mut Port<'_>) -> Standing {
    let result = port.poll(&SANITIZE_STATUS, |result| match result {
        Ok(taskfile) => format!("{:04x}", taskfile.count),
        Err(Trouble::Aborted(taskfile)) => format!("{:x}", taskfile.lba),
        Err(_) => String::new(),
    });
    match result {
        Ok(Taskfile { count, lba, .. }) => {
            // Whatever else it says: while it runs it runs.
            if count & 1 << 14 != 0 {
                let [low, high, ..] = lba.to_le_bytes();
                Standing::Running { progress: u16::from_le_bytes([low, high]) }
            } else if count & 1 << 15 != 0 {
                Standing::Completed { is_frozen: count & 1 << 13 != 0 }
            } else if count & 1 << 13 != 0 {
                Standing::Frozen
            } else {
                Standing::Idle
            }
        }
        // Aborted, with the reason: 0 not said, 1 the last one failed, 3 frozen.
        Err(Trouble::Aborted(Taskfile { error, lba, .. })) if error & 4 != 0 && lba & 0xff < 2 => {
            Standing::Failed
        }
        Err(Trouble::Aborted(Taskfile { lba, .. })) if lba & 0xff == 3 => Standing::Frozen,
        Err(trouble) => Standing::Silent(trouble),
    }
}

/// Sanitizes a disk.
pub(in super::super) fn apply(
    device: &dyn ScsiDevice,
    technique: Technique,
    settings: &Settings,
    watch: &dyn Watch,
    tape: &mut Tape,
) -> Ending {
    let mut port = Port { device, tape };
    let what = match technique {
        Technique::AtaSanitizeBlock => Sanitize::Block,
        Technique::AtaSanitizeCrypto => Sanitize::Crypto,
        _ => Sanitize::Overwrite,
    };
    match port.disk() {
        Ok(identity) if !identity.can_sanitize(what) => {
            return Ending::failed("the disk says that it cannot do this");
        }
        Ok(_) => {}
        Err(ending) => return ending,
    }
    let mut may_be_left = true;
    let was_completed = match standing(&mut port) {
        Standing::Idle => false,
        Standing::Completed { is_frozen: false } => true,
        Standing::Failed => {
            drop(port.send(&SANITIZE_CLEAR, Data::None, QUESTION_LIMIT));
            // Where it cannot be left, the disk still takes another one that cannot be left either.
            may_be_left = !matches!(standing(&mut port), Standing::Failed);
            false
        }
        Standing::Running { .. } => {
            return Ending::unknown("another sanitize is running: nothing was begun");
        }
        Standing::Frozen | Standing::Completed { is_frozen: true } => {
            return Ending::failed("not begun: sanitizing is frozen until the next power cycle");
        }
        Standing::Silent(trouble) => {
            return Ending::failed(format!(
                "not begun, since nobody could see how it goes: {trouble}"
            ));
        }
    };
    if let Err(stopped) = watch.check() {
        return Ending::failed(format!("not begun: {stopped}"));
    }
    let patience = Patience::new(settings.patience, None);
    let lost = match port.send(&sanitize(what, may_be_left), Data::None, START_LIMIT) {
        Ok(_) => None,
        Err(trouble @ Trouble::Aborted(_)) => {
            return Ending::failed(format!("the disk refused it: {trouble}"));
        }
        Err(trouble) => Some(trouble.to_string()),
    };
    follow(&mut port, &Start::Sent { was_completed, lost }, patience, watch)
}

/// Waits for the end of a sanitize that runs.
pub(in super::super) fn rejoin(
    device: &dyn ScsiDevice,
    patience: Duration,
    watch: &dyn Watch,
    tape: &mut Tape,
) -> Ending {
    let mut port = Port { device, tape };
    follow(&mut port, &Start::Seen, Patience::new(patience, None), watch)
}

#[derive(Debug)]
enum Start {
    /// It was seen running.
    Seen,
    /// A command was sent just now.
    Sent {
        /// What the disk said before.
        was_completed: bool,
        /// Why the answer is missing, where it is.
        lost: Option<String>,
    },
}

fn follow(port: &mut Port<'_>, start: &Start, patience: Patience, watch: &dyn Watch) -> Ending {
    let (mut was_running, mut idle) = (matches!(start, Start::Seen), 0);
    until_over(patience, watch, || {
        let is_completed = match standing(port) {
            Standing::Running { progress } => {
                was_running = true;
                return Answer::Running { progress: Some(progress) };
            }
            Standing::Silent(trouble) => return Answer::Silent(trouble.to_string()),
            Standing::Failed => return Answer::Over(leave(port)),
            Standing::Completed { .. } => true,
            Standing::Idle | Standing::Frozen => false,
        };
        let Start::Sent { was_completed, lost } = start else {
            return Answer::Over(over(is_completed));
        };
        if is_completed && (was_running || !was_completed) {
            return Answer::Over(Ending::done());
        }
        if idle < GRACE_POLLS {
            idle += 1;
            return Answer::Running { progress: None };
        }
        Answer::Over(match (lost, is_completed) {
            (Some(words), _) => Ending::unknown(format!(
                "the command was sent and not answered ({words}); the disk says nothing of it"
            )),
            (None, true) => Ending::done_but(
                "the disk said before that a sanitize had come through, and was never seen at this one",
            ),
            (None, false) => over(false),
        })
    })
}

fn over(is_completed: bool) -> Ending {
    if is_completed {
        Ending::done()
    } else {
        Ending::failed("the disk says that no sanitize came through, and that none runs")
    }
}

fn leave(port: &mut Port<'_>) -> Ending {
    drop(port.send(&SANITIZE_CLEAR, Data::None, QUESTION_LIMIT));
    match standing(port) {
        Standing::Failed => {
            Ending::failed("the sanitize failed, and its failure mode cannot be left")
        }
        Standing::Running { .. } => Ending::unknown("the sanitize failed, and one runs again"),
        Standing::Silent(trouble) => {
            Ending::unknown(format!("the sanitize failed, and then: {trouble}"))
        }
        _ => Ending::failed("the sanitize failed; its failure mode was left"),
    }
}
