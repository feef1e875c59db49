//! Puts an image on a disk: every chunk checked before it is written, nothing bootable before all of it is there.
//!
//! [`install`] takes a disk, a plan (the chunk table of a signed manifest) and sources of the file of frames.
//! [`install_foreign`] takes a file from elsewhere, with less to vouch for it. [`finish`] does what follows the image: the partition table, a seed for cloud-init.
#![forbid(unsafe_code)]

mod after;
mod boot;
mod chance;
mod crew;
mod examine;
mod failure;
mod foreign;
mod gauge;
mod mirror;
mod options;
mod pipeline;
mod plan;
mod queue;
mod source;
mod stop;
mod write;
mod zero;

pub use self::{
    after::{Random, StepFailure, apply, finish, name},
    failure::{Failure, Unfit},
    foreign::{Foreign, install_foreign, install_mapped},
    options::{Compare, Options, Patience, ProvenZero, SLOWEST_BYTES, Verify},
    plan::{Plan, Table},
    source::{FetchError, Source},
    stop::{Stop, Stopped},
    write::{Listener, disarm, install},
};
