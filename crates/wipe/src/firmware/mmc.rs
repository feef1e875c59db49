//! eMMC: sanitize after an erase of everything, and secure erase through the kernel.
//!
//! A card works only while it is asked to: a cut of power ends an erasure, and says nothing of how far it came, so that it
//! has to be done again. What answers its status as ready is at nothing.

mod register;

use std::{io, time::Duration};

use disk::command::{Data, MmcCommand, MmcDevice};
use protocol::wipe::Technique;

use self::register::{
    ERASE, EXTENDED_REGISTER, MOST_SECTORS_BY_BYTES, Register, SANITIZE, STATUS, Status, erase_end,
    erase_start,
};
use super::polling::{Answer, Patience, until_over};
use super::tape::Tape;
use super::{Ending, Examined, FirmwareError, Obstacle, PATIENCE, Reach};
use crate::Watch;

const QUESTION_LIMIT: Duration = Duration::from_secs(10);
// The kernel's own limit is four minutes, for small cards.
const SANITIZE_LIMIT: Duration = Duration::from_hours(2);
const LEAST_ERASE_LIMIT: Duration = Duration::from_mins(10);
// What cards announce is the worst case of each group.
const MOST_ERASE_LIMIT: Duration = Duration::from_hours(24);
// So much at once that somebody who cancels is heard in time.
const PIECE: u64 = 64 << 20;

#[derive(Debug)]
struct Port<'p> {
    device: &'p dyn MmcDevice,
    tape: &'p mut Tape,
}

impl Port<'_> {
    fn send(
        &mut self,
        name: &'static str,
        command: &MmcCommand,
        limit: Duration,
    ) -> io::Result<Status> {
        let result = self.device.command(command, Data::None, limit);
        self.tape.record(name, bytes(command), said(&result));
        result.map(|[status, ..]| Status(status))
    }

    fn register(&mut self) -> io::Result<(Register, Status)> {
        let mut answer = [0; 512];
        let data = Data::In(&mut answer);
        let result = self.device.command(&EXTENDED_REGISTER, data, QUESTION_LIMIT);
        self.tape.record("SEND_EXT_CSD", bytes(&EXTENDED_REGISTER), said(&result));
        result.map(|[status, ..]| (Register::new(&answer), Status(status)))
    }

    fn status(&mut self) -> io::Result<Status> {
        let result = self.device.command(&STATUS, Data::None, QUESTION_LIMIT);
        let said = said(&result);
        self.tape.record_poll("SEND_STATUS", bytes(&STATUS), said.clone(), &said);
        result.map(|[status, ..]| Status(status))
    }
}

fn bytes(command: &MmcCommand) -> String {
    format!("{:02x}{:08x}", command.index, command.argument)
}

fn said(result: &io::Result<[u32; 4]>) -> String {
    match result {
        Ok([status, ..]) => format!("{status:08x}"),
        Err(error) => format!("no answer: {error}"),
    }
}

/// Asks a card what it can.
pub(super) fn examine(device: &dyn MmcDevice, size: u64) -> Result<Examined, FirmwareError> {
    let mut tape = Tape::default();
    let mut port = Port { device, tape: &mut tape };
    let (register, status) = port
        .register()
        .map_err(|source| FirmwareError::NoAnswer { name: "SEND_EXT_CSD", source })?;
    let mut examined = Examined {
        firmware: register.firmware(),
        native_bytes: Some(u64::from(register.sectors()) * 512).filter(|bytes| *bytes >= size),
        discarded_reads: Some(register.erased()),
        ..Examined::default()
    };
    examined.says("EXT_CSD_REV", register.byte(192), 2);
    examined.says("SEC_FEATURE_SUPPORT", register.byte(231), 2);
    examined.says("ERASED_MEM_CONT", register.byte(181), 2);
    examined.says("SEC_COUNT", register.sectors(), 8);
    if status.is_locked() {
        examined.obstacles.push(Obstacle::Locked);
    }
    if register.can_sanitize() {
        examined.offers(Technique::MmcSanitize, None, Reach::Addressed, register.erased());
    }
    if register.can_erase_securely() {
        examined.offers(Technique::MmcSecureErase, None, Reach::Addressed, register.erased());
    }
    let has_partitions = (143..155).any(|at| register.byte(at) != 0);
    for (is_there, words) in [
        (register.byte(226) != 0, "boot partitions"),
        (register.byte(168) != 0, "replay protected memory block"),
        (has_partitions, "general purpose partitions"),
    ] {
        if is_there {
            examined.out_of_scope.push(words.to_owned());
        }
    }
    Ok(examined)
}

/// Has a card erase itself.
pub(super) fn apply(
    device: &dyn MmcDevice,
    size: u64,
    technique: Technique,
    watch: &dyn Watch,
    tape: &mut Tape,
) -> Ending {
    let mut port = Port { device, tape };
    let (register, status) = match port.register() {
        Ok(answer) => answer,
        Err(error) => return Ending::failed(format!("not begun: SEND_EXT_CSD: {error}")),
    };
    if status.is_locked() {
        return Ending::failed("not begun: the card is locked with a password");
    }
    if let Err(stopped) = watch.check() {
        return Ending::failed(format!("not begun: {stopped}"));
    }
    match technique {
        Technique::MmcSanitize if register.can_sanitize() => sanitize(&mut port, &register, watch),
        Technique::MmcSecureErase if register.can_erase_securely() => {
            erase_securely(&mut port, &register, size, watch)
        }
        _ => Ending::failed("the card says that it cannot do this"),
    }
}

