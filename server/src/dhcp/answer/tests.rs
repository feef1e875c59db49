//! Packets in, packets out: every family in every mode, and every silence.

use dhcp::Operation;
use protocol::MacAddress;

use super::*;
use crate::{
    decision::{Boot, System},
    dhcp::{
        caller::PROXY_PORT,
        lease::State,
        settings::{ModeAsWritten, SubnetAsWritten, tests::check, tests::written},
    },
};

mod lending;
mod raspberry;
mod unified;

const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const UUID: &str = "11223344-5566-7788-99aa-bbccddeeff00";
const NOW: UnixTime = UnixTime(1_800_000_000_000);

/// A server with an empty table.
struct Server {
    settings: Settings,
    leases: Leases,
    course: Course,
    now: UnixTime,
}

impl Server {
    fn new(mode: ModeAsWritten) -> Self {
        Self {
            settings: check(mode).unwrap(),
            leases: Leases::default(),
            course: Course::Decided(Boot::System(System::Sunshine)),
            now: NOW,
        }
    }

    fn authoritative() -> Self {
        Self::new(ModeAsWritten::Authoritative { subnets: vec![written()], force: false })
    }

    fn proxy() -> Self {
        Self::new(ModeAsWritten::Proxy)
    }

    fn booting(mut self, course: Course) -> Self {
        self.course = course;
        self
    }

    fn ask(&mut self, caller: &Caller) -> Response {
        // As the wire has it: nothing may depend on what encoding loses.
        let message = Message::parse(&caller.message.encode(1500)).unwrap();
        let caller = Caller::recognise(message, caller.source, caller.port).unwrap();
        respond(&caller, &self.settings, &mut self.leases, &self.course, self.now)
    }

    fn reply(&mut self, caller: &Caller) -> Reply {
        let response = self.ask(caller);
        assert_eq!(response.silence, None);
        let reply = response.reply.expect("an answer");
        assert_eq!(reply.payload, reply.message.encode(1500), "nothing was left out");
        assert!(reply.payload.len() >= 300);
        reply
    }

    fn silence(&mut self, caller: &Caller) -> Silence {
        let response = self.ask(caller);
        assert_eq!(response.reply, None);
        response.silence.expect("a silence")
    }

    /// Takes a client through DISCOVER and REQUEST.
    fn lend(&mut self, client: &dyn Fn(MessageType) -> Caller) -> Ipv4Addr {
        let offer = self.reply(&client(MessageType::Discover)).message;
        let ack = self.reply(&selecting(client(MessageType::Request), offer.yiaddr)).message;
        assert_eq!(ack.options.message_type(), Some(MessageType::Ack));
        assert_eq!(ack.yiaddr, offer.yiaddr);
        ack.yiaddr
    }
}

fn caller(kind: MessageType, change: impl FnOnce(&mut Message)) -> Caller {
    let mut message = Message::request(MAC, 0xdead_beef);
    message.options.set_message_type(kind);
    change(&mut message);
    let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT);
    Caller::recognise(message, source, SERVER_PORT).unwrap()
}

fn firmware(kind: MessageType, class: &str, architecture: u16) -> Caller {
    caller(kind, |message| {
        message.set_broadcast();
        message.options.set_text(code::VENDOR_CLASS, class);
        message.options.set_architectures(&[architecture]);
        message.options.set_uuid(UUID);
    })
}

fn bios(kind: MessageType) -> Caller {
    firmware(kind, "PXEClient:Arch:00000:UNDI:002001", 0)
}

fn uefi(kind: MessageType) -> Caller {
    firmware(kind, "PXEClient:Arch:00007:UNDI:003000", 7)
}

fn http(kind: MessageType) -> Caller {
    firmware(kind, "HTTPClient:Arch:00016:UNDI:003000", 16)
}

