//! Orders and machines that do not fit, each by name.

mod loops;

use linux::block::Access;

use super::{
    simulation::{Bus, DiskSpec, Simulated, Spec, Trick},
    *,
};
use crate::Medium;

/// Circumstances in which an order of [`Simulated::order`] may be carried out.
pub(super) struct Setting {
    pub(super) place: Place,
    pub(super) now: i64,
    pub(super) clock: Clock,
    pub(super) directory: tempfile::TempDir,
}

impl Setting {
    pub(super) fn good() -> Self {
        Self {
            place: Place::simulated(),
            now: 1000,
            clock: Clock::SetByServer,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn check(&self, machine: &Simulated, order: &Order) -> Result<Vec<Permit>, Refusal> {
        self.with(|circumstances| check_on(&machine.machine(), order, circumstances))
    }

    pub(super) fn with<T>(&self, check: impl FnOnce(&Circumstances<'_>) -> T) -> T {
        check(&Circumstances {
            place: &self.place,
            now_unix_milliseconds: self.now,
            clock: self.clock,
            used: &Used::kept_in(self.directory.path()),
        })
    }
}

pub(super) fn spec() -> Spec {
    let buses = [Bus::Ata, Bus::Sas, Bus::Nvme, Bus::Virtio];
    Spec::new((1..).zip(buses).map(|(number, bus)| DiskSpec::new(bus, number)).collect())
}

/// Orders the first disk of a machine as it was, then changes the machine, and returns what becomes of the order.
fn code_after(overwrite: bool, change: impl FnOnce(&mut Spec)) -> &'static str {
    let mut spec = spec();
    let order = Simulated::new(&spec).order(&[0], overwrite);
    change(&mut spec);
    code(&Simulated::new(&spec), &order)
}

/// Returns what becomes of an order for the first disk of a machine that was so from the beginning.
fn code_of(overwrite: bool, change: impl FnOnce(&mut Spec)) -> &'static str {
    let mut spec = spec();
    change(&mut spec);
    let machine = Simulated::new(&spec);
    code(&machine, &machine.order(&[0], overwrite))
}

fn code(machine: &Simulated, order: &Order) -> &'static str {
    match Setting::good().check(machine, order) {
        Ok(permits) => {
            assert_eq!(permits.len(), order.disks.len());
            "permitted"
        }
        Err(refusal) => {
            assert!(!refusal.to_string().is_empty());
            refusal.code()
        }
    }
}

#[test]
fn an_order_for_this_machine_as_it_is_is_permitted_on_every_bus() {
    for index in 0..4 {
        let machine = Simulated::new(&spec());
        let permits = Setting::good().check(&machine, &machine.order(&[index], false)).unwrap();
        assert_eq!(permits[0].name(), ["sda", "sdb", "nvme0n1", "vda"][index]);
    }
}

#[test]
fn what_the_kernel_calls_a_disk_does_not_matter() {
    let mut spec = spec();
    let order = Simulated::new(&spec).order(&[0], false);
    spec.disks.swap(0, 1);
    let permits = Setting::good().check(&Simulated::new(&spec), &order).unwrap();
    assert_eq!(permits[0].name(), "sdb");
    assert_eq!(permits[0].disk(), &order.disks[0]);
}

#[test]
fn only_a_permit_makes_a_disk_writable_and_only_until_it_is_let_go() {
    let machine = Simulated::new(&spec());
    let order = machine.order(&[0, 2], false);
    let setting = Setting::good();
    let mut permits = setting.check(&machine, &order).unwrap();
    assert!(!machine.is_any_writable());
    let held = permits.remove(0).into_medium().unwrap();
    assert!(machine.is_any_writable());
    assert_eq!(held.size_bytes(), order.disks[0].identity.size_bytes.0);
    held.write(0, &[1; 512]).unwrap();
    held.release().unwrap();
    assert!(!machine.is_any_writable());
    let held = permits.remove(0).into_medium().unwrap();
    assert!(machine.is_any_writable());
    drop(held);
    assert!(!machine.is_any_writable());
}

