//! Unified kernel images: kernel, initramfs and command line in one program, which UEFI firmware starts without iPXE.
//!
//! One that nobody signed has room for a command line, into which the server writes for each request where it is and
//! which key it has. A signed one is sent as it is: what it has to know is inside, below the signature.

use std::{ops::Range, os::unix::fs::FileExt as _, path::Path};

use bytes::Bytes;
use protocol::{CommandLine, MacAddress};
use ring::digest;

use super::{
    Context, Settings,
    asset::{Architecture, Asset, Program},
    assets::{AssetError, Assets, BuildName, Content, Opened, hexadecimal},
};
use crate::decision::{System, Traveller};

/// What machines get whose firmware boots by HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpBoot {
    /// iPXE, which loads kernel and initramfs.
    #[default]
    Ipxe,
    /// The unified kernel image that nobody signed.
    Unified,
    /// The one that is signed with the operator's own key.
    Signed,
    /// Debian's shim and GRUB, which load kernel and initramfs.
    Shim,
}

/// What machines get whose UEFI firmware boots by PXE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PxeBoot {
    /// iPXE, which loads kernel and initramfs.
    #[default]
    Ipxe,
    /// Debian's shim and GRUB, which do the same on machines with Secure Boot.
    Shim,
}

/// A unified kernel image of one of our systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unified {
    /// Which system.
    pub system: System,
    /// For which processors.
    pub architecture: Architecture,
    /// Whether it is signed.
    pub seal: Seal,
}

/// Whether an image is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seal {
    /// Nobody signed it.
    Open,
    /// With the operator's own key.
    Signed,
}

/// Other bytes in the place of some of a file's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Overlay {
    at: u64,
    bytes: Bytes,
}

/// Says why an image cannot be given a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnifiedError {
    /// Its headers are not those of a unified kernel image.
    #[error("no unified kernel image")]
    Headers,
    /// Firmware would refuse what was changed.
    #[error("it is signed: spec.server.httpBoot: signed")]
    Signed,
    /// Made for one command line only.
    #[error("its command line has room for {room} bytes of {length}")]
    Room {
        /// How many bytes there are.
        room: usize,
        /// How many are needed.
        length: usize,
    },
}

impl HttpBoot {
    /// Reads what the configuration says.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "ipxe" => Some(Self::Ipxe),
            "unified" => Some(Self::Unified),
            "signed" => Some(Self::Signed),
            "shim" => Some(Self::Shim),
            _ => None,
        }
    }

    /// Returns the image of a system that machines of an architecture get, by its number in DHCP's option 93;
    /// none where they get iPXE.
    pub fn image(self, system: System, architecture: u16) -> Option<Unified> {
        let seal = match self {
            Self::Ipxe | Self::Shim => return None,
            Self::Unified => Seal::Open,
            Self::Signed => Seal::Signed,
        };
        // Firmware that boots by HTTP says 16, for Arm 19; some says what it says for PXE.
        let architecture = match architecture {
            7..=9 | 16 => Architecture::X86_64,
            11 | 19 => Architecture::Aarch64,
            _ => return None,
        };
        Some(Unified { system, architecture, seal })
    }

    /// Fails where an image of either system is missing, or cannot be given the command line of these settings. Those for
    /// 64-bit Arm may all be missing: most have no such machine.
    pub fn check(self, assets: &Assets, settings: &Settings) -> Result<(), AssetError> {
        let both = [System::Sunshine, System::Hercules];
        let usual = both.map(|system| self.image(system, 16));
        let arm = both.map(|system| self.image(system, 19));
        let has = |image: &Unified| assets.path(Asset::Unified(*image)).exists();
        let has_arm = arm.iter().flatten().any(has);
        let images = usual.into_iter().chain(arm.into_iter().filter(|_| has_arm));
        for image in images.flatten() {
            open(assets, image, &command_line(settings, image, Some(MacAddress([0xff; 6])), true))?;
        }
        if self == Self::Shim { PxeBoot::Shim.check(assets) } else { Ok(()) }
    }
}

impl PxeBoot {
    /// Reads what the configuration says.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "ipxe" => Some(Self::Ipxe),
            "shim" => Some(Self::Shim),
            _ => None,
        }
    }

    /// Fails where a program is missing that machines would get.
    pub fn check(self, assets: &Assets) -> Result<(), AssetError> {
        let needed = if self == Self::Shim { &Program::SHIM[..] } else { &[] };
        needed.iter().try_for_each(|program| assets.read(Asset::Program(*program)).map(drop))
    }
}

impl Unified {
    /// Returns all that there can be.
    pub fn all() -> impl Iterator<Item = Self> {
        [System::Sunshine, System::Hercules].into_iter().flat_map(|system| {
            Architecture::ALL.into_iter().flat_map(move |architecture| {
                [Seal::Open, Seal::Signed].map(|seal| Self { system, architecture, seal })
            })
        })
    }

    /// Returns its file name: `sunshineos-x86_64-all.efi`, with all network drivers; `-signed.efi`.
    pub fn file_name(self) -> String {
        let system = self.system.file_stem();
        let seal = match self.seal {
            Seal::Open => "all",
            Seal::Signed => "signed",
        };
        format!("{system}-{}-{seal}.efi", self.architecture.name())
    }

    /// Finds an image by its file name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|image| image.file_name() == name)
    }
}

