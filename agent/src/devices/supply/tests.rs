use std::{fmt::Write as _, fs, path::Path, sync::atomic::AtomicUsize, thread};

use modules::{Digest, Texts};
use protocol::Inventory;
use ring::digest::{SHA256, digest};

use super::*;
use crate::{
    devices::{fetch::Coming, medium::tests::medium},
    session::BulkError,
};

static NONE: Media = Media::none();

/// A driver of disks that needs a library, one of ports with firmware, and one that nobody waits for.
const DEP: &str = "kernel/drivers/scsi/disk.ko: kernel/drivers/scsi/library.ko\n\
    kernel/drivers/scsi/library.ko:\nkernel/drivers/net/port.ko:\nkernel/drivers/hwmon/fan.ko:\n";
const FIRMWARE: &str = "kernel/drivers/net/port.ko: port.fw\n";

/// What came of everything that was wanted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// What was passed on, with how much firmware came for it.
    loaded: Vec<(String, usize)>,
    gaps: Vec<String>,
}

/// How the server answers to a file of that name.
type Answer = fn(&str) -> Result<Vec<u8>, BulkError>;

/// Lets three drivers be wanted by a machine that has `here`, and a server answer; says which of them were ready at once,
/// what was awaited then, and what came of it.
fn play(here: &[&str], marks: &str, answer: Answer) -> (Vec<bool>, Vec<String>, Outcome) {
    let directory = tempfile::tempdir().unwrap();
    let mut names = Vec::new();
    let mut store = String::new();
    for path in [
        "kernel/drivers/scsi/disk.ko",
        "kernel/drivers/scsi/library.ko",
        "kernel/drivers/net/port.ko",
        "kernel/drivers/hwmon/fan.ko",
        "firmware/port.fw",
    ] {
        let file = directory.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        if here.contains(&path) {
            fs::write(file, path).unwrap();
        }
        let sha256 = digest(&SHA256, path.as_bytes()).as_ref().try_into().map(Digest).unwrap();
        let mark = if marks == path { " network-storage" } else { "" };
        writeln!(store, "{sha256} {} {path}{mark}", path.len()).unwrap();
        names.push((sha256, path));
    }
    fs::write(directory.path().join("modules.store"), store).unwrap();
    fs::write(directory.path().join("modules.firmware"), FIRMWARE).unwrap();
    let texts = Texts { dep: DEP.to_owned(), ..Texts::default() };
    let index = Index::new(&texts);
    let findings = Findings::default();
    let root = directory.path();
    let stock = Stock::read(root, root, false, |gap| panic!("{gap:?}"));
    let supply = Supply::new(stock, findings.clone(), &NONE);
    let want = |name: &str| {
        let plan = index.plan(name);
        let file = *plan.last().unwrap();
        supply.is_ready(&index, file, &plan, &format!("test:{name}"))
    };
    let ready = ["disk", "port", "fan"].map(want).to_vec();
    let awaited = findings.awaited();
    let source = |wanted: &Digest| -> Result<Coming, BulkError> {
        let (_, path) = names.iter().find(|(digest, _)| digest == wanted).unwrap();
        let bytes = answer(path)?;
        Ok((bytes.len().try_into().unwrap(), Box::new(std::io::Cursor::new(bytes))))
    };
    let loaded = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..HANDS {
            scope.spawn(|| {
                supply.work(&source, |want, firmware| {
                    let mut loaded = loaded.lock().unwrap();
                    loaded.push((modules::name(want.file), firmware.len()));
                });
            });
        }
        assert!(loaded.lock().unwrap().is_empty(), "nobody is asked before the machine is known");
        supply.open();
        let end = Instant::now() + Duration::from_secs(20);
        while !supply.is_idle() && Instant::now() < end {
            thread::park_timeout(Duration::from_millis(1));
        }
        assert!(supply.is_idle() && supply.is_over());
        supply.close();
    });
    let mut loaded = loaded.into_inner().unwrap();
    loaded.sort();
    let mut inventory = Inventory::default();
    findings.complete(&mut inventory);
    let words = |gap: &Gap| format!("{} {}: {}", gap.what, gap.source, gap.reason);
    let mut gaps: Vec<String> = inventory.gaps.iter().map(words).collect();
    gaps.sort();
    (ready, awaited, Outcome { loaded, gaps })
}

