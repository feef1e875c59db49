//! What stands on the console when discovery is done: a few lines for a person with a flashlight.

mod progress;

use std::fmt::Write as _;

use protocol::{Inventory, Welcome};

pub use self::progress::{ProgressLine, outcome};

/// Draws the panel: machine, ports, server, state.
pub fn draw(inventory: &Inventory, server: &str, welcome: &Welcome) -> String {
    let system = &inventory.system;
    let model: Vec<&str> = [&system.manufacturer, &system.product]
        .into_iter()
        .filter_map(|text| text.as_deref())
        .collect();
    let serial = system.serial.as_ref().map(|serial| format!(", serial {serial}"));
    let mut rows = vec![
        ("machine", welcome.machine.clone()),
        ("model", format!("{}{}", model.join(" "), serial.unwrap_or_default())),
    ];
    for port in &inventory.ports {
        let mac = port.mac.or(port.permanent_mac).map(|mac| mac.to_string()).unwrap_or_default();
        let addresses: Vec<String> = port
            .addresses
            .iter()
            .filter(|address| address.is_ipv4())
            .map(ToString::to_string)
            .collect();
        let link = if port.link == Some(false) { "no link" } else { "" };
        rows.push(("port", [&port.name, &mac, &addresses.join(" "), link].join(" ")));
    }
    rows.push(("server", server.to_owned()));
    rows.push(("state", state(welcome)));
    table(&rows)
}

/// Draws names and values; what others say cannot move the cursor.
fn table(rows: &[(&str, String)]) -> String {
    let mut text = String::from("\n");
    for (name, value) in rows {
        let value: String = value
            .chars()
            .map(|character| if character.is_control() { ' ' } else { character })
            .collect();
        let _infallible = writeln!(text, "  {name:8} {}", value.trim());
    }
    text.push('\n');
    text
}

fn state(welcome: &Welcome) -> String {
    let verb = match &welcome.verb {
        protocol::Verb::RebootAfter { seconds } => format!("restarting in {seconds} seconds"),
        protocol::Verb::Reboot {} => "restarting".to_owned(),
        protocol::Verb::PowerOff {} => "switching off".to_owned(),
        other => other.work().unwrap_or("waiting").to_owned(),
    };
    match &welcome.notice {
        Some(notice) => format!("{verb}: {notice}"),
        None => verb,
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Verb, inventory::Port};

    use super::*;

    #[test]
    fn a_person_reads_machine_address_server_and_state() {
        let mut inventory = Inventory::default();
        inventory.system.manufacturer = Some("ACME".to_owned());
        inventory.system.product = Some("Anvil".to_owned());
        inventory.system.serial = Some("7".to_owned());
        inventory.ports.push(Port {
            name: "eth0".to_owned(),
            mac: Some(protocol::MacAddress([2, 0, 0, 0, 0, 1])),
            addresses: vec!["10.0.0.7".parse().unwrap(), "fe80::1".parse().unwrap()],
            ..Port::default()
        });
        let welcome = Welcome {
            machine: "7".to_owned(),
            clock_unix_milliseconds: None,
            sequence: 0,
            notice: Some("a person must\x1b[2J approve".to_owned()),
            verb: Verb::Wait {},
        };
        let expected = "
  machine  7
  model    ACME Anvil, serial 7
  port     eth0 02:00:00:00:00:01 10.0.0.7
  server   https://10.0.0.1:7443
  state    waiting: a person must [2J approve

";
        assert_eq!(draw(&inventory, "https://10.0.0.1:7443", &welcome), expected);
    }
}
