//! What a person asks for, checked against what is known: a plan, or one sentence why not (SAFETY.md 4 to 9).

use fetch::{Address, AddressError, Token, TokenError};
use image::bmap::{Bmap, Mapped};
use protocol::{
    Bytes, ImageMap, Install, Inventory, InventoryDigest, MappedPart, Order, OrderId,
    install::{Finish, ImageSource, Secret, Step},
    order::{MachineEvidence, OrderedDisk},
};
use serde::{Deserialize, Serialize};

use super::{Choice, ChoiceError, ChosenDisk, InstallWork, OrderedImage, Served, choose};
use crate::{
    machine::{
        Approval, DiskOrder, Machine, Strength,
        awaited::StillAwaited,
        disk_order::{OrderState, Work},
        hexadecimal,
    },
    seed::{Instance, Seed, SeedError, TEXT_BYTES},
    text::chain,
};

/// The longest that an order may wait to be begun (SAFETY.md 5).
const LONGEST_SECONDS: u64 = 86_400;
/// The most steps after an image: there are fewer kinds.
const STEPS: usize = 16;

/// The most parts of a map: it is a part of the order.
const MAPPED_PARTS: usize = 4096;

/// The most files of one step.
const FILES: usize = 64;

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InstallRequest {
    /// The name of an image in the store, or a URL.
    pub image: String,
    /// URLs of the same bytes, tried in this order after the first. Only with a URL.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// SHA-256 of what the URL gives.
    #[serde(default)]
    pub sha256: Option<String>,
    /// For the first URL's host.
    #[serde(default)]
    pub token: Option<Secret>,
    /// A map of the image (bmap, version 2). Only with a URL.
    #[serde(default)]
    pub map: Option<String>,
    /// Which disk.
    pub disk: Choice,
    /// Whether what is on that disk may be destroyed.
    #[serde(default)]
    pub overwrite: bool,
    /// How long the order may wait to be begun.
    pub within_seconds: u64,
    /// What is done after the image is on the disk.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// What the installed system gets to know about itself: rendered as one more step.
    #[serde(default)]
    pub seed: Seed,
    /// How the machine goes on.
    pub finish: Finish,
    /// Whether only to say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// What is known of an image before it is on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// What the agent is told.
    pub source: ImageSource,
    /// What people are shown.
    pub shown: OrderedImage,
    /// Where it fits.
    pub sizing: Sizing,
    /// Whether it begins with a GPT, whose backup then belongs at the disk's end.
    pub has_gpt: bool,
}

/// On which disks an image fits. What is absent is not known before the image is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizing {
    /// The smallest.
    pub smallest_disk: Option<Bytes>,
    /// The sector size that its partition table was made for.
    pub sector_bytes: Option<u32>,
}

/// What an order would do, and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The machine.
    pub machine: String,
    /// How sure its identity is.
    pub strength: Strength,
    /// What tells it from others.
    pub evidence: MachineEvidence,
    /// The disk.
    pub disk: ChosenDisk,
    /// The image.
    pub image: OrderedImage,
    /// What is done after it, by name.
    pub steps: Vec<String>,
    /// How the machine goes on.
    pub finish: Finish,
    /// When the order ends if nobody begins it: milliseconds since 1970.
    pub deadline: i64,
    /// Of the inventory that it rests on.
    pub inventory: InventoryDigest,
    /// Where the installed system finds this server.
    #[serde(skip)]
    pub metadata: Option<String>,
}

/// What chance gives an order.
#[derive(Debug, Clone, Copy)]
pub(in crate::machine) struct Drawn {
    /// Its name, for everybody.
    pub(in crate::machine) id: OrderId,
    /// What only its agent and the installed system know.
    pub(in crate::machine) token: [u8; 16],
}