fn outcome(loaded: &[(&str, usize)], gaps: &[&str]) -> Outcome {
    Outcome {
        loaded: loaded.iter().map(|(name, firmware)| ((*name).to_owned(), *firmware)).collect(),
        gaps: gaps.iter().map(|gap| (*gap).to_owned()).collect(),
    }
}

fn right(path: &str) -> Vec<u8> {
    path.as_bytes().to_vec()
}

const ALL: [(&str, usize); 3] = [("disk", 0), ("fan", 0), ("port", 1)];

#[test]
fn what_is_absent_is_fetched_and_ports_and_disks_are_awaited() {
    let (ready, awaited, came) = play(&[], "", |path| Ok(right(path)));
    assert_eq!((ready, awaited), (vec![false; 3], vec!["disk".to_owned(), "port".to_owned()]));
    assert_eq!(came, outcome(&ALL, &[]));
}

#[test]
fn what_the_machine_gets_online_with_is_loaded_at_once_and_its_firmware_comes_later() {
    let (ready, awaited, came) = play(&["kernel/drivers/net/port.ko"], "", |path| Ok(right(path)));
    assert_eq!((ready, awaited), (vec![false, true, false], vec!["disk".to_owned()]));
    assert_eq!(came, outcome(&ALL, &[]));
}

#[test]
fn a_server_without_a_store_is_one_line_and_everybody_goes_on() {
    let (_, _, came) = play(&[], "", |_| Err(BulkError::Absent("404".to_owned())));
    assert_eq!(came.loaded.len(), 3);
    let [line] = came.gaps.as_slice() else { panic!("{:?}", came.gaps) };
    let beginning = "modules /v1/store: not in the store, which has nothing of this image's: ";
    let mut named: Vec<&str> = line.strip_prefix(beginning).unwrap().split(", ").collect();
    named.sort_unstable();
    assert_eq!(named, ["disk for test:disk", "fan for test:fan", "port for test:port"]);
}

#[test]
fn what_did_not_come_is_said_with_its_device_and_why() {
    let altered: Answer = |path| {
        if path.ends_with("library.ko") {
            Ok(b"Kernel/drivers/scsi/library.ko".to_vec())
        } else if path.starts_with("firmware/") {
            Ok(b"short".to_vec())
        } else if path.ends_with("fan.ko") {
            Err(BulkError::Absent("404".to_owned()))
        } else {
            Ok(right(path))
        }
    };
    let (_, _, came) = play(&[], "", altered);
    // A driver does without its firmware where it can; the kernel says when not.
    assert_eq!(came.loaded, outcome(&[("disk", 0), ("fan", 0), ("port", 0)], &[]).loaded);
    let [disk, fan, port] = came.gaps.as_slice() else { panic!("{:?}", came.gaps) };
    let beginning = "modules/disk test:disk: kernel/drivers/scsi/library.ko: \
        the store's file is altered: SHA-256 ";
    assert!(disk.starts_with(beginning), "{disk}");
    assert_eq!(fan, "modules/fan test:fan: not in the store");
    let words = "modules/port test:port: firmware/port.fw: \
        the store's file is altered: 5 bytes instead of 16";
    assert_eq!(port, words);
}

