//! The steps after the image.

use std::io::Read as _;

use install::{StepFailure, apply, disarm, finish};
use protocol::install::{Secret, Step};

use crate::{
    medium::{Chance, Faults, Memory, after_cut},
    table::{self, both, make},
};

const MIB: usize = 1 << 20;
const DISK: usize = 8 * MIB;
const SECTOR_SIZES: [u32; 2] = [512, 4096];

/// An image of 4 MiB with two partitions at the start of a disk of 8 MiB full of old bytes.
fn disk(sector: usize) -> Vec<u8> {
    let mut image = Chance(5).bytes(4 * MIB);
    let at = |mib: usize| u64::try_from(mib * MIB / sector).expect("small");
    make(&mut image, sector, &[(at(1), at(2) - 1), (at(2), at(3) - 1)]);
    image.resize(DISK, 0xff);
    image
}

fn random() -> impl FnMut() -> [u8; 16] {
    let mut chance = Chance(2026);
    move || chance.bytes(16).try_into().expect("16 bytes")
}

fn seed() -> Step {
    Step::Seed {
        meta_data: Secret("instance-id: one\nlocal-hostname: bär\n".to_owned()),
        user_data: Secret(format!("#cloud-config\n{}", "# long\n".repeat(30_000))),
        network_config: Some(Secret("version: 2\n".to_owned())),
        vendor_data: None,
    }
}

fn all() -> Vec<Step> {
    vec![
        Step::MoveBackupGpt {},
        Step::RenewGuids {},
        Step::GrowLastPartition {},
        seed(),
        Step::BootEntry { label: "Debian".to_owned() },
    ]
}

fn length(sector_bytes: u32) -> usize {
    usize::try_from(sector_bytes).expect("small")
}

#[test]
fn the_backup_moves_to_the_real_end_and_nothing_else_changes() {
    for sector_bytes in SECTOR_SIZES {
        let sector = length(sector_bytes);
        let before = disk(sector);
        let medium = Memory::new(before.clone(), sector_bytes);
        apply(&medium, &Step::MoveBackupGpt {}, &[], &mut random()).unwrap();
        let after = medium.bytes();
        let table = both(&after, sector);
        let old = table::read(&before, sector, 1).unwrap();
        assert_eq!((&table.entries, &table.disk_guid), (&old.entries, &old.disk_guid));
        let last = DISK / sector - 1;
        let entry_sectors = (128 * 128_usize).div_ceil(sector);
        assert_eq!(table.last_usable, u64::try_from(last - entry_sectors - 1).unwrap());
        assert_eq!(after[458..462], u32::try_from(last).unwrap().to_le_bytes());
        assert_eq!(
            table::read(&after, sector, 4 * MIB / sector - 1),
            None,
            "the stray one is gone"
        );
        let (from, to) = (MIB, 4 * MIB - (entry_sectors + 1) * sector);
        assert!(after[from..to] == before[from..to], "partitions keep their content");
        assert!(after[4 * MIB..DISK - 64 * 1024] == before[4 * MIB..DISK - 64 * 1024]);
    }
}

#[test]
fn all_guids_are_new_and_of_the_random_kind() {
    let before = disk(512);
    let medium = Memory::new(before.clone(), 512);
    apply(&medium, &Step::RenewGuids {}, &[], &mut random()).unwrap();
    let (old, new) = (table::read(&before, 512, 1).unwrap(), both(&medium.bytes(), 512));
    assert_ne!(old.disk_guid, new.disk_guid);
    let mut guids = vec![new.disk_guid.clone()];
    for (old, new) in old.entries.iter().zip(&new.entries) {
        assert_ne!(old.guid, new.guid);
        assert_eq!((&old.kind, old.first, old.last), (&new.kind, new.first, new.last));
        guids.push(new.guid.clone());
    }
    assert!(guids.iter().all(|guid| guid[7] >> 4 == 4 && guid[8] >> 6 == 2), "{guids:x?}");
    guids.sort();
    guids.dedup();
    assert_eq!(guids.len(), 3);
}

#[test]
fn the_last_partition_grows_to_the_last_whole_mib() {
    for sector_bytes in SECTOR_SIZES {
        let sector = length(sector_bytes);
        let medium = Memory::new(disk(sector), sector_bytes);
        apply(&medium, &Step::GrowLastPartition {}, &[], &mut random()).unwrap();
        let table = both(&medium.bytes(), sector);
        let mib = |n: usize| u64::try_from(n * MIB / sector).unwrap();
        assert_eq!((table.entries[0].first, table.entries[0].last), (mib(1), mib(2) - 1));
        assert_eq!((table.entries[1].first, table.entries[1].last), (mib(2), mib(7) - 1));
    }
}

