//! Drydock's boot server: everything between a machine's first DHCP request and its Hardware record.
#![forbid(unsafe_code)]

pub mod announce;
pub mod api;
pub mod boot;
pub mod certificate;
pub mod clock;
pub mod command;
pub mod config;
pub mod decision;
pub mod dhcp;
pub mod explain;
pub mod hardware;
pub mod image;
pub mod journal;
pub mod machine;
pub mod metadata;
pub mod moment;
pub mod seed;
pub mod serve;
pub mod text;
pub mod tftp;
