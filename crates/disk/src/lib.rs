//! A disk that something is to be written to: opened, checked against an order, held. Knows devices, never policy.
#![forbid(unsafe_code)]

mod buffer;
pub mod command;
mod controller;
mod door;
mod fault;
mod handle;
mod held;
mod loop_device;
mod medium;
mod nvme;
pub mod permit;
mod plain_file;
pub mod stick;
mod target;

/// For work on a disk: a panic in it is a failure of that work, not of the program.
pub use inventory::guard;

pub use self::{
    buffer::{ALIGNMENT, AlignedBuffer},
    controller::{Controller, ControllerError},
    door::{MmcDoor, NamespaceDoor, OpalDoor, ScsiDoor},
    fault::{Fault, Operation},
    handle::ZeroingProof,
    held::{Asking, Held},
    loop_device::{LoopDevice, LoopDeviceError},
    medium::{Medium, Zeroing},
    permit::{Cleared, Permit, Refusal},
    plain_file::{PlainFile, PlainFileError},
    target::is_only_unit,
};
