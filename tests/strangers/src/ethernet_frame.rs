//! Any frame on the wire: the lookout for other DHCP servers and the question for conflicts hear all of them.

use std::net::Ipv4Addr;

use drydock::dhcp::wire::frame::{read_arp, read_datagram, write_arp_question, write_discover};
use protocol::MacAddress;

const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

/// A datagram is a piece of its frame, and nobody is heard to have no address.
pub fn check(frame: &[u8]) {
    if let Some(datagram) = read_datagram(frame) {
        assert!(
            frame
                .windows(datagram.payload.len().max(1))
                .any(|piece| { piece == datagram.payload || datagram.payload.is_empty() })
        );
        let _message = dhcp::Message::parse(datagram.payload);
    }
    if let Some(owner) = read_arp(frame) {
        assert!(!owner.address.is_unspecified());
    }
}

/// A DISCOVER and an ARP question.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> =
        crate::scene::requests().iter().map(|payload| write_discover(MAC, payload)).collect();
    let [ours, theirs] = [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 100)];
    seeds.push(write_arp_question(MAC, ours, theirs));
    seeds
}
