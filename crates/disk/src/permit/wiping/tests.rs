//! Wipes that reach further than they were ordered to, each by name.

use linux::block::Access;
use protocol::{
    order::MachineEvidence,
    wipe::{
        Despite, Extra, Obstacle, PowerLevel, Seed, WipeFinish, WipeOptions, WipeStep, WipeStepKind,
    },
};

use super::{
    super::{
        simulation::{Bus, DiskSpec, Simulated, Spec},
        tests::{Setting, btrfs, spec, started_from_the_first, with_medium},
    },
    *,
};
use crate::permit::Place;

pub(in crate::permit) fn wipe(machine: &Simulated, disks: &[usize], level: PowerLevel) -> Wipe {
    Wipe {
        order: machine.order(disks, true),
        level,
        options: WipeOptions::default(),
        seed: Seed([7; 32]),
        missing: Vec::new(),
        extras: Vec::new(),
        journal: Vec::new(),
        finish: WipeFinish::Stay,
    }
}

fn check(machine: &Simulated, wipe: &Wipe) -> Result<Cleared, Refusal> {
    let cleared = Setting::good().with(|it| check_wipe_on(&machine.machine(), wipe, it));
    let against = Setting::good().with(|it| obstacles_on(&machine.machine(), wipe, it));
    // The one that stops a wipe is among those that are listed.
    match &cleared {
        // What other levels would reach is no reason not to look.
        Ok(_) if wipe.level == PowerLevel::Idle => {}
        Ok(_) => assert!(against.iter().all(|(_, refusal)| refusal.code() == "in-use")),
        Err(stopped) => {
            assert!(against.iter().any(|(_, refusal)| refusal.code() == stopped.code()));
        }
    }
    cleared
}

fn code(machine: &Simulated, wipe: &Wipe) -> &'static str {
    check(machine, wipe).map_or_else(|refusal| refusal.code(), |_| "permitted")
}

/// Returns what becomes of a wipe of some disks of a machine.
fn code_of(spec: &Spec, disks: &[usize], level: PowerLevel) -> &'static str {
    let machine = Simulated::new(spec);
    code(&machine, &wipe(&machine, disks, level))
}

const LEVELS: [PowerLevel; 5] = [
    PowerLevel::Idle,
    PowerLevel::Harbour,
    PowerLevel::Working,
    PowerLevel::Full,
    PowerLevel::Redline,
];

#[test]
fn several_disks_are_cleared_at_once_and_the_others_are_named() {
    for level in LEVELS {
        let machine = Simulated::new(&spec());
        let cleared = check(&machine, &wipe(&machine, &[3, 1], level)).unwrap();
        let names: Vec<&str> = cleared.permits.iter().map(Permit::name).collect();
        assert_eq!(names, ["vda", "sdb"]);
        assert_eq!(cleared.untouched.len(), 2);
        assert!(cleared.missing.is_empty());
        assert!(!machine.is_any_writable());
    }
}

#[test]
fn who_only_looks_gets_a_disk_that_stays_read_only() {
    for level in LEVELS {
        let machine = Simulated::new(&spec());
        let cleared = check(&machine, &wipe(&machine, &[3, 1], level)).unwrap();
        let held: Vec<_> =
            cleared.permits.into_iter().map(|permit| permit.into_medium().unwrap()).collect();
        assert_eq!(machine.is_any_writable(), level != PowerLevel::Idle, "{level:?}");
        for held in held {
            held.release().unwrap();
        }
        assert!(!machine.is_any_writable());
    }
}

