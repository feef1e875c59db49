//! A Raspberry Pi's boot loader, replayed byte by byte.
//!
//! Options and their order are those of captures of a Pi 4 and a Pi 5 (rpi-eeprom, issue 58; a Pi 5's DISCOVER is 364 bytes on the
//! wire, which these come to as well). No board was at hand.

use super::*;
use crate::{
    boot::{Board, Model, Serial},
    journal::Unserved,
};

const PI: MacAddress = MacAddress([0xd8, 0x3a, 0xdd, 1, 2, 3]);
/// Of a maker that nobody knows for boards.
const STRANGER: MacAddress = MacAddress([0x00, 0x11, 0x22, 1, 2, 3]);
const XID: [u8; 4] = [0x0a, 0x48, 0x58, 0x63];
const PI4: &[u8] = b"RPi4\x11\x31\xc0\0\xdd\x01\x02\x03\x26\x46\xf4\xb7";
const PI5: &[u8] = b"RPi5\x70\x41\xd0\0\xdd\x01\x02\x03\xe4\x9d\xb5\x64";
/// Before 2020: the serial number four times.
const EARLY: &[u8] = b"\x16\x4c\x6c\xb6\x16\x4c\x6c\xb6\x16\x4c\x6c\xb6\x16\x4c\x6c\xb6";

fn packet(mac: MacAddress, options: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![1, 1, 6, 0];
    bytes.extend(XID);
    bytes.resize(28, 0);
    bytes.extend(mac.0);
    bytes.resize(236, 0);
    bytes.extend([0x63, 0x82, 0x53, 0x63]);
    bytes.extend(options.concat());
    bytes.push(255);
    bytes
}

fn discover_bytes(mac: MacAddress, identifier: &[u8]) -> Vec<u8> {
    let identifier = [&[97, 17, 0], identifier].concat();
    let class = [&[60, 32], b"PXEClient:Arch:00000:UNDI:002001".as_slice()].concat();
    let wanted = [55, 14, 1, 3, 43, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135];
    packet(mac, &[&[53, 1, 1], &wanted, &[93, 2, 0, 0], &[94, 3, 1, 2, 1], &identifier, &class])
}

fn caller_of(bytes: &[u8]) -> Caller {
    let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT);
    Caller::recognise(Message::parse(bytes).unwrap(), source, SERVER_PORT).unwrap()
}

fn discover(identifier: &[u8]) -> Caller {
    caller_of(&discover_bytes(PI, identifier))
}

/// Without option 60, and so without a word of what it is.
fn request(address: Ipv4Addr, server: Ipv4Addr) -> Caller {
    let address = [&[50, 4][..], &address.octets()].concat();
    let server = [&[54, 4][..], &server.octets()].concat();
    caller_of(&packet(PI, &[&[53, 1, 3], &address, &server]))
}

#[test]
fn a_board_is_recognised_by_its_port_or_by_what_it_says() {
    assert_eq!(discover_bytes(PI, PI5).len(), 364 - 14 - 20 - 8, "as it was captured");
    for (mac, identifier, serial, model) in [
        (PI, PI4, "b7f44626", Model::Four),
        (PI, PI5, "64b59de4", Model::Five),
        (PI, EARLY, "b66c4c16", Model::Unknown),
        (STRANGER, PI5, "64b59de4", Model::Five),
    ] {
        let caller = caller_of(&discover_bytes(mac, identifier));
        assert_eq!(caller.family, ClientFamily::RaspberryPi);
        assert_eq!(caller.board(), Some(Board { serial: Serial::read(serial), model }));
        assert_eq!(caller.traveller().uuid, None, "what it says is no UUID");
    }
    let other = caller_of(&discover_bytes(STRANGER, EARLY));
    assert_eq!((other.family, other.board()), (ClientFamily::BiosPxe, None));
}

