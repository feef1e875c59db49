//! What a SCSI disk says that it can.

use disk::command::ScsiDevice;
use protocol::wipe::{Expected, Technique};

use super::super::bytes::{big16, big32, byte, text};
use super::super::tape::Tape;
use super::super::{Examined, FirmwareError, Obstacle, Reach, Running};
use super::command::{
    FORMAT_UNIT, INQUIRY, MODE_SENSE, READ_CAPACITY, SANITIZE, Sanitize, Support, vital_page,
};
use super::{Port, Standing, Trouble, protection_type};

/// Asks a disk what it can.
pub(in super::super) fn examine(device: &dyn ScsiDevice) -> Result<Examined, FirmwareError> {
    let mut tape = Tape::default();
    let mut port = Port { device, tape: &mut tape };
    let identity = port.ask::<96>("INQUIRY", &INQUIRY).map_err(|trouble| match trouble {
        Trouble::NoAnswer(source) => FirmwareError::NoAnswer { name: "INQUIRY", source },
        other => FirmwareError::Refused { name: "INQUIRY", completion: other.to_string() },
    })?;
    let mut examined = Examined {
        model: text(&identity[8..32]),
        serial: vital(&mut port, 0x80).and_then(|page| {
            let length = usize::from(big16(&page, 2)).min(page.len() - 4);
            text(&page[4..4 + length])
        }),
        firmware: text(&identity[32..36]),
        ..Examined::default()
    };
    match port.standing() {
        Standing::Sanitizing(progress) => {
            examined.running = Some(Running { technique: None, progress });
        }
        Standing::Formatting(progress) => {
            let technique = Some(Technique::ScsiFormatUnit);
            examined.running = Some(Running { technique, progress });
        }
        Standing::SanitizeFailed => examined.is_sanitize_failed = true,
        Standing::Silent(_) => examined.is_standing_unknown = true,
        Standing::Ready | Standing::Corrupted => {}
    }
    let characteristics = vital(&mut port, 0xb1).unwrap_or([0; 64]);
    let provisioning = vital(&mut port, 0xb2).unwrap_or([0; 64]);
    examined.says("MEDIUM ROTATION RATE", big16(&characteristics, 4), 4);
    examined.says("WABEREQ WACEREQ", byte(&characteristics, 7), 2);
    examined.says("LOGICAL BLOCK PROVISIONING", big32(&provisioning, 4), 8);
    // Three is that blocks cannot be read before they are written (SBC-4, section 6.6.2).
    if byte(&characteristics, 7) & 0xc0 == 0xc0 || byte(&characteristics, 7) & 0x30 == 0x30 {
        examined.obstacles.push(Obstacle::UnreadableAfterSanitize);
    }
    capacity(&mut port, &provisioning, &mut examined);
    if let Ok(modes) = port.ask::<252>("MODE SENSE (6)", &MODE_SENSE)
        && byte(&modes, 2) & 0x80 != 0
    {
        examined.obstacles.push(Obstacle::WriteProtected);
    }
    let is_rotating = matches!(big16(&characteristics, 4), 0x0401..=0xfffe);
    offers(&mut port, is_rotating, &mut examined)?;
    Ok(examined)
}

fn vital(port: &mut Port<'_>, page: u8) -> Option<[u8; 64]> {
    let answer = port.ask::<64>("INQUIRY", &vital_page(page)).ok()?;
    (answer[1] == page).then_some(answer)
}

fn capacity(port: &mut Port<'_>, provisioning: &[u8], examined: &mut Examined) {
    // While it is at something it does not say.
    let Ok(capacity) = port.ask::<32>("READ CAPACITY (16)", &READ_CAPACITY) else { return };
    examined.says("READ CAPACITY bytes 12 to 15", big32(&capacity, 12), 8);
    // LBPRZ: one bit here, three there, of which 1 is zeros.
    let reads_zeros = byte(&capacity, 14) & 0x40 != 0 || byte(provisioning, 5) >> 2 & 7 == 1;
    examined.discarded_reads = reads_zeros.then_some(Expected::Zeros);
    let (data_bytes, protection) = (big32(&capacity, 8), protection_type(&capacity));
    if protection != 0 || !matches!(data_bytes, 512 | 4096) {
        examined.obstacles.push(Obstacle::Sectors {
            data_bytes,
            metadata_bytes: if protection == 0 { 0 } else { 8 },
            is_protected: protection != 0,
        });
    }
}

/// Disks that turn are overwritten first, which takes long and leaves nothing to believe; flash is erased first.
fn offers(
    port: &mut Port<'_>,
    is_rotating: bool,
    examined: &mut Examined,
) -> Result<(), FirmwareError> {
    use Technique as T;
    let blank = examined.discarded_reads.unwrap_or(Expected::NoCanary);
    let mut sanitizes = [
        (Sanitize::Block, T::ScsiSanitizeBlock, blank),
        (Sanitize::Crypto, T::ScsiSanitizeCrypto, Expected::NoCanary),
        (Sanitize::Overwrite, T::ScsiSanitizeOverwrite, Expected::Zeros),
    ];
    if is_rotating {
        sanitizes.rotate_right(1);
    }
    let is_sanitize_failed = examined.is_sanitize_failed;
    let mut ask = |operation, action| match port.supports(operation, action) {
        Ok(supported) => Ok(supported),
        // In its failure mode it answers no question: it is asked once that is left, before anything is begun.
        Err(Trouble::Check(_)) if is_sanitize_failed => Ok(Support::Yes { estimate: None }),
        // Nor while it is at something.
        Err(Trouble::Check(_) | Trouble::Status(_)) => Ok(Support::No),
        Err(Trouble::NoAnswer(source)) => {
            Err(FirmwareError::NoAnswer { name: "REPORT SUPPORTED OPERATION CODES", source })
        }
    };
    for (what, technique, expected) in sanitizes {
        if let Support::Yes { estimate } = ask(SANITIZE, Some(what.action()))? {
            examined.offers(technique, estimate, Reach::Everything, expected);
        }
    }
    if let Support::Yes { estimate } = ask(FORMAT_UNIT, None)? {
        examined.offers(T::ScsiFormatUnit, estimate, Reach::Addressed, Expected::Zeros);
    }
    Ok(())
}
