//! Any datagrams on the DHCP ports in any mode, and time that passes: the whole decision, with its table of leases.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
    sync::LazyLock,
};

use dhcp::{Message, MessageType, Operation, code};
use drydock::{
    decision::{Boot, System},
    dhcp::{
        ModeAsWritten, Settings, Subnet, SubnetAsWritten,
        answer::{Reply, Response, reply_entry, request_entry, respond},
        caller::{CLIENT_PORT, Caller, PROXY_PORT, SERVER_PORT},
        lease::{Leases, State, UnixTime},
        program::Course,
    },
    journal::{ClientFamily, Silence},
};
use protocol::MacAddress;

use crate::{packets, scene};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
const RELAY: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
const BEGIN: UnixTime = UnixTime(1_800_000_000_000);
/// IP and UDP headers, which a client's limit counts.
const HEADERS_BYTES: usize = 28;

/// Authoritative for two small subnets, one of them behind a relay; proxy; off.
static MODES: LazyLock<[Settings; 3]> = LazyLock::new(|| {
    let subnet = |number: u8| SubnetAsWritten {
        key: format!("spec.network.vlans[{number}]"),
        network: Ipv4Addr::new(10, number, 0, 0),
        prefix_length: 24,
        range_start: Ipv4Addr::new(10, number, 0, 100),
        range_end: Ipv4Addr::new(10, number, 0, 102),
        routers: vec![Ipv4Addr::new(10, number, 0, 254)],
        name_servers: vec![Ipv4Addr::new(10, number, 0, 253)],
        domain_name: Some("ship.example".to_owned()),
    };
    let subnets = vec![subnet(77), subnet(78)];
    let modes = [
        ModeAsWritten::Authoritative { subnets, force: false },
        ModeAsWritten::Proxy,
        ModeAsWritten::Off,
    ];
    modes.map(|mode| Settings::check("eth0", SERVER, 7480, mode).expect("sound settings"))
});

/// One server, and what its clients may rely on.
struct Scene {
    settings: &'static Settings,
    leases: Leases,
    now: UnixTime,
    /// Who was told to have which address, and until when.
    promised: BTreeMap<Ipv4Addr, (MacAddress, UnixTime)>,
}

/// Nonsense is not answered; every answer can be read, fits, and goes to one client;
/// one port has one address in each subnet, and nobody else has it as long as that port may use it.
pub fn check(bytes: &[u8]) {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    let settings = &MODES[usize::from(*mode) % MODES.len()];
    let promised = BTreeMap::new();
    let mut scene = Scene { settings, leases: Leases::default(), now: BEGIN, promised };
    for (note, packet) in packets::read(bytes) {
        let seconds = [0, 5, 70, 600, 4000, 90_000, 0, 0][usize::from(note >> 5)];
        scene.now = UnixTime(scene.now.0 + seconds * 1000);
        scene.hear(note, packet);
        scene.check_leases();
    }
}

