//! Safe doors into the kernel: the only crate that says `unsafe`.
#![expect(
    unsafe_code,
    reason = "ioctls have no safe form; each is one call in one block with its promise"
)]

pub mod address;
pub mod block;
pub mod ethtool;
