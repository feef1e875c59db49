//! Physical network ports.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::Path,
};

use protocol::{MacAddress, inventory::Port};

use crate::{Root, device, survey::Survey};

/// Returns every physical port, sorted by PCI address, then by name, without what only slower calls tell.
pub(crate) fn survey(survey: &mut Survey<'_>) -> Vec<Port> {
    let names = survey.entries("ports", "sys/class/net");
    let addresses = addresses(survey);
    let mut ports: Vec<Port> =
        names.into_iter().filter_map(|name| port(survey, name, &addresses)).collect();
    ports.sort_by(|one, other| {
        (&one.pci_address, &one.name).cmp(&(&other.pci_address, &other.name))
    });
    ports
}

fn port(survey: &mut Survey<'_>, name: String, addresses: &[(String, IpAddr)]) -> Option<Port> {
    const ETHERNET: u16 = 1;
    const INFINIBAND: u16 = 32;
    let class = Path::new("sys/class/net").join(&name);
    let what = |field: &str| format!("ports/{name}/{field}");
    // Only hardware has a device; a virtual function is a share of a port that is listed itself.
    if !survey.root.exists(class.join("device")) || survey.root.exists(class.join("device/physfn"))
    {
        return None;
    }
    let kind: u16 = survey.number(&what("type"), class.join("type"))?;
    if !matches!(kind, ETHERNET | INFINIBAND) {
        return None;
    }
    let link = survey.device(&format!("ports/{name}"), &class);
    let ancestors = link.map(|path| device::ancestors(&path)).unwrap_or_default();
    let is_usb = device::has_numbered(&ancestors, "usb");
    // What hangs on USB is no PCI device: its host controller is.
    let pci = device::pci(&ancestors).filter(|_| !is_usb);
    let mac: Option<MacAddress> =
        survey.text(&what("mac"), class.join("address")).and_then(|text| text.parse().ok());
    let mut id = |name: &str| {
        let text = survey.text(&what("pciId"), pci?.path.join(name))?;
        text.strip_prefix("0x").map(str::to_ascii_lowercase)
    };
    let pci_id =
        id("vendor").zip(id("device")).map(|(vendor, device)| format!("{vendor}:{device}"));
    let is_behind_thunderbolt = pci
        .and_then(|pci| survey.text(&what("removable"), pci.path.join("removable")))
        .is_some_and(|removable| removable == "removable");
    Some(Port {
        permanent_mac: permanent_mac(survey, &name, &class, mac),
        mac: mac.filter(|mac| mac.is_usable()),
        driver: survey.link_name(&what("driver"), class.join("device/driver")),
        firmware: None,
        pci_address: pci.map(|pci| pci.name.clone()),
        pci_id,
        removable: is_usb || is_behind_thunderbolt,
        link: carrier(survey.root, &class),
        speed_mbps: None,
        addresses: addresses
            .iter()
            .filter(|(port, _)| *port == name)
            .map(|(_, address)| *address)
            .collect(),
        name,
    })
}

/// Adds what drivers tell only when asked: the link's speed and the card's firmware.
pub(crate) fn complete(survey: &mut Survey<'_>, ports: &mut [Port]) {
    for port in ports {
        if port.link == Some(true) {
            // -1 and the largest number both mean unknown.
            let speed = survey.root.text(Path::new("sys/class/net").join(&port.name).join("speed"));
            port.speed_mbps = speed
                .ok()
                .flatten()
                .and_then(|speed| speed.parse().ok())
                .filter(|speed| (1..=10_000_000).contains(speed));
        }
        if !survey.root.is_live() {
            continue;
        }
        let told =
            linux::ethtool::socket().and_then(|socket| linux::ethtool::driver(&socket, &port.name));
        match told {
            Ok(driver) => {
                port.firmware =
                    driver.firmware.filter(|version| version != "N/A" && version != "n/a");
                port.driver = port.driver.take().or(driver.name);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {}
            Err(error) => {
                let what = format!("ports/{}/firmware", port.name);
                survey.gap(&what, "ETHTOOL_GDRVINFO", error.to_string());
            }
        }
    }
}

/// Asks the driver; of a captured machine, takes the address in use if the kernel knew it as permanent.
fn permanent_mac(
    survey: &mut Survey<'_>,
    name: &str,
    class: &Path,
    mac: Option<MacAddress>,
) -> Option<MacAddress> {
    if !survey.root.is_live() {
        const PERMANENT: u8 = 0;
        let what = format!("ports/{name}/permanentMac");
        let assigned: u8 = survey.number(&what, class.join("addr_assign_type"))?;
        return mac.filter(|mac| assigned == PERMANENT && mac.is_usable());
    }
    let told = linux::ethtool::socket()
        .and_then(|socket| linux::ethtool::permanent_address(&socket, name));
    match told {
        Ok(bytes) => <[u8; 6]>::try_from(bytes).ok().map(MacAddress).filter(|mac| mac.is_usable()),
        Err(error) => {
            survey.gap(
                &format!("ports/{name}/permanentMac"),
                "ETHTOOL_GPERMADDR",
                error.to_string(),
            );
            None
        }
    }
}

/// Says whether there is a link; the kernel refuses to tell (`EINVAL`) while the port is down.
fn carrier(root: &Root, class: &Path) -> Option<bool> {
    match root.text(class.join("carrier")).ok().flatten()?.as_str() {
        "1" => Some(true),
        "0" => Some(false),
        _ => None,
    }
}

/// Returns the addresses of all interfaces; of a captured machine only those of IPv6 stand in a file.
fn addresses(survey: &mut Survey<'_>) -> Vec<(String, IpAddr)> {
    if survey.root.is_live() {
        return linux::address::all().unwrap_or_else(|error| {
            survey.gap("ports/addresses", "RTM_GETADDR", error.to_string());
            Vec::new()
        });
    }
    let text = survey.text("ports/addresses", "proc/net/if_inet6").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let address = u128::from_str_radix(fields.next()?, 16).ok()?;
            Some((fields.last()?.to_owned(), IpAddr::from(Ipv6Addr::from_bits(address))))
        })
        .collect()
}