#[test]
fn who_looks_at_several_disks_gets_those_that_fit_and_the_reason_beside_each_other() {
    let mut spec = spec();
    spec.disks[0].holder = Some("dm-0");
    spec.disks[1].content = vec![raid(1)];
    spec.disks[2].keys = 1;
    spec.disks[3].content = vec![raid(1)];
    for level in LEVELS {
        let machine = Simulated::new(&spec);
        let wipe = wipe(&machine, &[0, 1, 2], level);
        let cleared = Setting::good().with(|it| check_wipe_on(&machine.machine(), &wipe, it));
        if level != PowerLevel::Idle {
            assert_eq!(cleared.unwrap_err().code(), "in-use", "{level:?}");
            continue;
        }
        let Cleared { permits, refused, untouched, .. } = cleared.unwrap();
        assert_eq!(permits.iter().map(Permit::name).collect::<Vec<_>>(), ["sdb"]);
        let refused: Vec<_> = refused.iter().map(|(number, why)| (*number, why.code())).collect();
        assert_eq!(refused, [(0, "in-use"), (2, "reserved")]);
        assert_eq!(untouched.len(), 1, "what was ordered is not untouched");
    }
    // Where none fits, and where it is no order for this machine, there is nothing to tell.
    let code = |disks: &[usize], change: &dyn Fn(&mut Wipe)| {
        let machine = Simulated::new(&spec);
        let mut wipe = wipe(&machine, disks, PowerLevel::Idle);
        change(&mut wipe);
        let cleared = Setting::good().with(|it| check_wipe_on(&machine.machine(), &wipe, it));
        cleared.map_or_else(|refusal| refusal.code(), |_| "permitted")
    };
    assert_eq!(code(&[2, 0], &|_| {}), "reserved");
    assert_eq!(code(&[1], &|_| {}), "permitted");
    let other = MachineEvidence::default();
    assert_eq!(code(&[1], &|wipe| wipe.order.machine = other.clone()), "other-machine");
}

#[test]
fn one_of_two_namespaces_is_not_erased_by_its_device() {
    let mut spec = spec();
    let (serial, model) = (spec.disks[2].serial.clone(), spec.disks[2].model.clone());
    let second = DiskSpec { serial, model, sibling: true, ..DiskSpec::new(Bus::Nvme, 8) };
    spec.disks.insert(3, second);
    assert_eq!(code_of(&spec, &[2], PowerLevel::Redline), "sibling");
    assert_eq!(code_of(&spec, &[0, 3], PowerLevel::Redline), "sibling");
    assert_eq!(code_of(&spec, &[2, 3], PowerLevel::Redline), "permitted");
    assert_eq!(code_of(&spec, &[0], PowerLevel::Redline), "permitted");
    for level in [PowerLevel::Working, PowerLevel::Full] {
        assert_eq!(code_of(&spec, &[2], level), "permitted", "its own bytes are overwritten");
    }
}

#[test]
fn one_of_two_units_of_a_scsi_disk_is_not_erased_by_its_device() {
    let mut spec = spec();
    spec.disks.insert(2, DiskSpec { sibling: true, ..DiskSpec::new(Bus::Sas, 8) });
    assert_eq!(code_of(&spec, &[1], PowerLevel::Redline), "sibling");
    assert_eq!(code_of(&spec, &[2], PowerLevel::Redline), "sibling");
    assert_eq!(code_of(&spec, &[2, 1], PowerLevel::Redline), "permitted");
    assert_eq!(code_of(&spec, &[1], PowerLevel::Full), "permitted");
    // A unit that the kernel made no disk of cannot be ordered, and would be erased all the same.
    let machine = Simulated::new(&super::super::tests::spec());
    let unit =
        machine.directory().join("sys/devices/pci0000:00/0000:00:11.0/host1/target1:0:0/1:0:0:5");
    std::fs::create_dir_all(&unit).unwrap();
    std::fs::write(unit.join("type"), "0\n").unwrap();
    assert_eq!(code(&machine, &wipe(&machine, &[1], PowerLevel::Redline)), "sibling");
    // An enclosure is no disk.
    std::fs::write(unit.join("type"), "13\n").unwrap();
    assert_eq!(code(&machine, &wipe(&machine, &[1], PowerLevel::Redline)), "permitted");
}

/// A member of a striped array, metadata 1.2.
fn raid(uuid: u8) -> (u64, Vec<u8>) {
    let mut block = vec![0; 256];
    block[..4].copy_from_slice(&0xa92b_4efc_u32.to_le_bytes());
    block[4] = 1;
    block[16..32].fill(uuid);
    block[144] = 8;
    (4096, block)
}

