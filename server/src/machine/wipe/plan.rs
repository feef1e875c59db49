//! What a person asks to be wiped, checked against what is known: a plan, or one sentence why not (SAFETY.md 4 to 9).

use protocol::{
    Inventory, InventoryDigest, OrderId,
    inventory::{Disk, Transport},
    order::{DiskIdentity, MachineEvidence, Order, OrderedDisk},
    wipe::{
        Extra, MOST_DISKS, Obstacle, PowerLevel, Psid, Seed, Wipe, WipeFinish, WipeOptions,
        WipeStep,
    },
};
use serde::{Deserialize, Serialize};

use super::WipeWork;
use crate::machine::{
    DiskOrder, Machine, Strength,
    disk_order::{OrderState, Work},
    install::{
        Choice, ChoiceError, ChosenDisk, InstallRefusal, Terms, check_machine, choose_all,
        deadline, signatures, words,
    },
};

/// The most passes that a person can ask for: no standard asks for as many.
const PASSES: u8 = 35;
/// The longest ticket.
const TICKET_BYTES: usize = 256;
/// The characters of a PSID (TCG Storage Opal SSC Feature Set: PSID).
const PSID_CHARACTERS: usize = 32;
/// The most bytes of an owner's password (Linux, `OPAL_KEY_MAX`, whose length is a byte).
const SID_BYTES: usize = 255;
/// The most disks that one order can call missing.
const MISSING: usize = 1024;

/// What is kept with the TPM of the machine where it is unlocked without a person.
const SEALED: [&str; 3] = ["luks1", "luks2", "bitlocker"];

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WipeRequest {
    /// How thoroughly; nothing is written unless said.
    #[serde(default = "idle")]
    pub level: PowerLevel,
    /// Which disks, one by one.
    #[serde(default)]
    pub disks: Vec<Choice>,
    /// All fixed disks of the machine, instead.
    #[serde(default)]
    pub all: bool,
    /// Whether what is on those disks may be destroyed.
    #[serde(default)]
    pub overwrite: bool,
    /// What differs from the level's own way.
    #[serde(default)]
    pub options: WipeOptions,
    /// Disks of the machine that are known to be gone.
    #[serde(default)]
    pub missing: Vec<String>,
    /// What is done beside the disks.
    #[serde(default)]
    pub extras: Vec<Extra>,
    /// How the machine goes on.
    #[serde(default = "stay")]
    pub finish: WipeFinish,
    /// How long the order may wait to be begun.
    #[serde(default = "an_hour")]
    pub within_seconds: u64,
    /// What the person calls it, for the certificate.
    #[serde(default)]
    pub ticket: Option<String>,
    /// The machine's name, said back. Not needed for a look, nor at `idle`.
    #[serde(default)]
    pub confirm: Option<String>,
    /// Whether only to say what would be done.
    #[serde(default, alias = "dry")]
    pub dry_run: bool,
}

fn idle() -> PowerLevel {
    PowerLevel::Idle
}

fn stay() -> WipeFinish {
    WipeFinish::Stay
}

fn an_hour() -> u64 {
    3600
}

/// What an order would do, and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WipePlan {
    /// The machine.
    pub machine: String,
    /// How sure its identity is.
    pub strength: Strength,
    /// What tells it from others.
    pub evidence: MachineEvidence,
    /// How thoroughly.
    pub level: PowerLevel,
    /// The disks.
    pub disks: Vec<ChosenDisk>,
    /// Disks of the machine that are left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<DiskIdentity>,
    /// Disks that are known to be gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<DiskIdentity>,
    /// Whether one of the disks is on a network: only then HerculesOS looks for any there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub network_storage: bool,
    /// What is done beside the disks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extras: Vec<Extra>,
    /// How the machine goes on.
    pub finish: WipeFinish,
    /// When the order ends if nobody begins it: milliseconds since 1970.
    pub deadline: i64,
    /// Of the inventory that it rests on.
    pub inventory: InventoryDigest,
    /// Steps of earlier orders that go with it: passwords that they left on these disks.
    #[serde(skip)]
    pub inherited: Vec<WipeStep>,
}

/// What chance gives an order to wipe.
#[derive(Debug, Clone, Copy)]
pub(in crate::machine) struct Lot {
    /// Its name.
    pub(in crate::machine) id: OrderId,
    /// What all that is random in it is made from.
    pub(in crate::machine) seed: Seed,
}

