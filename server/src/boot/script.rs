//! iPXE scripts, rendered purely: what is known goes in, text comes out.
//!
//! ```text
//!  autoexec.ipxe (iPXE finds it beside itself) ─┐   the firmware's lease, else dhcp
//!  boot.ipxe     (DHCP names it)                ├─► imgfetch script.ipxe?mac=…&uuid=… ─► imgexec
//!                                               │        │ not there, or refused            │ kernel, initrd, boot
//!                                               └────────┴──► own disk ◄────────────────────┘ any failure
//! ```
//!
//! A pack, which has what the boot card needs beside the core, is loaded behind the core. One that does not come after all tries
//! is gone without: the core has the commonest cards' drivers, so that the machine may come up all the same, and one that
//! does not is no worse off than at its own disk.
//!
//! Every way through every script ends in a system or at the machine's own disk, after a limited number of tries.
//! Under UEFI that end is `exit 1`: `exit` would tell the firmware that the boot succeeded, and some stop there.
//! Under BIOS it is the first disk, and `exit` where that does not boot.
//!
//! Text that a machine sends is never rendered; the only thing of a machine that stands in a script is its MAC address.

use super::{
    asset::{Architecture, Image, Part, Platform},
    assets::BuildName,
    pack::{Pack, PackName},
    settings::Settings,
};
use crate::decision::{Boot, System, Traveller};

/// How often something is tried, two seconds apart, before the machine goes on to its own disk.
const TRIES: u32 = 3;
/// How long iPXE waits for a script: the server answers from memory.
const SCRIPT_PATIENCE_MILLISECONDS: u32 = 10_000;
/// How long a port that was opened again may take to see its cable: switches and slow cards.
const LINK_PATIENCE_MILLISECONDS: u32 = 15_000;
/// What iPXE tells of the machine. A `uristring` because makers write anything; `params` is not in Debian's build.
const IDENTITY: &str = "mac=${netX/mac}&uuid=${uuid}&serial=${serial:uristring}\
    &busid=${netX/busid}&arch=${buildarch}&platform=${platform}\
    &product=${product:uristring}&manufacturer=${manufacturer:uristring}";

/// What iPXE has done when it runs a first script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// iPXE found `autoexec.ipxe` by itself, and has not asked for a lease.
    Autoexec,
    /// DHCP named the script: the port has its lease.
    Leased,
}

/// What an exported script does where the server does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback<'path> {
    /// The machine's own disk.
    OwnDisk,
    /// SunshineOS from where the script came from.
    Sunshine {
        /// The way from the script's directory to the tree's root, `""` or `"../"`.
        root: &'path str,
        /// Whether the pack with all network drivers is in the tree.
        has_pack: bool,
    },
}

/// Which files of a system a machine loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cargo {
    /// The build that all of them are of. Absent where the server's directory has no builds.
    pub build: Option<BuildName>,
    /// What its boot card needs beside the core.
    pub pack: Option<Pack>,
}

/// What a machine loads and is told beside the system that it boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extras {
    /// The files.
    pub cargo: Cargo,
    /// Whether it looks for disks on a network, because that was said of it.
    pub network_storage: bool,
}

/// Where the parts of a system are, and what they are called once they are loaded.
struct Files {
    kernel: String,
    initrd: String,
    initrd_name: String,
    /// Where the pack is, and its name.
    pack: Option<(String, String)>,
}

/// Renders the first script: it tells the server who the machine is, and runs what the server answers.
pub fn first(settings: &Settings, beginning: Beginning) -> String {
    exported(settings, beginning, Fallback::OwnDisk)
}

/// Renders the first script as it stands on a router, where the server may be out of reach.
pub fn exported(settings: &Settings, beginning: Beginning, fallback: Fallback<'_>) -> String {
    let mut script = Script::new("asks Drydock what this machine boots");
    script.line("set attempt:int32 0");
    if beginning == Beginning::Autoexec {
        lease(&mut script);
    }
    script.line(":fetch");
    script.line(&format!(
        "imgfetch --name drydock.ipxe --timeout {SCRIPT_PATIENCE_MILLISECONDS} {}/script.ipxe?{IDENTITY} && goto run ||",
        settings.http()
    ));
    let no_answer = match fallback {
        Fallback::OwnDisk => "own_disk",
        Fallback::Sunshine { .. } => "without_server",
    };
    script.again("fetch", no_answer);
    script.line(":run");
    // BIOS: the script left by `exit`, which is no failure, and so does this one.
    script.line("imgexec --autofree drydock.ipxe && exit || goto own_disk");
    if let Fallback::Sunshine { root, has_pack } = fallback {
        script.line(":without_server");
        script.line("echo Drydock does not answer: SunshineOS from here");
        script.line("set architecture x86_64");
        script.line("iseq ${buildarch} arm64 && set architecture aarch64 ||");
        script.line("set attempt:int32 0");
        // All cards' drivers: nobody is there who knows which card needs which pack.
        let all = format!("{}.cpio", PackName::NETWORK);
        let files = Files {
            kernel: format!("{root}image/sunshineos-${{architecture}}.vmlinuz"),
            initrd: format!("{root}image/sunshineos-${{architecture}}.initrd"),
            initrd_name: "sunshineos-${architecture}.initrd".to_owned(),
            pack: has_pack.then(|| (format!("{root}pack/${{architecture}}/{all}"), all)),
        };
        let arguments = settings.kernel_arguments(System::Sunshine, Architecture::X86_64, false);
        system(&mut script, &arguments, &files);
    }
    script.own_disk(None);
    script.text
}

