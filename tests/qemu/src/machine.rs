//! Machines: described, then switched on.
//!
//! A description can be switched on again and again: its identity, its disks and its firmware's variables stay.

mod acceleration;
mod arm;
mod booted;
pub(crate) mod chance;
mod disk;
mod driver;
pub(crate) mod frozen;
pub(crate) mod installed;
mod program;
mod qmp;
mod secure;
mod timer;
pub(crate) mod tpm;
pub(crate) mod variables;
mod watchdog;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

pub(crate) use self::{
    booted::Booted,
    disk::{Bus, Content, Disk, Make, OWN_DISK, write_network_programs},
    variables::Variables,
};
use crate::{checkout, lab::Lab, server::Server};

/// Debian's firmware; the same place on Debian 12 and 13.
const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// The same with Secure Boot, which it guards in System Management Mode.
const OVMF_SECURE_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
const OVMF_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// The same as machines leave their factory: with Microsoft's keys.
const OVMF_MICROSOFT_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd";

/// Whose programs firmware with Secure Boot starts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trusted {
    /// Those that were signed with keys of one's own, which are in this directory.
    Own(PathBuf),
    /// Microsoft's.
    Microsoft,
}

/// What a machine starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF that tries PXE.
    Uefi,
    /// OVMF that tries HTTP Boot only.
    UefiHttp,
}

/// A kind of network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Card {
    /// A virtio card without a ROM: under UEFI the firmware's own network stack boots from it. BIOS cannot.
    Plain,
    /// A virtio card with QEMU's boot ROM, which is iPXE.
    WithIpxe,
    /// An Intel card (e1000e) with QEMU's boot ROM, which is iPXE.
    IntelWithIpxe,
    /// A newer Intel card, without a ROM; no firmware here boots from it.
    Igb,
    /// The card of VMware's machines, with QEMU's boot ROM, which is iPXE.
    Vmxnet3,
    /// An old cheap card, with QEMU's boot ROM, which is iPXE.
    Rtl8139,
    /// A network card on USB, without a ROM; no firmware here boots from it.
    Usb,
}

impl Card {
    /// Every one that stays in its machine. The record of a machine does not name the others: they are no evidence.
    pub(crate) const FIXED: [Card; 6] =
        [Card::Plain, Card::WithIpxe, Card::IntelWithIpxe, Card::Igb, Card::Vmxnet3, Card::Rtl8139];

    /// Returns whether the firmware can boot from it. Where it cannot, QEMU has to load a kernel.
    pub(crate) fn boots_under(self, firmware: Firmware) -> bool {
        match self {
            Card::Plain => firmware != Firmware::Bios,
            // Its ROM is there before the firmware's own stack, and does not know HTTP Boot.
            Card::WithIpxe | Card::IntelWithIpxe | Card::Vmxnet3 | Card::Rtl8139 => {
                firmware != Firmware::UefiHttp
            }
            Card::Igb | Card::Usb => false,
        }
    }
}

/// A network port with its address, which moves with the card from machine to machine.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    card: Card,
    /// Its permanent address.
    pub(crate) mac: String,
}

/// A kernel that QEMU loads itself, where the boot path is not the subject.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    /// A bzImage.
    pub(crate) image: PathBuf,
    pub(crate) initrd: PathBuf,
    pub(crate) command_line: String,
}

/// A machine that can be switched on.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// How logs call it.
    pub(crate) name: String,
    pub(crate) firmware: Firmware,
    pub(crate) ports: Vec<Port>,
    pub(crate) disks: Vec<Disk>,
    /// SMBIOS type 1.
    pub(crate) uuid: String,
    pub(crate) serial: String,
    memory_mib: u32,
    boots_through: usize,
    clock: Option<String>,
    kernel: Option<Kernel>,
    watchdog: bool,
    ipv6: bool,
    fitted: Vec<(String, String)>,
    trusted: Option<Trusted>,
    is_arm: bool,
}

impl Port {
    /// Takes a card with a fresh address out of its box.
    pub(crate) fn new(card: Card) -> Port {
        let mac = chance::mac();
        // QEMU's USB card has this first byte whatever it is told.
        let mac = if card == Card::Usb { mac.replacen("00", "40", 1) } else { mac };
        Port { card, mac }
    }
}

