//! Ten thousand orders that do not fit the machine, made up at random: none of them is permitted.

use std::thread;

use linux::block::Access;
use protocol::Bytes;

use super::{
    simulation::{Bus, DiskSpec, Simulated, Spec, Trick},
    *,
};

/// How many mismatches are tried at least, on several threads.
const CASES: usize = 10_000;
const THREADS: usize = 2;

/// Numbers by chance, the same for the same seed (`SplitMix64`, Steele and others 2014).
struct Dice(u64);

impl Dice {
    /// Returns a number below another.
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(limit).unwrap()).unwrap()
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// An order, the machine that it meets, and the circumstances.
#[derive(Clone)]
struct Case {
    order: Order,
    spec: Spec,
    target: usize,
    now: i64,
    clock: Clock,
    is_used: bool,
}

impl Case {
    /// Makes a machine at random, and an honest order for one of its disks.
    fn honest(dice: &mut Dice) -> Self {
        let count = 2 + u64::try_from(dice.below(2)).unwrap();
        let mut spec = Spec::new(
            (0..count)
                .map(|number| {
                    let bus = dice.of(&[Bus::Ata, Bus::Sas, Bus::Nvme, Bus::Virtio]);
                    let unique = 10 * number + u64::try_from(dice.below(10)).unwrap();
                    let mut disk = DiskSpec::new(bus, unique);
                    disk.sequence = 100 + number;
                    disk.model = dice.of(&["MODEL 9000", "MODEL 9001"]).to_owned();
                    disk.sector_bytes = dice.of(&[512, 4096]);
                    disk
                })
                .collect(),
        );
        let target = dice.below(spec.disks.len());
        let overwrite = dice.below(2) == 0;
        if overwrite {
            spec.disks[target].content = vec![(700, vec![1])];
        }
        let order = Simulated::new(&spec).order(&[target], overwrite);
        Self { order, spec, target, now: 1000, clock: Clock::SetByServer, is_used: false }
    }

    fn disk(&mut self) -> &mut DiskSpec {
        &mut self.spec.disks[self.target]
    }

    fn other(&self, dice: &mut Dice) -> usize {
        let step = 1 + dice.below(self.spec.disks.len() - 1);
        (self.target + step) % self.spec.disks.len()
    }

    /// Checks the order on a machine that was made from the case's description.
    fn check(&self, machine: &Simulated) -> Result<Vec<Permit>, Refusal> {
        let directory = simulation::scratch();
        let used = Used::kept_in(directory.path());
        if self.is_used {
            used.claim(self.order.id).unwrap();
        }
        let circumstances = Circumstances {
            place: &Place::simulated(),
            now_unix_milliseconds: self.now,
            clock: self.clock,
            used: &used,
        };
        let permits = check_on(&machine.machine(), &self.order, &circumstances);
        assert!(!machine.is_any_writable(), "a check makes nothing writable");
        permits
    }
}

type Mismatch = fn(&mut Case, &mut Dice);

