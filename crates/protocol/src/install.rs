//! Putting an image on a disk: the instruction, its progress, and its outcome.

use serde::{Deserialize, Serialize};

use crate::{Bytes, Order, OrderId};

/// Writes an image to the one disk of the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Install {
    /// What allows it. Its list of disks has one item.
    pub order: Order,
    /// Where the image comes from.
    pub image: ImageSource,
    /// What is done to the disk once the image is on it, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// How the machine goes on when all of it succeeded. After a failure it waits.
    pub finish: Finish,
}

/// Where an image comes from, and what says that it is the right one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum ImageSource {
    /// From the server's own store, through the agents' door: `/v1/images/MANIFEST/manifest` and `…/frames`.
    /// The manifest is signed with the key that is pinned; every chunk is checked before it is written.
    Store {
        /// SHA-256 of the manifest file: 64 lower-case digits.
        manifest: String,
        /// What people call it.
        name: String,
    },
    /// From somebody else's server, with a digest of the whole at best: checked while it is written.
    Foreign {
        /// Where it is: `http`, `https` or `oci` URLs of the same bytes, tried in this order.
        urls: Vec<String>,
        /// SHA-256 of the file as it is downloaded: 64 lower-case digits. Without it only the format is checked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
        /// Sent as `Authorization: Bearer`, to the first URL's host only. Never logged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<Secret>,
        /// Which parts of the image hold data, and what their digests are; what it leaves out is zeros. A text that an
        /// [`ImageMap`](crate::ImageMap) writes and reads: there may be thousands of parts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        map: Option<String>,
    },
}

/// A word that no log shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// Something done to a disk after its image is on it. Each has its own outcome in the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Step {
    /// Moves the GPT's backup to the disk's real end.
    MoveBackupGpt {},
    /// Gives the disk and its partitions new GUIDs.
    RenewGuids {},
    /// Grows the last partition to the end of the disk; the filesystem inside is the image's business.
    GrowLastPartition {},
    /// Writes a `NoCloud` seed: a partition labelled `CIDATA` at the end of the disk.
    Seed {
        /// The content of `meta-data`.
        meta_data: Secret,
        /// The content of `user-data`.
        user_data: Secret,
        /// The content of `network-config`, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network_config: Option<Secret>,
        /// The content of `vendor-data`, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vendor_data: Option<Secret>,
    },
    /// Writes a `ConfigDrive` as `OpenStack` has it: a partition labelled `config-2` at the end of the disk, its files below
    /// `openstack/latest`.
    ConfigDrive {
        /// The content of `meta_data.json`.
        meta_data: Secret,
        /// The content of `user_data`, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_data: Option<Secret>,
        /// The content of `network_data.json`, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network_data: Option<Secret>,
        /// The content of `vendor_data.json`, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vendor_data: Option<Secret>,
    },
    /// Writes files into a filesystem of the image, and reads them back after it was unmounted.
    WriteFiles {
        /// The partition's number. Without it: the one of the GPT type for this kind of machine's root filesystem,
        /// or else the only one with a filesystem that can be written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partition: Option<u32>,
        /// The files, written in this order; what has such a name is replaced.
        files: Vec<InstalledFile>,
    },
    /// Makes a UEFI boot entry for the disk's EFI system partition and puts it first, but for network entries that stand
    /// at the front. Nothing under BIOS.
    BootEntry {
        /// What the firmware's menu shows.
        label: String,
    },
}

/// A file for the installed system. It belongs to root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InstalledFile {
    /// Its absolute path in its filesystem.
    pub path: String,
    /// Its permission bits, at most 0777.
    pub mode: u32,
    /// What is in it.
    pub content: Secret,
}

impl InstalledFile {
    /// Holds for a path that names a file in one way only: absolute, without empty parts, `.` and `..`.
    pub fn has_plain_path(&self) -> bool {
        let is_plain = |part: &str| {
            !matches!(part, "" | "." | "..") && part.len() <= 255 && !part.contains('\0')
        };
        let parts = self.path.strip_prefix('/');
        self.path.len() < 4096 && parts.is_some_and(|parts| parts.split('/').all(is_plain))
    }
}