impl Kernel {
    /// Asks the server, as the machine's iPXE would, which kernel it shall start with which command line.
    pub(crate) fn of(server: &Server, machine: &Machine) -> Result<Kernel> {
        // The others' numbers are iPXE's to say: nobody who asks without them goes without a driver.
        let card = match machine.ports[machine.boots_through].card {
            Card::Plain | Card::WithIpxe => "01:1a:f4:10:00",
            _ => "",
        };
        let script = server.fetch(&format!(
            "/script.ipxe?mac={}&uuid={}&arch=x86_64&platform=pcbios&busid={card}",
            machine.mac(),
            machine.uuid
        ))?;
        // `kernel --name kernel URI ARGUMENTS || goto label`; some arguments are for iPXE only.
        let line = script.lines().find_map(|line| line.trim().strip_prefix("kernel "));
        let line = line.with_context(|| format!("no kernel in the script:\n{script}"))?;
        let words = line.split_whitespace().take_while(|word| *word != "||");
        let mut arguments: Vec<&str> = words.skip_while(|word| !word.contains("/image/")).collect();
        arguments.retain(|word| !word.contains("initrd=") && !word.contains("${"));
        let dist = checkout::image()?;
        Ok(Kernel {
            image: dist.join("sunshineos-x86_64.vmlinuz"),
            initrd: packed(server, machine, &script, dist.join("sunshineos-x86_64.initrd"))?,
            command_line: arguments[1..].join(" "),
        })
    }

    /// Returns the same start, but of the system that wipes.
    pub(crate) fn of_hercules(server: &Server, machine: &Machine) -> Result<Kernel> {
        let dist = checkout::hercules()?;
        Ok(Kernel {
            image: dist.join("herculesos-x86_64.vmlinuz"),
            initrd: dist.join("herculesos-x86_64.initrd"),
            ..Kernel::of(server, machine)?
        })
    }

    /// Returns the same start, but of a kernel that believes what QEMU's NVMe namespaces are called.
    pub(crate) fn believing_namespaces(self, lab: &Lab) -> Result<Kernel> {
        let initrd = lab.scratch("believing.initrd");
        driver::believing(&self.initrd, &initrd)?;
        Ok(Kernel { initrd, ..self })
    }
}

/// Puts the pack that a script names behind an initramfs, as iPXE does: QEMU loads one file.
fn packed(server: &Server, machine: &Machine, script: &str, initrd: PathBuf) -> Result<PathBuf> {
    let pack = script.split_whitespace().find_map(|word| word.split_once("/pack/x86_64/"));
    let Some((_, pack)) = pack else { return Ok(initrd) };
    let pack = checkout::image()?.join("pack-x86_64").join(pack);
    let mut both = fs::read(&initrd).context("reading the initramfs")?;
    both.resize(both.len().next_multiple_of(4), 0);
    both.extend(fs::read(&pack).with_context(|| format!("reading {}", pack.display()))?);
    let place = server.beside(&format!("{}.initrd", machine.name));
    fs::write(&place, both).context("writing the initramfs with its pack")?;
    Ok(place)
}

impl Machine {
    /// Describes a BIOS machine of 256 MiB with one port that boots, no disk, and an identity of its own.
    pub(crate) fn bios(name: &str) -> Machine {
        Machine::with(name, Firmware::Bios, Port::new(Card::WithIpxe))
    }

    /// Describes the same with UEFI firmware, whose own network stack boots.
    pub(crate) fn uefi(name: &str) -> Machine {
        Machine::with(name, Firmware::Uefi, Port::new(Card::Plain))
    }

    /// Describes the same with UEFI firmware that boots by HTTP only.
    pub(crate) fn uefi_http(name: &str) -> Machine {
        Machine::with(name, Firmware::UefiHttp, Port::new(Card::Plain))
    }

    /// Describes a machine of 256 MiB without disks.
    pub(crate) fn with(name: &str, firmware: Firmware, port: Port) -> Machine {
        Machine {
            name: name.to_owned(),
            firmware,
            ports: vec![port],
            disks: Vec::new(),
            uuid: chance::uuid(),
            serial: format!("TUG{}", chance::digits(8)),
            memory_mib: 256,
            boots_through: 0,
            clock: None,
            kernel: None,
            watchdog: false,
            ipv6: true,
            fitted: Vec::new(),
            trusted: None,
            is_arm: false,
        }
    }

