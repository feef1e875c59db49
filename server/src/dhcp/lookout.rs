//! Listening for other DHCP servers, and asking for them: safety rule 17.

use std::{
    io,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use dhcp::{Message, MessageType, Operation, code};
use protocol::MacAddress;
use ring::rand::SecureRandom;
use tokio::time;

use super::{
    caller::{CLIENT_PORT, SERVER_PORT},
    wire::{
        Frames, Hearing,
        frame::{Datagram, read_datagram, write_discover},
        interface::Interface,
    },
};

/// When a probe asks.
const ASKED_AFTER: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(2)];

/// How long a probe waits in all: dnsmasq pings an address for 3 s before it offers it.
const PATIENCE: Duration = Duration::from_millis(4500);

/// What DHCP was heard that was not for our sockets.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Another server answered a client.
    Server(ForeignReply),
    /// A client asked.
    Client(Message),
}

/// Another server's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignReply {
    /// The server: option 54, else where it came from.
    pub server: Ipv4Addr,
    /// What it said.
    pub message: Message,
}

impl ForeignReply {
    /// Holds for servers that lend addresses, and not only say what to boot.
    pub fn lends_addresses(&self) -> bool {
        match self.message.options.message_type() {
            Some(MessageType::Offer | MessageType::Ack) => !self.message.yiaddr.is_unspecified(),
            Some(MessageType::Nak) => true,
            _ => false,
        }
    }
}

/// Returns the server, not this one, that a client chose among those that offered it an address.
///
/// RFC 2131 clause 4.3.2: a REQUEST that goes to everybody names a server only then; one that renews, or that asks for an
/// address of earlier times, names none. What is remembered from long ago is not meant by it.
pub fn chosen_server(message: &Message, own_address: Ipv4Addr) -> Option<Ipv4Addr> {
    let chooses = message.options.message_type() == Some(MessageType::Request)
        && message.ciaddr.is_unspecified()
        && message.giaddr.is_unspecified();
    let server = message.options.address(code::SERVER_IDENTIFIER).filter(|_| chooses)?;
    let is_one = !server.is_unspecified()
        && !server.is_broadcast()
        && !server.is_multicast()
        && !server.is_loopback();
    (is_one && server != own_address).then_some(server)
}

/// The interface's DHCP traffic, and a probe where one is under way.
#[derive(Debug)]
pub struct Lookout {
    frames: Frames,
    mac: MacAddress,
    own_address: Ipv4Addr,
    probe: Option<Probe>,
}

/// A search for other servers.
#[derive(Debug)]
struct Probe {
    started: Instant,
    asked: usize,
    frame: Vec<u8>,
}

/// What the lookout has to tell.
#[derive(Debug, Clone, PartialEq)]
pub enum Sight {
    /// A message of somebody.
    Heard(Box<Heard>),
    /// The probe ended.
    ProbeEnded,
}

impl Lookout {
    /// Begins to listen.
    pub fn open(interface: &Interface, own_address: Ipv4Addr) -> io::Result<Self> {
        let frames = Frames::hear(interface, Hearing::Dhcp)?;
        Ok(Self { frames, mac: interface.mac, own_address, probe: None })
    }

    /// Begins a probe; an earlier one is forgotten.
    ///
    /// It asks as a client, which gets no other address by that and ignores the answer to a question that it has not
    /// asked: there are servers that answer only whom they know. Without one it asks as somebody whom nobody knows.
    pub fn begin_probe(&mut self, client: Option<MacAddress>, now: Instant) {
        let mut random = [0; 9];
        if ring::rand::SystemRandom::new().fill(&mut random).is_err() {
            // Any invented address serves.
            tracing::warn!("no random numbers for a probe");
        }
        let [tail @ .., first, second, third, fourth] = random;
        let mut invented = [0; 6];
        // Locally administered, no group.
        invented[0] = 0x02;
        invented[1..].copy_from_slice(&tail);
        let xid = u32::from_be_bytes([first, second, third, fourth]);
        let mut discover = Message::request(client.unwrap_or(MacAddress(invented)), xid);
        discover.set_broadcast();
        discover.options.set_message_type(MessageType::Discover);
        discover.options.set(
            code::PARAMETER_REQUEST_LIST,
            [code::SUBNET_MASK, code::ROUTERS, code::NAME_SERVERS],
        );
        let frame = write_discover(self.mac, &discover.encode(dhcp::DEFAULT_LIMIT));
        self.probe = Some(Probe { started: now, asked: 0, frame });
    }

