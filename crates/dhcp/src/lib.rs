//! DHCP messages and options as values: pure, for the server, the agent and the tests.
//!
//! [`Message::parse`] refuses what makes no sense instead of guessing; [`Message::encode`] writes what
//! firmware of every kind reads: at least 300 bytes, never more than the client takes, options never
//! moved into `sname` or `file`, option 82 last.
//!
//! ```
//! use std::net::Ipv4Addr;
//!
//! use dhcp::{Message, MessageType, code};
//! use protocol::MacAddress;
//!
//! let mut discover = Message::request(MacAddress([0x52, 0x54, 0, 1, 2, 3]), 0x1234_5678);
//! discover.options.set_message_type(MessageType::Discover);
//! discover.options.set_text(code::VENDOR_CLASS, "PXEClient:Arch:00007:UNDI:003000");
//! discover.options.set_architectures(&[7]);
//! let wire = discover.encode(dhcp::DEFAULT_LIMIT);
//!
//! let request = Message::parse(&wire)?;
//! assert_eq!(request.options.architectures(), [7]);
//!
//! let mut offer = request.reply();
//! offer.yiaddr = Ipv4Addr::new(10, 77, 0, 100);
//! offer.options.set_message_type(MessageType::Offer);
//! assert_eq!(Message::parse(&offer.encode(request.limit()))?, offer);
//! # Ok::<(), dhcp::MalformedMessage>(())
//! ```
#![forbid(unsafe_code)]

pub mod code;
mod message;
mod options;
mod typed;
mod uuid;

pub use self::{
    message::{DEFAULT_LIMIT, MalformedMessage, Message, Operation},
    options::{MalformedOptions, Options},
    typed::MessageType,
};
