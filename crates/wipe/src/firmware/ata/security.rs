//! ATA security (ACS-3, section 4.17): a disk erases itself only under a password, which has to come off again whatever
//! happens meanwhile.
//!
//! ```text
//! SEC1 no password ─► journal ─► SET PASSWORD ─► SEC5 ─► ERASE PREPARE ─► ERASE UNIT ─► SEC1: done
//!                                    │                        │ refused
//!      power cut: SEC4 locked ◄──────┤                        ▼
//!         └► recover: UNLOCK ────────┴───────────────► DISABLE PASSWORD ─► SEC1
//! SEC2, SEC6 frozen: nothing is tried
//! ```

use std::time::Duration;

use disk::command::{Data, ScsiDevice};
use protocol::wipe::{Technique, WipeStepKind};

use super::super::bytes::hex;
use super::super::tape::Tape;
use super::super::{Ending, FirmwareError, Recovered, Recovery, Settings};
use super::identify::Identity;
use super::passthrough::{ERASE_PREPARE, Security, security};
use super::sanitize::{Standing, standing};
use super::{Port, QUESTION_LIMIT, Trouble};
use crate::Watch;

// A fifth wrong password locks the disk until it is switched off; who owns it may need one attempt.
const ATTEMPTS: usize = 4;

// A disk that does not say how long it takes.
const UNSAID: Duration = Duration::from_hours(24);

/// Has a disk erase itself by SECURITY ERASE UNIT.
pub(in super::super) fn erase(
    device: &dyn ScsiDevice,
    technique: Technique,
    settings: &Settings,
    watch: &dyn Watch,
    tape: &mut Tape,
) -> Ending {
    let mut port = Port { device, tape };
    let is_enhanced = technique == Technique::AtaSecurityEraseEnhanced;
    let identity = match port.disk() {
        Ok(identity) => identity,
        Err(ending) => return ending,
    };
    if !identity.has_security() || is_enhanced && !identity.has_enhanced_erase() {
        return Ending::failed("the disk says that it cannot do this");
    }
    if identity.is_frozen() {
        return Ending::failed("not begun: ATA security is frozen, as firmware does at power-on");
    }
    if identity.has_sanitize() && matches!(standing(&mut port), Standing::Running { .. }) {
        return Ending::unknown("a sanitize is running: nothing was begun");
    }
    if identity.is_password_set() {
        match free(&mut port, &[settings.password], identity.clone()) {
            Ok(Recovered::Unneeded | Recovered::Free) => {}
            Ok(Recovered::Refused { words }) => {
                return Ending::failed(format!("not begun: {words}"));
            }
            Err(error) => return Ending::failed(format!("not begun: {error}")),
        }
        if let Err(ending) = port.disk() {
            return ending;
        }
    }
    let password = hex(&settings.password);
    if let Err(stopped) = watch.journal(WipeStepKind::AtaPassword { password }) {
        return Ending::failed(format!("not begun: {stopped}"));
    }
    if let Err(ending) = set_password(&mut port, settings) {
        return ending;
    }
    if let Err(stopped) = watch.check() {
        return give_up(&mut port, settings, &stopped.to_string());
    }
    if let Err(trouble) = port.send(&ERASE_PREPARE, Data::None, QUESTION_LIMIT) {
        return give_up(&mut port, settings, &format!("SECURITY ERASE PREPARE: {trouble}"));
    }
    let limit = identity.erase_time(is_enhanced).unwrap_or(UNSAID).saturating_mul(2);
    let what = if is_enhanced { Security::EraseUnitEnhanced } else { Security::EraseUnit };
    let (command, data) = security(what, &settings.password);
    match port.send(&command, Data::Out(&data), limit + Duration::from_hours(1)) {
        Ok(_) => confirm(&mut port, settings),
        Err(trouble @ Trouble::Aborted(_)) => {
            give_up(&mut port, settings, &format!("{}: {trouble}", command.name))
        }
        Err(trouble) => Ending::unknown(format!(
            "the disk may be erasing itself still, and is locked with the journaled password until it is done: {trouble}"
        )),
    }
}

fn set_password(port: &mut Port<'_>, settings: &Settings) -> Result<(), Ending> {
    let (command, data) = security(Security::SetPassword, &settings.password);
    let sent = port.send(&command, Data::Out(&data), QUESTION_LIMIT);
    // Whatever it answered: what counts is how the disk stands.
    match (port.identify(), sent) {
        (Ok(identity), Ok(_)) if identity.is_password_set() => Ok(()),
        (Ok(identity), Ok(_)) if !identity.is_password_set() => {
            Err(Ending::failed("SECURITY SET PASSWORD was accepted, and no password is set"))
        }
        (Ok(identity), Err(trouble)) if !identity.is_password_set() => {
            Err(Ending::failed(format!("SECURITY SET PASSWORD: {trouble}")))
        }
        (_, Err(trouble)) => {
            Err(give_up(port, settings, &format!("SECURITY SET PASSWORD: {trouble}")))
        }
        (_, Ok(_)) => {
            Err(give_up(port, settings, "the disk did not say whether the password is set"))
        }
    }
}