/// Sanitize removes what is at no address any more: so everything is erased first.
fn sanitize(port: &mut Port<'_>, register: &Register, watch: &dyn Watch) -> Ending {
    if let Err(ending) = erase_all(port, register, watch) {
        return ending;
    }
    if let Err(stopped) = watch.check() {
        return Ending::failed(format!("everything is erased and nothing sanitized: {stopped}"));
    }
    match port.send("SWITCH, SANITIZE_START", &SANITIZE, SANITIZE_LIMIT) {
        Ok(status) if status.is_error() => {
            Ending::failed(format!("sanitize was refused, status {:#010x}", status.0))
        }
        Ok(_) => settle(port, watch, None),
        Err(error) => settle(port, watch, Some(&format!("sanitize: {error}"))),
    }
}

fn erase_all(port: &mut Port<'_>, register: &Register, watch: &dyn Watch) -> Result<(), Ending> {
    let Some(last) = register.sectors().checked_sub(1) else {
        return Err(Ending::failed("the card says that it has no sectors"));
    };
    if !address(port, register, last)? {
        return Err(Ending::failed("the card takes no address of its last sector"));
    }
    let limit = register.erase_limit().clamp(LEAST_ERASE_LIMIT, MOST_ERASE_LIMIT);
    let ending = match port.send("ERASE", &ERASE, limit) {
        Ok(status) if status.is_error() => {
            Ending::failed(format!("erasing was refused, status {:#010x}", status.0))
        }
        Ok(_) => settle(port, watch, None),
        Err(error) => settle(port, watch, Some(&format!("erasing: {error}"))),
    };
    if ending.ended == protocol::wipe::Ended::Done { Ok(()) } else { Err(ending) }
}

/// Names everything as what is to be erased. Small cards may count in bytes: they are asked so first, since a card that
/// counts in sectors has no such address, while one that counts in bytes would take the other for its beginning.
fn address(port: &mut Port<'_>, register: &Register, last: u32) -> Result<bool, Ending> {
    let in_bytes = Some(last)
        .filter(|_| register.sectors() <= MOST_SECTORS_BY_BYTES)
        .and_then(|last| last.checked_mul(512));
    for end in in_bytes.into_iter().chain([last]) {
        let pair = [("ERASE_GROUP_START", erase_start(0)), ("ERASE_GROUP_END", erase_end(end))];
        let mut is_taken = true;
        for (name, command) in pair {
            match port.send(name, &command, QUESTION_LIMIT) {
                Ok(status) if status.is_out_of_range() => is_taken = false,
                Ok(status) if status.is_error() => {
                    return Err(Ending::failed(format!("{name}: status {:#010x}", status.0)));
                }
                Ok(_) => {}
                Err(error) => return Err(Ending::failed(format!("{name}: {error}"))),
            }
        }
        if is_taken {
            return Ok(true);
        }
    }
    Ok(false)
}

fn erase_securely(
    port: &mut Port<'_>,
    register: &Register,
    size: u64,
    watch: &dyn Watch,
) -> Ending {
    // Whole groups.
    let group = register.group_bytes();
    let piece = group * (PIECE / group).max(1);
    let mut offset = 0;
    while offset < size {
        let length = piece.min(size - offset);
        let result = port.device.secure_discard(offset, length);
        let completion = result
            .as_ref()
            .map_or_else(|error| format!("no answer: {error}"), |()| "00".to_owned());
        let state = if result.is_ok() { "done" } else { "failed" };
        let range = format!("{offset:016x}{length:016x}");
        port.tape.record_poll("BLKSECDISCARD", range, completion, state);
        if let Err(error) = result {
            let words = format!("secure erase at {offset}: {error}");
            return settle(port, watch, Some(&words));
        }
        offset += length;
        watch.progress(offset, size, 0);
        if offset < size
            && let Err(stopped) = watch.check()
        {
            return Ending::failed(format!("{offset} of {size} bytes are erased: {stopped}"));
        }
    }
    settle(port, watch, None)
}

/// Looks whether the card is at nothing, and what it says of what it was at. Where a command failed, `trouble` says why.
fn settle(port: &mut Port<'_>, watch: &dyn Watch, trouble: Option<&str>) -> Ending {
    until_over(Patience::new(PATIENCE, None), watch, || match port.status() {
        Ok(status) if status.is_error() => Answer::Over(Ending::failed(format!(
            "the card says that it failed, status {:#010x}",
            status.0
        ))),
        Ok(status) if status.is_idle() => Answer::Over(match trouble {
            None => Ending::done(),
            Some(words) => Ending::failed(format!("{words}; the card is at nothing: do it again")),
        }),
        Ok(_) => Answer::Running { progress: None },
        Err(error) => Answer::Silent(error.to_string()),
    })
}
