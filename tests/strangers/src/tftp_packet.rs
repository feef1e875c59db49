//! Any packets from any clients on the TFTP port, and time that passes: parsing, options, paths and transfers.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use bytes::Bytes;
use drydock::tftp::{Action, Desk, Limits};

use crate::{packets, scene};

/// What RFC 1350 has without options.
const PLAIN_BLOCK_BYTES: usize = 512;
const LARGEST_BLOCK_BYTES: usize = 1468;
const LARGEST_WINDOW: usize = 32;

/// What was granted to a client.
#[derive(Debug, Clone, Copy)]
struct Granted {
    block_bytes: usize,
    window: usize,
}

/// Whoever sends nonsense hears nothing; whoever asks hears what it asked for, in no larger pieces than it asked for;
/// every transfer ends by itself.
pub fn check(bytes: &[u8]) {
    let mut now = Instant::now();
    let limits = Limits { transfers: 6, transfers_per_address: 4 };
    let mut desk = Desk::new(scene::context(), limits);
    let mut granted = HashMap::new();
    for (note, packet) in packets::read(bytes) {
        if note & 0x80 != 0 {
            now += Duration::from_millis(700);
            check_wake(&mut desk, now);
        }
        let client = client(note);
        let actions = desk.receive(client, packet, now);
        check_actions(&mut desk, (note, client, packet), actions, &mut granted, now);
    }
    // Nobody answers any more: each packet is repeated a few times, and then all is over.
    for _ in 0..100 {
        let Some(deadline) = desk.deadline() else { break };
        now = now.max(deadline);
        check_wake(&mut desk, now);
    }
    assert_eq!(desk.deadline(), None, "a transfer that never ends");
}

fn client(note: u8) -> SocketAddrV4 {
    let address = match note & 3 {
        0 => Ipv4Addr::new(10, 0, 0, 7),
        1 | 2 => Ipv4Addr::new(10, 0, 0, 8),
        _ => Ipv4Addr::BROADCAST,
    };
    SocketAddrV4::new(address, if note & 7 == 4 { 0 } else { 2070 + u16::from(note & 3) })
}

fn check_wake(desk: &mut Desk, now: Instant) {
    for action in desk.wake(now) {
        assert!(matches!(action, Action::Send(..)), "{action:?}");
    }
    assert!(desk.deadline().is_none_or(|deadline| deadline > now), "a deadline that does not pass");
}

fn check_actions(
    desk: &mut Desk,
    (note, client, packet): (u8, SocketAddrV4, &[u8]),
    actions: Vec<Action>,
    granted: &mut HashMap<SocketAddrV4, Granted>,
    now: Instant,
) {
    let asked = Asked::of(packet);
    if client.port() == 0 || client.ip().is_broadcast() || asked == Asked::Nothing {
        assert!(actions.is_empty(), "an answer to nonsense: {actions:?}");
        return;
    }
    let mut sent = Vec::new();
    for action in actions {
        let Action::Load(ticket, ..) = action else {
            sent.push(action);
            continue;
        };
        assert!(matches!(asked, Asked::Read(_)), "{packet:?}");
        let content = match note & 0x60 {
            0 => Err("missing".to_owned()),
            0x20 => Ok(Bytes::new()),
            _ => Ok(Bytes::from(vec![7; 100_000])),
        };
        sent.extend(desk.loaded(ticket, content, now));
    }
    let packets: Vec<Bytes> = sent
        .into_iter()
        .map(|action| {
            let Action::Send(to, packet) = action else { panic!("a second load: {action:?}") };
            assert_eq!(to, client, "somebody else asked");
            packet
        })
        .collect();
    check_packets(&asked, &packets, granted.entry(client).or_insert(PLAIN));
}

const PLAIN: Granted = Granted { block_bytes: PLAIN_BLOCK_BYTES, window: 1 };

fn check_packets(asked: &Asked<'_>, packets: &[Bytes], granted: &mut Granted) {
    let opcodes: Vec<u16> =
        packets.iter().map(|packet| opcode(packet).expect("an opcode")).collect();
    match (asked, opcodes.as_slice()) {
        (_, []) => {}
        (Asked::Read(_) | Asked::Write, [5]) => {
            assert!(packets[0].len() < PLAIN_BLOCK_BYTES && packets[0].ends_with(&[0]));
            if matches!(asked, Asked::Read(_)) {
                *granted = PLAIN;
            }
        }
        (Asked::Read(options), [6]) => *granted = check_options(options, &packets[0]),
        (Asked::Read(_) | Asked::Acknowledge, opcodes) => {
            if matches!(asked, Asked::Read(_)) {
                *granted = PLAIN;
            }
            assert!(opcodes.iter().all(|opcode| *opcode == 3), "{asked:?}: {opcodes:?}");
            assert!(packets.len() <= granted.window, "{} in flight: {granted:?}", packets.len());
            let longest = packets.iter().map(|packet| packet.len() - 4).max();
            assert!(longest <= Some(granted.block_bytes), "{longest:?}: {granted:?}");
        }
        other => panic!("an answer that nobody asked for: {other:?}"),
    }
}

