//! NVMe: SANITIZE for the whole subsystem, FORMAT NVM for a namespace.
//!
//! ```text
//! log 81h ─► running ─────────────────────────────────► wait for it
//!         ─► failed ─► exit failure mode ─┐
//!         ─► never, done ─────────────────┴► SANITIZE ─► log 81h until it says over
//!                                                no answer ─► log 81h: begun? else unknown
//! ```

mod command;
mod examine;
mod identify;

use std::time::Duration;

use disk::command::{Data, NvmeCommand, NvmeController, NvmeFailure};
use protocol::wipe::Technique;

pub(super) use self::examine::examine;

use self::command::{Action, IDENTIFY_BYTES, Identify, Meaning, SANITIZE_LOG_BYTES, SecureErase};
use self::identify::{Controller, Namespace, Operation, SanitizeLog};
use super::bytes::hex;
use super::polling::{Answer, Patience, until_over};
use super::tape::Tape;
use super::{Ending, Settings};
use crate::Watch;

// The kernel's own limit for admin commands.
const QUESTION_LIMIT: Duration = Duration::from_mins(1);
// SANITIZE returns at once and goes on by itself; some controllers take long to say so.
const START_LIMIT: Duration = Duration::from_mins(10);
// FORMAT NVM returns when it is over: new keys are made at once, large disks erase for an hour or two.
const CRYPTO_LIMIT: Duration = Duration::from_hours(1);
const ERASE_LIMIT: Duration = Duration::from_hours(8);
// Logs may lag behind a command that was accepted, and behind one whose answer was lost.
const GRACE_POLLS: u32 = 30;

#[derive(Debug)]
struct Port<'p> {
    controller: &'p dyn NvmeController,
    tape: &'p mut Tape,
}

impl Port<'_> {
    fn send(
        &mut self,
        name: &'static str,
        command: &NvmeCommand,
        limit: Duration,
    ) -> Result<u32, NvmeFailure> {
        let result = self.controller.admin(command, Data::None, limit);
        self.tape.record(name, hex(&command::entry(command)), completion(&result));
        result
    }

    fn identify<const N: usize>(&mut self, what: Identify) -> Result<[u8; N], NvmeFailure> {
        let (command, mut bytes) = (command::identify(what), [0; N]);
        let result = self.controller.admin(&command, Data::In(&mut bytes), QUESTION_LIMIT);
        self.tape.record("IDENTIFY", hex(&command::entry(&command)), completion(&result));
        result.map(|_| bytes)
    }

    fn controller(&mut self) -> Result<Controller, NvmeFailure> {
        let bytes = self.identify::<IDENTIFY_BYTES>(Identify::Controller)?;
        Ok(Controller::parse(&bytes))
    }

    fn namespace(&mut self, nsid: u32) -> Result<Namespace, NvmeFailure> {
        let bytes = self.identify::<IDENTIFY_BYTES>(Identify::Namespace(nsid))?;
        Ok(Namespace::parse(&bytes))
    }

    fn sanitize_log(&mut self) -> Result<SanitizeLog, NvmeFailure> {
        let (command, mut bytes) = (command::sanitize_log(), [0; SANITIZE_LOG_BYTES]);
        let result = self.controller.admin(&command, Data::In(&mut bytes), QUESTION_LIMIT);
        let log = SanitizeLog::parse(&bytes);
        let (mut said, mut state) = (completion(&result), said_state(&result));
        if result.is_ok() {
            said = format!("{said} {}", hex(&bytes[..8]));
            state = format!("{:04x}{:08x}{:02x}", log.status, log.dword, log.state);
        }
        self.tape.record_poll("GET LOG PAGE 81h", hex(&command::entry(&command)), said, &state);
        result.map(|_| log)
    }
}

fn completion(result: &Result<u32, NvmeFailure>) -> String {
    match result {
        Ok(dword) => format!("0000 {dword:08x}"),
        Err(NvmeFailure::Status(status)) => format!("{status:04x}"),
        Err(NvmeFailure::NoAnswer(error)) => format!("no answer: {error}"),
    }
}

fn said_state(result: &Result<u32, NvmeFailure>) -> String {
    match result {
        Err(NvmeFailure::Status(status)) => format!("{status:04x}"),
        _ => String::new(),
    }
}

