//! Who gets which address, keeps it, loses it.

use super::*;

#[test]
fn one_machine_has_one_address_through_firmware_ipxe_agent_and_system() {
    let mut server = Server::authoritative();
    let address = server.lend(&uefi);
    server.now = server.now.after(Duration::from_secs(20));
    assert_eq!(server.lend(&ipxe), address);
    assert_eq!(server.lend(&agent), address);
    assert_eq!(server.lend(&telephone), address);
    // A day later, through a lapsed lease.
    server.now = server.now.after(Duration::from_hours(72));
    assert_eq!(server.lend(&http), address);
    assert_eq!(server.leases.count(), 1);
}

#[test]
fn a_long_lease_is_not_shortened_by_a_reboot() {
    let mut server = Server::authoritative();
    let address = server.lend(&telephone);
    let until = server.leases.get(address).unwrap().until;
    assert_eq!(until, NOW.after(Duration::from_hours(24)));
    server.lend(&uefi);
    assert_eq!(server.leases.get(address).unwrap().until, until);
}

#[test]
fn an_address_is_probed_unless_it_is_the_askers_own() {
    let mut server = Server::authoritative();
    let offer = server.ask(&uefi(MessageType::Discover));
    assert_eq!(offer.probe, Some(offer.reply.unwrap().message.yiaddr));
    let address = server.lend(&uefi);
    assert_eq!(server.ask(&ipxe(MessageType::Discover)).probe, None);
    server.now = server.now.after(Duration::from_secs(301));
    assert_eq!(server.ask(&uefi(MessageType::Discover)).probe, Some(address), "lapsed");
}

#[test]
fn an_acknowledged_address_must_be_stored_first() {
    let mut server = Server::authoritative();
    let offer = server.ask(&uefi(MessageType::Discover));
    assert_eq!(offer.store, None);
    let address = offer.reply.unwrap().message.yiaddr;
    let ack = server.ask(&selecting(uefi(MessageType::Request), address));
    assert_eq!(ack.store, Some((address, *server.leases.get(address).unwrap())));
    assert_eq!(ack.has_address, Some(address));
}

#[test]
fn a_client_may_keep_an_address_that_is_free() {
    let mut server = Server::authoritative();
    let address = Ipv4Addr::new(10, 77, 0, 150);
    let mut rebooting = telephone(MessageType::Request);
    rebooting.message.options.set_address(code::REQUESTED_ADDRESS, address);
    assert_eq!(server.reply(&rebooting).message.yiaddr, address);

    let mut renewing = of(telephone(MessageType::Request), 2);
    renewing.message.ciaddr = Ipv4Addr::new(10, 77, 0, 151);
    let reply = server.reply(&renewing);
    assert_eq!(reply.message.options.message_type(), Some(MessageType::Ack));
    assert_eq!(reply.destination, SocketAddrV4::new(renewing.message.ciaddr, CLIENT_PORT));
}

#[test]
fn a_wrong_address_is_refused_by_broadcast() {
    let mut server = Server::authoritative();
    let taken = server.lend(&uefi);
    let elsewhere = Ipv4Addr::new(192, 168, 1, 5);
    let outside_pool = Ipv4Addr::new(10, 77, 0, 20);
    for address in [taken, elsewhere, outside_pool] {
        let mut rebooting = of(telephone(MessageType::Request), 2);
        rebooting.message.options.set_address(code::REQUESTED_ADDRESS, address);
        let mut renewing = of(telephone(MessageType::Request), 2);
        renewing.message.ciaddr = address;
        for caller in [rebooting, renewing] {
            let reply = server.reply(&caller);
            assert_eq!(reply.message.options.message_type(), Some(MessageType::Nak), "{address}");
            assert_eq!(reply.destination, broadcast());
            assert_eq!(reply.message.yiaddr, Ipv4Addr::UNSPECIFIED);
            assert!(!reply.message.options.contains(code::LEASE_TIME));
        }
    }
    assert_eq!(server.leases.count(), 1);
}

#[test]
fn an_offer_that_went_to_another_server_is_withdrawn() {
    let mut server = Server::authoritative();
    server.reply(&uefi(MessageType::Discover));
    let other = Ipv4Addr::new(10, 77, 0, 9);
    let mut request = uefi(MessageType::Request);
    request.message.options.set_address(code::SERVER_IDENTIFIER, other);
    assert_eq!(server.silence(&request), Silence::OtherServer { server: other });
    assert_eq!(server.leases.count(), 0);
}

