//! What is said of a whole machine, before and after its disks were wiped. Pure but for the clock and the kernel's release.

use std::fs;

use agent::work;
use disk::{Refusal, permit::Clock};
use protocol::{
    Inventory, InventoryDigest, Wipe,
    order::{DiskIdentity, MachineEvidence},
    wipe::{DiskReport, Ended, PowerLevel, Verdict, WipeReport},
};
use wipe::verdict;

use super::units::facts;
use crate::chain;

/// When a wipe began, by which clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clockwork {
    pub(crate) of: Clock,
    source: &'static str,
    offset_milliseconds: Option<i64>,
    begun_unix_milliseconds: i64,
}

impl Clockwork {
    /// Begins where a server gave the order.
    pub(super) fn begin(clock: work::Clock) -> Self {
        let (of, source, offset_milliseconds) = match clock {
            work::Clock::Servers { offset_milliseconds } => {
                (Clock::SetByServer, "server", Some(offset_milliseconds))
            }
            work::Clock::Unknown => (Clock::Unset, "unknown", None),
        };
        let begun_unix_milliseconds = linux::clock::unix_milliseconds();
        Self { of, source, offset_milliseconds, begun_unix_milliseconds }
    }

    /// Begins where a person gave it: by the clock that it was made with.
    pub(crate) fn own() -> Self {
        let begun_unix_milliseconds = linux::clock::unix_milliseconds();
        let of = Clock::SetByServer;
        Self { of, source: "machine", offset_milliseconds: None, begun_unix_milliseconds }
    }
}

/// Holds for a disk after which nobody has to look: what the level is for was done.
pub(crate) fn is_over_well(level: PowerLevel, disk: &DiskReport) -> bool {
    match level {
        PowerLevel::Idle => true,
        // It erases nothing, so that the verdict says nothing of it.
        PowerLevel::Harbour => {
            !disk.techniques.is_empty()
                && disk.techniques.iter().all(|one| one.ended == Ended::Done)
        }
        PowerLevel::Working | PowerLevel::Full | PowerLevel::Redline => {
            matches!(disk.verdict, Verdict::Erased | Verdict::ErasedWithExceptions)
        }
    }
}

/// What the checks saw of the machine beside the disks that were ordered.
#[derive(Debug)]
pub(super) struct Beside {
    /// The machine as it was before.
    pub(super) inventory: Inventory,
    /// Disks that the order calls missing, and that are.
    pub(super) missing: Vec<DiskIdentity>,
    /// Disks that the order does not name.
    pub(super) untouched: Vec<DiskIdentity>,
}

/// Puts together what came of all disks.
pub(super) fn report(
    wipe: &Wipe,
    beside: Beside,
    disks: Vec<DiskReport>,
    clock: &Clockwork,
) -> WipeReport {
    let Beside { inventory, missing, untouched } = beside;
    let hiding = hiding("/sys/bus/pci/devices");
    let verdicts: Vec<Verdict> = disks.iter().map(|disk| disk.verdict).collect();
    WipeReport {
        order: wipe.order.id,
        machine: MachineEvidence::of(&inventory),
        inventory: InventoryDigest::of(&inventory),
        level: wipe.level,
        is_complete: verdict::is_complete(&verdicts, untouched.len(), hiding.len()),
        disks,
        missing,
        untouched,
        hiding,
        extras: Vec::new(),
        agent: format!("hercules {}", env!("CARGO_PKG_VERSION")),
        kernel: linux::release::kernel().unwrap_or_default(),
        begun_unix_milliseconds: clock.begun_unix_milliseconds,
        ended_unix_milliseconds: linux::clock::unix_milliseconds(),
        clock: clock.source.to_owned(),
        clock_offset_milliseconds: clock.offset_milliseconds,
    }
}