/// Why an order to wipe is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WipeRefusal {
    /// The machine gets no order that destroys.
    #[error(transparent)]
    Order(#[from] InstallRefusal),
    /// A disk cannot be chosen.
    #[error(transparent)]
    Disk(#[from] ChoiceError),
    /// No disk was named, or some beside all.
    #[error("say which disks: either name each, or all fixed ones")]
    WhichDisks,
    /// The machine has no disk that could be wiped.
    #[error("the machine has no fixed disk: {0}")]
    NoDisk(String),
    /// The machine's name was not said back.
    #[error("to confirm it, say the machine's name back exactly: {0}")]
    NotConfirmed(String),
    /// A disk shares its controller's erasure with one that was not ordered.
    #[error(
        "{other} is a namespace of the same NVMe subsystem, which this level erases as a whole, and the order does \
         not name it: {disk}"
    )]
    Namespaces {
        /// The disk.
        disk: String,
        /// The other.
        other: String,
    },
    /// A disk that stays could not be opened any more.
    #[error("the TPM may hold the key of a disk that keeps what it holds, which is {kind}: {disk}")]
    Sealed {
        /// The disk.
        disk: String,
        /// What it holds.
        kind: String,
    },
    /// At `idle` nothing is changed, beside the disks neither.
    #[error("at idle nothing is done, so no extras either")]
    IdleExtras,
    /// Nothing is known of a disk that is to be missing.
    #[error("no disk of this name was ever seen in this machine: {0}")]
    NeverSeen(String),
    /// It is to be wiped.
    #[error("this disk is ordered to be wiped, so it is not missing: {0}")]
    NotMissing(String),
    /// More are missing than one order can name.
    #[error("more than {MISSING} disks are called missing")]
    TooManyMissing,
    /// More are ordered than one report can speak of.
    #[error("more than {MOST_DISKS} disks: wipe them by several orders")]
    TooManyDisks,
    /// A number of passes makes no sense.
    #[error("passes are from 1 to {PASSES}, and at redline only")]
    Passes,
    /// A PSID is none, or for no disk of the order.
    #[error(
        "a PSID has {PSID_CHARACTERS} letters and digits, and goes with one disk of the order, by its serial number or \
         WWN: {0}"
    )]
    Psid(String),
    /// An owner's password is none, or for no disk of the order.
    #[error(
        "an owner's password has 1 to {SID_BYTES} bytes, and goes with one disk of the order, by its serial number or \
         WWN: {0}"
    )]
    Sid(String),
    /// It is about no disk of the order.
    #[error("an obstacle goes with one disk of the order, by its serial number or WWN: {0}")]
    Despite(String),
    /// The ticket cannot be kept.
    #[error("a ticket is one line of at most {TICKET_BYTES} bytes")]
    Ticket,
    /// There is nothing to boot the machine with.
    #[error(
        "no HerculesOS image here for {0}: herculesos-{0}.vmlinuz and .initrd are missing from the assets"
    )]
    NoImage(String),
}

