//! What both PID 1s share: boot, devices, network, the session with the server, farewell.
//!
//! ```
//! let line = "console=ttyS0 drydock.server=https://10.0.0.1:7443";
//! let settings = agent::settings::read(line, None)?;
//! assert_eq!(settings.server.as_deref(), Some("https://10.0.0.1:7443"));
//! # Ok::<(), agent::settings::SettingsError>(())
//! ```
#![forbid(unsafe_code)]

pub mod boot;
pub mod boot_entry;
pub mod cipher;
pub mod console;
pub mod devices;
mod engine;
pub mod farewell;
pub mod finding;
pub mod installed;
pub mod kexec;
pub mod lease;
pub mod life;
pub mod machine;
mod manifest;
pub mod network;
#[cfg(feature = "offline")]
pub mod offline;
pub mod orders;
pub mod panel;
pub mod pin;
pub mod session;
pub mod settings;
pub mod signals;
pub mod watchdog;
pub mod work;