#[test]
fn a_declined_address_rests() {
    let mut server = Server::authoritative();
    let address = server.lend(&telephone);
    let stranger = of(telephone(MessageType::Decline), 9);
    assert_eq!(server.ask(&selecting(stranger, address)), Response::default(), "not its own");
    let response = server.ask(&selecting(telephone(MessageType::Decline), address));
    assert_eq!(response.store.map(|(_, lease)| lease.state), Some(State::Quarantined));
    assert_eq!(response.reply, None);
    let next = server.lend(&telephone);
    assert_ne!(next, address);
    server.now = server.now.after(Duration::from_hours(11));
    let mut keeper = of(telephone(MessageType::Request), 3);
    keeper.message.options.set_address(code::REQUESTED_ADDRESS, address);
    assert_eq!(server.reply(&keeper).message.yiaddr, address);
}

#[test]
fn a_released_address_stays_its_clients_until_it_is_needed() {
    let mut server = Server::authoritative();
    let address = server.lend(&telephone);
    let mut release = telephone(MessageType::Release);
    release.message.ciaddr = address;
    let response = server.ask(&release);
    assert_eq!(response.store.map(|(_, lease)| lease.until), Some(NOW));
    assert_eq!(server.lend(&telephone), address);
}

#[test]
fn inform_is_answered_without_an_address() {
    let mut server = Server::authoritative();
    let mut inform = telephone(MessageType::Inform);
    inform.message.ciaddr = Ipv4Addr::new(10, 77, 0, 20);
    let reply = server.reply(&inform);
    assert_eq!(reply.destination, SocketAddrV4::new(inform.message.ciaddr, CLIENT_PORT));
    assert_eq!(reply.message.yiaddr, Ipv4Addr::UNSPECIFIED);
    assert!(!reply.message.options.contains(code::LEASE_TIME));
    assert_eq!(reply.message.options.addresses(code::ROUTERS).len(), 1);
    assert_eq!(server.leases.count(), 0);
}

#[test]
fn a_request_for_another_address_than_its_own_is_not_answered() {
    let mut request = telephone(MessageType::Request);
    request.message.ciaddr = Ipv4Addr::new(192, 0, 2, 7);
    request.message.options.set_address(code::REQUESTED_ADDRESS, Ipv4Addr::new(10, 77, 0, 120));
    let mut server = Server::authoritative();
    let problem = "a REQUEST for 10.77.0.120 from 192.0.2.7".to_owned();
    assert_eq!(server.silence(&request), Silence::Malformed { problem });
    assert_eq!(server.leases.count(), 0);
    // Some clients say it twice.
    request.message.ciaddr = Ipv4Addr::new(10, 77, 0, 120);
    assert_eq!(server.reply(&request).message.yiaddr, request.message.ciaddr);
}

#[test]
fn inform_from_an_address_of_no_subnet_of_ours_is_not_answered() {
    let mut inform = telephone(MessageType::Inform);
    inform.message.ciaddr = Ipv4Addr::new(192, 0, 2, 7);
    let silence = Server::authoritative().silence(&inform);
    let problem = "an INFORM from 192.0.2.7, which lies in no subnet of ours".to_owned();
    assert_eq!(silence, Silence::Malformed { problem });
}

#[test]
fn relays_get_their_own_subnet_and_their_own_words_back() {
    let behind = SubnetAsWritten {
        key: "spec.network.vlans[1]".to_owned(),
        network: Ipv4Addr::new(10, 78, 0, 0),
        range_start: Ipv4Addr::new(10, 78, 0, 10),
        range_end: Ipv4Addr::new(10, 78, 0, 20),
        routers: vec![Ipv4Addr::new(10, 78, 0, 1)],
        ..written()
    };
    let subnets = vec![written(), behind];
    let mut server = Server::new(ModeAsWritten::Authoritative { subnets, force: false });
    let relay = Ipv4Addr::new(10, 78, 0, 1);
    let mut discover = relayed(uefi(MessageType::Discover), relay);
    discover.message.options.set(code::RELAY_INFORMATION, [1, 2, 0xab, 0xcd]);
    let response = server.ask(&discover);
    assert_eq!(response.probe, None, "ARP does not reach there");
    let reply = response.reply.unwrap();
    assert_eq!(reply.destination, SocketAddrV4::new(relay, SERVER_PORT));
    assert_eq!(reply.message.giaddr, relay);
    assert!(server.settings.subnets()[1].lends(reply.message.yiaddr));
    let wire = Message::parse(&reply.payload).unwrap();
    assert_eq!(wire.options.iter().last(), Some((82, &[1, 2, 0xab, 0xcd][..])));

    let mut refused = relayed(uefi(MessageType::Request), relay);
    refused.message.options.set_address(code::REQUESTED_ADDRESS, Ipv4Addr::new(1, 2, 3, 4));
    let reply = server.reply(&refused);
    assert_eq!(reply.message.options.message_type(), Some(MessageType::Nak));
    assert!(reply.message.wants_broadcast());

    // The relay's own address lies elsewhere, and it says so. RFC 3527.
    let mut selected = relayed(of(uefi(MessageType::Discover), 7), Ipv4Addr::new(172, 16, 0, 1));
    selected.message.options.set(code::RELAY_INFORMATION, [5, 4, 10, 78, 0, 0]);
    let reply = server.reply(&selected);
    assert!(server.settings.subnets()[1].lends(reply.message.yiaddr));
    assert_eq!(reply.destination, SocketAddrV4::new(Ipv4Addr::new(172, 16, 0, 1), SERVER_PORT));

    // Its renewal comes without the relay.
    let mut renewing = of(uefi(MessageType::Request), 8);
    renewing.message.ciaddr = Ipv4Addr::new(10, 78, 0, 20);
    assert_eq!(server.reply(&renewing).message.options.addresses(code::ROUTERS), [relay]);
}

