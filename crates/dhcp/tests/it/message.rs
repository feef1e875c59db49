//! Reading and writing whole messages.

use std::net::Ipv4Addr;

use dhcp::{
    DEFAULT_LIMIT, MalformedMessage, MalformedOptions, Message, MessageType, Operation, Options,
    code,
};
use proptest::prelude::*;
use protocol::MacAddress;

use crate::{pcap::real_payloads, samples};

fn parse(bytes: &[u8]) -> Message {
    Message::parse(bytes).expect("the sample is well formed")
}

/// Where a message may be cut without loss: behind its end option, and nowhere before.
fn check_truncations(bytes: &[u8]) {
    let whole = parse(bytes);
    let mut accepted = false;
    for size in 0..=bytes.len() {
        match Message::parse(&bytes[..size]) {
            Ok(message) => {
                accepted = true;
                assert_eq!(message, whole, "cut to {size} bytes");
            }
            Err(_) => assert!(!accepted, "refused at {size} bytes, accepted below"),
        }
    }
    let end = bytes.iter().rposition(|byte| *byte == code::END).expect("samples have an end");
    assert!(Message::parse(&bytes[..end]).is_err());
}

fn check_round_trip(message: &Message) {
    let bytes = message.encode(1500);
    assert!(bytes.len() >= 300);
    assert_eq!(parse(&bytes), *message);
}

#[test]
fn a_real_rom_and_its_servers_are_understood() {
    let Some(payloads) = real_payloads() else { return };
    let messages: Vec<_> = payloads.iter().map(|payload| parse(payload)).collect();
    let kinds: Vec<_> = messages.iter().map(|message| message.options.message_type()).collect();
    assert_eq!(
        kinds,
        [MessageType::Discover, MessageType::Offer, MessageType::Offer, MessageType::Request]
            .map(Some)
    );
    let [rom, proxy, router, relayed] = &messages[..] else { panic!("four packets") };
    assert_eq!(rom.op, Operation::Request);
    assert_eq!(rom.chaddr, MacAddress([0xd0, 0x50, 0x99, 0x4e, 0x05, 0x57]));
    assert_eq!(rom.xid, 0x9b4e_0557);
    assert!(rom.wants_broadcast());
    assert_eq!(rom.limit(), 1260);
    assert_eq!(rom.options.architectures(), [0]);
    assert_eq!(
        rom.options.text(code::VENDOR_CLASS).as_deref(),
        Some("PXEClient:Arch:00000:UNDI:002001")
    );
    assert_eq!(rom.options.uuid().as_deref(), Some("03000200-0400-0500-0006-000700080009"));

    assert_eq!(proxy.yiaddr, Ipv4Addr::UNSPECIFIED);
    let pxe = proxy.options.encapsulated(code::VENDOR_INFORMATION).expect("PXE options");
    assert_eq!(pxe.get(code::PXE_DISCOVERY_CONTROL), Some(&[3][..]));

    assert_eq!(router.yiaddr, Ipv4Addr::new(192, 168, 16, 12));
    assert_eq!(router.options.seconds(code::LEASE_TIME), Some(3600));
    assert_eq!(router.options.addresses(code::ROUTERS), [Ipv4Addr::new(192, 168, 16, 1)]);
    assert_eq!(router.options.text(code::DOMAIN_NAME).as_deref(), Some("home.universe.tf"));

    assert_eq!(
        relayed.options.address(code::REQUESTED_ADDRESS),
        Some(Ipv4Addr::new(192, 168, 40, 4))
    );
    assert_eq!(relayed.options.text(code::HOST_NAME).as_deref(), Some("sibeal"));
}

#[test]
fn firmware_and_ipxe_are_understood() {
    let pxe = parse(&samples::edk2_pxe());
    assert_eq!(pxe.options.uuid().as_deref(), Some("11223344-5566-7788-99aa-bbccddeeff00"));
    assert_eq!(pxe.options.architectures(), [7]);
    assert_eq!(pxe.limit(), 1472);

    let http = parse(&samples::edk2_http());
    assert_eq!(http.options.architectures(), [16]);
    assert_eq!(http.options.get(code::PARAMETER_REQUEST_LIST).map(<[u8]>::len), Some(27));

    let ipxe = parse(&samples::ipxe());
    assert!(!ipxe.wants_broadcast());
    assert_eq!(ipxe.options.user_classes(), [b"iPXE"]);
    let features = ipxe.options.encapsulated(code::IPXE).expect("features");
    assert_eq!(features.get(0xb1), Some(&[1, 0x80, 0x86, 0x10, 0xd3][..]));
}