/// How a machine goes on after an install.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Finish {
    /// Restarts; the server lets it boot its own disk.
    Reboot,
    /// Starts the installed system's kernel at once, without the firmware.
    Kexec,
    /// Switches off.
    PowerOff,
    /// Stays in `SunshineOS`.
    Stay,
}

/// How far an install is. Amounts are of the image as it will stand on the disk unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Which order.
    pub order: OrderId,
    /// What is being done.
    pub phase: InstallPhase,
    /// The size of the image; absent while a foreign one has not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_bytes: Option<Bytes>,
    /// Received from the network, compressed.
    pub fetched_bytes: Bytes,
    /// Decompressed and checked.
    pub unpacked_bytes: Bytes,
    /// On the disk by writing.
    pub written_bytes: Bytes,
    /// On the disk by the kernel's zeroing.
    pub zeroed_bytes: Bytes,
    /// Found on the disk as it should be.
    pub unchanged_bytes: Bytes,
    /// Read back and compared.
    pub verified_bytes: Bytes,
    /// Since the order was begun.
    pub elapsed_milliseconds: u64,
    /// Of the image, in the last seconds; absent while nothing moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<Bytes>,
    /// Until the end of this phase, at that rate; absent while nobody can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_seconds: Option<u64>,
    /// What everything else waits for; absent while nobody can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bottleneck: Option<Bottleneck>,
}

impl Progress {
    /// Returns that of an order of which nothing is done.
    pub fn beginning(order: OrderId) -> Self {
        Self {
            order,
            phase: InstallPhase::Checking,
            image_bytes: None,
            fetched_bytes: Bytes(0),
            unpacked_bytes: Bytes(0),
            written_bytes: Bytes(0),
            zeroed_bytes: Bytes(0),
            unchanged_bytes: Bytes(0),
            verified_bytes: Bytes(0),
            elapsed_milliseconds: 0,
            bytes_per_second: None,
            remaining_seconds: None,
            bottleneck: None,
        }
    }
}

/// What an install is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum InstallPhase {
    /// Checks the order, the machine and the disk; reads the manifest.
    Checking,
    /// Makes what is on the disk unbootable, and proves it.
    Disarming,
    /// Compares what is on the disk with the image.
    Comparing,
    /// Writes.
    Writing,
    /// Waits until all of it is on the medium.
    Flushing,
    /// Reads back.
    Verifying,
    /// Does the steps that follow the image.
    Finishing,
    /// Something that a newer agent does.
    #[serde(other)]
    Other,
}

/// What everything else waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Bottleneck {
    /// Data arrives too slowly.
    Network,
    /// Unpacking and checking are too slow.
    Processor,
    /// The disk is too slow.
    Disk,
    /// Something that a newer agent knows.
    #[serde(other)]
    Other,
}

/// What was done, and what of it was seen to be true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstallReport {
    /// What vouches for the image.
    pub guarantee: Guarantee,
    /// How much of it.
    pub progress: Progress,
    /// Of the image, what was read back from the medium and found right: all, or a sample.
    pub read_back: ReadBack,
    /// The steps after the image, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepOutcome>,
}

/// What vouches for an image, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Guarantee {
    /// A signed manifest: nothing that was not vouched for reached the disk.
    SignedChunks,
    /// Digests of ranges (a bmap file).
    Ranges,
    /// A digest of the whole, compared before the image became bootable.
    Digest,
    /// Nothing but the format's own checksums.
    Format,
    /// Nothing at all: a raw image of the length that the server announced.
    Length,
}

/// What was read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ReadBack {
    /// Every byte.
    Whole {},
    /// The first and last chunks, and others by chance.
    Sample {
        /// How many bytes.
        bytes: Bytes,
        /// With this many chunks of a thousand wrong, the sample would have shown one of them in 99 of 100 cases.
        detects_per_thousand: u32,
    },
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepOutcome {
    /// The step's kind, as in [`Step`].
    pub step: String,
    /// Why it failed, for a person; absent when it was done and read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}
