//! What the kernel says of the link on which the server is announced.

use std::{io, net::Ipv4Addr};

use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{SockaddrIn, SockaddrStorage},
};

use crate::dhcp::wire::interface::{self, Interface};

/// A link at one moment, with a plugged cable: where another one than before is found, everything is said again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    interface: Interface,
    /// The server's.
    pub(super) address: Ipv4Addr,
    /// Of the network that the address is in.
    pub(super) prefix_length: u8,
}

/// Reads it; absent where the interface is not there, has not this address, or has no cable.
pub(super) fn read(name: &str, address: Ipv4Addr) -> io::Result<Option<Link>> {
    let interface = interface::read(name)?;
    let Some(interface) = interface.filter(|interface| interface.is_running) else {
        return Ok(None);
    };
    let ip = |socket: Option<&SockaddrStorage>| {
        socket.and_then(SockaddrStorage::as_sockaddr_in).map(SockaddrIn::ip)
    };
    let of_address = getifaddrs()?.find(|entry| ip(entry.address.as_ref()) == Some(address));
    let mask = of_address.and_then(|entry| ip(entry.netmask.as_ref()));
    let is_there = interface.addresses.contains(&address);
    Ok(mask.filter(|_| is_there).map(|mask| {
        let ones = mask.to_bits().leading_ones();
        let prefix_length = u8::try_from(ones).expect("32 at most");
        Link { interface, address, prefix_length }
    }))
}
