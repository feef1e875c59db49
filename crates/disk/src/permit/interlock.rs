//! Thousands of orders that do not fit the machine, made up at random: none of them is permitted.

mod several;

use std::thread;

use linux::block::Access;
use protocol::{
    Bytes, InventoryDigest,
    wipe::{
        Despite, Extra, Obstacle, PowerLevel, Seed, Wipe, WipeFinish, WipeOptions, WipeStep,
        WipeStepKind,
    },
};

use super::{
    simulation::{Bus, DiskSpec, Simulated, Spec, Trick},
    *,
};

/// How many mismatches are tried at least, on several threads.
const CASES: usize = 10_000;
const THREADS: usize = 2;

/// How many of wipes, unless `DRYDOCK_MISMATCHES` says so: `make soak` does.
const WIPES: usize = 800;

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
    /// What makes it an order to wipe; `None` is one to write an image.
    wipe: Option<Terms>,
}

/// What a wipe has beside its order.
#[derive(Clone)]
struct Terms {
    level: PowerLevel,
    despite: Vec<Despite>,
    missing: Vec<DiskIdentity>,
    extras: Vec<Extra>,
    journal: Vec<WipeStep>,
}

impl Case {
    /// Makes a machine at random, and an honest order to wipe one or two of its disks.
    fn honest_wipe(dice: &mut Dice) -> Self {
        let mut case = Self::honest(dice);
        let level = dice.of(&[
            PowerLevel::Idle,
            PowerLevel::Harbour,
            PowerLevel::Working,
            PowerLevel::Full,
            PowerLevel::Redline,
        ]);
        let mut disks = vec![case.target];
        if dice.below(2) == 0 {
            disks.push(case.other(dice));
        }
        case.order = Simulated::new(&case.spec).order(&disks, true);
        // What has nothing to do with it: a disk that is long gone, something about another one, a pstore.
        let dead =
            DiskIdentity { serial: Some("LONGGONE17".to_owned()), ..DiskIdentity::default() };
        let obstacle = dice.of(OBSTACLES);
        let despite = vec![Despite { disk: "LONGGONE17".to_owned(), obstacle }];
        let (extras, journal) = (vec![Extra::Pstore], Vec::new());
        case.wipe = Some(Terms { level, despite, missing: vec![dead], extras, journal });
        case
    }

    fn terms(&mut self) -> &mut Terms {
        self.wipe.as_mut().expect("it is one of wipes only")
    }

    /// Raises a level that only looks to one that destroys something.
    fn destroys(&mut self, dice: &mut Dice) {
        if self.terms().level == PowerLevel::Idle {
            self.terms().level = dice.of(DESTROYING);
        }
    }

    /// Makes the order again, for the target alone, from the machine as it is described by now.
    fn reorder(&mut self) {
        self.order = Simulated::new(&self.spec).order(&[self.target], true);
    }