/// Each option is one that was asked for, and its value never more than that.
fn check_options(asked: &[(&[u8], &[u8])], packet: &[u8]) -> Granted {
    let text = std::str::from_utf8(&packet[2..]).expect("options are text");
    let words: Vec<&str> = text.strip_suffix('\0').expect("a NUL at the end").split('\0').collect();
    let mut granted = PLAIN;
    for pair in words.chunks(2) {
        let [name, value] = pair else { panic!("half an option: {words:?}") };
        let value: usize = value.parse().expect("a number");
        let wanted = |(other, wanted): &(&[u8], &[u8])| {
            let wanted = std::str::from_utf8(wanted).ok()?.parse::<usize>().ok();
            (*other == name.as_bytes()).then_some(wanted)?
        };
        let most = asked.iter().filter_map(wanted).max().expect("it was asked for");
        match name.to_ascii_lowercase().as_str() {
            "blksize" => {
                assert!((8..=most.min(LARGEST_BLOCK_BYTES)).contains(&value), "blksize {value}");
                granted.block_bytes = value;
            }
            "windowsize" => {
                assert!((1..=most.min(LARGEST_WINDOW)).contains(&value), "windowsize {value}");
                granted.window = value;
            }
            "timeout" => assert!((1..=most).contains(&value), "timeout {value}"),
            "tsize" => {}
            other => panic!("nobody knows this option: {other}"),
        }
    }
    granted
}

/// What a packet asks for, read anew and more simply than the server does.
#[derive(Debug, PartialEq)]
enum Asked<'packet> {
    Read(Vec<(&'packet [u8], &'packet [u8])>),
    Write,
    Acknowledge,
    Nothing,
}

impl<'packet> Asked<'packet> {
    fn of(packet: &'packet [u8]) -> Self {
        match opcode(packet) {
            Some(4) if packet.len() >= 4 => return Self::Acknowledge,
            Some(1 | 2) => {}
            _ => return Self::Nothing,
        }
        let mut words: Vec<&[u8]> = packet[2..].split(|byte| *byte == 0).collect();
        // What stands behind the last NUL is no word.
        words.pop();
        let [path, mode, options @ ..] = words.as_slice() else { return Self::Nothing };
        let modes: [&[u8]; 2] = [b"octet", b"netascii"];
        if path.is_empty() || !modes.iter().any(|known| mode.eq_ignore_ascii_case(known)) {
            return Self::Nothing;
        }
        if opcode(packet) == Some(2) {
            return Self::Write;
        }
        let pairs = options.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        Self::Read(pairs.collect())
    }
}

fn opcode(packet: &[u8]) -> Option<u16> {
    packet.first_chunk::<2>().map(|opcode| u16::from_be_bytes(*opcode))
}

/// EDK2's size probe and its transfer, iPXE's, a BIOS ROM's, scripts, a way out of the directory, and a client that writes.
pub fn seeds() -> Vec<Vec<u8>> {
    const EDK2: &[u8] = b"\0\x01boot/52-54-00-12-34-56/snponly.efi\0octet\0tsize\x000\0blksize\x001468\0windowsize\x004\0";
    const IPXE: &[u8] =
        b"\0\x01/boot/52-54-00-12-34-56/undionly.kpxe\0octet\0blksize\x001432\0tsize\x000\0";
    const PLAIN: &[u8] = b"\0\x01boot\\undionly.kpxe\0OCTET\0";
    let acknowledge = |block: u8| [0, 4, 0, block];
    let read = |path: &str| [b"\0\x01", path.as_bytes(), b"\0octet\0timeout\x003\0"].concat();
    vec![
        packets::write([
            (0x40, EDK2.to_vec()),
            (0, b"\0\x05\0\x08User aborted the transfer\0".to_vec()),
            (0x40, EDK2.to_vec()),
            (0, acknowledge(0).to_vec()),
            (0, acknowledge(4).to_vec()),
            (0x80, acknowledge(6).to_vec()),
        ]),
        packets::write([
            (0x41, IPXE.to_vec()),
            (1, acknowledge(0).to_vec()),
            (0xc2, PLAIN.to_vec()),
            (2, acknowledge(1).to_vec()),
        ]),
        packets::write([(0, read("autoexec.ipxe")), (0, acknowledge(0).to_vec())]),
        packets::write([(1, read("boot/52-54-00-12-34-57/boot.ipxe"))]),
        packets::write([(0, read("boot/52-54-00-12-34-54/own-disk"))]),
        packets::write([(0, read("../../Cargo.toml")), (0, read("boot\\..\\..\\boot.ini"))]),
        packets::write([(2, b"\0\x02boot/snponly.efi\0netascii\0".to_vec())]),
        packets::write([
            (3, PLAIN.to_vec()),
            (4, PLAIN.to_vec()),
            (0, b"\0\x03\0\x01data".to_vec()),
        ]),
    ]
}