impl Scene {
    fn hear(&mut self, note: u8, packet: &[u8]) {
        let Ok(message) = Message::parse(packet) else { return };
        let (source, port) = match note & 3 {
            0 | 1 => (SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT), SERVER_PORT),
            2 => (SocketAddrV4::new(RELAY, SERVER_PORT), SERVER_PORT),
            _ => (SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 100), PROXY_PORT), PROXY_PORT),
        };
        let is_request = message.op == Operation::Request;
        let Ok(caller) = Caller::recognise(message, source, port) else { return };
        assert!(is_request, "a reply was taken for a request");
        let course = match note >> 2 & 7 {
            0 => Course::OutOfLoop,
            1 => Course::Decided(Boot::OwnDisk),
            2 => Course::Decided(Boot::Silence(Silence::Ignored)),
            3 => Course::Decided(Boot::System(System::Hercules)),
            _ => Course::Decided(Boot::System(System::Sunshine)),
        };
        let _told = serde_json::to_string(&request_entry(&caller, "lab", self.now))
            .expect("an entry is JSON");
        let response = respond(&caller, self.settings, &mut self.leases, &course, self.now);
        self.check_response(&caller, &response);
    }

    fn check_response(&mut self, caller: &Caller, response: &Response) {
        if response.silence.is_some() {
            let Response { reply, store, probe, .. } = response;
            assert!(reply.is_none() && store.is_none() && probe.is_none(), "{response:?}");
        }
        if let Some((address, lease)) = response.store {
            assert_eq!((lease.mac, self.leases.get(address)), (caller.mac(), Some(&lease)));
            if matches!(caller.kind, MessageType::Release | MessageType::Decline) {
                self.promised.remove(&address);
            }
        }
        if let Some(probe) = response.probe {
            assert_eq!(response.reply.as_ref().map(|reply| reply.message.yiaddr), Some(probe));
        }
        if let Some(reply) = &response.reply {
            let read = check_reply(caller, self.settings, reply);
            let _told = serde_json::to_string(&reply_entry(caller, reply, self.now))
                .expect("an entry is JSON");
            self.check_destination(caller, reply);
            self.check_lending(caller, &read);
        }
    }

    /// An answer goes to the relay, to one machine of ours, to whom asked on 4011, or to all clients of the interface.
    fn check_destination(&self, caller: &Caller, reply: &Reply) {
        let (address, port) = (*reply.destination.ip(), reply.destination.port());
        let is_a_machine = !matches!(address.octets()[0], 0 | 127 | 224..);
        let known = match (caller.relay(), caller.port) {
            (Some(relay), _) => is_a_machine && (address, port) == (relay, SERVER_PORT),
            (None, PROXY_PORT) => reply.destination == caller.source,
            (None, _) if address.is_broadcast() => port == CLIENT_PORT,
            (None, _) => port == CLIENT_PORT && self.subnet(address).is_some(),
        };
        assert!(known, "{} for {caller:?}", reply.destination);
    }

    /// Checks what a reply, as its client reads it, says of addresses.
    fn check_lending(&mut self, caller: &Caller, read: &Message) {
        let kind = read.options.message_type();
        let seconds = read.options.seconds(code::LEASE_TIME);
        let address = read.yiaddr;
        if self.settings.subnets().is_empty() || address.is_unspecified() {
            assert!(
                address.is_unspecified() && seconds.is_none(),
                "an address from nowhere: {read:?}"
            );
            let lends = matches!(caller.kind, MessageType::Discover | MessageType::Request)
                && caller.port == SERVER_PORT
                && kind != Some(MessageType::Nak);
            assert!(self.settings.subnets().is_empty() || !lends, "no address: {read:?}");
            return;
        }
        let subnet = self.subnet(address).expect("an address of ours");
        assert!(subnet.lends(address), "{address}");
        assert_eq!(read.options.address(code::SUBNET_MASK), Some(subnet.mask()));
        let lease = *self.leases.get(address).expect("it is held");
        assert_eq!(lease.mac, caller.mac());
        if let Some((owner, until)) = self.promised.get(&address) {
            let is_free = *until <= self.now || *owner == caller.mac();
            assert!(is_free, "{address} is {owner}'s, and {} has it", caller.mac());
        }
        if kind == Some(MessageType::Ack) {
            let seconds = i64::from(seconds.expect("a lease has an end"));
            let until = UnixTime(self.now.0 + seconds * 1000);
            assert!(lease.state == State::Leased && lease.until >= until, "{lease:?}");
            self.promised.insert(address, (caller.mac(), until));
        }
    }

    fn subnet(&self, address: Ipv4Addr) -> Option<&'static Subnet> {
        self.settings.subnets().iter().find(|subnet| subnet.contains(address))
    }

    /// One address for each port in each subnet, and only addresses that are lent.
    fn check_leases(&self) {
        let mut seen = BTreeSet::new();
        let mut count = 0;
        for (number, subnet) in self.settings.subnets().iter().enumerate() {
            let first = subnet.range_start().to_bits();
            for address in (first..first + subnet.pool_size()).map(Ipv4Addr::from_bits) {
                let Some(lease) = self.leases.get(address) else { continue };
                count += 1;
                let is_the_only =
                    lease.state == State::Quarantined || seen.insert((number, lease.mac));
                assert!(is_the_only, "{} has two addresses", lease.mac);
            }
        }
        assert_eq!(self.leases.count(), count, "addresses that are not ours");
    }
}

/// Checks a reply, and returns it as its client reads it.
fn check_reply(caller: &Caller, settings: &Settings, reply: &Reply) -> Message {
    let read = Message::parse(&reply.payload).expect("an answer that can be read");
    let request = &caller.message;
    assert!(reply.payload.len() + HEADERS_BYTES <= usize::from(request.limit()), "too long");
    assert!(reply.payload.len() >= 300, "too short");
    assert_eq!(
        (read.op, read.xid, read.chaddr, read.giaddr),
        (Operation::Reply, request.xid, request.chaddr, request.giaddr)
    );
    assert_eq!(read.options.address(code::SERVER_IDENTIFIER), Some(SERVER));
    let kind = read.options.message_type();
    match caller.kind {
        MessageType::Discover => assert_eq!(kind, Some(MessageType::Offer)),
        MessageType::Inform => assert_eq!(kind, Some(MessageType::Ack)),
        MessageType::Request => {
            assert!(matches!(kind, Some(MessageType::Ack | MessageType::Nak)));
            assert_eq!(
                caller.chosen_server().unwrap_or(SERVER),
                SERVER,
                "another server was meant"
            );
        }
        silent => panic!("an answer to {silent:?}"),
    }
    let is_agent = caller.family == ClientFamily::Agent;
    if settings.subnets().is_empty() {
        assert_ne!(kind, Some(MessageType::Nak), "the router's business");
        // An agent hears where its server is, and no more.
        let is_for_us = caller.is_network_boot() || is_agent && kind == Some(MessageType::Offer);
        assert!(is_for_us && read.yiaddr.is_unspecified(), "the router's business");
    }
    assert!(is_agent || !read.options.contains(code::DRYDOCK_SERVER), "nobody else's business");
    check_boot(caller, &read);
    read
}