    /// Puts a disk in.
    pub(crate) fn disk(mut self, disk: Disk) -> Machine {
        self.disks.push(disk);
        self
    }

    /// Puts another network port in.
    pub(crate) fn port(mut self, port: Port) -> Machine {
        self.ports.push(port);
        self
    }

    /// Boots through another port than the first, counted from 0.
    pub(crate) fn boots_through(mut self, port: usize) -> Machine {
        self.boots_through = port;
        self
    }

    /// Carries this UUID and serial number instead of its own.
    pub(crate) fn identified_by(mut self, uuid: &str, serial: &str) -> Machine {
        uuid.clone_into(&mut self.uuid);
        serial.clone_into(&mut self.serial);
        self
    }

    /// Believes that it is this time, for example `2001-01-01T00:00:00`.
    pub(crate) fn clock(mut self, time: &str) -> Machine {
        self.clock = Some(time.to_owned());
        self
    }

    /// Does not try IPv6 PXE, which takes UEFI firmware another minute where nobody answers.
    pub(crate) fn without_ipv6(mut self) -> Machine {
        self.ipv6 = false;
        self
    }

    /// Has that much memory instead of 256 MiB.
    pub(crate) fn memory(mut self, mebibytes: u32) -> Machine {
        self.memory_mib = mebibytes;
        self
    }

    /// Loads this kernel without firmware's help.
    pub(crate) fn kernel(mut self, kernel: Kernel) -> Machine {
        self.kernel = Some(kernel);
        self
    }

    /// Has a watchdog, which restarts the machine once it was armed and starves.
    pub(crate) fn watchdog(mut self) -> Machine {
        self.watchdog = true;
        self
    }

    /// Has something that only one case needs: an option of QEMU's with its value.
    pub(crate) fn fitted(mut self, option: &str, value: String) -> Machine {
        self.fitted.push((option.to_owned(), value));
        self
    }

    /// Starts nothing but what is signed with the keys in this directory: Secure Boot is on. Another machine's firmware
    /// variables are not its own.
    pub(crate) fn trusting(mut self, keys: &Path) -> Machine {
        self.trusted = Some(Trusted::Own(keys.to_owned()));
        self
    }

    /// Switches Secure Boot on as it leaves its factory: what Microsoft signed starts.
    pub(crate) fn trusting_microsoft(mut self) -> Machine {
        self.trusted = Some(Trusted::Microsoft);
        self
    }

    /// Returns the address of the port that it boots through.
    pub(crate) fn mac(&self) -> &str {
        &self.ports[self.boots_through].mac
    }

    /// Returns whether it has UEFI firmware.
    pub(crate) fn is_uefi(&self) -> bool {
        self.firmware != Firmware::Bios
    }

    /// Switches the machine on.
    pub(crate) fn boot(&self, lab: &Lab) -> Result<Booted> {
        Booted::switch_on(self.clone(), lab)
    }

    /// Returns QEMU's arguments, and makes the files that they name.
    fn arguments(&self, lab: &Lab, taps: &[String], files: &Files) -> Result<Vec<OsString>> {
        let mut line = Arguments::default();
        line.add("-name", format!("{},debug-threads=on", self.name));
        line.words(&["-nodefaults", "-no-user-config", "-display", "none"]);
        if self.is_arm {
            line.words(&arm::MACHINE);
        } else {
            line.add("-machine", "q35,graphics=off");
            line.words(&acceleration::arguments());
            line.add("-chardev", format!("file,id=beacon,path={}", files.beacon.display()));
            line.add("-device", "isa-debugcon,iobase=0xe9,chardev=beacon");
        }
        line.add("-m", self.memory_mib.to_string());
        line.add("-boot", "strict=on");
        line.add(
            "-smbios",
            format!(
                "type=1,manufacturer=Evoteum,product=Test Tug,serial={},uuid={}",
                self.serial, self.uuid
            ),
        );
        line.add("-device", "virtio-rng-pci");
        line.add("-serial", format!("file:{}", files.serial.display()));
        for control in [&files.control, &files.second_control()] {
            line.add("-qmp", format!("unix:{},server=on,wait=off", control.display()));
        }
        if let Some(clock) = &self.clock {
            line.add("-rtc", format!("base={clock}"));
        }
        if self.watchdog {
            line.add("-device", format!("i6300esb,id={}", watchdog::NAME));
        }
        if let Some(kernel) = &self.kernel {
            line.add("-kernel", &kernel.image);
            line.add("-initrd", &kernel.initrd);
            line.add("-append", &kernel.command_line);
        }
        for (option, value) in &self.fitted {
            line.add(option, value);
        }
        self.firmware_arguments(lab, &mut line)?;
        self.port_arguments(taps, &mut line);
        self.disk_arguments(lab, &mut line)?;
        Ok(line.words)
    }

