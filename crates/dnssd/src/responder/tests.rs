use proptest::prelude::*;

use super::*;
use crate::{Kind, Name, Question, Record, Search, Value, domain};

/// The most that one packet of an Ethernet takes.
const PACKET: usize = 1500 - 20 - 8;
const CHANCE: Duration = Duration::from_millis(70);

fn network() -> Network {
    Network { address: Ipv4Addr::new(10, 0, 0, 1), prefix_length: 24 }
}

/// With the longest name that a host can have.
fn announcement() -> Announcement {
    Announcement { host: "h".repeat(63), port: 7443, texts: vec!["txtvers=1".to_owned()] }
}

fn responder(now: Instant) -> Responder {
    Responder::new(announcement(), network(), now)
}

/// One that has said everything without a question.
fn settled(now: Instant) -> (Responder, Instant) {
    let mut responder = responder(now);
    responder.speak(now).unwrap();
    responder.speak(now + REST).unwrap();
    (responder, now + REST)
}

fn asker(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 7), port)
}

fn question(by_unicast: bool) -> Message {
    let name = Name::of(["_drydock", "_tcp", "local"]).unwrap();
    let questions = vec![Question { name, kind: Kind::Ptr, by_unicast }];
    Message { id: 9, questions, ..Message::default() }
}

fn found(said: &[u8]) -> Vec<String> {
    let mut search = Search::new(&domain("local").unwrap());
    search.hear(&Message::parse(said).unwrap());
    search.servers().iter().map(ToString::to_string).collect()
}

#[test]
fn everything_is_said_twice_at_the_start_a_second_apart() {
    let now = Instant::now();
    let mut responder = responder(now);
    assert_eq!(responder.due(), Some(now));
    assert_eq!(found(&responder.speak(now).unwrap()), ["10.0.0.1:7443"]);
    assert_eq!(responder.speak(now), None);
    assert_eq!(responder.due(), Some(now + REST));
    assert_eq!(found(&responder.speak(now + REST).unwrap()), ["10.0.0.1:7443"]);
    assert_eq!(responder.due(), None);
}

#[test]
fn a_question_is_answered_to_all_by_chance_a_little_later() {
    let (mut responder, then) = settled(Instant::now());
    let now = then + REST;
    let heard = responder.hear(&question(false).encode(), asker(5353), now, CHANCE);
    assert_eq!((heard, responder.due()), (None, Some(now + CHANCE)));
    assert_eq!(responder.speak(now), None);
    let said = Message::parse(&responder.speak(now + CHANCE).unwrap()).unwrap();
    assert_eq!((said.id, said.questions.len()), (0, 0));
    // What is nobody else's is said at once.
    let now = now + 9 * REST;
    let mut query = question(false);
    query.questions[0].name = Name::of(["h".repeat(63).as_str(), "local"]).unwrap();
    query.questions[0].kind = Kind::A;
    assert_eq!(responder.hear(&query.encode(), asker(5353), now, CHANCE), None);
    assert_eq!(responder.due(), Some(now));
}

#[test]
fn however_often_it_is_asked_all_hear_it_once_a_second() {
    let (mut responder, then) = settled(Instant::now());
    let mut said = 0;
    for step in 0..10_000_u32 {
        let now = then + Duration::from_millis(u64::from(step));
        responder.hear(&question(false).encode(), asker(5353), now, CHANCE);
        said += u32::from(responder.speak(now).is_some());
    }
    assert_eq!(said, 9);
}

#[test]
fn who_wants_the_answer_alone_gets_it_alone_where_all_heard_it_lately() {
    let (mut responder, then) = settled(Instant::now());
    let query = question(true).encode();
    let told = responder.hear(&query, asker(5353), then + REST, CHANCE).unwrap();
    assert_eq!(found(&told), ["10.0.0.1:7443"]);
    let told = Message::parse(&told).unwrap();
    // RFC 6762 §18.1.
    assert_eq!((told.id, told.questions.len()), (9, 0));
    assert_eq!(responder.due(), None);
    let late = then + FRESH;
    assert_eq!(responder.hear(&query, asker(5353), late, CHANCE), None);
    assert_eq!(responder.due(), Some(late + CHANCE), "others may forget it soon");
}

#[test]
fn a_plain_resolver_is_answered_alone_with_its_question() {
    let (mut responder, then) = settled(Instant::now());
    for by_unicast in [true, false] {
        let query = question(by_unicast).encode();
        let told = responder.hear(&query, asker(40_000), then, CHANCE).unwrap();
        assert_eq!(found(&told), ["10.0.0.1:7443"]);
        let told = Message::parse(&told).unwrap();
        assert_eq!((told.id, &told.questions), (9, &question(false).questions));
        assert!(told.records.iter().all(|record| record.seconds <= 10 && !record.is_unique));
    }
    let mut twice = question(false);
    twice.questions.push(twice.questions[0].clone());
    assert_eq!(responder.hear(&twice.encode(), asker(40_000), then, CHANCE), None);
}

#[test]
fn who_is_not_on_this_link_hears_nothing() {
    let (mut responder, then) = settled(Instant::now());
    for address in ["10.0.1.7", "8.8.8.8", "10.0.0.0", "10.0.0.255", "0.0.0.0", "224.0.0.251"] {
        for port in [5353, 40_000] {
            let from = SocketAddrV4::new(address.parse().unwrap(), port);
            assert_eq!(responder.hear(&question(true).encode(), from, then, CHANCE), None);
            assert_eq!(responder.due(), None, "{from}");
        }
    }
    assert_eq!(responder.hear(&question(true).encode(), asker(0), then, CHANCE), None);
}

