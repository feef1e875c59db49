//! What stands on the disk in the end, and that nothing is skipped.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use image::Chunk;
use install::{Compare, Failure, Options, ProvenZero, Source, Table, Unfit, Verify, install};
use protocol::{
    Bytes, OrderId,
    install::{Guarantee, InstallPhase, InstallReport, ReadBack},
};

use crate::{
    medium::{ByItself, Chance, Faults, Memory},
    source::{Fault, Image, wide},
    table,
};

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;
pub(crate) const CHUNK: u32 = 16 << 10;

pub(crate) fn options() -> Options<'static> {
    let mut options = Options::new(OrderId([7; 16]), 4711);
    options.patience.first_pause = std::time::Duration::from_millis(1);
    options.patience.longest_pause = std::time::Duration::from_millis(4);
    options.patience.attempts = 6;
    options
}

pub(crate) fn put(
    medium: &Memory,
    image: &Image,
    sources: &[&dyn Source],
    options: &Options<'_>,
) -> Result<InstallReport, Failure> {
    install(medium, &image.plan, sources, options, &|_| {})
}

/// The disk holds the image, zeros up to the end of its last sector, and what it held before behind that, but for
/// the end, where old tables are.
pub(crate) fn assert_holds(medium: &Memory, image: &Image, before: &[u8]) {
    let after = medium.bytes();
    let length = image.bytes.len();
    assert!(after[..length] == image.bytes, "the image is there");
    let padded = length.next_multiple_of(512).max(usize::try_from(CHUNK).expect("small"));
    assert!(after[length..padded.min(after.len())].iter().all(|byte| *byte == 0), "padding");
    let end = after.len().saturating_sub(MIB).max(padded);
    if padded < end {
        assert!(after[padded..end] == before[padded..end], "the rest stays");
    }
    if length <= after.len() - MIB {
        assert!(after[end..].iter().all(|byte| *byte == 0), "no old table at the end");
    }
}

#[test]
fn every_length_and_place_of_an_image_stands_there_byte_for_byte() {
    let disk = 4 * MIB;
    let lengths = [
        200 * KIB,
        200 * KIB + 1,
        MIB + 511,
        3 * MIB - 512,
        3 * MIB,
        3 * MIB + 512,
        disk - 512,
        disk - 1,
        disk,
    ];
    for length in lengths {
        for by_itself in [ByItself::Zeroes, ByItself::Refuses, ByItself::Lies] {
            let image = Image::by_chance(length, CHUNK, wide(length));
            let before = vec![0xff; disk];
            let faults = Faults { by_itself, ..Faults::default() };
            let medium = Memory::with_faults(before.clone(), 512, faults);
            let mut options = options();
            options.verify = Verify::Whole;
            let report = put(&medium, &image, &[&image.source()], &options).unwrap();
            assert_holds(&medium, &image, &before);
            assert_eq!(report.read_back, ReadBack::Whole {});
            let progress = &report.progress;
            assert_eq!(progress.phase, InstallPhase::Verifying);
            assert_eq!(progress.verified_bytes, Bytes(wide(length)));
            let on_disk = progress.written_bytes.0 + progress.zeroed_bytes.0;
            let padded = wide(length.next_multiple_of(512));
            assert!((padded..padded + 512).contains(&(on_disk + 511)), "{on_disk} of {padded}");
        }
    }
}

/// From the server's converter through a signed manifest to the disk.
#[test]
fn what_the_store_made_of_an_image_is_that_image() {
    let bytes = Image::by_chance(3 * MIB, CHUNK, 91).bytes;
    let mut frames = Vec::new();
    let how = image::convert::Options {
        name: "debian".to_owned(),
        origin: vec!["raw".to_owned()],
        chunk_bytes: CHUNK,
        level: 3,
        threads: std::num::NonZeroUsize::MIN,
    };
    let draft = image::convert::convert(&bytes[..], &mut frames, &how).unwrap();
    let manifest = draft.sign(b"nobody", |_| Ok::<_, std::fmt::Error>(vec![0; 8])).unwrap();
    let image = Image { bytes, frames: frames.into(), plan: (&manifest).into() };
    assert_eq!(image.plan.sector_bytes, Some(512));
    let medium = Memory::new(vec![0xff; 5 * MIB], 512);
    let server = image.source();
    put(&medium, &image, &[&server], &options()).unwrap();
    assert_holds(&medium, &image, &vec![0xff; 5 * MIB]);
    // Frames of zeros lie between the others, and do not make a request of each.
    assert!(server.requests.load(Ordering::Relaxed) < 10);

    let small = Memory::new(vec![0xff; 5 * MIB], 512);
    let mut wants_more = image.clone();
    wants_more.plan.smallest_disk_bytes = wide(5 * MIB) + 512;
    let failure = put(&small, &wants_more, &[&server], &options()).unwrap_err();
    assert!(matches!(failure, Failure::Unfit(Unfit::TooSmall { .. })), "{failure:?}");
}

