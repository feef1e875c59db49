use proptest::prelude::*;

use super::*;

/// Avahi's answer to a plain resolver's question for `_drydock._tcp.local`, with compressed names: put together by hand
/// after RFC 1035 §4.1.4.
fn compressed() -> Vec<u8> {
    let mut bytes = vec![0, 7, 0x84, 0, 0, 1, 0, 1, 0, 0, 0, 2];
    bytes.extend(b"\x08_drydock\x04_tcp\x05local\0\0\x0c\0\x01");
    // The service's pointer at 12, to an instance that begins with `h` and ends there.
    bytes.extend(b"\xc0\x0c\0\x0c\0\x01\0\0\0\x0a\0\x0a\x07harbour\xc0\x0c");
    // The instance stands at 49; its host is below `local`, which stands at 26.
    bytes.extend(b"\xc0\x31\0\x21\x80\x01\0\0\0\x0a\0\x0c\0\0\0\0\x1d\x13\x03box\xc0\x1a");
    bytes.extend(b"\x03box\xc0\x1a\0\x01\x80\x01\0\0\0\x0a\0\x04\x0a\0\0\x01");
    bytes
}

fn name(text: &str) -> Name {
    Name::of(text.split('.')).unwrap()
}

#[test]
fn compressed_names_are_read_whole() {
    let message = Message::parse(&compressed()).unwrap();
    assert_eq!(message.questions[0].name, name("_drydock._tcp.local"));
    let [pointer, place, host] = message.records.as_slice() else { panic!("{message:?}") };
    assert_eq!(pointer.value, Value::Ptr(name("harbour._drydock._tcp.local")));
    assert_eq!(place.name, name("HARBOUR._drydock._tcp.local"));
    assert!(place.is_unique);
    assert_eq!(place.value, Value::Srv { priority: 0, port: 7443, host: name("box.local") });
    assert_eq!(host.value, Value::A([10, 0, 0, 1].into()));
}

#[test]
fn no_cut_message_is_believed() {
    let bytes = compressed();
    for length in 0..bytes.len() {
        assert_eq!(Message::parse(&bytes[..length]), None, "{length}");
    }
}

#[test]
fn a_name_that_leads_to_itself_ends() {
    for pointers in [&[0xc0, 12][..], &[0xc0, 14, 0xc0, 12], &[1, b'a', 0xc0, 12]] {
        let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(pointers);
        bytes.extend([0, 12, 0, 1]);
        assert_eq!(Message::parse(&bytes), None, "{pointers:?}");
    }
}

#[test]
fn errors_and_answers_that_are_cut_say_nothing() {
    for flags in [0x8403_u16, 0x8600, 0x8c00] {
        let mut bytes = compressed();
        bytes[2..4].copy_from_slice(&flags.to_be_bytes());
        assert_eq!(Message::parse(&bytes), None, "{flags:04x}");
    }
}

#[test]
fn a_record_that_is_longer_than_it_says_is_no_record() {
    let mut bytes = compressed();
    // The pointer's length: the name in it goes on behind its end.
    bytes[47] = 0;
    bytes[48] = 3;
    assert_eq!(Message::parse(&bytes), None);
}

/// A record whose content is pointers, each to the one before it, and one whose name is the last of them.
fn chain(pointers: u8) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0x84, 0, 0, 0, 0, 2, 0, 0, 0, 0];
    bytes.extend([0, 0, 99, 0, 1, 0, 0, 0, 9, 0, 2 * pointers + 2, 0, 0]);
    let begin = u8::try_from(bytes.len() - 2).unwrap();
    bytes.extend((0..pointers).flat_map(|number| [0xc0, begin + 2 * number]));
    bytes.extend([0xc0, begin + 2 * pointers, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 1]);
    bytes
}

#[test]
fn a_long_chain_of_pointers_is_not_followed() {
    let records = Message::parse(&chain(10)).unwrap().records;
    assert_eq!(records.last().unwrap().value, Value::A([10, 0, 0, 1].into()));
    assert_eq!(Message::parse(&chain(90)), None);
}

fn any_name() -> impl Strategy<Value = Name> {
    proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..5)
        .prop_map(|labels| Name::of(labels).unwrap())
}

fn any_value() -> impl Strategy<Value = Value> {
    let texts = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 1..4);
    prop_oneof![
        any::<[u8; 4]>().prop_map(|address| Value::A(address.into())),
        any::<[u8; 16]>().prop_map(|address| Value::Aaaa(address.into())),
        any_name().prop_map(Value::Ptr),
        texts.prop_map(Value::Txt),
        (any::<u16>(), any::<u16>(), any_name()).prop_map(|(priority, port, host)| Value::Srv {
            priority,
            port,
            host
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        id in any::<u16>(),
        by_unicast in any::<bool>(),
        asked in any_name(),
        records in proptest::collection::vec((any_name(), any::<u32>(), any::<bool>(), any_value()), 0..9),
    ) {
        let question = Question { name: asked, kind: Kind::Srv, by_unicast };
        let records = records.into_iter().map(|(name, seconds, is_unique, value)| {
            Record { name, seconds, is_unique, value }
        });
        let message = Message {
            id,
            is_answer: true,
            is_recursive: false,
            questions: vec![question],
            records: records.collect(),
            beside: Vec::new(),
        };
        prop_assert_eq!(Message::parse(&message.encode()), Some(message));
    }

    #[test]
    fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _parsed = Message::parse(&bytes);
        // With a head that lets them through.
        let head = [0, 0, 0x84, 0, 0, 1, 0, 3, 0, 0, 0, 0];
        bytes.splice(0..0, head);
        let _parsed = Message::parse(&bytes);
    }

    #[test]
    fn no_changed_sample_panics(at in 0_usize..107, to in any::<u8>()) {
        let mut bytes = compressed();
        let at = at % bytes.len();
        bytes[at] = to;
        let _parsed = Message::parse(&bytes);
    }
}
