//! What an installed system's boot loader would load: its kernel, initramfs and command line.
//!
//! Menus are looked for in the order in which loaders find them: entries and unified kernel images for systemd-boot,
//! GRUB's menu, the menu of syslinux, a unified kernel image in the place of a loader. The first that is there decides.

mod entries;
mod grub;
mod syslinux;
mod unified;

use std::{collections::BTreeMap, io::Write};

use signature::Partition;

pub use self::grub::NotPlain;
use self::{
    entries::Entry,
    grub::Choice,
    unified::{HEAD_BYTES, Section, Unified},
};
use crate::{
    disk::{Disk, Volume, VolumeError},
    loader,
};

/// Longer than any kernel takes. Linux, `arch/arm64/include/asm/setup.h` (x86 takes 2048).
const COMMAND_LINE_LIMIT: usize = 4096;
/// More than any kernel or initramfs has.
const FILE_LIMIT: u64 = 1 << 30;
/// More than a text file of a boot loader has.
const TEXT_LIMIT: usize = 64 << 10;

/// What is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Which entry of which menu says so, for a person.
    pub from: String,
    /// The kernel.
    pub kernel: Part,
    /// What becomes the initramfs, one after another.
    pub initrds: Vec<Part>,
    /// The kernel's command line.
    pub command_line: String,
}

/// A file, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The number of the partition that it is on.
    pub partition: u32,
    /// Where, with slashes.
    pub path: String,
    /// Offset and length in bytes; absent for the whole file.
    pub range: Option<(u64, u64)>,
}

/// Says why there is nothing to start.
#[derive(Debug, thiserror::Error)]
pub enum MenuError {
    /// No boot loader's menu on any partition.
    #[error("no boot loader's menu was found; not read: {unread:?}")]
    None {
        /// Partitions that nothing here can read, with the reason.
        unread: Vec<String>,
    },
    /// GRUB's menu does more than a list of kernels.
    #[error("{place}")]
    NotPlain {
        /// Which menu.
        place: String,
        /// What it does.
        source: NotPlain,
    },
    /// A menu that makes no sense, or starts something else.
    #[error("{place}: {reason}")]
    Menu {
        /// Which menu.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk or a filesystem fails.
    #[error(transparent)]
    Volume(#[from] VolumeError),
}

/// What would be started, if the firmware were asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// UEFI.
    Uefi,
    /// A BIOS.
    Bios,
}

impl Disk {
    /// Copies a part, and says how many bytes it has.
    pub fn copy(&self, part: &Part, sink: &mut dyn Write) -> Result<u64, VolumeError> {
        let missing =
            || VolumeError::Missing { partition: part.partition, path: part.path.clone() };
        let partition = self.partitions().iter().find(|found| found.number == part.partition);
        let volume = self.volume(partition.ok_or_else(missing)?)?;
        let (offset, length) = part.range.map_or((0, None), |(at, length)| (at, Some(length)));
        let copied = volume.copy(&part.path, offset, length, FILE_LIMIT, sink)?;
        if copied == 0 || length.is_some_and(|length| length != copied) {
            return Err(missing());
        }
        Ok(copied)
    }
}

/// Finds what an installed system's boot loader would load by itself.
pub fn find(disk: &Disk, firmware: Firmware) -> Result<Start, MenuError> {
    let mut volumes = Vec::new();
    let mut unread = Vec::new();
    for partition in disk.partitions() {
        match disk.volume(partition) {
            Ok(volume) => volumes.push(volume),
            // What is empty or only for a BIOS is nothing to read.
            Err(_) if partition.signatures.is_empty() => {}
            Err(error) => unread.push(error.to_string()),
        }
    }
    let is_boot = |found: &Partition| disk.boot_partitions().any(|boot| boot == found);
    let boot: Vec<&Volume> = volumes.iter().filter(|volume| is_boot(volume.partition())).collect();
    let found = match listed(&boot, &BTreeMap::new())? {
        Some(start) => Some(start),
        None => match from_grub(&volumes, firmware)? {
            Some(start) => Some(start),
            None => match from_syslinux(&volumes)? {
                Some(start) => Some(start),
                None => from_removable_path(&boot)?,
            },
        },
    };
    let start = found.ok_or(MenuError::None { unread })?;
    let is_sound = start.command_line.len() <= COMMAND_LINE_LIMIT
        && !start.command_line.chars().any(char::is_control);
    if !is_sound {
        let reason = "its command line is too long or has control characters".to_owned();
        return Err(MenuError::Menu { place: start.from, reason });
    }
    Ok(start)
}

/// Something that systemd-boot would list.
struct Item<'v> {
    volume: &'v Volume,
    path: String,
    entry: Entry,
    unified: Option<Unified>,
}

