//! The agent against servers that the tests play, over true TLS on loopback.

#[path = "it/bulk.rs"]
mod bulk;
#[path = "it/farewell.rs"]
mod farewell;
#[path = "it/harbour.rs"]
mod harbour;
#[path = "it/session.rs"]
mod session;