/// Looks whether the password went with the data, as it does when an erasure came through.
fn confirm(port: &mut Port<'_>, settings: &Settings) -> Ending {
    match port.identify() {
        Ok(identity) if !identity.is_password_set() => Ending::done(),
        Ok(_) => give_up(
            port,
            settings,
            "the disk says that it is erased, but its password is still set",
        ),
        Err((trouble, _)) => Ending::unknown(format!(
            "SECURITY ERASE UNIT was answered, and then: {trouble}; the disk may be locked with the journaled password"
        )),
    }
}

/// Takes the password off again. Nothing of the erasure runs.
fn give_up(port: &mut Port<'_>, settings: &Settings, why: &str) -> Ending {
    let (command, data) = security(Security::DisablePassword, &settings.password);
    let sent = port.send(&command, Data::Out(&data), QUESTION_LIMIT);
    match (port.identify(), sent) {
        (Ok(identity), _) if !identity.is_password_set() => {
            Ending::failed(format!("{why}; the password is off again"))
        }
        (Ok(_), sent) => {
            let said = sent.map_or_else(|trouble| trouble.to_string(), |_| "accepted".to_owned());
            Ending::failed(format!("{why}; the journaled password is still set ({said})"))
        }
        (Err((trouble, _)), _) => Ending::unknown(format!(
            "{why}; whether the journaled password is still set is not known: {trouble}"
        )),
    }
}

/// Takes a password off that an earlier boot set: one of these, the likeliest first.
pub(in super::super) fn recover(
    device: &dyn ScsiDevice,
    passwords: &[[u8; 32]],
) -> Result<Recovery, FirmwareError> {
    let mut tape = Tape::default();
    let mut port = Port { device, tape: &mut tape };
    let state = match port.identify() {
        Ok(identity) => match port.bridge(&identity) {
            None => free(&mut port, passwords, identity)?,
            Some(words) => {
                Recovered::Refused { words: format!("something is in between: {words}") }
            }
        },
        Err((trouble, _)) => return Err(trouble.of("IDENTIFY DEVICE")),
    };
    Ok(Recovery { state, commands: tape.into_commands() })
}

fn free(
    port: &mut Port<'_>,
    own: &[[u8; 32]],
    identity: Identity,
) -> Result<Recovered, FirmwareError> {
    let mut identity = identity;
    if !identity.is_password_set() {
        return Ok(Recovered::Unneeded);
    }
    // What stands for none: zeros, as most tools fill up; spaces, as firmware does.
    let none = [[0; 32], [b' '; 32]];
    let mut tried: Vec<&[u8; 32]> = Vec::new();
    for password in own.iter().chain(&none) {
        if tried.contains(&password) {
            continue;
        }
        if tried.len() == ATTEMPTS {
            break;
        }
        tried.push(password);
        let refused = |words: &str| Ok(Recovered::Refused { words: words.to_owned() });
        if identity.is_frozen() {
            return refused("an ATA password is set, and security is frozen");
        }
        if identity.is_expired() {
            return refused("too many wrong ATA passwords were tried: switch it off and on");
        }
        // Wrong passwords are aborted; how the disk stands afterwards is what counts.
        if identity.is_locked() {
            let (command, data) = security(Security::Unlock, password);
            drop(port.send(&command, Data::Out(&data), QUESTION_LIMIT));
            identity = port.identify().map_err(|(trouble, _)| trouble.of("IDENTIFY DEVICE"))?;
        }
        if !identity.is_locked() {
            let (command, data) = security(Security::DisablePassword, password);
            drop(port.send(&command, Data::Out(&data), QUESTION_LIMIT));
            identity = port.identify().map_err(|(trouble, _)| trouble.of("IDENTIFY DEVICE"))?;
        }
        if !identity.is_password_set() {
            return Ok(Recovered::Free);
        }
    }
    let left = own.len().saturating_sub(tried.len());
    let words = match (own.len(), left) {
        (..=1, _) => {
            "an ATA password is set that is neither the journaled one nor empty".to_owned()
        }
        (all, 0) => format!("an ATA password is set that is none of the {all} journaled ones"),
        (_, left) => format!(
            "an ATA password is set that is none of the {ATTEMPTS} that were tried: switch the disk off and on, and try the \
             {left} others by hand"
        ),
    };
    Ok(Recovered::Refused { words })
}
