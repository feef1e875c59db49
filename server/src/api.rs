//! The two doors: agents' (TLS, pinned) and operators' (Unix socket). They have no route in common.

pub mod key;
mod session;
