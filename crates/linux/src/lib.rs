//! Safe doors into the kernel: the only crate that says `unsafe`.
#![expect(
    unsafe_code,
    reason = "ioctls have no safe form; each is one call in one block with its promise"
)]

pub mod address;
pub mod bcache;
pub mod belt;
pub mod block;
pub mod child;
pub mod clock;
pub mod console;
pub mod device_mapper;
pub mod direct;
pub mod ethtool;
pub mod filesystem;
pub mod kernel_log;
pub mod kexec;
pub mod link;
pub mod loop_device;
pub mod md;
pub mod mmc;
pub mod module;
pub mod mount;
mod netlink;
pub mod nvme;
pub mod opal;
pub mod port;
pub mod power;
pub mod release;
pub mod reservation;
pub mod rooted;
pub mod scsi;
pub mod suspend;
pub mod thread;
pub mod transfer;
pub mod uevent;
pub mod watchdog;