    fn firmware_arguments(&self, lab: &Lab, line: &mut Arguments) -> Result<()> {
        if !self.is_uefi() {
            return Ok(());
        }
        let code = match self.trusted {
            _ if self.is_arm => arm::CODE,
            Some(_) => OVMF_SECURE_CODE,
            None => OVMF_CODE,
        };
        ensure!(Path::new(code).exists(), "{code} is missing: install the firmware's package");
        if self.trusted.is_some() && !self.is_arm {
            line.add("-machine", "smm=on");
            line.add("-global", "driver=cfi.pflash01,property=secure,value=on");
            line.add("-global", "ICH9-LPC.disable_s3=1");
        }
        let variables = self.made_variables_file(lab)?;
        let flash = |file: &Path, mode| {
            format!("if=pflash,format=raw,file={},readonly={mode}", file.display())
        };
        line.add("-drive", flash(Path::new(code), "on"));
        line.add("-drive", flash(&variables, "off"));
        let pxe = self.firmware == Firmware::Uefi;
        for (family, tried) in [("IPv4PXESupport", pxe), ("IPv6PXESupport", pxe && self.ipv6)] {
            if !tried {
                line.add("-fw_cfg", format!("name=opt/org.tianocore/{family},string=n"));
            }
        }
        Ok(())
    }

    /// Returns what its firmware keeps, while it is off.
    pub(crate) fn variables(&self, lab: &Lab) -> Result<Variables> {
        let path = self.variables_file(lab);
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Variables::parse(&bytes)
    }

    /// Has its firmware keep these further variables, each with its vendor's GUID as it is stored. It must be off.
    pub(crate) fn remember(&self, lab: &Lab, added: &[(&str, [u8; 16], Vec<u8>)]) -> Result<()> {
        let path = self.made_variables_file(lab)?;
        let mut flash = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        for (name, vendor, data) in added {
            Variables::add(&mut flash, name, *vendor, data)?;
        }
        fs::write(&path, flash).with_context(|| format!("writing {}", path.display()))
    }

    fn made_variables_file(&self, lab: &Lab) -> Result<PathBuf> {
        let variables = self.variables_file(lab);
        if !variables.exists() {
            let blank = match self.trusted {
                Some(Trusted::Microsoft) => OVMF_MICROSOFT_VARIABLES,
                Some(Trusted::Own(_)) if self.is_arm => arm::FORMATTED_VARIABLES,
                None if self.is_arm => arm::VARIABLES,
                Some(Trusted::Own(_)) | None => OVMF_VARIABLES,
            };
            let mut flash = fs::read(blank).context("reading the firmware's variables")?;
            if let Some(Trusted::Own(keys)) = &self.trusted {
                if self.is_arm {
                    Variables::clear(&mut flash)?;
                }
                for (name, vendor, data) in secure::variables(keys)? {
                    Variables::add(&mut flash, name, vendor, &data)?;
                }
            }
            fs::write(&variables, flash).context("copying the firmware's variables")?;
        }
        Ok(variables)
    }

    fn variables_file(&self, lab: &Lab) -> PathBuf {
        let kind = if self.trusted.is_some() { "trusting." } else { "" };
        lab.scratch(&format!("{}.{kind}variables", self.name))
    }

