//! DHCP and multicast DNS on real sockets in a network namespace, beside a real dnsmasq and with real clients.
#![expect(clippy::disallowed_methods, reason = "tests start dnsmasq and wait for conditions")]
#![expect(clippy::print_stderr, reason = "figures, and what was skipped")]

#[path = "dhcp/announce.rs"]
mod announce;
#[path = "dhcp/network.rs"]
mod network;

use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    time::{Duration, Instant},
};

use dhcp::{MessageType, code};
use drydock::{
    dhcp::{BindError, ModeAsWritten},
    journal::{Silence, Unserved, What},
};
use network::{Client, ROUTER, SERVER, Server, authoritative, inside, ip, until};
use nix::sys::signal::{Signal, kill};
use protocol::MacAddress;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn a_lease_survives_a_restart_and_its_acknowledgement_is_quick() {
    inside("a_lease_survives_a_restart_and_its_acknowledgement_is_quick", |network| {
        let server = Server::start(authoritative(false), network.directory.path());
        let mut client = Client::new(1);
        let address = client.obtain();
        assert_eq!(server.handle.address_of(client.mac), Some(address));
        let mut acknowledged = Vec::new();
        for last in 2..=100 {
            let mut other = Client::new(last);
            let mut request = other.message(MessageType::Request);
            request
                .options
                .set_address(code::REQUESTED_ADDRESS, Ipv4Addr::new(10, 77, 0, 99 + last));
            let start = Instant::now();
            let reply = other.ask(&request);
            acknowledged.push(start.elapsed());
            if reply.message.yiaddr != address {
                assert_eq!(reply.source, SocketAddrV4::new(SERVER, 67));
                assert_eq!(reply.destination, SocketAddrV4::new(Ipv4Addr::BROADCAST, 68));
            }
        }
        eprintln!("durable ACK: median {:?}", median(acknowledged));
        server.stop();
        let server = Server::start(authoritative(false), network.directory.path());
        assert_eq!(server.handle.address_of(client.mac), Some(address));
        assert_eq!(client.obtain(), address);
        server.stop();
    });
}

#[test]
fn an_address_that_somebody_uses_is_not_offered() {
    inside("an_address_that_somebody_uses_is_not_offered", |network| {
        let squatter = network.host("q");
        let used = Ipv4Addr::new(10, 77, 0, 150);
        squatter.run("ip", &format!("address add {used}/24 dev q0"));
        let server = Server::start(authoritative(false), network.directory.path());
        let mut client = Client::new(1);
        let mut discover = client.message(MessageType::Discover);
        discover.options.set_address(code::REQUESTED_ADDRESS, used);
        let offer = client.ask(&discover).message;
        assert_ne!(offer.yiaddr, used);
        assert_ne!(offer.yiaddr, Ipv4Addr::UNSPECIFIED);
        // Nor to the next one, though nobody answers for it any more.
        squatter.run("ip", &format!("address del {used}/24 dev q0"));
        let mut other = Client::new(2);
        let mut discover = other.message(MessageType::Discover);
        discover.options.set_address(code::REQUESTED_ADDRESS, used);
        assert_ne!(other.ask(&discover).message.yiaddr, used);
        server.stop();
    });
}

#[test]
fn authoritative_refuses_to_start_beside_another_server() {
    inside("authoritative_refuses_to_start_beside_another_server", |network| {
        network.router();
        wait_for_router();
        let refused = Server::try_start(authoritative(false), network.directory.path());
        match refused {
            Err(BindError::AnotherServer { server, .. }) => assert_eq!(server, ROUTER),
            other => panic!("{other:?}"),
        }
        let server = Server::start(authoritative(true), network.directory.path());
        let mut client = Client::new(1);
        let discover = client.message(MessageType::Discover);
        client.send(&discover);
        let replies = client.replies(&discover, Duration::from_secs(1));
        assert!(replies.iter().any(|reply| *reply.source.ip() == SERVER), "forced: {replies:?}");
        server.stop();
    });
}