#[test]
fn a_member_of_an_array_is_wiped_only_with_the_others_or_when_they_are_gone() {
    let mut spec = spec();
    spec.disks[0].content = vec![raid(1)];
    spec.disks[1].content = vec![raid(1)];
    spec.disks[2].content = vec![raid(2)];
    for level in LEVELS {
        // Who only looks destroys no array.
        let expected = if level == PowerLevel::Idle { "permitted" } else { "member" };
        assert_eq!(code_of(&spec, &[0], level), expected);
        assert_eq!(code_of(&spec, &[0, 1], level), "permitted");
        assert_eq!(code_of(&spec, &[2], level), "permitted");
    }
    // The other one is dying: it is there today, and its owner has written it off.
    let machine = Simulated::new(&spec);
    let mut wipe = wipe(&machine, &[0], PowerLevel::Full);
    wipe.missing = vec![machine.order(&[1], true).disks[0].identity.clone()];
    assert_eq!(code(&machine, &wipe), "other-inventory", "the digest is of those that are left");
    wipe.order.inventory = protocol::InventoryDigest::without(&machine.inventory(), &wipe.missing);
    let cleared = check(&machine, &wipe).unwrap();
    assert_eq!((cleared.missing.len(), cleared.untouched.len()), (0, 3));
}

#[test]
fn a_dead_disk_blocks_nothing_once_it_is_called_missing() {
    let before = Simulated::new(&spec());
    let dead = before.order(&[1], true).disks[0].identity.clone();
    let mut left = spec();
    left.disks.remove(1);
    let machine = Simulated::new(&left);
    // Ordered before it died: the machine has changed.
    assert_eq!(code(&machine, &wipe(&before, &[0], PowerLevel::Full)), "other-inventory");
    // Ordered after: what is left is the machine, whether the disk comes back or not.
    let wipe = Wipe { missing: vec![dead], ..wipe(&machine, &[0], PowerLevel::Full) };
    let cleared = check(&machine, &wipe).unwrap();
    assert_eq!((cleared.missing.len(), cleared.untouched.len()), (1, 2));
    let cleared = check(&before, &wipe).unwrap();
    assert_eq!((cleared.missing.len(), cleared.untouched.len()), (0, 3));
    // That another one is gone as well is a change.
    left.disks.remove(1);
    assert_eq!(code(&Simulated::new(&left), &wipe), "other-inventory");
    // What is to be wiped is not missing.
    let mut both = wipe;
    both.missing.push(both.order.disks[0].identity.clone());
    assert_eq!(code(&machine, &both), "named-twice");
}

#[test]
fn a_disk_whose_key_the_tpm_may_hold_is_not_kept_while_it_is_cleared() {
    let luks = (0, [b"LUKS\xba\xbe\x00\x02".as_slice(), &[0; 300]].concat());
    let mut spec = spec();
    spec.disks[0].content = vec![luks];
    let cleared = |spec: &Spec, disks: &[usize], level, extras: &[Extra]| {
        let machine = Simulated::new(spec);
        code(&machine, &Wipe { extras: extras.to_vec(), ..wipe(&machine, disks, level) })
    };
    let tpm = [Extra::Pstore, Extra::Tpm];
    assert_eq!(cleared(&spec, &[1], PowerLevel::Full, &[Extra::Pstore]), "permitted");
    assert_eq!(cleared(&spec, &[1], PowerLevel::Full, &tpm), "sealed");
    assert_eq!(cleared(&spec, &[1, 0], PowerLevel::Full, &tpm), "permitted");
    // Its data stays there, so its key has to as well.
    assert_eq!(cleared(&spec, &[1, 0], PowerLevel::Harbour, &tpm), "sealed");
    // It may have such a volume inside.
    spec.disks[0].content = vec![raid(1)];
    assert_eq!(cleared(&spec, &[1], PowerLevel::Full, &tpm), "sealed");
    spec.disks[0].content = vec![btrfs(1)];
    assert_eq!(cleared(&spec, &[1], PowerLevel::Full, &tpm), "permitted");
    // What cannot be read may be one.
    let machine = Simulated::new(&spec);
    let wipe = Wipe { extras: tpm.to_vec(), ..wipe(&machine, &[1], PowerLevel::Full) };
    std::fs::remove_file(machine.directory().join("dev/sda")).unwrap();
    assert_eq!(code(&machine, &wipe), "sealed");
}

