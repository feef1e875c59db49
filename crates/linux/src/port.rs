//! UDP through one network port, whether or not it has an address.

use std::{
    ffi::OsString,
    io,
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsRawFd,
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket,
    sockopt::{BindToDevice, Broadcast, ReuseAddr},
};

/// Opens a UDP socket that sends and receives through one network port only, broadcasts included
/// (`SO_BINDTODEVICE`); needs `CAP_NET_RAW` on older kernels. It never blocks.
pub fn udp(name: &str, port: u16) -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    setsockopt(&socket, ReuseAddr, &true)?;
    setsockopt(&socket, Broadcast, &true)?;
    setsockopt(&socket, BindToDevice, &OsString::from(name))?;
    let [a, b, c, d] = Ipv4Addr::UNSPECIFIED.octets();
    bind(socket.as_raw_fd(), &SockaddrIn::new(a, b, c, d, port))?;
    Ok(socket.into())
}
