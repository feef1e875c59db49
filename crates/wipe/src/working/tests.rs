//! Disks with everything on them, wiped, cut off, and wiped again.

mod contents;
mod disk;
mod labels;
mod tables;

use proptest::prelude::*;

pub(super) use self::disk::Disk;
use self::{
    contents::{Content, INNER},
    disk::Chance,
    tables::Table,
};
use super::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Says what of the planted is still there.
fn remaining(disk: &Disk) -> Vec<String> {
    let still = disk
        .planted()
        .into_iter()
        .filter(|(offset, bytes, _)| disk.get(*offset, bytes.len()) == *bytes);
    still.map(|(offset, _, name)| format!("{name}@{offset}")).collect()
}

/// Wipes a disk and checks all that a wipe promises.
fn wipe(disk: &Disk) -> Places {
    let places = plan(disk).unwrap();
    assert!(
        places.places.len() <= signature::survey::PLACE_LIMIT + 4 * signature::survey::AREA_LIMIT
    );
    let outside: Vec<(u64, u8)> = disk
        .marks()
        .into_iter()
        // One that an earlier run was there to clear may be gone.
        .filter(|(offset, byte)| disk.get(*offset, 1) == [*byte])
        .filter(|(offset, _)| {
            places
                .places
                .iter()
                .all(|place| !(place.start..place.start + place.length).contains(offset))
        })
        .collect();
    let cleared = clear(disk, &places, disk);
    assert_eq!((cleared.stopped, cleared.is_gone, cleared.bad), (None, false, vec![]));
    for range in places.ranges() {
        assert!(disk.is_zero(range.clone()), "{range:?} was named");
    }
    let sector = u64::from(disk::SECTOR);
    for (offset, byte) in outside {
        let near = places.places.iter().any(|place| {
            let start = place.start - place.start % sector;
            (start..(place.start + place.length).next_multiple_of(sector)).contains(&offset)
        });
        assert!(near || disk.get(offset, 1) == [byte], "{offset} is in no place, and was changed");
    }
    let left = probe(disk, &places);
    assert!(left.is_nothing(), "{left:?}");
    places
}

fn check(disk: &Disk) {
    wipe(disk);
    assert_eq!(remaining(disk), Vec::<String>::new());
    let again = plan(disk).unwrap();
    assert_eq!(again.areas.len(), 1, "a second run finds nothing: {:?}", again.areas);
    assert!(probe(disk, &again).is_nothing());
}

#[test]
fn everything_is_cleared_on_a_whole_disk() {
    for content in Content::all() {
        let disk = Disk::new(2000 * GIB);
        content.write(&disk, 0, 2000 * GIB);
        assert!(!remaining(&disk).is_empty(), "{content:?}");
        let found = probe(&disk, &plan(&disk).unwrap()).found;
        assert!(!found.is_empty(), "nothing is recognised of {content:?}");
        check(&disk);
    }
}

#[test]
fn everything_is_cleared_in_partitions_of_every_table() {
    for (index, content) in Content::all().into_iter().enumerate() {
        // Those of one magic are in one table each.
        let tables =
            if matches!(content, Content::Magic(..)) { index % 5..index % 5 + 1 } else { 0..5 };
        for table in &Table::ALL[tables] {
            let disk = Disk::new(60 * GIB + 512 * 77);
            let neighbour = Content::all()[(index * 7 + 3) % Content::all().len()];
            let partitions = table.write(&disk, &[20 * GIB, 3 * GIB, 300 * MIB]);
            for (content, (start, length)) in
                [content, neighbour, Content::Swap].iter().zip(&partitions)
            {
                content.write(&disk, *start, *length);
            }
            check(&disk);
        }
    }
}

#[test]
fn what_lies_in_volumes_is_cleared_too() {
    for outer in [Content::Md12, Content::Md10, Content::Md090, Content::Lvm, Content::Bcache] {
        for inner in INNER {
            let disk = Disk::new(30 * GIB);
            let partitions = Table::Gpt.write(&disk, &[12 * GIB, 12 * GIB]);
            for (start, length) in partitions {
                let (at, size) = outer.write(&disk, start, length).unwrap();
                inner.write(&disk, start + at, size);
            }
            check(&disk);
        }
    }
}

