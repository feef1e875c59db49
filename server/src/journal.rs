//! The story of every machine's boot: one stream of entries that all parts write and `explain`, the API and the log read.
//!
//! An entry names whom it is about by what was known at that moment: a MAC address in DHCP, an address in TFTP,
//! a machine once the agent has announced. [`Journal`] joins them.

mod line;
mod neighbours;
mod queue;
mod store;

use std::net::Ipv4Addr;

use protocol::MacAddress;
use serde::{Deserialize, Serialize};

use crate::moment;

pub use self::{
    queue::Journal,
    store::{JournalError, Subject},
};

/// Something that happened, when, to whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When: milliseconds since 1970, by the server's clock.
    pub unix_milliseconds: i64,
    /// The port it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// The address that the port had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// The machine, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// What happened. Not flattened: some of it has an address of its own.
    pub what: What,
}

impl Entry {
    /// Returns an entry of this moment.
    pub fn about(mac: Option<MacAddress>, address: Option<Ipv4Addr>, what: What) -> Self {
        Self { unix_milliseconds: moment::now(), mac, address, machine: None, what }
    }

    /// Returns the same entry, about a machine that is known by name.
    #[must_use]
    pub fn of_machine(mut self, name: &str) -> Self {
        self.machine = Some(name.to_owned());
        self
    }
}

/// What kind of client speaks DHCP. Facts: bootserver.md 2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientFamily {
    /// BIOS PXE firmware.
    BiosPxe,
    /// UEFI PXE firmware.
    UefiPxe,
    /// UEFI HTTP Boot firmware.
    UefiHttp,
    /// iPXE, chainloaded or in the card's ROM.
    Ipxe,
    /// A Raspberry Pi's boot ROM.
    RaspberryPi,
    /// Our own agent.
    Agent,
    /// Any other DHCP client: an operating system, a telephone.
    Other,
}

/// Why nothing was answered. Each has a sentence and an advice in `explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Silence {
    /// The machine is on the ignore list.
    Ignored,
    /// `discovery.answer: listed`, and the machine is not listed.
    NotListed,
    /// Another controller owns the machine.
    ClaimedByOther {
        /// The owner label's value, or the Workflow's name.
        owner: String,
    },
    /// In proxy mode: not a network boot, so the router's business.
    NotNetworkBoot,
    /// The request was for another server (option 54).
    OtherServer {
        /// That server.
        server: Ipv4Addr,
    },
    /// No boot program for this architecture (option 93).
    UnknownArchitecture {
        /// The IANA number.
        architecture: u16,
    },
    /// The pool has no free address.
    PoolExhausted,
    /// The relay's subnet is none of ours.
    UnknownSubnet {
        /// The relay's address.
        relay: Ipv4Addr,
    },
    /// The request could not be read, or made no sense.
    Malformed {
        /// What was wrong.
        problem: String,
    },
    /// Too many requests in a short time.
    RateLimited,
    /// Another DHCP server was seen, so authoritative service is suspended.
    Suspended {
        /// That server.
        server: Ipv4Addr,
    },
    /// DHCP is off on this interface.
    Off,
    /// A Raspberry Pi that cannot be served.
    RaspberryPi {
        /// Which one.
        model: String,
        /// Why.
        because: Unserved,
    },
}

/// Why a Raspberry Pi cannot be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unserved {
    /// The images for 64-bit Arm are not there, or are without its files.
    NoFiles,
    /// Their kernel does not know it: it has no driver for its network port, or no device tree.
    NoDriver,
    /// It is older than those that are served.
    TooOld,
    /// It went in circles through us: in silence it goes on to the next kind of boot.
    Loop,
}

