//! SCSI: SANITIZE and FORMAT UNIT, as REPORT SUPPORTED OPERATION CODES lists them.
//!
//! ```text
//! REQUEST SENSE, TEST UNIT READY ─► running ─► wait for it
//!                                ─► failed ──► exit failure mode ─┐
//!                                ─► ready ────────────────────────┴► SANITIZE or FORMAT UNIT, answered at once
//!                                                                    ─► REQUEST SENSE until it says over
//! ```

mod command;
mod examine;
mod sense;

use std::time::Duration;

use disk::command::{Data, ScsiDevice};
use protocol::wipe::Technique;

pub(super) use self::examine::examine;

use self::command::{
    Command, FORMAT_UNIT, REQUEST_SENSE, SANITIZE, Sanitize, Support, TEST_UNIT_READY,
};
use self::sense::{Condition, Sense};
use super::bytes::hex;
use super::polling::{Answer, Patience, until_over};
use super::tape::Tape;
use super::{Ending, Settings};
use crate::Watch;

// Disks that have to spin up take half a minute.
const QUESTION_LIMIT: Duration = Duration::from_mins(1);
// What is answered at once and goes on by itself.
const START_LIMIT: Duration = Duration::from_mins(10);
const GRACE_POLLS: u32 = 10;
// Resets, changed parameters: each initiator is told of each once.
const MOST_ATTENTIONS: usize = 8;

#[derive(Debug)]
struct Port<'p> {
    device: &'p dyn ScsiDevice,
    tape: &'p mut Tape,
}

/// How a command did not go through.
#[derive(Debug)]
enum Trouble {
    /// CHECK CONDITION.
    Check(Sense),
    /// Another status, or one without sense data.
    Status(u8),
    NoAnswer(std::io::Error),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Check(Sense { key, code, qualifier, .. }) => {
                write!(formatter, "sense {key:x}/{code:02x}/{qualifier:02x}")
            }
            Self::Status(status) => write!(formatter, "status {status:#04x}"),
            Self::NoAnswer(error) => write!(formatter, "no answer: {error}"),
        }
    }
}

/// How a disk stands.
#[derive(Debug)]
enum Standing {
    Ready,
    Sanitizing(Option<u16>),
    Formatting(Option<u16>),
    SanitizeFailed,
    Corrupted,
    Silent(String),
}

