//! What the server tells a machine to do.

use serde::{Deserialize, Serialize};

use crate::Install;
#[cfg(feature = "wipe")]
use crate::Wipe;

/// One instruction. Read strictly: whatever is not understood whole is not done.
///
/// `GET /v1/instruction?after=SEQUENCE&wait=SECONDS` answers 200 with the next one whose sequence is higher,
/// or 204 when the time is over. An agent carries out an instruction once and never an older one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Instruction {
    /// Rises with every instruction for this machine.
    pub sequence: u64,
    /// What to do.
    pub verb: Verb,
}

/// What a machine can be told. Only what carries an [`Order`](crate::Order) destroys anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub enum Verb {
    /// Stays up and keeps asking.
    Wait {},
    /// Restarts through the firmware at once.
    Reboot {},
    /// Restarts through the firmware after a while, unless something else is said before.
    RebootAfter {
        /// How long to wait, in seconds.
        seconds: u32,
    },
    /// Switches the machine off.
    PowerOff {},
    /// Collects and announces again.
    Announce {},
    /// Puts an image on a disk.
    Install(Box<Install>),
    /// Wipes disks.
    #[cfg(feature = "wipe")]
    Wipe(Box<Wipe>),
}

impl Verb {
    /// Returns what a machine that carries out an order does, in a word; nothing for verbs without an order.
    pub fn work(&self) -> Option<&'static str> {
        match self {
            Self::Install(_) => Some("installing"),
            #[cfg(feature = "wipe")]
            Self::Wipe(_) => Some("wiping"),
            Self::Wait {}
            | Self::Reboot {}
            | Self::RebootAfter { .. }
            | Self::PowerOff {}
            | Self::Announce {} => None,
        }
    }
}