    fn port_arguments(&self, taps: &[String], line: &mut Arguments) {
        for (number, (port, tap)) in self.ports.iter().zip(taps).enumerate() {
            line.add(
                "-netdev",
                format!("tap,id=wire{number},ifname={tap},script=no,downscript=no"),
            );
            let device = match port.card {
                Card::Plain => "virtio-net-pci,romfile=",
                Card::WithIpxe => "virtio-net-pci",
                Card::IntelWithIpxe => "e1000e",
                Card::Igb => "igb,romfile=",
                Card::Vmxnet3 => "vmxnet3",
                Card::Rtl8139 => "rtl8139",
                Card::Usb => {
                    line.add("-device", format!("qemu-xhci,id=usb{number}"));
                    "usb-net"
                }
            };
            // A kernel that QEMU loads is first by itself; and something may be fitted to be it.
            let loads = |(option, value): &(String, String)| {
                option == "-kernel" || value.ends_with(",bootindex=0")
            };
            let has_kernel = self.kernel.is_some() || self.fitted.iter().any(loads);
            let boots = number == self.boots_through && !has_kernel;
            let order = if boots && port.card != Card::Usb { ",bootindex=0" } else { "" };
            let mac = &port.mac;
            line.add(
                "-device",
                format!("{device},id=port{number},netdev=wire{number},mac={mac}{order}"),
            );
        }
    }

    /// Fails when anything was written to one of its disks, counted from 0, since it was made.
    pub(crate) fn has_unchanged_disk(&self, lab: &Lab, number: usize) -> Result<()> {
        self.disks[number].is_unchanged(&self.disk_file(lab, number))
    }

    /// Fails when anything was written to any of its disks since they were made.
    pub(crate) fn has_unchanged_disks(&self, lab: &Lab) -> Result<()> {
        let mut disks = self.disks.iter().enumerate();
        disks.try_for_each(|(number, disk)| disk.is_unchanged(&self.disk_file(lab, number)))
    }

    /// Puts another disk in the place of one, counted from 0, while it is off.
    pub(crate) fn exchange(&mut self, lab: &Lab, number: usize, disk: Disk) -> Result<()> {
        let file = self.disk_file(lab, number);
        fs::rename(&file, file.with_extension("out"))
            .with_context(|| format!("taking {} out", file.display()))?;
        self.disks[number] = disk;
        Ok(())
    }

    /// Returns the file that is one of its disks, counted from 0.
    pub(crate) fn disk_file(&self, lab: &Lab, number: usize) -> PathBuf {
        lab.scratch(&format!("{}-{number}.disk", self.name))
    }

    fn disk_arguments(&self, lab: &Lab, line: &mut Arguments) -> Result<()> {
        let mut controllers: Vec<&str> = Vec::new();
        for controller in self.disks.iter().filter_map(|disk| disk.bus.controller()) {
            if !controllers.contains(&controller) {
                controllers.push(controller);
                line.add("-device", controller);
            }
        }
        if let Some(disk) = self.disks.iter().find(|disk| disk.bus.is_namespace()) {
            for device in disk.controller_of_namespaces() {
                line.add("-device", device);
            }
        }
        let mut namespaces = 0;
        for (number, disk) in self.disks.iter().enumerate() {
            namespaces += usize::from(disk.bus.is_namespace());
            let file = self.disk_file(lab, number);
            disk.create(&file)?;
            line.add("-drive", disk.medium(number, &file));
            line.add("-device", disk.device(number, namespaces));
        }
        Ok(())
    }
}

/// The files of a machine that is switched on.
#[derive(Debug)]
struct Files {
    serial: PathBuf,
    beacon: PathBuf,
    control: PathBuf,
}

impl Files {
    /// A control socket beside the first one: each takes one conversation at a time.
    fn second_control(&self) -> PathBuf {
        self.control.with_extension("second.qmp")
    }
}

/// A growing command line.
#[derive(Debug, Default)]
struct Arguments {
    words: Vec<OsString>,
}

impl Arguments {
    fn add(&mut self, option: &str, value: impl Into<OsString>) {
        self.words.push(option.into());
        self.words.push(value.into());
    }

    fn words(&mut self, words: &[&str]) {
        self.words.extend(words.iter().map(OsString::from));
    }
}
