//! What a machine tells while it runs.

use serde::{Deserialize, Serialize};

#[cfg(feature = "wipe")]
use crate::wipe::{WipeProgress, WipeReport, WipeStep};
use crate::{
    OrderId,
    install::{InstallReport, Progress},
};

/// Something that happened on the machine. `POST /v1/events` takes a JSON array of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When, in milliseconds since the kernel started (`CLOCK_BOOTTIME`).
    pub uptime_milliseconds: u64,
    /// How much it matters.
    pub level: Level,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// The story.
    Info,
    /// The agent coped.
    Warn,
    /// A person must act.
    Error,
}

/// What happened. A kind that the server does not know is kept as [`EventKind::Other`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum EventKind {
    /// An instruction is being carried out.
    Obeys {
        /// The instruction's sequence number.
        sequence: u64,
    },
    /// An instruction was refused: it was not understood, or what it needs does not hold here.
    Refused {
        /// The instruction's sequence number, when that much was readable.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sequence: Option<u64>,
        /// Why, for a person.
        reason: String,
    },
    /// A network port gained or lost its link.
    Link {
        /// The kernel's name of the port.
        port: String,
        /// Whether it has a link.
        up: bool,
    },
    /// The machine goes down in good order, and not because of an instruction.
    Leaves {
        /// Why, for a person: Ctrl-Alt-Del, the end of a time that was given.
        reason: String,
    },
    /// The agent failed and goes down: a panic or an error without a way on.
    Failed {
        /// What happened, for a person.
        reason: String,
        /// The end of the kernel's log, newest last.
        #[serde(default)]
        kernel_log: String,
    },
    /// How far an order is; a later one replaces it.
    Progress(Box<Progress>),
    /// An image is on its disk.
    Installed {
        /// Which order.
        order: OrderId,
        /// What was done and seen.
        report: Box<InstallReport>,
    },
    /// An order was begun or was about to begin, and could not be carried out whole.
    OrderFailed {
        /// Which order.
        order: OrderId,
        /// Why, and what to do, for a person.
        reason: String,
        /// Whether anything on the disk was changed.
        touched: bool,
    },
    /// How far a wipe is; a later one replaces it.
    #[cfg(feature = "wipe")]
    WipeProgress(Box<WipeProgress>),
    /// A step of a wipe is about to happen. Its agent does not go on before the server has taken this.
    #[cfg(feature = "wipe")]
    WipeStep {
        /// Which order.
        order: OrderId,
        /// What is about to happen.
        step: Box<WipeStep>,
    },
    /// A wipe is over, whatever came of it.
    #[cfg(feature = "wipe")]
    Wiped {
        /// What was done and seen.
        report: Box<WipeReport>,
        /// The signature of this boot's key (the client certificate's) over the report's canonical JSON
        /// ([`canonical`](crate::wipe::canonical)): base64.
        signature: String,
    },
    /// Something that a newer agent knows and this server does not.
    #[serde(other)]
    Other,
}
