//! Inventories of captured machines, and of trees made to do harm.
#![expect(clippy::disallowed_methods, reason = "tests lay out the trees that the crate reads")]
#![expect(clippy::print_stderr, reason = "a test that is left out says so")]

#[path = "it/hostile.rs"]
mod hostile;
#[path = "it/hull.rs"]
mod hull;
#[path = "it/live.rs"]
mod live;
#[path = "it/nvme.rs"]
mod nvme;
#[path = "it/port.rs"]
mod port;
#[path = "it/smbios.rs"]
mod smbios;
#[path = "it/tree.rs"]
mod tree;
#[path = "it/udev.rs"]
mod udev;
