//! The server's side of DHCP: authoritative, proxy or silent, per interface.
//!
//! ```text
//!  sockets ──► Caller ──► pace, watch ──► decide ──► respond ──► ARP probe ──► store ──► sockets
//!   (wire)    who asks   may it be       what it     pure          is it       survives
//!                        answered now    shall boot                free        a power cut
//! ```

pub mod answer;
pub mod caller;
pub mod conflict;
pub mod lease;
pub mod lookout;
pub mod pace;
pub mod program;
pub mod service;
pub mod settings;
pub mod watch;
pub mod wire;

pub use self::{
    service::{BindError, Bound, Handle, Opened, Reservation, Seams, open},
    settings::{Mode, ModeAsWritten, Settings, SettingsError, Subnet, SubnetAsWritten},
};
