//! Machines that are wiped.

pub(super) mod beside;
pub(super) mod devices;

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::BOOT_PATIENCE;
use crate::{
    lab::Lab,
    machine::{Booted, Bus, Disk, Kernel, Machine, installed},
    server::{Known, Mode, Server},
};

/// From an order to its end, small disks as they are, a boot included.
const WIPE_PATIENCE: Duration = Duration::from_mins(5);
/// Disks as small as a wipe needs to have something to do.
const SMALL: u64 = 32 << 20;

/// A step: reports are good enough where the disks came to this.
struct Step<'s> {
    level: &'s str,
    verdict: &'s str,
    reached: &'s str,
    options: &'s [&'s str],
}

pub(super) fn waits(lab: &Lab) -> Result<()> {
    let mut server = Server::start(lab, Mode::Authoritative)?;
    let machine = Bus::ALL.into_iter().fold(Machine::bios("tug"), |machine, bus| {
        machine.disk(Disk { size_bytes: 64 << 20, ..Disk::bootable(bus) })
    });
    let kernel = Kernel::of_hercules(&server, &machine)?;
    let mut booted = machine.kernel(kernel).boot(lab)?;
    let known = server.waits_for(&booted)?;
    ensure!(booted.console()?.contains("HerculesOS"), "it does not say which system it is");
    server.orders(&known.name, "power-off")?;
    booted.switches_off(BOOT_PATIENCE)?;
    let console = booted.console()?;
    ensure!(!console.contains("SunshineOS"), "it says that it is another one:\n{console}");
    booted.machine.has_unchanged_disks(lab)
}

/// The issue's own story: discovered, approved, two of four disks wiped at each level, the others keep every byte.
pub(super) fn four_disks(lab: &Lab) -> Result<()> {
    let mut server = Server::trusting_its_clock(lab, Mode::Authoritative)?;
    let small = |disk: Disk| Disk { size_bytes: SMALL, ..disk };
    let machine = Machine::bios("tug")
        .disk(small(Disk::installed(Bus::Nvme)))
        .disk(small(Disk::of_ones(Bus::Sata)))
        .disk(small(Disk::bootable(Bus::Sas)))
        .disk(small(Disk::of_ones(Bus::Virtio)));
    let mut booted = machine.boot(lab)?;
    let known = waits_approved(&mut server, &booted)?;
    let serials: Vec<String> =
        booted.machine.disks.iter().map(|disk| disk.serial.clone()).collect();
    let two = [serials[0].as_str(), serials[1].as_str()];
    let described = booted.machine.clone();
    let file = |number: usize| described.disk_file(lab, number);
    let keeps = |booted: &Booted| -> Result<()> {
        for number in [2, 3] {
            booted.machine.has_unchanged_disk(lab, number)?;
        }
        Ok(())
    };

    // From SunshineOS into the other one, over the network. It says what each level would do, and writes nothing.
    says_what_it_would_do(lab, &server, &booted, &known)?;

    // It erases nothing, and says so.
    let step = Step { level: "harbour", verdict: "notErased", reached: "none", options: &[] };
    let result = wiped(&mut server, &known, &two[..1], &step)?;
    ensure!(result["isDone"] == true, "harbour did not do what it is for: {result}");
    ensure!(booted.console()?.contains("HerculesOS"), "it was not HerculesOS that wiped");
    let kept: Vec<&str> =
        installed::FILES.iter().filter(|(_, goes)| !goes).map(|(path, _)| *path).collect();
    ensure!(installed::files_on(&file(0))? == kept, "other files went than are listed");
    booted.machine.has_unchanged_disk(lab, 1)?;
    keeps(&booted)?;

    let step = Step { level: "working", verdict: "erased", reached: "signatures", options: &[] };
    wiped(&mut server, &known, &two, &step)?;
    starts_with_nothing(&file(0))?;
    starts_with_nothing(&file(1))?;
    keeps(&booted)?;

    // What lies behind the addresses of a virtual disk nobody knows: that is said, and no more is claimed.
    let (verdict, reached) = ("erasedWithExceptions", "logical");
    let step = Step { level: "full", verdict, reached, options: &[] };
    wiped(&mut server, &known, &two, &step)?;
    is_zeros(&file(0))?;
    is_zeros(&file(1))?;
    keeps(&booted)?;

    let options = ["--finish", "power-off", "--ticket", "T-1"];
    let step = Step { level: "redline", verdict, reached, options: &options };
    wiped(&mut server, &known, &two, &step)?;
    booted.switches_off(BOOT_PATIENCE)?;
    let boots = booted.console()?.matches("HerculesOS ").count();
    ensure!(boots == 1, "every order of {boots} boots of HerculesOS, not of one");
    is_zeros(&file(0))?;
    is_zeros(&file(1))?;
    keeps(&booted)?;
    // The look has a certificate of its own, and one of each of all four disks.
    vouched_for(lab, &server, &two, 4, 5)
}