/// A boot file is named to whom asks for one, and it is one of ours.
fn check_boot(caller: &Caller, read: &Message) {
    let Some(file) = read.boot_file() else { return };
    assert!(caller.is_network_boot(), "{file}");
    let path = file.strip_prefix("http://10.77.0.1:7480/").unwrap_or(&file);
    let name = path.strip_prefix(&format!("boot/{}/", caller.mac().hyphenated()));
    let known = ["undionly.kpxe", "snponly.efi", "ipxe-arm64.efi", "boot.ipxe", "own-disk"];
    assert!(name.is_some_and(|name| known.contains(&name)), "{file}");
}

/// The way of each kind of client to an address and a boot file, in each mode; a relay; a pool that runs out; nonsense.
pub fn seeds() -> Vec<Vec<u8>> {
    const SUNSHINE: u8 = 4 << 2;
    const LATER: u8 = 5 << 5;
    let input =
        |mode: u8, packets: Vec<(u8, Vec<u8>)>| [vec![mode], packets::write(packets)].concat();
    let again = |packet: &[u8], kind: MessageType, change: &dyn Fn(&mut Message)| {
        let mut message = Message::parse(packet).expect("our samples are sound");
        message.options.set_message_type(kind);
        change(&mut message);
        message.encode(1500)
    };
    // Where an empty table puts the machine of the samples.
    let address = first_address();
    let select = |message: &mut Message| {
        message.options.set_address(code::REQUESTED_ADDRESS, address);
        message.options.set_address(code::SERVER_IDENTIFIER, SERVER);
    };
    let mut seeds = Vec::new();
    for discover in scene::requests() {
        let request = again(&discover, MessageType::Request, &select);
        let other = again(&discover, MessageType::Request, &|message| {
            message.options.set_address(code::SERVER_IDENTIFIER, ROUTER);
        });
        let renewal = again(&discover, MessageType::Request, &|message| message.ciaddr = address);
        for mode in 0..3 {
            let packets = [&discover, &request, &other, &renewal];
            seeds.push(input(mode, packets.map(|packet| (SUNSHINE, packet.clone())).to_vec()));
        }
        seeds.push(input(
            1,
            vec![(SUNSHINE | 3, renewal), (1 << 2, discover.clone()), (2 << 2, discover)],
        ));
    }
    let discover = &scene::requests()[0];
    let relayed = again(discover, MessageType::Discover, &|message| {
        message.giaddr = RELAY;
        message.options.set(code::RELAY_INFORMATION, [1, 2, b'a', b'b', 5, 4, 10, 78, 0, 0]);
    });
    seeds.push(input(0, vec![(SUNSHINE | 2, relayed)]));
    let others = (0..5_u8).map(|number| {
        let other = again(discover, MessageType::Request, &|message| {
            message.chaddr.0[5] = number;
            let address = Ipv4Addr::new(10, 77, 0, 100 + number % 3);
            message.options.set_address(code::REQUESTED_ADDRESS, address);
        });
        (if number == 3 { SUNSHINE | LATER } else { SUNSHINE }, other)
    });
    seeds.push(input(0, others.collect()));
    let request = again(discover, MessageType::Request, &select);
    let release = again(discover, MessageType::Release, &|message| message.ciaddr = address);
    let decline = again(discover, MessageType::Decline, &select);
    let inform = again(discover, MessageType::Inform, &|message| message.ciaddr = address);
    let packets = [request.clone(), inform, release, request, decline, discover.clone()];
    seeds.push(input(0, packets.map(|packet| (SUNSHINE, packet)).to_vec()));
    let mut reply = discover.clone();
    reply[0] = 2;
    let offer = again(discover, MessageType::Offer, &|_| {});
    let mut without_cookie = discover.clone();
    without_cookie[236] = 0;
    seeds.push(input(0, vec![(SUNSHINE, reply), (SUNSHINE, offer), (SUNSHINE, without_cookie)]));
    // Addresses whose answer would go to a group, to itself, or to somebody elsewhere.
    for (mode, kind) in [(0, MessageType::Inform), (1, MessageType::Discover)] {
        let nobodies =
            [[255; 4], [224, 0, 0, 1], [127, 0, 0, 1], [192, 0, 2, 7]].map(Ipv4Addr::from);
        let from = nobodies.map(|nobody| again(discover, kind, &|message| message.ciaddr = nobody));
        let by = nobodies.map(|nobody| again(discover, kind, &|message| message.giaddr = nobody));
        let packets = from.into_iter().chain(by).map(|packet| (SUNSHINE, packet));
        seeds.push(input(mode, packets.collect()));
    }
    seeds
}

/// Asks an empty table.
fn first_address() -> Ipv4Addr {
    let subnet = &MODES[0].subnets()[0];
    let offer = Leases::default().offer(scene::MAC, None, subnet, BEGIN);
    offer.expect("an empty table has room").address
}
