//! The codec against messages of real clients, truncated, mutated and invented.
#![expect(clippy::print_stderr, reason = "a test that finds no samples says so")]

#[path = "it/message.rs"]
mod message;
#[path = "it/pcap.rs"]
mod pcap;
#[path = "it/samples.rs"]
mod samples;