/// Finds the default of the entries and unified kernel images on boot partitions.
/// Entries with variables are GRUB's, which knows their values.
fn listed(
    volumes: &[&Volume],
    variables: &BTreeMap<String, String>,
) -> Result<Option<Start>, MenuError> {
    let mut items = Vec::new();
    let mut default = None;
    for volume in volumes {
        if let Some(text) = text(volume, "/loader/loader.conf")? {
            default = default.or(entries::default(&text).map(str::to_owned));
        }
        items.extend(type_one(volume)?);
        items.extend(type_two(volume)?);
    }
    let is_for_grub = |item: &Item<'_>| item.entry.options.contains('$');
    if variables.is_empty() && items.iter().any(is_for_grub) {
        return Ok(None);
    }
    items.sort_by(|one, other| one.entry.compare(&other.entry));
    let named = |item: &Item<'_>, pattern: &str| {
        let name = &item.entry.name;
        let ending = if item.unified.is_some() { ".efi" } else { ".conf" };
        entries::matches(pattern, name) || entries::matches(pattern, &format!("{name}{ending}"))
    };
    let saved = default.or_else(|| variables.get("default").cloned());
    let chosen = saved.and_then(|pattern| items.iter().find(|item| named(item, &pattern)));
    let Some(item) = chosen.or(items.first()) else { return Ok(None) };
    start(item, variables).map(Some)
}

fn type_one(volume: &Volume) -> Result<Vec<Item<'_>>, MenuError> {
    let mut items = Vec::new();
    for name in volume.list("/loader/entries")?.into_iter().filter(|name| !name.is_directory) {
        let path = format!("/loader/entries/{}", name.text);
        let Some(text) = text(volume, &path)? else { continue };
        let Some(entry) = Entry::parse(&name.text, &text) else { continue };
        // Menus leave out entries without a kernel or program.
        if entry.linux.is_some() || entry.needs.is_some() {
            items.push(Item { volume, path, entry, unified: None });
        }
    }
    Ok(items)
}

fn type_two(volume: &Volume) -> Result<Vec<Item<'_>>, MenuError> {
    let mut items = Vec::new();
    for name in volume.list("/EFI/Linux")?.into_iter().filter(|name| !name.is_directory) {
        let Some(bare) = entries::strip_suffix(&name.text, ".efi") else { continue };
        let path = format!("/EFI/Linux/{}", name.text);
        let Some(unified) = Unified::parse(&volume.head(&path, HEAD_BYTES)?) else { continue };
        let (bare, is_bad) = entries::count(bare);
        let release = match unified.release {
            Some(section) => section_text(volume, &path, section)?,
            None => String::new(),
        };
        let field = |name: &str| {
            let value = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.map(|value| value.trim_matches(['"', '\'']).to_owned())
        };
        let entry = Entry {
            name: bare.to_owned(),
            is_bad,
            sort_key: field("IMAGE_ID").or_else(|| field("ID")),
            version: field("IMAGE_VERSION").or_else(|| field("VERSION_ID")),
            ..Entry::default()
        };
        items.push(Item { volume, path, entry, unified: Some(unified) });
    }
    Ok(items)
}

