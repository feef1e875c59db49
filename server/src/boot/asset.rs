//! The files that are served, by name. What has no name here cannot be asked for.

use super::{pack::Pack, raspberry::BoardFile, unified::Unified};
use crate::decision::System;

/// A file that is served as it stands on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asset {
    /// What firmware loads first.
    Program(Program),
    /// What iPXE loads then.
    Image(Image),
    /// What it loads beside that for its card.
    Pack(Pack),
    /// What firmware starts by itself.
    Unified(Unified),
    /// What a Raspberry Pi's firmware loads.
    Board(BoardFile),
}

/// A network boot program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Program {
    /// iPXE for BIOS, through the card's own UNDI driver.
    UndionlyKpxe,
    /// iPXE for x86-64 UEFI, through the firmware's network stack.
    SnponlyEfi,
    /// iPXE for x86-64 UEFI with its own drivers.
    IpxeEfi,
    /// iPXE for 64-bit Arm UEFI.
    IpxeArm64Efi,
    /// What Microsoft signed for Debian: it starts what Debian signed, on x86-64 UEFI with Secure Boot.
    ShimX64Efi,
    /// Debian's GRUB, which it starts from beside itself.
    GrubX64Efi,
    /// Where a person enrols keys; shim starts it from beside itself.
    MmX64Efi,
}

/// One half of one of our systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Image {
    /// Which system.
    pub system: System,
    /// For which processors.
    pub architecture: Architecture,
    /// Which half.
    pub part: Part,
}

/// The halves of a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The kernel.
    Kernel,
    /// The initramfs.
    Initrd,
}

/// The processors that we have systems for, named as `uname -m` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

/// The firmware that iPXE stands on, from its `${platform}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Platform {
    /// UEFI.
    Efi,
    /// BIOS.
    Pcbios,
}

impl Asset {
    /// Returns where the file stands below the directory of assets (`dist/`).
    pub fn location(self) -> String {
        match self {
            Self::Program(program) => format!("{}/{}", program.directory(), program.file_name()),
            Self::Image(image) => image.file_name(),
            Self::Pack(pack) => {
                format!("pack-{}/{}", pack.architecture.name(), pack.file_name())
            }
            Self::Unified(image) => image.file_name(),
            Self::Board(file) => file.location(),
        }
    }

    /// Returns its media type. Firmware goes by it before it looks at the name (EDK2, `HttpBootSupport.c`).
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Program(Program::UndionlyKpxe)
            | Self::Image(_)
            | Self::Pack(_)
            | Self::Board(_) => "application/octet-stream",
            Self::Program(_) | Self::Unified(_) => "application/efi",
        }
    }
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::UndionlyKpxe,
        Self::SnponlyEfi,
        Self::IpxeEfi,
        Self::IpxeArm64Efi,
        Self::ShimX64Efi,
        Self::GrubX64Efi,
        Self::MmX64Efi,
    ];
    /// Without these nobody boots who trusts Microsoft only.
    pub const SHIM: [Self; 2] = [Self::ShimX64Efi, Self::GrubX64Efi];

    /// Returns its file name.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::UndionlyKpxe => "undionly.kpxe",
            Self::SnponlyEfi => "snponly.efi",
            Self::IpxeEfi => "ipxe.efi",
            Self::IpxeArm64Efi => "ipxe-arm64.efi",
            Self::ShimX64Efi => "shimx64.efi",
            Self::GrubX64Efi => "grubx64.efi",
            Self::MmX64Efi => "mmx64.efi",
        }
    }

    fn directory(self) -> &'static str {
        match self {
            Self::UndionlyKpxe | Self::SnponlyEfi | Self::IpxeEfi | Self::IpxeArm64Efi => "ipxe",
            Self::ShimX64Efi | Self::GrubX64Efi | Self::MmX64Efi => "shim",
        }
    }

    /// Finds a program by its file name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|program| program.file_name() == name)
    }
}

impl Image {
    /// Returns all images that there can be.
    pub fn all() -> impl Iterator<Item = Self> {
        [System::Sunshine, System::Hercules].into_iter().flat_map(|system| {
            Architecture::ALL.into_iter().flat_map(move |architecture| {
                [Part::Kernel, Part::Initrd].map(|part| Self { system, architecture, part })
            })
        })
    }

    /// Returns its file name: `sunshineos-x86_64.vmlinuz`.
    pub fn file_name(self) -> String {
        let part = match self.part {
            Part::Kernel => "vmlinuz",
            Part::Initrd => "initrd",
        };
        format!("{}.{part}", self.stem())
    }

    /// Returns what the names of all files of a system begin with: `sunshineos-x86_64`.
    pub(super) fn stem(self) -> String {
        format!("{}-{}", self.system.file_stem(), self.architecture.name())
    }

    /// Finds an image by its file name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|image| image.file_name() == name)
    }
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// Returns the name that `uname -m` has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Finds one by the name that `uname -m` has for it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Reads iPXE's `${buildarch}`. That says what iPXE was built for: an `i386` one runs on 64-bit processors.
    pub fn of_ipxe(buildarch: &str) -> Option<Self> {
        match buildarch {
            "i386" | "x86_64" => Some(Self::X86_64),
            "arm64" => Some(Self::Aarch64),
            _ => None,
        }
    }
}

impl Platform {
    /// Reads iPXE's `${platform}`.
    pub fn of_ipxe(platform: &str) -> Option<Self> {
        match platform {
            "efi" => Some(Self::Efi),
            "pcbios" => Some(Self::Pcbios),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files_are_inverse() {
        for program in Program::ALL {
            assert_eq!(Program::named(program.file_name()), Some(program));
        }
        assert_eq!(Image::all().count(), 8);
        for image in Image::all() {
            assert_eq!(Image::named(&image.file_name()), Some(image));
        }
        assert_eq!(Image::named("sunshineos-x86_64.efi"), None);
    }
}
