//! Devices that QEMU does not have, as state machines written from their specifications: raw commands in, raw answers
//! out. Shares nothing with what it tests, so that a bit which one side has wrong is seen.
//!
//! Time and power are the test's: a device does only what its own clock has come to, [`nvme::Controller::advance`] moves
//! it, and `power_cut` takes from it all that does not outlast one. What the host reads and what is really on the medium
//! are two things: `medium` shows the second, with over-provisioning, hidden areas and blocks that were replaced.
//!
//! ```
//! use std::time::Duration;
//! use devices::nvme::{Config, Controller};
//!
//! let mut controller = Controller::new(Config::default());
//! controller.write(1, 0, &[0x5a; 512]).expect("namespace 1 is attached");
//! // Sanitize (0x84), block erase (2).
//! controller.admin(0x84, 0, [2, 0, 0, 0, 0, 0], &mut []).expect("block erase is supported");
//! controller.advance(Duration::from_hours(1));
//! assert!(!controller.medium().windows(512).any(|bytes| bytes == [0x5a; 512]));
//! ```
#![forbid(unsafe_code)]

mod answer;
pub mod ata;
mod course;
mod layout;
mod medium;
pub mod mmc;
#[cfg(test)]
mod neighbours;
pub mod nvme;
pub mod opal;
pub mod scsi;

pub use self::{answer::Answer, course::Course};

/// The device did not answer: what became of the command is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAnswer;