/// An order without a level and without disks is one to look at all of them.
fn says_what_it_would_do(lab: &Lab, server: &Server, booted: &Booted, known: &Known) -> Result<()> {
    let looked = server.ask(&["wipe", &known.name])?;
    let disks = looked["report"]["disks"].as_array().context("a look without disks")?;
    ensure!(disks.len() == 4, "it looked at {} disks", disks.len());
    for disk in disks {
        let levels = disk["forecast"]["levels"].as_array().context("a disk without forecast")?;
        let words: Vec<&str> = levels.iter().filter_map(|one| one["level"].as_str()).collect();
        ensure!(words == ["harbour", "working", "full", "redline"], "levels {words:?}");
        for level in levels {
            let has_way = level["ways"].as_array().is_some_and(|ways| !ways.is_empty());
            ensure!(has_way, "{}: no way at {}", disk["name"], level["level"]);
            // Nobody said that what is on a disk may go. Some disks have more that stands in the way.
            let against = level["inTheWay"].as_array().map_or(&[][..], Vec::as_slice);
            let is_data =
                |why: &&Value| why.as_str().is_some_and(|why| why.contains("--overwrite"));
            let expected = usize::from(level["level"] != "harbour");
            let found = against.iter().filter(is_data).count();
            ensure!(found == expected, "data is in the way {found} times: {level}");
        }
        ensure!(levels[0]["wouldRemove"].is_array(), "nobody looked: {}", levels[0]);
        let reached = [&levels[2]["reaches"], &levels[3]["reaches"]];
        ensure!(reached.iter().all(|one| **one == "logical"), "it would reach {reached:?}");
    }
    let installed = disks.iter().find(|disk| disk["name"] == "nvme0n1").context("no NVMe disk")?;
    let removed = installed["forecast"]["levels"][0]["wouldRemove"][0]["removed"].as_array();
    let files =
        removed.map_or(0, |rules| rules.iter().filter_map(|one| one["files"].as_u64()).sum());
    let expected = installed::FILES.iter().filter(|(_, goes)| *goes).count();
    ensure!(files == u64::try_from(expected)?, "harbour would remove {files} files: {removed:?}");
    booted.machine.has_unchanged_disks(lab)?;
    let id = looked["id"].as_str().context("an order without id")?;
    let page = server.command(&["orders", "show", id])?;
    for words in ["redline", "reaches logical, not purge", "would remove 3 files"] {
        ensure!(page.contains(words), "{words:?} does not stand in:\n{page}");
    }
    Ok(())
}

