//! Which filesystems of a disk belong to an installed system, and where it mounts them.
//!
//! ```text
//! has os-release, and its fstab does not say that `/` is another one ─► a root, mounted at /
//!   its fstab names another filesystem of the same disk              ─► mounted where it says
//! partition named EPHEMERAL beside META or STATE                     ─► Talos' /var
//! partition of the type /var or /var/tmp (UAPI.2)                    ─► that
//! ```
//!
//! Anything else is left alone: also a filesystem that a system of another disk mounts.

use std::io;

use linux::{block::Access, rooted::Rooted};
use protocol::wipe::Exception;
use signature::{Content, Partition, Signature};

use super::{
    mounting::{Filesystems, MountError, Mounted},
    pattern::List,
    table::{self, What},
    volume,
};

/// Filesystems that are mounted, and the driver for each.
const DRIVERS: [(&str, &str); 5] =
    [("ext4", "ext4"), ("ext3", "ext4"), ("ext2", "ext4"), ("xfs", "xfs"), ("btrfs", "btrfs")];

/// What lies below a filesystem, so that this one is not what it seems.
const LAYERS: [&str; 5] = ["md", "bcache", "zfs", "drbd", "lvm2"];

/// Subvolumes in which installers put the root, where it is not the default one: Ubuntu's, Debian's, Fedora's.
const ROOT_SUBVOLUMES: [&str; 3] = ["@", "@rootfs", "root"];

/// Discoverable Partitions Specification (UAPI.2).
const TYPES: [(&str, &str); 2] = [
    ("4d21b016-b534-45c2-a9fb-5c16e091fd2d", "/var"),
    ("7ec6f557-3bc5-4aca-b293-16ef5df639d1", "/var/tmp"),
];

/// A filesystem on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What a person calls it: `partition 3`.
    pub name: String,
    /// Where it begins on the disk, in bytes.
    pub start: u64,
    /// Its length in bytes.
    pub size: u64,
    /// The kernel's driver.
    pub driver: &'static str,
    /// The filesystem's own.
    pub uuid: Option<String>,
    /// The filesystem's own.
    pub label: Option<String>,
    /// The partition's GUID, or the MBR's number with that of the partition.
    pub partition_uuid: Option<String>,
    /// The partition's name in the table.
    pub partition_name: Option<String>,
    /// The partition's type.
    pub partition_type: Option<String>,
    /// Where it is a logical volume: `group/volume`.
    pub logical: Option<String>,
    /// And the identities of group and volume, as the device mapper writes them.
    pub logical_id: Option<String>,
}

/// A filesystem, or a subvolume of it, as an installed system mounts it.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its number among the candidates.
    pub candidate: usize,
    /// The Btrfs subvolume, where it is not the default one.
    pub subvolume: Option<String>,
    /// Where, in the installed system.
    pub at: Vec<u8>,
    /// The rules, with what this system keeps and mounts.
    pub list: List,
}

/// What is mounted where, and what could not be found out.
#[derive(Debug, Clone, Default)]
pub struct System {
    /// Filesystems that the rules reach.
    pub places: Vec<Place>,
    /// For people.
    pub notes: Vec<Exception>,
}

/// Lists the filesystems of a disk that can be mounted, by what a probe found on it.
pub fn candidates(content: &Content, size_bytes: u64) -> (Vec<Candidate>, Vec<Exception>) {
    let (mut found, mut notes) = (Vec::new(), Vec::new());
    if content.partitions.is_empty() {
        let whole = Partition {
            size: size_bytes,
            signatures: content.signatures.clone(),
            ..Partition::default()
        };
        found.extend(candidate(&whole, "the whole disk", size_bytes, &mut notes));
    }
    for partition in &content.partitions {
        let name = format!("partition {}", partition.number);
        found.extend(candidate(partition, &name, size_bytes, &mut notes));
    }
    (found, notes)
}