#[test]
fn all_steps_together_leave_a_disk_that_others_read() {
    for sector_bytes in SECTOR_SIZES {
        for grow_after_seed in [false, true] {
            let sector = length(sector_bytes);
            let medium = Memory::new(disk(sector), sector_bytes);
            let mut steps = all();
            if grow_after_seed {
                steps.swap(2, 3);
            }
            // Twice: a step that was done is done again without harm.
            finish(&medium, &steps, &mut random());
            let outcomes = finish(&medium, &steps, &mut random());
            let failed: Vec<_> = outcomes.iter().filter(|o| o.failure.is_some()).collect();
            assert_eq!(failed.len(), 1, "{failed:?}");
            assert_eq!(failed[0].step, "bootEntry");

            let bytes = medium.bytes();
            let table = both(&bytes, sector);
            let mib = |n: usize| u64::try_from(n * MIB / sector).unwrap();
            let [_, root, seed] = &table.entries[..] else { panic!("{table:?}") };
            assert_eq!((root.first, root.last), (mib(2), mib(6) - 1));
            assert_eq!((seed.first, seed.last), (mib(6), mib(7) - 1));

            let mut disk = std::io::Cursor::new(&bytes);
            let content = signature::probe(&mut disk, DISK as u64, sector_bytes);
            let found = &content.partitions[2].signatures;
            assert!(found.iter().any(|f| f.kind == "vfat" && f.label.as_deref() == Some("CIDATA")));
            let at = |partition: &table::Entry| {
                usize::try_from(partition.first).unwrap() * sector
                    ..usize::try_from(partition.last + 1).unwrap() * sector
            };
            let volume = std::io::Cursor::new(bytes[at(seed)].to_vec());
            let volume = fatfs::FileSystem::new(volume, fatfs::FsOptions::new()).unwrap();
            let label = volume.read_volume_label_from_root_dir().unwrap();
            assert_eq!(label.as_deref(), Some("CIDATA"));
            let names: Vec<_> =
                volume.root_dir().iter().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["meta-data", "user-data", "network-config"]);
        }
    }
}

#[test]
fn a_config_drive_takes_the_place_of_an_earlier_seed() {
    for sector_bytes in SECTOR_SIZES {
        let sector = length(sector_bytes);
        let medium = Memory::new(disk(sector), sector_bytes);
        let meta_data = Secret("{\"uuid\": \"one\"}\n".to_owned());
        let user_data = Some(Secret("#!/bin/sh\n".to_owned()));
        let drive =
            Step::ConfigDrive { meta_data, user_data, network_data: None, vendor_data: None };
        let steps = [seed(), Step::GrowLastPartition {}, drive];
        let outcomes = finish(&medium, &steps, &mut random());
        let failures: Vec<_> = outcomes.iter().filter_map(|step| step.failure.clone()).collect();
        assert_eq!(failures, Vec::<String>::new());
        assert_eq!(outcomes[2].step, "configDrive");

        let bytes = medium.bytes();
        let table = both(&bytes, sector);
        let [_, _, drive] = &table.entries[..] else { panic!("{table:?}") };
        let at = |position: u64| usize::try_from(position).expect("small") * sector;
        let volume = bytes[at(drive.first)..at(drive.last + 1)].to_vec();
        let mut found = std::io::Cursor::new(&volume);
        let content = signature::probe(&mut found, volume.len() as u64, sector_bytes);
        assert!(content.signatures.iter().any(|f| f.label.as_deref() == Some("config-2")));
        let volume = fatfs::FileSystem::new(std::io::Cursor::new(volume), fatfs::FsOptions::new());
        let volume = volume.unwrap();
        let latest = volume.root_dir().open_dir("openstack/latest").unwrap();
        let mut names: Vec<_> = latest.iter().map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name| !name.starts_with('.'));
        assert_eq!(names, ["meta_data.json", "user_data"]);
        let mut text = String::new();
        latest.open_file("user_data").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "#!/bin/sh\n");
    }
}

