//! ATA: SANITIZE, SECURITY ERASE UNIT, hidden sectors. Every answer has to bring the task file with it: a bridge that
//! keeps it back could say anything.

mod examine;
mod hidden;
mod identify;
mod passthrough;
mod sanitize;
mod security;

use std::{fmt, io, time::Duration};

use disk::command::{Data, ScsiDevice};

pub(super) use self::examine::examine;
pub(super) use self::hidden::lift as lift_hidden;
pub(super) use self::sanitize::{apply as sanitize, rejoin};
pub(super) use self::security::{erase as security_erase, recover};

use self::identify::Identity;
use self::passthrough::{Command, IDENTIFY, Taskfile, envelope, taskfile};
use super::bytes::{big32, big64, hex};
use super::tape::Tape;
use super::{Ending, FirmwareError};

// Disks that have to spin up take half a minute.
const QUESTION_LIMIT: Duration = Duration::from_mins(1);

// SBC-4, section 5.20: of 32 bytes.
const READ_CAPACITY: [u8; 16] = [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0];

#[derive(Debug)]
struct Port<'p> {
    device: &'p dyn ScsiDevice,
    tape: &'p mut Tape,
}

/// How a command did not go through.
#[derive(Debug)]
enum Trouble {
    /// The device gave it up.
    Aborted(Taskfile),
    /// An answer came without the task file, or with one that says neither success nor failure.
    Unclear {
        completion: String,
    },
    NoAnswer(io::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted(Taskfile { error, status, lba, .. }) => {
                write!(formatter, "aborted, status {status:#04x}, error {error:#04x}, LBA {lba:#x}")
            }
            Self::Unclear { completion } => {
                write!(formatter, "answered without a task file, completion {completion}")
            }
            Self::NoAnswer(error) => write!(formatter, "no answer: {error}"),
        }
    }
}

impl Trouble {
    fn of(self, name: &'static str) -> FirmwareError {
        match self {
            Self::NoAnswer(source) => FirmwareError::NoAnswer { name, source },
            Self::Unclear { completion } => FirmwareError::Refused { name, completion },
            Self::Aborted(taskfile) => {
                let Taskfile { status, error, .. } = taskfile;
                FirmwareError::Refused { name, completion: format!("{status:02x} {error:02x}") }
            }
        }
    }
}

impl Port<'_> {
    fn send(
        &mut self,
        command: &Command,
        data: Data<'_>,
        limit: Duration,
    ) -> Result<Taskfile, Trouble> {
        let (result, completion) = self.exchange(command, data, limit);
        self.tape.record(command.name, hex(&envelope(command)), completion);
        result
    }

    /// Asks something that is asked again and again.
    fn poll(
        &mut self,
        command: &Command,
        state: impl Fn(&Result<Taskfile, Trouble>) -> String,
    ) -> Result<Taskfile, Trouble> {
        let (result, completion) = self.exchange(command, Data::None, QUESTION_LIMIT);
        let state = state(&result);
        self.tape.record_poll(command.name, hex(&envelope(command)), completion, &state);
        result
    }

    fn exchange(
        &mut self,
        command: &Command,
        data: Data<'_>,
        limit: Duration,
    ) -> (Result<Taskfile, Trouble>, String) {
        let answer = match self.device.execute(&envelope(command), data, limit) {
            Ok(answer) => answer,
            Err(error) => {
                let completion = format!("no answer: {error}");
                return (Err(Trouble::NoAnswer(error)), completion);
            }
        };
        let completion = format!("{:02x} {}", answer.status, hex(&answer.sense));
        let result = match taskfile(&answer.sense) {
            Some(taskfile) if taskfile.is_error() => Err(Trouble::Aborted(taskfile)),
            Some(taskfile) if taskfile.is_success() => Ok(taskfile),
            _ => Err(Trouble::Unclear { completion: completion.clone() }),
        };
        (result, completion)
    }

    fn identify(&mut self) -> Result<Identity, (Trouble, Identity)> {
        let mut bytes = [0; 512];
        let result = self.send(&IDENTIFY, Data::In(&mut bytes), QUESTION_LIMIT);
        let identity = Identity::new(&bytes);
        match result {
            Ok(_) => Ok(identity),
            Err(trouble) => Err((trouble, identity)),
        }
    }

    /// Makes sure, before anything is begun, that the disk itself answers.
    fn disk(&mut self) -> Result<Identity, Ending> {
        match self.identify() {
            Ok(identity) => match self.bridge(&identity) {
                None => Ok(identity),
                Some(words) => {
                    Err(Ending::failed(format!("not begun: something is in between: {words}")))
                }
            },
            Err((trouble, _)) => {
                Err(Ending::failed(format!("not begun: IDENTIFY DEVICE: {trouble}")))
            }
        }
    }

    /// Says how it shows that something between answers for the disk, where it does.
    fn bridge(&mut self, identity: &Identity) -> Option<&'static str> {
        if !identity.is_plausible() {
            return Some("what it says of the disk is inconsistent");
        }
        let mut bytes = [0; 32];
        let data = Data::In(&mut bytes);
        let answer = self.device.execute(&READ_CAPACITY, data, QUESTION_LIMIT).ok()?;
        // Who does not answer that says nothing.
        if answer.status != 0 || answer.transferred < 12 {
            return None;
        }
        let said = format!("{:02x} {}", answer.status, hex(&bytes[..12]));
        self.tape.record("READ CAPACITY (16)", hex(&READ_CAPACITY), said);
        let sectors = big64(&bytes, 0).wrapping_add(1);
        // The kernel looks again only later, when hidden sectors were lifted.
        let was_lifted = sectors < identity.sectors()
            && (identity.has_hpa() || identity.has_dco() || identity.has_ama());
        let is_same = sectors == identity.sectors() || was_lifted;
        let is_other = !is_same || big32(&bytes, 8) != identity.sector_bytes();
        is_other.then_some("it names another size than the disk")
    }
}
