//! What the server knows of each machine: who it is, whether it is approved, what it is told.
//!
//! ```text
//! announce ─► evidence ─► identity ─► fleet (memory) ─► store (redb, behind it)
//!                                        │  ▲
//!          decide, instructions ◄────────┘  └──── approve, forget, order (stored first)
//! ```
//!
//! Approvals:
//!
//! ```text
//!            approve                    board, UUID or disk set changed
//!  Pending ───────────► Approved ──────────────────────────────────────► Pending, with a notice
//!     │ ▲                   │  two live sessions, or evidence of several machines
//!     │ └── approve ── Held ◄── (from either)
//! ```

use std::{fmt, str::FromStr};

use protocol::{
    Bytes, Instruction, Inventory, InventoryDigest, MacAddress,
    inventory::{Content, Disk, Transport},
    order::DiskIdentity,
};
use serde::{Deserialize, Serialize};

use self::wipe::LeftPassword;
use crate::decision::System;

pub mod awaited;
mod backup;
pub mod disk_order;
pub mod evidence;
mod fleet;
pub mod identity;
pub mod install;
pub mod limit;
mod name;
mod registry;
mod store;
pub mod wipe;
mod witness;
mod writer;

pub use self::{
    awaited::Awaited,
    backup::restore,
    disk_order::DiskOrder,
    evidence::{Evidence, Strength},
    fleet::{AnnounceError, CancelError, Order, OrderError, UnknownSession},
    registry::{OrderOverview, Overview, Past, Registry, Settings, Teller},
    store::StoreError,
    witness::Witness,
};

/// One boot of one agent: SHA-256 of its client certificate's `SubjectPublicKeyInfo`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Session(pub [u8; 32]);

/// Says that a text is no session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a session of 64 hexadecimal digits")]
pub struct SessionError;

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hexadecimal(&self.0))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hexadecimal(&self.0[..4]))
    }
}

impl FromStr for Session {
    type Err = SessionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(SessionError);
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * index..2 * index + 2).ok_or(SessionError)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| SessionError)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Session {
    type Error = SessionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Session> for String {
    fn from(session: Session) -> Self {
        session.to_string()
    }
}

/// A machine. Its inventory is not here: that stays in the database.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Machine {
    /// The name: chosen once, never changed, never given to another.
    pub name: String,
    /// What it is called by its maker, for lists.
    pub description: Description,
    /// The port that it first booted through; stays.
    pub first_mac: Option<MacAddress>,
    /// The port that it last booted through.
    pub last_mac: Option<MacAddress>,
    /// Its ports at the last complete report.
    pub ports: Vec<KnownPort>,
    /// Who it is.
    pub evidence: Evidence,
    /// Its disks at the last complete report.
    pub disks: Vec<KnownDisk>,
    /// Disks that a person chose for installing, by identity, in that order.
    pub chosen_disks: Vec<String>,
    /// Whether it has ever reported completely. Until then nothing is decided on its disks.
    pub complete: bool,
    /// Of its inventory at the last complete report: what an order rests on.
    pub inventory_digest: Option<InventoryDigest>,
    /// The same without the disks that its open order calls missing: what that order is held against.
    pub order_digest: Option<InventoryDigest>,
    /// Whether somebody said that it belongs here.
    pub approval: Approval,
    /// Whether it was ever approved.
    pub ever_approved: bool,
    /// What a person should know: what it shares with another machine, why its approval was taken back.
    pub notice: Option<String>,
    /// The standing order to stay in SunshineOS.
    pub told_to_wait: Option<Told>,
    /// Orders to write or wipe disks, newest last: at most one of them is open, and at most eight are kept.
    pub orders: Vec<DiskOrder>,
    /// The controller that owns the machine, when that is not us. Nobody sets it while records are files.
    pub claimed_by: Option<String>,
    /// The boot that is running, or was the last.
    pub session: Option<Boot>,
    /// Sessions that a later one replaced, newest last, at most eight. One that speaks again is a second machine.
    pub replaced: Vec<Session>,
    /// How often it has booted SunshineOS.
    pub boots: u64,
    /// The last boots, newest last, at most eight.
    pub history: Vec<Boot>,
    /// The highest sequence number given out.
    pub sequence: u64,
    /// An instruction that the running session has not yet fetched.
    pub instruction: Option<Instruction>,
    /// When it was first seen: milliseconds since 1970.
    pub first_seen: i64,
    /// When it was last heard of: milliseconds since 1970.
    pub last_seen: i64,
    /// Drivers that are on their way to the boot that is running, or was the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub awaited: Option<Awaited>,
    /// How many of its last boots, in a row, had an initramfs that did not come whole.
    #[serde(skip_serializing_if = "is_zero")]
    pub cut_boots: u32,
    /// Whether disks were wiped since its last complete report: what is on them, the next boot of SunshineOS says.
    pub was_wiped: bool,
    /// The size of its inventory in the database.
    pub inventory_bytes: Bytes,
    /// Every disk of its own that it ever showed, the one seen last at the end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seen_disks: Vec<SeenDisk>,
    /// Passwords that wipes left on disks which were in it then, oldest first: kept until such a disk is erased.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passwords: Vec<LeftPassword>,
    /// The state of its Hardware record.
    pub record: Record,
}