#[test]
fn images_smaller_than_a_chunk_and_disks_too() {
    for (disk, length) in [(512, 512), (1024, 700), (8 * KIB, 5000), (40 * KIB, 9999)] {
        let image = Image::of(Chance(3).bytes(length), CHUNK, None);
        let medium = Memory::new(vec![0xff; disk], 512);
        put(&medium, &image, &[&image.source()], &options()).unwrap();
        assert!(medium.bytes()[..length] == image.bytes);
        assert!(medium.bytes()[length..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn an_image_of_zeros_is_written_too() {
    let image = Image::of(vec![0; MIB], CHUNK, None);
    let medium = Memory::new(vec![0xff; 2 * MIB], 512);
    put(&medium, &image, &[], &options()).unwrap();
    assert!(medium.bytes()[..MIB].iter().all(|byte| *byte == 0));
}

#[test]
fn disks_with_large_sectors_take_images_made_for_them() {
    let mut bytes = Chance(5).bytes(2 * MIB - 100);
    bytes.resize(2 * MIB, 0);
    table::make(&mut bytes, 4096, &[(64, 300)]);
    let image = Image::of(bytes, CHUNK, Some(4096));
    let medium = Memory::new(vec![0xff; 4 * MIB], 4096);
    put(&medium, &image, &[&image.source()], &options()).unwrap();
    assert_holds(&medium, &image, &vec![0xff; 4 * MIB]);
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_touched() {
    let check = |disk: usize, sector: u32, image: &Image, expected: &dyn Fn(&Unfit) -> bool| {
        let medium = Memory::new(vec![0xff; disk], sector).logged();
        let failure = put(&medium, image, &[&image.source()], &options()).unwrap_err();
        let Failure::Unfit(unfit) = &failure else { panic!("{failure:?}") };
        assert!(expected(unfit), "{unfit:?}");
        assert!(medium.log().is_empty(), "nothing was even flushed");
    };
    let image = Image::by_chance(2 * MIB, CHUNK, 1);
    let too_small = |unfit: &Unfit| matches!(unfit, Unfit::TooSmall { .. });
    check(2 * MIB - 512, 512, &image, &too_small);
    let odd = Image::by_chance(2 * MIB + 1, CHUNK, 1);
    check(2 * MIB, 512, &odd, &too_small);
    check(4 * MIB, 4096, &image, &|unfit| {
        *unfit == Unfit::SectorSize { image_bytes: 512, disk_bytes: 4096 }
    });
    let plan = |unfit: &Unfit| matches!(unfit, Unfit::Plan { .. });
    let mut short = image.clone();
    short.plan.chunks = changed(&image, wide(image.plan.chunks.len()) - 1, 100);
    check(4 * MIB, 512, &short, &plan);
    let mut crooked = image.clone();
    crooked.plan.chunk_bytes = 1000;
    check(4 * MIB, 512, &crooked, &plan);
    let mut huge = image.clone();
    huge.plan.chunk_bytes = 1 << 30;
    check(4 * MIB, 512, &huge, &plan);
    let mut empty = image.clone();
    empty.plan.image_bytes = 0;
    empty.plan.chunks = Table::default();
    check(4 * MIB, 512, &empty, &plan);
    let count = wide(image.plan.chunks.len());
    for frame_bytes in [0, CHUNK + (64 << 10) + 1] {
        let mut odd = image.clone();
        odd.plan.chunks = changed(&image, count, frame_bytes);
        check(4 * MIB, 512, &odd, &plan);
    }
}

/// A table of so many chunks, one of which has a frame of another length.
fn changed(image: &Image, count: u64, frame_bytes: u32) -> Table {
    let mut table = Table::default();
    for index in 0..usize::try_from(count).expect("tables of tests are small") {
        let is_zeros = image.plan.chunks.is_zeros(index);
        let chunk = if is_zeros { Chunk::Zeros } else { Chunk::Data { digest: [7; 32] } };
        table.push(&chunk, if index == 0 { frame_bytes } else { 10 });
    }
    table
}

#[test]
fn a_table_that_the_manifest_kept_quiet_about_does_not_become_bootable() {
    let mut image = Image::by_chance(2 * MIB, CHUNK, 1);
    image.plan.sector_bytes = None;
    let medium = Memory::new(vec![0xff; 4 * MIB], 4096);
    let failure = put(&medium, &image, &[&image.source()], &options()).unwrap_err();
    assert!(matches!(failure, Failure::Unfit(Unfit::SectorSize { .. })), "{failure:?}");
    assert!(medium.bytes()[..usize::try_from(CHUNK).unwrap()].iter().all(|byte| *byte == 0));
}

#[test]
fn only_what_differs_is_written() {
    let image = Image::by_chance(8 * MIB, 8192, 11);
    let medium = Memory::new(vec![0xff; 16 * MIB], 512);
    put(&medium, &image, &[&image.source()], &options()).unwrap();
    // Five of a hundred chunks change.
    let mut bytes = image.bytes.clone();
    let count = bytes.len() / 8192;
    let mut chance = Chance(12);
    let mut changed = BTreeSet::new();
    while changed.len() < count / 20 {
        changed.insert(chance.below(count - 2) + 1);
    }
    for index in &changed {
        bytes[index * 8192 + chance.below(8192)] ^= 0x80;
    }
    let next = Image::of(bytes, 8192, Some(512));
    let (written, zeroed) = (&medium.written, &medium.zeroed);
    written.store(0, Ordering::Relaxed);
    zeroed.store(0, Ordering::Relaxed);
    let server = next.source();
    let report = put(&medium, &next, &[&server], &options()).unwrap();
    assert!(medium.bytes()[..8 * MIB] == next.bytes);
    let all = written.load(Ordering::Relaxed) + zeroed.load(Ordering::Relaxed);
    assert!(all * 100 <= wide(8 * MIB) * 8, "{all} bytes for {} chunks", changed.len());
    assert!(server.served() * 100 <= wide(next.frames.len()) * 8);
    assert!(report.progress.unchanged_bytes.0 * 100 >= wide(8 * MIB) * 92);
}

#[test]
fn after_a_cut_anywhere_at_most_a_fiftieth_is_fetched_again() {
    // As many chunks as an image of 8 GiB has, so that what is in flight is as small a part of it.
    let image = Image::by_chance(8 * MIB, 4096, 21);
    let whole = wide(image.frames.len());
    for percent in [0, 1, 3, 10, 37, 50, 90, 99] {
        let medium = Memory::new(vec![0xff; 16 * MIB], 512);
        let dying = image.faulty(Fault::DiesAfter { bytes: whole * percent / 100 });
        let failure = put(&medium, &image, &[&dying], &options()).unwrap_err();
        assert!(matches!(failure, Failure::Unreachable { .. }), "{failure:?}");
        assert!(medium.bytes()[..4096].iter().all(|byte| *byte == 0));
        let server = image.source();
        put(&medium, &image, &[&server], &options()).unwrap();
        assert!(medium.bytes()[..8 * MIB] == image.bytes);
        let again = (dying.served() + server.served()).saturating_sub(whole);
        assert!(again * 50 <= whole, "cut at {percent} %: {again} of {whole} fetched again");
    }
}

#[test]
fn a_fresh_disk_is_not_compared_and_one_that_must_not_be_neither() {
    let image = Image::by_chance(4 * MIB, 4096, 31);
    let reads = |medium: &Memory, compare: Compare| {
        medium.read.store(0, Ordering::Relaxed);
        let options = Options { compare, ..options() };
        let server = image.source();
        put(medium, &image, &[&server], &options).unwrap();
        (medium.read.load(Ordering::Relaxed), server.served())
    };
    // What is zeroed by the disk itself is looked at afterwards, which is not what is counted here.
    let faults = Faults { by_itself: ByItself::Refuses, ..Faults::default() };
    let medium = Memory::with_faults(vec![0; 16 * MIB], 512, faults);
    let (fresh, _) = reads(&medium, Compare::Auto);
    // Both ends twice, sixteen chunks, the sample.
    assert!(fresh < wide(3 * MIB + 110 * 4096), "{fresh}");
    let (_, fetched) = reads(&medium, Compare::Auto);
    assert!(fetched < 2 * 4096, "{fetched}");
    let (_, fetched) = reads(&medium, Compare::Never);
    assert!(fetched * 10 > wide(image.frames.len()) * 9, "{fetched}");
    let (always, _) = reads(&Memory::new(vec![0; 16 * MIB], 512), Compare::Always);
    assert!(always > wide(4 * MIB));
}

#[test]
fn zeros_are_left_out_only_on_a_disk_proven_zero() {
    let image = Image::by_chance(4 * MIB, 4096, 41);
    let zeros = image.plan.chunks.len() - image.plan.chunks.data();
    let medium = Memory::new(vec![0; 8 * MIB], 512);
    let proof = ProvenZero::by_reading(&medium).unwrap();
    assert!(proof.is_some());
    let with_proof = Options { proven_zero: proof, ..options() };
    let report = put(&medium, &image, &[&image.source()], &with_proof).unwrap();
    assert_eq!(report.progress.zeroed_bytes, Bytes(0));
    assert_eq!(report.progress.unchanged_bytes, Bytes(wide(zeros * 4096)));
    assert!(medium.bytes()[..4 * MIB] == image.bytes);

    // The proof is about one disk, and does not hold for another.
    let other = Memory::new(vec![0xff; 8 * MIB], 512);
    put(&other, &image, &[&image.source()], &with_proof).unwrap();
    assert!(other.bytes()[..4 * MIB] == image.bytes);
    assert!(ProvenZero::by_reading(&other).unwrap().is_none());
}

#[test]
fn a_sample_says_what_it_is_worth() {
    let image = Image::by_chance(4 * MIB, 4096, 51);
    let medium = Memory::new(vec![0; 8 * MIB], 512);
    let report = put(&medium, &image, &[&image.source()], &options()).unwrap();
    assert_eq!(report.guarantee, Guarantee::SignedChunks);
    let ReadBack::Sample { bytes, detects_per_thousand: 50 } = report.read_back else {
        panic!("{:?}", report.read_back)
    };
    assert!((90 * 4096..=92 * 4096).contains(&bytes.0), "{bytes:?}");
    assert_eq!(report.progress.verified_bytes, bytes);
}
