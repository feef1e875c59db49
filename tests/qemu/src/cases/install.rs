//! A cloud image onto a disk, up to the installed system that says its name.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::BOOT_PATIENCE;
use crate::{
    checkout,
    lab::Lab,
    machine::{Booted, Bus, Disk, Firmware, Kernel, Machine},
    router::Router,
    server::{Known, Mode, Server},
};

mod story;
mod told;
mod written;

use self::{story::Way, written::Written};

/// What the image is called in the store.
const IMAGE: &str = "debian-13";
/// From the order to its end: half a GiB takes half a minute on an idle machine under TCG.
const INSTALL_PATIENCE: Duration = Duration::from_mins(5);
/// A disk that is slow enough for something to happen meanwhile.
const SLOW: u64 = 24 << 20;
/// How much stands on the disk when it happens.
const MIDWAY: u64 = 64 << 20;
/// What the store cuts images into: docs/imaging.md.
const CHUNK_BYTES: usize = 4 << 20;
/// What an installed Debian needs to be quick.
const DEBIAN_MIB: u32 = 512;

pub(super) fn bios(lab: &Lab) -> Result<()> {
    // Its clock is years off, as one whose battery is empty.
    let machine = Machine::bios("tug").memory(DEBIAN_MIB).clock("2001-01-01T00:00:00");
    story::tell(lab, machine, Disk::blank(Bus::Sata), Way::Kexec)
}

pub(super) fn uefi(lab: &Lab) -> Result<()> {
    let machine = Machine::uefi("tug").without_ipv6().memory(DEBIAN_MIB);
    // What was on the disk is nowhere in what is on it after.
    story::tell(lab, machine, Disk::of_ones(Bus::Nvme), Way::Firmware)
}

/// Both ways of starting, with a blank disk and with one full of ones.
pub(super) fn on_disk(lab: &Lab, firmware: Firmware, bus: Bus) -> Result<()> {
    for (disk, way) in [(Disk::blank(bus), Way::Kexec), (Disk::of_ones(bus), Way::Firmware)] {
        let name = format!("{firmware:?}-{bus:?}-{way:?}");
        let machine = match firmware {
            Firmware::Bios => Machine::bios(&name),
            Firmware::Uefi | Firmware::UefiHttp => Machine::uefi(&name).without_ipv6(),
        };
        let lab = Lab::new(&lab.log(&name), lab.shows_serial())?;
        story::tell(&lab, machine.memory(DEBIAN_MIB), disk, way).with_context(|| name)?;
    }
    Ok(())
}

pub(super) fn power_cut(lab: &Lab) -> Result<()> {
    cut(lab, Machine::bios("tug"), MIDWAY)
}

pub(super) fn every_power_cut(lab: &Lab) -> Result<()> {
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        for place in [8 << 20, MIDWAY, 3 * MIDWAY] {
            let name = format!("{firmware:?}-{}", place >> 20);
            let machine = match firmware {
                Firmware::Bios => Machine::bios(&name),
                Firmware::Uefi | Firmware::UefiHttp => Machine::uefi(&name).without_ipv6(),
            };
            let lab = Lab::new(&lab.log(&name), lab.shows_serial())?;
            cut(&lab, machine, place).with_context(|| name)?;
        }
    }
    Ok(())
}

/// The power is cut with so many bytes written: the machine comes back to Drydock, whatever its disk started before,
/// and another order finishes what is there.
fn cut(lab: &Lab, machine: Machine, place: u64) -> Result<()> {
    let _router = if machine.is_uefi() { Some(Router::ipv6_only(lab)?) } else { None };
    let (mut server, image) = with_image(lab)?;
    let disk = Disk { bytes_per_second: Some(SLOW), ..Disk::bootable(Bus::Virtio) };
    let machine = machine.disk(disk).boot(lab)?;
    let known = server.waits_for(&machine)?;
    server.hears_boot(&known.name, 1)?;
    server.approves(&known.name)?;
    // It has data: it would go on to its disk.
    server.orders(&known.name, "wait")?;
    let serial = machine.machine.disks[0].serial.clone();
    let options = ["--overwrite", "--finish", "power-off"];
    let order = server.installs(&known.name, IMAGE, &serial, &options)?;
    server.is_midway(&order, place, INSTALL_PATIENCE)?;
    let mut machine = machine.cut_power()?;
    Written::of(&machine.disk_file(lab, 0))?.starts_nothing()?;

    machine.disks[0].bytes_per_second = None;
    let mut machine = machine.boot(lab)?;
    server.hears_boot(&known.name, 2)?;
    ensure!(machine.own_disk_starts()? == 0, "it started what had been on its disk");
    let failure = server.has_failed(&order, BOOT_PATIENCE)?;
    ensure!(failure.touched, "the disk was touched, and it is said that not: {}", failure.reason);
    let order = server.installs(&known.name, IMAGE, &serial, &options)?;
    let report = server.is_done(&order, INSTALL_PATIENCE, |_| Ok(()))?;
    reports(&report, &image, &machine.machine.disks[0])?;
    let found = report["progress"]["unchangedBytes"].as_u64().unwrap_or_default();
    ensure!(found >= place / 2, "of {place} bytes it found {found}: {report}");
    machine.switches_off(BOOT_PATIENCE)?;
    Written::of(&machine.machine.disk_file(lab, 0))?.is_image(&image)
}

