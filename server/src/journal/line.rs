//! An entry as one line of the log: fields, no prose.

use serde_json::Value;
use tracing::{debug, field::display, info, warn};

use super::{Entry, Silence, What};

/// Writes an entry to the log, as loud as it matters.
pub(super) fn log(entry: &Entry) {
    let mac = entry.mac.map(display);
    let address = entry.address.map(display);
    let machine = entry.machine.as_deref();
    let what = display(Fields(&entry.what));
    match loudness(&entry.what) {
        Loudness::Problem => warn!(machine, mac, address, %what),
        Loudness::Story => info!(machine, mac, address, %what),
        Loudness::Detail => debug!(machine, mac, address, %what),
    }
}

enum Loudness {
    Problem,
    Story,
    Detail,
}

fn loudness(what: &What) -> Loudness {
    match what {
        What::TlsFailed { .. }
        | What::AnnounceRefused(_)
        | What::RecordFailed { .. }
        | What::BootLoop { .. }
        | What::Held { .. }
        | What::DriversAwaited { overdue: true, .. }
        | What::DhcpSilence(Silence::PoolExhausted | Silence::Suspended { .. }) => {
            Loudness::Problem
        }
        What::Agent(event) if event.level != protocol::Level::Info => Loudness::Problem,
        What::DhcpRequest { .. }
        | What::DhcpSilence(_)
        | What::ForeignOffer { .. }
        | What::FileRequest { .. }
        | What::FileProbed { .. } => Loudness::Detail,
        _ => Loudness::Story,
    }
}

/// `event=dhcpReply message=OFFER file=…`: the entry's JSON without its braces.
struct Fields<'a>(&'a What);

impl std::fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ok(Value::Object(fields)) = serde_json::to_value(self.0) else { return Ok(()) };
        let event = fields.get("event").and_then(Value::as_str).unwrap_or_default();
        f.write_str(event)?;
        for (key, value) in fields.iter().filter(|(key, _)| *key != "event") {
            // Kernel logs stay in the journal: they would drown everything else here.
            if key != "kernelLog" {
                write!(f, " {key}={value}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_the_event_and_its_fields() {
        let what = What::DhcpReply {
            message: "OFFER".to_owned(),
            address: None,
            file: Some("boot/52-54-00-00-00-01/ipxe.efi".to_owned()),
        };
        assert_eq!(
            Fields(&what).to_string(),
            r#"dhcpReply file="boot/52-54-00-00-00-01/ipxe.efi" message="OFFER""#
        );
    }
}
