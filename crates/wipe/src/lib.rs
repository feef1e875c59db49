//! Removes what is on disks that were ordered, and looks whether it is gone. Takes disks with a permit and does as told:
//! never chooses a disk, never speaks HTTP. Only `hercules` links it.
//!
//! ```text
//! level, what the device can ─► plan ─► canaries ─► techniques, in order ─► reading back ─► verdict
//!                                                   only after a clean failure the next one
//! ```
//!
//! That a command was accepted is never evidence.
#![forbid(unsafe_code)]

pub mod firmware;
pub mod forecast;
mod gate;
pub mod harbour;
mod heard;
pub mod job;
mod part;
pub mod pass;
pub mod plan;
pub mod unit;
pub mod verdict;
pub mod verification;
mod watch;
pub mod working;

pub use self::watch::{Stopped, Unwatched, Watch};
pub use self::{
    gate::{Gate, Opening},
    part::{Handling, Part},
};
