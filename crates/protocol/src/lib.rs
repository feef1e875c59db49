//! Everything agent and server say to each other: values and their JSON, no I/O.
//!
//! Reports ([`Announce`], [`Inventory`], [`Event`]) are read tolerantly: unknown fields are ignored,
//! so that an older server understands a newer agent. Instructions ([`Instruction`]) are read strictly:
//! an unknown field or verb is refused, so that nothing half understood is ever done.
//!
//! ```
//! use protocol::{Instruction, Verb};
//!
//! let instruction: Instruction = serde_json::from_str(r#"{"sequence": 7, "verb": {"kind": "reboot"}}"#)?;
//! assert_eq!(instruction.verb, Verb::Reboot {});
//! assert!(serde_json::from_str::<Instruction>(r#"{"sequence": 7, "verb": {"kind": "dance"}}"#).is_err());
//! # Ok::<(), serde_json::Error>(())
//! ```
#![forbid(unsafe_code)]

mod announce;
mod command_line;
mod event;
mod image_map;
pub mod install;
mod instruction;
pub mod inventory;
mod mac;
pub mod order;
mod pin;
mod size;
pub mod wipe;

pub use self::{
    announce::{Announce, BootReport, Phase, Welcome},
    command_line::{CommandLine, CommandLineError, HandedLease},
    event::{Event, EventKind, Level},
    image_map::{ImageMap, ImageMapError, MappedPart},
    install::Install,
    instruction::{Instruction, Verb},
    inventory::Inventory,
    mac::{MacAddress, MacAddressError},
    order::{InventoryDigest, Order, OrderId},
    pin::{Pin, PinError},
    size::Bytes,
    wipe::Wipe,
};

/// The version that stands in every path of the agents' door: `/v1/…`.
pub const VERSION: u32 = 1;

/// The largest announcement that the server accepts. A machine with 1,000 disks stays below a quarter of it.
pub const ANNOUNCE_LIMIT: Bytes = Bytes(4 << 20);