#[test]
fn a_disk_whose_steps_failed_starts_nothing_and_keeps_the_rest() {
    for sector_bytes in SECTOR_SIZES {
        let before = disk(length(sector_bytes));
        let medium = Memory::new(before.clone(), sector_bytes);
        disarm(&medium).unwrap();
        let after = medium.bytes();
        assert!(after[..4 * MIB].iter().all(|byte| *byte == 0));
        assert!(after[DISK - MIB..].iter().all(|byte| *byte == 0));
        assert!(after[4 * MIB..DISK - MIB] == before[4 * MIB..DISK - MIB]);
    }
}

#[test]
fn a_disk_without_a_table_or_without_room_says_so_and_stays() {
    let check = |bytes: Vec<u8>, step: &Step, expected: fn(&StepFailure) -> bool| {
        let medium = Memory::new(bytes.clone(), 512);
        let failure = apply(&medium, step, &[], &mut random()).unwrap_err();
        assert!(expected(&failure), "{failure:?}");
        assert!(medium.bytes() == bytes);
    };
    let no_table = |failure: &StepFailure| matches!(failure, StepFailure::NoTable);
    check(vec![0xff; 2 * MIB], &Step::MoveBackupGpt {}, no_table);
    check(vec![0; 512], &Step::RenewGuids {}, no_table);
    let mut full = Chance(5).bytes(4 * MIB);
    make(&mut full, 512, &[(2048, 8000)]);
    check(full.clone(), &seed(), |failure| matches!(failure, StepFailure::NoRoom));
    let mut empty = vec![0; 4 * MIB];
    make(&mut empty, 512, &[]);
    let grow = Step::GrowLastPartition {};
    check(empty, &grow, |failure| matches!(failure, StepFailure::NoPartition));
    let long = Step::Seed {
        meta_data: Secret(String::new()),
        user_data: Secret("x".repeat(5 * MIB)),
        network_config: None,
        vendor_data: None,
    };
    check(full, &long, |failure| matches!(failure, StepFailure::SeedTooLong { .. }));
}

#[test]
fn no_flipped_bit_in_both_tables_is_taken_for_a_table() {
    let sound = disk(512);
    for at in [512, 520, 530, 560, 590, 1024, 1030, 1024 + 200] {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        let medium = Memory::new(bytes, 512);
        // Only the primary is broken, and the backup is not where anybody would look for it.
        let failure = apply(&medium, &Step::MoveBackupGpt {}, &[], &mut random()).unwrap_err();
        assert!(matches!(failure, StepFailure::NoTable), "byte {at}: {failure:?}");
    }
}

#[test]
fn a_write_error_or_a_forgetful_disk_is_a_failed_step() {
    let last = DISK as u64 / 512 - 1;
    let unwritable = Faults { unwritable: [last].into(), ..Faults::default() };
    let forgetful = Faults { forgetful: [last].into(), ..Faults::default() };
    for faults in [unwritable, forgetful] {
        let medium = Memory::with_faults(disk(512), 512, faults);
        let outcome = finish(&medium, &[Step::MoveBackupGpt {}], &mut random());
        assert!(outcome[0].failure.is_some());
        assert!(table::read(&medium.bytes(), 512, 1).is_some(), "the primary was not touched");
    }
}

/// At every point, many times.
#[test]
fn after_a_power_cut_in_the_steps_one_table_is_sound_and_the_steps_can_be_repeated() {
    let before = disk(512);
    let medium = Memory::new(before.clone(), 512).logged();
    finish(&medium, &all(), &mut random());
    let log = medium.log();
    let mut chance = Chance(77);
    for until in 0..=log.len() {
        for _ in 0..3 {
            let bytes = after_cut(&before, &log, until, 512, &mut chance);
            let last = bytes.len() / 512 - 1;
            let sound = [1, last, 8191].map(|at| table::read(&bytes, 512, at));
            let table = sound.iter().flatten().next().unwrap_or_else(|| panic!("none at {until}"));
            assert_eq!(table.entries[0].first, 2048);
            assert!(bytes[MIB..3 * MIB] == before[MIB..3 * MIB], "partitions keep their content");
            let medium = Memory::new(bytes, 512);
            let outcomes = finish(&medium, &all()[..4], &mut random());
            assert!(outcomes.iter().all(|outcome| outcome.failure.is_none()), "{outcomes:?}");
            assert_eq!(both(&medium.bytes(), 512).entries.len(), 3);
        }
    }
}