fn ipxe(kind: MessageType) -> Caller {
    caller(kind, |message| {
        message.options.set_text(code::VENDOR_CLASS, "PXEClient:Arch:00007:UNDI:003010");
        message.options.set_architectures(&[7]);
        message.options.set_text(code::USER_CLASS, "iPXE");
        message.options.set(code::CLIENT_IDENTIFIER, [1, 0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    })
}

fn agent(kind: MessageType) -> Caller {
    caller(kind, |message| message.options.set_text(code::VENDOR_CLASS, "drydock-agent"))
}

fn telephone(kind: MessageType) -> Caller {
    caller(kind, |message| message.options.set_text(code::VENDOR_CLASS, "android-dhcp-14"))
}

fn selecting(mut caller: Caller, address: Ipv4Addr) -> Caller {
    caller.message.options.set_address(code::SERVER_IDENTIFIER, SERVER);
    caller.message.options.set_address(code::REQUESTED_ADDRESS, address);
    caller
}

fn of(mut caller: Caller, last: u8) -> Caller {
    caller.message.chaddr.0[5] = last;
    caller
}

fn relayed(mut caller: Caller, relay: Ipv4Addr) -> Caller {
    caller.message.giaddr = relay;
    caller.source = SocketAddrV4::new(relay, SERVER_PORT);
    caller
}

/// The question on port 4011, as OVMF asks it: from its leased address and from port 4011.
fn on_4011(mut caller: Caller) -> Caller {
    caller.message.ciaddr = Ipv4Addr::new(10, 77, 0, 42);
    caller.message.flags = 0;
    caller.source = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 42), PROXY_PORT);
    caller.port = PROXY_PORT;
    caller
}

fn broadcast() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT)
}

/// Shows a reply as lines, for golden tests.
fn shown(reply: &Reply) -> String {
    let Reply { message, destination, port, .. } = reply;
    assert_eq!(message.op, Operation::Reply);
    let mut lines = vec![
        format!("from :{port} to {destination} xid {:x} flags {:x}", message.xid, message.flags),
        format!(
            "yiaddr {} siaddr {} file {:?}",
            message.yiaddr,
            message.siaddr,
            String::from_utf8_lossy(&message.file)
        ),
    ];
    for (code, value) in message.options.iter() {
        let text = match code {
            53 => message.options.message_type().map_or("?", MessageType::name).to_owned(),
            1 | 28 | 54 => message.options.address(code).unwrap().to_string(),
            3 | 6 => format!("{:?}", message.options.addresses(code)),
            51 | 58 | 59 => message.options.seconds(code).unwrap().to_string(),
            15 | 56 | 60 | 66 | 67 | 224 => format!("{:?}", std::str::from_utf8(value).unwrap()),
            97 => message.options.uuid().unwrap_or_default(),
            _ => format!("{value:02x?}"),
        };
        lines.push(format!("{code}: {text}"));
    }
    lines.join("\n")
}

#[test]
fn proxy_offers_name_the_boot_file_as_each_family_reads_it() {
    let golden: [(&str, Caller); 4] = [
        ("bios", bios(MessageType::Discover)),
        ("uefi", uefi(MessageType::Discover)),
        ("http", http(MessageType::Discover)),
        ("ipxe", ipxe(MessageType::Discover)),
    ];
    for (name, caller) in golden {
        insta::assert_snapshot!(format!("proxy_{name}"), shown(&Server::proxy().reply(&caller)));
    }
}

#[test]
fn authoritative_offers_lend_an_address_and_name_the_boot_file() {
    let golden: [(&str, Caller); 6] = [
        ("bios", bios(MessageType::Discover)),
        ("uefi", uefi(MessageType::Discover)),
        ("http", http(MessageType::Discover)),
        ("ipxe", ipxe(MessageType::Discover)),
        ("agent", agent(MessageType::Discover)),
        ("telephone", telephone(MessageType::Discover)),
    ];
    for (name, caller) in golden {
        let reply = Server::authoritative().reply(&caller);
        insta::assert_snapshot!(format!("authoritative_{name}"), shown(&reply));
    }
}

#[test]
fn port_4011_is_answered_to_the_asker_in_both_modes() {
    for mut server in [Server::proxy(), Server::authoritative()] {
        let response = server.ask(&on_4011(uefi(MessageType::Request)));
        assert_eq!(response.has_address, Some(Ipv4Addr::new(10, 77, 0, 42)));
        insta::assert_snapshot!("on_4011", shown(&response.reply.unwrap()));
    }
}

