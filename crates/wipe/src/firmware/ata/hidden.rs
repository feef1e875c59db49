//! Sectors that an ATA disk hides: host protected area and device configuration overlay (ATA8-ACS, sections 4.8 and 4.11),
//! accessible maximum address (ACS-3, section 4.1).

use disk::command::{Data, ScsiDevice};

use super::super::tape::Tape;
use super::super::{Examined, FirmwareError, Hiding, Lifted, Obstacle};
use super::identify::Identity;
use super::passthrough::{
    AMA_NATIVE, DCO_IDENTIFY, DCO_RESTORE, READ_NATIVE_MAX, dco_max, set_accessible_max, set_max,
};
use super::{Port, QUESTION_LIMIT};

// Addresses have 48 bits.
const MOST_SECTORS: u64 = 1 << 48;

/// Adds what hides sectors to what a disk says of itself.
pub(super) fn examine(port: &mut Port<'_>, identity: &Identity, examined: &mut Examined) {
    let mut native = identity.sectors();
    for hiding in [Hiding::Ama, Hiding::Hpa, Hiding::Dco] {
        let Some(sectors) = native_sectors(port, identity, hiding) else { continue };
        if sectors > native {
            examined.obstacles.push(Obstacle::Hidden {
                by: hiding,
                native_bytes: identity.bytes_of(sectors),
                accessible_bytes: identity.bytes_of(identity.sectors()),
            });
            native = sectors;
        }
    }
    examined.native_bytes = Some(identity.bytes_of(native));
}

/// Asks for the size without what hides; absent where the disk has no such thing, or does not answer.
fn native_sectors(port: &mut Port<'_>, identity: &Identity, hiding: Hiding) -> Option<u64> {
    let last = match hiding {
        Hiding::Ama if identity.has_ama() => {
            port.send(&AMA_NATIVE, Data::None, QUESTION_LIMIT).ok()?.lba
        }
        Hiding::Hpa if identity.has_hpa() && identity.has_48_bits() => {
            port.send(&READ_NATIVE_MAX, Data::None, QUESTION_LIMIT).ok()?.lba
        }
        Hiding::Dco if identity.has_dco() => {
            let mut bytes = [0; 512];
            port.send(&DCO_IDENTIFY, Data::In(&mut bytes), QUESTION_LIMIT).ok()?;
            dco_max(&bytes)?
        }
        _ => return None,
    };
    last.checked_add(1).filter(|sectors| *sectors <= MOST_SECTORS)
}

/// Makes them addressable: the accessible maximum or the protected area first, since the overlay is not taken off below
/// them; and once more after it, when there is more below.
pub(in super::super) fn lift(device: &dyn ScsiDevice) -> Result<Lifted, FirmwareError> {
    let mut tape = Tape::default();
    let mut port = Port { device, tape: &mut tape };
    let before = identity(&mut port)?;
    let mut now = before.clone();
    let mut failure = None;
    if let Some(words) = port.bridge(&before) {
        failure = Some(format!("something is in between: {words}"));
    } else {
        for hiding in [Hiding::Ama, Hiding::Hpa, Hiding::Dco, Hiding::Ama, Hiding::Hpa] {
            let Some(native) = native_sectors(&mut port, &now, hiding) else { continue };
            if native <= now.sectors() {
                continue;
            }
            let result = match hiding {
                Hiding::Ama => {
                    port.send(&set_accessible_max(native - 1), Data::None, QUESTION_LIMIT)
                }
                // The question that goes before was the last command.
                Hiding::Hpa => port.send(&set_max(native - 1), Data::None, QUESTION_LIMIT),
                Hiding::Dco => port.send(&DCO_RESTORE, Data::None, QUESTION_LIMIT),
            };
            now = identity(&mut port)?;
            if now.sectors() < native && hiding != Hiding::Dco {
                let said =
                    result.map_or_else(|trouble| trouble.to_string(), |_| "accepted".to_owned());
                failure = Some(format!("sectors are hidden still, {hiding:?}: {said}"));
            }
        }
    }
    if failure.is_none() && now.is_plausible() {
        let hidden = [Hiding::Ama, Hiding::Hpa, Hiding::Dco].into_iter().find(|hiding| {
            native_sectors(&mut port, &now, *hiding).is_some_and(|native| native > now.sectors())
        });
        if let Some(hiding) = hidden {
            failure = Some(format!("sectors are hidden still, {hiding:?}"));
        }
    }
    Ok(Lifted {
        before_bytes: before.bytes_of(before.sectors()),
        after_bytes: now.bytes_of(now.sectors()),
        failure,
        commands: tape.into_commands(),
    })
}

fn identity(port: &mut Port<'_>) -> Result<Identity, FirmwareError> {
    port.identify().map_err(|(trouble, _)| trouble.of("IDENTIFY DEVICE"))
}
