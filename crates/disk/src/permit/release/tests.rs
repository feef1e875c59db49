use std::{fs, os::unix::fs::symlink};

use protocol::{order::MachineEvidence, wipe::PowerLevel};

use super::{
    super::{
        Place,
        simulation::{Bus, Simulated, Spec},
        tests::{Setting, spec},
        wiping::{check_wipe_on, obstacles_on, tests::wipe},
    },
    *,
};

const DESTROYING: [PowerLevel; 3] = [PowerLevel::Working, PowerLevel::Full, PowerLevel::Redline];

/// Builds something on devices of a machine: `md…` is an array, `dm-…` a volume called `volume-…`.
fn build(machine: &Simulated, name: &str, minor: u32, below: &[&str]) {
    let sys = machine.directory().join("sys");
    let directory = sys.join("devices/virtual/block").join(name);
    fs::create_dir_all(directory.join("holders")).unwrap();
    fs::create_dir_all(directory.join("slaves")).unwrap();
    fs::write(directory.join("dev"), format!("253:{minor}\n")).unwrap();
    let kind = name.trim_end_matches(|digit: char| digit.is_ascii_digit());
    match kind {
        "md" => fs::create_dir(directory.join("md")).unwrap(),
        "dm-" => {
            fs::create_dir(directory.join("dm")).unwrap();
            fs::write(directory.join("dm/name"), format!("volume-{name}\n")).unwrap();
        }
        _ => {}
    }
    symlink(format!("../../devices/virtual/block/{name}"), sys.join("class/block").join(name))
        .unwrap();
    for device in below {
        let holders = sys.join("class/block").join(device).join("holders");
        fs::create_dir_all(&holders).unwrap();
        fs::write(holders.join(name), "").unwrap();
        fs::write(directory.join("slaves").join(device), "").unwrap();
    }
    fs::write(machine.directory().join("dev").join(name), "").unwrap();
}

/// An array over the first two disks, and a volume on it.
fn stack(spec: &Spec) -> Simulated {
    let machine = Simulated::new(spec);
    build(&machine, "md0", 1, &["sda", "sdb"]);
    build(&machine, "dm-0", 2, &["md0"]);
    machine
}

/// Returns what would be taken down, or why not; and makes sure that nobody says that it is ready while it is held.
fn release(machine: &Simulated, disks: &[usize], level: PowerLevel) -> String {
    let wipe = wipe(machine, disks, level);
    let setting = Setting::good();
    let right = setting.with(|it| check_release_on(&machine.machine(), &wipe, it));
    let against = setting.with(|it| obstacles_on(&machine.machine(), &wipe, it));
    let cleared = setting.with(|it| check_wipe_on(&machine.machine(), &wipe, it));
    match right {
        Ok(Some(right)) => {
            assert!(against.is_empty(), "{against:?}");
            assert_eq!(cleared.unwrap_err().code(), "in-use", "not before it is taken down");
            let names: Vec<String> = right.into_parts().1.iter().map(Holder::to_string).collect();
            names.join(", ")
        }
        Ok(None) => "nothing".to_owned(),
        Err(refusal) => {
            assert!(cleared.is_err());
            assert!(against.iter().any(|(_, other)| other.code() == refusal.code()));
            refusal.code().to_owned()
        }
    }
}

#[test]
fn what_nobody_uses_is_taken_down_from_the_top() {
    for level in DESTROYING {
        let machine = stack(&spec());
        assert_eq!(release(&machine, &[0, 1], level), "volume volume-dm-0 (dm-0), array md0");
        assert_eq!(release(&machine, &[2, 1, 0], level), "volume volume-dm-0 (dm-0), array md0");
        assert!(!machine.is_any_writable());
    }
}

#[test]
fn a_disk_that_nothing_is_built_on_needs_no_release() {
    let machine = stack(&spec());
    for level in DESTROYING {
        assert_eq!(release(&machine, &[2], level), "nothing");
    }
}