    /// Notes that an earlier boot has begun with the target, which comes first in its order.
    fn begun(&mut self) {
        let step = WipeStep { disk: 0, kind: WipeStepKind::Canaries {} };
        self.terms().journal.push(step);
    }

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
        Self {
            order,
            spec,
            target,
            now: 1000,
            clock: Clock::SetByServer,
            is_used: false,
            wipe: None,
        }
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
        let permits = match &self.wipe {
            None => check_on(&machine.machine(), &self.order, &circumstances),
            Some(terms) => {
                let Terms { level, despite, missing, extras, journal } = terms.clone();
                let options = WipeOptions { despite, ..WipeOptions::default() };
                let (seed, finish) = (Seed([7; 32]), WipeFinish::Stay);
                let order = self.order.clone();
                let wipe = Wipe { order, level, options, seed, missing, extras, journal, finish };
                let cleared = wiping::check_wipe_on(&machine.machine(), &wipe, &circumstances);
                // Who only looks is shown the disks that fit; the one that does not is refused all the same.
                cleared.and_then(|cleared| match cleared.refused.into_iter().next() {
                    Some((_, refusal)) => Err(refusal),
                    None => Ok(cleared.permits),
                })
            }
        };
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
        if let Some(terms) = &mut case.wipe {
            terms.level = dice.of(DESTROYING);
        }
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

const OBSTACLES: &[Obstacle] = &[
    Obstacle::BootMedium,
    Obstacle::SharedStorage,
    Obstacle::Reservations,
    Obstacle::Network,
    Obstacle::Multipath,
    Obstacle::Removable,
];

const DESTROYING: &[PowerLevel] = &[PowerLevel::Working, PowerLevel::Full, PowerLevel::Redline];

/// What may not fit with a wipe only.
const WIPE_MISMATCHES: &[(&str, Mismatch)] = &[
    ("the device would erase another disk along with it", |case, dice| {
        case.disk().bus = dice.of(&[Bus::Nvme, Bus::Sas]);
        let sibling = DiskSpec { sibling: true, ..DiskSpec::new(case.disk().bus, 77) };
        case.spec.disks.insert(case.target + 1, sibling);
        case.target += dice.below(2);
        case.reorder();
        case.terms().level = PowerLevel::Redline;
    }),
    ("another part of an array is kept", |case, dice| {
        let mut member = vec![0; 256];
        member[..4].copy_from_slice(&0xa92b_4efc_u32.to_le_bytes());
        (member[4], member[144]) = (1, 8);
        let other = case.other(dice);
        case.spec.disks[other].content = vec![(4096, member.clone())];
        case.disk().content = vec![(4096, member)];
        case.reorder();
        case.destroys(dice);
    }),
    ("a disk is kept whose key goes with the TPM", |case, dice| {
        let other = case.other(dice);
        let luks = [b"LUKS\xba\xbe\x00\x02".as_slice(), &[0; 300]].concat();
        case.spec.disks[other].content = vec![(0, luks)];
        case.reorder();
        case.terms().extras.push(Extra::Tpm);
        case.destroys(dice);
    }),
    ("a disk is missing that is to be wiped", |case, _| {
        let identity = case.order.disks[0].identity.clone();
        case.terms().missing.push(identity);
    }),
    ("something was named of another disk, or something else of this one", |case, dice| {
        case.disk().content = vec![(0, b"bluestore block device".to_vec())];
        let other = case.other(dice);
        let disk = if dice.below(2) == 0 {
            case.terms().despite[0].obstacle = Obstacle::SharedStorage;
            case.spec.disks[other].serial.clone()
        } else {
            case.terms().despite[0].obstacle =
                dice.of(&[Obstacle::BootMedium, Obstacle::Removable]);
            case.disk().serial.clone()
        };
        case.terms().despite[0].disk = disk.unwrap();
    }),
    ("an earlier boot began with another disk than the one with something on it", |case, _| {
        case.reorder();
        case.begun();
        case.terms().journal[0].disk = 1;
        case.disk().keys = 1;
    }),
    ("an earlier boot began long ago", |case, _| {
        case.begun();
        case.now = case.order.deadline_unix_milliseconds + 14 * 24 * 3_600_000;
    }),
    ("an earlier boot began with it, and it was exchanged since", |case, dice| {
        case.begun();
        match dice.below(4) {
            0 => case.disk().sectors += 8,
            1 => case.disk().serial.as_mut().unwrap().push('1'),
            2 => case.spec.uuid = None,
            _ => case.disk().sector_bytes = 1024,
        }
    }),
    ("an earlier boot began with it, and somebody uses it", |case, _| {
        case.begun();
        case.disk().holder = Some("md0");
    }),
    ("another disk is missing than the one that was called so", |case, dice| {
        let other = case.other(dice);
        let mut identity =
            Simulated::new(&case.spec).order(&[other], true).disks[0].identity.clone();
        identity.size_bytes = Bytes(identity.size_bytes.0 + 512);
        case.terms().missing = vec![identity];
        case.spec.disks.remove(other);
    }),
];

#[test]
fn ten_thousand_orders_that_do_not_fit_are_refused_and_those_that_fit_are_not() {
    try_all(CASES, Case::honest, &[MISMATCHES, several::MISMATCHES]);
}

#[test]
fn wipes_that_do_not_fit_are_refused_and_those_that_fit_are_not() {
    let asked = std::env::var("DRYDOCK_MISMATCHES").ok();
    let cases = asked.map_or(WIPES, |text| text.parse().expect("a number of mismatches"));
    try_all(cases, Case::honest_wipe, &[MISMATCHES, several::MISMATCHES, WIPE_MISMATCHES]);
}

fn try_all(cases: usize, honest: fn(&mut Dice) -> Case, mismatches: &[&[(&str, Mismatch)]]) {
    let each: usize = mismatches.iter().map(|some| some.len()).sum();
    let rounds = cases.div_ceil(each);
    thread::scope(|scope| {
        for first in 0..THREADS {
            scope.spawn(move || {
                (first..rounds)
                    .step_by(THREADS)
                    .for_each(|number| round(number, honest, mismatches));
            });
        }
    });
}

/// Makes one machine and an order for it, which is permitted, and tries each mismatch on them.
fn round(number: usize, honest: fn(&mut Dice) -> Case, mismatches: &[&[(&str, Mismatch)]]) {
    let mut dice = Dice(u64::try_from(number).unwrap() << 32);
    let honest = honest(&mut dice);
    let machine = Simulated::new(&honest.spec);
    let permits = honest.check(&machine).expect("an honest order is permitted");
    assert_eq!(permits.len(), honest.order.disks.len());
    assert_eq!(*permits[0].disk(), honest.order.disks[0]);
    assert_eq!(permits[0].name(), honest.spec.names()[honest.target]);
    drop(permits);
    for (name, change) in mismatches.iter().copied().flatten() {
        let mut case = honest.clone();
        change(&mut case, &mut dice);
        let changed = (case.spec != honest.spec).then(|| Simulated::new(&case.spec));
        if let Ok(permits) = case.check(changed.as_ref().unwrap_or(&machine)) {
            panic!("round {number}, {name}: {permits:?}");
        }
    }
}