impl Overlay {
    /// Puts its bytes over those of a piece of the file that begins at `position`.
    pub(super) fn lay(&self, position: u64, piece: &mut [u8]) {
        let end = |at: u64, length: usize| at + u64::try_from(length).unwrap_or(u64::MAX);
        let from = self.at.max(position);
        let to = end(self.at, self.bytes.len()).min(end(position, piece.len()));
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        if from < to {
            piece[index(from - position)..index(to - position)]
                .copy_from_slice(&self.bytes[index(from - self.at)..index(to - self.at)]);
        }
    }
}

impl Context {
    /// Opens a file of a build, or of the one of the moment, for one response to a machine, with its command line where the file has room for one. Blocks.
    pub(super) fn open(
        &self,
        asset: Asset,
        build: Option<BuildName>,
        mac: Option<MacAddress>,
    ) -> Result<Opened, AssetError> {
        let assets = build.map_or_else(|| self.assets.now(), |build| self.assets.of(build));
        match asset {
            Asset::Unified(image) => {
                let traveller = Traveller { mac, ..Traveller::default() };
                let storage = (self.has_network_storage)(&traveller, image.system);
                open(&assets, image, &command_line(&self.settings, image, mac, storage))
            }
            Asset::Program(_) | Asset::Image(_) | Asset::Pack(_) | Asset::Board(_) => {
                assets.read(asset)
            }
        }
    }
}

fn open(assets: &Assets, image: Unified, line: &str) -> Result<Opened, AssetError> {
    let mut opened = assets.read(Asset::Unified(image))?;
    if image.seal == Seal::Signed {
        return Ok(opened);
    }
    let path = assets.path(Asset::Unified(image));
    let overlay = overlay(&opened, &path, line)?;
    let both = [opened.tag.as_bytes(), &overlay.bytes].concat();
    opened.tag = hexadecimal(digest::digest(&digest::SHA256, &both).as_ref());
    match &mut opened.content {
        Content::Memory(bytes) => {
            let mut laid = bytes.to_vec();
            overlay.lay(0, &mut laid);
            *bytes = laid.into();
        }
        Content::File(_) => opened.overlay = Some(overlay),
    }
    Ok(opened)
}

/// What the kernel is told: as by iPXE, but for the lease, which firmware keeps to itself.
pub(super) fn command_line(
    settings: &Settings,
    Unified { system, architecture, .. }: Unified,
    mac: Option<MacAddress>,
    network_storage: bool,
) -> String {
    let ours = CommandLine { port: mac, ..CommandLine::default() };
    let arguments = settings.kernel_arguments(system, architecture, network_storage);
    format!("{arguments} {ours}").trim_end().to_owned()
}

fn overlay(opened: &Opened, path: &Path, line: &str) -> Result<Overlay, AssetError> {
    let read = |source| AssetError::Read { path: path.to_owned(), source };
    let unfit = |source| AssetError::Unfit { path: path.to_owned(), source };
    let mut header = vec![0; HEADERS_LIMIT];
    match &opened.content {
        Content::Memory(bytes) => header = bytes.iter().take(HEADERS_LIMIT).copied().collect(),
        Content::File(file) => file.read_exact_at(&mut header, 0).map_err(read)?,
    }
    let place = place(&header, opened.size_bytes).map_err(unfit)?;
    let room = usize::try_from(place.end - place.start).unwrap_or(usize::MAX);
    // With one space at least, so that what stands behind it in memory is no part of it.
    if line.len() >= room {
        return Err(unfit(UnifiedError::Room { room, length: line.len() + 1 }));
    }
    let mut bytes = line.as_bytes().to_vec();
    bytes.resize(room, b' ');
    Ok(Overlay { at: place.start, bytes: bytes.into() })
}

/// Longer than the headers of any image of ours: a table of a hundred sections.
const HEADERS_LIMIT: usize = 8192;
/// Its entries have so many bytes.
const ENTRY_BYTES: usize = 40;

/// Finds the command line in an image. Microsoft's "PE Format"; the Unified Kernel Image specification of the UAPI group.
fn place(header: &[u8], size_bytes: u64) -> Result<Range<u64>, UnifiedError> {
    let half = |at: usize| {
        let bytes = header.get(at..at.saturating_add(2)).ok_or(UnifiedError::Headers)?;
        Ok(usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
    };
    let word = |at: usize| {
        let bytes = header.get(at..at.saturating_add(4)).ok_or(UnifiedError::Headers)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let index = |number: u32| usize::try_from(number).map_err(|_| UnifiedError::Headers);
    let start = index(word(0x3c)?)?;
    let is_program = header.starts_with(b"MZ")
        && header.get(start..start.saturating_add(4)) == Some(b"PE\0\0")
        && half(start + 24)? == 0x20b;
    if !is_program {
        return Err(UnifiedError::Headers);
    }
    // The size of the table of signatures.
    if word(start + 24 + 112 + 4 * 8 + 4)? != 0 {
        return Err(UnifiedError::Signed);
    }
    let table = start + 24 + half(start + 20)?;
    for number in 0..half(start + 6)? {
        let entry = table + number * ENTRY_BYTES;
        let name = header.get(entry..entry + 8).ok_or(UnifiedError::Headers)?;
        if name != b".cmdline" {
            continue;
        }
        let (length, stored) = (word(entry + 8)?, word(entry + 16)?);
        let at = u64::from(word(entry + 20)?);
        let end = at + u64::from(length.min(stored));
        return if end <= size_bytes { Ok(at..end) } else { Err(UnifiedError::Headers) };
    }
    Err(UnifiedError::Headers)
}

#[cfg(test)]
pub(crate) mod tests;