#[test]
fn levels_that_keep_data_take_nothing_down() {
    let machine = stack(&spec());
    for level in [PowerLevel::Idle, PowerLevel::Harbour] {
        assert_eq!(release(&machine, &[0, 1], level), "nothing");
        let wipe = wipe(&machine, &[0, 1], level);
        let cleared = Setting::good().with(|it| check_wipe_on(&machine.machine(), &wipe, it));
        assert_eq!(cleared.unwrap_err().code(), "in-use");
    }
}

#[test]
fn what_lies_on_a_disk_that_is_not_ordered_stays() {
    let machine = stack(&spec());
    assert_eq!(release(&machine, &[0], PowerLevel::Working), "member");
    // A volume that only reaches another disk further up.
    build(&machine, "dm-1", 3, &["md0", "vda"]);
    assert_eq!(release(&machine, &[0, 1], PowerLevel::Working), "member");
    let all = "volume volume-dm-0 (dm-0), volume volume-dm-1 (dm-1), array md0";
    assert_eq!(release(&machine, &[0, 1, 3], PowerLevel::Working), all);
}

#[test]
fn what_is_mounted_or_swapped_on_stays_and_so_does_all_below() {
    let with = |mounts: &str, swaps: &str| {
        let mut spec = spec();
        spec.mounts.push_str(mounts);
        spec.swaps.push_str(swaps);
        release(&stack(&spec), &[0, 1], PowerLevel::Full)
    };
    assert_eq!(with("30 22 253:2 / /data rw - ext4 /dev/mapper/data rw\n", ""), "in-use");
    assert_eq!(with("30 22 253:1 / /data rw - ext4 /dev/md/0 rw\n", ""), "in-use");
    assert_eq!(with("", "/dev/dm-0 partition 1 0 -2\n"), "in-use");
    // The other disk, beside what is built on the first.
    assert_eq!(with("30 22 8:16 / /data rw - ext4 /dev/sdb rw\n", ""), "in-use");
    let elsewhere = with("30 22 8:48 / /data rw - ext4 /dev/vda rw\n", "");
    assert_eq!(elsewhere, "volume volume-dm-0 (dm-0), array md0");
}

#[test]
fn what_a_loop_device_lies_on_stays_and_so_does_all_below() {
    for (number, disks) in [("253:2", [0, 1]), ("253:1", [0, 1]), ("8:0", [0, 1]), ("8:48", [2, 3])]
    {
        let machine = stack(&spec());
        fs::create_dir_all(machine.directory().join("sys/block/loop0/loop")).unwrap();
        fs::write(machine.directory().join("dev/loop0"), number).unwrap();
        for level in DESTROYING {
            let wipe = wipe(&machine, &disks, level);
            let setting = Setting::good();
            let right = setting.with(|it| check_release_on(&machine.machine(), &wipe, it));
            let cleared = setting.with(|it| check_wipe_on(&machine.machine(), &wipe, it));
            let expected = if disks == [0, 1] { "in-use" } else { "nothing" };
            let right = right.map_or_else(|refusal| refusal.code(), |_| "nothing");
            assert_eq!((right, cleared.unwrap_err().code()), (expected, "in-use"), "{number}");
        }
    }
}

#[test]
fn what_a_program_has_claimed_stays() {
    let machine = stack(&spec());
    for device in ["dm-0", "vda"] {
        let file = fs::File::open(machine.directory().join("dev").join(device)).unwrap();
        file.lock().unwrap();
        assert_eq!(release(&machine, &[0, 1, 3], PowerLevel::Working), "in-use", "{device}");
    }
}

#[test]
fn what_nobody_here_can_take_down_stays() {
    let machine = stack(&spec());
    build(&machine, "drbd0", 3, &["dm-0"]);
    assert_eq!(release(&machine, &[0, 1], PowerLevel::Working), "in-use");
}