/// Everything that may not fit: each changes the machine, the order or the circumstances.
const MISMATCHES: &[(&str, Mismatch)] = &[
    ("two disks swapped their serial numbers", |case, dice| {
        let other = case.other(dice);
        let theirs = case.spec.disks[other].serial.clone();
        case.spec.disks[other].serial = std::mem::replace(&mut case.disk().serial, theirs);
    }),
    ("two disks swapped all their names", |case, dice| {
        let other = case.other(dice);
        let theirs = (case.spec.disks[other].serial.clone(), case.spec.disks[other].wide.clone());
        let own = (case.disk().serial.clone(), case.disk().wide.clone());
        (case.disk().serial, case.disk().wide) = theirs;
        (case.spec.disks[other].serial, case.spec.disks[other].wide) = own;
    }),
    ("the name leads to another disk", |case, dice| {
        case.spec.tricks = vec![Trick::OpensOther(case.other(dice))];
    }),
    ("disks were reordered, and the name leads where it led before", |case, dice| {
        let other = case.other(dice);
        case.spec.disks.swap(case.target, other);
        // The old name of the ordered disk is now another's.
        case.spec.tricks = vec![Trick::OpensOther(case.target)];
    }),
    ("the disk was replaced by one of another size", |case, dice| {
        case.disk().sectors = 4096 + 8 * u64::try_from(600 + dice.below(5000)).unwrap();
    }),
    ("the disk was replaced by another of the same kind", |case, dice| {
        let number = 1000 + dice.below(9000);
        case.disk().serial = Some(format!("R{number}XQ7"));
        case.disk().wide = Some(format!("5000c500{:08x}", 0x0246_8ace + number));
    }),
    ("another disk took the serial number", |case, dice| {
        let other = case.other(dice);
        case.spec.disks[other].serial = case.disk().serial.clone();
    }),
    ("the disk is there twice", |case, _| {
        let mut copy = case.disk().clone();
        copy.sequence = 900;
        case.spec.disks.push(copy);
    }),
    ("another model, or where the bus tells none, another letter in its number", |case, _| {
        match case.disk().bus {
            Bus::Virtio => case.disk().serial.as_mut().unwrap().push('0'),
            _ => case.disk().model.push('0'),
        }
    }),
    ("another sector size", |case, _| {
        case.disk().sector_bytes = if case.disk().sector_bytes == 512 { 4096 } else { 512 };
    }),
    ("an extra disk", |case, dice| {
        let disk =
            DiskSpec::new(dice.of(&[Bus::Ata, Bus::Sas, Bus::Nvme, Bus::Virtio, Bus::Usb]), 99);
        case.spec.disks.insert(dice.below(case.spec.disks.len() + 1), disk);
    }),
    ("another disk is missing", |case, dice| {
        let other = case.other(dice);
        case.spec.disks.remove(other);
    }),
    ("the disk is missing", |case, _| drop(case.spec.disks.remove(case.target))),
    ("all disks are missing", |case, _| case.spec.disks.clear()),
    ("another machine", |case, dice| {
        let change = |text: &mut Option<String>| {
            *text = Some(text.as_ref().map_or_else(|| "1".to_owned(), |text| format!("{text}1")));
        };
        match dice.below(4) {
            0 => case.spec.uuid = Some("4c4c4544-0042-3510-8052-b9c04f4e3733".to_owned()),
            1 => change(&mut case.spec.serial),
            2 => change(&mut case.spec.board),
            _ => case.spec.mac = Some(format!("52:54:00:12:34:{:02x}", dice.below(0x56))),
        }
    }),
    ("a machine that says nothing of itself", |case, _| {
        case.spec.uuid = None;
        case.spec.serial = None;
        case.spec.board = None;
        case.spec.mac = None;
        let machine = Simulated::new(&case.spec);
        case.order.machine = MachineEvidence::default();
        case.order.inventory = InventoryDigest::of(&machine.inventory());
    }),
    ("an order for another machine", |case, dice| match dice.below(4) {
        0 => case.order.machine.uuid = None,
        1 => case.order.machine.system_serial = Some("B5R9N73".to_owned()),
        2 => case.order.machine.board_serial = None,
        _ => case.order.machine.ports.clear(),
    }),
    ("another inventory's digest", |case, dice| {
        case.order.inventory.0[dice.below(32)] ^= 1 << dice.below(8);
    }),
    ("an order for a disk that differs a little", |case, dice| {
        let identity = &mut case.order.disks[0].identity;
        match dice.below(6) {
            0 => identity.size_bytes = Bytes(identity.size_bytes.0 + 512),
            1 => identity.logical_sector_bytes = None,
            2 => identity.serial = identity.serial.as_ref().map(|serial| serial.to_lowercase()),
            3 => identity.model = Some("another".to_owned()),
            4 => identity.nguid = Some("374446305770006300253847000002e1".to_owned()),
            _ => identity.serial = None,
        }
    }),
    ("an order for another disk of the machine, by half of its name", |case, dice| {
        let other = case.other(dice);
        let theirs = Simulated::new(&case.spec).order(&[other], true);
        case.order.disks[0].identity.serial.clone_from(&theirs.disks[0].identity.serial);
    }),
    ("no disk, or one twice", |case, dice| {
        if dice.below(2) == 0 {
            case.order.disks.clear();
        } else {
            case.order.disks.push(case.order.disks[0].clone());
        }
    }),
    ("a replayed order", |case, _| case.is_used = true),
    ("the deadline is over", |case, dice| {
        let late = i64::try_from(dice.below(1 << 40)).unwrap();
        case.now = case.order.deadline_unix_milliseconds + late;
    }),
    ("the deadline is further away than any", |case, dice| {
        let more = i64::try_from(dice.below(1 << 40)).unwrap();
        case.order.deadline_unix_milliseconds = case.now + 24 * 3_600_000 + 1 + more;
    }),
    ("nobody set the clock", |case, _| case.clock = Clock::Unset),
    ("the disk is exchanged while it is looked at", |case, dice| {
        let call = 1 + dice.below(4);
        let trick: fn(usize) -> Trick =
            dice.of(&[Trick::SequenceChanges, Trick::Shrinks, Trick::Vanishes]);
        case.spec.tricks = vec![trick(call)];
    }),
    ("somebody uses the disk", |case, dice| {
        let name = case.spec.names()[case.target].clone();
        match dice.below(4) {
            0 => case.disk().holder = Some("dm-7"),
            1 => case.spec.mounts = format!("1 1 0:50 / /x rw - btrfs /dev/{name} rw\n"),
            2 => case.spec.swaps = format!("Filename\n/dev/{name} partition 1 0 -2\n"),
            _ => case.spec.tricks = vec![Trick::Claimed],
        }
    }),
    ("it cannot be found out who uses the disk", |case, _| case.spec.mounts.clear()),
    ("data that the order does not allow to be destroyed", |case, dice| {
        case.order.disks[0].overwrite = false;
        let size = usize::try_from(case.disk().size()).unwrap();
        // Somewhere in the first or the last MiB.
        let place = dice.below(1 << 20);
        let place = if dice.below(2) == 0 { place } else { size - 1 - place };
        case.disk().content = vec![(u64::try_from(place).unwrap(), vec![1])];
    }),
    ("storage that machines share", |case, _| {
        case.disk().content = vec![(0, b"bluestore block device".to_vec())];
        case.order.disks[0].overwrite = true;
    }),
    ("another cluster's keys", |case, dice| {
        case.disk().keys = 1 + u64::try_from(dice.below(9)).unwrap();
    }),
    ("read-only by itself", |case, _| case.disk().before = Some(Access::ReadOnly)),
    ("the disk moved to another bus", |case, dice| {
        case.disk().bus = dice.of(&[Bus::Usb, Bus::Iscsi, Bus::Software]);
        if dice.below(2) == 0 {
            // The server saw it there already.
            let machine = Simulated::new(&case.spec);
            case.order.inventory = InventoryDigest::of(&machine.inventory());
        }
    }),
    ("a disk that can be taken out", |case, _| case.disk().removable = true),
];

