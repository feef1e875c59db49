//! Machines that start from a CD or a stick of ours: no card has to boot, and the whole store is at hand.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::{BOOT_PATIENCE, Case, When};
use crate::{
    checkout,
    lab::Lab,
    machine::{Booted, Bus, Card, Disk, Firmware, Machine, Port},
    sealed,
    server::{Mode, Server},
    wait,
};

/// Every case of this kind.
pub(super) const CASES: &[Case] = &[
    // Seen red: the medium says `drydock.medium=0`.
    Case {
        name: "medium",
        claim: "a BIOS machine that starts from our CD and a UEFI machine that starts from it as a stick, with cards that do not boot and disks behind controllers that the store alone has drivers for, have records that list them, beside a server without a store; they wait, and the stick keeps every byte",
        machines: 1,
        when: When::Test,
        run: medium,
    },
    Case {
        name: "medium_every_card",
        claim: "from CD and stick, under BIOS and UEFI, discovery works with every card, and finds the disks behind every controller",
        machines: 1,
        when: When::Soak,
        run: every_card,
    },
    Case {
        name: "network_every_controller",
        claim: "from PXE and from the unified kernel image by HTTP Boot, discovery finds the disks behind every controller",
        machines: 1,
        when: When::Soak,
        run: every_controller,
    },
];

/// How a medium is put into a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// In a drive on SATA.
    Cd,
    /// On USB.
    Stick,
}

const MIB: u64 = 1 << 20;

/// What QEMU's other controllers and their disks are, each with a size of its own in MiB, by which it is known again.
const CONTROLLERS: [(u64, &str, &[&str]); 9] = [
    (101, "NVMe", &["nvme,drive=D,serial=N1"]),
    (102, "AHCI", &["ide-hd,bus=ide.1,drive=D"]),
    (103, "virtio-blk", &["virtio-blk-pci,drive=D"]),
    (104, "virtio-scsi", &["virtio-scsi-pci,id=vs", "scsi-hd,bus=vs.0,drive=D"]),
    (105, "megasas", &["megasas,id=ms", "scsi-hd,bus=ms.0,scsi-id=1,drive=D"]),
    // Linux' driver passes by what has no address on its bus, which in QEMU is its world wide name.
    (106, "mptsas1068", &["mptsas1068,id=mp", "scsi-hd,bus=mp.0,wwn=0x5000c50000000106,drive=D"]),
    (107, "pvscsi", &["pvscsi,id=pv", "scsi-hd,bus=pv.0,drive=D"]),
    // Cards have a power of two of bytes.
    (128, "SD", &["sdhci-pci,id=sd", "sd-card,drive=D"]),
    (109, "USB", &["qemu-xhci,id=ux", "usb-storage,bus=ux.0,drive=D"]),
];

/// The image of a medium that trusts a server, which says by DHCP where it is.
pub(super) fn image(lab: &Lab, server: &Server) -> Result<PathBuf> {
    let (image, initrd) = (lab.scratch("medium.iso"), checkout::medium_initrd()?);
    let pin = server.pin()?;
    let words = ["sunshineos".as_ref(), image.as_os_str(), initrd.as_ref(), pin.as_ref()];
    sealed::run("image/iso", &words)?;
    Ok(image)
}

/// Puts a medium into a machine, which starts from it and from nothing else.
pub(super) fn with_medium(machine: Machine, form: Form, image: &Path) -> Machine {
    let file = image.display();
    match form {
        Form::Cd => machine
            .fitted(
                "-drive",
                format!("if=none,id=medium,media=cdrom,readonly=on,format=raw,file={file}"),
            )
            .fitted("-device", "ide-cd,bus=ide.5,drive=medium,bootindex=0".to_owned()),
        Form::Stick => machine
            .fitted("-drive", format!("if=none,id=medium,cache=unsafe,format=raw,file={file}"))
            .fitted("-device", "qemu-xhci,id=sticks".to_owned())
            .fitted(
                "-device",
                "usb-storage,bus=sticks.0,drive=medium,removable=on,bootindex=0".to_owned(),
            ),
    }
}

/// Puts a disk behind every controller.
fn with_every_controller(mut machine: Machine, lab: &Lab) -> Result<Machine> {
    for (size, name, devices) in CONTROLLERS {
        let file = lab.scratch(&format!("{}-{name}.disk", machine.name));
        fs::File::create(&file)
            .and_then(|file| file.set_len(size * MIB))
            .context("making a disk")?;
        let drive = format!("if=none,id=d{size},cache=unsafe,format=raw,file={}", file.display());
        machine = machine.fitted("-drive", drive);
        for device in devices {
            machine = machine.fitted("-device", device.replace("=D", &format!("=d{size}")));
        }
    }
    Ok(machine)
}

