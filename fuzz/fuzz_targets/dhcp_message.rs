//! Any UDP datagram on the DHCP ports: read, and what was read is written and read again alike.
#![no_main]

use dhcp::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::parse(bytes) else { return };
    let _asked = (message.options.architectures(), message.options.uuid(), message.boot_file(), message.limit());
    let written = message.encode(u16::MAX);
    let again = Message::parse(&written).expect("what we write can be read");
    assert_eq!(again.options.message_type(), message.options.message_type());
});
