//! Finding a server by DNS: which questions lead to it, and who answers them. Pure; sockets and clocks live outside.
//!
//! A service is found in three steps (RFC 6763): `_drydock._tcp.local` names instances (PTR), an instance names a host
//! and a port (SRV), a host has addresses (A, AAAA). By multicast (RFC 6762) one answer tends to hold all of it; by
//! unicast the domain is the network's own. [`Search`] is who looks, [`Responder`] who is found.
//!
//! ```
//! use dnssd::{Search, domain};
//!
//! let search = Search::new(&domain("example.com").unwrap());
//! assert_eq!(search.questions().len(), 1);
//! assert!(search.servers().is_empty());
//! ```
#![forbid(unsafe_code)]

mod announcement;
mod message;
mod responder;
mod search;

pub use self::{
    announcement::Announcement,
    message::{Kind, Message, Name, Question, Record, Value},
    responder::{Network, Responder},
    search::{Search, domain},
};

/// Where multicast DNS is spoken: this group and port. RFC 6762 §3.
pub const GROUP: std::net::Ipv4Addr = std::net::Ipv4Addr::new(224, 0, 0, 251);
/// The port of multicast DNS.
pub const MULTICAST_PORT: u16 = 5353;
/// The port of a name server.
pub const PORT: u16 = 53;
/// The hop limit of multicast DNS, which says that a message came from the same link. RFC 6762 §11.
pub const HOPS: u32 = 255;

/// What Drydock's agents' door is called among services.
const SERVICE: [&str; 2] = ["_drydock", "_tcp"];
/// Under this name all services of a link are listed. RFC 6763 §9.
const SERVICES: [&str; 3] = ["_services", "_dns-sd", "_udp"];
