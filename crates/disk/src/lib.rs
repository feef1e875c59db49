//! A disk that something is to be written to: opened, checked against an order, held. Knows devices, never policy.
#![forbid(unsafe_code)]

mod buffer;
mod fault;
mod handle;
mod medium;
mod plain_file;

pub use self::{
    buffer::{ALIGNMENT, AlignedBuffer},
    fault::{Fault, Operation},
    handle::ZeroingProof,
    medium::{Medium, Zeroing},
    plain_file::{PlainFile, PlainFileError},
};