#[test]
fn the_key_of_a_disk_called_missing_goes_with_the_tpm_where_that_disk_was_named_and_nothing_is_kept()
 {
    let luks = (0, [b"LUKS\xba\xbe\x00\x02".as_slice(), &[0; 300]].concat());
    let mut spec = spec();
    spec.disks[0].content = vec![luks];
    let cleared = |spec: &Spec, missing: usize, level| {
        let machine = Simulated::new(spec);
        let missing = vec![machine.order(&[missing], true).disks[0].identity.clone()];
        let mut wipe = Wipe { extras: vec![Extra::Tpm], ..wipe(&machine, &[1], level) };
        wipe.order.inventory = protocol::InventoryDigest::without(&machine.inventory(), &missing);
        code(&machine, &Wipe { missing, ..wipe })
    };
    for level in [PowerLevel::Working, PowerLevel::Full, PowerLevel::Redline] {
        assert_eq!(cleared(&spec, 0, level), "permitted");
        assert_eq!(cleared(&spec, 2, level), "sealed", "another one is missing");
    }
    assert_eq!(cleared(&spec, 0, PowerLevel::Harbour), "sealed");
    assert_eq!(cleared(&spec, 0, PowerLevel::Idle), "permitted", "it clears no TPM");
    // With the same words on both labels nobody knows which one is to be destroyed.
    let (model, sectors) = (spec.disks[0].model.clone(), spec.disks[0].sectors);
    let mut twins = spec.clone();
    for twin in [0, 2] {
        let disk = &mut twins.disks[twin];
        (disk.bus, disk.model, disk.sectors) = (Bus::Virtio, model.clone(), sectors);
        (disk.wide, disk.serial) = (None, None);
    }
    assert_eq!(cleared(&twins, 2, PowerLevel::Full), "not-named");
    for twin in [0, 2] {
        twins.disks[twin].serial = Some("S1TWIN4711".to_owned());
    }
    assert_eq!(cleared(&twins, 2, PowerLevel::Full), "not-unique");
    twins.disks[2].serial = Some("S1OTHER4712".to_owned());
    assert_eq!(cleared(&twins, 2, PowerLevel::Full), "sealed");
}

/// Returns what becomes of a wipe of a machine's first disk, without and with its obstacle named, and with that named of
/// another disk.
fn despite(machine: &Simulated, obstacle: Obstacle) -> [&'static str; 3] {
    let mut wipe = wipe(machine, &[0], PowerLevel::Full);
    let plain = code(machine, &wipe);
    let serial = wipe.order.disks[0].identity.serial.clone().unwrap();
    wipe.options.despite = vec![Despite { disk: serial, obstacle }];
    let named = code(machine, &wipe);
    wipe.options.despite[0].disk = "S9WX7Q1333".to_owned();
    [plain, named, code(machine, &wipe)]
}

#[test]
fn what_is_refused_unless_it_is_named_is_refused_unless_it_is_named() {
    let with = |obstacle, change: &dyn Fn(&mut DiskSpec)| {
        let mut spec = Spec::new(vec![DiskSpec::new(Bus::Ata, 1)]);
        change(&mut spec.disks[0]);
        despite(&Simulated::new(&spec), obstacle)
    };
    let ceph = |disk: &mut DiskSpec| disk.content = vec![(0, b"bluestore block device".to_vec())];
    let cases = [
        ("shared", with(Obstacle::SharedStorage, &ceph)),
        ("reserved", with(Obstacle::Reservations, &|disk| disk.keys = 2)),
        ("network", with(Obstacle::Network, &|disk| disk.bus = Bus::Iscsi)),
        ("multipath", with(Obstacle::Multipath, &|disk| disk.bus = Bus::TwoWays)),
        ("removable", with(Obstacle::Removable, &|disk| disk.bus = Bus::Usb)),
        ("boot-medium", despite(&started_from_the_first(), Obstacle::BootMedium)),
        ("boot-medium", despite(&with_medium("drydock.medium=1"), Obstacle::BootMedium)),
    ];
    for (expected, found) in cases {
        assert_eq!(found, [expected, "permitted", expected]);
    }
    // Another obstacle than the one that was named.
    assert_eq!(with(Obstacle::Removable, &ceph), ["shared"; 3]);
    // Nothing gets past these.
    let all = [
        Obstacle::BootMedium,
        Obstacle::SharedStorage,
        Obstacle::Reservations,
        Obstacle::Network,
        Obstacle::Multipath,
        Obstacle::Removable,
    ];
    for obstacle in all {
        let read_only = with(obstacle, &|disk| disk.before = Some(Access::ReadOnly));
        assert_eq!(read_only, ["read-only"; 3]);
        let used = with(obstacle, &|disk| disk.holder = Some("dm-0"));
        assert_eq!(used, ["in-use"; 3]);
    }
}

