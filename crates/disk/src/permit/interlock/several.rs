//! What may not fit with one of several disks of an order, field by field and disk by disk.

use super::*;

/// Makes an order for the target and another disk, and returns that one's number among the machine's.
fn two(case: &mut Case, dice: &mut Dice) -> usize {
    let other = case.other(dice);
    case.order = Simulated::new(&case.spec).order(&[case.target, other], true);
    other
}

/// Changes one letter or digit of a name.
fn change(name: &mut Option<String>, dice: &mut Dice) -> bool {
    let Some(text) = name.as_mut().filter(|text| !text.is_empty()) else { return false };
    let place = dice.below(text.len());
    let new = if &text[place..=place] == "7" { "8" } else { "7" };
    text.replace_range(place..=place, new);
    true
}

pub(super) const MISMATCHES: &[(&str, Mismatch)] = &[
    ("one field of one of the ordered disks is another", |case, dice| {
        if dice.below(2) == 0 {
            two(case, dice);
        }
        let disk = dice.below(case.order.disks.len());
        let identity = &mut case.order.disks[disk].identity;
        // As long as one is chosen that this disk has.
        while !match dice.below(7) {
            0 => change(&mut identity.model, dice),
            1 => change(&mut identity.serial, dice),
            2 => change(&mut identity.wwn, dice),
            3 => change(&mut identity.eui64, dice),
            4 => change(&mut identity.nguid, dice),
            5 => {
                identity.size_bytes.0 ^= 512 << dice.below(12);
                true
            }
            _ => {
                identity.logical_sector_bytes = Some(dice.of(&[520, 1024, 8192]));
                true
            }
        } {}
    }),
    ("one field of an ordered disk is missing in the order, or too many", |case, dice| {
        let mut identity = case.order.disks[0].identity.clone();
        let before = identity.clone();
        while identity == before {
            match dice.below(6) {
                0 => identity.model = None,
                1 => identity.serial = None,
                2 => identity.wwn = None,
                3 => identity.eui64 = None,
                4 => identity.logical_sector_bytes = None,
                _ => {
                    let made_up = format!("5000c500{:08x}", dice.below(1 << 30));
                    identity.wwn.get_or_insert(made_up);
                    identity.eui64.get_or_insert_with(|| "0025385b71b0c8e1".to_owned());
                }
            }
        }
        case.order.disks[0].identity = identity;
    }),
    ("the other ordered disk was exchanged", |case, dice| {
        let other = two(case, dice);
        let disk = &mut case.spec.disks[other];
        match dice.below(4) {
            0 => drop(change(&mut disk.serial, dice)),
            1 => disk.sectors += 8,
            2 => disk.sector_bytes = 1024,
            _ => drop(case.spec.disks.remove(other)),
        }
    }),
    ("the other ordered disk stands in the way by itself", |case, dice| {
        let other = two(case, dice);
        let disk = &mut case.spec.disks[other];
        match dice.below(5) {
            0 => disk.holder = Some("md127"),
            1 => disk.keys = 1,
            2 => disk.before = Some(Access::ReadOnly),
            3 => disk.content = vec![(0, b"bluestore block device".to_vec())],
            _ => disk.removable = true,
        }
    }),
    ("the other ordered disk has data that may not go", |case, dice| {
        let other = two(case, dice);
        case.order.disks[1].overwrite = false;
        if let Some(terms) = &mut case.wipe {
            terms.level = dice.of(DESTROYING);
        }
        case.spec.disks[other].content = vec![(512, vec![1])];
    }),
    ("one thing that the machine is known by is another, or not said", |case, dice| {
        let evidence = &mut case.order.machine;
        let before = evidence.clone();
        while *evidence == before {
            match dice.below(8) {
                0 => drop(change(&mut evidence.uuid, dice)),
                1 => drop(change(&mut evidence.system_serial, dice)),
                2 => drop(change(&mut evidence.board_serial, dice)),
                3 => evidence.uuid = None,
                4 => evidence.system_serial = None,
                5 => evidence.board_serial = None,
                6 => evidence.ports.clear(),
                _ => evidence.ports.push("52:54:00:ab:cd:ef".parse().unwrap()),
            }
        }
    }),
];