/// Why an order to install is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstallRefusal {
    /// There is no such machine.
    #[error("no machine of this name: {0}")]
    NoMachine(String),
    /// Another controller owns it.
    #[error("the machine belongs to {owner}, which alone may order this: {machine}")]
    Claimed {
        /// The machine.
        machine: String,
        /// Whose it is.
        owner: String,
    },
    /// It is not clear which machine this is.
    #[error("the machine is held until a person looks ({reason}): {machine}")]
    Held {
        /// The machine.
        machine: String,
        /// Why.
        reason: String,
    },
    /// Nobody said that it belongs here.
    #[error("nobody approved this machine yet; drydock machines approve {0}")]
    NotApproved(String),
    /// Its agent has never finished looking at it.
    #[error("the machine has not reported completely yet: {0}")]
    Incomplete(String),
    /// Drivers are on their way to it, so that it may show less than it has.
    #[error(transparent)]
    DriversAwaited(StillAwaited),
    /// What it reported is being replaced at this moment, or was lost.
    #[error(
        "what this machine reported is not all stored; let it boot SunshineOS and try again: {0}"
    )]
    Unstored(String),
    /// Another order is open.
    #[error("another order for this machine is open ({words}): {id}")]
    Pending {
        /// Which.
        id: OrderId,
        /// What became of it so far.
        words: String,
    },
    /// The order before may be carried out still.
    #[error(
        "nothing was heard for a day of the order before, and its machine may be carrying it out still: look at the machine, \
         then close that order with drydock orders cancel {id}: {machine}"
    )]
    Lost {
        /// The machine.
        machine: String,
        /// Which order.
        id: OrderId,
    },
    /// Everything that it shows, others show too.
    #[error("nothing that this machine shows tells it from others: {0}")]
    NoIdentity(String),
    /// There is no such image.
    #[error("no image of this name in the store, see drydock image list: {0}")]
    NoImage(String),
    /// The image cannot be fetched from there.
    #[error("{problem}: {url}")]
    Url {
        /// What is wrong.
        problem: AddressError,
        /// Where, without what may be secret.
        url: String,
    },
    /// Anybody on the way could read it (SAFETY.md 15).
    #[error("a token is sent over https only: {0}")]
    OpenToken(String),
    /// It cannot be sent.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// What goes with a URL was said of an image of the store.
    #[error("mirrors, digest, token and map go with a URL, not with an image of the store: {0}")]
    NotAUrl(String),
    /// The map is none.
    #[error("the map cannot be used: {0}")]
    Map(String),
    /// The map is too long for an order.
    #[error(
        "the map has {0} ranges, and an order takes {MAPPED_PARTS}; drydock image add takes the image without a map"
    )]
    LongMap(usize),
    /// The digest is none.
    #[error("not a SHA-256 of 64 hexadecimal digits: {0:?}")]
    Digest(String),
    /// The order would wait too long, or not at all.
    #[error("an order may wait from 1 second to 24 hours, not {0} seconds")]
    Within(u64),
    /// A file's path is not absolute and plain, or its mode has other bits than permissions.
    #[error(
        "{0}: a file's path is absolute and without empty parts, . and ..; its mode is at most 777"
    )]
    File(String),
    /// A text of the steps, or their list, is too long.
    #[error("the steps after the image are too many or too long")]
    Steps,
    /// The installed system could make nothing of what it is to get to know.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// No disk was chosen.
    #[error(transparent)]
    Disk(#[from] ChoiceError),
    /// The server's clock is in doubt (SAFETY.md 12).
    #[error("{0}")]
    Clock(String),
    /// It could not be put on disk, so it does not hold.
    #[error("the order was not stored and is void: {0}")]
    NotStored(String),
    /// The installed system would ask this server, which does not answer.
    #[error(
        "this server serves no metadata and hears no phone-home: spec.server.metadata.enabled is not set"
    )]
    NotServed,
    /// No random number could be had for its name.
    #[error("this machine has no random numbers")]
    NoRandom,
}

/// Checks what a person asks for. `shown_by` says which machines show a disk of an identity, this one first;
/// `metadata` is where the installed system finds this server, if it may.
pub(in crate::machine) fn plan(
    machine: &Machine,
    inventory: &Inventory,
    request: &InstallRequest,
    image: &ImageFacts,
    shown_by: impl Fn(&str) -> Vec<String>,
    metadata: Option<&str>,
    now: i64,
) -> Result<Plan, InstallRefusal> {
    let name = || machine.name.clone();
    let digest = check_machine(machine, inventory, request.within_seconds)?;
    check_steps(&request.steps)?;
    let disk =
        choose::choose(&request.disk, inventory, request.overwrite, &image.sizing, shown_by)?;
    Ok(Plan {
        machine: name(),
        strength: machine.strength(),
        evidence: MachineEvidence::of(inventory),
        disk,
        image: image.shown.clone(),
        steps: after(&machine.name, request, image, metadata, now)?,
        finish: request.finish,
        deadline: deadline(request.within_seconds, now),
        inventory: digest,
        metadata: metadata.map(str::to_owned),
    })
}

/// Returns the moment after which an order is not begun.
pub(in crate::machine) fn deadline(within_seconds: u64, now: i64) -> i64 {
    let within = i64::try_from(within_seconds).unwrap_or(i64::MAX);
    now.saturating_add(within.saturating_mul(1000))
}

