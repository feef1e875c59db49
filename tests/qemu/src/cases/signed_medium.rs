//! Media that are signed with one's own key, in machines with Secure Boot.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    BOOT_PATIENCE, Case, When,
    medium::{Form, with_medium},
};
use crate::{
    checkout,
    lab::Lab,
    machine::{Bus, Card, Disk, Firmware, Machine, Port},
    sealed::{self, Sealed},
    server::{Mode, Server},
};

/// Every case of this kind.
pub(super) const CASES: &[Case] = &[
    // Seen red: `image/iso` signs nothing.
    Case {
        name: "secure_boot_medium",
        claim: "with Secure Boot and one's own key a machine starts neither an unsigned stick nor a signed one of which a bit was changed; the signed one starts as a stick and as a CD, and the machine has a record",
        machines: 1,
        when: When::Soak,
        run: secure_boot,
    },
];

/// What firmware and kernel need while an image of 20 MB is in memory three times.
const MEMORY_MIB: u32 = 512;
/// Begins the section of a signed program that holds the initramfs: its name in the table of sections, as PE pads it.
const INITRAMFS: &[u8] = b".initrd\0";

fn secure_boot(lab: &Lab) -> Result<()> {
    let sealed = Sealed::make(lab)?;
    let mut server = Server::start(lab, Mode::Authoritative)?;
    let pin = server.pin()?;
    let signed = image(lab, &pin, Some(&sealed.keys))?;
    let machine = |name: &str| {
        // A card that does not boot: there is nothing else to start.
        Machine::with(name, Firmware::Uefi, Port::new(Card::Igb))
            .memory(MEMORY_MIB)
            .disk(Disk::blank(Bus::Nvme))
            .trusting(&sealed.keys)
    };

    for (name, image) in
        [("unsigned", image(lab, &pin, None)?), ("tampered", tampered(lab, &signed)?)]
    {
        let mut booted = with_medium(machine(name), Form::Stick, &image).boot(lab)?;
        booted.says("that it does not start the stick", BOOT_PATIENCE, |console| {
            console.lines().any(|line| line.contains("USB") && line.contains("Access Denied"))
        })?;
        ensure!(!booted.console()?.contains("Linux version"), "a kernel started: {name}");
    }
    ensure!(server.machines()?.is_empty(), "what was refused told about its machine");

    for form in [Form::Stick, Form::Cd] {
        let booted = with_medium(machine(&format!("{form:?}")), form, &signed).boot(lab)?;
        let known = server.waits_for(&booted)?;
        server.hears_boot(&known.name, 1)?;
        let console = booted.console()?;
        let is_told = |line: &str| line.contains("where a server is") && line.contains("by=DHCP");
        ensure!(console.lines().any(is_told), "who told it?\n{console}");
        let inventory = server.shows(&known.name)?["inventory"].to_string();
        ensure!(inventory.contains("\"secureBoot\":true"), "Secure Boot is not on: {inventory}");
        booted.machine.has_unchanged_disks(lab)?;
    }
    Ok(())
}

/// The image of a medium that trusts a server, signed where there are keys.
fn image(lab: &Lab, pin: &str, keys: Option<&Path>) -> Result<PathBuf> {
    let name = keys.map_or("unsigned.iso", |_| "signed.iso");
    let (image, initrd) = (lab.scratch(name), checkout::medium_initrd()?);
    let mut words =
        vec!["sunshineos".as_ref(), image.as_os_str(), initrd.as_ref(), pin.as_ref(), "".as_ref()];
    words.extend(keys.map(Path::as_os_str));
    sealed::run("image/iso", &words)?;
    Ok(image)
}

/// A copy of an image with one bit changed in what UEFI starts: in its initramfs, which nothing else looks at there.
fn tampered(lab: &Lab, image: &Path) -> Result<PathBuf> {
    let mut bytes = fs::read(image).context("reading an image")?;
    let table = bytes.windows(INITRAMFS.len()).position(|window| window == INITRAMFS);
    let table = table.context("no program with an initramfs in the image")?;
    // A header of sections: name, size in memory, address, size in the file, place in the file. PE/COFF specification §4.
    let number = |offset: usize| -> Result<usize> {
        let four = bytes[table + offset..][..4].try_into().context("four bytes")?;
        Ok(usize::try_from(u32::from_le_bytes(four))?)
    };
    let (length, place) = (number(16)?, number(20)?);
    // The program lies in one piece, from its own first bytes on; they stand close before the table.
    let program = bytes[..table].windows(2).rposition(|window| window == b"MZ");
    let middle = program.context("no beginning of the program")? + place + length / 2;
    bytes[middle] ^= 1;
    let copy = lab.scratch("tampered.iso");
    fs::write(&copy, bytes).context("writing an image")?;
    Ok(copy)
}
