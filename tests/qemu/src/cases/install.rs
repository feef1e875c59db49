//! A cloud image onto a disk, up to the installed system that says its name.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::BOOT_PATIENCE;
use crate::{
    checkout,
    lab::Lab,
    listener::Listener,
    machine::{Booted, Bus, Content, Disk, Firmware, Kernel, Machine, chance},
    router::Router,
    server::{Known, Mode, Server},
};

mod written;

use self::written::Written;

/// What the image is called in the store.
const IMAGE: &str = "debian-13";
/// From the order to its end: half a GiB takes half a minute on an idle machine under TCG.
const INSTALL_PATIENCE: Duration = Duration::from_mins(5);
/// From the order's end to the installed system's word: firmware, kernel and cloud-init take two minutes under TCG.
const START_PATIENCE: Duration = Duration::from_mins(12);
/// A disk that is slow enough for something to happen meanwhile.
const SLOW: u64 = 24 << 20;
/// How much stands on the disk when it happens.
const MIDWAY: u64 = 64 << 20;
/// What the store cuts images into: docs/imaging.md.
const CHUNK_BYTES: usize = 4 << 20;
/// What an installed Debian needs to be quick.
const DEBIAN_MIB: u32 = 512;

pub(super) fn bios(lab: &Lab) -> Result<()> {
    whole_story(lab, Machine::bios("tug").memory(DEBIAN_MIB), Disk::blank(Bus::Sata))
}

pub(super) fn uefi(lab: &Lab) -> Result<()> {
    let machine = Machine::uefi("tug").without_ipv6().memory(DEBIAN_MIB);
    // What was on the disk is nowhere in what is on it after.
    whole_story(lab, machine, Disk::of_ones(Bus::Nvme))
}

pub(super) fn every_disk(lab: &Lab) -> Result<()> {
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        for bus in Bus::ALL {
            for disk in [Disk::blank(bus), Disk::of_ones(bus)] {
                let name = format!("{firmware:?}-{bus:?}-{:?}", disk.content);
                let machine = match firmware {
                    Firmware::Bios => Machine::bios(&name),
                    Firmware::Uefi | Firmware::UefiHttp => Machine::uefi(&name).without_ipv6(),
                };
                let lab = Lab::new(&lab.log(&name), lab.shows_serial())?;
                whole_story(&lab, machine.memory(DEBIAN_MIB), disk).with_context(|| name)?;
            }
        }
    }
    Ok(())
}

/// Discovered, approved, installed, started: on the server, on the disk, and by the installed system's own word.
fn whole_story(lab: &Lab, machine: Machine, disk: Disk) -> Result<()> {
    let _router = if machine.is_uefi() { Some(Router::ipv6_only(lab)?) } else { None };
    let (mut server, image) = with_image(lab)?;
    let listener = Listener::on(server.station())?;
    let told = Told::new(lab, &listener)?;
    let has_data = disk.content != Content::Blank;
    let mut machine = machine.disk(disk).boot(lab)?;
    let known = server.waits_for(&machine)?;
    server.hears_boot(&known.name, 1)?;
    let serial = machine.machine.disks[0].serial.clone();
    let mut options = vec!["--grow"];
    options.extend(told.options());
    let order = ["install", &known.name, "--image", IMAGE, "--disk", &serial];

    // SAFETY 2, 9: neither a machine that nobody approved, nor what is on a disk.
    let refusal = server.refuses(&order)?;
    ensure!(refusal.contains("approve"), "not approved, but: {refusal}");
    server.approves(&known.name)?;
    if has_data {
        let refusal = server.refuses(&order)?;
        ensure!(refusal.contains("overwrite"), "data is on the disk, but: {refusal}");
        options.push("--overwrite");
    }
    server.command(&[&order[..], &options, &["--dry-run"]].concat())?;
    ensure!(server.ask(&["orders", "list"])?.as_array().is_some_and(Vec::is_empty), "an order");
    machine.machine.has_unchanged_disks(lab)?;

    let order = server.installs(&known.name, IMAGE, &serial, &options)?;
    let text = order.given.to_string();
    ensure!(!text.contains(&told.key) && !text.contains("runcmd"), "the order shows the seed");
    let mut phases = Vec::new();
    let report = server.is_done(&order, INSTALL_PATIENCE, |progress| {
        if let Some(phase) = progress["phase"].as_str() {
            phases.push(phase.to_owned());
        }
        Ok(())
    })?;
    // Frozen before its firmware is through: nothing but the agent has written.
    machine.freeze()?;
    ensure!(!phases.is_empty(), "nobody saw it at work");
    reports(&report, &image, &machine.machine.disks[0])?;
    let steps: Vec<&str> = each_step(&report)?;
    ensure!(steps == ["moveBackupGpt", "growLastPartition", "seed"], "the steps were {steps:?}");
    let written = Written::of(&machine.machine.disk_file(lab, 0))?;
    written.is_image(&image)?;
    written.has_partitions(3)?;
    written.seeds("meta-data", |text| text.contains(&told.name) && text.contains(&told.key))?;
    written.seeds("user-data", |text| text == told.user_data)?;
    ensure!(!listener.has_heard(), "somebody spoke before the installed system started");
    machine.thaw()?;

    let said = listener.hears("the installed system's word", START_PATIENCE)?;
    ensure!(said["hostname"] == told.name.as_str(), "it is not {}: {said}", told.name);
    let keys = said["keys"].as_str().unwrap_or_default();
    ensure!(keys.contains(&told.key), "it does not have the key {}: {said}", told.key);
    ensure!(said["uefi"] == machine.machine.is_uefi(), "it started otherwise: {said}");
    let root = said["rootBytes"].as_u64().unwrap_or_default();
    let size = fs::metadata(&image).context("looking at the image")?.len();
    ensure!(root > size, "its root filesystem did not grow: {said}");
    // SeaBIOS makes two of one.
    ensure!((1..=2).contains(&machine.restarts()), "it restarted {} times", machine.restarts());
    ensure!(server.boots_of(&known.name)? == 1, "the agent ran again");
    server.names(machine.machine.mac(), "ownDisk").map(drop)
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

/// What the installed system is told about itself, and what to say of it.
struct Told {
    /// Its host name.
    name: String,
    /// A public key.
    key: String,
    user_data: String,
    file: String,
}

impl Told {
    fn new(lab: &Lab, listener: &Listener) -> Result<Told> {
        let name = format!("hull-{}", chance::digits(8).to_lowercase());
        let key = format!("{} tug@lab", written::key());
        let user_data = format!(
            "#cloud-config\nruncmd:\n  - [python3, -c, \"{}\"]\n",
            SAYS.trim().replace('\n', "; ").replace("URL", &listener.url)
        );
        let path = lab.scratch("user-data");
        fs::write(&path, &user_data).context("writing user-data")?;
        let file = path.to_str().context("the scratch directory is no UTF-8")?.to_owned();
        Ok(Told { name, key, user_data, file })
    }

    fn options(&self) -> [&str; 6] {
        ["--hostname", &self.name, "--ssh-key", &self.key, "--user-data", &self.file]
    }
}

/// The installed system's own words about itself.
const SAYS: &str = "
import json, os, socket, urllib.request
root = os.statvfs('/')
said = dict(hostname=socket.gethostname(), keys=open('/home/debian/.ssh/authorized_keys').read(), \
uefi=os.path.exists('/sys/firmware/efi'), rootBytes=root.f_blocks * root.f_frsize)
urllib.request.urlopen('URL', json.dumps(said).encode(), 60)
";
