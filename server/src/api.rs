//! The two doors: agents' (TLS, pinned) and operators' (Unix socket). They have no route in common.

pub mod agents;
pub mod certificates;
pub mod client;
pub mod door;
mod frames;
mod images;
pub mod key;
pub mod operators;
pub mod orders;
pub(crate) mod rate;
mod sending;
mod session;
pub mod socket;
mod store;
