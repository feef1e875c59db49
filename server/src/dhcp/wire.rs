//! Sockets on one interface: UDP for clients, packet sockets for what UDP cannot hear.

use std::{
    io::{self, IoSlice, Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    os::fd::AsRawFd,
};

use nix::{
    libc,
    sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg},
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::UdpSocket,
};

use self::interface::Interface;

pub mod frame;
pub mod interface;

/// Larger than any frame that DHCP or ARP comes in.
const FRAME_LIMIT: usize = 2048;

/// A UDP port of one interface, and of no other.
#[derive(Debug)]
pub struct Port {
    socket: UdpSocket,
    number: u16,
}

impl Port {
    /// Binds the port on the interface alone, for all addresses there: broadcasts come to none of them.
    ///
    /// Another program's socket on the same port is put up with where it allows that, and said.
    pub fn bind(interface: &str, number: u16) -> io::Result<Self> {
        let socket = Self::open(interface)?;
        let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, number)).into();
        match socket.bind(&all) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                socket.set_reuse_address(true)?;
                socket.bind(&all)?;
                tracing::warn!(
                    interface,
                    port = number,
                    "another program listens on this port too"
                );
            }
            bound => bound?,
        }
        // So that a router's DHCP on the same host can still start.
        socket.set_reuse_address(true)?;
        Ok(Self { socket: UdpSocket::from_std(socket.into())?, number })
    }

    /// Joins a group of machines on the interface's own link, and hears what is sent to the group, nothing else: what is
    /// sent to this machine goes to whoever else listens on that port here.
    ///
    /// What is sent has the largest number of hops, which says that it comes from this link.
    pub fn join(interface: &str, group: Ipv4Addr, number: u16) -> io::Result<Self> {
        const HOPS: u32 = 255;
        let socket = Self::open(interface)?;
        let index = nix::net::if_::if_nametoindex(interface)?;
        // Others on this machine listen to the same group, and each hears all of it.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&SocketAddr::from((group, number)).into())?;
        socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))?;
        socket.set_multicast_ttl_v4(HOPS)?;
        socket.set_ttl_v4(HOPS)?;
        Ok(Self { socket: UdpSocket::from_std(socket.into())?, number })
    }

    fn open(interface: &str) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_broadcast(true)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        Ok(socket)
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Waits for a datagram. Cancelled, it loses none.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddrV4)> {
        loop {
            if let (size, SocketAddr::V4(source)) = self.socket.recv_from(buffer).await? {
                return Ok((size, source));
            }
        }
    }

    /// Sends a datagram from one of the interface's addresses, the one that clients know us by.
    pub async fn send(&self, payload: &[u8], from: Ipv4Addr, to: SocketAddrV4) -> io::Result<()> {
        let source = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(from.octets()) },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        self.socket
            .async_io(Interest::WRITABLE, || {
                sendmsg(
                    self.socket.as_raw_fd(),
                    &[IoSlice::new(payload)],
                    &[ControlMessage::Ipv4PacketInfo(&source)],
                    MsgFlags::empty(),
                    Some(&SockaddrIn::from(to)),
                )
                .map_err(io::Error::from)
            })
            .await
            .map(drop)
    }
}

/// What a packet socket hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// DHCP of clients and servers, whoever they speak to.
    Dhcp,
    /// ARP.
    Arp,
}

/// Whole Ethernet frames of one interface: what comes in, never what we send ourselves.
#[derive(Debug)]
pub struct Frames(AsyncFd<Socket>);

impl Frames {
    /// Begins to hear. Needs `CAP_NET_RAW`.
    pub fn hear(interface: &Interface, hearing: Hearing) -> io::Result<Self> {
        let ethertype = match hearing {
            Hearing::Dhcp => frame::IPV4,
            Hearing::Arp => frame::ARP,
        };
        let protocol = Protocol::from(i32::from(ethertype.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        if hearing == Hearing::Dhcp {
            socket.attach_filter(&dhcp_filter())?;
        }
        // The address of `getifaddrs` has protocol 0, which leaves the socket's own as it is.
        nix::sys::socket::bind(socket.as_raw_fd(), &interface.link)?;
        // Between opening and binding the socket heard all interfaces.
        let mut buffer = [0; FRAME_LIMIT];
        while (&socket).read(&mut buffer).is_ok() {}
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types that lie about their descriptor; a `Socket` owns its own"
        )]
        let socket = AsyncFd::new(socket)?;
        Ok(Self(socket))
    }

    /// Waits for a frame. Cancelled, it loses none.
    pub async fn receive(&self) -> io::Result<Vec<u8>> {
        let mut buffer = [0; FRAME_LIMIT];
        let read = |mut socket: &Socket| socket.read(&mut buffer);
        let size = self.0.async_io(Interest::READABLE, read).await?;
        Ok(buffer[..size].to_vec())
    }

    /// Sends a frame; drops it where the interface's queue is full, as the network itself might.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.get_ref().write(frame).map(drop)
    }
}

/// `udp and (src port 67 or dst port 67)`, unfragmented, as classic BPF.
fn dhcp_filter() -> [SockFilter; 13] {
    const LOAD_HALF: u16 = 0x28;
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_HALF_BEHIND_HEADER: u16 = 0x48;
    const LOAD_HEADER_SIZE: u16 = 0xb1;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const JUMP_IF_ANY_BIT: u16 = 0x45;
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(LOAD_HALF, 0, 0, 12),
        SockFilter::new(JUMP_IF_EQUAL, 0, 9, 0x0800),
        SockFilter::new(LOAD_BYTE, 0, 0, 23),
        SockFilter::new(JUMP_IF_EQUAL, 0, 7, 17),
        SockFilter::new(LOAD_HALF, 0, 0, 20),
        SockFilter::new(JUMP_IF_ANY_BIT, 5, 0, 0x1fff),
        SockFilter::new(LOAD_HEADER_SIZE, 0, 0, 14),
        SockFilter::new(LOAD_HALF_BEHIND_HEADER, 0, 0, 14),
        SockFilter::new(JUMP_IF_EQUAL, 3, 0, 67),
        SockFilter::new(LOAD_HALF_BEHIND_HEADER, 0, 0, 16),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, 67),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, 0xffff),
    ]
}
