//! The first words between a machine and the server.

use serde::{Deserialize, Serialize};

use crate::{Inventory, MacAddress, Verb};

/// What a machine says when it has booted, and again when late findings change the picture.
///
/// `POST /v1/announce`, over TLS with the key that the agent made in this boot as its client certificate:
/// that key is the session, no token exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Announce {
    /// The system that the machine booted: `SunshineOS` or `HerculesOS`; absent is the former. Only the former is told
    /// to install, only the latter to wipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The agent's version, as in its `Cargo.toml`.
    pub agent_version: String,
    /// The kernel's release, as `uname -r` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_release: Option<String>,
    /// How this boot went.
    #[serde(default)]
    pub boot: BootReport,
    /// What the machine is.
    pub inventory: Inventory,
    /// False while devices are still being probed: a later announcement completes the picture.
    #[serde(default)]
    pub complete: bool,
}

/// How this boot went, as the agent saw it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootReport {
    /// The port that the machine booted through, as iPXE handed it over; absent when nothing was handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// The agent's clock when it announced, before the server corrected it: seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_unix_seconds: Option<i64>,
    /// Whether the machine started from a CD or stick: one that restarts starts from it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_medium: bool,
    /// Phases in the order in which they ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<Phase>,
}

/// A phase of the boot that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// For example `kernel`, `devices`, `network`, `inventory`.
    pub name: String,
    /// When it ended, in milliseconds since the kernel started (`CLOCK_BOOTTIME`).
    pub ended_milliseconds: u64,
}

/// The server's answer to an announcement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// The name under which the server knows the machine.
    pub machine: String,
    /// The server's clock: milliseconds since 1970, when it is synchronised; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_unix_milliseconds: Option<i64>,
    /// The sequence number after which to ask for instructions.
    pub sequence: u64,
    /// What a person at the console should read, for example why the machine is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// What to do until an instruction comes.
    pub verb: Verb,
}