#[test]
fn own_disk_is_a_file_that_is_not_there() {
    let file = |server: Server, caller| {
        let course = Course::Decided(Boot::OwnDisk);
        server.booting(course).reply(&caller).message.boot_file().unwrap()
    };
    let own_disk = "boot/52-54-00-12-34-56/own-disk";
    for kind in [bios, uefi] {
        assert_eq!(file(Server::proxy(), kind(MessageType::Discover)), own_disk);
        assert_eq!(file(Server::authoritative(), kind(MessageType::Discover)), own_disk);
    }
    assert_eq!(
        file(Server::proxy(), http(MessageType::Discover)),
        format!("http://10.77.0.1:7480/{own_disk}")
    );
    assert_eq!(
        file(Server::proxy(), ipxe(MessageType::Discover)),
        "http://10.77.0.1:7480/boot/52-54-00-12-34-56/boot.ipxe",
        "iPXE leaves by a script"
    );
}

#[test]
fn out_of_a_loop_leads_no_script() {
    let mut server = Server::proxy().booting(Course::OutOfLoop);
    assert_eq!(
        server.reply(&ipxe(MessageType::Discover)).message.boot_file().unwrap(),
        "http://10.77.0.1:7480/boot/52-54-00-12-34-56/own-disk"
    );
    let uefi = server.reply(&uefi(MessageType::Discover)).message.boot_file();
    assert_eq!(uefi.as_deref(), Some("boot/52-54-00-12-34-56/own-disk"));
}

#[test]
fn what_was_decided_to_be_silence_is_silence() {
    let course = Course::Decided(Boot::Silence(Silence::Ignored));
    for server in [Server::proxy(), Server::authoritative()] {
        let mut server = server.booting(course.clone());
        assert_eq!(server.silence(&uefi(MessageType::Discover)), Silence::Ignored);
        assert_eq!(server.leases.count(), 0, "no address is kept");
        assert_eq!(server.silence(&on_4011(uefi(MessageType::Request))), Silence::Ignored);
    }
    // What does not boot from the network is not a question of booting.
    let mut server = Server::authoritative().booting(course);
    server.reply(&telephone(MessageType::Discover));
}

#[test]
fn proxy_leaves_to_the_router_what_is_the_routers() {
    let mut server = Server::proxy();
    for caller in [telephone(MessageType::Discover), agent(MessageType::Request)] {
        assert_eq!(server.silence(&caller), Silence::NotNetworkBoot);
    }
    let router = Ipv4Addr::new(10, 77, 0, 254);
    let mut request = uefi(MessageType::Request);
    request.message.options.set_address(code::SERVER_IDENTIFIER, router);
    assert_eq!(server.silence(&request), Silence::OtherServer { server: router });
    assert_eq!(server.silence(&uefi(MessageType::Request)), Silence::NotNetworkBoot);
    let release = server.ask(&uefi(MessageType::Release));
    assert_eq!(release, Response::default());
}

#[test]
fn off_is_silence() {
    let mut server = Server::new(ModeAsWritten::Off);
    assert_eq!(server.silence(&uefi(MessageType::Discover)), Silence::Off);
}

#[test]
fn architectures_have_their_programs() {
    let file = |architectures: &[u16]| {
        let mut caller = uefi(MessageType::Discover);
        caller.message.options.set_architectures(architectures);
        let reply = Server::proxy().ask(&caller);
        reply.reply.map(|reply| reply.message.boot_file().unwrap()).ok_or(reply.silence)
    };
    for (architectures, program) in [
        (&[0][..], "undionly.kpxe"),
        (&[7], "snponly.efi"),
        (&[8], "snponly.efi"),
        (&[9], "snponly.efi"),
        (&[11], "ipxe-arm64.efi"),
        (&[6, 7], "snponly.efi"),
    ] {
        let path = format!("boot/52-54-00-12-34-56/{program}");
        assert_eq!(file(architectures), Ok(path), "{architectures:?}");
    }
    for architecture in [2, 6, 10, 12, 21, 31] {
        let silence = Silence::UnknownArchitecture { architecture };
        assert_eq!(file(&[architecture]), Err(Some(silence)));
    }
}