/// What a machine is called by its maker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Description {
    /// The maker.
    pub manufacturer: Option<String>,
    /// The model.
    pub product: Option<String>,
    /// The serial number, garbage or not.
    pub serial: Option<String>,
    /// The architecture.
    pub architecture: Option<String>,
}

/// A network port of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownPort {
    /// Its permanent address.
    pub mac: MacAddress,
    /// Whether it can be another machine's tomorrow.
    pub removable: bool,
}

/// A disk of a machine, as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownDisk {
    /// Its best name, or model and size where it has none.
    pub identity: String,
    /// Its capacity.
    pub size_bytes: Bytes,
    /// Whether it can be taken out without a tool.
    pub portable: bool,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Whether it is reached over a network: it comes and goes with the drivers for that, and is other machines' too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub network: bool,
    /// What is on it.
    pub state: DiskState,
}

/// A disk that a machine showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenDisk {
    /// How the server calls it.
    pub identity: String,
    /// Everything that tells it from others.
    pub named: DiskIdentity,
    /// When it was first seen in this machine: milliseconds since 1970.
    pub first: i64,
    /// When it was last seen there.
    pub last: i64,
    /// When something was last recognised on it there, or nobody could look: milliseconds since 1970. Noise is nothing:
    /// a cryptographic erase leaves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_data: Option<i64>,
}

/// What is on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DiskState {
    /// Nothing: no signature, first and last MiB zero.
    Blank,
    /// Something.
    Data,
    /// It could not be read; counts as data.
    Unreadable,
}

/// Whether somebody said that a machine belongs here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Approval {
    /// Nobody yet.
    #[default]
    Pending,
    /// Somebody.
    Approved {
        /// Who: an operator's name, or a rule's.
        by: String,
        /// When: milliseconds since 1970.
        at: i64,
    },
    /// It is not clear which machine this is: a person must look.
    Held {
        /// Why.
        reason: String,
    },
}

/// A standing order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Who gave it.
    pub by: String,
    /// When: milliseconds since 1970.
    pub at: i64,
}

/// One boot of one of our systems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Boot {
    /// The agent's key in this boot.
    pub session: Session,
    /// When it announced itself first: milliseconds since 1970.
    pub since: i64,
    /// The port that it booted through.
    pub mac: Option<MacAddress>,
    /// Whether it has reported completely.
    pub complete: bool,
    /// Which of our systems it was; absent for one that this server does not know.
    #[serde(default = "boots_of_old")]
    pub system: Option<System>,
    /// Whether it started from a CD or stick.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_medium: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Boots of older servers' databases were all of SunshineOS.
