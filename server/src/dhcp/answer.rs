//! What one request is answered: pure, so that every case is a test. Sockets, clocks and disks are outside.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use dhcp::{Message, MessageType, Options, code};

use crate::{
    dhcp::{
        caller::{CLIENT_PORT, Caller, SERVER_PORT},
        lease::{Lease, Leases, UnixTime},
        program::Course,
        settings::{Mode, Settings},
    },
    journal::{ClientFamily, Entry, Silence, What},
};

mod authoritative;
mod proxy;
#[cfg(test)]
mod tests;

/// What follows from one request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Response {
    /// What is sent; absent where the request asks for nothing, or in silence.
    pub reply: Option<Reply>,
    /// Why nothing is sent, where something was asked for.
    pub silence: Option<Silence>,
    /// What must be stored, before the reply is sent.
    pub store: Option<(Ipv4Addr, Lease)>,
    /// The address that nobody must answer ARP for, before the reply is sent.
    pub probe: Option<Ipv4Addr>,
    /// The address that the client has from now on.
    pub has_address: Option<Ipv4Addr>,
}

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The message.
    pub message: Message,
    /// The datagram's payload.
    pub payload: Vec<u8>,
    /// Where it goes.
    pub destination: SocketAddrV4,
    /// The port of ours that it is sent from.
    pub port: u16,
}

/// Answers one request.
///
/// `course` is what the machine shall boot; it is not looked at where the client does not ask to boot.
pub fn respond(
    caller: &Caller,
    settings: &Settings,
    leases: &mut Leases,
    course: &Course,
    now: UnixTime,
) -> Response {
    let answer = match settings.mode() {
        Mode::Off => Err(Silence::Off),
        Mode::Proxy => proxy::answer(caller, settings, course),
        // What comes to 4011 has its address already and asks only what to boot.
        Mode::Authoritative { .. } if caller.port != SERVER_PORT => {
            proxy::answer(caller, settings, course)
        }
        Mode::Authoritative { subnets, .. } => {
            authoritative::answer(caller, settings, subnets, leases, course, now)
        }
    };
    answer.unwrap_or_else(|silence| Response { silence: Some(silence), ..Response::default() })
}

/// The entry that says what was asked, and at which interface of ours.
pub fn request_entry(caller: &Caller, interface: &str, now: UnixTime) -> Entry {
    entry(
        caller,
        now,
        What::DhcpRequest {
            message: caller.kind.name().to_owned(),
            family: caller.family,
            architecture: caller.architectures().first().copied(),
            port: caller.port,
            chosen_server: caller.chosen_server(),
            interface: Some(interface.to_owned()),
        },
    )
}

/// The entry that says what was answered.
pub fn reply_entry(caller: &Caller, reply: &Reply, now: UnixTime) -> Entry {
    let kind = reply.message.options.message_type();
    let given = Some(reply.message.yiaddr).filter(|address| !address.is_unspecified());
    let what = What::DhcpReply {
        message: kind.map_or("", MessageType::name).to_owned(),
        address: given,
        file: reply.message.boot_file(),
    };
    Entry { address: given.or(caller.own_address()), ..entry(caller, now, what) }
}

/// The entry that says why nothing was answered.
pub fn silence_entry(caller: &Caller, silence: Silence, now: UnixTime) -> Entry {
    entry(caller, now, What::DhcpSilence(silence))
}

/// An entry about the port that asks.
pub fn entry(caller: &Caller, now: UnixTime, what: What) -> Entry {
    Entry {
        unix_milliseconds: now.0,
        mac: Some(caller.mac()),
        address: caller.own_address(),
        machine: None,
        what,
    }
}

/// Begins a reply. The order of options is their importance: what the client's limit cuts off is the last.
fn begin(caller: &Caller, settings: &Settings, kind: MessageType) -> Message {
    let mut reply = caller.message.reply();
    reply.options.set_message_type(kind);
    // EDK2 drops an offer with 53 and without 54.
    reply.options.set_address(code::SERVER_IDENTIFIER, settings.server_address());
    reply
}

/// Whether option 43 tells PXE firmware to boot what is named here and to ask nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Discovery {
    /// It does.
    Skipped,
    /// Firmware decides; UEFI asks again on port 4011.
    Usual,
}

