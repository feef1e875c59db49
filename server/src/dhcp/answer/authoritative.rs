//! Lending addresses. RFC 2131 clauses 4.3.1 to 4.3.5; facts: bootserver.md 2.4.

use dhcp::{Message, MessageType, Options, code};

use super::{Discovery, Response, add_boot, begin, lease_time, send};
use crate::{
    dhcp::{
        caller::Caller,
        lease::{Claim, Confidence, Leases, UnixTime},
        program::{Course, boot_file},
        settings::{Settings, Subnet},
    },
    journal::{ClientFamily, Silence},
};

pub(super) fn answer(
    caller: &Caller,
    settings: &Settings,
    subnets: &[Subnet],
    leases: &mut Leases,
    course: &Course,
    now: UnixTime,
) -> Result<Response, Silence> {
    let subnet = subnet_of(caller, settings, subnets)?;
    let lending = Lending { caller, settings, subnet, course };
    match caller.kind {
        MessageType::Discover => lending.offer(leases, now),
        MessageType::Request => lending.confirm(leases, now),
        MessageType::Inform => lending.inform(),
        MessageType::Decline => Ok(lending.decline(leases, now)),
        MessageType::Release => Ok(lending.release(leases, now)),
        MessageType::Offer | MessageType::Ack | MessageType::Nak => Ok(Response::default()),
    }
}

/// Tells the client's subnet: by the relay, else by the address that it renews, else the interface's own.
fn subnet_of<'a>(
    caller: &Caller,
    settings: &Settings,
    subnets: &'a [Subnet],
) -> Result<&'a Subnet, Silence> {
    let of_relay = caller
        .relay()
        .map(|relay| (caller.message.options.link_selection().unwrap_or(relay), relay));
    // Renewals of relayed clients come without the relay.
    let of_renewal = caller
        .own_address()
        .filter(|own| subnets.iter().any(|subnet| subnet.contains(*own)))
        .map(|own| (own, own));
    let local = settings.server_address();
    let (address, relay) = of_relay.or(of_renewal).unwrap_or((local, local));
    subnets.iter().find(|subnet| subnet.contains(address)).ok_or(Silence::UnknownSubnet { relay })
}

/// One request for an address of one subnet.
struct Lending<'a> {
    caller: &'a Caller,
    settings: &'a Settings,
    subnet: &'a Subnet,
    course: &'a Course,
}