/// The power is cut in the middle of a pass: the next boot goes on there, and the certificate says so.
pub(super) fn power_cut(lab: &Lab) -> Result<()> {
    let mut server = Server::trusting_its_clock(lab, Mode::Authoritative)?;
    // What was written is told every ten seconds.
    let slow = |disk: Disk| Disk { size_bytes: 4 * SMALL, bytes_per_second: Some(4 << 20), ..disk };
    let machine = Machine::bios("tug")
        .disk(slow(Disk::of_ones(Bus::Nvme)))
        .disk(Disk { size_bytes: SMALL, ..Disk::bootable(Bus::Sata) });
    let booted = machine.boot(lab)?;
    let known = waits_approved(&mut server, &booted)?;
    let serial = booted.machine.disks[0].serial.clone();
    let options = ["--overwrite", "--finish", "power-off"];
    let order = server.wipes(&known.name, "full", &[&serial], &options)?;
    server.is_erasing(&order, 2 * SMALL, WIPE_PATIENCE)?;
    let mut machine = booted.cut_power()?;
    let half = fs::read(machine.disk_file(lab, 0)).context("reading the disk")?;
    ensure!(half.contains(&0xff) && half.contains(&0), "it was not cut in the middle");
    drop(half);

    machine.disks[0].bytes_per_second = None;
    let mut booted = machine.boot(lab)?;
    let result = server.is_wiped(&order, WIPE_PATIENCE, |_| Ok(()))?;
    booted.switches_off(BOOT_PATIENCE)?;
    came_to(&result, "erasedWithExceptions", "logical")?;
    is_zeros(&booted.machine.disk_file(lab, 0))?;
    booted.machine.has_unchanged_disk(lab, 1)?;
    let certificates = server.certificates(&lab.scratch(""))?;
    let says = certificates.iter().any(|(_, one)| one.to_string().contains("by an earlier boot"));
    ensure!(says, "no certificate says that an earlier boot began it: {certificates:?}");
    Ok(())
}

/// What breaks while disks are wiped: a disk that cannot be written everywhere, one that is pulled out, and the server.
pub(super) fn faults(lab: &Lab) -> Result<()> {
    let mut server = Server::trusting_its_clock(lab, Mode::Authoritative)?;
    let slow = |disk: Disk| Disk { size_bytes: SMALL, bytes_per_second: Some(2 << 20), ..disk };
    let machine = Machine::bios("tug")
        .disk(Disk {
            fails_at_sector: Some(40_000),
            size_bytes: SMALL,
            ..Disk::of_ones(Bus::Virtio)
        })
        .disk(slow(Disk::of_ones(Bus::Nvme)))
        .disk(slow(Disk::of_ones(Bus::Scsi)))
        .disk(Disk { size_bytes: SMALL, ..Disk::bootable(Bus::Sata) });
    let kernel = Kernel::of_hercules(&server, &machine)?;
    let mut booted = machine.kernel(kernel).boot(lab)?;
    let known = waits_approved(&mut server, &booted)?;
    let serials: Vec<String> =
        booted.machine.disks.iter().map(|disk| disk.serial.clone()).collect();
    let three: Vec<&str> = serials[..3].iter().map(String::as_str).collect();
    let order = server.wipes(&known.name, "full", &three, &["--overwrite"])?;
    server.is_erasing(&order, 4 << 20, WIPE_PATIENCE)?;
    booted.unplug(2)?;
    server.kill()?;
    // Long enough for a disk at 2 MiB/s to be done without anybody listening.
    booted.says("that it is over", WIPE_PATIENCE, |console| console.contains("reached:"))?;
    server.restart()?;
    let result = server.is_wiped(&order, WIPE_PATIENCE, |_| Ok(()))?;
    let disks = result["disks"].as_array().context("a result without disks")?;
    ensure!(disks.len() == 3, "it reports {} disks", disks.len());
    let verdict_of = |number: usize| {
        let Disk { serial, wwn, .. } = &booted.machine.disks[number];
        let names = [serial.to_lowercase(), format!("{wwn:x}")];
        let is = |disk: &&Value| {
            let identity = disk["identity"].as_str().unwrap_or_default();
            names.iter().any(|name| identity.contains(name))
        };
        disks.iter().find(is).map(|disk| disk["verdict"].clone())
    };
    let verdicts = [0, 1, 2].map(verdict_of);
    let expected = ["erasedWithExceptions", "erasedWithExceptions", "notErased"];
    let is = verdicts.iter().zip(expected).all(|(one, other)| one.as_ref() == Some(&other.into()));
    ensure!(is, "a bad place, a healthy disk, one that was pulled out: {verdicts:?} of {result}");
    is_zeros(&booted.machine.disk_file(lab, 1))?;
    booted.machine.has_unchanged_disk(lab, 3)?;
    let certificates = server.certificates(&lab.scratch(""))?;
    let says = |what: &str| certificates.iter().any(|(_, one)| one.to_string().contains(what));
    ensure!(says("badRanges") && says("lost"), "no certificate says why: {certificates:?}");
    Ok(())
}