/// Adds what the client needs to boot `file`. Facts: bootserver.md 2.2, 2.5, 2.6.
fn add_boot(
    reply: &mut Message,
    caller: &Caller,
    settings: &Settings,
    file: &str,
    discovery: Discovery,
) {
    let class = match caller.family {
        ClientFamily::UefiHttp => "HTTPClient",
        _ => "PXEClient",
    };
    reply.options.set_text(code::VENDOR_CLASS, class);
    if caller.family == ClientFamily::RaspberryPi {
        return add_raspberry_pi_boot(reply, caller, settings, file);
    }
    if discovery == Discovery::Skipped {
        let mut inner = Options::new();
        inner.set(code::PXE_DISCOVERY_CONTROL, [8]);
        reply.options.set_vendor_information(&inner);
    }
    reply.siaddr = settings.server_address();
    reply.file = file.as_bytes().to_vec();
    reply.options.set_terminated_text(code::BOOT_FILE, file);
    if let Some(uuid) = caller.message.options.get(code::MACHINE_UUID) {
        reply.options.set(code::MACHINE_UUID, uuid);
    }
    if matches!(caller.family, ClientFamily::BiosPxe | ClientFamily::UefiPxe) {
        let server = settings.server_address().to_string();
        reply.options.set_terminated_text(code::BOOT_SERVER, &server);
    }
}

/// Adds what a Raspberry Pi's boot loader looks for: the text in option 43, and a server. In the order in which dnsmasq has it, which
/// they are tried with.
fn add_raspberry_pi_boot(reply: &mut Message, caller: &Caller, settings: &Settings, file: &str) {
    if let Some(identifier) = caller.message.options.get(code::MACHINE_UUID) {
        reply.options.set(code::MACHINE_UUID, identifier);
    }
    let mut inner = Options::new();
    // No questions to everybody: what there is to boot is here.
    inner.set(code::PXE_DISCOVERY_CONTROL, [3]);
    inner.set(code::PXE_MENU_PROMPT, *b"\0PXE");
    inner.set(code::PXE_BOOT_MENU, [&[0, 0], RASPBERRY_PI_BOOT].concat());
    reply.options.set_vendor_information(&inner);
    reply.siaddr = settings.server_address();
    reply.file = file.as_bytes().to_vec();
    let server = settings.server_address().to_string();
    reply.options.set_terminated_text(code::BOOT_SERVER, &server);
}

/// Without this in the menu their boot loaders take no server for theirs (`PXE_OPTION43`).
/// One length byte before it, as in all of option 43's menu.
const RASPBERRY_PI_BOOT: &[u8] = b"\x11Raspberry Pi Boot";

/// Finishes a reply: where it goes, and its bytes. RFC 2131 clause 4.1.
fn send(caller: &Caller, mut message: Message) -> Reply {
    let is_nak = message.options.message_type() == Some(MessageType::Nak);
    let destination = if let Some(relay) = caller.relay() {
        if is_nak {
            // Asks the relay to broadcast it: the client has no address any more.
            message.set_broadcast();
        }
        SocketAddrV4::new(relay, SERVER_PORT)
    } else if caller.port != SERVER_PORT && !caller.source.ip().is_unspecified() {
        // Who asks on 4011 does so from 4011, and listens there.
        caller.source
    } else {
        // Broadcast to all without an address: unicast would need an ARP entry, and some ROMs cannot receive it.
        let configured = matches!(caller.kind, MessageType::Request | MessageType::Inform);
        let address = caller.own_address().filter(|_| configured && !is_nak);
        SocketAddrV4::new(address.unwrap_or(Ipv4Addr::BROADCAST), CLIENT_PORT)
    };
    let payload = message.encode(caller.message.limit());
    Reply { message, payload, destination, port: caller.port }
}

/// For how long an address is lent. Short where a system follows that asks again; long where people depend on it.
fn lease_time(family: ClientFamily) -> Duration {
    match family {
        ClientFamily::BiosPxe
        | ClientFamily::UefiPxe
        | ClientFamily::UefiHttp
        | ClientFamily::Ipxe
        | ClientFamily::RaspberryPi => Duration::from_mins(5),
        ClientFamily::Agent => Duration::from_hours(1),
        ClientFamily::Other => Duration::from_hours(24),
    }
}
