//! The client against a server that the tests play.

use proptest::prelude::*;

use super::*;

const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 1, 2, 3]);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 77);
const DISCOVER: MessageType = MessageType::Discover;
const REQUEST: MessageType = MessageType::Request;
const MIDDLE: u32 = u32::MAX / 2;

/// A client and the clock that it lives by.
struct Story {
    client: Client,
    now: Instant,
}

impl Story {
    fn new(handed: Option<Ipv4Addr>) -> Self {
        let now = Instant::now();
        Self { client: Client::new(MAC, handed, now), now }
    }

    /// Gives the port a link, and returns what the client asks.
    fn link_up(&mut self) -> Message {
        broadcast(&self.client.link_up(self.now, MIDDLE))
    }

    /// Lets the time pass until the client does something.
    fn pass(&mut self) -> Vec<Action> {
        self.now = self.client.deadline().expect("the client waits for something");
        self.client.time(self.now, MIDDLE)
    }

    fn answer(
        &mut self,
        request: &Message,
        kind: MessageType,
        from: Ipv4Addr,
        change: impl Fn(&mut Message),
    ) -> Vec<Action> {
        let mut reply = request.reply();
        reply.yiaddr = ADDRESS;
        reply.options.set_message_type(kind);
        reply.options.set_address(code::SERVER_IDENTIFIER, from);
        reply.options.set_seconds(code::LEASE_TIME, 3600);
        reply.options.set_address(code::SUBNET_MASK, Ipv4Addr::new(255, 255, 254, 0));
        reply.options.set_addresses(code::ROUTERS, &[OTHER]);
        change(&mut reply);
        self.client.receive(self.now, MIDDLE, &reply)
    }

    /// Has the client bound to `ADDRESS` for an hour.
    fn bound() -> Self {
        let mut story = Self::new(None);
        let discover = story.link_up();
        let request = broadcast(&story.answer(&discover, MessageType::Offer, SERVER, |_| {}));
        let actions = story.answer(&request, MessageType::Ack, SERVER, |_| {});
        assert!(matches!(actions.as_slice(), [Action::Use(_)]), "{actions:?}");
        story
    }
}

fn broadcast(actions: &[Action]) -> Message {
    match actions {
        [Action::Broadcast(message)] => (**message).clone(),
        other => panic!("not one broadcast: {other:?}"),
    }
}

fn kind(message: &Message) -> MessageType {
    message.options.message_type().unwrap()
}

#[test]
fn a_port_without_a_link_waits_for_nothing() {
    assert_eq!(Story::new(None).client.deadline(), None);
    assert_eq!(Story::new(Some(ADDRESS)).client.deadline(), None);
}

#[test]
fn an_address_is_found_asked_for_and_used() {
    let mut story = Story::new(None);
    let discover = story.link_up();
    assert_eq!((kind(&discover), discover.flags), (MessageType::Discover, BROADCAST));
    assert_eq!(discover.options.text(code::VENDOR_CLASS).as_deref(), Some("drydock-agent"));
    let identifier = discover.options.get(code::CLIENT_IDENTIFIER);
    assert_eq!(identifier, Some(&[1, 0x52, 0x54, 0, 1, 2, 3][..]));
    let request = broadcast(&story.answer(&discover, MessageType::Offer, SERVER, |_| {}));
    assert_eq!(kind(&request), MessageType::Request);
    assert_eq!(request.options.address(code::REQUESTED_ADDRESS), Some(ADDRESS));
    assert_eq!(request.options.address(code::SERVER_IDENTIFIER), Some(SERVER));
    let lease = Lease {
        address: ADDRESS,
        prefix_bits: 23,
        gateway: Some(OTHER),
        name_servers: Vec::new(),
        domain: None,
        server: SERVER,
        duration: Some(Duration::from_hours(1)),
    };
    let used = story.answer(&request, MessageType::Ack, SERVER, |_| {});
    assert_eq!(used, [Action::Use(lease)]);
}