/// Everything that breaks while an image is written, on one machine of 256 MiB that stays reachable through all of it.
pub(super) fn faults(lab: &Lab) -> Result<()> {
    let (mut server, image) = with_image(lab)?;
    let slow = |disk: Disk| Disk { bytes_per_second: Some(SLOW), ..disk };
    let sector = (fs::metadata(&image).context("looking at the image")?.len() / 2) / 512;
    let machine = Machine::bios("tug")
        .disk(Disk { sector_bytes: 4096, ..Disk::blank(Bus::Virtio) })
        .disk(Disk { fails_at_sector: Some(sector), ..Disk::blank(Bus::Virtio) })
        .disk(slow(Disk::blank(Bus::Nvme)))
        .disk(slow(Disk::blank(Bus::Scsi)));
    let kernel = Kernel::of(&server, &machine)?;
    let mut machine = machine.kernel(kernel).boot(lab)?;
    let known = server.waits_for(&machine)?;
    server.hears_boot(&known.name, 1)?;
    server.approves(&known.name)?;
    let serials: Vec<String> =
        machine.machine.disks.iter().map(|disk| disk.serial.clone()).collect();
    let [four, broken, killed, unplugged] = &serials[..] else { unreachable!("four disks") };

    // A table that counts in 512 bytes means nothing on a disk that counts in 4096.
    let order = ["install", &known.name, "--image", IMAGE, "--disk", four, "--detach"];
    let refusal = server.refuses(&order)?;
    ensure!(refusal.contains("4096"), "other sectors, but: {refusal}");

    let stay = ["--finish", "stay"];
    let order = server.installs(&known.name, IMAGE, broken, &stay)?;
    let failure = server.has_failed(&order, INSTALL_PATIENCE)?;
    ensure!(failure.touched, "it was written to before: {}", failure.reason);
    let is_named = failure.reason.contains("writing") && failure.reason.contains("I/O error");
    ensure!(is_named, "it cannot be written, but: {}", failure.reason);
    Written::of(&machine.machine.disk_file(lab, 1))?.starts_nothing()?;

    let order = server.installs(&known.name, IMAGE, killed, &stay)?;
    server.is_midway(&order, MIDWAY, INSTALL_PATIENCE)?;
    server.kill()?;
    server.restart()?;
    let report = server.is_done(&order, INSTALL_PATIENCE, |_| Ok(()))?;
    reports(&report, &image, &machine.machine.disks[2])?;
    Written::of(&machine.machine.disk_file(lab, 2))?.is_image(&image)?;

    let order = server.installs(&known.name, IMAGE, unplugged, &stay)?;
    server.is_midway(&order, MIDWAY, INSTALL_PATIENCE)?;
    machine.unplug(3)?;
    let failure = server.has_failed(&order, INSTALL_PATIENCE)?;
    ensure!(failure.touched, "it was written to before: {}", failure.reason);
    ensure!(failure.reason.contains("the disk is gone"), "it is gone, but: {}", failure.reason);
    Written::of(&machine.machine.disk_file(lab, 3))?.starts_nothing()?;

    ensure!(machine.restarts() == 0, "it restarted");
    comes_when_called(&mut server, &mut machine, &known)
}

fn comes_when_called(server: &mut Server, machine: &mut Booted, known: &Known) -> Result<()> {
    server.orders(&known.name, "power-off")?;
    machine.switches_off(BOOT_PATIENCE)
}

/// A server that may install, with the image in its store.
fn with_image(lab: &Lab) -> Result<(Server, std::path::PathBuf)> {
    let image = checkout::cloud()?;
    let server = Server::trusting_its_clock(lab, Mode::Authoritative)?;
    server.adds_image(&image, IMAGE)?;
    Ok((server, image))
}

/// Fails unless the report vouches for every byte of the image, and says how it came there.
fn reports(report: &Value, image: &Path, disk: &Disk) -> Result<()> {
    ensure!(report["guarantee"] == "signedChunks", "who vouches for it? {report}");
    let progress = &report["progress"];
    let number = |key: &str| {
        progress[key].as_u64().with_context(|| format!("no number {key} in the report {report}"))
    };
    let size = fs::metadata(image).with_context(|| format!("looking at {}", image.display()))?;
    let size = size.len();
    ensure!(number("imageBytes")? == size, "it is another image: {report}");
    let there = number("writtenBytes")? + number("zeroedBytes")? + number("unchangedBytes")?;
    ensure!(there >= size, "not all of it is on the disk: {report}");
    // Of these disks the kernel knows how they make zeros by themselves.
    let makes_zeros = matches!(disk.bus, Bus::Virtio | Bus::Nvme);
    let most = if makes_zeros { data_bytes(image)? + size / 50 } else { size };
    ensure!(number("writtenBytes")? <= most, "it wrote more than {most} bytes: {report}");
    ensure!(number("fetchedBytes")? < size, "it fetched the image unpacked: {report}");
    ensure!(number("verifiedBytes")? > 0, "nothing was read back: {report}");
    each_step(report).map(drop)
}

/// Returns how many bytes are in chunks of an image that are not all zeros.
fn data_bytes(image: &Path) -> Result<u64> {
    let image = fs::read(image).with_context(|| format!("reading {}", image.display()))?;
    let is_data = |chunk: &&[u8]| chunk.iter().any(|byte| *byte != 0);
    let lengths = image.chunks(CHUNK_BYTES).filter(is_data).map(<[u8]>::len);
    u64::try_from(lengths.sum::<usize>()).context("an image is no larger than a file")
}

/// Returns the steps after the image, none of which may have failed.
fn each_step(report: &Value) -> Result<Vec<&str>> {
    let steps = report["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let outcome = |step: &'_ Value| ensure_done(step, report);
    steps.iter().try_for_each(outcome)?;
    Ok(steps.iter().filter_map(|step| step["step"].as_str()).collect())
}

fn ensure_done(step: &Value, report: &Value) -> Result<()> {
    ensure!(step.get("failure").is_none_or(Value::is_null), "a step failed: {report}");
    Ok(())
}
