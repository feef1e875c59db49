//! The Raspberry Pi, whose own firmware loads everything over TFTP from a directory that is named by its serial number.
//!
//! ```text
//!  boot loader in its EEPROM   26a0b1c2/start4.elf, config.txt, fixup4.dat     (a Pi 5 begins with config.txt)
//!  start4.elf                  26a0b1c2/config.txt ─► 26a0b1c2/BUILD/{initramfs, device tree, cmdline.txt, kernel}
//! ```
//!
//! Between these it asks for some thirty files that hardly anybody has; where even the first is missing, it asks again without
//! the directory, and then goes on to the next kind of boot in its `BOOT_ORDER`.
//! What is served is this list of names and no tree of files: nothing else can be asked for.
//!
//! `config.txt` names the build in `os_prefix`, so that all that belongs to a system is of one. Where the firmware does not find
//! kernel and device tree there, it asks for them without the prefix.

mod answer;
mod board;
mod boards;

use protocol::{CommandLine, MacAddress};

pub use self::{
    board::{Board, Model, Serial},
    boards::Boards,
};
use super::{
    asset::{Architecture, Asset, Image, Part},
    assets::{Assets, BuildName},
    settings::Settings,
};
use crate::{
    decision::{Boot, System},
    journal::{Silence, Unserved},
};

/// More than this of an initramfs never arrives, and nothing says so (rpi-eeprom, issue 375).
pub(crate) const LARGEST_FILE_BYTES: u64 = 64 << 20;
/// Where the files stand in a build.
const DIRECTORY: &str = "raspberry-pi";
/// What may stand there: the firmware of the Pi 4, and device trees.
const FILES: [&str; 9] = [
    "start4.elf",
    "fixup4.dat",
    "bcm2711-rpi-4-b.dtb",
    "bcm2711-rpi-400.dtb",
    "bcm2711-rpi-cm4.dtb",
    "bcm2711-rpi-cm4-io.dtb",
    "bcm2712-rpi-5-b.dtb",
    "bcm2712-d-rpi-5-b.dtb",
    "bcm2712d0-rpi-5-b.dtb",
];
/// Without these no Pi 4 boots.
const NEEDED_BY_FOUR: [&str; 3] = ["start4.elf", "fixup4.dat", "bcm2711-rpi-4-b.dtb"];
/// Without this no Pi 5 does: its EEPROM has the firmware.
const NEEDED_BY_FIVE: &str = "bcm2712-rpi-5-b.dtb";
/// The same for one with the newer stepping. Firmware may look for another name, so it is told this one, which is Linux'.
const NEEDED_BY_FIVE_D: &str = "bcm2712-d-rpi-5-b.dtb";
/// What is asked for outside of a Pi's directory too, and nobody has.
const PROBED: [&str; 20] = [
    "armstub8-2712.bin",
    "armstub8-gic.bin",
    "armstub8.bin",
    "autoboot.txt",
    "boot.img",
    "boot.sig",
    "bootcfg.txt",
    "bootcode.bin",
    "bootsig.bin",
    "dt-blob.bin",
    "fixup.dat",
    "pieeprom.sig",
    "pieeprom.upd",
    "recover4.elf",
    "recovery.elf",
    "recovery8.img",
    "start.elf",
    "tryboot.txt",
    "vl805.sig",
    "vl805.bin",
];

/// A file of the firmware or a device tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoardFile(&'static str);

/// What the firmware asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// `config.txt`: what to load.
    Configuration,
    /// `cmdline.txt`: what the kernel is told.
    CommandLine,
    /// A file of the firmware or a device tree.
    File(BoardFile),
    /// Kernel or initramfs.
    Image(Image),
    /// One of the many that it looks for and that are not there.
    Absent,
}

impl BoardFile {
    /// Returns all that there can be.
    pub fn all() -> impl Iterator<Item = Self> {
        FILES.into_iter().map(Self)
    }

    /// Finds one by its name.
    pub fn named(name: &str) -> Option<Self> {
        FILES.into_iter().find(|known| *known == name).map(Self)
    }

    /// Holds for a device tree.
    fn is_device_tree(self) -> bool {
        self.0.strip_suffix(".dtb").is_some()
    }

    /// Returns where it stands below the directory of a build.
    pub(super) fn location(self) -> String {
        format!("{DIRECTORY}/{}", self.0)
    }
}

