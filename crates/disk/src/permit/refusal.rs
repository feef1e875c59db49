//! Why nothing was written: each reason says what was found and what to do about it.

use std::io;

use protocol::OrderId;

/// Says why an order is not carried out. Nothing was written.
///
/// `disk` is for people: the kernel's name in this boot, then what stands on the label.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The machine's clock was not set in this boot, so nobody can say whether the order is over.
    #[error(
        "the server has not set this machine's clock in this boot, so nobody can say whether the order is over: look at the connection, then order again"
    )]
    ClockUnset,
    /// The deadline is over.
    #[error("the order ended {late_seconds} seconds ago: order again")]
    DeadlineOver {
        /// How long ago.
        late_seconds: i64,
    },
    /// The deadline is further away than an order may last.
    #[error(
        "the order ends in {hours} hours, and none lasts more than 24: compare the clocks of server and machine, then order again"
    )]
    DeadlineFar {
        /// How far away it is.
        hours: i64,
    },
    /// It was begun in this boot.
    #[error("order {order} was begun already, and nothing repeats by itself: order again")]
    Used {
        /// Which order.
        order: OrderId,
    },
    /// That it is begun cannot be noted, or it cannot be found out whether it was.
    #[error("noting that order {order} is begun: look at the machine's memory, then order again")]
    UsedUnknown {
        /// Which order.
        order: OrderId,
        /// Why not.
        source: io::Error,
    },
    /// It is about no disk.
    #[error("the order names no disk: order again, with a disk")]
    NoDisks,
    /// It names one disk twice, or names it and calls it missing.
    #[error("the order names {disk} twice: order again, each disk once")]
    NamedTwice {
        /// Which.
        disk: String,
    },
    /// The machine says nothing of itself that another one does not say.
    #[error(
        "this machine has no UUID, no serial number and no network port of its own, so no order can be meant for it alone: start the work on the machine itself, with `sunshine write` or `hercules wipe`"
    )]
    NoEvidence,
    /// It is for another machine, or this one has changed.
    #[error(
        "the order is for another machine, or this one has changed ({differences}): look at the machine's approval, then order again"
    )]
    OtherMachine {
        /// What differs.
        differences: String,
    },
    /// Disks or ports were added, taken away or exchanged since.
    #[error(
        "disks of this machine were added, taken out or changed since the order was given: look at what it has, then order again"
    )]
    OtherInventory,
    /// No disk has that identity.
    #[error("{disk} is not in this machine: look whether it was taken out or has failed")]
    NotFound {
        /// The identity that was ordered.
        disk: String,
    },
    /// Several disks answer to it.
    #[error(
        "{disk} is not one disk: {others} have the same name; take the others out, or, where these are several ways to one disk, all but one cable"
    )]
    NotUnique {
        /// The identity that was ordered.
        disk: String,
        /// The disks that have it.
        others: String,
    },
    /// It has no serial number and no world wide name.
    #[error(
        "{disk} has no serial number and no world wide name, so nobody can say which disk is meant: choose another disk, or install at the machine's own console"
    )]
    NotNamed {
        /// Which disk.
        disk: String,
    },
    /// Its names are such as makers leave in many disks.
    #[error(
        "{disk} has only a name that many disks have: choose another disk, or install at the machine's own console"
    )]
    GarbageName {
        /// Which disk.
        disk: String,
    },
    /// Nobody typed its name.
    #[error("{disk} was not named: type its serial number or world wide name")]
    NotTyped {
        /// Which disk.
        disk: String,
    },
    /// A mount, swap, volume or array is on it.
    #[error("{disk} is in use ({uses}): end that first, then order again")]
    InUse {
        /// Which disk.
        disk: String,
        /// By what.
        uses: String,
    },
    /// It cannot be found out whether it is in use.
    #[error(
        "whether {disk} is in use cannot be read from {what}: restart the machine, then order again"
    )]
    UseUnknown {
        /// Which disk.
        disk: String,
        /// Where it was looked for.
        what: String,
    },
    /// It cannot be opened.
    #[error("opening {disk}: look at the disk and its cable")]
    Open {
        /// Which disk.
        disk: String,
        /// Why not.
        source: io::Error,
    },
    /// It does not answer what it was asked.
    #[error("asking {disk} for its {what}: look at the disk and its cable")]
    Unanswered {
        /// Which disk.
        disk: String,
        /// What it was asked.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// What was opened is not what was found.
    #[error("{disk} was exchanged or taken out while it was looked at ({how}): order again")]
    Exchanged {
        /// Which disk.
        disk: String,
        /// What differs.
        how: String,
    },
    /// Its size is another one.
    #[error("{disk} says that it has {found}, and the order says {ordered}: order again")]
    OtherSize {
        /// Which disk.
        disk: String,
        /// In the order.
        ordered: u64,
        /// On the descriptor.
        found: u64,
    },
    /// Its sectors have another size.
    #[error("{disk} has sectors of {found} bytes, and not as in the order: order again")]
    OtherSectors {
        /// Which disk.
        disk: String,
        /// On the descriptor.
        found: u32,
    },
    /// Nothing of it can be addressed.
    #[error(
        "{disk} shows no size: its sectors are none that Linux addresses (520 bytes, say), or it is dying; have it reformatted, or call it missing and destroy it physically"
    )]
    NoSize {
        /// Which disk.
        disk: String,
    },
    /// It is a part of a disk.
    #[error("{disk} is a partition: order the whole disk")]
    Partition {
        /// Which.
        disk: String,
    },
    /// Software made it up.
    #[error("{disk} is made by software, not a disk: order the disk below it")]
    Virtual {
        /// Which.
        disk: String,
    },
    /// It is somewhere on a network.
    #[error(
        "{disk} comes over a network, and other machines may be using it: write to it from the machine that serves it"
    )]
    Network {
        /// Which disk.
        disk: String,
    },
    /// There are several ways to it.
    #[error("there are {paths} ways to {disk}: leave one, or choose another disk")]
    Multipath {
        /// Which disk.
        disk: String,
        /// How many.
        paths: usize,
    },
    /// It is one that people carry about.
    #[error(
        "{disk} can be taken out, and may be somebody's own: choose a disk inside the machine, or use `sunshine write` or `hercules wipe` on this one"
    )]
    Removable {
        /// Which disk.
        disk: String,
    },
    /// It is read-only, and not by us.
    #[error("{disk} is read-only ({why}): remove its write protection, then order again")]
    ReadOnly {
        /// Which disk.
        disk: String,
        /// How that was seen.
        why: &'static str,
    },
    /// The machine started from it.
    #[error(
        "this machine started from {disk}: start it from the network or another medium, then order again"
    )]
    BootMedium {
        /// Which disk.
        disk: String,
    },
    /// It is not blank, and the order does not say that it may be overwritten.
    #[error(
        "{disk} has something on it ({content}), and the order does not allow that to be destroyed: look at it, then order again with `--overwrite`"
    )]
    HasData {
        /// Which disk.
        disk: String,
        /// What was recognised.
        content: String,
    },
    /// What is on it cannot be read.
    #[error(
        "what is on {disk} cannot be read ({reason}): look at the disk's health, or replace it"
    )]
    Unreadable {
        /// Which disk.
        disk: String,
        /// Where, and why.
        reason: String,
    },
    /// Several machines may be using it.
    #[error(
        "{disk} belongs to storage that machines share ({content}): take it out of that with its own tools, then order again"
    )]
    Shared {
        /// Which disk.
        disk: String,
        /// What was recognised.
        content: String,
    },
    /// It is a part of something that lies on other disks as well, which the order does not name.
    #[error(
        "{disk} is a part of {content}, and so are {others}: order all of them, or take it out of that first"
    )]
    Member {
        /// Which disk.
        disk: String,
        /// What was recognised.
        content: String,
        /// The others.
        others: String,
    },
    /// It is a part of something, and whether other disks are cannot be read.
    #[error(
        "{disk} is a part of {content}, and whether {others} are too cannot be read: take those out, or it out of that"
    )]
    MemberUnknown {
        /// Which disk.
        disk: String,
        /// What was recognised.
        content: String,
        /// The disks that do not tell.
        others: String,
    },
    /// Its device erases others along with it, which the order does not name.
    #[error(
        "the device of {disk} also has {others}, and would erase them along with it: order all of them, or choose the level `full`"
    )]
    Sibling {
        /// Which disk.
        disk: String,
        /// The others.
        others: String,
    },
    /// Disks are kept that the TPM may hold the keys of, and it is to be cleared.
    #[error(
        "the TPM is to be cleared, and may hold the keys of disks that are kept ({others}): order those too, or leave the TPM as it is"
    )]
    Sealed {
        /// Which disks, and what is on them.
        others: String,
    },
    /// Machines have registered keys with it.
    #[error(
        "{disk} has {keys} keys of persistent reservations: a cluster is using it; take it out of that first"
    )]
    Reserved {
        /// Which disk.
        disk: String,
        /// How many keys.
        keys: u64,
    },
    /// The belt cannot be taken off.
    #[error("making {disk} writable: look at its write protection")]
    Belt {
        /// Which disk.
        disk: String,
        /// Why not.
        source: io::Error,
    },
}