#[test]
fn ten_thousand_orders_that_do_not_fit_are_refused_and_those_that_fit_are_not() {
    let rounds = CASES.div_ceil(MISMATCHES.len());
    thread::scope(|scope| {
        for first in 0..THREADS {
            scope.spawn(move || (first..rounds).step_by(THREADS).for_each(round));
        }
    });
}

/// Makes one machine and an order for it, which is permitted, and tries each mismatch on them.
fn round(number: usize) {
    let mut dice = Dice(u64::try_from(number).unwrap() << 32);
    let honest = Case::honest(&mut dice);
    let machine = Simulated::new(&honest.spec);
    let permits = honest.check(&machine).expect("an honest order is permitted");
    let [permit] = permits.as_slice() else { panic!("{number}: {} permits", permits.len()) };
    assert_eq!(*permit.disk(), honest.order.disks[0]);
    assert_eq!(permit.name(), honest.spec.names()[honest.target]);
    drop(permits);
    for (name, change) in MISMATCHES {
        let mut case = honest.clone();
        change(&mut case, &mut dice);
        let changed = (case.spec != honest.spec).then(|| Simulated::new(&case.spec));
        if let Ok(permits) = case.check(changed.as_ref().unwrap_or(&machine)) {
            panic!("round {number}, {name}: {permits:?}");
        }
    }
}