impl Port<'_> {
    fn exchange(
        &mut self,
        bytes: &[u8],
        data: Data<'_>,
        limit: Duration,
    ) -> (Result<(), Trouble>, String) {
        match self.device.execute(bytes, data, limit) {
            Ok(answer) => {
                let said = format!("{:02x} {}", answer.status, hex(&answer.sense));
                let result = match (answer.status, Sense::parse(&answer.sense)) {
                    (0, _) => Ok(()),
                    (2, Some(sense)) => Err(Trouble::Check(sense)),
                    (status, _) => Err(Trouble::Status(status)),
                };
                (result, said)
            }
            Err(error) => {
                let said = format!("no answer: {error}");
                (Err(Trouble::NoAnswer(error)), said)
            }
        }
    }

    fn send(&mut self, command: &Command, limit: Duration) -> Result<(), Trouble> {
        let data = if command.data.is_empty() { Data::None } else { Data::Out(&command.data) };
        let (result, said) = self.exchange(&command.bytes, data, limit);
        self.tape.record(command.name, hex(&command.bytes), said);
        result
    }

    /// Asks for `N` bytes, once more where something happened meanwhile.
    fn ask<const N: usize>(
        &mut self,
        name: &'static str,
        bytes: &[u8],
    ) -> Result<[u8; N], Trouble> {
        for _ in 0..MOST_ATTENTIONS {
            let mut answer = [0; N];
            let (result, said) = self.exchange(bytes, Data::In(&mut answer), QUESTION_LIMIT);
            self.tape.record(name, hex(bytes), said);
            match result {
                Ok(()) => return Ok(answer),
                Err(Trouble::Check(sense)) if sense.condition() == Condition::Attention => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Err(Trouble::Status(2))
    }

    /// Says whether a command is supported, and how long it takes.
    fn supports(&mut self, operation: u8, action: Option<u8>) -> Result<Support, Trouble> {
        let question = command::supported(operation, action);
        match self.ask::<64>("REPORT SUPPORTED OPERATION CODES", &question) {
            Ok(answer) => Ok(command::support(&answer)),
            // Who cannot be asked is not tried; some answer so for what they do not know.
            Err(Trouble::Check(sense)) if sense.condition() == Condition::Illegal => {
                Ok(Support::No)
            }
            Err(trouble) => Err(trouble),
        }
    }

    fn standing(&mut self) -> Standing {
        for _ in 0..MOST_ATTENTIONS {
            let mut bytes = [0; 252];
            let (result, said) =
                self.exchange(&REQUEST_SENSE, Data::In(&mut bytes), QUESTION_LIMIT);
            let sense = match result {
                Ok(()) => Sense::parse(&bytes).unwrap_or_default(),
                Err(Trouble::Check(sense)) => sense,
                Err(trouble) => {
                    let state = format!("{trouble}");
                    self.tape.record_poll("REQUEST SENSE", hex(&REQUEST_SENSE), said, &state);
                    return Standing::Silent(trouble.to_string());
                }
            };
            let state = format!("{:?}", sense.condition());
            let said = format!("{said} {}", hex(&bytes[..18]));
            self.tape.record_poll("REQUEST SENSE", hex(&REQUEST_SENSE), said, &state);
            if let Some(standing) = standing(sense) {
                return standing;
            }
            // It has nothing to say; but some say it only to whoever wants something.
            let (result, said) = self.exchange(&TEST_UNIT_READY, Data::None, QUESTION_LIMIT);
            self.tape.record_poll("TEST UNIT READY", hex(&TEST_UNIT_READY), said.clone(), &said);
            match result {
                Ok(()) => return Standing::Ready,
                Err(Trouble::Check(sense)) if sense.condition() == Condition::Attention => {}
                Err(Trouble::Check(sense)) => {
                    let other = || Standing::Silent(Trouble::Check(sense).to_string());
                    return standing(sense).unwrap_or_else(other);
                }
                Err(trouble) => return Standing::Silent(trouble.to_string()),
            }
        }
        Standing::Silent("unit attention without end".to_owned())
    }
}

fn standing(sense: Sense) -> Option<Standing> {
    match sense.condition() {
        Condition::Sanitizing => Some(Standing::Sanitizing(sense.progress)),
        Condition::Formatting => Some(Standing::Formatting(sense.progress)),
        Condition::SanitizeFailed => Some(Standing::SanitizeFailed),
        Condition::Corrupted => Some(Standing::Corrupted),
        _ => None,
    }
}

/// What is begun.
#[derive(Debug, Clone, Copy)]
enum What {
    Sanitize(Sanitize),
    Format,
}

/// Has a disk erase itself.
pub(super) fn apply(
    device: &dyn ScsiDevice,
    technique: Technique,
    settings: &Settings,
    watch: &dyn Watch,
    tape: &mut Tape,
) -> Ending {
    let mut port = Port { device, tape };
    let what = match technique {
        Technique::ScsiSanitizeBlock => What::Sanitize(Sanitize::Block),
        Technique::ScsiSanitizeCrypto => What::Sanitize(Sanitize::Crypto),
        Technique::ScsiSanitizeOverwrite => What::Sanitize(Sanitize::Overwrite),
        _ => What::Format,
    };
    let is_unrestricted = match prepare(&mut port) {
        Ok(is_unrestricted) => is_unrestricted,
        Err(ending) => return ending,
    };
    let supported = match what {
        // A disk in its failure mode answers nothing but SANITIZE, and takes the one that it took before.
        What::Sanitize(_) if !is_unrestricted => Ok(Support::Yes { estimate: None }),
        What::Sanitize(action) => port.supports(SANITIZE, Some(action.action())),
        What::Format if is_unrestricted => port.supports(FORMAT_UNIT, None),
        What::Format => Ok(Support::No),
    };
    let estimate = match supported {
        Ok(Support::Yes { estimate }) => estimate,
        Ok(Support::No) => return Ending::failed("the disk does not say that it can do this"),
        Err(trouble) => return Ending::failed(format!("not begun: {trouble}")),
    };
    let command = match what {
        What::Sanitize(action) => command::sanitize(action, is_unrestricted),
        What::Format => match protection(&mut port) {
            Ok(protection) => command::format_unit(protection),
            Err(trouble) => return Ending::failed(format!("not begun: READ CAPACITY: {trouble}")),
        },
    };
    if let Err(stopped) = watch.check() {
        return Ending::failed(format!("not begun: {stopped}"));
    }
    let lost = match port.send(&command, START_LIMIT) {
        Ok(()) => None,
        Err(Trouble::Check(sense)) => match sense.condition() {
            Condition::Sanitizing | Condition::Formatting => {
                return Ending::unknown(
                    "another erasure is running: look again before anything else",
                );
            }
            Condition::SanitizeFailed | Condition::Corrupted => {
                Some("it failed at once".to_owned())
            }
            Condition::Other => Some(Trouble::Check(sense).to_string()),
            Condition::Well => None,
            _ => {
                let trouble = Trouble::Check(sense);
                return Ending::failed(format!("{} was refused: {trouble}", command.name));
            }
        },
        // BUSY, RESERVATION CONFLICT, TASK SET FULL: nothing was begun.
        Err(Trouble::Status(status @ (0x08 | 0x18 | 0x28))) => {
            return Ending::failed(format!("{} was refused: status {status:#04x}", command.name));
        }
        Err(trouble) => Some(trouble.to_string()),
    };
    let patience = Patience::new(settings.patience, estimate);
    follow(&mut port, &Start::Sent { lost }, patience, watch)
}

/// Makes sure that nothing runs, and leaves the failure mode of an earlier sanitize. Returns whether what follows may be
/// left too.
fn prepare(port: &mut Port<'_>) -> Result<bool, Ending> {
    match port.standing() {
        Standing::Ready | Standing::Corrupted => Ok(true),
        Standing::Sanitizing(_) | Standing::Formatting(_) => {
            Err(Ending::unknown("another erasure is running: nothing was begun"))
        }
        Standing::Silent(words) => Err(Ending::failed(format!("not begun: {words}"))),
        Standing::SanitizeFailed => {
            // Where that is refused, the disk still takes another one that cannot be left either.
            drop(port.send(&command::sanitize(Sanitize::ExitFailure, false), START_LIMIT));
            Ok(!matches!(port.standing(), Standing::SanitizeFailed))
        }
    }
}

/// Returns the type of protection information, 0 where there is none (SBC-4, section 5.20.2). A disk whose format was cut
/// has none that could be kept.
fn protection(port: &mut Port<'_>) -> Result<u8, Trouble> {
    match port.ask::<32>("READ CAPACITY (16)", &command::READ_CAPACITY) {
        Ok(answer) => Ok(protection_type(&answer)),
        Err(Trouble::Check(sense)) if sense.condition() == Condition::Corrupted => Ok(0),
        Err(trouble) => Err(trouble),
    }
}

fn protection_type(capacity: &[u8]) -> u8 {
    let byte = super::bytes::byte(capacity, 12);
    if byte & 1 == 0 { 0 } else { (byte >> 1 & 7).saturating_add(1).min(3) }
}

/// Waits for the end of an erasure that runs.
pub(super) fn rejoin(
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
        /// Why it is not known to be accepted, where it is not.
        lost: Option<String>,
    },
}