#[test]
fn another_server_that_appears_suspends_service() {
    inside("another_server_that_appears_suspends_service", |network| {
        let server = Server::start(authoritative(false), network.directory.path());
        let mut client = Client::new(1);
        client.obtain();
        network.router();
        wait_for_router();
        let seen = server.waits_for("the foreign offer", |what| {
            matches!(what, What::ForeignOffer { server: ROUTER, has_server_identifier: true, .. })
        });
        assert!(seen.mac.is_some());
        let discover = client.message(MessageType::Discover);
        client.send(&discover);
        server.waits_for("the silence", |what| {
            *what == What::DhcpSilence(Silence::Suspended { server: ROUTER })
        });
        let replies = client.replies(&discover, Duration::from_secs(1));
        assert!(replies.iter().all(|reply| *reply.source.ip() == ROUTER));
        server.stop();
    });
}

#[test]
fn a_client_that_names_another_server_has_it_looked_for_and_alone_stops_nobody() {
    inside(
        "a_client_that_names_another_server_has_it_looked_for_and_alone_stops_nobody",
        |network| {
            let server = Server::start(authoritative(false), network.directory.path());
            let mut liar = Client::new(1);
            let nobody = Ipv4Addr::new(10, 77, 0, 8);
            let names_nobody = |liar: &mut Client| {
                let mut request = liar.message(MessageType::Request);
                request.options.set_address(code::REQUESTED_ADDRESS, Ipv4Addr::new(10, 77, 0, 55));
                request.options.set_address(code::SERVER_IDENTIFIER, nobody);
                request
            };
            let lie = names_nobody(&mut liar);
            liar.send(&lie);
            server.waits_for("the silence", |what| {
                *what == What::DhcpSilence(Silence::OtherServer { server: nobody })
            });
            // Longer than the search takes: others are served during it and after it.
            let start = Instant::now();
            let mut last = 2;
            while start.elapsed() < Duration::from_secs(6) {
                Client::new(last).obtain();
                last += 1;
                std::thread::sleep(Duration::from_millis(500));
            }
            server.stop();

            // A server that is there and says nothing to others is found by its answer to that search.
            let server = Server::start(authoritative(false), network.directory.path());
            network.quiet_router(liar.mac);
            std::thread::sleep(Duration::from_secs(2));
            let lie = names_nobody(&mut liar);
            liar.send(&lie);
            server.waits_for("the router's own word", |what| {
                matches!(what, What::ForeignOffer { server: ROUTER, .. })
            });
            let mut client = Client::new(1);
            let discover = client.message(MessageType::Discover);
            client.send(&discover);
            server.waits_for("the silence", |what| {
                *what == What::DhcpSilence(Silence::Suspended { server: ROUTER })
            });
            server.stop();
        },
    );
}

#[test]
fn a_pulled_cable_suspends_service_until_nobody_else_answers() {
    inside("a_pulled_cable_suspends_service_until_nobody_else_answers", |network| {
        let server = Server::start(authoritative(false), network.directory.path());
        let mut client = Client::new(1);
        let address = client.obtain();
        ip("link set s1 down");
        ip("link set s1 up");
        let unknown = Ipv4Addr::UNSPECIFIED;
        let mut suspended = false;
        let start = Instant::now();
        loop {
            let mut other = Client::new(1);
            let discover = other.message(MessageType::Discover);
            other.send(&discover);
            let entry = server.waits_for("an answer or a silence", |what| {
                matches!(what, What::DhcpReply { .. } | What::DhcpSilence(_))
            });
            match entry.what {
                What::DhcpSilence(Silence::Suspended { server }) if server == unknown => {
                    suspended = true;
                }
                What::DhcpSilence(Silence::RateLimited) => {}
                _ if suspended => break,
                _ => {}
            }
            assert!(start.elapsed() < Duration::from_secs(20), "goes on after the probe");
            std::thread::sleep(Duration::from_millis(700));
        }
        assert!(start.elapsed() > Duration::from_secs(4), "not before the probe has passed");
        assert_eq!(client.obtain(), address);
        server.stop();
    });
}