/// Lists the filesystems on logical volumes that are one piece of one partition.
pub fn volumes(
    content: &Content,
    size_bytes: u64,
    filesystems: &dyn Filesystems,
) -> (Vec<Candidate>, Vec<Exception>) {
    let (mut found, mut notes) = (Vec::new(), Vec::new());
    let whole = Partition {
        size: size_bytes,
        signatures: content.signatures.clone(),
        ..Partition::default()
    };
    let whole = content.partitions.is_empty().then_some(&whole);
    for partition in content.partitions.iter().chain(whole).filter(|one| is_group(one)) {
        let name = match partition.number {
            0 => "the whole disk".to_owned(),
            number => format!("partition {number}"),
        };
        let size = partition.size.min(size_bytes.saturating_sub(partition.start));
        let read = || {
            let mut source = filesystems.reader(partition.start, size)?;
            volume::read(&mut *source, size)
        };
        let group = match read() {
            Ok(group) => group,
            Err(error) => {
                let words = format!("{name} is not looked into: it holds lvm2: {}", chain(&error));
                notes.push(note("notLookedInto", words));
                continue;
            }
        };
        for name in group.others {
            let words = format!(
                "logical volume {name} is not looked into: it is not in one piece, or more than that"
            );
            notes.push(note("notLookedInto", words));
        }
        for one in group.volumes {
            let name = format!("logical volume {}", one.name);
            let start = partition.start.saturating_add(one.start);
            let probed = filesystems
                .reader(start, one.size)
                .map(|mut source| signature::probe(&mut *source, one.size, 512));
            match probed {
                // A disk of a virtual machine.
                Ok(inside) if !inside.partitions.is_empty() => {}
                Ok(inside) => {
                    let signatures = inside.signatures;
                    let volume =
                        Partition { start, size: one.size, signatures, ..Partition::default() };
                    let candidate = candidate(&volume, &name, size_bytes, &mut notes);
                    found.extend(candidate.map(|candidate| Candidate {
                        partition_type: None,
                        logical: Some(one.name),
                        logical_id: Some(one.id),
                        ..candidate
                    }));
                }
                Err(error) => {
                    let words = format!("{name} is not looked into: {error}");
                    notes.push(note("notLookedInto", words));
                }
            }
        }
    }
    (found, notes)
}

/// Holds when a partition is a physical volume of LVM, and nothing else.
fn is_group(partition: &Partition) -> bool {
    !partition.signatures.is_empty() && partition.signatures.iter().all(|one| one.kind == "lvm2")
}

fn candidate(
    partition: &Partition,
    name: &str,
    size_bytes: u64,
    notes: &mut Vec<Exception>,
) -> Option<Candidate> {
    let kinds = || partition.signatures.iter().map(|found| found.kind);
    if is_group(partition) {
        return None;
    }
    if let Some(layer) = kinds().find(|kind| is_layer(kind)) {
        let words = format!("{name} is not looked into: it holds {layer}");
        notes.push(note("notLookedInto", words));
        return None;
    }
    let mut known = partition.signatures.iter().filter_map(|found| Some((found, driver(found)?)));
    let (found, driver) = known.next()?;
    if known.next().is_some() {
        let words = format!("{name} is not looked into: it has the marks of several filesystems");
        notes.push(note("notLookedInto", words));
        return None;
    }
    Some(Candidate {
        name: name.to_owned(),
        start: partition.start,
        size: partition.size.min(size_bytes.checked_sub(partition.start)?),
        driver,
        uuid: found.uuid.clone(),
        label: found.label.clone(),
        partition_uuid: partition.uuid.clone(),
        partition_name: partition.name.clone(),
        partition_type: Some(partition.kind.clone()),
        logical: None,
        logical_id: None,
    })
}

pub(super) fn driver(found: &Signature) -> Option<&'static str> {
    DRIVERS.iter().find(|(kind, _)| *kind == found.kind).map(|(_, driver)| *driver)
}

fn is_layer(kind: &str) -> bool {
    let encrypted = kind.contains("luks") || kind == "bitlocker";
    encrypted || LAYERS.iter().any(|layer| kind.starts_with(layer))
}

pub(super) fn note(code: &str, words: String) -> Exception {
    Exception { code: code.to_owned(), words }
}

/// What a look into a filesystem found.
struct Root {
    candidate: usize,
    subvolume: Option<String>,
    lines: Vec<table::Line>,
}