fn start(item: &Item<'_>, variables: &BTreeMap<String, String>) -> Result<Start, MenuError> {
    let number = item.volume.partition().number;
    let from = format!("{} of partition {number}", item.path);
    if let Some(unified) = &item.unified {
        return from_unified(item.volume, &item.path, unified);
    }
    if let Some(needs) = item.entry.needs {
        let reason = format!("it needs {needs}");
        return Err(MenuError::Menu { place: from, reason });
    }
    let part = |path: &str| {
        let path = format!("/{}", path.trim_start_matches('/'));
        Part { partition: number, path, range: None }
    };
    let initrds = item.entry.initrds.iter().map(|path| expand(path, variables));
    let linux = item.entry.linux.as_deref().unwrap_or_default();
    Ok(Start {
        from,
        kernel: part(linux),
        initrds: initrds.filter(|path| !path.is_empty()).map(|path| part(&path)).collect(),
        command_line: expand(&item.entry.options, variables),
    })
}

/// Puts GRUB's variables into an entry: what it does not know is nothing to it.
fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut pieces = text.split('$');
    expanded.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let braced = piece.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let (name, rest) = braced.unwrap_or_else(|| {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            piece.split_at(piece.find(|c| !is_name(c)).unwrap_or(piece.len()))
        });
        expanded.push_str(variables.get(name).map_or("", String::as_str));
        expanded.push_str(rest);
    }
    expanded.trim().to_owned()
}

fn from_unified(volume: &Volume, path: &str, unified: &Unified) -> Result<Start, MenuError> {
    let partition = volume.partition().number;
    let part = |section: Section| Part {
        partition,
        path: path.to_owned(),
        range: Some((section.offset, section.length)),
    };
    let command_line = match unified.command_line {
        Some(section) => section_text(volume, path, section)?,
        None => String::new(),
    };
    Ok(Start {
        from: format!("{path} of partition {partition}"),
        kernel: part(unified.linux),
        initrds: unified.initrds.iter().copied().map(part).collect(),
        command_line: command_line.trim_matches(['\0', '\n', ' ']).to_owned(),
    })
}