/// Refuses a machine that gets no order that destroys; returns the digest that an order rests on.
pub(in crate::machine) fn check_machine(
    machine: &Machine,
    inventory: &Inventory,
    within_seconds: u64,
) -> Result<InventoryDigest, InstallRefusal> {
    let name = || machine.name.clone();
    if let Some(owner) = machine.claimed_by.clone() {
        return Err(InstallRefusal::Claimed { machine: name(), owner });
    }
    match &machine.approval {
        Approval::Approved { .. } => {}
        Approval::Pending => return Err(InstallRefusal::NotApproved(name())),
        Approval::Held { reason } => {
            return Err(InstallRefusal::Held { machine: name(), reason: reason.clone() });
        }
    }
    if !machine.complete {
        return Err(InstallRefusal::Incomplete(name()));
    }
    if let Some(open) = machine.open_order() {
        return Err(InstallRefusal::Pending { id: open.id, words: open.words() });
    }
    if let Some(lost) = machine.lost_order() {
        return Err(InstallRefusal::Lost { machine: name(), id: lost.id });
    }
    if !machine.evidence.sound().any(|item| item.kind.is_rooted()) {
        return Err(InstallRefusal::NoIdentity(name()));
    }
    let digest = InventoryDigest::of(inventory);
    if machine.inventory_digest.is_some_and(|known| known != digest) {
        return Err(InstallRefusal::Unstored(name()));
    }
    if !(1..=LONGEST_SECONDS).contains(&within_seconds) {
        return Err(InstallRefusal::Within(within_seconds));
    }
    Ok(digest)
}

fn check_steps(steps: &[Step]) -> Result<(), InstallRefusal> {
    let is_long = |text: &Secret| text.0.len() > TEXT_BYTES;
    let too_long = |step: &Step| match step {
        Step::Seed { meta_data, user_data, network_config, vendor_data } => {
            [Some(meta_data), Some(user_data), network_config.as_ref(), vendor_data.as_ref()]
                .into_iter()
                .flatten()
                .any(is_long)
        }
        Step::ConfigDrive { meta_data, user_data, network_data, vendor_data } => {
            [Some(meta_data), user_data.as_ref(), network_data.as_ref(), vendor_data.as_ref()]
                .into_iter()
                .flatten()
                .any(is_long)
        }
        Step::WriteFiles { files, .. } => {
            let all: usize = files.iter().map(|file| file.content.0.len()).sum();
            files.len() > FILES || all > TEXT_BYTES
        }
        Step::BootEntry { label } => label.len() > 256,
        Step::MoveBackupGpt {} | Step::RenewGuids {} | Step::GrowLastPartition {} => false,
    };
    if steps.len() > STEPS || steps.iter().any(too_long) {
        return Err(InstallRefusal::Steps);
    }
    for step in steps {
        let Step::WriteFiles { files, .. } = step else { continue };
        if let Some(file) = files.iter().find(|file| !file.has_plain_path() || file.mode > 0o777) {
            return Err(InstallRefusal::File(file.path.clone()));
        }
    }
    Ok(())
}

/// What is done after the image: what was asked for, a GPT's backup moved before all else, and the seed where others
/// leave room for it: before the firmware is told.
fn steps(
    instance: Instance<'_>,
    request: &InstallRequest,
    image: &ImageFacts,
) -> Result<Vec<Step>, InstallRefusal> {
    let mut steps = request.steps.clone();
    if image.has_gpt && !steps.contains(&Step::MoveBackupGpt {}) {
        steps.insert(0, Step::MoveBackupGpt {});
    }
    if let Some(seed) = request.seed.render(instance)? {
        let is_firmware = |step: &Step| matches!(step, Step::BootEntry { .. });
        let place = steps.iter().position(is_firmware).unwrap_or(steps.len());
        steps.insert(place, seed);
    }
    Ok(steps)
}

/// Names what is done after the image, for a person.
fn after(
    machine: &str,
    request: &InstallRequest,
    image: &ImageFacts,
    metadata: Option<&str>,
    now: i64,
) -> Result<Vec<String>, InstallRefusal> {
    if request.seed.needs_server() && metadata.is_none() {
        return Err(InstallRefusal::NotServed);
    }
    // The true address is drawn with the order.
    let instance = Instance { machine, ordered: now, phone_home: Some("http://") };
    let mut names: Vec<String> = steps(instance, request, image)?.iter().map(step_name).collect();
    if request.seed.documents(instance)?.is_some() {
        names.push("serve the metadata over plain HTTP".to_owned());
    }
    if request.seed.phone_home {
        names.push("hear whether it says back that it is done".to_owned());
    }
    Ok(names)
}

fn step_name(step: &Step) -> String {
    match step {
        Step::MoveBackupGpt {} => "move the backup GPT to the disk's end",
        Step::RenewGuids {} => "renew the GUIDs",
        Step::GrowLastPartition {} => "grow the last partition",
        Step::Seed { .. } => "write a cloud-init seed",
        Step::ConfigDrive { .. } => "write a ConfigDrive",
        Step::WriteFiles { files, .. } => {
            let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
            return format!("write {}", paths.join(", "));
        }
        Step::BootEntry { .. } => "make a boot entry",
    }
    .to_owned()
}