#[test]
fn a_proxy_that_offers_no_address_is_not_taken() {
    let mut story = Story::new(None);
    let discover = story.link_up();
    let actions = story.answer(&discover, MessageType::Offer, SERVER, |offer| {
        offer.yiaddr = Ipv4Addr::UNSPECIFIED;
    });
    assert_eq!(actions, []);
    broadcast(&story.answer(&discover, MessageType::Offer, OTHER, |_| {}));
}

#[test]
fn whoever_says_where_the_server_is_is_heard_and_offers_count_as_ever() {
    let door = "https://10.0.0.9:7443";
    let mut story = Story::new(None);
    let discover = story.link_up();
    let asked = discover.options.get(code::PARAMETER_REQUEST_LIST).unwrap();
    assert!(asked.contains(&code::DRYDOCK_SERVER));
    let said = |message: &mut Message| message.options.set_text(code::DRYDOCK_SERVER, door);
    let request = broadcast(&story.answer(&discover, MessageType::Offer, SERVER, |_| {}));
    // A proxy, later than the router.
    let actions = story.answer(&discover, MessageType::Offer, OTHER, |offer| {
        offer.yiaddr = Ipv4Addr::UNSPECIFIED;
        said(offer);
    });
    assert_eq!(actions, [Action::Hear(door.to_owned())]);
    let actions = story.answer(&request, MessageType::Ack, SERVER, said);
    assert!(matches!(&actions[..], [Action::Hear(_), Action::Use(_)]), "{actions:?}");
}

#[test]
fn what_cannot_be_a_servers_address_is_not_heard() {
    for door in ["", "https://", "http://10.0.0.9", "10.0.0.9:7443", "https://10.0.0.9 x"] {
        let mut story = Story::new(None);
        let discover = story.link_up();
        let actions = story.answer(&discover, MessageType::Offer, SERVER, |offer| {
            offer.options.set_text(code::DRYDOCK_SERVER, door);
        });
        broadcast(&actions);
    }
}

#[test]
fn it_asks_for_ever_at_growing_intervals() {
    let mut story = Story::new(None);
    story.link_up();
    let start = story.now;
    let times: Vec<u128> = (0..8)
        .map(|_| {
            assert_eq!(kind(&broadcast(&story.pass())), MessageType::Discover);
            story.now.duration_since(start).as_millis().div_ceil(100) / 10
        })
        .collect();
    assert_eq!(times, [4, 12, 28, 60, 124, 188, 252, 316]);
}

#[test]
fn a_handed_address_is_confirmed_first() {
    let mut story = Story::new(Some(ADDRESS));
    let request = story.link_up();
    assert_eq!(kind(&request), MessageType::Request);
    assert_eq!(request.options.address(code::REQUESTED_ADDRESS), Some(ADDRESS));
    assert_eq!(request.options.address(code::SERVER_IDENTIFIER), None);
    let actions = story.answer(&request, MessageType::Ack, SERVER, |_| {});
    assert!(matches!(actions.as_slice(), [Action::Use(_)]), "{actions:?}");
}

#[test]
fn a_handed_address_that_nobody_confirms_is_kept_while_servers_are_looked_for() {
    let mut story = Story::new(Some(ADDRESS));
    story.link_up();
    let asked: Vec<MessageType> = (0..5).map(|_| kind(&broadcast(&story.pass()))).collect();
    assert_eq!(asked, [REQUEST, REQUEST, REQUEST, DISCOVER, DISCOVER]);
}

#[test]
fn another_address_replaces_the_handed_one() {
    let mut story = Story::new(Some(OTHER));
    let mut asked = story.link_up();
    while kind(&asked) != MessageType::Discover {
        asked = broadcast(&story.pass());
    }
    let request = broadcast(&story.answer(&asked, MessageType::Offer, SERVER, |_| {}));
    let actions = story.answer(&request, MessageType::Ack, SERVER, |_| {});
    assert!(matches!(actions.as_slice(), [Action::GiveUp(OTHER), Action::Use(_)]), "{actions:?}");
}