    /// Forgets the probe.
    pub fn end_probe(&mut self) {
        self.probe = None;
    }

    /// Waits for the next thing to tell. Cancelled, it loses nothing.
    pub async fn watch(&mut self) -> io::Result<Sight> {
        loop {
            let due = match &self.probe {
                None => None,
                Some(probe) => match ASKED_AFTER.get(probe.asked) {
                    Some(delay) => Some(probe.started + *delay),
                    None => Some(probe.started + PATIENCE),
                },
            };
            let wait = async {
                match due {
                    Some(due) => time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                frame = self.frames.receive() => {
                    let frame = frame?;
                    let heard = read_datagram(&frame).and_then(|datagram| self.understand(&datagram));
                    if let Some(heard) = heard {
                        return Ok(Sight::Heard(Box::new(heard)));
                    }
                }
                () = wait => {
                    if self.ask() {
                        return Ok(Sight::ProbeEnded);
                    }
                }
            }
        }
    }

    /// Asks once more, or ends the probe: then it holds.
    fn ask(&mut self) -> bool {
        let Some(probe) = &mut self.probe else { return false };
        if probe.asked >= ASKED_AFTER.len() {
            self.probe = None;
            return true;
        }
        probe.asked += 1;
        if let Err(error) = self.frames.send(&probe.frame) {
            tracing::debug!(%error, "a probe was not sent");
        }
        false
    }

    /// Reads a datagram of somebody else.
    fn understand(&self, datagram: &Datagram<'_>) -> Option<Heard> {
        let message = Message::parse(datagram.payload).ok()?;
        match message.op {
            Operation::Reply if datagram.source.port() == SERVER_PORT => {
                let source = *datagram.source.ip();
                let server = message.options.address(code::SERVER_IDENTIFIER).unwrap_or(source);
                let is_ours = server == self.own_address || source == self.own_address;
                (!is_ours).then_some(Heard::Server(ForeignReply { server, message }))
            }
            Operation::Request if datagram.source.port() == CLIENT_PORT => {
                Some(Heard::Client(message))
            }
            Operation::Reply | Operation::Request => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_who_chooses_it_and_by_nobody_else() {
        let (ours, other) = (Ipv4Addr::new(10, 77, 0, 2), Ipv4Addr::new(10, 77, 0, 9));
        let request = |kind, server: Option<Ipv4Addr>| {
            let mut message = Message::request(MacAddress([2, 0, 0, 0, 0, 1]), 7);
            message.options.set_message_type(kind);
            if let Some(server) = server {
                message.options.set_address(code::SERVER_IDENTIFIER, server);
            }
            message
        };
        let chooses = request(MessageType::Request, Some(other));
        assert_eq!(chosen_server(&chooses, ours), Some(other));
        assert_eq!(chosen_server(&chooses, other), None, "us");
        let renews = Message { ciaddr: Ipv4Addr::new(10, 77, 0, 50), ..chooses.clone() };
        let relayed = Message { giaddr: Ipv4Addr::new(10, 78, 0, 1), ..chooses.clone() };
        let silent = [
            renews,
            relayed,
            request(MessageType::Request, None),
            request(MessageType::Release, Some(other)),
            request(MessageType::Decline, Some(other)),
            request(MessageType::Request, Some(Ipv4Addr::UNSPECIFIED)),
            request(MessageType::Request, Some(Ipv4Addr::BROADCAST)),
            request(MessageType::Request, Some(Ipv4Addr::new(224, 0, 0, 1))),
            request(MessageType::Request, Some(Ipv4Addr::LOCALHOST)),
        ];
        for message in silent {
            assert_eq!(chosen_server(&message, ours), None, "{message:?}");
        }
    }
}