#[test]
fn a_board_is_offered_what_its_boot_loader_looks_for() {
    for identifier in [PI4, PI5] {
        let text = &identifier[..4].escape_ascii().to_string();
        let proxy = Server::proxy().reply(&discover(identifier));
        insta::assert_snapshot!(format!("proxy_{text}"), shown(&proxy));
        let authoritative = Server::authoritative().reply(&discover(identifier));
        insta::assert_snapshot!(format!("authoritative_{text}"), shown(&authoritative));
        for reply in [proxy, authoritative] {
            // Nothing but the end may stand before the padding: they read no zeros between options (rpi-eeprom, issue 82).
            let end = reply.payload.iter().rposition(|byte| *byte != 0).unwrap();
            assert_eq!(reply.payload[end], 255);
            let menu = [6, 1, 3, 10, 4, 0, b'P', b'X', b'E', 9, 20, 0, 0, 17]
                .into_iter()
                .chain(*b"Raspberry Pi Boot")
                .chain([255])
                .collect::<Vec<u8>>();
            assert_eq!(reply.message.options.get(code::VENDOR_INFORMATION), Some(&menu[..]));
        }
    }
}

#[test]
fn a_board_that_chooses_our_offer_has_a_boards_lease() {
    let mut server = Server::authoritative();
    let offered = server.reply(&discover(PI4)).message.yiaddr;
    let chosen = request(offered, SERVER);
    assert_eq!(chosen.family, ClientFamily::Other, "it does not say what it is");
    let chosen = chosen.continuing(Some(ClientFamily::RaspberryPi));
    let response =
        respond(&chosen, &server.settings, &mut server.leases, &server.course, server.now);
    let ack = response.reply.unwrap().message;
    assert_eq!(ack.options.message_type(), Some(MessageType::Ack));
    assert_eq!(ack.yiaddr, offered);
    assert_eq!(ack.siaddr, SERVER);
    assert_eq!(ack.options.seconds(code::LEASE_TIME), Some(300));
    assert_eq!(response.has_address, Some(offered), "TFTP knows whose address it is");
}

#[test]
fn only_a_board_that_chooses_an_offer_is_taken_for_one_without_saying_so() {
    let chosen = || request(Ipv4Addr::new(10, 77, 0, 100), SERVER);
    let family = |caller: Caller, before| caller.continuing(before).family;
    let board = Some(ClientFamily::RaspberryPi);
    assert_eq!(family(chosen(), board), ClientFamily::RaspberryPi);
    assert_eq!(family(chosen(), None), ClientFamily::Other);
    assert_eq!(family(chosen(), Some(ClientFamily::BiosPxe)), ClientFamily::Other);
    // The system on its card, which remembers an address, or renews it, or says what it is.
    let mut remembers = chosen();
    remembers.message.options.remove(code::SERVER_IDENTIFIER);
    assert_eq!(family(remembers, board), ClientFamily::Other);
    let mut renews = chosen();
    renews.message.ciaddr = Ipv4Addr::new(10, 77, 0, 100);
    assert_eq!(family(renews, board), ClientFamily::Other);
    let mut says = chosen();
    says.message.options.set_text(code::VENDOR_CLASS, "dhcpcd-9.4.1:Linux");
    assert_eq!(family(says, board), ClientFamily::Other);
}

#[test]
fn a_board_goes_on_to_its_own_disk_by_files_that_are_not_there() {
    for server in [Server::proxy(), Server::authoritative()] {
        let mut server = server.booting(Course::Decided(Boot::OwnDisk));
        let reply = server.reply(&discover(PI4)).message;
        // Answered, since it would wait for an answer for 45 s; explained as of all machines.
        assert!(reply.options.contains(code::VENDOR_INFORMATION));
        assert_eq!(reply.boot_file().as_deref(), Some("boot/d8-3a-dd-01-02-03/own-disk"));
    }
}

#[test]
fn a_board_is_not_answered_where_it_cannot_be_served_or_goes_in_circles() {
    let silence = |because| Silence::RaspberryPi { model: "Raspberry Pi 5".to_owned(), because };
    let unserved = Course::Decided(Boot::Silence(silence(Unserved::NoDriver)));
    let mut server = Server::authoritative().booting(unserved);
    assert_eq!(server.silence(&discover(PI5)), silence(Unserved::NoDriver));
    assert_eq!(server.leases.count(), 0);
    let mut server = Server::proxy().booting(Course::OutOfLoop);
    assert_eq!(server.silence(&discover(PI5)), silence(Unserved::Loop));
}

#[test]
fn every_truncation_of_a_boards_request_is_read_or_refused() {
    let bytes = discover_bytes(PI, PI4);
    for length in 0..bytes.len() {
        let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT);
        if let Ok(message) = Message::parse(&bytes[..length]) {
            drop(Caller::recognise(message, source, SERVER_PORT));
        }
    }
}