/// Finds out what is mounted where. Mounts each filesystem for reading; one that was not unmounted cleanly for writing
/// where `repair` allows it, which its driver then repairs.
pub fn find(candidates: &[Candidate], filesystems: &dyn Filesystems, repair: Access) -> System {
    let mut system = System::default();
    let mut roots = Vec::new();
    for (index, candidate) in candidates.iter().enumerate() {
        match root_of(candidate, filesystems, repair, &mut system.notes) {
            Ok(Some((subvolume, lines))) => {
                roots.push(Root { candidate: index, subvolume, lines });
            }
            Ok(None) => {}
            Err(words) => {
                system.notes.push(note("notLookedInto", format!("{}: {words}", candidate.name)));
            }
        }
    }
    let mut claims = Vec::new();
    for root in &roots {
        let own = &candidates[root.candidate];
        let says = line_of_root(&root.lines);
        if let Some(line) = says
            && line.what.is_stable()
            && (!line.what.names(own)
                || line.subvolume.is_some() && line.subvolume != root.subvolume)
        {
            let words = format!(
                "{} looks like a system, but its fstab says that it is somewhere else: it is a copy, and left",
                own.name
            );
            system.notes.push(note("copyLeft", words));
            continue;
        }
        claim(root, candidates, &mut claims, &mut system.notes);
    }
    settle(claims, candidates, &mut system);
    let is_talos = ["META", "STATE"]
        .iter()
        .any(|name| candidates.iter().any(|one| one.partition_name.as_deref() == Some(*name)));
    for (index, candidate) in candidates.iter().enumerate() {
        if system.places.iter().any(|place| place.candidate == index) {
            continue;
        }
        let kind = candidate.partition_type.as_deref();
        let at = match candidate.partition_name.as_deref() {
            Some("EPHEMERAL") if is_talos => Some("/var"),
            _ => TYPES.iter().find(|(guid, _)| kind == Some(*guid)).map(|(_, at)| *at),
        };
        if let Some(at) = at {
            let (at, list) = (at.as_bytes().to_vec(), List::default());
            system.places.push(Place { candidate: index, subvolume: None, at, list });
        }
    }
    system
}

/// Lists a root, and what it mounts of the same disk.
fn claim(
    root: &Root,
    candidates: &[Candidate],
    claims: &mut Vec<Place>,
    notes: &mut Vec<Exception>,
) {
    let paths = |line: &table::Line| match &line.what {
        What::Path(path) => Some(path.clone()),
        _ => None,
    };
    let kept: Vec<_> = root.lines.iter().filter_map(paths).collect();
    let mounts: Vec<_> = root.lines.iter().filter_map(|line| line.at.clone()).collect();
    let list = List::new(&kept, &mounts);
    let own = Place {
        candidate: root.candidate,
        subvolume: root.subvolume.clone(),
        at: b"/".to_vec(),
        list: list.clone(),
    };
    claims.push(own);
    for line in &root.lines {
        let Some(at) = line.at.as_deref().filter(|at| *at != b"/") else { continue };
        if list.rules_at(at).next().is_none() || list.is_kept(at) {
            continue;
        }
        let shown = String::from_utf8_lossy(at).into_owned();
        if matches!(line.what, What::Virtual | What::Path(_)) {
            continue;
        }
        let mut named = (0..).zip(candidates).filter(|(_, one)| line.what.names(one));
        match (named.next(), named.next()) {
            (Some((candidate, _)), None) => claims.push(Place {
                candidate,
                subvolume: line.subvolume.clone(),
                at: at.to_vec(),
                list: list.clone(),
            }),
            (Some(_), Some(_)) => {
                let words =
                    format!("{shown} is left: several filesystems of the disk can be meant");
                notes.push(note("ambiguous", words));
            }
            (None, _) => {
                let words = format!(
                    "{shown} is left: it is not said to be on this disk in words that hold in every boot"
                );
                notes.push(note("elsewhere", words));
            }
        }
    }
}

