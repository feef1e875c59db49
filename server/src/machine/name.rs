//! The name of a machine: its maker's serial number as a DNS label, else `m-` and its lowest permanent address.

use protocol::{Inventory, MacAddress, inventory::Port};

use super::{Session, evidence::garbage};

/// The longest DNS label (RFC 1035, 2.3.4).
const LABEL: usize = 63;

/// Proposes a name for a machine, and others should it be taken.
pub(super) fn propose(
    inventory: &Inventory,
    booted_through: Option<MacAddress>,
    session: Session,
) -> impl Iterator<Item = String> {
    let base = inventory
        .system
        .serial
        .as_deref()
        .filter(|serial| !garbage::is_garbage_serial(serial))
        .and_then(label)
        .or_else(|| {
            lowest_mac(inventory).or(booted_through).map(|mac| format!("m-{}", mac.hyphenated()))
        })
        .unwrap_or_else(|| format!("m-{}", &session.to_string()[..12]));
    let first = base.clone();
    std::iter::once(first).chain((2_u64..).map(move |number| {
        let suffix = format!("-{number}");
        let end = base.len().min(LABEL - suffix.len());
        format!("{}{suffix}", base[..end].trim_end_matches('-'))
    }))
}

/// Spells a text as a DNS label; nothing when too little is left of it.
fn label(text: &str) -> Option<String> {
    let mut label = String::new();
    for character in text.trim().chars() {
        match character.to_ascii_lowercase() {
            plain @ ('a'..='z' | '0'..='9') => label.push(plain),
            _ if label.ends_with('-') || label.is_empty() => {}
            _ => label.push('-'),
        }
    }
    label.truncate(LABEL);
    let label = label.trim_end_matches('-');
    (!label.is_empty()).then(|| label.to_owned())
}

/// Prefers ports that cannot be taken out, then addresses that no software made up.
fn lowest_mac(inventory: &Inventory) -> Option<MacAddress> {
    let rank = |port: &Port| {
        let mac = port.permanent_mac.filter(|mac| mac.is_usable())?;
        Some((port.removable, mac.is_locally_administered(), mac))
    };
    inventory.ports.iter().filter_map(rank).min().map(|(.., mac)| mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(serial: &str, macs: &[(&str, bool)]) -> Vec<String> {
        let mut inventory = Inventory::default();
        inventory.system.serial = Some(serial.to_owned());
        for &(mac, removable) in macs {
            let permanent_mac = Some(mac.parse().unwrap());
            inventory.ports.push(Port { permanent_mac, removable, ..Port::default() });
        }
        propose(&inventory, None, Session([0xab; 32])).take(3).collect()
    }

    #[test]
    fn the_serial_number_names_the_machine() {
        assert_eq!(names("4Q5HMP2", &[]), ["4q5hmp2", "4q5hmp2-2", "4q5hmp2-3"]);
        assert_eq!(names(" .ACME/0001 (rev. B). ", &[])[0], "acme-0001-rev-b");
    }

    #[test]
    fn a_long_serial_number_stays_a_label_with_its_suffix() {
        let found = names(&"ab1-".repeat(15), &[]);
        assert!(found.iter().all(|name| name.len() <= 63 && !name.ends_with('-')), "{found:?}");
        assert_ne!(found[0], found[1]);
    }

    #[test]
    fn without_a_serial_number_the_lowest_own_port_does() {
        let macs = [
            ("00:e0:4c:68:12:34", true),
            ("52:54:00:00:00:01", false),
            ("bc:24:11:00:00:02", false),
        ];
        assert_eq!(names("Default string", &macs)[0], "m-bc-24-11-00-00-02");
        assert_eq!(names("None", &macs[..2])[0], "m-52-54-00-00-00-01");
        assert_eq!(names("None", &macs[..1])[0], "m-00-e0-4c-68-12-34");
        assert_eq!(names("None", &[])[0], "m-abababababab");
    }
}