#[test]
fn a_rom_that_does_not_say_its_architecture_is_read_by_its_class() {
    let mut caller = firmware(MessageType::Discover, "PXEClient:Arch:00007:UNDI:003000", 0);
    caller.message.options.remove(code::ARCHITECTURES);
    let reply = Server::proxy().reply(&caller);
    assert_eq!(reply.message.boot_file().unwrap(), "boot/52-54-00-12-34-56/snponly.efi");
    let mut caller = firmware(MessageType::Discover, "PXEClient", 0);
    caller.message.options.remove(code::ARCHITECTURES);
    let reply = Server::proxy().reply(&caller);
    assert_eq!(reply.message.boot_file().unwrap(), "boot/52-54-00-12-34-56/undionly.kpxe");
}

#[test]
fn a_small_client_gets_what_matters_within_its_limit() {
    let mut caller = uefi(MessageType::Discover);
    caller.message.options.set_maximum_size(576);
    caller.message.options.set(code::RELAY_INFORMATION, vec![1; 150]);
    let reply = Server::authoritative().reply_raw(&caller);
    assert!(reply.payload.len() + 28 <= 576);
    let wire = Message::parse(&reply.payload).unwrap();
    for code in [53, 54, 51, 1, 60, 43, 67, 82] {
        assert!(wire.options.contains(code), "{code}");
    }
}

impl Server {
    /// The reply, which may lack on the wire what did not fit.
    fn reply_raw(&mut self, caller: &Caller) -> Reply {
        self.ask(caller).reply.expect("an answer")
    }
}

#[test]
fn requests_that_make_no_sense_are_said_to() {
    let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT);
    let problem = |message: Message| match Caller::recognise(message, source, SERVER_PORT) {
        Err(Silence::Malformed { problem }) => problem,
        other => panic!("{other:?}"),
    };
    assert_eq!(problem(Message::request(MAC, 1)), "no message type: plain BOOTP");
    let mut offer = Message::request(MAC, 1);
    offer.options.set_message_type(MessageType::Offer);
    assert_eq!(problem(offer.clone()), "a server's message from a client");
    assert_eq!(problem(offer.reply()), "a reply where a request belongs");
    for nobody in [[255; 4], [224, 0, 0, 1], [127, 0, 0, 1], [0, 0, 0, 7], [240, 0, 0, 1]] {
        let nobody = Ipv4Addr::from(nobody);
        let mut relayed = uefi(MessageType::Discover).message;
        relayed.giaddr = nobody;
        assert_eq!(problem(relayed), format!("relayed by {nobody}, which no relay can have"));
        let mut renewing = uefi(MessageType::Request).message;
        renewing.ciaddr = nobody;
        assert_eq!(problem(renewing), format!("from {nobody}, which no client can have"));
    }
    assert_eq!(
        Server::authoritative().silence(&telephone(MessageType::Request)),
        Silence::Malformed { problem: "a REQUEST without an address".to_owned() }
    );
}

#[test]
fn entries_tell_the_story() {
    let caller = on_4011(uefi(MessageType::Request));
    let entry = request_entry(&caller, "eth0", NOW);
    assert_eq!(entry.mac, Some(MAC));
    assert_eq!(entry.address, Some(Ipv4Addr::new(10, 77, 0, 42)));
    assert_eq!(
        entry.what,
        What::DhcpRequest {
            message: "REQUEST".to_owned(),
            family: ClientFamily::UefiPxe,
            architecture: Some(7),
            port: 4011,
            chosen_server: None,
            interface: Some("eth0".to_owned()),
        }
    );
    let reply = Server::proxy().reply(&caller);
    assert_eq!(
        reply_entry(&caller, &reply, NOW).what,
        What::DhcpReply {
            message: "ACK".to_owned(),
            address: None,
            file: Some("boot/52-54-00-12-34-56/snponly.efi".to_owned()),
        }
    );
}

#[test]
fn options_of_an_unknown_kind_do_no_harm() {
    let mut caller = uefi(MessageType::Discover);
    caller.message.options.set(code::PARAMETER_REQUEST_LIST, [1, 3, 0xeb, 67]);
    caller.message.options.set(code::MACHINE_UUID, [7, 7]);
    caller.message.options.set(code::VENDOR_INFORMATION, [71, 200]);
    caller.message.options.set(224, [9; 9]);
    let reply = Server::proxy().reply(&caller);
    assert_eq!(reply.message.options.get(code::MACHINE_UUID), Some(&[7, 7][..]), "echoed");
}
