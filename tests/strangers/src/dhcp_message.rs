//! Any UDP datagram on the DHCP ports: read, and what was read is written and read again alike.

use dhcp::Message;

/// What is read can be written within what the client takes, and says the same when it is read again.
pub fn check(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else { return };
    let options = &message.options;
    let _asked = (options.architectures(), options.uuid(), options.user_classes());
    let _named = (options.link_selection(), message.boot_file());
    let written = message.encode(message.limit());
    assert!(written.len() + 28 <= usize::from(message.limit()), "longer than the client takes");
    let again = Message::parse(&message.encode(u16::MAX)).expect("what we write can be read");
    assert_eq!(again.options.message_type(), options.message_type());
    assert_eq!(
        (again.xid, again.chaddr, again.giaddr),
        (message.xid, message.chaddr, message.giaddr)
    );
}

/// What clients send that want to boot, and what servers answer.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = crate::scene::requests();
    let discover = Message::parse(&seeds[0]).expect("our samples are sound");
    let mut offer = discover.reply();
    offer.options.set_message_type(dhcp::MessageType::Offer);
    offer.file = b"boot/own-disk".to_vec();
    seeds.push(offer.encode(dhcp::DEFAULT_LIMIT));
    seeds
}