#[test]
fn a_network_of_any_size_knows_its_own() {
    let has = |prefix_length, address: &str| {
        let address = address.parse().unwrap();
        Network { address: Ipv4Addr::new(10, 0, 0, 1), prefix_length }.has(address)
    };
    for (prefix_length, address) in
        [(32, "10.0.0.1"), (31, "10.0.0.0"), (30, "10.0.0.2"), (8, "10.9.9.9"), (0, "8.8.8.8")]
    {
        assert!(has(prefix_length, address), "{address}/{prefix_length}");
    }
    for (prefix_length, address) in [
        (32, "10.0.0.2"),
        (31, "10.0.0.2"),
        (30, "10.0.0.3"),
        (8, "11.0.0.1"),
        (0, "255.255.255.255"),
    ] {
        assert!(!has(prefix_length, address), "{address}/{prefix_length}");
    }
}

#[test]
fn single_askers_make_it_say_no_more_than_a_little() {
    let (mut responder, then) = settled(Instant::now());
    let query = question(false).encode();
    let mut told = 0;
    for step in 0..10_000_u64 {
        let now = then + Duration::from_millis(step);
        told += u32::from(responder.hear(&query, asker(40_000), now, CHANCE).is_some());
    }
    assert!((AT_ONCE..=AT_ONCE + 10 * EACH_SECOND).contains(&told), "{told}");
}

#[test]
fn what_a_server_says_is_short() {
    let short = Announcement { host: "drydock-0123abcd".to_owned(), ..announcement() };
    let now = Instant::now();
    let mut responder = Responder::new(short, network(), now);
    let to_all = responder.speak(now).unwrap();
    let to_one = responder.hear(&question(false).encode(), asker(40_000), now, CHANCE).unwrap();
    for said in [to_all, to_one] {
        assert!((300..600).contains(&said.len()), "{}", said.len());
    }
}

#[test]
fn nothing_that_was_never_said_is_taken_back() {
    let now = Instant::now();
    let mut responder = responder(now);
    assert_eq!(responder.farewell(), None);
    responder.speak(now);
    let farewell = Message::parse(&responder.farewell().unwrap()).unwrap();
    assert!(farewell.records.iter().all(|record| record.seconds == 0));
}

#[test]
fn an_answer_is_answered_by_nobody() {
    let (mut responder, then) = settled(Instant::now());
    let said = announcement().whole(&[network().address.into()]).unwrap().encode();
    for port in [5353, 40_000] {
        assert_eq!(responder.hear(&said, asker(port), then, CHANCE), None);
        assert_eq!(responder.due(), None);
    }
}

fn any_name() -> impl Strategy<Value = Name> {
    let own = ["_drydock._tcp.local", "_services._dns-sd._udp.local"].map(str::to_owned);
    let host = "h".repeat(63);
    let [one, other] = [format!("{host}.local"), format!("{host}._drydock._tcp.local")];
    let own = own.into_iter().chain([one, other]).collect::<Vec<_>>();
    prop_oneof![
        proptest::sample::select(own).prop_map(|name| Name::of(name.split('.')).unwrap()),
        "[a-z]{1,63}(\\.[a-z]{1,60}){0,2}".prop_map(|name| Name::of(name.split('.')).unwrap()),
    ]
}

fn any_query() -> impl Strategy<Value = Message> {
    let kinds =
        vec![Kind::A, Kind::Ptr, Kind::Txt, Kind::Aaaa, Kind::Srv, Kind::Any, Kind::Other(47)];
    let question = (any_name(), proptest::sample::select(kinds), any::<bool>())
        .prop_map(|(name, kind, by_unicast)| Question { name, kind, by_unicast });
    let known = (any_name(), any_name(), any::<u32>()).prop_map(|(name, other, seconds)| Record {
        name,
        seconds,
        is_unique: false,
        value: Value::Ptr(other),
    });
    let (questions, records) =
        (proptest::collection::vec(question, 0..20), proptest::collection::vec(known, 0..4));
    (any::<u16>(), any::<bool>(), questions, records).prop_map(
        |(id, is_answer, questions, records)| Message {
            id,
            is_answer,
            questions,
            records,
            ..Message::default()
        },
    )
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), port: u16) {
        let (mut responder, then) = settled(Instant::now());
        responder.hear(&bytes, asker(port), then, CHANCE);
    }

    #[test]
    fn whatever_is_asked_the_answer_fits_into_a_packet_and_answers_to_answers_are_none(
        query in any_query(), legacy: bool,
    ) {
        let (mut responder, then) = settled(Instant::now());
        let port = if legacy { 40_000 } else { 5353 };
        let told = responder.hear(&query.encode(), asker(port), then, CHANCE);
        let said = responder.speak(then + 2 * REST);
        for said in told.iter().chain(&said) {
            prop_assert!(said.len() <= PACKET, "{}", said.len());
            prop_assert!(Message::parse(said).unwrap().is_answer);
        }
        prop_assert!(!query.is_answer || (told.is_none() && said.is_none()));
        prop_assert!(told.is_none() || said.is_none(), "nobody is told twice");
    }
}