/// Waits until the server knows a machine's disks behind every controller.
fn shows_every_controller(server: &mut Server, booted: &Booted) -> Result<()> {
    let mac = booted.machine.mac();
    let mut missing = Vec::new();
    wait::until(&format!("all disks of {}", booted.machine.name), BOOT_PATIENCE, || {
        server.must_run()?;
        for known in server.machines()? {
            let name = known["name"].as_str().context("a machine without a name")?;
            let shown = server.shows(name)?;
            if !shown.to_string().contains(mac) {
                continue;
            }
            let disks = shown["inventory"]["disks"].as_array().cloned().unwrap_or_default();
            let has = |size: u64| disks.iter().any(|disk| disk["sizeBytes"] == size);
            missing = CONTROLLERS.iter().filter(|(size, ..)| !has(size * MIB)).collect();
            if missing.is_empty() {
                return Ok(Some(()));
            }
        }
        Ok(None)
    })
    .with_context(|| format!("still missing: {missing:?}"))
}

fn medium(lab: &Lab) -> Result<()> {
    // What comes, comes from the medium.
    let assets = lab.scratch("bare");
    fs::create_dir(&assets).context("making a directory for images")?;
    for entry in fs::read_dir(checkout::image()?).context("reading dist")? {
        let entry = entry?;
        if entry.file_name() != "store" {
            symlink(entry.path(), assets.join(entry.file_name())).context("linking an image")?;
        }
    }
    let mut server = Server::serving(lab, Mode::Authoritative, "", assets)?;
    let image = image(lab, &server)?;
    let before = fs::read(&image).context("reading the image")?;
    for (form, firmware, bus, driver) in [
        (Form::Cd, Firmware::Bios, Bus::Raid, "megaraid_sas.ko"),
        (Form::Stick, Firmware::Uefi, Bus::Sas, "mptsas.ko"),
    ] {
        let name = format!("{form:?}");
        let machine = Machine::with(&name, firmware, Port::new(Card::Igb)).disk(Disk::blank(bus));
        let booted = with_medium(machine, form, &image).boot(lab)?;
        let known = server.waits_for(&booted)?;
        let console = booted.console()?;
        let is_fetched = |line: &str| line.contains("fetched") && line.contains(driver);
        ensure!(console.lines().any(is_fetched), "{driver} was not fetched:\n{console}");
        let inventory = &server.shows(&known.name)?["inventory"];
        let media = inventory["disks"].as_array().context("no disks")?;
        let media = media.iter().filter(|disk| disk["bootMedium"] == true).count();
        ensure!(media == usize::from(form == Form::Stick), "{media} boot media: {inventory}");
        // Nothing on its own disks: the medium is none of them.
        server.hears_boot(&known.name, 1)?;
        ensure!(booted.restarts() == 0, "it restarted");
        // SAFETY 11.
        booted.machine.has_unchanged_disks(lab)?;
    }
    ensure!(fs::read(&image).context("reading the image")? == before, "the stick was written to");
    Ok(())
}

fn every_card(lab: &Lab) -> Result<()> {
    let mut server = Server::start(lab, Mode::Authoritative)?;
    let image = image(lab, &server)?;
    let ways = [
        (Firmware::Bios, Form::Cd),
        (Firmware::Uefi, Form::Stick),
        (Firmware::Uefi, Form::Cd),
        (Firmware::Bios, Form::Stick),
    ];
    let cards = Card::FIXED.into_iter().chain([Card::Usb]);
    for (card, (firmware, form)) in cards.zip(ways.into_iter().cycle()) {
        let name = format!("{card:?}-{firmware:?}-{form:?}");
        let machine = Machine::with(&name, firmware, Port::new(card)).memory(512);
        let machine = with_medium(with_every_controller(machine, lab)?, form, &image);
        shows_every_controller(&mut server, &machine.boot(lab)?).with_context(|| name)?;
    }
    Ok(())
}

fn every_controller(lab: &Lab) -> Result<()> {
    let mut server =
        Server::booting_by_http(lab, Mode::Authoritative, "unified", checkout::unified()?)?;
    for machine in [Machine::bios("pxe"), Machine::uefi_http("http")] {
        let machine = with_every_controller(machine.memory(512), lab)?;
        shows_every_controller(&mut server, &machine.boot(lab)?)?;
    }
    Ok(())
}