#[test]
fn a_relay_of_an_unknown_subnet_is_not_answered() {
    let relay = Ipv4Addr::new(10, 99, 0, 1);
    let silence = Server::authoritative().silence(&relayed(uefi(MessageType::Discover), relay));
    assert_eq!(silence, Silence::UnknownSubnet { relay });
}

#[test]
fn an_exhausted_pool_serves_those_who_are_in_it() {
    let mut subnet = written();
    subnet.range_end = Ipv4Addr::new(10, 77, 0, 101);
    let mut server =
        Server::new(ModeAsWritten::Authoritative { subnets: vec![subnet], force: false });
    let first = server.lend(&|kind| of(telephone(kind), 1));
    server.lend(&|kind| of(telephone(kind), 2));
    assert_eq!(server.silence(&of(telephone(MessageType::Discover), 3)), Silence::PoolExhausted);
    assert_eq!(server.lend(&|kind| of(telephone(kind), 1)), first);
    // The lease that lapsed first makes room.
    server.now = server.now.after(Duration::from_hours(1));
    server.lend(&|kind| of(telephone(kind), 1));
    server.now = server.now.after(Duration::from_secs(23 * 3600 + 1));
    server.lend(&|kind| of(telephone(kind), 3));
    assert_eq!(server.lend(&|kind| of(telephone(kind), 1)), first);
}

#[test]
fn invented_clients_crowd_out_offers_but_no_leases() {
    let mut server = Server::authoritative();
    let known = server.lend(&telephone);
    for number in 0..20_000_u32 {
        let mut caller = telephone(MessageType::Discover);
        let [a, b, c, d] = number.to_be_bytes();
        caller.message.chaddr = MacAddress([2, 9, a, b, c, d]);
        server.now = server.now.after(Duration::from_millis(5));
        server.ask(&caller);
    }
    assert!(server.leases.count() <= 100);
    assert_eq!(server.lend(&telephone), known);
    // Clients ask again after some seconds; by then the oldest offers yield.
    server.now = server.now.after(Duration::from_secs(10));
    server.lend(&|kind| of(telephone(kind), 2));
}

#[test]
fn a_reserved_address_is_never_given_away() {
    let mut subnet = written();
    subnet.range_end = subnet.range_start;
    let mut server =
        Server::new(ModeAsWritten::Authoritative { subnets: vec![subnet], force: false });
    let address = server.lend(&uefi);
    let subnet = server.settings.subnets()[0].clone();
    let (reserved, lease) = server.leases.reserve(MAC, &subnet).unwrap();
    assert_eq!((reserved, lease.reserved), (address, true));
    server.now = server.now.after(Duration::from_hours(365 * 24));
    assert_eq!(server.silence(&of(telephone(MessageType::Discover), 3)), Silence::PoolExhausted);
    assert_eq!(server.ask(&uefi(MessageType::Discover)).probe, None, "known to be its own");
    assert_eq!(server.lend(&uefi), address);
    assert!(server.leases.get(address).unwrap().reserved);
    server.leases.unreserve(MAC);
    server.now = server.now.after(Duration::from_secs(301));
    server.lend(&|kind| of(telephone(kind), 3));
}

#[test]
fn leases_outlive_the_server_where_the_pool_still_holds_them() {
    let mut server = Server::authoritative();
    let address = server.lend(&telephone);
    let stored = [
        (address, *server.leases.get(address).unwrap()),
        (Ipv4Addr::new(10, 99, 0, 1), *server.leases.get(address).unwrap()),
    ];
    server.leases = Leases::restore(stored, server.settings.subnets());
    assert_eq!(server.leases.count(), 1);
    assert_eq!(server.lend(&telephone), address);
}

#[test]
fn a_restarted_server_honours_the_offers_of_its_forerunner() {
    let mut server = Server::authoritative();
    let offered = server.reply(&uefi(MessageType::Discover)).message.yiaddr;
    server.leases = Leases::default();
    let reply = server.reply(&selecting(uefi(MessageType::Request), offered));
    assert_eq!(reply.message.options.message_type(), Some(MessageType::Ack));
}
