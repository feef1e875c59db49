//! Any answers to the agent's DHCP client, links that come and go, and time that passes.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use agent::lease::{Action, Client};
use dhcp::{Message, MessageType, code};

use crate::{packets, scene};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);

/// The client never stops asking, never asks in a circle, and uses one sound address at a time.
pub fn check(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let mut now = Instant::now();
    let mut used = (first & 1 == 1).then_some(ADDRESS);
    let mut client = Client::new(scene::MAC, used, now);
    let random = u32::from(*first) << 24;
    let mut xid = 0;
    let actions = client.link_up(now, random);
    check_actions(&actions, &mut used, &mut xid);
    for (note, packet) in packets::read(bytes) {
        let actions = match note & 7 {
            0 => {
                client.link_down();
                client.link_up(now, random)
            }
            1 | 2 => {
                now = client.deadline().map_or(now, |deadline| deadline.max(now));
                client.time(now, random)
            }
            3 => {
                now += Duration::from_secs(u64::from(note) * 100);
                client.time(now, random)
            }
            _ => match Message::parse(packet) {
                Ok(mut message) => {
                    // Nobody guesses a transaction, but whoever hears the question knows it.
                    if note & 8 == 0 {
                        message.xid = xid;
                    }
                    client.receive(now, random, &message)
                }
                Err(_) => continue,
            },
        };
        check_actions(&actions, &mut used, &mut xid);
    }
    check_patience(&client, now);
}

/// There is always a next step, and it is not at once: else the client would ask in a circle.
fn check_patience(client: &Client, now: Instant) {
    let mut client = client.clone();
    let mut later = now;
    for _ in 0..8 {
        // Without one, the address is lent for ever.
        let Some(deadline) = client.deadline() else { return };
        later = later.max(deadline);
        let _actions = client.time(later, 0);
    }
    assert!(later >= now + Duration::from_secs(4), "eight steps in {:?}", later - now);
}

fn check_actions(actions: &[Action], used: &mut Option<Ipv4Addr>, xid: &mut u32) {
    for action in actions {
        match action {
            Action::Broadcast(message) | Action::Unicast(message, _) => {
                *xid = message.xid;
                let wire = message.encode(1500);
                let read = Message::parse(&wire).expect("what we write can be read");
                assert_eq!(read, **message);
            }
            Action::Use(lease) => {
                let address = lease.address;
                let sound = !(address.is_unspecified()
                    || address.is_broadcast()
                    || address.is_multicast()
                    || address.is_loopback());
                assert!(sound, "{lease:?}");
                assert!((1..=32).contains(&lease.prefix_bits), "{lease:?}");
                assert!(used.is_none_or(|before| before == address), "two addresses: {used:?}");
                *used = Some(address);
            }
            Action::Hear(door) => {
                assert!(door.starts_with("https://") && door.len() <= 1500, "{door:?}");
                assert!(!door.chars().any(|letter| letter.is_control() || letter.is_whitespace()));
            }
            Action::GiveUp(address) => {
                assert_eq!(*used, Some(*address), "an address that it did not use");
                *used = None;
            }
        }
    }
}

/// An offer and its confirmation, a renewal, a refusal, a proxy's offer without an address, a lease for ever.
pub fn seeds() -> Vec<Vec<u8>> {
    let reply = |kind: MessageType, change: &dyn Fn(&mut Message)| {
        let mut reply = Message::request(scene::MAC, 0).reply();
        reply.yiaddr = ADDRESS;
        reply.options.set_message_type(kind);
        reply.options.set_address(code::SERVER_IDENTIFIER, SERVER);
        reply.options.set_seconds(code::LEASE_TIME, 3600);
        reply.options.set_seconds(code::RENEWAL_TIME, 1800);
        reply.options.set_address(code::SUBNET_MASK, Ipv4Addr::new(255, 255, 255, 0));
        reply.options.set_addresses(code::ROUTERS, &[SERVER]);
        reply.options.set_addresses(code::NAME_SERVERS, &[SERVER]);
        change(&mut reply);
        reply.encode(1500)
    };
    let offer = reply(MessageType::Offer, &|_| {});
    let ack = reply(MessageType::Ack, &|reply| {
        reply.options.set_text(code::DRYDOCK_SERVER, "https://10.0.0.1:7443");
    });
    let nak = reply(MessageType::Nak, &|reply| reply.yiaddr = Ipv4Addr::UNSPECIFIED);
    let proxy = reply(MessageType::Offer, &|reply| reply.yiaddr = Ipv4Addr::UNSPECIFIED);
    let for_ever =
        reply(MessageType::Ack, &|reply| reply.options.set_seconds(code::LEASE_TIME, u32::MAX));
    let nothing: &[u8] = &[];
    let story = |first: u8, packets: &[(u8, &[u8])]| {
        [vec![first], packets::write(packets.iter().copied())].concat()
    };
    vec![
        story(0, &[(4, &offer), (4, &ack), (1, nothing), (4, &ack), (1, nothing), (4, &nak)]),
        story(1, &[(4, &ack), (0, nothing), (4, &nak), (4, &offer), (4, &nak)]),
        story(0, &[(4, &proxy), (4, &offer), (4, &for_ever), (0xfb, nothing), (0xfb, nothing)]),
        story(0x81, &[(1, nothing), (1, nothing), (1, nothing), (4, &offer), (12, &ack)]),
    ]
}
