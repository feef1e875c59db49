//! How an installed system is started: UEFI boot entries, and what its boot loader would load.
//!
//! Pure, over what the caller reads: nothing here mounts, writes or asks a kernel.
//! All that is read was made by strangers, and is read in bounded memory and time.
#![forbid(unsafe_code)]

pub mod disk;
pub mod entry;
pub mod loader;
pub mod menu;
mod version;

#[cfg(test)]
mod sample;