impl Lending<'_> {
    fn offer(&self, leases: &mut Leases, now: UnixTime) -> Result<Response, Silence> {
        // First, so that a machine that is not answered takes no address.
        let file = self.file()?;
        let wanted = self.caller.message.options.address(code::REQUESTED_ADDRESS);
        let offer = leases
            .offer(self.caller.mac(), wanted, self.subnet, now)
            .ok_or(Silence::PoolExhausted)?;
        let mut reply = begin(self.caller, self.settings, MessageType::Offer);
        reply.yiaddr = offer.address;
        self.add_times(&mut reply);
        self.add_network(&mut reply, file.as_deref());
        // ARP does not reach behind a relay.
        let must_probe =
            offer.confidence == Confidence::ToBeProbed && self.caller.relay().is_none();
        Ok(Response {
            reply: Some(send(self.caller, reply)),
            probe: must_probe.then_some(offer.address),
            ..Response::default()
        })
    }

    fn confirm(&self, leases: &mut Leases, now: UnixTime) -> Result<Response, Silence> {
        let mac = self.caller.mac();
        let us = self.settings.server_address();
        if let Some(server) = self.caller.chosen_server().filter(|server| *server != us) {
            leases.withdraw(mac);
            return Err(Silence::OtherServer { server });
        }
        let requested = self.caller.message.options.address(code::REQUESTED_ADDRESS);
        let own = self.caller.own_address();
        let Some(address) = requested.or(own) else {
            return Err(Silence::Malformed { problem: "a REQUEST without an address".to_owned() });
        };
        // The answer would go to the one and lend the other. RFC 2131 table 5: never both.
        if let Some(own) = own.filter(|own| *own != address) {
            let problem = format!("a REQUEST for {address} from {own}");
            return Err(Silence::Malformed { problem });
        }
        let file = self.file()?;
        if leases.claim(mac, address, self.subnet, now) == Claim::Void {
            return Ok(self.refuse("that address is not yours here"));
        }
        leases.withdraw(mac);
        let lease = leases.lend(mac, address, lease_time(self.caller.family), now);
        let mut reply = begin(self.caller, self.settings, MessageType::Ack);
        reply.yiaddr = address;
        reply.ciaddr = self.caller.message.ciaddr;
        self.add_times(&mut reply);
        self.add_network(&mut reply, file.as_deref());
        Ok(Response {
            reply: Some(send(self.caller, reply)),
            store: Some((address, lease)),
            has_address: Some(address),
            ..Response::default()
        })
    }

    /// Answers a client that has an address from elsewhere: no address, no times. RFC 2131 clause 4.3.5.
    fn inform(&self) -> Result<Response, Silence> {
        // The answer goes to the address that the client says it has: never to one that is none of our business.
        let elsewhere = self.caller.own_address().filter(|own| !self.subnet.contains(*own));
        if let (Some(own), None) = (elsewhere, self.caller.relay()) {
            let problem = format!("an INFORM from {own}, which lies in no subnet of ours");
            return Err(Silence::Malformed { problem });
        }
        let file = self.file()?;
        let mut reply = begin(self.caller, self.settings, MessageType::Ack);
        reply.ciaddr = self.caller.message.ciaddr;
        self.add_network(&mut reply, file.as_deref());
        let reply = Some(send(self.caller, reply));
        Ok(Response { reply, has_address: self.caller.own_address(), ..Response::default() })
    }

    fn decline(&self, leases: &mut Leases, now: UnixTime) -> Response {
        let address = self
            .caller
            .message
            .options
            .address(code::REQUESTED_ADDRESS)
            .filter(|_| self.is_for_us());
        let store = address.and_then(|address| {
            Some((address, leases.quarantine(self.caller.mac(), address, now)?))
        });
        Response { store, ..Response::default() }
    }

    fn release(&self, leases: &mut Leases, now: UnixTime) -> Response {
        let address = self.caller.own_address().filter(|_| self.is_for_us());
        let store = address
            .and_then(|address| Some((address, leases.release(self.caller.mac(), address, now)?)));
        Response { store, ..Response::default() }
    }

    fn is_for_us(&self) -> bool {
        self.caller.chosen_server().is_none_or(|server| server == self.settings.server_address())
    }

    /// The boot file; absent where the client does not ask to boot.
    fn file(&self) -> Result<Option<String>, Silence> {
        if self.caller.is_network_boot() {
            boot_file(self.caller, self.course, self.settings).map(Some)
        } else {
            Ok(None)
        }
    }

    fn refuse(&self, reason: &str) -> Response {
        let mut reply = begin(self.caller, self.settings, MessageType::Nak);
        reply.options.set_text(code::MESSAGE_TEXT, reason);
        Response { reply: Some(send(self.caller, reply)), ..Response::default() }
    }

    /// Adds the lease's times. T1 and T2 in offers too: there are clients that want them there.
    fn add_times(&self, reply: &mut Message) {
        let lease = u32::try_from(lease_time(self.caller.family).as_secs()).unwrap_or(u32::MAX);
        reply.options.set_seconds(code::LEASE_TIME, lease);
        reply.options.set_seconds(code::RENEWAL_TIME, lease / 2);
        reply.options.set_seconds(code::REBINDING_TIME, lease - lease / 8);
    }

    /// Adds the network, and what to boot.
    fn add_network(&self, reply: &mut Message, file: Option<&str>) {
        reply.options.set_address(code::SUBNET_MASK, self.subnet.mask());
        reply.options.set_addresses(code::ROUTERS, self.subnet.routers());
        reply.options.set_addresses(code::NAME_SERVERS, self.subnet.name_servers());
        if let Some(file) = file {
            // Option 60 without 43 would send firmware to port 4011, a second later.
            let discovery = match self.caller.family {
                ClientFamily::BiosPxe | ClientFamily::UefiPxe => Discovery::Skipped,
                _ => Discovery::Usual,
            };
            add_boot(reply, self.caller, self.settings, file, discovery);
        }
        if self.caller.family == ClientFamily::Agent {
            reply.options.set_text(code::DRYDOCK_SERVER, &self.settings.agents_door());
        }
        if self.caller.family == ClientFamily::Ipxe {
            let mut inner = Options::new();
            inner.set(code::IPXE_NO_PROXY, [1]);
            reply.options.set_encapsulated(code::IPXE, &inner);
        }
        reply.options.set_address(code::BROADCAST_ADDRESS, self.subnet.broadcast());
        if let Some(domain) = self.subnet.domain_name() {
            reply.options.set_text(code::DOMAIN_NAME, domain);
        }
    }
}