fn section_text(volume: &Volume, path: &str, section: Section) -> Result<String, MenuError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(TEXT_LIMIT).unwrap_or(u64::MAX);
    volume.copy(path, section.offset, Some(section.length), limit, &mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A unified kernel image where firmware looks for a loader.
fn from_removable_path(volumes: &[&Volume]) -> Result<Option<Start>, MenuError> {
    let path = format!("/EFI/BOOT/BOOT{}.EFI", loader::suffix().to_uppercase());
    for volume in volumes.iter().filter(|volume| volume.has_file(&path)) {
        if let Some(unified) = Unified::parse(&volume.head(&path, HEAD_BYTES)?) {
            return from_unified(volume, &path, &unified).map(Some);
        }
    }
    Ok(None)
}

/// Where GRUB's menu lies.
const GRUB_DIRECTORIES: [&str; 4] = ["/boot/grub", "/boot/grub2", "/grub", "/grub2"];

fn from_grub(volumes: &[Volume], firmware: Firmware) -> Result<Option<Start>, MenuError> {
    let platform = match firmware {
        Firmware::Uefi => "efi",
        Firmware::Bios => "pc",
    };
    for volume in volumes {
        for directory in GRUB_DIRECTORIES {
            let path = format!("{directory}/grub.cfg");
            let Some(menu) = volume.find(&path, grub::LENGTH_LIMIT)? else { continue };
            let environment = text(volume, &format!("{directory}/grubenv"))?.unwrap_or_default();
            let environment = grub::environment(&environment);
            let number = volume.partition().number;
            let place = format!("{path} of partition {number}");
            let (menu, device) = (String::from_utf8_lossy(&menu), device(volume.partition()));
            let disk = Volumes(volumes);
            let choice = grub::choose(&menu, &device, directory, &environment, platform, &disk);
            let choice =
                choice.map_err(|source| MenuError::NotPlain { place: place.clone(), source })?;
            return from_choice(choice, volumes, &place).map(Some);
        }
    }
    Ok(None)
}

fn from_choice(choice: Choice, volumes: &[Volume], place: &str) -> Result<Start, MenuError> {
    let wrong = |reason: String| MenuError::Menu { place: place.to_owned(), reason };
    let find = |wanted: &str| {
        let found = volumes.iter().find(|volume| device(volume.partition()) == wanted);
        found.ok_or_else(|| wrong(format!("it loads from {wanted:?}, which is not on this disk")))
    };
    match choice {
        Choice::Kernel { title, kernel, initrds, options } => {
            let part = |(device, path): (String, String)| {
                let partition = find(&device)?.partition().number;
                Ok(Part { partition, path, range: None })
            };
            Ok(Start {
                from: format!("entry {title:?} of {place}"),
                kernel: part(kernel)?,
                initrds: initrds.into_iter().map(part).collect::<Result<_, MenuError>>()?,
                command_line: options,
            })
        }
        Choice::Entries { device, variables } => {
            let found = listed(&[find(&device)?], &variables)?;
            found.ok_or_else(|| wrong("it lists entries, and there are none".to_owned()))
        }
    }
}

/// Where the menu of syslinux lies.
const SYSLINUX_MENUS: [&str; 8] = [
    "/syslinux.cfg",
    "/syslinux/syslinux.cfg",
    "/boot/syslinux/syslinux.cfg",
    "/boot/syslinux.cfg",
    "/extlinux.conf",
    "/extlinux/extlinux.conf",
    "/boot/extlinux/extlinux.conf",
    "/boot/extlinux.conf",
];

fn from_syslinux(volumes: &[Volume]) -> Result<Option<Start>, MenuError> {
    for volume in volumes {
        for path in SYSLINUX_MENUS {
            let Some(menu) = text(volume, path)? else { continue };
            let partition = volume.partition().number;
            let place = format!("{path} of partition {partition}");
            let choice = syslinux::choose(&menu)
                .map_err(|reason| MenuError::Menu { place: place.clone(), reason })?;
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            let part = |name: &String| {
                let path = if name.starts_with('/') {
                    name.clone()
                } else {
                    format!("{directory}/{name}")
                };
                Part { partition, path, range: None }
            };
            return Ok(Some(Start {
                from: format!("entry {:?} of {place}", choice.label),
                kernel: part(&choice.kernel),
                initrds: choice.initrds.iter().map(part).collect(),
                command_line: choice.options,
            }));
        }
    }
    Ok(None)
}

/// What GRUB asks of a disk.
struct Volumes<'v>(&'v [Volume]);

impl grub::Disk for Volumes<'_> {
    fn search(&self, by: grub::Search<'_>) -> Option<String> {
        let found = self.0.iter().find(|volume| match by {
            grub::Search::Uuid(uuid) => {
                volume.uuid().is_some_and(|found| found.eq_ignore_ascii_case(uuid))
            }
            grub::Search::Label(label) => volume.label() == Some(label),
            grub::Search::File(path) => volume.has_file(path),
        });
        found.map(|volume| device(volume.partition()))
    }

    fn has_file(&self, wanted: &str, path: &str) -> bool {
        self.0.iter().any(|volume| device(volume.partition()) == wanted && volume.has_file(path))
    }
}

/// Returns a partition's name as GRUB spells it.
fn device(partition: &Partition) -> String {
    let table = if partition.kind.starts_with("0x") { "msdos" } else { "gpt" };
    format!("hd0,{table}{}", partition.number)
}

fn text(volume: &Volume, path: &str) -> Result<Option<String>, MenuError> {
    let bytes = volume.find(path, TEXT_LIMIT)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests;
