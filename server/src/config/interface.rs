//! The network interfaces of this machine, as far as a server cares.

use std::{io, net::Ipv4Addr};

use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags, sys::socket::SockaddrStorage};

/// An interface that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's name.
    pub name: String,
    /// Its IPv4 addresses, in the kernel's order.
    pub addresses: Vec<Ipv4Addr>,
}

/// Reads the interfaces that are up and can broadcast; the loopback is none of them.
pub fn read() -> io::Result<Vec<Interface>> {
    let mut interfaces: Vec<Interface> = Vec::new();
    let wanted = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_BROADCAST;
    for entry in getifaddrs()? {
        if !entry.flags.contains(wanted) || entry.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            continue;
        }
        let address = entry
            .address
            .as_ref()
            .and_then(SockaddrStorage::as_sockaddr_in)
            .map(nix::sys::socket::SockaddrIn::ip);
        match interfaces.iter_mut().find(|known| known.name == entry.interface_name) {
            Some(known) => known.addresses.extend(address),
            None => interfaces.push(Interface {
                name: entry.interface_name,
                addresses: address.into_iter().collect(),
            }),
        }
    }
    Ok(interfaces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_no_interface() {
        assert!(read().unwrap().iter().all(|interface| interface.name != "lo"));
    }
}
