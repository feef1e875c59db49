//! Network ports as links: up, addresses, routes, and what changes (`NETLINK_ROUTE`).

use std::{io, net::Ipv4Addr};

use crate::netlink::{Message, Request, Socket, attributes, u16_at, u32_at};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTMGRP_LINK: u32 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const IFF_UP: u32 = 0x1;
/// Unlike `IFF_RUNNING` not told up to a second late.
const IFF_LOWER_UP: u32 = 0x1_0000;
const ARPHRD_ETHER: u16 = 1;
const AF_INET: u8 = 2;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_DHCP: u8 = 16;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RTN_UNICAST: u8 = 1;
/// `struct ifinfomsg`.
const LINK_SIZE: usize = 16;

/// A link as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number of it.
    pub index: u32,
    /// The kernel's name of it.
    pub name: String,
    /// Its Ethernet address; absent where it is no Ethernet port.
    pub mac: Option<[u8; 6]>,
    /// Whether it is up, carries something, or is gone.
    pub state: State,
}

/// Whether a link can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody set it up.
    Down,
    /// It is up, but there is nothing at the other end.
    NoCarrier,
    /// It is up and has a link.
    Carrier,
    /// It does not exist any more.
    Gone,
}

/// An address with its network, and the way out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The machine's own address.
    pub address: Ipv4Addr,
    /// How many bits of it name the network: 0 to 32.
    pub prefix_bits: u8,
}

/// A door to the kernel's links.
#[derive(Debug)]
pub struct Links(Socket);

impl Links {
    /// Opens the door.
    pub fn open() -> io::Result<Self> {
        Ok(Self(Socket::open(0)?))
    }

    /// Returns all links (`RTM_GETLINK`).
    pub fn all(&self) -> io::Result<Vec<Link>> {
        let answers = self.0.ask(Request::new(RTM_GETLINK, NLM_F_DUMP, &[0; LINK_SIZE]))?;
        Ok(answers.iter().filter_map(link).collect())
    }

    /// Sets a link up (`RTM_NEWLINK`); needs `CAP_NET_ADMIN`.
    pub fn set_up(&self, index: u32) -> io::Result<()> {
        self.set_flags(index, IFF_UP)
    }

    /// Sets a link down: its driver stops the port, and nothing is written to memory by it any more.
    pub fn set_down(&self, index: u32) -> io::Result<()> {
        self.set_flags(index, 0)
    }

    fn set_flags(&self, index: u32, flags: u32) -> io::Result<()> {
        let mut fixed = [0; LINK_SIZE];
        fixed[4..8].copy_from_slice(&index.to_ne_bytes());
        fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
        fixed[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
        self.0.ask(Request::new(RTM_NEWLINK, 0, &fixed)).map(drop)
    }

    /// Gives a link an address (`RTM_NEWADDR`); one that it has already stays.
    pub fn add_address(&self, index: u32, address: Address) -> io::Result<()> {
        let broadcast = Ipv4Addr::from_bits(address.address.to_bits() | host_bits(address));
        let request = address_request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, address)
            .with(IFA_BROADCAST, &broadcast.octets());
        self.0.ask(request).map(drop)
    }

    /// Takes an address from a link, and with it the routes that need it (`RTM_DELADDR`).
    pub fn remove_address(&self, index: u32, address: Address) -> io::Result<()> {
        self.0.ask(address_request(RTM_DELADDR, 0, index, address)).map(drop)
    }

    /// Adds or replaces the way to everywhere else, through one link (`RTM_NEWROUTE`). The lowest `metric` wins.
    pub fn set_default_route(&self, index: u32, gateway: Ipv4Addr, metric: u32) -> io::Result<()> {
        let fixed = [
            AF_INET,
            0,
            0,
            0,
            RT_TABLE_MAIN,
            RTPROT_DHCP,
            RT_SCOPE_UNIVERSE,
            RTN_UNICAST,
            0,
            0,
            0,
            0,
        ];
        let request = Request::new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &fixed)
            .with(RTA_GATEWAY, &gateway.octets())
            .with(RTA_OIF, &index.to_ne_bytes())
            .with(RTA_PRIORITY, &metric.to_ne_bytes());
        self.0.ask(request).map(drop)
    }
}

/// Hears of links that come, go, gain and lose their carrier.
#[derive(Debug)]
pub struct Monitor(Socket);

impl Monitor {
    /// Starts to listen.
    pub fn open() -> io::Result<Self> {
        Ok(Self(Socket::open(RTMGRP_LINK)?))
    }

    /// Waits until something changes. An error means that changes may have been lost.
    pub fn changes(&self) -> io::Result<Vec<Link>> {
        Ok(self.0.receive()?.iter().filter_map(link).collect())
    }
}

fn host_bits(address: Address) -> u32 {
    u32::MAX.checked_shr(u32::from(address.prefix_bits)).unwrap_or(0)
}

fn address_request(kind: u16, flags: u16, index: u32, address: Address) -> Request {
    let mut fixed = [AF_INET, address.prefix_bits, 0, RT_SCOPE_UNIVERSE, 0, 0, 0, 0];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    Request::new(kind, flags, &fixed)
        .with(IFA_LOCAL, &address.address.octets())
        .with(IFA_ADDRESS, &address.address.octets())
}

/// Reads a link; nothing where the message is about something else.
fn link((kind, body): &Message) -> Option<Link> {
    if !matches!(*kind, RTM_NEWLINK | RTM_DELLINK) {
        return None;
    }
    let hardware = u16_at(body, 2)?;
    let flags = u32_at(body, 8)?;
    let find = |wanted| attributes(body, LINK_SIZE).find(|(kind, _)| *kind == wanted);
    let (_, name) = find(IFLA_IFNAME)?;
    let mac = find(IFLA_ADDRESS).and_then(|(_, value)| value.try_into().ok());
    let state = match (*kind, flags & IFF_UP != 0, flags & IFF_LOWER_UP != 0) {
        (RTM_DELLINK, ..) => State::Gone,
        (_, false, _) => State::Down,
        (_, true, false) => State::NoCarrier,
        (_, true, true) => State::Carrier,
    };
    Some(Link {
        index: u32_at(body, 4)?,
        name: String::from_utf8_lossy(name).trim_end_matches('\0').to_owned(),
        mac: mac.filter(|_| hardware == ARPHRD_ETHER),
        state,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_link_is_there_and_no_ethernet() {
        let links = Links::open().unwrap().all().unwrap();
        let loopback = links.iter().find(|link| link.name == "lo").unwrap();
        assert_eq!((loopback.index, loopback.mac), (1, None));
    }

    #[test]
    fn an_unknown_link_is_refused_by_its_error_number() {
        let error = Links::open().unwrap().set_up(0x7fff_fff0).unwrap_err();
        // Whoever may not set links up hears that first.
        assert!(
            matches!(error.raw_os_error(), Some(nix::libc::ENODEV | nix::libc::EPERM)),
            "{error}"
        );
    }

    #[test]
    fn every_truncation_of_a_message_is_read_without_panic() {
        let mut body = vec![0; LINK_SIZE];
        body[2] = 1;
        body.extend([9, 0, 3, 0]);
        body.extend(b"eth0\0\0\0\0");
        body.extend([10, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 0]);
        let whole = link(&(RTM_NEWLINK, body.clone())).unwrap();
        assert_eq!((whole.name.as_str(), whole.mac), ("eth0", Some([2, 0, 0, 0, 0, 1])));
        for n in 0..body.len() {
            let _read = link(&(RTM_NEWLINK, body[..n].to_vec()));
        }
    }
}