impl Refusal {
    /// Returns a word that programs can go by, and docs/imaging.md explains. It does not change with the text.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ClockUnset => "clock-unset",
            Self::DeadlineOver { .. } => "deadline-over",
            Self::DeadlineFar { .. } => "deadline-far",
            Self::Used { .. } => "order-used",
            Self::UsedUnknown { .. } => "order-not-noted",
            Self::NoDisks => "no-disks",
            Self::NamedTwice { .. } => "named-twice",
            Self::NoEvidence => "no-evidence",
            Self::OtherMachine { .. } => "other-machine",
            Self::OtherInventory => "other-inventory",
            Self::NotFound { .. } => "not-found",
            Self::NotUnique { .. } => "not-unique",
            Self::NotNamed { .. } => "not-named",
            Self::GarbageName { .. } => "garbage-name",
            Self::NotTyped { .. } => "not-typed",
            Self::InUse { .. } => "in-use",
            Self::UseUnknown { .. } => "use-unknown",
            Self::Open { .. } => "not-opened",
            Self::Unanswered { .. } => "unanswered",
            Self::Exchanged { .. } => "exchanged",
            Self::OtherSize { .. } => "other-size",
            Self::OtherSectors { .. } => "other-sectors",
            Self::NoSize { .. } => "no-size",
            Self::Partition { .. } => "partition",
            Self::Virtual { .. } => "virtual",
            Self::Network { .. } => "network",
            Self::Multipath { .. } => "multipath",
            Self::Removable { .. } => "removable",
            Self::ReadOnly { .. } => "read-only",
            Self::BootMedium { .. } => "boot-medium",
            Self::HasData { .. } => "has-data",
            Self::Unreadable { .. } => "unreadable",
            Self::Shared { .. } => "shared",
            Self::Member { .. } => "member",
            Self::MemberUnknown { .. } => "member-unknown",
            Self::Sibling { .. } => "sibling",
            Self::Sealed { .. } => "sealed",
            Self::Reserved { .. } => "reserved",
            Self::Belt { .. } => "belt",
        }
    }
}

/// Names a disk for people: the kernel's name, then what stands on its label.
pub(super) fn label(name: Option<&str>, disk: &protocol::order::DiskIdentity) -> String {
    let wide = disk.wwn.as_ref().or(disk.eui64.as_ref()).or(disk.nguid.as_ref());
    let number = match (&disk.serial, wide) {
        (Some(serial), _) => Some(format!("serial {serial}")),
        (None, Some(wide)) => Some(format!("name {wide}")),
        (None, None) => None,
    };
    let parts: Vec<String> = [disk.model.clone(), number, Some(disk.size_bytes.to_string())]
        .into_iter()
        .flatten()
        .map(|part| part.chars().filter(|letter| !letter.is_control()).take(80).collect())
        .collect();
    match name {
        Some(name) => format!("{name} ({})", parts.join(", ")),
        None => format!("the disk {}", parts.join(", ")),
    }
}
