//! The agent against servers that the tests play, over true TLS on loopback, and on disks that are files.

#[path = "it/bulk.rs"]
mod bulk;
#[path = "it/farewell.rs"]
mod farewell;
#[path = "it/finding.rs"]
mod finding;
#[path = "it/harbour.rs"]
mod harbour;
#[path = "it/installed.rs"]
mod installed;
#[path = "it/session.rs"]
mod session;