#[test]
fn storage_on_a_network_is_neither_loaded_nor_fetched_unless_it_was_ordered() {
    for here in [vec![], vec!["kernel/drivers/scsi/disk.ko", "kernel/drivers/scsi/library.ko"]] {
        let asked: Answer = |path| {
            assert!(!path.contains("scsi"), "{path} was asked for");
            Ok(right(path))
        };
        let (ready, awaited, came) = play(&here, "kernel/drivers/scsi/disk.ko", asked);
        assert_eq!((ready[0], awaited), (false, vec!["port".to_owned()]));
        let gap = "modules/disk test:disk: not loaded: storage on a network, ordered by nobody";
        assert_eq!(came, outcome(&ALL[1..], &[gap]));
    }
}

#[test]
fn what_was_fetched_once_is_there_when_the_agent_begins_again() {
    let all = [
        "kernel/drivers/scsi/disk.ko",
        "kernel/drivers/scsi/library.ko",
        "kernel/drivers/net/port.ko",
        "kernel/drivers/hwmon/fan.ko",
        "firmware/port.fw",
    ];
    let (ready, awaited, came) = play(&all, "", |path| panic!("{path} was asked for"));
    assert_eq!((ready, awaited, came), (vec![true; 3], Vec::new(), Outcome::default()));
}

#[test]
fn everything_is_given_up_when_its_time_is_over() {
    let texts = Texts { dep: DEP.to_owned(), ..Texts::default() };
    let index = Index::new(&texts);
    let directory = tempfile::tempdir().unwrap();
    let line = format!("{} 1 kernel/drivers/net/port.ko\n", "ab".repeat(32));
    fs::write(directory.path().join("modules.store"), line).unwrap();
    let stock =
        Stock::read(directory.path(), Path::new("/nowhere"), false, |gap| panic!("{gap:?}"));
    let findings = Findings::default();
    let supply = Supply::new(stock, findings.clone(), &NONE);
    let plan = index.plan("port");
    assert!(!supply.is_ready(&index, plan[0], &plan, "test:port"));
    supply.open();
    supply.state().deadline = Some(Instant::now());
    let loads = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let never = |_: &Digest| panic!("nobody is asked any more");
            supply.work(&never, |_, _| {
                loads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                supply.close();
            });
        });
    });
    assert_eq!(loads.into_inner(), 1);
    assert!(supply.take_end() && !supply.take_end());
    let mut inventory = Inventory::default();
    findings.complete(&mut inventory);
    let reason =
        "kernel/drivers/net/port.ko: the store did not send it in time: it was never asked for";
    assert_eq!(inventory.gaps[0].reason, reason);
    assert!(findings.end_wait(), "whoever loads it ends the wait");
}

/// A supply whose driver of disks needs a library, both of them absent; the store's list of it.
fn with_media<'t>(root: &Path, media: &'t Media, findings: &Findings) -> Supply<'t> {
    let files = ["kernel/drivers/scsi/disk.ko", "kernel/drivers/scsi/library.ko"];
    let line = |path: &&str| {
        let sha256 = digest(&SHA256, path.as_bytes()).as_ref().try_into().map(Digest).unwrap();
        format!("{sha256} {} {path}\n", path.len())
    };
    fs::write(root.join("modules.store"), files.iter().map(line).collect::<String>()).unwrap();
    let stock = Stock::read(root, root, false, |gap| panic!("{gap:?}"));
    Supply::new(stock, findings.clone(), media)
}