#[expect(clippy::unnecessary_wraps, reason = "the signature is serde's")]
fn boots_of_old() -> Option<System> {
    Some(System::Sunshine)
}

/// The state of a machine's Hardware record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Record {
    /// Not written since the server started.
    #[default]
    Unwritten,
    /// In place.
    Written {
        /// When: milliseconds since 1970.
        at: i64,
    },
    /// Not in place.
    Failed {
        /// Why.
        reason: String,
    },
}

/// What the disks of a machine mean for its boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// It has not reported completely, or drivers are on their way to it, and nothing that it shows is data.
    Unreported,
    /// It has no disk.
    Diskless,
    /// All are blank.
    Blank,
    /// At least one is not, or could not be read; or no boot could tell, and none more is tried.
    Data,
}

impl Machine {
    /// Says what its disks mean for its boot.
    ///
    /// Disks on USB count: many a machine has its system there. Read-only media that can be taken out do not:
    /// they are what somebody booted or installed from.
    pub fn load(&self) -> Load {
        let mut disks =
            self.disks.iter().filter(|disk| !(disk.portable && disk.read_only)).peekable();
        let is_empty = disks.peek().is_none();
        let has_data = disks.any(awaited::has_data) && (self.complete || self.is_overdue());
        if has_data || self.hides_its_disks() {
            Load::Data
        } else if !self.complete || self.awaited.is_some() {
            Load::Unreported
        } else if is_empty {
            Load::Diskless
        } else {
            Load::Blank
        }
    }

    /// Holds when somebody approved it and nothing took that back.
    pub fn is_approved(&self) -> bool {
        matches!(self.approval, Approval::Approved { .. })
    }

    /// Says how sure its identity is.
    pub fn strength(&self) -> Strength {
        self.evidence.strength()
    }

    /// Holds when a rule may approve it: a strong identity, nothing on any disk, nothing unclear (SAFETY.md 3).
    pub fn is_approvable_by_rule(&self) -> bool {
        self.strength() >= Strength::Strong
            && self.load() == Load::Blank
            && self.approval == Approval::Pending
            && self.notice.is_none()
    }

    /// Returns the disks that its open order calls missing.
    fn called_missing(&self) -> &[DiskIdentity] {
        let wipe = self.open_order().and_then(DiskOrder::wipe);
        wipe.map_or(&[], |wipe| wipe.missing.as_slice())
    }

    /// Remembers the disks that it shows at a moment. What can be taken out is not its own.
    fn remember_disks(&mut self, inventory: &Inventory, at: i64) {
        for disk in &inventory.disks {
            let Some(known) = KnownDisk::of(disk) else { continue };
            if known.portable || !known.has_identity() {
                continue;
            }
            let before = self.seen_disks.iter().position(|seen| seen.identity == known.identity);
            let before = before.map(|place| self.seen_disks.remove(place));
            let first = before.as_ref().map_or(at, |seen| seen.first);
            let last_data = before.and_then(|seen| seen.last_data);
            let last_data = if evidence::holds_data(disk) { Some(at) } else { last_data };
            let named = DiskIdentity::of(disk);
            let identity = known.identity;
            self.seen_disks.push(SeenDisk { identity, named, first, last: at, last_data });
        }
        let bound = if self.ever_approved { SEEN_DISKS } else { SEEN_DISKS_OF_A_STRANGER };
        let surplus = self.seen_disks.len().saturating_sub(bound);
        self.seen_disks.drain(..surplus);
    }

    /// Lists the disks that belong to the machine, sorted: a change of this list takes an approval back. A disk that the
    /// open order calls missing may come and go, and one on a network always.
    fn disk_set(&self) -> Vec<&str> {
        let missing = self.called_missing();
        let may_go = |identity: &str| {
            let seen = self.seen_disks.iter().find(|seen| seen.identity == identity);
            seen.is_some_and(|seen| missing.contains(&seen.named))
        };
        let is_own = |disk: &&KnownDisk| !disk.portable && !disk.network;
        let own = self.disks.iter().filter(is_own).filter(|disk| !may_go(&disk.identity));
        let mut set: Vec<&str> = own.map(|disk| disk.identity.as_str()).collect();
        set.sort_unstable();
        set
    }
}