#[test]
fn a_lost_table_whose_backup_remains_is_used() {
    let disk = Disk::new(40 * GIB);
    let partitions = Table::Gpt.write(&disk, &[20 * GIB, 10 * GIB]);
    for (start, length) in partitions {
        Content::Ext4.write(&disk, start, length);
    }
    disk.erase(0, MIB);
    let places = wipe(&disk);
    assert_eq!(places.areas.len(), 3);
    assert_eq!(remaining(&disk), Vec::<String>::new());
}

#[test]
fn a_filesystem_whose_start_was_lost_is_known_by_its_copies() {
    for content in [Content::Ext4, Content::ExtSmall, Content::Xfs] {
        let disk = Disk::new(20 * GIB);
        content.write(&disk, 0, 20 * GIB);
        disk.erase(0, MIB);
        check(&disk);
    }
}

#[test]
fn a_disk_that_zeroes_by_itself_is_cleared_further_in() {
    for is_zeroing in [false, true] {
        let disk = Disk::new(10 * GIB).zeroing(is_zeroing);
        let places = plan(&disk).unwrap();
        let cleared = clear(&disk, &places, &disk);
        // Btrfs' copy at 64 MiB, Ceph's at 1 GiB and two of OCFS2's stand outside.
        let copies = 4096 + (64 << 10) + 4096;
        let expected =
            if is_zeroing { 2 * END_ZEROED } else { START_WRITTEN + END_WRITTEN } + copies;
        assert_eq!(cleared.bytes, expected);
        assert_eq!(cleared.zeroed_by_device, if is_zeroing { expected } else { 0 });
    }
}

#[test]
fn around_bad_places_the_rest_is_cleared() {
    let mut disk = Disk::new(GIB);
    disk.bad = 5 * MIB + 512..5 * MIB + 1024;
    Content::Ext4.write(&disk, 0, GIB);
    let places = plan(&disk).unwrap();
    let cleared = clear(&disk, &places, &disk);
    let bad = Bad { start: 5 * MIB, length: 4096, reason: BadReason::Unwritable };
    assert_eq!((cleared.bad, cleared.stopped), (vec![bad], None));
    assert!(probe(&disk, &places).is_nothing() || disk.bad.start < 256 << 10);
    assert_eq!(remaining(&disk), Vec::<String>::new());
}

#[test]
fn a_disk_that_lies_is_found_out() {
    let mut disk = Disk::new(GIB);
    Content::Xfs.write(&disk, 0, GIB);
    disk.forgets = 0..512;
    let places = plan(&disk).unwrap();
    let cleared = clear(&disk, &places, &disk);
    assert_eq!(cleared.bad, [Bad { start: 0, length: 4096, reason: BadReason::NotZero }]);
    let left = probe(&disk, &places);
    assert_eq!(left.found.iter().map(|found| found.signature.kind).collect::<Vec<_>>(), ["xfs"]);
}

#[test]
fn a_disk_without_bytes_is_no_disk() {
    assert_eq!(plan(&Disk::new(0)).unwrap_err(), PlanError::Empty);
    assert!(matches!(plan(&Disk::new(1000)), Err(PlanError::Sectors { .. })));
}

#[test]
fn small_disks_are_cleared_whole() {
    for size in [512, 4096, 65_536, MIB, 3 * MIB + 512, 20 * MIB] {
        let disk = Disk::new(size);
        for offset in (0..size).step_by(509) {
            disk.mark(offset, 7);
        }
        let cleared = clear(&disk, &plan(&disk).unwrap(), &disk);
        assert_eq!((cleared.ranges.len(), cleared.bytes), (1, size));
        assert!(disk.is_zero(0..size));
    }
}

/// A table that begins the first of its own partitions, as on images for optical disks; volumes in the second.
fn overlapping() -> Disk {
    let disk = Disk::new(GIB).zeroing(true);
    Table::Mbr.write_at(&disk, &[(0, 900 * MIB), (700 * MIB, 40 * MIB), (800 * MIB, 200 * MIB)]);
    let (at, size) = Content::Lvm.write(&disk, 800 * MIB, 200 * MIB).unwrap();
    Content::Ntfs.write(&disk, 800 * MIB + at, size);
    Content::Ext4.write(&disk, 700 * MIB, 40 * MIB);
    disk
}

