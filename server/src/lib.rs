//! Drydock's boot server: everything between a machine's first DHCP request and its Hardware record.
#![forbid(unsafe_code)]

pub mod boot;
pub mod decision;
pub mod journal;
pub mod tftp;
