//! What an ATA disk says that it can.

use disk::command::ScsiDevice;
use protocol::wipe::{Expected, Technique};

use super::super::tape::Tape;
use super::super::{Examined, FirmwareError, Obstacle, Reach, Running};
use super::identify::Identity;
use super::passthrough::Sanitize;
use super::sanitize::{Standing, standing};
use super::{Port, Trouble, hidden};

/// Asks a disk what it can.
pub(in super::super) fn examine(device: &dyn ScsiDevice) -> Result<Examined, FirmwareError> {
    let mut tape = Tape::default();
    let mut port = Port { device, tape: &mut tape };
    let (identity, bridge) = match port.identify() {
        Ok(identity) => {
            let bridge = port.bridge(&identity);
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
        // Behind it a sanitize of an earlier boot may run.
        examined.is_standing_unknown = true;
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
                examined.is_standing_unknown = true;
                return Ok(examined);
            }
            Standing::Silent(Trouble::Aborted(_)) => examined.is_standing_unknown = true,
            Standing::Idle | Standing::Completed { is_frozen: false } => {}
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