#[test]
fn a_person_at_our_console_gets_past_nothing_that_the_server_would_not() {
    let ask = |change: &dyn Fn(&mut DiskSpec), typed: &str| {
        let mut spec = Spec::new(vec![DiskSpec::new(Bus::Ata, 1)]);
        change(&mut spec.disks[0]);
        let machine = Simulated::new(&spec);
        let wipe = wipe(&machine, &[0], PowerLevel::Full);
        let serial = wipe.order.disks[0].identity.serial.clone().unwrap();
        let typed = if typed.is_empty() { serial } else { typed.to_owned() };
        let setting = Setting { place: Place::simulated_console(vec![typed]), ..Setting::good() };
        let checked = setting.with(|it| check_wipe_on(&machine.machine(), &wipe, it));
        checked.map_or_else(|refusal| refusal.code(), |_| "permitted")
    };
    assert_eq!(ask(&|_| {}, ""), "permitted");
    assert_eq!(ask(&|_| {}, "another"), "not-typed");
    assert_eq!(ask(&|disk| disk.bus = Bus::Usb, ""), "removable");
    assert_eq!(ask(&|disk| disk.bus = Bus::Iscsi, ""), "network");
    assert_eq!(ask(&|disk| disk.before = Some(Access::ReadOnly), ""), "read-only");
}

#[test]
fn data_is_destroyed_only_where_the_order_says_so_and_harbour_destroys_none() {
    let mut spec = spec();
    spec.disks[0].content = vec![(700, vec![1])];
    let machine = Simulated::new(&spec);
    for level in LEVELS {
        let mut wipe = wipe(&machine, &[0], level);
        assert_eq!(code(&machine, &wipe), "permitted");
        wipe.order.disks[0].overwrite = false;
        let expected = if level.destroys() { "has-data" } else { "permitted" };
        assert_eq!(code(&machine, &wipe), expected, "{level:?}");
    }
}

#[test]
fn a_disk_that_cannot_be_read_is_wiped_where_it_may_be_overwritten() {
    let machine = Simulated::new(&spec());
    let file = std::fs::OpenOptions::new().write(true).open(machine.directory().join("dev/sda"));
    // Behind its first sector nothing can be read.
    file.unwrap().set_len(512).unwrap();
    let mut wipe = wipe(&machine, &[0], PowerLevel::Full);
    assert_eq!(code(&machine, &wipe), "permitted");
    wipe.order.disks[0].overwrite = false;
    assert_eq!(code(&machine, &wipe), "unreadable");
    wipe.level = PowerLevel::Harbour;
    assert_eq!(code(&machine, &wipe), "unreadable");
}

#[test]
fn what_an_earlier_boot_began_goes_on_whatever_is_left_on_the_disk() {
    let mut spec = spec();
    // Half wiped, by chance like something shared, and its reservations cannot be asked for.
    spec.disks[1].content = vec![(0, b"bluestore block device".to_vec()), raid(1)];
    spec.disks[0].content = vec![raid(1)];
    spec.disks[1].keys = 1;
    let machine = Simulated::new(&spec);
    let mut wipe = wipe(&machine, &[1], PowerLevel::Full);
    wipe.order.disks[0].overwrite = false;
    assert_eq!(code(&machine, &wipe), "reserved");
    let step = |disk| WipeStep { disk, kind: WipeStepKind::Canaries {} };
    wipe.journal = vec![step(0)];
    assert_eq!(code(&machine, &wipe), "permitted");
    wipe.journal = vec![step(1)];
    assert_eq!(code(&machine, &wipe), "reserved", "another disk was begun with");
    // It may be late, but not for ever, and has to be for this machine, this disk and this size all the same.
    wipe.journal = vec![step(0)];
    let late = |hours: i64, wipe: &Wipe| {
        let setting = Setting { now: 3_600_000 + hours * 3_600_000, ..Setting::good() };
        let cleared = setting.with(|it| check_wipe_on(&machine.machine(), wipe, it));
        cleared.map_or_else(|refusal| refusal.code(), |_| "permitted")
    };
    assert_eq!(late(100, &wipe), "permitted");
    assert_eq!(late(24 * 14, &wipe), "deadline-over");
    let fresh = Wipe { journal: Vec::new(), ..wipe.clone() };
    assert_eq!(late(0, &fresh), "deadline-over");
    spec.disks[1].sectors += 8;
    assert_eq!(code(&Simulated::new(&spec), &wipe), "exchanged");
    spec.disks.remove(1);
    assert_eq!(code(&Simulated::new(&spec), &wipe), "not-found");
    let other = Wipe {
        order: protocol::Order { machine: MachineEvidence::default(), ..wipe.order.clone() },
        ..wipe
    };
    assert_eq!(code(&machine, &other), "other-machine");
}

