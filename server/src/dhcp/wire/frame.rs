//! Ethernet frames that carry ARP or DHCP, as bytes.

use std::net::{Ipv4Addr, SocketAddrV4};

use protocol::MacAddress;

/// The Ethernet type of IPv4.
pub const IPV4: u16 = 0x0800;
/// The Ethernet type of ARP.
pub const ARP: u16 = 0x0806;

const ETHERNET_SIZE: usize = 14;
const IPV4_SIZE: usize = 20;
const UDP_SIZE: usize = 8;
const UDP: u8 = 17;
const EVERYBODY: MacAddress = MacAddress([0xff; 6]);

/// A UDP datagram that was seen on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub source: SocketAddrV4,
    /// To whom.
    pub destination: SocketAddrV4,
    /// What.
    pub payload: &'a [u8],
}

/// Who an ARP message says has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The address.
    pub address: Ipv4Addr,
    /// The port that has it.
    pub mac: MacAddress,
}

/// Reads a UDP datagram out of a frame; absent where there is none, or a part only.
pub fn read_datagram(frame: &[u8]) -> Option<Datagram<'_>> {
    let packet = behind_ethernet(frame, IPV4)?;
    let header_size = usize::from(packet.first()? & 0x0f) * 4;
    let (header, udp) = packet.split_at_checked(header_size)?;
    let fragment = u16::from_be_bytes(array(header, 6)?) & 0x3fff;
    if header_size < IPV4_SIZE || header[0] >> 4 != 4 || header[9] != UDP || fragment != 0 {
        return None;
    }
    let size = usize::from(u16::from_be_bytes(array(udp, 4)?));
    let port = |start| Some(u16::from_be_bytes(array(udp, start)?));
    Some(Datagram {
        source: SocketAddrV4::new(array::<4>(header, 12)?.into(), port(0)?),
        destination: SocketAddrV4::new(array::<4>(header, 16)?.into(), port(2)?),
        payload: udp.get(UDP_SIZE..size)?,
    })
}

/// Writes the frame of a client without an address: from 0.0.0.0:68 to everybody's port 67.
///
/// The payload is shorter than a frame: a DISCOVER of ours has 300 bytes.
pub fn write_discover(sender: MacAddress, payload: &[u8]) -> Vec<u8> {
    let udp_size = UDP_SIZE + payload.len();
    let size = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes();
    let mut header = [0; IPV4_SIZE];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&size(IPV4_SIZE + udp_size));
    header[8] = 64;
    header[9] = UDP;
    header[16..20].copy_from_slice(&[255; 4]);
    let checksum = checksum(&header);
    header[10..12].copy_from_slice(&checksum);

    let mut frame = ethernet(sender, IPV4);
    frame.extend(header);
    frame.extend([0, 68, 0, 67]);
    frame.extend(size(udp_size));
    // No UDP checksum: zero means none. RFC 768.
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

/// Writes the question who has an address.
pub fn write_arp_question(
    sender: MacAddress,
    sender_address: Ipv4Addr,
    target: Ipv4Addr,
) -> Vec<u8> {
    let mut frame = ethernet(sender, ARP);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(sender.0);
    frame.extend(sender_address.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame.resize(60, 0);
    frame
}

/// Reads who sent an ARP message, question or answer; absent where nobody says to have an address.
pub fn read_arp(frame: &[u8]) -> Option<Owner> {
    let message = behind_ethernet(frame, ARP)?;
    if array(message, 0)? != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let address = Ipv4Addr::from(array::<4>(message, 14)?);
    let mac = MacAddress(array(message, 8)?);
    (!address.is_unspecified()).then_some(Owner { address, mac })
}

fn ethernet(sender: MacAddress, ethertype: u16) -> Vec<u8> {
    [&EVERYBODY.0[..], &sender.0, &ethertype.to_be_bytes()].concat()
}

fn behind_ethernet(frame: &[u8], ethertype: u16) -> Option<&[u8]> {
    let (header, rest) = frame.split_at_checked(ETHERNET_SIZE)?;
    (array(header, 12)? == ethertype.to_be_bytes()).then_some(rest)
}

fn array<const N: usize>(bytes: &[u8], start: usize) -> Option<[u8; N]> {
    bytes.get(start..)?.first_chunk().copied()
}

/// The Internet checksum of a header whose own field is zero. RFC 1071.
fn checksum(header: &[u8; IPV4_SIZE]) -> [u8; 2] {
    let (words, _none) = header.as_chunks::<2>();
    let sum: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    (!u16::try_from(folded).unwrap_or(u16::MAX)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 1, 2, 3]);

    #[test]
    fn a_discover_frame_is_read_as_it_was_written() {
        let frame = write_discover(MAC, &[7; 300]);
        let read = read_datagram(&frame).unwrap();
        assert_eq!(read.source.to_string(), "0.0.0.0:68");
        assert_eq!(read.destination.to_string(), "255.255.255.255:67");
        assert_eq!(read.payload, [7; 300]);
        // 0.0.0.0 to 255.255.255.255, 328 bytes of UDP.
        assert_eq!(frame[14 + 10..14 + 12], [0x79, 0xa6]);
        for size in 0..frame.len() {
            assert_eq!(read_datagram(&frame[..size]), None, "{size}");
        }
    }

    #[test]
    fn frames_of_others_are_passed_over() {
        let frame = write_discover(MAC, &[7; 300]);
        for (index, value) in [(12, 0x86), (14, 0x65), (14, 0x44), (20, 0x20), (21, 1), (23, 6)] {
            let mut other = frame.clone();
            other[index] = value;
            assert_eq!(read_datagram(&other), None, "byte {index}");
        }
    }

    #[test]
    fn an_arp_question_names_its_sender() {
        let address = Ipv4Addr::new(10, 77, 0, 1);
        let frame = write_arp_question(MAC, address, Ipv4Addr::new(10, 77, 0, 100));
        assert_eq!(frame.len(), 60);
        assert_eq!(read_arp(&frame), Some(Owner { address, mac: MAC }));
        let probe = write_arp_question(MAC, Ipv4Addr::UNSPECIFIED, address);
        assert_eq!(read_arp(&probe), None, "asks, and says to have nothing");
        for size in 0..32 {
            assert_eq!(read_arp(&frame[..size]), None, "{size}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _read = (read_datagram(&bytes), read_arp(&bytes));
        }

        #[test]
        fn no_mutation_panics(index in 0_usize..342, value: u8) {
            let mut frame = write_discover(MAC, &[7; 300]);
            frame[index] = value;
            let _read = read_datagram(&frame);
        }
    }
}