/// A loop device claims nothing, so that a claim keeps nobody from making one.
#[test]
fn a_loop_device_that_is_made_after_the_checks_is_seen_before_the_disk_can_be_written() {
    let machine = Simulated::new(&spec());
    let mut permits = Setting::good().check(&machine, &machine.order(&[0, 1], false)).unwrap();
    let place = |path: &str| {
        let path = machine.directory().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    std::fs::write(place("sys/block/loop3/loop/backing_file"), "/dev/sdb\n").unwrap();
    std::fs::write(place("dev/loop3"), "8:16").unwrap();
    let refusal = permits.remove(1).into_medium().unwrap_err();
    let Refusal::InUse { uses, .. } = refusal else { panic!("{refusal}") };
    assert_eq!(uses, "loop3 is made of sdb");
    assert!(!machine.is_any_writable());
    permits.remove(0).into_medium().unwrap();
}

#[test]
fn an_order_is_used_by_its_first_permit_and_not_by_a_refusal() {
    let machine = Simulated::new(&spec());
    let order = machine.order(&[0], false);
    let mut setting = Setting::good();
    setting.clock = Clock::Unset;
    assert_eq!(setting.check(&machine, &order).unwrap_err().code(), "clock-unset");
    setting.clock = Clock::SetByServer;
    drop(setting.check(&machine, &order).unwrap());
    assert_eq!(setting.check(&machine, &order).unwrap_err().code(), "order-used");
    let other = Order { id: OrderId([8; 16]), ..order };
    let permits = setting.check(&machine, &other).unwrap();
    // While a permit exists, the disk is claimed.
    let third = Order { id: OrderId([9; 16]), ..other };
    assert_eq!(setting.check(&machine, &third).unwrap_err().code(), "in-use");
    drop(permits);
    setting.check(&machine, &third).unwrap();
}

#[test]
fn an_order_has_its_time() {
    let machine = Simulated::new(&spec());
    let order = machine.order(&[0], false);
    for (now, expected) in [
        (3_600_000, "deadline-over"),
        (i64::MAX, "deadline-over"),
        (3_600_000 - 24 * 3_600_000 - 1, "deadline-far"),
        (i64::MIN, "deadline-far"),
    ] {
        let setting = Setting { now, ..Setting::good() };
        assert_eq!(setting.check(&machine, &order).unwrap_err().code(), expected, "{now}");
    }
    let setting = Setting { now: 3_599_999, ..Setting::good() };
    setting.check(&machine, &order).unwrap();
}

#[test]
fn an_order_is_for_one_machine() {
    assert_eq!(code_after(true, |_| ()), "permitted");
    assert_eq!(code_after(true, |spec| spec.uuid = None), "other-machine");
    assert_eq!(code_after(true, |spec| spec.serial = Some("B5R9N73".into())), "other-machine");
    assert_eq!(code_after(true, |spec| spec.board = Some("X".into())), "other-machine");
    let mac = |spec: &mut Spec| spec.mac = Some("52:54:00:12:34:57".into());
    assert_eq!(code_after(true, mac), "other-machine");
    let nothing = |spec: &mut Spec| {
        (spec.uuid, spec.serial, spec.board, spec.mac) = (None, None, None, None);
    };
    assert_eq!(code_of(true, nothing), "no-evidence");
}

#[test]
fn an_order_names_each_of_its_disks_once() {
    let machine = Simulated::new(&spec());
    assert_eq!(code(&machine, &machine.order(&[], true)), "no-disks");
    assert_eq!(code(&machine, &machine.order(&[1, 0, 1], true)), "named-twice");
    let mut wrong = machine.order(&[0], true);
    wrong.inventory.0[31] ^= 1;
    assert_eq!(code(&machine, &wrong), "other-inventory");
}

#[test]
fn disks_that_came_went_or_changed_void_an_order() {
    let add = |spec: &mut Spec| spec.disks.push(DiskSpec::new(Bus::Sas, 9));
    assert_eq!(code_after(true, add), "other-inventory");
    assert_eq!(code_after(true, |spec| drop(spec.disks.remove(1))), "other-inventory");
    assert_eq!(code_after(true, |spec| drop(spec.disks.remove(0))), "not-found");
    assert_eq!(code_after(true, |spec| spec.disks[0].sectors += 8), "exchanged");
    assert_eq!(code_after(true, |spec| spec.disks[0].sector_bytes = 4096), "exchanged");
    assert_eq!(code_after(true, |spec| spec.disks[0].model.push('X')), "exchanged");
    let same = |spec: &mut Spec| {
        let first = spec.disks[0].clone();
        (spec.disks[1].serial, spec.disks[1].wide) = (first.serial, first.wide);
    };
    assert_eq!(code_after(true, same), "not-unique");
    assert_eq!(code_of(true, same), "not-unique");
    let nameless = |spec: &mut Spec| (spec.disks[0].serial, spec.disks[0].wide) = (None, None);
    assert_eq!(code_of(true, nameless), "not-named");
    let garbage = |spec: &mut Spec| {
        (spec.disks[0].serial, spec.disks[0].wide) = (Some("0000000000".into()), None);
    };
    assert_eq!(code_of(true, garbage), "garbage-name");
}

#[test]
fn a_disk_that_is_exchanged_behind_its_name_is_seen_on_the_descriptor() {
    let trick = |trick| code_after(true, move |spec| spec.tricks = vec![trick]);
    for other in 1..4 {
        assert!(matches!(trick(Trick::OpensOther(other)), "exchanged" | "other-size"), "{other}");
    }
    assert_eq!(trick(Trick::Claimed), "in-use");
    // Its number, its sequence number and what the kernel knows of it are as they were.
    assert_eq!(trick(Trick::Swapped), "exchanged");
    for call in 1..5 {
        let codes = [
            trick(Trick::SequenceChanges(call)),
            trick(Trick::Shrinks(call)),
            trick(Trick::Vanishes(call)),
        ];
        // The fifth question is the one before the belt is taken off.
        let expected = ["exchanged", "other-size", "exchanged"];
        assert_eq!(codes, expected, "{call}");
    }
    assert_eq!(trick(Trick::Vanishes(5)), "permitted");
    for late in [Trick::SequenceChanges(5), Trick::Shrinks(5), Trick::Vanishes(5)] {
        let machine = Simulated::new(&Spec { tricks: vec![late], ..spec() });
        let permits = Setting::good().check(&machine, &machine.order(&[0], true)).unwrap();
        let refusal = permits.into_iter().next().unwrap().into_medium().unwrap_err();
        assert!(matches!(refusal.code(), "exchanged" | "other-size"), "{refusal}");
        assert!(!machine.is_any_writable());
    }
}

#[test]
fn disks_that_no_order_means_are_refused() {
    for (bus, expected) in
        [(Bus::Usb, "removable"), (Bus::Iscsi, "network"), (Bus::TwoWays, "multipath")]
    {
        let other = |spec: &mut Spec| {
            spec.disks.clear();
            spec.disks.push(DiskSpec::new(bus, 1));
        };
        assert_eq!(code_of(true, other), expected);
    }
    assert_eq!(code_of(true, |spec| spec.disks[0].removable = true), "removable");
    let machine = Simulated::new(&spec());
    let slot = machine.directory().join("sys/devices/pci0000:00/0000:00:12.0");
    std::fs::write(slot.join("removable"), "removable\n").unwrap();
    assert_eq!(code(&machine, &machine.order(&[2], true)), "removable", "Thunderbolt");
    assert_eq!(code(&machine, &machine.order(&[1], true)), "permitted");
    // What software made is in no inventory, so in no honest order; its name may lead there all the same.
    let software = |spec: &mut Spec| spec.disks[0].bus = Bus::Software;
    assert_eq!(code_after(true, software), "not-found");
    let behind = |spec: &mut Spec| {
        spec.disks.push(DiskSpec::new(Bus::Software, 9));
        spec.tricks = vec![Trick::OpensOther(4)];
    };
    assert_eq!(code_after(true, behind), "virtual");
}

#[test]
fn a_disk_in_use_is_refused() {
    assert_eq!(code_of(true, |spec| spec.disks[0].holder = Some("dm-0")), "in-use");
    let mount = |spec: &mut Spec| spec.mounts = "1 1 8:0 / / rw - ext4 /dev/root rw\n".into();
    assert_eq!(code_of(true, mount), "in-use");
    let swap = |spec: &mut Spec| spec.swaps = "Filename\n/dev/sda partition 1 0 -2\n".into();
    assert_eq!(code_of(true, swap), "in-use");
    assert_eq!(code_of(true, |spec| spec.mounts.clear()), "use-unknown");
    assert_eq!(code_of(true, |spec| spec.disks[0].keys = 1), "reserved");
}

#[test]
fn a_disk_that_is_read_only_by_itself_stays_so() {
    let before = |spec: &mut Spec| spec.disks[0].before = Some(Access::ReadOnly);
    assert_eq!(code_of(true, before), "read-only");
    let spec = {
        let mut spec = spec();
        spec.disks[0].is_protected = true;
        spec
    };
    let machine = Simulated::new(&spec);
    let permits = Setting::good().check(&machine, &machine.order(&[0], true)).unwrap();
    let refusal = permits.into_iter().next().unwrap().into_medium().unwrap_err();
    assert_eq!(refusal.code(), "read-only");
    assert!(!machine.is_any_writable());
}

fn swap() -> (u64, Vec<u8>) {
    (4096 - 10, b"SWAPSPACE2".to_vec())
}

/// A btrfs superblock, as far as it is looked at.
pub(super) fn btrfs(uuid: u8) -> (u64, Vec<u8>) {
    let mut block = vec![0; 4096];
    block[32..48].fill(uuid);
    block[64..72].copy_from_slice(b"_BHRfS_M");
    (65_536, block)
}

#[test]
fn data_is_destroyed_only_where_the_order_says_so() {
    for content in [swap(), btrfs(1), (700, vec![1])] {
        let put = |spec: &mut Spec| spec.disks[0].content = vec![content.clone()];
        assert_eq!(code_of(false, put), "has-data");
        assert_eq!(code_of(true, put), "permitted");
        // It appeared after the order was given.
        assert_eq!(code_after(false, put), "has-data");
    }
    let shared = |spec: &mut Spec| {
        spec.disks[0].content = vec![(0, b"bluestore block device".to_vec())];
    };
    assert_eq!(code_of(true, shared), "shared");
}

#[test]
fn a_part_of_something_larger_is_destroyed_only_with_the_other_parts() {
    let two = |spec: &mut Spec| {
        spec.disks[0].content = vec![btrfs(1)];
        spec.disks[2].content = vec![btrfs(1)];
        spec.disks[3].content = vec![btrfs(2)];
    };
    assert_eq!(code_of(true, two), "member");
    let mut spec = spec();
    two(&mut spec);
    let machine = Simulated::new(&spec);
    assert_eq!(code(&machine, &machine.order(&[2, 0], true)), "permitted");
    assert_eq!(code(&machine, &machine.order(&[3], true)), "permitted");
    // A disk that does not tell what is on it may be another part.
    std::fs::remove_file(machine.directory().join("dev/sdb")).unwrap();
    assert_eq!(code(&machine, &machine.order(&[3], true)), "member-unknown");
}

#[test]
fn on_a_laptop_a_person_has_to_name_the_disk() {
    let machine = Simulated::new(&{
        let mut spec = spec();
        spec.disks.push(DiskSpec::new(Bus::Usb, 5));
        spec.disks.iter_mut().for_each(|disk| disk.before = None);
        spec
    });
    let order = machine.order(&[4], true);
    for (typed, expected) in [
        (vec![], "not-typed"),
        (vec!["/dev/sdc"], "not-typed"),
        (vec!["S1WX7Q1037"], "not-typed"),
        (vec!["S1WX7Q1037", "S5WX7Q1185"], "permitted"),
    ] {
        let place = Place::person(typed.into_iter().map(str::to_owned).collect());
        let setting = Setting { place, ..Setting::good() };
        let code = setting.check(&machine, &order).map_or_else(|r| r.code(), |_| "permitted");
        assert_eq!(code, expected);
    }
    // Nothing tells this machine from others, and nobody has to: the person sits at it.
    let nameless = Simulated::new(&{
        let mut spec = spec();
        spec.disks.truncate(1);
        spec.disks[0].before = None;
        (spec.uuid, spec.serial, spec.board, spec.mac) = (None, None, None, None);
        spec
    });
    let order = nameless.order(&[0], true);
    assert_eq!(Setting::good().check(&nameless, &order).unwrap_err().code(), "no-evidence");
    let place = Place::person(vec!["S1WX7Q1037".to_owned()]);
    let permit = Setting { place, ..Setting::good() }.check(&nameless, &order).unwrap().remove(0);
    // What was no belt's is as it was, for who mounts the disk next.
    permit.into_medium().unwrap().release().unwrap();
    assert!(nameless.is_any_writable());
    // There is no belt of ours there: what is read-only was made so by somebody.
    let machine = Simulated::new(&spec());
    let place = Place::person(vec!["S1WX7Q1037".to_owned()]);
    let refusal = Setting { place, ..Setting::good() }.check(&machine, &machine.order(&[0], true));
    assert_eq!(refusal.unwrap_err().code(), "read-only");
}

/// Makes a machine whose firmware started its first disk.
pub(super) fn started_from_the_first() -> Simulated {
    let mut spec = spec();
    spec.disks[0].content = vec![(440, vec![1, 2, 3, 4])];
    let machine = Simulated::new(&spec);
    let variables = machine.directory().join("sys/firmware/efi/efivars");
    std::fs::create_dir_all(&variables).unwrap();
    let guid = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
    let node =
        [&[4, 1, 42, 0][..], &[0; 20], &[1, 2, 3, 4], &[0; 12], &[1, 1], &[0x7f, 0xff, 4, 0]];
    let option = [&[6, 0, 0, 0, 1, 0, 0, 0, 46, 0, 0, 0][..], &node.concat()].concat();
    std::fs::write(variables.join(format!("BootCurrent-{guid}")), [6, 0, 0, 0, 1, 0]).unwrap();
    std::fs::write(variables.join(format!("Boot0001-{guid}")), option).unwrap();
    machine
}

#[test]
fn the_medium_that_the_firmware_started_is_refused() {
    let machine = started_from_the_first();
    assert_eq!(code(&machine, &machine.order(&[0], true)), "boot-medium");
    assert_eq!(code(&machine, &machine.order(&[1], true)), "permitted");
}

/// Makes a machine that says this on its command line, whose first disk is a medium of ours.
pub(super) fn with_medium(line: &str) -> Simulated {
    let mut spec = spec();
    let descriptor = [&b"\x01CD001"[..], &[b' '; 568], b"DRYDOCK  "].concat();
    spec.disks[0].content = vec![(32_768, descriptor)];
    let machine = Simulated::new(&spec);
    std::fs::write(machine.directory().join("proc/cmdline"), line).unwrap();
    machine
}

#[test]
fn a_medium_of_ours_is_refused_where_the_machine_started_from_one_also_with_bios() {
    let order = |machine: &Simulated, disk| code(machine, &machine.order(&[disk], true));
    let machine = with_medium("console=ttyS0 drydock.medium=1\n");
    assert_eq!(order(&machine, 0), "boot-medium");
    assert_eq!(order(&machine, 1), "permitted");
    // Booted over the network, it is a disk like others.
    assert_eq!(order(&with_medium("console=ttyS0\n"), 0), "permitted");
}

#[test]
fn every_reason_is_explained_to_users_and_nothing_else_is() {
    let text = include_str!("../../../../docs/imaging.md");
    let (_, section) = text.split_once("\n## What must hold before a byte is written\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let explained: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|r| r.0)
        .collect();
    // The words of `Refusal::code`, which is exhaustive.
    let source = include_str!("refusal.rs");
    let (_, function) = source.split_once("fn code(&self)").unwrap();
    let (function, _) = function.split_once("\n}\n").unwrap();
    let codes: Vec<&str> = function.split('"').skip(1).step_by(2).collect();
    assert_eq!(explained, codes);
    assert!(codes.len() > 30);
}