/// Sanitizes the subsystem.
pub(super) fn sanitize(
    controller: &dyn NvmeController,
    technique: Technique,
    settings: &Settings,
    watch: &dyn Watch,
    tape: &mut Tape,
) -> Ending {
    let mut port = Port { controller, tape };
    let action = match technique {
        Technique::NvmeSanitizeBlock => Action::Block,
        Technique::NvmeSanitizeCrypto => Action::Crypto,
        _ => Action::Overwrite,
    };
    match port.controller() {
        Ok(identity) if identity.can_sanitize(action) => {}
        Ok(_) => return Ending::failed("the controller says that it cannot do this"),
        Err(failure) => return Ending::failed(format!("IDENTIFY: {failure}")),
    }
    let before = match port.sanitize_log() {
        Ok(before) => before,
        Err(failure) => {
            return Ending::failed(format!(
                "not begun, since nobody could see how it goes: {failure}"
            ));
        }
    };
    let estimate = match action {
        Action::Block => before.block,
        Action::Crypto => before.crypto,
        _ => before.overwrite,
    };
    let patience = Patience::new(settings.patience, estimate);
    if before.operation() == Operation::Running {
        if before.technique() == Some(technique) {
            return follow(&mut port, None, patience, watch);
        }
        return Ending::unknown("another sanitize is running: nothing was begun");
    }
    let is_unrestricted = match leave(&mut port, &before) {
        Left::Free => true,
        // It refuses an unrestricted one then.
        Left::Refused if !before.is_unrestricted() => false,
        Left::Refused => {
            return Ending::failed("the failure mode of an earlier sanitize could not be left");
        }
        Left::Lost(words) => return Ending::unknown(words),
    };
    if let Err(stopped) = watch.check() {
        return Ending::failed(format!("not begun: {stopped}"));
    }
    match port.send("SANITIZE", &command::sanitize(action, is_unrestricted), START_LIMIT) {
        Ok(_) => follow(&mut port, Some(Start::Accepted(before)), patience, watch),
        Err(NvmeFailure::NoAnswer(error)) => {
            follow(&mut port, Some(Start::Lost(before, error.to_string())), patience, watch)
        }
        Err(NvmeFailure::Status(status)) => match command::meaning(status) {
            Meaning::Refused => {
                Ending::failed(format!("SANITIZE was refused, status {status:#05x}"))
            }
            Meaning::Busy => Ending::unknown(format!(
                "another erasure is running, status {status:#05x}: look again before anything else"
            )),
            Meaning::Lost => {
                let words = format!("status {status:#05x}");
                follow(&mut port, Some(Start::Lost(before, words)), patience, watch)
            }
        },
    }
}

/// Waits for the end of a sanitize or format that runs.
pub(super) fn rejoin(
    controller: &dyn NvmeController,
    nsid: u32,
    patience: Duration,
    watch: &dyn Watch,
    tape: &mut Tape,
) -> Ending {
    let mut port = Port { controller, tape };
    let sanitizes = match port.controller() {
        Ok(identity) => identity.can_sanitize(Action::ExitFailure),
        Err(failure) => return Ending::unknown(format!("IDENTIFY: {failure}")),
    };
    if sanitizes {
        match port.sanitize_log() {
            Ok(log) if log.operation() == Operation::Running => {
                let estimate = [log.block, log.crypto, log.overwrite].into_iter().flatten().max();
                return follow(&mut port, None, Patience::new(patience, estimate), watch);
            }
            Ok(log) if namespace_is_idle(&mut port, nsid) => return over(&mut port, &log),
            Ok(_) => {}
            Err(failure) => return Ending::unknown(format!("GET LOG PAGE 81h: {failure}")),
        }
    }
    finish_format(&mut port, nsid, Patience::new(patience, None), watch)
}

fn namespace_is_idle(port: &mut Port<'_>, nsid: u32) -> bool {
    port.namespace(nsid).is_ok_and(|namespace| namespace.format_progress().is_none())
}

/// How a SANITIZE was taken, and what the log said before.
#[derive(Debug)]
enum Start {
    Accepted(SanitizeLog),
    /// Its answer was lost.
    Lost(SanitizeLog, String),
}

fn follow(
    port: &mut Port<'_>,
    start: Option<Start>,
    patience: Patience,
    watch: &dyn Watch,
) -> Ending {
    // Once it was seen running, what the log said before does not matter.
    let (mut start, mut idle) = (start, 0);
    until_over(patience, watch, || {
        let log = match port.sanitize_log() {
            Ok(log) => log,
            Err(failure) => return Answer::Silent(failure.to_string()),
        };
        match log.operation() {
            Operation::Running => {
                start = None;
                return Answer::Running { progress: Some(log.progress) };
            }
            Operation::Unclear => return Answer::Silent(format!("SSTAT {:#06x}", log.status)),
            _ => {}
        }
        match &start {
            Some(Start::Accepted(before) | Start::Lost(before, _))
                if is_as_before(before, &log) && idle < GRACE_POLLS =>
            {
                idle += 1;
                Answer::Running { progress: None }
            }
            Some(Start::Accepted(before)) if is_as_before(before, &log) => {
                Answer::Over(Ending::failed(format!(
                    "SANITIZE was accepted, but the log says as before that nothing ran, SSTAT {:#06x}",
                    log.status
                )))
            }
            Some(Start::Lost(before, words)) if is_as_before(before, &log) => {
                Answer::Over(Ending::unknown(format!(
                    "SANITIZE was sent and not answered ({words}); the log does not show it"
                )))
            }
            _ => Answer::Over(over(port, &log)),
        }
    })
}

/// Says whether a log shows nothing of a sanitize that would have come after. One that succeeded sets Global Data
/// Erased, which what is written before an erasure has cleared.
fn is_as_before(before: &SanitizeLog, now: &SanitizeLog) -> bool {
    let is_quiet = match now.operation() {
        Operation::Never => true,
        Operation::Succeeded => !now.is_global_data_erased(),
        _ => false,
    };
    is_quiet && before.status == now.status && before.dword == now.dword
}

