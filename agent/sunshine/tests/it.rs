//! `sunshine write` as a person runs it: onto plain files only, from files and from a server on loopback.
#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "the program is run as a person runs it")]

#[path = "it/server.rs"]
mod server;
#[path = "it/store.rs"]
mod store;
#[path = "it/write.rs"]
mod write;