#[test]
fn proxy_answers_beside_a_router_and_on_4011() {
    inside("proxy_answers_beside_a_router_and_on_4011", |network| {
        network.router();
        let server = Server::start(ModeAsWritten::Proxy, network.directory.path());
        wait_for_router();
        let mut client = Client::new(1);
        let discover = client.uefi(MessageType::Discover);
        client.send(&discover);
        // dnsmasq pings an address for 3 s before it offers it.
        let replies = client.replies(&discover, Duration::from_secs(4));
        let from = |address| replies.iter().find(|reply| *reply.source.ip() == address);
        let lent = from(ROUTER).expect("the router's offer").message.yiaddr;
        let ours = from(SERVER).expect("our offer");
        assert_eq!(ours.message.yiaddr, Ipv4Addr::UNSPECIFIED);
        let file = Some("boot/52-54-00-77-00-01/snponly.efi");
        assert_eq!(ours.message.boot_file().as_deref(), file);
        server.waits_for("the router's offer in the journal", |what| {
            matches!(what, What::ForeignOffer { server: ROUTER, .. })
        });

        // As firmware that has its address: from its own port 4011.
        let machine = network.host("m");
        machine.run("ip", &format!("address add {lent}/24 dev m0"));
        let mut question = client.uefi(MessageType::Request);
        question.flags = 0;
        question.ciaddr = lent;
        let frame = unicast_to_4011(&client, lent, &question.encode(1500));
        ip(&format!("neighbor replace {lent} lladdr {} dev s0", client.mac));
        client.send_frame(&frame);
        let answers = client.replies(&question, Duration::from_secs(1));
        let [answer] = &answers[..] else { panic!("one answer: {answers:?}") };
        assert_eq!(answer.source, SocketAddrV4::new(SERVER, 4011));
        assert_eq!(answer.destination, SocketAddrV4::new(lent, 4011));
        assert_eq!(answer.message.options.message_type(), Some(MessageType::Ack));
        assert_eq!(answer.message.boot_file().as_deref(), file);

        // A telephone is the router's business.
        let mut telephone = Client::new(9);
        let discover = telephone.message(MessageType::Discover);
        telephone.send(&discover);
        let replies = telephone.replies(&discover, Duration::from_secs(4));
        assert!(!replies.is_empty() && replies.iter().all(|reply| *reply.source.ip() == ROUTER));
        let mut answered = Vec::new();
        for last in 20..120 {
            let mut machine = Client::new(last);
            let discover = machine.uefi(MessageType::Discover);
            let start = Instant::now();
            machine.ask(&discover);
            answered.push(start.elapsed());
        }
        eprintln!("proxy OFFER: median {:?}", median(answered));
        server.stop();
    });
}

#[test]
fn off_listens_and_says_nothing() {
    inside("off_listens_and_says_nothing", |network| {
        let server = Server::start(ModeAsWritten::Off, network.directory.path());
        // Another program can have the ports.
        let _port = UdpSocket::bind("0.0.0.0:67").expect("port 67 is free");
        let mut client = Client::new(1);
        let discover = client.uefi(MessageType::Discover);
        client.send(&discover);
        let entry = server.waits_for("a silence", |what| *what == What::DhcpSilence(Silence::Off));
        assert_eq!(entry.mac, Some(client.mac));
        assert!(client.replies(&discover, Duration::from_millis(500)).is_empty());
        server.stop();
    });
}

/// A Raspberry Pi's boot loader says what it is when it asks for offers, and no more when it chooses one.
#[test]
fn a_raspberry_pi_is_known_until_it_has_its_lease_and_is_told_why_not() {
    inside("a_raspberry_pi_is_known_until_it_has_its_lease_and_is_told_why_not", |network| {
        let server = Server::start(authoritative(false), network.directory.path());
        let mut client = Client::new(1);
        client.mac = MacAddress([0xd8, 0x3a, 0xdd, 1, 2, 3]);
        let mut discover = |model: u8| {
            let mut message = client.message(MessageType::Discover);
            message.options.set_text(code::VENDOR_CLASS, "PXEClient:Arch:00000:UNDI:002001");
            message.options.set_architectures(&[0]);
            let identifier = [b"\0RPi".as_slice(), &[model], &[0; 8], b"\x26\x46\xf4\xb7"];
            message.options.set(code::MACHINE_UUID, identifier.concat());
            message
        };
        let (five, fours) = (discover(b'5'), [(); 12].map(|()| discover(b'4')));
        client.send(&five);
        let unserved = |silence: &Silence, why| matches!(silence, Silence::RaspberryPi { because, .. } if *because == why);
        server.waits_for("the reason", |what| {
            matches!(what, What::DhcpSilence(silence) if unserved(silence, Unserved::NoDriver))
        });
        // It goes in circles: what it chooses an offer with is not the system that it never reached.
        for four in fours {
            client.send(&four);
            let mut last = None;
            server.waits_for("an offer, or the end of the circle", |what| match what {
                What::DhcpReply { address, .. } => {
                    last = *address;
                    true
                }
                What::DhcpSilence(silence) => unserved(silence, Unserved::Loop),
                _ => false,
            });
            let Some(address) = last else {
                server.stop();
                return;
            };
            let mut request = client.message(MessageType::Request);
            request.options.set_address(code::REQUESTED_ADDRESS, address);
            request.options.set_address(code::SERVER_IDENTIFIER, SERVER);
            let ack = client.ask(&request).message;
            assert_eq!(ack.options.seconds(code::LEASE_TIME), Some(300), "as firmware has it");
            server.waits_for(
                "the acknowledgement",
                |what| matches!(what, What::DhcpReply { message, .. } if message == "ACK"),
            );
        }
        panic!("it goes round and round");
    });
}