fn over(port: &mut Port<'_>, log: &SanitizeLog) -> Ending {
    match log.operation() {
        Operation::Succeeded if log.is_global_data_erased() => Ending::done(),
        Operation::Succeeded => Ending::done_but(
            "the controller does not say that nothing was written since (Global Data Erased)",
        ),
        Operation::Failed => match leave(port, log) {
            Left::Free => Ending::failed("the sanitize failed; its failure mode was left"),
            Left::Refused => {
                Ending::failed("the sanitize failed, and its failure mode cannot be left")
            }
            Left::Lost(words) => Ending::unknown(format!("the sanitize failed, and then: {words}")),
        },
        Operation::Verifying => match leave(port, log) {
            Left::Free => Ending::done(),
            _ => Ending::unknown(
                "the sanitize came through, but media verification could not be left",
            ),
        },
        Operation::Never => Ending::failed("the log says that no sanitize ever ran"),
        Operation::Running | Operation::Unclear => Ending::unknown("the log says nothing clear"),
    }
}

/// How leaving a state that blocks everything else went.
#[derive(Debug)]
enum Left {
    Free,
    Refused,
    Lost(String),
}

fn leave(port: &mut Port<'_>, log: &SanitizeLog) -> Left {
    let (name, action) = match log.operation() {
        Operation::Failed => ("SANITIZE, exit failure mode", Action::ExitFailure),
        Operation::Verifying => ("SANITIZE, exit media verification", Action::ExitVerification),
        _ => return Left::Free,
    };
    match port.send(name, &command::sanitize(action, false), START_LIMIT) {
        Ok(_) => Left::Free,
        Err(NvmeFailure::Status(status)) if command::meaning(status) == Meaning::Refused => {
            Left::Refused
        }
        Err(failure) => Left::Lost(format!("{name}: {failure}")),
    }
}

/// Formats a namespace with an erasure.
pub(super) fn format(
    controller: &dyn NvmeController,
    nsid: u32,
    technique: Technique,
    settings: &Settings,
    watch: &dyn Watch,
    tape: &mut Tape,
) -> Ending {
    let mut port = Port { controller, tape };
    let identity = match port.controller() {
        Ok(identity) => identity,
        Err(failure) => return Ending::failed(format!("IDENTIFY: {failure}")),
    };
    let erase = match technique {
        Technique::NvmeFormatCrypto if identity.can_format_crypto() => SecureErase::Crypto,
        Technique::NvmeFormatErase if identity.can_format() => SecureErase::UserData,
        _ => return Ending::failed("the controller says that it cannot do this"),
    };
    let before = match port.namespace(nsid) {
        Ok(before) => before,
        Err(failure) => return Ending::failed(format!("IDENTIFY: {failure}")),
    };
    if before.format_progress().is_some() {
        return Ending::unknown("a format is running: nothing was begun");
    }
    if identity.can_sanitize(Action::ExitFailure) {
        let log = match port.sanitize_log() {
            Ok(log) => log,
            Err(failure) => {
                return Ending::failed(format!(
                    "not begun, since a sanitize may be running: {failure}"
                ));
            }
        };
        if log.operation() == Operation::Running {
            return Ending::unknown("a sanitize is running: nothing was begun");
        }
        match leave(&mut port, &log) {
            Left::Free => {}
            Left::Refused => {
                return Ending::failed("the failure mode of an earlier sanitize could not be left");
            }
            Left::Lost(words) => return Ending::unknown(words),
        }
    }
    if let Err(stopped) = watch.check() {
        return Ending::failed(format!("not begun: {stopped}"));
    }
    let command = command::format(nsid, before.formatting, erase);
    let limit = match erase {
        SecureErase::Crypto => CRYPTO_LIMIT,
        SecureErase::UserData => ERASE_LIMIT,
    };
    match port.send("FORMAT NVM", &command, limit) {
        Ok(_) => {}
        Err(NvmeFailure::Status(status)) if command::meaning(status) == Meaning::Refused => {
            return Ending::failed(format!("FORMAT NVM was refused, status {status:#05x}"));
        }
        Err(failure) => {
            return Ending::unknown(format!("FORMAT NVM may be running still: {failure}"));
        }
    }
    let ending = finish_format(&mut port, nsid, Patience::new(settings.patience, None), watch);
    match port.namespace(nsid) {
        Ok(after) if after.formatting != before.formatting || after.sectors != before.sectors => {
            Ending { reason: Some("sectors are formatted differently since".to_owned()), ..ending }
        }
        _ => ending,
    }
}

fn finish_format(port: &mut Port<'_>, nsid: u32, patience: Patience, watch: &dyn Watch) -> Ending {
    until_over(patience, watch, || match port.namespace(nsid) {
        Ok(namespace) => match namespace.format_progress() {
            Some(progress) => Answer::Running { progress: Some(progress) },
            None => Answer::Over(Ending::done()),
        },
        Err(failure) => Answer::Silent(failure.to_string()),
    })
}
