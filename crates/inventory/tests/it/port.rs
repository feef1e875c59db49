//! Network ports of captured machines.

use protocol::inventory::Port;

use crate::tree::Tree;

/// A port: its name, its place below `sys/devices`, and further files in its directory.
fn port(name: &str, place: &str, files: &str) -> String {
    let directory = format!("sys/devices/{place}/net/{name}");
    let own = files.lines().map(str::trim).filter(|file| !file.is_empty());
    let mut lines = vec![
        format!("sys/class/net/{name} -> ../../devices/{place}/net/{name}"),
        format!("{directory}/device -> ../.."),
        format!("{directory}/type = 1"),
    ];
    lines.extend(own.map(|file| format!("{directory}/{file}")));
    lines.join("\n") + "\n"
}

fn ports(lines: &str) -> Vec<Port> {
    let inventory = Tree::new(lines).collect();
    assert_eq!(inventory.gaps, []);
    inventory.ports
}

const CARD: &str = "pci0000:00/0000:00:1c.0/0000:02:00.0";

#[test]
fn a_card_is_described() {
    let found = ports(&format!(
        "{}
         sys/devices/{CARD}/vendor = 0x8086
         sys/devices/{CARD}/device = 0x1533
         sys/devices/{CARD}/driver -> ../../../../bus/pci/drivers/igb
         proc/net/if_inet6 = fe80000000000000525400fffe999999 03 40 20 80     eth9\\nfe80000000000000525400fffe123456 02 40 20 80     eth0\\n",
        port(
            "eth0",
            CARD,
            "address = 52:54:00:12:34:56
             addr_assign_type = 0
             carrier = 1
             speed = 1000"
        )
    ));
    assert_eq!(
        found,
        [Port {
            name: "eth0".to_owned(),
            permanent_mac: Some("52:54:00:12:34:56".parse().unwrap()),
            mac: Some("52:54:00:12:34:56".parse().unwrap()),
            driver: Some("igb".to_owned()),
            firmware: None,
            pci_address: Some("0000:02:00.0".to_owned()),
            pci_id: Some("8086:1533".to_owned()),
            removable: false,
            link: Some(true),
            speed_mbps: Some(1000),
            addresses: vec!["fe80::5254:ff:fe12:3456".parse().unwrap()],
        }]
    );
}

#[test]
fn only_hardware_is_a_port() {
    let found = ports(&format!(
        "{}{}
         sys/devices/pci0000:00/0000:03:10.0/physfn -> ../0000:03:00.0
         sys/devices/pci0000:00/0000:03:00.0/vendor = 0x8086
         sys/class/net/bond0 -> ../../devices/virtual/net/bond0
         sys/devices/virtual/net/bond0/type = 1
         sys/class/net/lo -> ../../devices/virtual/net/lo
         sys/devices/virtual/net/lo/type = 772
         sys/class/net/bonding_masters = bond0",
        port("eth0", "pci0000:00/0000:03:00.0", ""),
        port("eth0v0", "pci0000:00/0000:03:10.0", ""),
    ));
    assert_eq!(found.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(), ["eth0"]);
}

#[test]
fn what_can_be_unplugged_is_removable() {
    let usb = port("usb0", "pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0", "");
    let dock = port("dock0", "pci0000:00/0000:00:1d.0/0000:05:00.0", "");
    let fixed = port("eth0", CARD, "");
    let found = ports(&format!(
        "{usb}{dock}{fixed}
         sys/devices/pci0000:00/0000:00:1d.0/0000:05:00.0/removable = removable
         sys/devices/{CARD}/removable = fixed"
    ));
    assert_eq!(found[0].pci_address, None, "a USB card is no PCI device");
    let removable: Vec<(&str, bool)> =
        found.iter().map(|port| (port.name.as_str(), port.removable)).collect();
    assert_eq!(
        removable,
        [("usb0", true), ("eth0", false), ("dock0", true)],
        "in the order of the bus"
    );
}

#[test]
fn an_address_that_was_set_is_not_the_permanent_one() {
    let files = "address = 02:00:00:00:00:01\naddr_assign_type = 3";
    let found = ports(&port("eth0", CARD, files));
    assert_eq!(found[0].permanent_mac, None);
    assert!(found[0].mac.is_some());
    let zero = ports(&port("eth0", CARD, "address = 00:00:00:00:00:00\naddr_assign_type = 0"));
    assert_eq!((zero[0].mac, zero[0].permanent_mac), (None, None));
}

#[test]
fn an_unknown_speed_is_absent() {
    for speed in ["-1", "4294967295", "0"] {
        let found = ports(&port("eth0", CARD, &format!("carrier = 1\nspeed = {speed}")));
        assert_eq!(found[0].speed_mbps, None, "{speed}");
    }
    let down = ports(&port("eth0", CARD, "carrier = 0\nspeed = 1000"));
    assert_eq!((down[0].link, down[0].speed_mbps), (Some(false), None));
    assert_eq!(ports(&port("eth0", CARD, ""))[0].link, None);
}