impl Wish {
    /// Says what is meant by the parts of a path in a Pi's own directory, and of which build.
    pub(super) fn in_its_directory(parts: &[&str]) -> (Option<BuildName>, Self) {
        match *parts {
            [name] => (None, Self::named(name).unwrap_or(Self::Absent)),
            [build, name] => match (BuildName::read(build), Self::named(name)) {
                (Some(build), Some(wish)) => (Some(build), wish),
                _ => (None, Self::Absent),
            },
            _ => (None, Self::Absent),
        }
    }

    /// The same of a path outside of any Pi's directory; nothing where no Pi would ask for it.
    pub(super) fn at_the_root(parts: &[&str]) -> Option<(Option<BuildName>, Self)> {
        match *parts {
            [name] if PROBED.contains(&name) => Some((None, Self::Absent)),
            [name] => Some((None, Self::named(name)?)),
            ["overlays" | "upstream", _] => Some((None, Self::Absent)),
            [build, name] => Some((Some(BuildName::read(build)?), Self::named(name)?)),
            _ => None,
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "config.txt" => Some(Self::Configuration),
            "cmdline.txt" => Some(Self::CommandLine),
            name => BoardFile::named(name).map(Self::File).or_else(|| {
                let image = Image::named(name)?;
                (image.architecture == Architecture::Aarch64).then_some(Self::Image(image))
            }),
        }
    }
}

/// Says why a board of a model cannot be served what it is to boot; nothing where it can. Looks whether files are there.
pub(crate) fn unserved(assets: &Assets, model: Model, boot: &Boot) -> Option<Silence> {
    let Boot::System(system) = *boot else { return None };
    let assets = assets.now();
    let has = |name: &&'static str| assets.path(Asset::Board(BoardFile(name))).is_file();
    let lacks_system = || !assets.has_system(system, Architecture::Aarch64.name());
    let because = match model {
        Model::Older => Some(Unserved::TooOld),
        Model::Four | Model::Unknown => {
            (lacks_system() || !NEEDED_BY_FOUR.iter().all(has)).then_some(Unserved::NoFiles)
        }
        Model::Five | Model::FiveD if lacks_system() => Some(Unserved::NoFiles),
        Model::Five => (!has(&NEEDED_BY_FIVE)).then_some(Unserved::NoDriver),
        Model::FiveD => (!has(&NEEDED_BY_FIVE_D)).then_some(Unserved::NoDriver),
        // Linux 7.3 has no device tree for these.
        Model::LikeFive => Some(Unserved::NoDriver),
    }?;
    Some(Silence::RaspberryPi { model: model.name().to_owned(), because })
}

/// Renders `config.txt`: what the firmware loads, of one build where there are builds.
fn configuration(
    system: System,
    model: Model,
    mac: MacAddress,
    build: Option<BuildName>,
) -> String {
    let file = |part| Image { system, architecture: Architecture::Aarch64, part }.file_name();
    let mut lines = vec![
        format!("# Drydock: {mac} boots {}.", system.name()),
        "arm_64bit=1".to_owned(),
        // Device trees have the names that Linux has for them.
        "upstream_kernel=1".to_owned(),
    ];
    if matches!(model, Model::Four | Model::Unknown) {
        // Its port's clock would else change with the load.
        lines.extend(["[pi4]", "enable_uart=1", "[all]"].map(str::to_owned));
    }
    if model == Model::FiveD {
        lines.push(format!("device_tree={NEEDED_BY_FIVE_D}"));
    }
    lines.extend(build.map(|build| format!("os_prefix={build}/")));
    lines.push(format!("kernel={}", file(Part::Kernel)));
    lines.push(format!("initramfs {} followkernel", file(Part::Initrd)));
    lines.join("\n") + "\n"
}

/// Renders `cmdline.txt`: what every machine's kernel is told, with the board's own serial port as a console.
fn command_line(
    settings: &Settings,
    system: System,
    model: Model,
    mac: MacAddress,
    network_storage: bool,
) -> String {
    let ours = CommandLine { port: Some(mac), ..CommandLine::default() };
    let arguments = settings.kernel_arguments_of(system, model.serial_ports(), network_storage);
    format!("{arguments} {ours}\n")
}

#[cfg(test)]
mod tests;
