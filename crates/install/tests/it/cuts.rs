//! Power cuts at many points of an install: what was not flushed is lost, torn by sectors or reordered. The disk
//! then never starts half an image, nor an old table over new data, and the install goes on from there.
//!
//! `DRYDOCK_POWER_CUTS` says how many points; `make soak` sets it to 1,000.

use install::{Options, Source};

use crate::{
    medium::{ByItself, Chance, Done, Faults, Memory, after_cut},
    order::{CHUNK, MIB, options, put},
    source::Image,
    table,
};

const DISK: usize = 3 * MIB;
const SECTOR: usize = 512;
const USUAL_POINTS: usize = 60;

fn points() -> usize {
    let told = std::env::var("DRYDOCK_POWER_CUTS").ok();
    told.map_or(USUAL_POINTS, |text| text.parse().expect("a number of points"))
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// What a disk may look like until its ends are zeros for sure: as before, or losing its ends.
fn assert_old(bytes: &[u8], before: &[u8], at: &str) {
    let first_end = usize::try_from(CHUNK).expect("small");
    for (index, (found, old)) in bytes.chunks(SECTOR).zip(before.chunks(SECTOR)).enumerate() {
        let offset = index * SECTOR;
        let is_end = offset < first_end || offset >= bytes.len() - MIB;
        assert!(found == old || is_end && is_zero(found), "{at}: something new in sector {index}");
    }
}

/// What a disk may look like from then on.
pub(crate) fn assert_new(bytes: &[u8], image: &Image, at: &str) {
    let length = image.bytes.len();
    let last = bytes.len() / SECTOR - 1;
    if !is_zero(&bytes[..SECTOR]) {
        assert!(bytes[..length] == image.bytes, "{at}: the first sector before the rest");
    }
    let has_table = [1, last].iter().any(|sector| table::read(bytes, SECTOR, *sector).is_some());
    let differing = bytes.chunks(SECTOR).zip(image.bytes.chunks(SECTOR)).enumerate();
    for (index, (found, expected)) in differing.filter(|_| has_table) {
        let is_key = [0, 1, last].contains(&index);
        assert!(is_key || found == expected, "{at}: a table before sector {index}");
    }
}

/// What a disk may look like after a cut of an install that did those things.
fn assert_safe(bytes: &[u8], before: &[u8], image: &Image, log: &[Done], until: usize) {
    let at = format!("cut after {until} of {}", log.len());
    if log[..until].iter().any(|done| matches!(done, Done::Flush)) {
        assert_new(bytes, image, &at);
    } else {
        assert_old(bytes, before, &at);
    }
}

/// Cuts an install at some points, goes on, cuts that too, goes on again.
fn check(before: &[u8], image: &Image, by_itself: ByItself, points: usize, seed: u64) {
    let source = image.source();
    let faults = Faults { by_itself, ..Faults::default() };
    let sources: &[&dyn Source] = &[&source];
    let run = |disk: &[u8], seed: u64| {
        let medium = Memory::with_faults(disk.to_vec(), 512, faults.clone()).logged();
        put(&medium, image, sources, &Options { seed, ..options() }).expect("it ends well");
        medium
    };
    let medium = run(before, 1);
    assert!(medium.bytes()[..image.bytes.len()] == image.bytes);
    let log = medium.log();
    let mut chance = Chance(seed);
    for point in 0..points {
        // The ends of the log are where everything is decided: every one of their points, and others by chance.
        let until = match point {
            near if near < 12 => near.min(log.len()),
            far if far < 30 => log.len().saturating_sub(far - 12),
            _ => chance.below(log.len() + 1),
        };
        let bytes = after_cut(before, &log, until, SECTOR, &mut chance);
        assert_safe(&bytes, before, image, &log, until);
        let second = run(&bytes, chance.next());
        assert!(second.bytes()[..image.bytes.len()] == image.bytes, "after {until}");
        let again = second.log();
        let until = chance.below(again.len() + 1);
        let twice = after_cut(&bytes, &again, until, SECTOR, &mut chance);
        assert_safe(&twice, &bytes, image, &again, until);
        let last = run(&twice, chance.next());
        assert!(last.bytes()[..image.bytes.len()] == image.bytes);
    }
}

fn old_disk() -> Vec<u8> {
    let mut old = Chance(70).bytes(DISK);
    table::make(&mut old, SECTOR, &[(2048, 4096)]);
    old
}

#[test]
fn an_image_shorter_than_the_disk_over_an_old_system() {
    let image = Image::by_chance(MIB + 512, CHUNK, 71);
    check(&old_disk(), &image, ByItself::Zeroes, points() / 2, 72);
}

#[test]
fn an_image_as_long_as_the_disk_over_an_old_system() {
    let image = Image::by_chance(DISK, CHUNK, 73);
    check(&old_disk(), &image, ByItself::Refuses, points() / 2, 74);
}

#[test]
fn an_image_over_itself() {
    let image = Image::by_chance(DISK - 100 * SECTOR, CHUNK, 75);
    let mut before = image.bytes.clone();
    before.resize(DISK, 0xff);
    check(&before, &image, ByItself::Zeroes, points() / 6, 76);
}

/// The rule itself sees what it should see.
#[test]
fn the_rule_catches_half_an_image() {
    let image = Image::by_chance(2 * MIB, CHUNK, 77);
    let caught = |spoil: &dyn Fn(&mut Vec<u8>)| {
        let mut disk = image.bytes.clone();
        disk.resize(DISK, 0);
        spoil(&mut disk);
        std::panic::catch_unwind(|| assert_new(&disk, &image, "spoilt")).is_err()
    };
    assert!(!caught(&|_| {}));
    assert!(!caught(&|disk| disk[..SECTOR].fill(0)), "all but the first sector");
    assert!(!caught(&|disk| disk[..MIB].fill(0)), "no start at all");
    assert!(caught(&|disk| disk[MIB] ^= 1), "a wrong byte under a whole start");
    assert!(caught(&|disk| {
        disk[MIB] ^= 1;
        disk[..SECTOR].fill(0);
    }));
}