/// Checks what a person asks for. `shown_by` says which machines show a disk of an identity, this one first;
/// `seen` finds a disk that was once seen in this machine; `left` says which passwords earlier orders may have left on a disk,
/// as steps of the order's disk of this number.
pub(in crate::machine) fn plan(
    machine: &Machine,
    inventory: &Inventory,
    request: &WipeRequest,
    shown_by: impl Fn(&str) -> Vec<String>,
    seen: impl Fn(&str) -> Option<DiskIdentity>,
    left: impl Fn(&ChosenDisk, u32) -> Vec<WipeStep>,
    now: i64,
) -> Result<WipePlan, WipeRefusal> {
    let digest = check_machine(machine, inventory, request.within_seconds)?;
    if request.all != request.disks.is_empty() {
        return Err(WipeRefusal::WhichDisks);
    }
    if request.missing.len() > MISSING {
        return Err(WipeRefusal::TooManyMissing);
    }
    let ticket = request.ticket.as_deref().unwrap_or_default();
    if ticket.len() > TICKET_BYTES || ticket.chars().any(char::is_control) {
        return Err(WipeRefusal::Ticket);
    }
    let has_passes =
        |passes| request.level == PowerLevel::Redline && (1..=PASSES).contains(&passes);
    if !request.options.passes.is_none_or(has_passes) {
        return Err(WipeRefusal::Passes);
    }
    let terms = match (request.level, request.overwrite) {
        (PowerLevel::Idle, _) => Terms::Look,
        (_, true) => Terms::Overwrite,
        (_, false) => Terms::BlankOnly,
    };
    let named = (!request.all).then_some(request.disks.as_slice());
    let despite = |disk: &Disk| -> Vec<Obstacle> {
        let identity = DiskIdentity::of(disk);
        let named = request.options.despite.iter().filter(|one| is_called(&identity, &one.disk));
        named.map(|one| one.obstacle).collect()
    };
    let (chosen, others) = choose_all(named, inventory, terms, despite, shown_by)?;
    if chosen.len() > MOST_DISKS {
        return Err(WipeRefusal::TooManyDisks);
    }
    if chosen.is_empty() {
        return Err(WipeRefusal::NoDisk(machine.name.clone()));
    }
    if request.level >= PowerLevel::Full {
        let found = chosen.iter().find_map(|(_, disk)| {
            let other = others.iter().find(|other| is_sibling(disk, other))?;
            Some((words(disk), words(other)))
        });
        if let Some((disk, other)) = found {
            return Err(WipeRefusal::Namespaces { disk, other });
        }
    }
    if request.level == PowerLevel::Idle && !request.extras.is_empty() {
        return Err(WipeRefusal::IdleExtras);
    }
    if request.extras.contains(&Extra::Tpm) {
        spare_the_sealed(&others)?;
        if !request.level.destroys() {
            // What is ordered keeps its data too.
            spare_the_sealed(&chosen.iter().map(|(_, disk)| *disk).collect::<Vec<_>>())?;
        }
    }
    for psid in &request.options.psids {
        check_psid(psid, &chosen)?;
    }
    for sid in &request.options.sids {
        if !is_one_of(&chosen, &sid.disk) || !(1..=SID_BYTES).contains(&sid.sid.0.len()) {
            return Err(WipeRefusal::Sid(sid.disk.clone()));
        }
    }
    for one in &request.options.despite {
        if !is_one_of(&chosen, &one.disk) {
            return Err(WipeRefusal::Despite(one.disk.clone()));
        }
    }
    let missing: Vec<DiskIdentity> = request
        .missing
        .iter()
        .map(|name| missing(name, &chosen, &others, &seen))
        .collect::<Result<_, _>>()?;
    let is_on_network = |disk: &Disk| disk.transport == Some(Transport::Network);
    let network_storage = chosen.iter().any(|(_, disk)| is_on_network(disk));
    let mut unseen = missing.clone();
    if !network_storage {
        // HerculesOS does not look for these.
        let disks = inventory.disks.iter().filter(|disk| is_on_network(disk));
        unseen.extend(disks.map(DiskIdentity::of));
    }
    let digest =
        if unseen.is_empty() { digest } else { InventoryDigest::without(inventory, &unseen) };
    let disks: Vec<ChosenDisk> = chosen.into_iter().map(|(chosen, _)| chosen).collect();
    let inherited = (0_u32..).zip(&disks).flat_map(|(number, disk)| left(disk, number));
    Ok(WipePlan {
        machine: machine.name.clone(),
        strength: machine.strength(),
        evidence: MachineEvidence::of(inventory),
        level: request.level,
        inherited: inherited.collect(),
        disks,
        others: others
            .into_iter()
            .map(DiskIdentity::of)
            .filter(|other| !missing.contains(other))
            .collect(),
        missing,
        network_storage,
        extras: request.extras.clone(),
        finish: request.finish,
        deadline: deadline(request.within_seconds, now),
        inventory: digest,
    })
}

/// Holds for two namespaces of one NVMe controller: they show its model and serial number.
fn is_sibling(one: &Disk, other: &Disk) -> bool {
    one.transport == Some(Transport::Nvme)
        && other.transport == Some(Transport::Nvme)
        && one.serial.is_some()
        && one.serial == other.serial
        && one.model == other.model
}

fn spare_the_sealed(others: &[&Disk]) -> Result<(), WipeRefusal> {
    for disk in others {
        let found = signatures(disk).find(|found| SEALED.contains(&found.kind.as_str()));
        if let Some(found) = found {
            return Err(WipeRefusal::Sealed { disk: words(disk), kind: found.kind.clone() });
        }
    }
    Ok(())
}

