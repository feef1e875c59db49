//! What the kernel says of one interface.

use std::{io, net::Ipv4Addr};

use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags, sys::socket::LinkAddr};
use protocol::MacAddress;

/// An interface at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// What packet sockets bind to; another one after the device was replaced.
    pub link: LinkAddr,
    /// The port's own address.
    pub mac: MacAddress,
    /// Its IPv4 addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// Whether a cable is plugged in, as far as the driver knows: `IFF_UP` and `IFF_RUNNING`.
    pub is_running: bool,
    /// How often the cable was plugged or pulled: `carrier_changes`. Absent where sysfs is not there.
    pub carrier_changes: Option<u64>,
}

/// Reads an interface; absent where there is none of that name with an Ethernet address.
pub fn read(name: &str) -> io::Result<Option<Interface>> {
    let alias = format!("{name}:");
    let mut link = None;
    let mut addresses = Vec::new();
    for entry in getifaddrs()? {
        if entry.interface_name != name && !entry.interface_name.starts_with(&alias) {
            continue;
        }
        let Some(address) = entry.address else { continue };
        if let Some(found) = address.as_link_addr() {
            let running = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
            link = found.addr().map(|mac| (*found, mac, entry.flags.contains(running)));
        } else if let Some(found) = address.as_sockaddr_in() {
            addresses.push(found.ip());
        }
    }
    let counter = format!("/sys/class/net/{name}/carrier_changes");
    let carrier_changes =
        std::fs::read_to_string(counter).ok().and_then(|text| text.trim().parse().ok());
    Ok(link.map(|(link, mac, is_running)| Interface {
        link,
        mac: MacAddress(mac),
        addresses,
        is_running,
        carrier_changes,
    }))
}