/// Takes what is claimed once. Two systems that share a filesystem keep different things of it: that is left.
fn settle(claims: Vec<Place>, candidates: &[Candidate], system: &mut System) {
    let of = |place: &Place| (place.candidate, place.subvolume.clone());
    let all: Vec<_> = claims.iter().map(of).collect();
    for place in claims {
        if all.iter().filter(|one| **one == of(&place)).count() == 1 {
            system.places.push(place);
            continue;
        }
        let (name, at) =
            (&candidates[place.candidate].name, String::from_utf8_lossy(&place.at).into_owned());
        let words = format!("{name} is mounted more than once: what it holds of {at} is left");
        system.notes.push(note("ambiguous", words));
    }
}

fn line_of_root(lines: &[table::Line]) -> Option<&table::Line> {
    lines.iter().find(|line| line.at.as_deref() == Some(b"/"))
}

type Lines = Vec<table::Line>;

/// Looks for a system's root in a filesystem.
fn root_of(
    candidate: &Candidate,
    filesystems: &dyn Filesystems,
    repair: Access,
    notes: &mut Vec<Exception>,
) -> Result<Option<(Option<String>, Lines)>, String> {
    let subvolumes: &[&str] = if candidate.driver == "btrfs" { &ROOT_SUBVOLUMES } else { &[] };
    let mut look = |subvolume: Option<&str>| -> Result<Option<Lines>, String> {
        let mounted = match open(candidate, subvolume, filesystems, repair, notes) {
            Ok(mounted) => mounted,
            // There is no such subvolume.
            Err(MountError::Mount { .. }) if subvolume.is_some() => return Ok(None),
            Err(error) => return Err(chain(&error)),
        };
        let found = mounted.root().and_then(|root| lines_of_root(&root));
        mounted.end().map_err(|error| format!("unmounting it: {error}"))?;
        found.map_err(|error| format!("looking into it: {error}"))
    };
    if let Some(lines) = look(None)? {
        // The default subvolume may be the one that it calls by name.
        let named = line_of_root(&lines).and_then(|line| line.subvolume.clone());
        if let Some(named) = named
            && look(Some(&named))?.as_ref() == Some(&lines)
        {
            return Ok(Some((Some(named), lines)));
        }
        return Ok(Some((None, lines)));
    }
    for subvolume in subvolumes {
        if let Some(lines) = look(Some(subvolume))? {
            return Ok(Some((Some((*subvolume).to_owned()), lines)));
        }
    }
    Ok(None)
}

fn open<'f>(
    candidate: &Candidate,
    subvolume: Option<&str>,
    filesystems: &'f dyn Filesystems,
    repair: Access,
    notes: &mut Vec<Exception>,
) -> Result<Box<dyn Mounted + 'f>, MountError> {
    match filesystems.mount(candidate, subvolume, Access::ReadOnly) {
        Err(MountError::Unclean) if repair == Access::Writable => {
            let words = format!(
                "{} was not unmounted cleanly: mounting it replayed its log",
                candidate.name
            );
            notes.push(note("logReplayed", words));
            filesystems.mount(candidate, subvolume, Access::Writable)
        }
        other => other,
    }
}

/// Returns what a root's fstab says, no lines where it has none; nothing where it is no root.
fn lines_of_root(root: &Rooted) -> io::Result<Option<Lines>> {
    // A link is as good: the file itself is not needed.
    let stands = |path: &str| match root.read(path, 1) {
        Ok(_) => true,
        Err(error) => error.raw_os_error() == Some(ELOOP),
    };
    if !stands("/etc/os-release") && !stands("/usr/lib/os-release") {
        return Ok(None);
    }
    match root.read("/etc/fstab", table::LIMIT_BYTES) {
        Ok(text) if u64::try_from(text.content.len()) == Ok(table::LIMIT_BYTES) => {
            Err(io::ErrorKind::FileTooLarge.into())
        }
        Ok(text) => Ok(Some(table::read(&text.content))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(Lines::new())),
        // What it keeps is not known.
        Err(error) => Err(error),
    }
}

/// Linux, `include/uapi/asm-generic/errno.h`.
const ELOOP: i32 = 40;

/// Returns an error with what caused it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