#[test]
fn no_more_is_taken_down_than_a_person_was_shown() {
    let mut spec = spec();
    spec.disks.iter_mut().for_each(|disk| disk.before = None);
    let machine = stack(&spec);
    let typed = ["S1WX7Q1037".to_owned(), "S2WX7Q1074".to_owned()].to_vec();
    let check = |shown: &[Holder]| {
        let wipe = wipe(&machine, &[0, 1], PowerLevel::Full);
        let place = Place::person(typed.clone()).having_shown(shown.to_vec());
        let setting = Setting { place, ..Setting::good() };
        let right = setting.with(|it| check_release_on(&machine.machine(), &wipe, it));
        right.map(|right| right.unwrap().into_parts().1)
    };
    let now = || holders::order(&machine.machine().root, &["sda", "sdb"]).unwrap();
    let shown = now();
    assert_eq!(check(&shown).unwrap(), shown);
    // Asked about disk by disk, all of it is shown with each.
    let each = |disk| holders::order(&machine.machine().root, &[disk]).unwrap();
    assert_eq!(check(&each("sda")).unwrap(), shown);
    assert_eq!(check(&[each("sda"), each("sdb")].concat()).unwrap(), shown);
    for too_little in [&shown[..1], &shown[1..], &[]] {
        assert_eq!(check(too_little).unwrap_err().code(), "in-use");
    }
    // A name that was shown, on one disk less.
    let mut other = shown.clone();
    other[1].disks.pop();
    assert_eq!(check(&other).unwrap_err().code(), "in-use");
    build(&machine, "dm-1", 3, &["md0"]);
    let Err(Refusal::InUse { uses, .. }) = check(&shown) else { panic!("it was not shown") };
    let expected =
        "volume volume-dm-1 (dm-1) is built on it, which was not shown when it was asked about";
    assert_eq!(uses, expected);
    assert_eq!(check(&now()).unwrap(), now());
    // What was shown and went by itself stands in the way of nothing.
    let gone = Holder { name: "dm-7".to_owned(), ..shown[0].clone() };
    assert_eq!(check(&[vec![gone], now()].concat()).unwrap(), now());
}

#[test]
fn nothing_is_taken_down_for_an_order_that_is_refused_otherwise() {
    let mut spec = spec();
    spec.disks[1].keys = 1;
    assert_eq!(release(&stack(&spec), &[0, 1], PowerLevel::Working), "reserved");
    spec.disks[1].keys = 0;
    spec.disks[2].bus = Bus::Iscsi;
    assert_eq!(release(&stack(&spec), &[0, 1, 2], PowerLevel::Working), "network");
    let mut spec = super::super::tests::spec();
    spec.disks.iter_mut().for_each(|disk| disk.before = None);
    let machine = stack(&spec);
    let check = |setting: Setting, change: &dyn Fn(&mut Wipe)| {
        let mut wipe = wipe(&machine, &[0, 1], PowerLevel::Full);
        change(&mut wipe);
        let right = setting.with(|it| check_release_on(&machine.machine(), &wipe, it));
        right.map_or_else(|refusal| refusal.code(), |_| "released")
    };
    assert_eq!(check(Setting::good(), &|_| {}), "released");
    let keeps_data = |wipe: &mut Wipe| {
        wipe.order.disks[0].overwrite = false;
        wipe.order.disks[1].overwrite = false;
    };
    assert_eq!(check(Setting::good(), &keeps_data), "released", "blank disks");
    let late = Setting { now: 4_000_000, ..Setting::good() };
    assert_eq!(check(late, &|_| {}), "deadline-over");
    let shown = holders::order(&machine.machine().root, &["sda", "sdb"]).unwrap();
    let place = Place::person(vec!["S1WX7Q1037".to_owned()]).having_shown(shown);
    assert_eq!(check(Setting { place, ..Setting::good() }, &|_| {}), "not-typed");
    assert_eq!(
        check(Setting::good(), &|wipe| wipe.order.machine = MachineEvidence::default()),
        "other-machine"
    );
}