/// Reports disks that could not even be looked at, by their number in the order.
pub(super) fn refused(
    wipe: &Wipe,
    refused: &[(usize, Refusal)],
    inventory: &Inventory,
    clock: &Clockwork,
) -> Vec<DiskReport> {
    let report = |(number, refusal): &(usize, Refusal)| {
        let identity = wipe.order.disks.get(*number)?.identity.clone();
        let found = inventory.disks.iter().find(|disk| DiskIdentity::of(disk) == identity);
        Some(DiskReport {
            name: found.map(|disk| disk.name.clone()).unwrap_or_default(),
            transport: found.map(|disk| facts(disk).transport.to_owned()),
            exceptions: vec![verdict::exception("refused", &chain(refusal))],
            begun_unix_milliseconds: clock.begun_unix_milliseconds,
            ended_unix_milliseconds: linux::clock::unix_milliseconds(),
            ..DiskReport::nothing_done(identity, wipe.level.asked())
        })
    };
    refused.iter().filter_map(report).collect()
}

/// Puts what came of the disks of an order together, in its order.
pub(super) fn in_order(
    wipe: &Wipe,
    done: Vec<DiskReport>,
    refused: Vec<DiskReport>,
) -> Vec<DiskReport> {
    let number =
        |report: &DiskReport| wipe.order.disks.iter().position(|one| one.identity == report.disk);
    let mut all = done;
    all.extend(refused);
    all.sort_by_key(number);
    all
}

