//! `working`: clears tables and signatures wherever they can be, and looks whether any is left.
//!
//! ```text
//! plan ─► Places ─► clear: what nothing else is known from ─► flush ─► what leads furthest in ─► flush ─► … ─► tables
//!            └────► probe: nothing is recognised any more
//! ```
//!
//! [`plan`] only reads. [`clear()`] can be cut off at any point: whatever leads to places that are not cleared yet is
//! still there for the next run. Data between the places stays: that is no erasure of a disk, and `full` is for that.

mod clear;
mod holders;
mod places;
mod probe;
mod ranges;
pub(crate) mod source;

#[cfg(test)]
mod tests;

pub use self::{
    clear::{Bad, BadReason, Cleared, clear},
    holders::{HoldersError, NotReleased, release},
    places::{END_WRITTEN, END_ZEROED, Place, Places, PlanError, START_WRITTEN, Why, plan},
    probe::{Left, probe},
};
pub use signature::survey::{Area, Found};
