use proptest::prelude::*;

use super::{super::terms::settle, *};
use crate::boot::test_assets::pattern;

fn options(list: &[(&str, u64)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect()
}

fn begin(size: usize, list: &[(&str, u64)], now: Instant) -> (Transfer, Vec<Bytes>) {
    let content = Bytes::from(pattern(size));
    Transfer::begin(content, settle(&options(list), size), now)
}

/// The block numbers and lengths of DATA packets.
fn blocks(step: Step) -> Vec<(u16, usize)> {
    let Step::Send(packets) = step else { panic!("{step:?}") };
    packets.iter().map(|packet| block(packet)).collect()
}

fn block(packet: &[u8]) -> (u16, usize) {
    assert_eq!(packet[..2], [0, 3], "not DATA");
    (u16::from_be_bytes([packet[2], packet[3]]), packet.len() - 4)
}

#[test]
fn without_options_blocks_of_512_follow_one_by_one() {
    let now = Instant::now();
    let (mut transfer, first) = begin(1025, &[], now);
    assert_eq!(blocks(Step::Send(first)), [(1, 512)]);
    assert_eq!(blocks(transfer.step(Event::Acknowledge(1), now)), [(2, 512)]);
    assert_eq!(blocks(transfer.step(Event::Acknowledge(2), now)), [(3, 1)]);
    assert_eq!(transfer.step(Event::Acknowledge(3), now), Step::End(End::Sent));
}

#[test]
fn a_length_that_divides_evenly_ends_in_an_empty_block() {
    let now = Instant::now();
    let (mut transfer, first) = begin(512, &[], now);
    assert_eq!(blocks(Step::Send(first)), [(1, 512)]);
    assert_eq!(blocks(transfer.step(Event::Acknowledge(1), now)), [(2, 0)]);
    assert_eq!(transfer.step(Event::Acknowledge(2), now), Step::End(End::Sent));
    let (mut transfer, first) = begin(0, &[], now);
    assert_eq!(blocks(Step::Send(first)), [(1, 0)]);
    assert_eq!(transfer.step(Event::Acknowledge(1), now), Step::End(End::Sent));
}

#[test]
fn options_are_acknowledged_before_the_first_block() {
    let now = Instant::now();
    let (mut transfer, first) = begin(3000, &[("blksize", 1000), ("windowsize", 2)], now);
    assert_eq!(first, [b"\0\x06blksize\x001000\0windowsize\x002\0".as_slice()]);
    assert_eq!(transfer.step(Event::Acknowledge(1), now), Step::Send(vec![]));
    assert_eq!(blocks(transfer.step(Event::Acknowledge(0), now)), [(1, 1000), (2, 1000)]);
    assert_eq!(blocks(transfer.step(Event::Acknowledge(2), now)), [(3, 1000), (4, 0)]);
    assert_eq!(transfer.step(Event::Acknowledge(4), now), Step::End(End::Sent));
}

#[test]
fn an_acknowledgement_inside_the_window_goes_on_behind_it() {
    let now = Instant::now();
    let (mut transfer, _) = begin(10_000, &[("blksize", 1000), ("windowsize", 4)], now);
    transfer.step(Event::Acknowledge(0), now);
    let next = blocks(transfer.step(Event::Acknowledge(2), now));
    assert_eq!(next, [(3, 1000), (4, 1000), (5, 1000), (6, 1000)]);
}

#[test]
fn doubled_old_and_future_acknowledgements_send_nothing() {
    let now = Instant::now();
    let (mut transfer, _) = begin(5000, &[], now);
    assert_eq!(blocks(transfer.step(Event::Acknowledge(1), now)), [(2, 512)]);
    for block in [0, 1, 3, 65_535] {
        assert_eq!(transfer.step(Event::Acknowledge(block), now), Step::Send(vec![]), "{block}");
    }
    assert_eq!(blocks(transfer.step(Event::Acknowledge(2), now)), [(3, 512)]);
}

#[test]
fn waiting_doubles_and_ends() {
    let mut now = Instant::now();
    let (mut transfer, _) = begin(5000, &[], now);
    transfer.step(Event::Acknowledge(1), now);
    let mut waits = Vec::new();
    let end = loop {
        let wait = transfer.deadline() - now;
        waits.push(wait.as_secs());
        let early = now + wait.saturating_sub(Duration::from_millis(1));
        assert_eq!(transfer.step(Event::Nothing, early), Step::Send(vec![]));
        now += wait;
        match transfer.step(Event::Nothing, now) {
            Step::End(end) => break end,
            again @ Step::Send(_) => assert_eq!(blocks(again), [(2, 512)]),
        }
    };
    assert_eq!(waits, [1, 2, 4, 5, 5, 5]);
    assert_eq!(end, End::TimedOut { block: 2, last: 10 });
}

#[test]
fn the_clients_own_timeout_is_kept() {
    let now = Instant::now();
    let (mut transfer, _) = begin(5000, &[("timeout", 3)], now);
    assert_eq!(transfer.deadline() - now, Duration::from_secs(3));
    transfer.step(Event::Nothing, now + Duration::from_secs(3));
    assert_eq!(transfer.deadline() - now, Duration::from_secs(6));
}

#[test]
fn a_size_probe_is_no_failure() {
    let now = Instant::now();
    let error = Event::Error { code: 8, text: "User aborted the transfer".to_owned() };
    let (mut transfer, _) = begin(5000, &[("tsize", 0), ("blksize", 1468)], now);
    assert_eq!(transfer.step(error.clone(), now), Step::End(End::Probed));
    let (mut transfer, _) = begin(5000, &[("tsize", 0)], now);
    transfer.step(Event::Acknowledge(0), now);
    let reason = "User aborted the transfer".to_owned();
    assert_eq!(transfer.step(error, now), Step::End(End::Aborted { reason }));
    let (mut transfer, _) = begin(5000, &[], now);
    let silent = Event::Error { code: 0, text: String::new() };
    let reason = "error 0".to_owned();
    assert_eq!(transfer.step(silent, now), Step::End(End::Aborted { reason }));
}

#[test]
fn a_request_that_is_repeated_gets_the_first_packets_again_until_it_has_begun() {
    let now = Instant::now();
    let (mut transfer, first) = begin(5000, &[], now);
    assert_eq!(transfer.step(Event::AskedAgain, now), Step::Send(first));
    transfer.step(Event::Acknowledge(1), now);
    assert_eq!(transfer.step(Event::AskedAgain, now), Step::Send(vec![]));
}

#[test]
fn block_numbers_wrap_to_zero() {
    let now = Instant::now();
    let size = 70_000 * 8 + 3;
    let (mut transfer, first) = begin(size, &[("blksize", 8)], now);
    assert_eq!(first.len(), 1);
    let mut received = Vec::new();
    let mut acknowledge = 0;
    let mut seen = Vec::new();
    loop {
        match transfer.step(Event::Acknowledge(acknowledge), now) {
            Step::End(end) => {
                assert_eq!(end, End::Sent);
                break;
            }
            Step::Send(packets) => {
                acknowledge = block(&packets[0]).0;
                seen.push(acknowledge);
                received.extend_from_slice(&packets[0][4..]);
            }
        }
    }
    assert_eq!(seen[65_533..65_538], [65_534, 65_535, 0, 1, 2]);
    assert!(received == pattern(size));
}

/// A client as RFC 7440 has it, on a network that loses, doubles and delays packets.
fn over_a_bad_network(size: usize, list: &[(&str, u64)], faults: &[u8]) -> Vec<u8> {
    let mut now = Instant::now();
    let (mut transfer, first) = begin(size, list, now);
    let terms = settle(&options(list), size);
    let (block_bytes, window) = (usize::from(terms.block_bytes), u64::from(terms.window));
    let mut faults = faults.iter().cycle().copied().scan(0_u32, |count, fault| {
        *count += 1;
        // Faults end at some time: a network that only loses transfers nothing.
        Some(if *count < 400 { fault } else { 255 })
    });
    let mut received = Vec::new();
    let mut last_in_order = 0_u64;
    let mut since_acknowledged = 0;
    let mut to_client = first;
    // Each block is sent a few times at most; answers that breed answers come to far more.
    let mut allowed = 20 * (size / block_bytes + 100);
    loop {
        allowed = allowed.checked_sub(to_client.len()).expect("a storm of repeated blocks");
        let mut to_server = Vec::new();
        for packet in std::mem::take(&mut to_client) {
            let copies = match faults.next().unwrap() {
                0..20 => 0,
                20..40 => 2,
                _ => 1,
            };
            for _ in 0..copies {
                if packet[..2] == [0, 6] {
                    to_server.push(0);
                    continue;
                }
                let (number, length) = block(&packet);
                if u64::from(number) == (last_in_order + 1) % 0x1_0000 {
                    last_in_order += 1;
                    since_acknowledged += 1;
                    received.extend_from_slice(&packet[4..]);
                    if since_acknowledged == window || length < block_bytes {
                        since_acknowledged = 0;
                        to_server.push(u16::try_from(last_in_order % 0x1_0000).unwrap());
                    }
                } else {
                    since_acknowledged = 0;
                    to_server.push(u16::try_from(last_in_order % 0x1_0000).unwrap());
                }
            }
        }
        for number in to_server {
            if faults.next().unwrap() < 20 {
                continue;
            }
            match transfer.step(Event::Acknowledge(number), now) {
                Step::End(End::Sent) => return received,
                Step::End(end) => panic!("{end:?}"),
                Step::Send(packets) => to_client.extend(packets),
            }
        }
        if to_client.is_empty() {
            now = transfer.deadline();
            match transfer.step(Event::Nothing, now) {
                Step::Send(packets) => to_client = packets,
                // Six losses in a row: the client is rightly given up.
                Step::End(End::TimedOut { .. }) => return received,
                Step::End(end) => panic!("{end:?}"),
            }
        }
    }
}

proptest! {
    #[test]
    fn what_arrives_over_a_bad_network_is_the_file(
        size in 0_usize..9000,
        block_bytes in 8_u64..2000,
        window in 1_u64..9,
        faults in prop::collection::vec(any::<u8>(), 1..60),
        with_options: bool,
    ) {
        let list = [("blksize", block_bytes), ("windowsize", window)];
        let list = if with_options { list.as_slice() } else { &[] };
        let received = over_a_bad_network(size, list, &faults);
        prop_assert!(pattern(size).starts_with(&received));
        if faults.iter().all(|fault| *fault >= 20) {
            prop_assert_eq!(received.len(), size);
        }
    }

    #[test]
    fn no_order_of_events_panics_or_never_ends(events in prop::collection::vec((0_u8..4, 0_u16..8), 0..60)) {
        let mut now = Instant::now();
        let (mut transfer, _) = begin(3000, &[("windowsize", 3), ("tsize", 0)], now);
        for (kind, block) in events {
            let event = match kind {
                0 | 1 => Event::Acknowledge(block),
                2 => Event::AskedAgain,
                _ => { now = transfer.deadline(); Event::Nothing }
            };
            match transfer.step(event, now) {
                Step::Send(packets) => prop_assert!(packets.len() <= 3),
                Step::End(_) => return Ok(()),
            }
        }
    }
}