/// Waits for a machine with data, and has it approved and wait for orders.
fn waits_approved(server: &mut Server, booted: &Booted) -> Result<Known> {
    let known = server.waits_for(booted)?;
    server.hears_boot(&known.name, 1)?;
    server.approves(&known.name)?;
    server.orders(&known.name, "wait")?;
    Ok(known)
}

/// Has disks wiped, and looks at what the server judges that they came to.
fn wiped(server: &mut Server, known: &Known, disks: &[&str], step: &Step<'_>) -> Result<Value> {
    let options = [&["--overwrite"][..], step.options].concat();
    let order = server.wipes(&known.name, step.level, disks, &options)?;
    let result = server.is_wiped(&order, WIPE_PATIENCE, |_| Ok(()))?;
    came_to(&result, step.verdict, step.reached).with_context(|| step.level.to_owned())?;
    let found = result["disks"].as_array().map_or(0, Vec::len);
    ensure!(found == disks.len(), "{}: it reports {found} disks", step.level);
    ensure!(result["isComplete"] == false, "two disks were left, and it is complete: {result}");
    Ok(result)
}

fn came_to(result: &Value, verdict: &str, reached: &str) -> Result<()> {
    let disks = result["disks"].as_array().context("a result without disks")?;
    let is = |disk: &Value| disk["verdict"] == verdict && disk["reached"] == reached;
    ensure!(disks.iter().all(is), "not {verdict}, {reached}: {result}");
    let findings = result.get("findings").and_then(Value::as_array).map_or(0, Vec::len);
    ensure!(findings == 0, "the report contradicts itself: {result}");
    Ok(())
}

/// Every certificate is what the server's key signed, and is not with one byte changed.
fn vouched_for(
    lab: &Lab,
    server: &Server,
    disks: &[&str],
    orders: usize,
    beside: usize,
) -> Result<()> {
    let key = server.command(&["certificate", "key"])?;
    let key = key.trim();
    let certificates = server.certificates(&lab.scratch(""))?;
    // One of each order, and one of each of its disks: the first order had one.
    let expected = orders + 2 * orders - 1 + beside;
    ensure!(certificates.len() == expected, "{} certificates", certificates.len());
    for (path, _) in &certificates {
        let doubt = server.doubts(path, key)?;
        ensure!(doubt.is_none(), "{}: {doubt:?}", path.display());
    }
    for disk in disks {
        let says = certificates.iter().filter(|(_, one)| one.to_string().contains(disk)).count();
        ensure!(says >= orders, "{disk} stands in {says} certificates");
    }
    let (path, _) = certificates.last().context("no certificate")?;
    let mut text = fs::read(path).context("reading a certificate")?;
    let place = text.len() / 2;
    text[place] ^= 1;
    fs::write(path, text).context("changing a certificate")?;
    ensure!(server.doubts(path, key)?.is_some(), "a changed certificate is believed");
    Ok(())
}

/// There is nothing at either end of a disk by which anything is recognised.
fn starts_with_nothing(disk: &Path) -> Result<()> {
    let bytes = fs::read(disk).context("reading a disk")?;
    // The table, and ext4's superblock behind where its partition began.
    for (start, length) in [(0, 512), ((1 << 20) + 1024, 1024), (bytes.len() - 512, 512)] {
        let place = &bytes[start..start + length];
        ensure!(place.iter().all(|byte| *byte == 0), "{length} bytes at {start} are left");
    }
    Ok(())
}

fn is_zeros(disk: &Path) -> Result<()> {
    let mut file = File::open(disk).context("opening a disk")?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).context("reading a disk")?;
    let place = bytes.iter().position(|byte| *byte != 0);
    ensure!(place.is_none(), "{} has something at byte {place:?}", disk.display());
    Ok(())
}