/// Why what an agent said of its machine was refused. Each has a sentence and an advice in `explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "unfit", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Unfit {
    /// It was too large.
    TooLarge {
        /// What is taken at most.
        limit_bytes: u64,
    },
    /// It lists more ports or disks than a machine has.
    TooManyParts,
    /// It could not be read.
    Unreadable {
        /// What was wrong.
        problem: String,
    },
    /// There is no room for another machine that nobody approved.
    NoRoom,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum What {
    /// A DHCP request arrived.
    DhcpRequest {
        /// `DISCOVER`, `REQUEST`, …
        message: String,
        /// Who speaks.
        family: ClientFamily,
        /// Option 93, first entry.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        architecture: Option<u16>,
        /// The port it arrived at: 67 or 4011.
        port: u16,
        /// Option 54: the server that the client chose, in a REQUEST.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chosen_server: Option<Ipv4Addr>,
        /// The server's interface that it arrived at; absent in entries of older servers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interface: Option<String>,
    },
    /// A DHCP answer was sent.
    DhcpReply {
        /// `OFFER`, `ACK`, `NAK`.
        message: String,
        /// The address given; absent in proxy mode.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<Ipv4Addr>,
        /// The boot file or URL named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
    },
    /// A DHCP request was left without an answer.
    DhcpSilence(Silence),
    /// Another server's offer was seen on the wire.
    ForeignOffer {
        /// Its address: option 54, else the source address.
        server: Ipv4Addr,
        /// Whether it carried option 54.
        has_server_identifier: bool,
        /// Whether it named a boot file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
    },
    /// A file was asked for.
    FileRequest {
        /// How.
        protocol: FileProtocol,
        /// Its path.
        path: String,
    },
    /// A file was asked about and not for: HEAD, what the client has already (304), TFTP's `tsize` only. Ends a `FileRequest`.
    FileProbed {
        /// How.
        protocol: FileProtocol,
        /// Its path.
        path: String,
    },
    /// A file was sent whole.
    FileSent {
        /// How.
        protocol: FileProtocol,
        /// Its path.
        path: String,
        /// How much.
        size_bytes: u64,
    },
    /// A file was not sent, or not whole.
    FileFailed {
        /// How.
        protocol: FileProtocol,
        /// Its path.
        path: String,
        /// Why: `not found`, `aborted by the client`, `timed out at block 7`.
        reason: String,
    },
    /// An iPXE script was rendered.
    Script {
        /// What it does: `sunshine`, `hercules`, `own disk`.
        boots: String,
    },
    /// The machine went through firmware and script several times without reaching a system.
    BootLoop {
        /// How often within the window.
        rounds: u32,
    },
    /// A TLS conversation on the agents' door failed.
    TlsFailed {
        /// The alert or error, in words; a client that does not accept our key says `UnknownCA` or `BadCertificate`.
        reason: String,
        /// True when the client refused our key: its pin does not match.
        pin_refused: bool,
    },
    /// What the agent said of its machine was refused.
    AnnounceRefused(Unfit),
    /// Drivers are on their way to a machine that has announced itself: nothing is decided by what it does not show.
    DriversAwaited {
        /// Which.
        modules: Vec<String>,
        /// Whether that takes too long.
        overdue: bool,
    },
    /// The agent announced itself.
    Announced {
        /// The agent's version.
        agent_version: String,
        /// Whether its picture is complete.
        complete: bool,
    },
    /// The Hardware record was written.
    RecordWritten {
        /// The record's name.
        name: String,
    },
    /// The record could not be written.
    RecordFailed {
        /// Why.
        reason: String,
    },
    /// An instruction was handed out.
    Instructed {
        /// Its verb.
        verb: String,
        /// Its sequence number.
        sequence: u64,
    },
    /// A person or a rule gave an order.
    Ordered {
        /// What: `approve`, `reboot`, …
        order: String,
        /// Who: the operator's user id on the socket.
        by: String,
    },
    /// Something became of an order to install.
    Order {
        /// Which order.
        order: protocol::OrderId,
        /// What, in words.
        became: String,
    },
    /// An installed system fetched something of its metadata, for the first time.
    MetadataServed {
        /// Which order installed it.
        order: protocol::OrderId,
        /// What: `user-data`.
        name: String,
    },
    /// An installed system said back that it is done.
    PhonedHome {
        /// Which order installed it.
        order: protocol::OrderId,
        /// Its host name, as it said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hostname: Option<String>,
        /// Its instance-id, as it said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance_id: Option<String>,
    },
    /// The machine goes back to waiting for approval.
    Held {
        /// Why: what changed, or which sessions collide.
        reason: String,
    },
    /// Something the agent told.
    Agent(protocol::Event),
}

/// How files travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileProtocol {
    /// TFTP.
    Tftp,
    /// HTTP.
    Http,
}
