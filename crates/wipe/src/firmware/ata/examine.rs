//! What an ATA disk says that it can.

use std::time::Duration;

use disk::command::{Data, ScsiDevice};
use protocol::wipe::{Expected, Technique};

use super::super::bytes::{big32, big64};
use super::super::tape::Tape;
use super::super::{Examined, FirmwareError, Obstacle, Reach, Running};
use super::identify::Identity;
use super::passthrough::Sanitize;
use super::sanitize::{Standing, standing};
use super::{Port, QUESTION_LIMIT, Trouble, hidden};

/// Asks a disk what it can.
pub(in super::super) fn examine(device: &dyn ScsiDevice) -> Result<Examined, FirmwareError> {
    let mut tape = Tape::default();
    let mut port = Port { device, tape: &mut tape };
    let (identity, bridge) = match port.identify() {
        Ok(identity) if !identity.is_plausible() => {
            (identity, Some("what it says of the disk is inconsistent"))
        }
        Ok(identity) => {
            let bridge =
                is_other_disk(&port, &identity).then_some("it names another size than the disk");
            (identity, bridge)
        }
        Err((Trouble::Unclear { .. }, identity)) => (identity, Some("it returns no task file")),
        Err((trouble, _)) => return Err(trouble.of("IDENTIFY DEVICE")),
    };
    let mut examined = Examined {
        model: identity.model(),
        serial: identity.serial(),
        firmware: identity.firmware(),
        ..Examined::default()
    };
    for word in [59, 69, 82, 83, 85, 86, 89, 90, 119, 128, 169, 217] {
        examined.says(&format!("IDENTIFY word {word}"), identity.word(word), 4);
    }
    if let Some(words) = bridge {
        examined.obstacles.push(Obstacle::Bridge { words });
        return Ok(examined);
    }
    examined.discarded_reads = identity.trimmed();
    security(&identity, &mut examined);
    if identity.has_sanitize() {
        match standing(&mut port) {
            Standing::Running { progress } => {
                examined.running = Some(Running { technique: None, progress: Some(progress) });
            }
            Standing::Failed => examined.is_sanitize_failed = true,
            Standing::Frozen | Standing::Completed { is_frozen: true } => {
                examined.obstacles.push(Obstacle::SanitizeFrozen);
            }
            Standing::Silent(Trouble::NoAnswer(source)) => {
                return Err(FirmwareError::NoAnswer { name: "SANITIZE STATUS EXT", source });
            }
            Standing::Silent(Trouble::Unclear { .. }) => {
                examined.obstacles.push(Obstacle::Bridge { words: "it returns no task file" });
                return Ok(examined);
            }
            Standing::Silent(Trouble::Aborted(_))
            | Standing::Idle
            | Standing::Completed { is_frozen: false } => {}
        }
    }
    offers(&identity, &mut examined);
    if examined.running.is_none() {
        hidden::examine(&mut port, &identity, &mut examined);
    }
    let is_usual = matches!(identity.sector_bytes(), 512 | 4096);
    if !is_usual {
        examined.obstacles.push(Obstacle::Sectors {
            data_bytes: identity.sector_bytes(),
            metadata_bytes: 0,
            is_protected: false,
        });
    }
    Ok(examined)
}

fn security(identity: &Identity, examined: &mut Examined) {
    let obstacles = &mut examined.obstacles;
    if identity.is_locked() {
        obstacles.push(Obstacle::Locked);
    } else if identity.is_password_set() {
        obstacles.push(Obstacle::PasswordSet);
    }
    if identity.is_frozen() {
        obstacles.push(Obstacle::Frozen);
    }
    if identity.is_expired() {
        obstacles.push(Obstacle::PasswordAttemptsExpired);
    }
}

/// Disks that turn are overwritten first, which takes long and leaves nothing to believe; flash is erased first.
fn offers(identity: &Identity, examined: &mut Examined) {
    use Technique as T;
    let blank = identity.trimmed().unwrap_or(Expected::NoCanary);
    let mut sanitizes = [
        (Sanitize::Block, T::AtaSanitizeBlock, blank),
        (Sanitize::Crypto, T::AtaSanitizeCrypto, Expected::NoCanary),
        (Sanitize::Overwrite, T::AtaSanitizeOverwrite, Expected::Zeros),
    ];
    if identity.is_rotating() == Some(true) {
        sanitizes.rotate_right(1);
    }
    for (what, technique, expected) in sanitizes {
        if identity.can_sanitize(what) {
            examined.offers(technique, None, Reach::Everything, expected);
        }
    }
    let time = |is_enhanced| identity.erase_time(is_enhanced);
    if identity.has_enhanced_erase() {
        let (technique, expected) = (T::AtaSecurityEraseEnhanced, Expected::NoCanary);
        examined.offers(technique, time(true), Reach::Everything, expected);
    }
    if identity.has_security() {
        examined.offers(T::AtaSecurityErase, time(false), Reach::Addressed, Expected::Zeros);
    }
}

/// Says whether SCSI's size of the disk is another than the disk's own. Bridges that do not answer that say nothing.
fn is_other_disk(port: &Port<'_>, identity: &Identity) -> bool {
    // READ CAPACITY (16): SBC-3, section 5.16.
    let command = [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0];
    let mut bytes = [0; 32];
    let limit: Duration = QUESTION_LIMIT;
    let answer = port.device.execute(&command, Data::In(&mut bytes), limit);
    let is_answered = answer.is_ok_and(|answer| answer.status == 0 && answer.transferred >= 12);
    let sectors = big64(&bytes, 0).wrapping_add(1);
    is_answered && (sectors, big32(&bytes, 8)) != (identity.sectors(), identity.sector_bytes())
}
