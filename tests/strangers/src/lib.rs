//! What strangers may send, and what must hold whatever it is.
//!
//! Each module is one target: `check` takes any bytes and panics where something does not hold; `seeds` returns
//! sound samples, made by our own encoders or written by hand as real clients were seen to send them.
//! `cargo fuzz run TARGET` in `fuzz/` calls `check` with what it invents; the tests below call it with every seed,
//! every truncation of one, and every input that is kept in `fuzz/corpus`.
//!
//! ```
//! for target in strangers::TARGETS {
//!     (target.check)(b"whatever it is");
//! }
//! ```
#![forbid(unsafe_code)]

pub mod announcement;
pub mod command_line;
pub mod dhcp_answer;
pub mod dhcp_client;
pub mod dhcp_message;
pub mod disk_signature;
pub mod ethernet_frame;
pub mod http_path;
pub mod image_manifest;
pub mod image_map;
pub mod image_qcow2;
pub mod image_unpack;
mod packets;
mod scene;
pub mod smbios_table;
pub mod tftp_packet;

/// Something of ours that reads what strangers send.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: the fuzzer's, and that of its directory in `fuzz/corpus`.
    pub name: &'static str,
    /// Panics where something does not hold.
    pub check: fn(&[u8]),
    /// Returns sound samples.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        [$(Target { name: stringify!($name), check: $name::check, seeds: $name::seeds }),*]
    };
}

/// All of them.
pub const TARGETS: [Target; 14] = targets![
    announcement,
    command_line,
    dhcp_answer,
    dhcp_client,
    dhcp_message,
    disk_signature,
    ethernet_frame,
    http_path,
    image_manifest,
    image_map,
    image_qcow2,
    image_unpack,
    smbios_table,
    tftp_packet,
];

#[cfg(test)]
mod tests;