#[test]
fn every_truncation_is_refused_until_the_end_option() {
    for sample in [samples::edk2_pxe(), samples::edk2_http(), samples::ipxe()] {
        check_truncations(&sample);
    }
    for sample in real_payloads().unwrap_or_default() {
        check_truncations(&sample);
    }
}

#[test]
fn real_messages_survive_writing_and_reading() {
    for sample in [samples::edk2_pxe(), samples::edk2_http(), samples::ipxe()] {
        check_round_trip(&parse(&sample));
    }
    for sample in real_payloads().unwrap_or_default() {
        check_round_trip(&parse(&sample));
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let sample = samples::ipxe();
    let with = |index: usize, value: u8| {
        let mut bytes = sample.clone();
        bytes[index] = value;
        Message::parse(&bytes)
    };
    assert_eq!(with(0, 3), Err(MalformedMessage::UnknownOperation { op: 3 }));
    assert_eq!(with(1, 32), Err(MalformedMessage::UnknownHardware { htype: 32, hlen: 6 }));
    assert_eq!(with(2, 16), Err(MalformedMessage::UnknownHardware { htype: 1, hlen: 16 }));
    assert!(matches!(with(28, 0x53), Err(MalformedMessage::UnusableAddress(_))));
    assert_eq!(with(236, 0), Err(MalformedMessage::NoCookie));
    for (code, value) in [
        (53, &[0][..]),
        (53, &[1, 1]),
        (53, &[200]),
        (54, &[1, 2, 3]),
        (57, &[1]),
        (51, &[]),
        (3, &[1, 2, 3, 4, 5]),
        (52, &[4]),
    ] {
        let bytes = samples::request([0, 0], &[&samples::option(code, value)]);
        assert_eq!(
            Message::parse(&bytes),
            Err(MalformedMessage::ImpossibleOption { code, size: value.len() })
        );
    }
    assert_eq!(
        Message::parse(&samples::request([0, 0], &[&[12, 9]])),
        Err(MalformedMessage::Options(MalformedOptions::CutOff { code: 12 }))
    );
}

#[test]
fn overloaded_fields_are_read_as_options() {
    let mut bytes = samples::request(
        [0, 0],
        &[&samples::option(53, &[1]), &samples::option(52, &[3]), &samples::option(60, b"PXE")],
    );
    bytes[108..108 + 8].copy_from_slice(&[60, 6, b'C', b'l', b'i', b'e', b'n', b't']);
    bytes[44..44 + 5].copy_from_slice(&[12, 2, b'm', b'1', 255]);
    let message = parse(&bytes);
    assert_eq!(message.options.text(code::VENDOR_CLASS).as_deref(), Some("PXEClient"));
    assert_eq!(message.options.text(code::HOST_NAME).as_deref(), Some("m1"));
    assert!(message.file.is_empty() && message.sname.is_empty());
    assert!(!message.options.contains(code::OVERLOAD));

    bytes[44..46].copy_from_slice(&[12, 200]);
    assert!(Message::parse(&bytes).is_err());
}

#[test]
fn an_answer_is_never_larger_than_the_client_takes() {
    let mut reply = parse(&samples::edk2_pxe()).reply();
    reply.options.set_message_type(MessageType::Offer);
    reply.options.set(code::RELAY_INFORMATION, vec![7; 100]);
    reply.options.set_terminated_text(code::BOOT_FILE, &"x".repeat(150));
    reply.options.set_text(code::DOMAIN_NAME, &"d".repeat(60));
    reply.options.set_text(code::HOST_NAME, "m1");
    let bytes = reply.encode(DEFAULT_LIMIT);
    assert!(bytes.len() <= 548, "{}", bytes.len());
    let read = parse(&bytes);
    assert!(read.options.contains(code::BOOT_FILE));
    assert!(!read.options.contains(code::DOMAIN_NAME), "does not fit");
    assert!(read.options.contains(code::HOST_NAME), "fits though it comes later");
    let last = read.options.iter().last().expect("options");
    assert_eq!(last, (code::RELAY_INFORMATION, &[7; 100][..]));
}

#[test]
fn a_reply_keeps_what_the_relay_and_the_client_need() {
    let mut request = parse(&samples::ipxe());
    request.giaddr = Ipv4Addr::new(10, 9, 0, 1);
    request.options.set(code::RELAY_INFORMATION, [1, 1, 0]);
    let reply = request.reply();
    assert_eq!(reply.op, Operation::Reply);
    assert_eq!(
        (reply.xid, reply.giaddr, reply.chaddr),
        (request.xid, request.giaddr, request.chaddr)
    );
    assert_eq!(reply.options.get(code::RELAY_INFORMATION), Some(&[1, 1, 0][..]));
    assert_eq!(reply.options.iter().count(), 1);
}

#[test]
fn a_name_that_does_not_fit_is_left_out() {
    let mut reply = parse(&samples::ipxe()).reply();
    reply.file = vec![b'f'; 127];
    assert_eq!(parse(&reply.encode(DEFAULT_LIMIT)).file, reply.file);
    reply.file = vec![b'f'; 128];
    assert!(parse(&reply.encode(DEFAULT_LIMIT)).file.is_empty());
}

#[test]
fn the_boot_file_is_found_in_option_or_field() {
    let mut reply = parse(&samples::ipxe()).reply();
    assert_eq!(reply.boot_file(), None);
    reply.file = b"a".to_vec();
    assert_eq!(reply.boot_file().as_deref(), Some("a"));
    reply.options.set_terminated_text(code::BOOT_FILE, "b");
    assert_eq!(reply.boot_file().as_deref(), Some("b"));
}

fn messages() -> impl Strategy<Value = Message> {
    let name = |limit| prop::collection::vec(1_u8..=255, 0..=limit);
    // Option 52 is never written, and options with a fixed size must have it.
    let code = (1_u8..255).prop_filter("free form", |code| {
        ![1, 3, 6, 28, 50, 51, 52, 53, 54, 57, 58, 59, 82].contains(code)
    });
    let options = prop::collection::vec((code, prop::collection::vec(any::<u8>(), 0..300)), 0..4);
    (
        any::<[u8; 6]>(),
        any::<(u8, u32, u16, u16)>(),
        any::<[[u8; 4]; 4]>(),
        name(63),
        name(127),
        options,
        any::<bool>(),
    )
        .prop_map(
            |(
                mut mac,
                (hops, xid, secs, flags),
                [ciaddr, yiaddr, siaddr, giaddr],
                sname,
                file,
                values,
                is_reply,
            )| {
                mac[0] &= 0xfe;
                mac[5] |= 1;
                let mut options = Options::new();
                for (code, value) in values {
                    options.set(code, value);
                }
                Message {
                    op: if is_reply { Operation::Reply } else { Operation::Request },
                    hops,
                    xid,
                    secs,
                    flags,
                    ciaddr: ciaddr.into(),
                    yiaddr: yiaddr.into(),
                    siaddr: siaddr.into(),
                    giaddr: giaddr.into(),
                    chaddr: MacAddress(mac),
                    sname,
                    file,
                    options,
                }
            },
        )
}

proptest! {
    #[test]
    fn written_and_read_are_inverse(message in messages()) {
        prop_assert_eq!(Message::parse(&message.encode(u16::MAX)), Ok(message));
    }

    #[test]
    fn writing_keeps_its_limit(message in messages(), limit in any::<u16>()) {
        let size = message.encode(limit).len();
        prop_assert!(size >= 300 && size + 28 <= usize::from(limit.max(576)), "{}", size);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        let _read = Message::parse(&bytes);
    }

    #[test]
    fn no_mutation_panics(changes in prop::collection::vec((0_usize..500, any::<u8>()), 0..12), which in 0_usize..3) {
        let mut bytes = [samples::edk2_pxe(), samples::edk2_http(), samples::ipxe()][which].clone();
        let size = bytes.len();
        for (index, value) in changes {
            bytes[index % size] = value;
        }
        if let Ok(message) = Message::parse(&bytes) {
            let _written = message.reply().encode(message.limit());
            let _read = (message.options.user_classes(), message.options.link_selection(), message.options.uuid());
            prop_assert_eq!(Message::parse(&message.encode(u16::MAX)).map(|read| read.options.iter().count()), Ok(message.options.iter().count()));
        }
    }
}
