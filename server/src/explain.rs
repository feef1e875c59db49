//! The boot of one machine as a timeline: what happened, why there was silence, what should have come next, what to try.
//!
//! Pure: entries of the journal go in, values come out.
//!
//! ```text
//! entries ─► boot (the last one) ─► timeline (one step for each entry)
//!                         └───────► traces (what was seen) ─► cause (what is wrong, and what to try)
//! ```

mod boot;
mod cause;
mod sentence;
mod table;
mod traces;
mod verdict;

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

pub use self::cause::Cause;
use crate::journal::Entry;

/// A pause between two steps that is worth a line of its own.
const GAP_MILLISECONDS: u64 = 2_000;

/// What the server does on one interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// The interface.
    pub interface: String,
    /// The server's address on it.
    pub address: Ipv4Addr,
    /// Whose DHCP it is.
    pub mode: Mode,
    /// Where boot files are served.
    pub http_port: u16,
    /// Where the agents' door is.
    pub tls_port: u16,
}

/// Whose the DHCP service of a network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Ours.
    Authoritative,
    /// The router's; we say what to boot.
    Proxy,
    /// The router's, which also says what to boot.
    Off,
}

/// What is known beside the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// What was asked for: a machine's name or a MAC address.
    pub subject: String,
    /// The machine's name, once it has one.
    pub machine: Option<String>,
    /// Whether the machine's record is in place: it is not written again where nothing changed.
    pub has_record: bool,
    /// What the server does where.
    pub networks: Vec<Network>,
    /// Now: milliseconds since 1970.
    pub now_unix_milliseconds: i64,
}

/// A boot, explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What was asked for.
    pub subject: String,
    /// The machine's name, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// When the boot began: milliseconds since 1970. Absent when nothing was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_unix_milliseconds: Option<i64>,
    /// What happened, oldest first.
    pub timeline: Vec<Step>,
    /// What came of it, for programs.
    pub cause: Cause,
    /// The same, in a sentence.
    pub summary: String,
    /// What should have come next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What to try, most likely first.
    pub advice: Vec<String>,
    /// The end of the kernel's log, where the agent failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_log: Option<String>,
    /// False when only what was in memory could be read, because the disk is full or slow.
    pub is_whole: bool,
}

/// One step of a boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Since the boot began.
    pub after_milliseconds: u64,
    /// The pause before it, where that is two seconds or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_milliseconds: Option<u64>,
    /// How far the boot is.
    pub stage: Stage,
    /// What happened, in words.
    pub text: String,
    /// How often in a row.
    pub times: u32,
}

/// How far a boot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// The firmware, or iPXE, asks for an address and a boot file.
    Dhcp,
    /// The boot program is fetched.
    Program,
    /// iPXE fetches its script.
    Script,
    /// Kernel and initramfs are fetched.
    Kernel,
    /// Our system runs.
    Agent,
    /// Its Hardware record is written.
    Record,
    /// Somebody gave an order.
    Order,
}

/// Explains the last boot that the entries tell of. They must be in the order in which they were recorded.
pub fn explain(entries: &[Entry], context: &Context) -> Explanation {
    let entries = boot::last(entries);
    let traces = traces::Traces::of(entries, context);
    let cause = cause::find(&traces);
    let verdict = verdict::of(cause, &traces);
    Explanation {
        subject: context.subject.clone(),
        machine: context.machine.clone(),
        began_unix_milliseconds: entries.first().map(|entry| entry.unix_milliseconds),
        timeline: timeline(entries),
        cause,
        summary: verdict.summary,
        expected: verdict.expected,
        advice: verdict.advice,
        kernel_log: traces.kernel_log().map(str::to_owned),
        is_whole: true,
    }
}

fn timeline(entries: &[Entry]) -> Vec<Step> {
    let began = entries.first().map_or(0, |entry| entry.unix_milliseconds);
    let mut steps: Vec<Step> = Vec::new();
    let mut before = 0;
    for entry in entries {
        // A clock that was set back makes no step earlier than the one before.
        let after = u64::try_from(entry.unix_milliseconds - began).unwrap_or(0).max(before);
        let gap = Some(after - before).filter(|gap| *gap >= GAP_MILLISECONDS);
        before = after;
        let (stage, text) = sentence::of(&entry.what);
        match steps.last_mut() {
            Some(last) if gap.is_none() && last.stage == stage && last.text == text => {
                last.times += 1;
            }
            _ => steps.push(Step {
                after_milliseconds: after,
                gap_milliseconds: gap,
                stage,
                text,
                times: 1,
            }),
        }
    }
    steps
}

#[cfg(test)]
mod tests;