impl Description {
    /// Takes over what the inventory says.
    pub fn of(inventory: &Inventory) -> Self {
        Self {
            manufacturer: inventory.system.manufacturer.clone(),
            product: inventory.system.product.clone(),
            serial: inventory.system.serial.clone(),
            architecture: inventory.architecture.clone(),
        }
    }
}

impl KnownDisk {
    /// Holds for disks that can be told from all others (SAFETY.md 7).
    pub fn has_identity(&self) -> bool {
        !self.identity.starts_with(UNNAMED)
    }

    /// Takes over what decisions need; nothing for a reader without a medium, and for what the machine was started from.
    pub fn of(disk: &Disk) -> Option<Self> {
        if disk.size_bytes == Bytes(0) || disk.boot_medium {
            return None;
        }
        let unnamed = || {
            let model = disk.model.as_deref().unwrap_or("disk");
            format!("{UNNAMED}{model}:{}", disk.size_bytes.0)
        };
        Some(Self {
            identity: evidence::disk_identity(disk).unwrap_or_else(unnamed),
            size_bytes: disk.size_bytes,
            portable: evidence::is_portable(disk),
            read_only: disk.read_only == Some(true),
            network: disk.transport == Some(Transport::Network),
            state: match &disk.content {
                None => DiskState::Unreadable,
                Some(Content { blank: true, .. }) => DiskState::Blank,
                Some(_) => DiskState::Data,
            },
        })
    }
}

/// So many disks of a machine are remembered, those that are gone counted.
const SEEN_DISKS: usize = 4096;
/// So many of one that nobody ever approved.
const SEEN_DISKS_OF_A_STRANGER: usize = 64;

/// How a disk is called that has no name of its own.
const UNNAMED: &str = "unnamed:";

/// Writes bytes as lower-case digits.
fn hexadecimal(bytes: &[u8]) -> String {
    use fmt::Write;

    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(state: DiskState) -> KnownDisk {
        KnownDisk {
            identity: "wwn:5002538e40a1b2c3".to_owned(),
            size_bytes: Bytes(1 << 30),
            portable: false,
            read_only: false,
            network: false,
            state,
        }
    }

    #[test]
    fn one_disk_with_data_is_enough() {
        let with =
            |disks: Vec<KnownDisk>| Machine { complete: true, disks, ..Machine::default() }.load();
        assert_eq!(with(vec![]), Load::Diskless);
        assert_eq!(with(vec![disk(DiskState::Blank)]), Load::Blank);
        assert_eq!(with(vec![disk(DiskState::Blank), disk(DiskState::Data)]), Load::Data);
        assert_eq!(with(vec![disk(DiskState::Unreadable)]), Load::Data);
        let stick = KnownDisk { portable: true, ..disk(DiskState::Data) };
        assert_eq!(with(vec![disk(DiskState::Blank), stick.clone()]), Load::Data);
        let medium = KnownDisk { read_only: true, ..stick };
        assert_eq!(with(vec![disk(DiskState::Blank), medium.clone()]), Load::Blank);
        assert_eq!(with(vec![medium]), Load::Diskless);
    }

    #[test]
    fn nothing_is_said_of_disks_before_the_report_is_complete() {
        let machine = Machine { disks: vec![disk(DiskState::Blank)], ..Machine::default() };
        assert_eq!(machine.load(), Load::Unreported);
    }

    #[test]
    fn a_session_reads_back() {
        let session = Session([0xa5; 32]);
        assert_eq!(session.to_string().parse(), Ok(session));
        assert!("a5".parse::<Session>().is_err());
    }
}