fn check_psid(psid: &Psid, chosen: &[(ChosenDisk, &Disk)]) -> Result<(), WipeRefusal> {
    let text = &psid.psid.0;
    let is_sound = text.len() == PSID_CHARACTERS && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_one_of(chosen, &psid.disk) && is_sound {
        Ok(())
    } else {
        Err(WipeRefusal::Psid(psid.disk.clone()))
    }
}

/// Holds for a name of exactly one of the disks.
fn is_one_of(chosen: &[(ChosenDisk, &Disk)], name: &str) -> bool {
    let names = |(_, disk): &&(ChosenDisk, &Disk)| is_called(&DiskIdentity::of(disk), name);
    chosen.iter().filter(names).count() == 1
}

/// Holds for a disk that a person calls so.
pub(in crate::machine) fn is_called(disk: &DiskIdentity, name: &str) -> bool {
    let DiskIdentity { serial, wwn, eui64, nguid, .. } = disk;
    let is = |text: &Option<String>| {
        text.as_deref().is_some_and(|text| text.trim().eq_ignore_ascii_case(name.trim()))
    };
    let is_wide = |text: &Option<String>| {
        let digits = |text: &str| text.trim().trim_start_matches("0x").to_lowercase();
        text.as_deref().is_some_and(|text| digits(text) == digits(name))
    };
    is(serial) || [wwn, eui64, nguid].into_iter().any(is_wide)
}

/// Finds a disk that is called missing: one that was seen here once, or one that still shows up now and then.
fn missing(
    name: &str,
    chosen: &[(ChosenDisk, &Disk)],
    others: &[&Disk],
    seen: &impl Fn(&str) -> Option<DiskIdentity>,
) -> Result<DiskIdentity, WipeRefusal> {
    if chosen.iter().any(|(disk, _)| is_called(&disk.named, name)) {
        return Err(WipeRefusal::NotMissing(name.to_owned()));
    }
    let dying = others.iter().map(|disk| DiskIdentity::of(disk)).find(|disk| is_called(disk, name));
    dying.or_else(|| seen(name)).ok_or_else(|| WipeRefusal::NeverSeen(name.to_owned()))
}

impl WipePlan {
    /// Makes the order that does this.
    pub(in crate::machine) fn order(
        &self,
        lot: Lot,
        by: &str,
        now: i64,
        request: &WipeRequest,
    ) -> DiskOrder {
        let Lot { id, seed } = lot;
        let ordered = |disk: &ChosenDisk| OrderedDisk {
            identity: disk.named.clone(),
            overwrite: request.overwrite,
        };
        let order = Order {
            id,
            by: by.to_owned(),
            machine: self.evidence.clone(),
            disks: self.disks.iter().map(ordered).collect(),
            deadline_unix_milliseconds: self.deadline,
            inventory: self.inventory,
        };
        let wipe = Wipe {
            order,
            level: self.level,
            options: request.options.clone(),
            seed,
            missing: self.missing.clone(),
            extras: self.extras.clone(),
            journal: Vec::new(),
            finish: self.finish,
        };
        DiskOrder {
            id,
            by: by.to_owned(),
            at: now,
            deadline: self.deadline,
            state: OrderState::Ordered {},
            held_back: None,
            restarts: None,
            abandoned: None,
            work: Work::Wipe {
                wipe: Box::new(WipeWork {
                    level: self.level,
                    options: WipeOptions {
                        psids: Vec::new(),
                        sids: Vec::new(),
                        ..request.options.clone()
                    },
                    disks: self.disks.clone(),
                    missing: self.missing.clone(),
                    others: self.others.clone(),
                    network_storage: self.network_storage,
                    evidence: self.evidence.clone(),
                    inventory: self.inventory,
                    extras: self.extras.clone(),
                    finish: self.finish,
                    ticket: request.ticket.clone(),
                    wipe: Some(Box::new(wipe)),
                    seed: Some(seed),
                    inherited: self.inherited.clone(),
                    journal: Vec::new(),
                    begun: None,
                    alive: None,
                    boots: Vec::new(),
                    watch: None,
                }),
            },
        }
    }
}

impl WipeRequest {
    /// Refuses what destroys and was not confirmed.
    pub fn check_confirmed(&self, machine: &str) -> Result<(), WipeRefusal> {
        let is_confirmed = self.level == PowerLevel::Idle
            || self.dry_run
            || self.confirm.as_deref() == Some(machine);
        let refusal = || WipeRefusal::NotConfirmed(machine.to_owned());
        is_confirmed.then_some(()).ok_or_else(refusal)
    }
}

#[cfg(test)]
mod tests;