#[test]
fn what_is_on_a_medium_comes_before_there_is_a_server_and_what_is_not_is_left_to_it() {
    let texts = Texts { dep: DEP.to_owned(), ..Texts::default() };
    let index = Index::new(&texts);
    let directory = tempfile::tempdir().unwrap();
    let (findings, media) = (Findings::default(), Media::none());
    let supply = with_media(directory.path(), &media, &findings);
    let plan = index.plan("disk");
    assert!(!supply.is_ready(&index, plan[1], &plan, "test:disk"));
    assert_eq!(supply.hands(), 0, "there is nobody to ask");

    let driver = "kernel/drivers/scsi/disk.ko";
    let name = digest(&SHA256, driver.as_bytes()).as_ref().try_into().map(Digest).unwrap();
    let disk = directory.path().join("sdx");
    fs::write(&disk, medium(&name.to_string(), driver.as_bytes())).unwrap();
    media.add(disk.display().to_string());
    assert_eq!(supply.hands(), 2);
    let asked = Mutex::new(Vec::new());
    let source = |wanted: &Digest| -> Result<Coming, BulkError> {
        asked.lock().unwrap().push(*wanted);
        let bytes = b"kernel/drivers/scsi/library.ko";
        Ok((bytes.len().try_into().unwrap(), Box::new(&bytes[..])))
    };
    let loads = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            supply.work(&source, |_, _| {
                loads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            });
        });
        let until = |what: &dyn Fn() -> bool| {
            let end = Instant::now() + Duration::from_secs(20);
            while !what() && Instant::now() < end {
                thread::park_timeout(Duration::from_millis(1));
            }
            assert!(what());
        };
        let fate = |path: &str| supply.state().files.get(path).cloned();
        until(&|| fate(driver) == Some(Fate::Here));
        until(&|| fate("kernel/drivers/scsi/library.ko") == Some(Fate::Left));
        assert!(asked.lock().unwrap().is_empty() && !supply.is_idle());
        assert_eq!(findings.awaited(), ["disk"]);
        supply.open();
        until(&|| supply.is_idle());
        supply.close();
    });
    assert_eq!((loads.into_inner(), asked.into_inner().unwrap().len()), (1, 1));
    let mut inventory = Inventory::default();
    findings.complete(&mut inventory);
    let reasons: Vec<&str> = inventory.gaps.iter().map(|gap| gap.reason.as_str()).collect();
    assert_eq!(reasons, ["kernel/drivers/scsi/library.ko: not on this medium"]);
}

#[test]
fn another_medium_is_asked_for_what_the_first_one_has_not() {
    let texts = Texts { dep: DEP.to_owned(), ..Texts::default() };
    let index = Index::new(&texts);
    let directory = tempfile::tempdir().unwrap();
    let (findings, media) = (Findings::default(), Media::none());
    let supply = with_media(directory.path(), &media, &findings);
    let plan = index.plan("library");
    assert!(!supply.is_ready(&index, plan[0], &plan, "test:library"));
    let path = "kernel/drivers/scsi/library.ko";
    supply.state().files.insert(path.parse().unwrap(), Fate::Left);
    assert!(supply.state().next().is_none());
    media.add("sdx".to_owned());
    assert_eq!(supply.hands(), 1);
    assert!(supply.state().next().is_some());
}

#[test]
fn a_driver_of_disks_that_lacks_only_firmware_does_not_wait_for_ever() {
    let texts = Texts { dep: "kernel/drivers/scsi/disk.ko:\n".to_owned(), ..Texts::default() };
    let index = Index::new(&texts);
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let driver = "kernel/drivers/scsi/disk.ko";
    fs::create_dir_all(root.join(driver).parent().unwrap()).unwrap();
    fs::write(root.join(driver), "here").unwrap();
    fs::write(root.join("modules.firmware"), format!("{driver}: disk.fw\n")).unwrap();
    let line = format!("{} 1 firmware/disk.fw\n", "ab".repeat(32));
    fs::write(root.join("modules.store"), line).unwrap();
    let stock = Stock::read(root, root, false, |gap| panic!("{gap:?}"));
    let supply = Supply::new(stock, Findings::default(), &NONE);
    let queue = crate::devices::load::Queue::new(&index, &supply);
    queue.want_module("disk", "test:disk");
    assert_eq!(supply.held_back(), [driver]);
    queue.open(Class::Disk);
    assert!(queue.is_idle(), "it waits for its firmware");
    queue.want_without_firmware();
    assert!(!queue.is_idle() && supply.held_back().is_empty());
    assert!(!supply.is_idle() && supply.is_over(), "its firmware is still wanted");
}
