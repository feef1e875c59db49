//! Where the last boot begins among the entries.

use crate::journal::{ClientFamily, Entry, What};

/// Firmware that failed tries again within this time; what comes later is another boot.
const PAUSE_MILLISECONDS: i64 = 120_000;

/// Returns the entries of the last boot: from the first DISCOVER of firmware, or of a card that carries iPXE, on, or all where there is none.
pub(super) fn last(entries: &[Entry]) -> &[Entry] {
    let mut start = 0;
    let mut was_under_way = false;
    let mut previous = None;
    for (index, entry) in entries.iter().enumerate() {
        let pause = previous.map_or(0, |before| entry.unix_milliseconds - before);
        // A card that carries iPXE begins with it; iPXE of ours asks in the middle of a boot.
        let is_later = was_under_way || pause >= PAUSE_MILLISECONDS || previous.is_none();
        if is_firmware_discover(&entry.what) || (is_later && is_ipxe_discover(&entry.what)) {
            if is_later {
                start = index;
            }
            was_under_way = false;
            previous = Some(entry.unix_milliseconds);
        } else if previous.is_some() {
            was_under_way |= is_far(&entry.what);
            previous = Some(entry.unix_milliseconds);
        }
    }
    entries.get(start..).unwrap_or_default()
}

fn is_firmware_discover(what: &What) -> bool {
    matches!(what, What::DhcpRequest { message, family, .. }
        if message == "DISCOVER" && is_firmware(*family))
}

fn is_ipxe_discover(what: &What) -> bool {
    matches!(what, What::DhcpRequest { message, family: ClientFamily::Ipxe, .. }
        if message == "DISCOVER")
}

/// Holds for clients that run before any program of ours.
pub(super) fn is_firmware(family: ClientFamily) -> bool {
    match family {
        ClientFamily::BiosPxe
        | ClientFamily::UefiPxe
        | ClientFamily::UefiHttp
        | ClientFamily::RaspberryPi => true,
        ClientFamily::Ipxe | ClientFamily::Agent | ClientFamily::Other => false,
    }
}

/// Holds for what firmware does not do twice in one boot.
fn is_far(what: &What) -> bool {
    matches!(
        what,
        What::Script { .. } | What::Announced { .. } | What::RecordWritten { .. } | What::Agent(_)
    )
}