/// Renders the script of one machine; none where the machine is to hear nothing.
///
/// An architecture or a platform is absent where iPXE named none that we know.
pub fn machine(
    boot: &Boot,
    settings: &Settings,
    traveller: &Traveller,
    architecture: Option<Architecture>,
    platform: Option<Platform>,
    extras: Extras,
) -> Option<String> {
    let whose = traveller.mac.map_or_else(|| "a machine".to_owned(), |mac| mac.to_string());
    let mut script = match boot {
        Boot::Silence(_) => return None,
        Boot::OwnDisk => Script::new(&format!("{whose} boots its own disk")),
        Boot::System(which) => {
            let name = which.name();
            let mut script = Script::new(&format!("{whose} boots {name}"));
            match architecture {
                Some(architecture) => {
                    ours(&mut script, settings, *which, architecture, extras);
                }
                None => {
                    script.line(&format!("echo There is no {name} for ${{buildarch}}"));
                }
            }
            script
        }
    };
    script.own_disk(platform);
    Some(script.text)
}

/// Takes the lease that the firmware had, which iPXE knows of the port that it came through; else asks for one on all ports.
///
/// Asking again would cost four seconds, and on a machine with several networks might end on another port.
fn lease(script: &mut Script) {
    script.line("set port:int32 0");
    script.line(":find");
    script.line("isset ${net${port}/mac} || goto dhcp");
    script.line("isset ${net${port}/ip} && goto open ||");
    script.line("inc port");
    script.line("goto find");
    script.line(":open");
    script.line("ifopen net${port} || goto dhcp");
    script.line(&format!(
        "iflinkwait --timeout {LINK_PATIENCE_MILLISECONDS} net${{port}} || goto dhcp"
    ));
    script.line("goto leased");
    script.line(":dhcp");
    script.line("dhcp && goto leased ||");
    script.again("dhcp", "own_disk");
    script.line(":leased");
    script.line("set attempt:int32 0");
}

fn ours(
    script: &mut Script,
    settings: &Settings,
    system: System,
    architecture: Architecture,
    extras: Extras,
) {
    let name = |part| Image { system, architecture, part }.file_name();
    let Cargo { build, pack } = extras.cargo;
    let base = match build {
        Some(build) => format!("{}/build/{build}", settings.http()),
        None => settings.http(),
    };
    let pack = pack.map(|pack| {
        let (architecture, name) = (pack.architecture.name(), pack.file_name());
        (format!("{base}/pack/{architecture}/{name}"), name)
    });
    let files = Files {
        kernel: format!("{base}/image/{}", name(Part::Kernel)),
        initrd: format!("{base}/image/{}", name(Part::Initrd)),
        initrd_name: name(Part::Initrd),
        pack,
    };
    script.line("set attempt:int32 0");
    let arguments = settings.kernel_arguments(system, architecture, extras.network_storage);
    self::system(script, &arguments, &files);
}

/// Loads and starts a kernel; goes on to `own_disk` where that fails.
fn system(script: &mut Script, arguments: &str, files: &Files) {
    let Files { kernel, initrd, initrd_name, pack } = files;
    let arguments = format!(
        "{arguments} \
         drydock.lease=${{netX/mac}},${{netX/ip}}/${{netX/netmask}},${{netX/gateway}},${{netX/dns}}"
    );
    // `initrd=` for kernels that take it from the file system that iPXE shows them: under UEFI, iPXE shows all of them as
    // one LoadFile2 initrd since 2023, and before that Linux' stub appends the files that are named, each of which must be
    // there.
    let named = |name: &String| format!("initrd={name}");
    let all = match pack {
        Some((_, pack)) => format!("{} {}", named(initrd_name), named(pack)),
        None => named(initrd_name),
    };
    script.line(":load");
    script.line("imgfree");
    script.line(&format!("kernel --name kernel {kernel} {all} {arguments} || goto load_failed"));
    script.line(&format!("initrd --name {initrd_name} {initrd} || goto load_failed"));
    if let Some((pack, pack_name)) = pack {
        script.line("set attempt:int32 0");
        script.line(":pack");
        script.line(&format!("initrd --name {pack_name} {pack} && goto start ||"));
        script.again("pack", "without_pack");
        script.line(":without_pack");
        script.line(&format!("echo Without {pack_name}: this network card may have no driver"));
        script.line(&format!("imgargs kernel {} {arguments} ||", named(initrd_name)));
        script.line(":start");
    }
    script.line("boot ||");
    script.line("echo The kernel does not start");
    script.line("goto own_disk");
    script.line(":load_failed");
    script.again("load", "own_disk");
}

struct Script {
    text: String,
}

impl Script {
    fn new(title: &str) -> Self {
        Self { text: format!("#!ipxe\n# Drydock: {title}.\n") }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Goes back to a label two seconds later, or on to another after the last try.
    fn again(&mut self, label: &str, otherwise: &str) {
        self.line("inc attempt");
        self.line(&format!("iseq ${{attempt}} {TRIES} && goto {otherwise} ||"));
        self.line("sleep 2");
        self.line(&format!("goto {label}"));
    }

    fn own_disk(&mut self, platform: Option<Platform>) {
        self.line(":own_disk");
        self.line("echo On to the own disk");
        match platform {
            Some(Platform::Efi) => return self.line("exit 1"),
            Some(Platform::Pcbios) => {}
            None => self.line("iseq ${platform} efi && exit 1 ||"),
        }
        self.line("sanboot --no-describe --drive 0x80 ||");
        self.line("exit");
    }
}

#[cfg(test)]
mod tests;
