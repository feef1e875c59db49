//! `working` on files in the place of disks, for tests with layouts that real tools made.
//!
//! ```text
//! working areas FILE SECTOR          says what is or was a device on it: start, length, what made it
//! working wipe FILE SECTOR           clears it; fails where something is still found
//! working release DISK...            takes down what the kernel has built on disks, by their names: sda
//! working report FILE                says what a wipe's report says
//! working plant zfs|ceph FILE START LENGTH   writes such labels into a part of it
//! ```
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it is a program for a terminal")]

use std::{
    error::Error,
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::Path,
};

use disk::{
    PlainFile,
    permit::{self, Circumstances, Clock, Place, Used},
};
use inventory::Root;
use protocol::{
    InventoryDigest, Order, OrderId, Wipe,
    order::{DiskIdentity, MachineEvidence, OrderedDisk},
    wipe::{PowerLevel, Seed, WipeFinish, WipeOptions, WipeReport},
};
use wipe::{
    Unwatched, Watch as _,
    working::{self, clear, plan, probe},
};

#[path = "../src/working/tests/labels.rs"]
mod labels;

const GIB: u64 = 1 << 30;
const ZFS_LABEL: u64 = 256 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["areas", file, sector] => {
            for area in plan(&open(file, sector)?)?.areas {
                println!("{} {} {}", area.start, area.length, area.kind);
            }
        }
        ["wipe", file, sector] => wipe(&open(file, sector)?)?,
        ["release", disks @ ..] => {
            release(disks)?;
        }
        ["report", file] => {
            let report: WipeReport = serde_json::from_str(&fs::read_to_string(file)?)?;
            for disk in &report.disks {
                let serial = disk.disk.serial.as_deref().unwrap_or_default();
                println!("{serial}: {:?}, reached {:?}", disk.verdict, disk.reached);
            }
        }
        ["plant", kind, file, start, length] => {
            let file = OpenOptions::new().write(true).open(file)?;
            plant(kind, &file, start.parse()?, length.parse()?)?;
        }
        _ => {
            return Err(
                "working areas|wipe FILE SECTOR, working release DISK..., working report FILE, or working plant zfs|ceph FILE START LENGTH"
                    .into(),
            );
        }
    }
    Ok(())
}

/// Orders the disks as a person would who named them all, and has what is built on them taken down.
fn release(names: &[&str]) -> Result<(), Box<dyn Error>> {
    let inventory = inventory::collect_fast(&Root::live());
    let mut disks = Vec::new();
    for name in names {
        let disk = inventory.disks.iter().find(|disk| disk.name == *name);
        let identity = DiskIdentity::of(disk.ok_or("there is no such disk")?);
        disks.push(OrderedDisk { identity, overwrite: true });
    }
    let typed = disks.iter().filter_map(|disk| disk.identity.serial.clone()).collect();
    let now_unix_milliseconds = linux::clock::unix_milliseconds();
    let wipe = Wipe {
        order: Order {
            id: OrderId([1; 16]),
            by: "a test".to_owned(),
            machine: MachineEvidence::of(&inventory),
            disks,
            deadline_unix_milliseconds: now_unix_milliseconds + 60_000,
            inventory: InventoryDigest::of(&inventory),
        },
        level: PowerLevel::Working,
        options: WipeOptions::default(),
        seed: Seed([1; 32]),
        missing: Vec::new(),
        extras: Vec::new(),
        journal: Vec::new(),
        finish: WipeFinish::Stay,
    };
    let place = Place::person(typed).having_shown(permit::holders(names)?);
    let used = Used::kept_in("/run/orders");
    let circumstances = Circumstances {
        place: &place,
        now_unix_milliseconds,
        clock: Clock::SetByServer,
        used: &used,
    };
    let right = permit::check_release(&wipe, &circumstances)?.ok_or("nothing is built on them")?;
    for holder in working::release(right, &Unwatched::new())? {
        println!("took down {holder}");
    }
    Ok(())
}

fn open(file: &str, sector: &str) -> Result<PlainFile, Box<dyn Error>> {
    let path = Path::new(file);
    Ok(PlainFile::open(path, fs::metadata(path)?.len(), sector.parse()?)?)
}

fn wipe(disk: &PlainFile) -> Result<(), Box<dyn Error>> {
    let watch = Unwatched::new();
    let places = plan(disk)?;
    let cleared = clear(disk, &places, &watch);
    let left = probe(disk, &places);
    println!(
        "{} devices, {} places, {} MiB cleared in {:.2} s",
        places.areas.len(),
        places.places.len(),
        cleared.bytes >> 20,
        watch.elapsed().as_secs_f32()
    );
    let again = plan(disk)?;
    let is_whole = cleared.bad.is_empty() && cleared.stopped.is_none() && !cleared.is_gone;
    if !is_whole || !left.is_nothing() || again.areas.len() != 1 {
        return Err(format!("{:?} {left:?} {:?}", cleared.bad, again.areas).into());
    }
    Ok(())
}

fn plant(kind: &str, file: &File, start: u64, length: u64) -> Result<(), Box<dyn Error>> {
    let labels: Vec<(u64, Vec<u8>)> = match kind {
        "zfs" => {
            let end = length - length % ZFS_LABEL;
            let places = [0, ZFS_LABEL, end - 2 * ZFS_LABEL, end - ZFS_LABEL];
            places.map(|at| (at, labels::zfs(at))).into()
        }
        "ceph" => {
            let label = labels::ceph(length);
            [0, GIB, 10 * GIB, 100 * GIB, 1000 * GIB].map(|at| (at, label.clone())).into()
        }
        _ => return Err(format!("nothing is called {kind}").into()),
    };
    for (at, label) in labels {
        if at + u64::try_from(label.len())? <= length {
            file.write_all_at(&label, start + at)?;
        }
    }
    Ok(())
}