#[test]
fn a_taken_port_is_named() {
    inside("a_taken_port_is_named", |network| {
        let _other = UdpSocket::bind("0.0.0.0:4011").expect("port 4011 is free");
        let error = Server::try_start(ModeAsWritten::Proxy, network.directory.path()).err();
        let text = error.map(|error| error.to_string());
        assert_eq!(text.as_deref(), Some("binding UDP port 4011 on s0"));
    });
}

#[test]
fn a_real_client_gets_renews_and_releases_its_address() {
    inside("a_real_client_gets_renews_and_releases_its_address", |network| {
        let server = Server::start(authoritative(false), network.directory.path());
        let host = network.host("u");
        let place = |name: &str| network.directory.path().join(name);
        let (script, bound, renewed) = (place("script"), place("bound"), place("renewed"));
        let words = format!(
            "#!/bin/sh\n\
             case $1 in\n\
             bound) ip address add $ip/$mask dev u0; env > {0}.new; mv {0}.new {0} ;;\n\
             renew) env > {1} ;;\n\
             esac\n",
            bound.display(),
            renewed.display()
        );
        std::fs::write(&script, words).expect("a temporary directory");
        host.run("chmod", &format!("755 {}", script.display()));
        let mut udhcpc = host.command("busybox");
        udhcpc.args(["udhcpc", "-i", "u0", "-f", "-s"]).arg(&script);
        let process = network.start(udhcpc);
        until("a lease", || bound.exists());
        let told = std::fs::read_to_string(&bound).expect("it was just seen");
        for line in ["mask=24", "router=10.77.0.1", "lease=86400", "serverid=10.77.0.1"] {
            assert!(told.lines().any(|found| found == line), "{line} in {told}");
        }
        let acknowledged =
            |what: &What| matches!(what, What::DhcpReply { message, .. } if message == "ACK");
        server.waits_for("the first ACK", acknowledged);
        kill(process, Signal::SIGUSR1).expect("it runs");
        let renewal = server.waits_for("a renewal", |what| is_request(what, "REQUEST"));
        assert!(renewal.address.is_some(), "from its own address");
        server.waits_for("the renewal's ACK", acknowledged);
        until("the renewal to arrive", || renewed.exists());
        kill(process, Signal::SIGUSR2).expect("it runs");
        server.waits_for("the release", |what| is_request(what, "RELEASE"));
        server.stop();
    });
}

fn is_request(what: &What, kind: &str) -> bool {
    matches!(what, What::DhcpRequest { message, .. } if message == kind)
}

/// Waits until dnsmasq answers somebody; then its offers come at once or after its ping.
fn wait_for_router() {
    let mut client = Client::new(200);
    until("the router", || {
        let discover = client.message(MessageType::Discover);
        client.send(&discover);
        let replies = client.replies(&discover, Duration::from_millis(800));
        replies.iter().any(|reply| *reply.source.ip() == ROUTER)
    });
}

/// Turns a client's broadcast into a unicast from its address to the server's port 4011.
fn unicast_to_4011(client: &Client, from: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut frame = drydock::dhcp::wire::frame::write_discover(client.mac, payload);
    let server = drydock::dhcp::wire::interface::read("s0").expect("getifaddrs").expect("s0");
    frame[..6].copy_from_slice(&server.mac.0);
    let header = &mut frame[14..34];
    header[10..12].fill(0);
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&SERVER.octets());
    let sum: u32 = header.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("folded twice");
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame[34..38].copy_from_slice(&[0x0f, 0xab, 0x0f, 0xab]);
    frame
}