#[test]
fn a_password_that_an_earlier_order_left_begins_nothing() {
    let mut spec = spec();
    spec.disks[0].content = vec![(700, vec![1])];
    spec.disks[1].keys = 1;
    let machine = Simulated::new(&spec);
    let password = |disk| {
        let kind = WipeStepKind::AtaPassword { password: "a5".repeat(32) };
        WipeStep { disk, kind }
    };
    let mut wipe = wipe(&machine, &[0, 1], PowerLevel::Redline);
    wipe.order.disks[0].overwrite = false;
    wipe.journal = vec![password(0)];
    assert_eq!(code(&machine, &wipe), "has-data");
    wipe.order.disks[0].overwrite = true;
    wipe.journal = vec![password(0), password(1)];
    assert_eq!(code(&machine, &wipe), "reserved");
    let late = Setting { now: 2 * 3_600_000, ..Setting::good() };
    let late = late.with(|it| check_wipe_on(&machine.machine(), &wipe, it));
    assert_eq!(late.unwrap_err().code(), "deadline-over");
}

#[test]
fn all_that_stands_in_the_way_is_listed_and_the_order_is_not_used_up() {
    let mut spec = spec();
    spec.disks[0].holder = Some("dm-0");
    spec.disks[2].keys = 1;
    let machine = Simulated::new(&spec);
    let wipe = wipe(&machine, &[0, 1, 2], PowerLevel::Idle);
    let setting = Setting::good();
    for _ in 0..2 {
        let against = setting.with(|it| obstacles_on(&machine.machine(), &wipe, it));
        let codes: Vec<_> =
            against.iter().map(|(number, refusal)| (*number, refusal.code())).collect();
        assert_eq!(codes, [(Some(0), "in-use"), (Some(2), "reserved")]);
    }
}

#[test]
fn at_a_terminal_every_disk_is_named_by_a_person() {
    let mut spec = spec();
    spec.disks.iter_mut().for_each(|disk| disk.before = None);
    let machine = Simulated::new(&spec);
    let wipe = wipe(&machine, &[0, 1], PowerLevel::Working);
    for (typed, expected) in
        [(vec!["S1WX7Q1037"], "not-typed"), (vec!["S1WX7Q1037", "S2WX7Q1074"], "permitted")]
    {
        let place = Place::person(typed.into_iter().map(str::to_owned).collect());
        let setting = Setting { place, ..Setting::good() };
        let cleared = setting.with(|it| check_wipe_on(&machine.machine(), &wipe, it));
        assert_eq!(cleared.map_or_else(|refusal| refusal.code(), |_| "permitted"), expected);
    }
}

#[test]
fn a_disk_whose_sectors_linux_does_not_address_is_refused_and_no_machine_is_whole_with_it() {
    // Of 520 bytes, say: sd shows a disk without size.
    let mut mute = spec();
    mute.disks[0].sectors = 0;
    for level in LEVELS {
        assert_eq!(code_of(&mute, &[0], level), "no-size");
    }
    let untouched = |spec: &Spec, missing: bool| {
        let machine = Simulated::new(spec);
        let mut wipe = wipe(&machine, &[1], PowerLevel::Full);
        let mute = || machine.order(&[0], true).disks[0].identity.clone();
        wipe.missing = if missing { vec![mute()] } else { Vec::new() };
        let tpm = Wipe { extras: vec![Extra::Tpm], ..wipe.clone() };
        let tpm = code(&machine, &tpm);
        // An order is used by its permit.
        let machine = Simulated::new(spec);
        let cleared = check(&machine, &wipe).unwrap();
        (cleared.untouched.len(), cleared.missing.len(), tpm)
    };
    let others = mute.disks.len() - 2;
    assert_eq!(untouched(&mute, false), (others + 1, 0, "sealed"));
    // To be destroyed physically.
    assert_eq!(untouched(&mute, true), (others, 1, "permitted"));
    // A reader without a card holds nothing.
    (mute.disks[0].bus, mute.disks[0].removable) = (Bus::Usb, true);
    assert_eq!(untouched(&mute, false), (others, 0, "permitted"));
}
