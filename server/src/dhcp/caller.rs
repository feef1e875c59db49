//! Who asks: one request, and what its options say of the client. Facts: bootserver.md 2.1, 2.2, 2.8.

use std::net::{Ipv4Addr, SocketAddrV4};

use dhcp::{Message, MessageType, Operation, code};
use protocol::MacAddress;

use crate::{
    boot::Board,
    decision::Traveller,
    journal::{ClientFamily, Silence},
};

/// The port on which clients find servers.
pub const SERVER_PORT: u16 = 67;
/// The port on which clients get answers.
pub const CLIENT_PORT: u16 = 68;
/// The port on which PXE firmware asks a proxy once it has its address.
pub const PROXY_PORT: u16 = 4011;

/// What our agent says it is, in option 60.
const AGENT_CLASS: &str = "drydock-agent";

/// The makers' prefixes of the Raspberry Pi, whose boot loader says it was a BIOS. Newer ones name it in option 97 too.
const RASPBERRY_PI: [[u8; 3]; 7] = [
    [0xb8, 0x27, 0xeb],
    [0xdc, 0xa6, 0x32],
    [0xe4, 0x5f, 0x01],
    [0x28, 0xcd, 0xc1],
    [0xd8, 0x3a, 0xdd],
    [0x2c, 0xcf, 0x67],
    [0x88, 0xa2, 0x9e],
];

/// One request of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The request as it came.
    pub message: Message,
    /// Its kind, always a client's.
    pub kind: MessageType,
    /// Who speaks.
    pub family: ClientFamily,
    /// Where it came from.
    pub source: SocketAddrV4,
    /// The port of ours that it came to: 67 or 4011.
    pub port: u16,
}

impl Caller {
    /// Recognises the client, or says why the request makes no sense.
    pub fn recognise(message: Message, source: SocketAddrV4, port: u16) -> Result<Self, Silence> {
        let malformed = |problem: &str| Silence::Malformed { problem: problem.to_owned() };
        if message.op != Operation::Request {
            return Err(malformed("a reply where a request belongs"));
        }
        let Some(kind) = message.options.message_type() else {
            return Err(malformed("no message type: plain BOOTP"));
        };
        if matches!(kind, MessageType::Offer | MessageType::Ack | MessageType::Nak) {
            return Err(malformed("a server's message from a client"));
        }
        // Who answered these would send to itself, to a group, or to everybody.
        if !message.giaddr.is_unspecified() && !is_one_machines(message.giaddr) {
            return Err(malformed(&format!(
                "relayed by {}, which no relay can have",
                message.giaddr
            )));
        }
        if !message.ciaddr.is_unspecified() && !is_one_machines(message.ciaddr) {
            return Err(malformed(&format!("from {}, which no client can have", message.ciaddr)));
        }
        let family = family(&message);
        Ok(Self { message, kind, family, source, port })
    }

    /// The port that asks.
    pub fn mac(&self) -> MacAddress {
        self.message.chaddr
    }

    /// What the decision needs to know.
    pub fn traveller(&self) -> Traveller {
        // What a Raspberry Pi has there is no UUID, and its system knows none.
        let uuid = self.message.options.uuid().filter(|_| self.family != ClientFamily::RaspberryPi);
        Traveller { mac: Some(self.mac()), uuid, serial: None }
    }

    /// Which Raspberry Pi asks; absent where another machine does.
    pub fn board(&self) -> Option<Board> {
        let identifier = self.message.options.get(code::MACHINE_UUID);
        (self.family == ClientFamily::RaspberryPi).then(|| Board::of(self.mac(), identifier))
    }

    /// Takes the client for the Raspberry Pi that its port spoke as before, where it chooses an offer without saying what it is:
    /// their boot loaders say so when they ask for offers only (rpi-eeprom, issue 82).
    #[must_use]
    pub fn continuing(self, before: Option<ClientFamily>) -> Self {
        let is_same = self.family == ClientFamily::Other
            && self.kind == MessageType::Request
            && before == Some(ClientFamily::RaspberryPi)
            && self.chosen_server().is_some()
            && self.own_address().is_none()
            && !self.message.options.contains(code::VENDOR_CLASS);
        if is_same { Self { family: ClientFamily::RaspberryPi, ..self } } else { self }
    }

    /// Holds when the client wants to know what to boot.
    pub fn is_network_boot(&self) -> bool {
        is_network_boot(self.family)
    }

    /// The server that the client chose, in a REQUEST.
    pub fn chosen_server(&self) -> Option<Ipv4Addr> {
        self.message.options.address(code::SERVER_IDENTIFIER)
    }

    /// The relay that passed the request on.
    pub fn relay(&self) -> Option<Ipv4Addr> {
        Some(self.message.giaddr).filter(|relay| !relay.is_unspecified())
    }

    /// The address that the client has and answers on.
    pub fn own_address(&self) -> Option<Ipv4Addr> {
        Some(self.message.ciaddr).filter(|address| !address.is_unspecified())
    }

    /// What the firmware can run, best first: option 93, else as option 60 spells it,
    /// else what such firmware is when it says nothing.
    pub fn architectures(&self) -> Vec<u16> {
        let listed = self.message.options.architectures();
        if !listed.is_empty() {
            return listed;
        }
        let class = self.message.options.text(code::VENDOR_CLASS).unwrap_or_default();
        let spelled = class.split(':').nth(2).and_then(|number| number.parse().ok());
        match (spelled, self.family) {
            (Some(number), _) => vec![number],
            (None, ClientFamily::UefiHttp) => vec![16],
            (None, family) if is_network_boot(family) => vec![0],
            (None, _) => Vec::new(),
        }
    }
}

/// Holds for addresses that one machine on a network can have: none of 0.0.0.0/8, loopback, groups, or reserved ones.
fn is_one_machines(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    !matches!(first, 0 | 127 | 224..)
}

/// Holds for families that want to know what to boot.
pub fn is_network_boot(family: ClientFamily) -> bool {
    match family {
        ClientFamily::BiosPxe
        | ClientFamily::UefiPxe
        | ClientFamily::UefiHttp
        | ClientFamily::Ipxe
        | ClientFamily::RaspberryPi => true,
        ClientFamily::Agent | ClientFamily::Other => false,
    }
}

/// Tells the client's family by its options.
pub fn family(message: &Message) -> ClientFamily {
    let class = message.options.text(code::VENDOR_CLASS).unwrap_or_default();
    if class.starts_with(AGENT_CLASS) {
        return ClientFamily::Agent;
    }
    let is_ipxe = message.options.user_classes().contains(&&b"iPXE"[..])
        || message.options.contains(code::IPXE);
    if is_ipxe {
        return ClientFamily::Ipxe;
    }
    if class.starts_with("HTTPClient") {
        return ClientFamily::UefiHttp;
    }
    if !class.starts_with("PXEClient") {
        return ClientFamily::Other;
    }
    let architectures = message.options.architectures();
    let first = architectures.first().copied();
    let MacAddress([a, b, c, ..]) = message.chaddr;
    let is_board = || {
        let identifier = message.options.get(code::MACHINE_UUID);
        RASPBERRY_PI.contains(&[a, b, c]) || identifier.is_some_and(Board::is_named)
    };
    match first {
        Some(41) => ClientFamily::RaspberryPi,
        None | Some(0) if is_board() => ClientFamily::RaspberryPi,
        None if !class.contains(":Arch:") || class.contains(":Arch:00000") => ClientFamily::BiosPxe,
        Some(0) => ClientFamily::BiosPxe,
        None | Some(_) => ClientFamily::UefiPxe,
    }
}