#[test]
fn a_refusal_starts_anew_but_not_in_a_circle() {
    let mut story = Story::new(Some(ADDRESS));
    let request = story.link_up();
    let actions = story.answer(&request, MessageType::Nak, SERVER, |_| {});
    assert_eq!(actions, [Action::GiveUp(ADDRESS)]);
    let before = story.now;
    let discover = broadcast(&story.pass());
    assert_eq!(kind(&discover), MessageType::Discover);
    assert_eq!(discover.options.address(code::REQUESTED_ADDRESS), None);
    assert!(story.now.duration_since(before) >= REFUSAL_WAIT);
}

#[test]
fn a_refusal_of_a_server_that_was_not_chosen_is_ignored() {
    let mut story = Story::new(None);
    let discover = story.link_up();
    let request = broadcast(&story.answer(&discover, MessageType::Offer, SERVER, |_| {}));
    assert_eq!(story.answer(&request, MessageType::Nak, OTHER, |_| {}), []);
    assert_eq!(story.answer(&request, MessageType::Ack, OTHER, |_| {}), []);
    assert_ne!(story.answer(&request, MessageType::Ack, SERVER, |_| {}), []);
}

/// Has the client ask the server for what it offers, and hear nothing, until it looks for servers again.
fn break_a_promise(story: &mut Story, discover: &Message) -> Message {
    let mut asked = broadcast(&story.answer(discover, MessageType::Offer, SERVER, |_| {}));
    while kind(&asked) == MessageType::Request {
        asked = broadcast(&story.pass());
    }
    asked
}

#[test]
fn a_server_that_offers_first_and_never_confirms_wins_once() {
    let mut story = Story::new(None);
    let discover = story.link_up();
    let discover = break_a_promise(&mut story, &discover);
    assert_eq!(story.answer(&discover, MessageType::Offer, SERVER, |_| {}), []);
    let request = broadcast(&story.answer(&discover, MessageType::Offer, OTHER, |_| {}));
    assert_eq!(request.options.address(code::SERVER_IDENTIFIER), Some(OTHER));
    assert_ne!(story.answer(&request, MessageType::Ack, OTHER, |_| {}), []);
}

#[test]
fn a_server_that_refuses_what_it_offered_is_passed_over_too() {
    let mut story = Story::new(None);
    let discover = story.link_up();
    let request = broadcast(&story.answer(&discover, MessageType::Offer, SERVER, |_| {}));
    assert_eq!(story.answer(&request, MessageType::Nak, SERVER, |_| {}), []);
    let discover = broadcast(&story.pass());
    assert_eq!(story.answer(&discover, MessageType::Offer, SERVER, |_| {}), []);
    broadcast(&story.answer(&discover, MessageType::Offer, OTHER, |_| {}));
}

#[test]
fn where_nobody_else_offers_it_gets_another_chance_and_is_forgiven() {
    let mut story = Story::new(None);
    let discover = story.link_up();
    let discover = break_a_promise(&mut story, &discover);
    assert_eq!(story.answer(&discover, MessageType::Offer, SERVER, |_| {}), []);
    let request = broadcast(&story.pass());
    assert_eq!(kind(&request), MessageType::Request);
    assert_eq!(request.options.address(code::SERVER_IDENTIFIER), Some(SERVER));
    let actions = story.answer(&request, MessageType::Ack, SERVER, |_| {});
    assert!(matches!(actions.as_slice(), [Action::Use(_)]), "{actions:?}");
    assert!(story.client.fickle.is_empty());
}

#[test]
fn a_stranger_who_invents_servers_fills_no_memory() {
    let mut story = Story::new(None);
    let mut discover = story.link_up();
    for number in 0..100 {
        let server = Ipv4Addr::from_bits(SERVER.to_bits() + number);
        let request = broadcast(&story.answer(&discover, MessageType::Offer, server, |_| {}));
        story.answer(&request, MessageType::Nak, server, |_| {});
        discover = broadcast(&story.pass());
    }
    assert_eq!(story.client.fickle.len(), MOST_FICKLE);
}