/// Volumes in volumes behind a table.
fn nested() -> Disk {
    let disk = Disk::new(9 * GIB).zeroing(true);
    let (start, length) = Table::GrownGpt.write(&disk, &[2 * MIB, 8 * GIB])[1];
    let (at, size) = Content::Md12.write(&disk, start, length).unwrap();
    let (inner, size) = Content::Lvm.write(&disk, start + at, size).unwrap();
    Content::Xfs.write(&disk, start + at + inner, size);
    disk
}

/// Of what leads, too, any part may be on the medium when the power goes.
#[test]
fn a_power_cut_at_any_change_leaves_a_trail() {
    for build in [overlapping, nested] {
        let disk = build();
        disk.cut_after(usize::MAX);
        let areas = wipe(&disk).areas;
        let operations = disk.operations();
        assert!(operations > 20, "{operations}");
        for (cut, seed) in (0..operations).flat_map(|cut| [(cut, 1), (cut, 77)]) {
            let disk = build();
            disk.cut_after(cut);
            clear(&disk, &plan(&disk).unwrap(), &disk);
            disk.power_on(Chance(seed));
            wipe(&disk);
            assert_eq!(remaining(&disk), Vec::<String>::new(), "{cut} of {operations}, {seed}");
            let mut places = plan(&disk).unwrap();
            places.areas.clone_from(&areas);
            assert!(probe(&disk, &places).is_nothing(), "{cut} of {operations}, {seed}");
        }
    }
}

prop_compose! {
    /// A disk with a table, partitions, and volumes in them.
    fn any_disk()(
        table in 0..Table::ALL.len(),
        parts in prop::collection::vec((1_u64..40_000, 0..Content::all().len(), 0..INNER.len()), 0..6),
        marks in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 0..40),
        is_zeroing: bool,
    ) -> Disk {
        let sizes: Vec<u64> = parts.iter().map(|(mib, ..)| mib * MIB).collect();
        let size = sizes.iter().sum::<u64>() + 200 * MIB;
        let disk = Disk::new(size).zeroing(is_zeroing);
        let places = Table::ALL[table].write(&disk, &sizes);
        for ((_, content, inner), (start, length)) in parts.iter().zip(places) {
            if let Some((at, size)) = Content::all()[*content].write(&disk, start, length) {
                INNER[*inner].write(&disk, start + at, size);
            }
        }
        for (place, byte) in marks {
            let offset = place.index(usize::try_from(size).unwrap());
            disk.mark_free(u64::try_from(offset).unwrap(), byte);
        }
        disk
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_on_a_disk_is_gone_and_nothing_else(disk in any_disk()) {
        check(&disk);
    }

    /// The disk keeps any of what was written since it last said that all is on the medium.
    #[test]
    fn a_run_after_a_power_cut_clears_what_the_first_did_not(
        disk in any_disk(),
        cuts in prop::collection::vec((0_usize..400, any::<u64>()), 1..4),
    ) {
        let areas = plan(&disk).unwrap().areas;
        for (operations, seed) in cuts {
            disk.cut_after(operations);
            let places = plan(&disk).unwrap();
            clear(&disk, &places, &disk);
            disk.power_on(Chance(seed));
        }
        wipe(&disk);
        prop_assert_eq!(remaining(&disk), Vec::<String>::new());
        let mut places = plan(&disk).unwrap();
        places.areas = areas;
        let left = probe(&disk, &places);
        prop_assert!(left.is_nothing(), "{:?}", left);
    }

    /// Bytes anywhere in what leads: numbers that are too large, chains that are circles.
    #[test]
    fn hostile_disks_are_bounded_and_no_panic(
        disk in any_disk(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<[u8; 8]>()), 1..60),
    ) {
        let planted = disk.planted();
        for (place, bytes) in changes {
            if !planted.is_empty() {
                let (offset, _, _) = planted[place.index(planted.len())];
                disk.put(offset + u64::from(bytes[0]) * 2, &bytes[1..]);
            }
        }
        wipe(&disk);
    }
}