impl Plan {
    /// Makes the order that does this.
    pub(in crate::machine) fn order(
        &self,
        drawn: Drawn,
        by: &str,
        now: i64,
        request: &InstallRequest,
        image: &ImageFacts,
    ) -> Result<DiskOrder, InstallRefusal> {
        let Drawn { id, token } = drawn;
        let token = hexadecimal(&token);
        let base = self.metadata.as_deref().filter(|_| request.seed.needs_server());
        let phone_home = base.map(|base| format!("{base}/metadata/{token}/phone-home"));
        let instance =
            Instance { machine: &self.machine, ordered: now, phone_home: phone_home.as_deref() };
        let told = phone_home.as_ref().map(|_| -> Result<_, InstallRefusal> {
            Ok(Box::new(Served::new(token, &request.seed, request.seed.documents(instance)?)))
        });
        let disk = OrderedDisk { identity: self.disk.named.clone(), overwrite: request.overwrite };
        let order = Order {
            id,
            by: by.to_owned(),
            machine: self.evidence.clone(),
            disks: vec![disk],
            deadline_unix_milliseconds: self.deadline,
            inventory: self.inventory,
        };
        let install = Install {
            order,
            image: image.source.clone(),
            steps: steps(instance, request, image)?,
            finish: request.finish,
        };
        Ok(DiskOrder {
            id,
            by: by.to_owned(),
            at: now,
            deadline: self.deadline,
            state: OrderState::Ordered {},
            held_back: None,
            restarts: None,
            abandoned: None,
            work: Work::Install(Box::new(InstallWork {
                image: self.image.clone(),
                disk: self.disk.clone(),
                finish: self.finish,
                install: Some(Box::new(install)),
                served: told.transpose()?,
                phoned_home: None,
                alive: None,
                watch: None,
            })),
        })
    }
}

impl InstallRequest {
    /// Holds when the image is somewhere else, not in the store.
    pub fn is_foreign(&self) -> bool {
        self.image.contains("://")
    }

    /// Returns what is known of an image that is somewhere else.
    pub fn foreign(&self) -> Result<ImageFacts, InstallRefusal> {
        let urls: Vec<String> =
            std::iter::once(&self.image).chain(&self.mirrors).cloned().collect();
        for url in &urls {
            let address: Address = url
                .parse()
                .map_err(|problem| InstallRefusal::Url { problem, url: Address::shown(url) })?;
            // It goes to the first one's server only.
            if let Some(token) = self.token.as_ref().filter(|_| *url == self.image) {
                Token::new(&token.0)?;
                if !address.is_private() {
                    return Err(InstallRefusal::OpenToken(address.to_string()));
                }
            }
        }
        let sha256 = self.sha256.as_deref().map(digest).transpose()?;
        let map = self.map.as_deref().map(check_map).transpose()?;
        let size_bytes = map.as_ref().map(|map| Bytes(map.image_bytes));
        let map = map.map(|map| map.to_string());
        let shown = OrderedImage { name: Address::shown(&self.image), manifest: None, size_bytes };
        let source = ImageSource::Foreign { urls, sha256, token: self.token.clone(), map };
        let sizing = Sizing { smallest_disk: size_bytes, sector_bytes: None };
        Ok(ImageFacts { source, shown, sizing, has_gpt: false })
    }

    /// Refuses what goes with a URL only.
    pub fn check_named(&self) -> Result<(), InstallRefusal> {
        let Self { mirrors, sha256, token, map, .. } = self;
        if mirrors.is_empty() && sha256.is_none() && token.is_none() && map.is_none() {
            return Ok(());
        }
        Err(InstallRefusal::NotAUrl(self.image.clone()))
    }
}

/// Returns the digits of a SHA-256 in lower case.
fn digest(text: &str) -> Result<String, InstallRefusal> {
    let digits = text.trim().to_lowercase();
    let is_digest = digits.len() == 64 && digits.bytes().all(|d| d.is_ascii_hexdigit());
    is_digest.then_some(digits).ok_or_else(|| InstallRefusal::Digest(text.to_owned()))
}

/// Reads a map, as an agent takes it.
fn check_map(text: &str) -> Result<ImageMap, InstallRefusal> {
    let map = Bmap::parse(text.as_bytes()).map_err(|error| InstallRefusal::Map(chain(&error)))?;
    let parts = map.ranges().iter().map(|Mapped { bytes, sha256 }| MappedPart {
        start_bytes: bytes.start,
        length_bytes: bytes.end - bytes.start,
        sha256: *sha256,
    });
    let map = ImageMap { image_bytes: map.image_bytes(), parts: parts.collect() };
    match map.parts.len() {
        count if count > MAPPED_PARTS => Err(InstallRefusal::LongMap(count)),
        _ => Ok(map),
    }
}

#[cfg(test)]
mod tests;