#[test]
fn half_of_the_lease_is_over_then_it_is_renewed_with_its_server() {
    let mut story = Story::bound();
    let start = story.now;
    let actions = story.pass();
    assert_eq!(story.now.duration_since(start), Duration::from_mins(30));
    let [Action::Unicast(request, SERVER)] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!((request.ciaddr, request.flags), (ADDRESS, 0));
    assert_eq!(request.options.address(code::REQUESTED_ADDRESS), None);
    let request = (**request).clone();
    let actions = story.answer(&request, MessageType::Ack, SERVER, |_| {});
    assert!(matches!(actions.as_slice(), [Action::Use(_)]), "{actions:?}");
    assert_eq!(story.client.deadline(), Some(story.now + Duration::from_mins(30)));
}

#[test]
fn a_lease_that_nobody_renews_is_given_up_when_it_is_over() {
    let mut story = Story::bound();
    let start = story.now;
    let mut broadcasts = 0;
    loop {
        match story.pass().as_slice() {
            [Action::Unicast(..)] => assert_eq!(broadcasts, 0),
            [Action::Broadcast(message)] => {
                assert_eq!(message.ciaddr, ADDRESS);
                broadcasts += 1;
            }
            [Action::GiveUp(ADDRESS), Action::Broadcast(message)] => {
                assert_eq!(kind(message), MessageType::Discover);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(broadcasts > 0);
    assert_eq!(story.now.duration_since(start), Duration::from_hours(1));
}

#[test]
fn a_pulled_cable_keeps_the_address_and_its_return_confirms_it() {
    let mut story = Story::bound();
    story.client.link_down();
    let confirm = story.link_up();
    assert_eq!(confirm.options.address(code::REQUESTED_ADDRESS), Some(ADDRESS));
    assert_eq!(confirm.options.address(code::SERVER_IDENTIFIER), None);
    story.client.link_down();
    assert_eq!(story.pass(), [Action::GiveUp(ADDRESS)]);
    assert_eq!(story.client.deadline(), None);
}

#[test]
fn a_server_that_wants_to_be_asked_all_the_time_is_not() {
    for seconds in [0, 1, 29, 3600, u32::MAX] {
        let mut story = Story::new(None);
        let discover = story.link_up();
        let request = broadcast(&story.answer(&discover, MessageType::Offer, SERVER, |_| {}));
        let bound = story.now;
        story.answer(&request, MessageType::Ack, SERVER, |ack| {
            ack.options.set_seconds(code::LEASE_TIME, 60);
            ack.options.set_seconds(code::RENEWAL_TIME, seconds);
            ack.options.set_seconds(code::REBINDING_TIME, seconds);
        });
        story.pass();
        assert!(story.now.duration_since(bound) >= Duration::from_secs(30), "{seconds}");
    }
}

#[test]
fn a_lease_for_ever_is_never_renewed() {
    let mut story = Story::new(Some(ADDRESS));
    let request = story.link_up();
    story.answer(&request, MessageType::Ack, SERVER, |ack| {
        ack.options.set_seconds(code::LEASE_TIME, FOR_EVER);
    });
    assert_eq!(story.client.deadline(), None);
}

#[test]
fn a_strangers_answer_is_ignored() {
    let mut story = Story::new(None);
    let discover = story.link_up();
    let wrong: [fn(&mut Message); 4] = [
        |offer| offer.xid ^= 1,
        |offer| offer.chaddr.0[5] ^= 1,
        |offer| offer.op = Operation::Request,
        |offer| offer.yiaddr = Ipv4Addr::BROADCAST,
    ];
    for change in wrong {
        assert_eq!(story.answer(&discover, MessageType::Offer, SERVER, change), []);
    }
}

#[test]
fn masks_are_counted_or_refused() {
    assert_eq!(prefix_bits(Ipv4Addr::new(255, 255, 255, 0)), Some(24));
    assert_eq!(prefix_bits(Ipv4Addr::BROADCAST), Some(32));
    assert_eq!(prefix_bits(Ipv4Addr::new(255, 0, 255, 0)), None);
    assert_eq!(prefix_bits(Ipv4Addr::UNSPECIFIED), None);
}

/// What can happen to a client.
#[derive(Debug, Clone)]
enum Happens {
    Up,
    Down,
    Time,
    Answer(u8, u32, bool),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        1 => Just(Happens::Up),
        1 => Just(Happens::Down),
        3 => Just(Happens::Time),
        3 => (1_u8..8, any::<u32>(), any::<bool>())
            .prop_map(|(kind, seconds, other)| Happens::Answer(kind, seconds, other)),
    ]
}

proptest! {
    #[test]
    fn with_a_link_it_always_waits_for_something_or_has_an_address_for_ever(
        story in prop::collection::vec(happens(), 0..60)
    ) {
        let mut now = Instant::now();
        let mut client = Client::new(MAC, None, now);
        let mut last = Message::request(MAC, 0);
        for event in story {
            let actions = match event {
                Happens::Up => client.link_up(now, MIDDLE),
                Happens::Down => {
                    client.link_down();
                    Vec::new()
                }
                Happens::Time => match client.deadline() {
                    // A deadline that does not move forward would be a busy loop.
                    Some(deadline) => {
                        now = deadline.max(now);
                        let actions = client.time(now, MIDDLE);
                        prop_assert!(client.deadline().is_none_or(|next| next > now));
                        actions
                    }
                    None => Vec::new(),
                },
                Happens::Answer(kind, seconds, other) => {
                    let mut reply = last.reply();
                    reply.yiaddr = if other { OTHER } else { ADDRESS };
                    reply.options.set(code::MESSAGE_TYPE, [kind]);
                    reply.options.set_address(code::SERVER_IDENTIFIER, SERVER);
                    reply.options.set_seconds(code::LEASE_TIME, seconds);
                    reply.options.set_seconds(code::RENEWAL_TIME, seconds / 3);
                    client.receive(now, MIDDLE, &reply)
                }
            };
            for action in actions {
                if let Action::Broadcast(message) | Action::Unicast(message, _) = action {
                    last = *message;
                }
            }
            let endless = client.held.is_some_and(|held| held.over.is_none());
            let waits = client.deadline().is_some();
            prop_assert!(waits || endless || client.phase == Phase::NoLink, "{:?}", client);
        }
    }
}

#[test]
fn who_holds_a_lease_asks_again_where_the_server_is_and_takes_no_other_address() {
    assert!(
        Story::new(None).client.inquire(7).is_empty(),
        "without a lease it is asked for anyway"
    );
    let mut story = Story::bound();
    let question = broadcast(&story.client.inquire(7));
    assert_eq!((kind(&question), question.xid), (DISCOVER, 7));
    let deadline = story.client.deadline();
    let told = story.answer(&question, MessageType::Offer, OTHER, |reply| {
        reply.yiaddr = OTHER;
        reply.options.set_text(code::DRYDOCK_SERVER, "https://10.0.0.2:7443");
    });
    assert_eq!(told, [Action::Hear("https://10.0.0.2:7443".to_owned())]);
    for kind in [MessageType::Ack, MessageType::Nak] {
        assert!(story.answer(&question, kind, SERVER, |_| {}).is_empty(), "{kind:?}");
    }
    assert_eq!(story.client.deadline(), deadline, "the lease is as it was");
    let mut stale = question.clone();
    stale.xid = 8;
    assert!(story.answer(&stale, MessageType::Offer, OTHER, |_| {}).is_empty());
}

#[test]
fn the_networks_domain_comes_with_the_lease() {
    let mut story = Story::new(None);
    let discover = story.link_up();
    let asked = discover.options.get(code::PARAMETER_REQUEST_LIST).unwrap();
    assert!(asked.contains(&code::DOMAIN_NAME));
    let request = broadcast(&story.answer(&discover, MessageType::Offer, SERVER, |_| {}));
    let actions = story.answer(&request, MessageType::Ack, SERVER, |reply| {
        reply.options.set_text(code::DOMAIN_NAME, "example.com");
    });
    let [Action::Use(lease)] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!(lease.domain.as_deref(), Some("example.com"));
}