fn follow(port: &mut Port<'_>, start: &Start, patience: Patience, watch: &dyn Watch) -> Ending {
    let (mut was_running, mut idle) = (matches!(start, Start::Seen), 0);
    until_over(patience, watch, || match port.standing() {
        Standing::Sanitizing(progress) | Standing::Formatting(progress) => {
            was_running = true;
            Answer::Running { progress }
        }
        Standing::Silent(words) => Answer::Silent(words),
        Standing::SanitizeFailed => Answer::Over(leave(port)),
        Standing::Corrupted => {
            Answer::Over(Ending::failed("the format failed: the disk has to be formatted again"))
        }
        Standing::Ready if was_running => Answer::Over(Ending::done()),
        Standing::Ready if idle < GRACE_POLLS => {
            idle += 1;
            Answer::Running { progress: None }
        }
        Standing::Ready => Answer::Over(match start {
            Start::Sent { lost: Some(words) } => Ending::unknown(format!(
                "the command was sent and not answered ({words}); the disk says nothing of it"
            )),
            _ => Ending::done_but("the disk accepted it, and was never seen at it"),
        }),
    })
}

fn leave(port: &mut Port<'_>) -> Ending {
    drop(port.send(&command::sanitize(Sanitize::ExitFailure, false), START_LIMIT));
    match port.standing() {
        Standing::Ready => Ending::failed("the sanitize failed; its failure mode was left"),
        Standing::SanitizeFailed => {
            Ending::failed("the sanitize failed, and its failure mode cannot be left")
        }
        Standing::Corrupted => Ending::failed("the sanitize failed: the disk has to be formatted"),
        Standing::Sanitizing(_) | Standing::Formatting(_) => {
            Ending::unknown("the sanitize failed, and something runs again")
        }
        Standing::Silent(words) => {
            Ending::unknown(format!("the sanitize failed, and then: {words}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SBC-4, READ CAPACITY (16): `PROT_EN` is bit 0, `P_TYPE` bits 3:1; type 3 is the last that there is.
    #[test]
    fn protection_has_the_type_after_its_field() {
        for byte in 0..=u8::MAX {
            let mut capacity = [0xff; 32];
            capacity[12] = byte;
            let expected = match (byte & 1, byte >> 1 & 7) {
                (0, _) => 0,
                (_, 0) => 1,
                (_, 1) => 2,
                _ => 3,
            };
            assert_eq!(protection_type(&capacity), expected, "{byte:#x}");
        }
    }
}