/// Lists the controllers behind which there may be disks that nobody sees: RAID controllers, whose volumes are not their disks
/// (a chipset's, which the drivers `ahci` and `vmd` take apart, hides none), and those of any kind that no driver drives.
fn hiding(devices: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(devices) else { return Vec::new() };
    let mut found: Vec<String> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let text = |name: &str| fs::read_to_string(path.join(name)).ok();
            // PCI Code and ID Assignment Specification, class 01h: 04h is RAID.
            let class = text("class")?;
            let driver = fs::read_link(path.join("driver")).ok();
            let driver = driver.as_deref().and_then(|link| link.file_name()?.to_str());
            let is_undriven = class.starts_with("0x01") && driver.is_none();
            let is_raid = class.starts_with("0x0104") && !matches!(driver, Some("ahci" | "vmd"));
            if !is_undriven && !is_raid {
                return None;
            }
            let id = |name| text(name).map(|id| id.trim().trim_start_matches("0x").to_owned());
            let address = path.file_name()?.to_str()?;
            let driver = driver.unwrap_or("no driver");
            Some(format!("{}:{} at {address} ({driver})", id("vendor")?, id("device")?))
        })
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use protocol::{
        Bytes, Order, OrderId,
        inventory::{Disk, Transport},
        order::OrderedDisk,
        wipe::{Seed, WipeFinish, WipeOptions},
    };

    use super::*;

    fn disk(serial: &str) -> Disk {
        Disk {
            name: "sda".to_owned(),
            serial: Some(serial.to_owned()),
            size_bytes: Bytes(1 << 30),
            ..Disk::default()
        }
    }

    fn wipe(ordered: &[Disk]) -> Wipe {
        let disks = ordered.iter().map(DiskIdentity::of);
        Wipe {
            order: Order {
                id: OrderId([7; 16]),
                by: "a".to_owned(),
                machine: MachineEvidence::default(),
                disks: disks.map(|identity| OrderedDisk { identity, overwrite: true }).collect(),
                deadline_unix_milliseconds: 1,
                inventory: InventoryDigest([0; 32]),
            },
            level: PowerLevel::Full,
            options: WipeOptions::default(),
            seed: Seed([1; 32]),
            missing: Vec::new(),
            extras: Vec::new(),
            journal: Vec::new(),
            finish: WipeFinish::Stay,
        }
    }

    #[test]
    fn a_machine_is_complete_only_without_untouched_disks() {
        let inventory = Inventory { disks: vec![disk("A"), disk("B")], ..Inventory::default() };
        let untouched = vec![DiskIdentity::of(&disk("B"))];
        let beside = Beside { inventory, missing: Vec::new(), untouched: untouched.clone() };
        let clock = Clockwork::own();
        let report = report(&wipe(&[disk("A")]), beside, Vec::new(), &clock);
        assert_eq!((report.untouched, report.is_complete), (untouched, false));
        assert!(report.agent.starts_with("hercules "));
    }

    #[test]
    fn a_report_says_whose_clock_it_is_and_how_wrong_the_machines_own_was() {
        let servers = work::Clock::Servers { offset_milliseconds: -7_210_000 };
        for (clock, expected) in [
            (Clockwork::begin(servers), ("server", Some(-7_210_000))),
            (Clockwork::begin(work::Clock::Unknown), ("unknown", None)),
            (Clockwork::own(), ("machine", None)),
        ] {
            let inventory = Inventory::default();
            let beside = Beside { inventory, missing: Vec::new(), untouched: Vec::new() };
            let report = report(&wipe(&[disk("A")]), beside, Vec::new(), &clock);
            assert_eq!((report.clock.as_str(), report.clock_offset_milliseconds), expected);
        }
    }

    #[test]
    fn a_disk_that_is_refused_stands_beside_the_others_in_the_orders_order() {
        let of = ["A", "B", "C"].map(|serial| {
            let name = format!("sd{}", serial.to_lowercase());
            Disk { name, transport: Some(Transport::Ata), ..disk(serial) }
        });
        let inventory = Inventory { disks: of.to_vec(), ..Inventory::default() };
        let wipe = Wipe { level: PowerLevel::Idle, ..wipe(&of) };
        let clock = Clockwork::own();
        let refusal =
            |disk: &str| Refusal::InUse { disk: disk.to_owned(), uses: "it is mounted".to_owned() };
        let refusals = [(2, refusal("sdc")), (0, refusal("sda"))];
        let refused = refused(&wipe, &refusals, &inventory, &clock);
        let done = vec![DiskReport { disk: DiskIdentity::of(&of[1]), ..refused[0].clone() }];
        let all = in_order(&wipe, done, refused);
        let serials: Vec<_> = all.iter().map(|one| one.disk.serial.as_deref().unwrap()).collect();
        assert_eq!(serials, ["A", "B", "C"]);
        assert_eq!((all[0].name.as_str(), all[0].transport.as_deref()), ("sda", Some("sata")));
        assert_eq!((all[2].verdict, &all[2].forecast), (Verdict::NotErased, &None));
        let [exception] = all[2].exceptions.as_slice() else { panic!("{all:#?}") };
        assert_eq!(exception.code, "refused");
        assert!(exception.words.starts_with("sdc is in use (it is mounted)"), "{exception:?}");
    }

    #[test]
    fn raid_controllers_and_those_without_a_driver_hide_disks_and_chipsets_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let card = |address: &str, class: &str, driver: &str| {
            let path = directory.path().join(address);
            fs::create_dir(&path).unwrap();
            for (name, text) in [("class", class), ("vendor", "0x1000\n"), ("device", "0x005b\n")] {
                fs::write(path.join(name), text).unwrap();
            }
            if !driver.is_empty() {
                symlink(format!("../drivers/{driver}"), path.join("driver")).unwrap();
            }
        };
        card("0000:00:17.0", "0x010400\n", "ahci");
        card("0000:01:00.0", "0x010400\n", "megaraid_sas");
        card("0000:02:00.0", "0x010700\n", "mpt3sas");
        card("0000:03:00.0", "0x010700\n", "");
        card("0000:04:00.0", "0x020000\n", "");
        let found = hiding(directory.path().to_str().unwrap());
        let expected =
            ["1000:005b at 0000:01:00.0 (megaraid_sas)", "1000:005b at 0000:03:00.0 (no driver)"];
        assert_eq!(found, expected);
        assert_eq!(hiding("/nowhere"), [""; 0]);
    }
}
