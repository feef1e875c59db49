//! Images from somebody else's server: believed at their end only, bootable only then.

use std::{io::Read as _, sync::Arc};

use image::bmap::{Bmap, Mapped};
use install::{Failure, Foreign, Options, Source, Unfit, Verify, install_foreign, install_mapped};
use protocol::{
    Bytes,
    install::{Guarantee, InstallReport, ReadBack},
};
use sha2::{Digest as _, Sha256};

use crate::{
    cuts::assert_new,
    medium::{Chance, Done, Faults, Memory, after_cut},
    order::{MIB, options},
    source::{Fault, Image, Server, wide},
    table,
};

const DISK: usize = 12 * MIB;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Raw,
    Gz,
    Xz,
    Zst,
    Bz2,
    Lz4,
    Tar,
}

const ALL: [Packing; 7] = [
    Packing::Raw,
    Packing::Gz,
    Packing::Xz,
    Packing::Zst,
    Packing::Bz2,
    Packing::Lz4,
    Packing::Tar,
];

fn pack(packing: Packing, bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    match packing {
        Packing::Raw => packed.extend(bytes),
        Packing::Gz => {
            let mut encoder = flate2::read::GzEncoder::new(bytes, flate2::Compression::fast());
            encoder.read_to_end(&mut packed).expect("it packs");
        }
        Packing::Xz => {
            let mut encoder = liblzma::read::XzEncoder::new(bytes, 0);
            encoder.read_to_end(&mut packed).expect("it packs");
        }
        Packing::Zst => {
            packed.resize(zstd_safe::compress_bound(bytes.len()), 0);
            let mut context = zstd_safe::CCtx::create();
            let checksum = zstd_safe::CParameter::ChecksumFlag(true);
            context.set_parameter(checksum).expect("a known parameter");
            let length = context.compress2(&mut packed[..], bytes).expect("there is room");
            packed.truncate(length);
        }
        Packing::Bz2 => {
            let mut encoder = bzip2::read::BzEncoder::new(bytes, bzip2::Compression::fast());
            encoder.read_to_end(&mut packed).expect("it packs");
        }
        Packing::Lz4 => lz4(bytes, &mut packed),
        Packing::Tar => tar(bytes, &mut packed),
    }
    packed
}

/// A frame of stored blocks of 4 MiB at most.
fn lz4(bytes: &[u8], packed: &mut Vec<u8>) {
    let descriptor = [0x60, 0x70];
    packed.extend(0x184d_2204_u32.to_le_bytes());
    packed.extend(descriptor);
    packed.push(twox_hash::XxHash32::oneshot(0, &descriptor).to_le_bytes()[1]);
    for block in bytes.chunks(4 * MIB) {
        let length = u32::try_from(block.len()).expect("4 MiB") | 1 << 31;
        packed.extend(length.to_le_bytes());
        packed.extend(block);
    }
    packed.extend([0; 4]);
}

/// An archive of one file (POSIX.1-1988).
fn tar(bytes: &[u8], packed: &mut Vec<u8>) {
    let mut header = [0; 512];
    let fields = [
        (0, "disk.raw".to_owned()),
        (100, "0000644".to_owned()),
        (108, "0000000".to_owned()),
        (116, "0000000".to_owned()),
        (124, format!("{:011o}", bytes.len())),
        (136, "00000000000".to_owned()),
        (148, " ".repeat(8)),
        (156, "0".to_owned()),
        (257, "ustar\x0000".to_owned()),
    ];
    for (at, text) in fields {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    packed.extend(header);
    packed.extend(bytes);
    packed.resize(packed.len().next_multiple_of(512) + 1024, 0);
}

/// Five and a half MiB: three chunks, the last one short.
fn image() -> Image {
    let mut bytes = Image::by_chance(5 * MIB + 512 * 1024, 64 << 10, 81).bytes;
    // A whole chunk of zeros in the middle.
    bytes[2 * MIB..4 * MIB].fill(0);
    Image::of(bytes, 64 << 10, Some(512))
}

fn foreign(file: &[u8], with_digest: bool) -> Foreign {
    let sha256 = with_digest.then(|| Sha256::digest(file).into());
    Foreign { file_bytes: Some(wide(file.len())), sha256 }
}

fn put(
    medium: &Memory,
    foreign: &Foreign,
    sources: &[&dyn Source],
) -> Result<InstallReport, Failure> {
    let whole = Options { verify: Verify::Whole, ..options() };
    install_foreign(medium, foreign, sources, &whole, &|_| {})
}

fn server(file: &[u8], fault: Fault) -> Server {
    Server::new(Arc::new(file.to_vec()), fault)
}

fn assert_holds(medium: &Memory, image: &Image) {
    let after = medium.bytes();
    let length = image.bytes.len();
    assert!(after[..length] == image.bytes, "the image is there");
    assert!(after[length..DISK - MIB].iter().all(|byte| *byte == 0xff), "the rest stays");
    assert!(after[DISK - MIB..].iter().all(|byte| *byte == 0), "no old table at the end");
}

fn assert_disarmed(medium: &Memory) {
    let bytes = medium.bytes();
    assert!(bytes[..2 * MIB].iter().all(|byte| *byte == 0), "its start");
    assert!(bytes[DISK - MIB..].iter().all(|byte| *byte == 0), "its end");
}

/// A failure may come before the disk was touched at all.
fn assert_not_bootable(medium: &Memory) {
    if medium.bytes()[0] == 0 {
        assert_disarmed(medium);
    } else {
        assert_untouched(medium);
    }
}

fn assert_untouched(medium: &Memory) {
    assert!(medium.bytes().iter().all(|byte| *byte == 0xff));
}

#[test]
fn whatever_it_is_packed_in_arrives_and_says_what_vouches_for_it() {
    let image = image();
    for packing in ALL {
        for with_digest in [false, true] {
            let file = pack(packing, &image.bytes);
            let medium = Memory::new(vec![0xff; DISK], 512);
            let source = server(&file, Fault::None);
            let report = put(&medium, &foreign(&file, with_digest), &[&source]).unwrap();
            assert_holds(&medium, &image);
            let expected = match packing {
                _ if with_digest => Guarantee::Digest,
                Packing::Raw | Packing::Tar => Guarantee::Length,
                _ => Guarantee::Format,
            };
            assert_eq!(report.guarantee, expected);
            assert_eq!(report.read_back, ReadBack::Whole {});
            let progress = report.progress;
            assert_eq!(progress.fetched_bytes, Bytes(wide(file.len())));
            assert_eq!(progress.verified_bytes, Bytes(wide(image.bytes.len())));
            assert_eq!(progress.zeroed_bytes, Bytes(2 << 20));
        }
    }
}

#[test]
fn an_image_as_long_as_the_disk_and_one_that_ends_within_a_large_sector() {
    let image = Image::by_chance(DISK, 64 << 10, 82);
    let file = pack(Packing::Gz, &image.bytes);
    let medium = Memory::new(vec![0xff; DISK], 512);
    put(&medium, &foreign(&file, true), &[&server(&file, Fault::None)]).unwrap();
    assert!(medium.bytes() == image.bytes);

    let bytes = Chance(83).bytes(3 * MIB + 512);
    let medium = Memory::new(vec![0xff; DISK], 4096);
    put(&medium, &foreign(&bytes, true), &[&server(&bytes, Fault::None)]).unwrap();
    assert!(medium.bytes()[..bytes.len()] == bytes);
    assert!(medium.bytes()[bytes.len()..3 * MIB + 4096].iter().all(|byte| *byte == 0));
}

#[test]
fn a_file_that_was_cut_is_no_image_whatever_it_is_packed_in() {
    let image = image();
    for packing in ALL {
        let whole = pack(packing, &image.bytes);
        for part in [1, 3, 7, 9] {
            // Cut at a sector, so that a bare one shows by its partition table only.
            let length = (whole.len() * part / 10).next_multiple_of(512).min(whole.len() - 1);
            let file = &whole[..length];
            let medium = Memory::new(vec![0xff; DISK], 512);
            let failure =
                put(&medium, &foreign(file, false), &[&server(file, Fault::None)]).unwrap_err();
            assert!(matches!(failure, Failure::BadStream { .. }), "{packing:?}: {failure:?}");
            assert_not_bootable(&medium);
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let image = image();
    let mut chance = Chance(84);
    for packing in ALL {
        let sound = pack(packing, &image.bytes);
        for _ in 0..6 {
            let at = wide(chance.below(sound.len()));
            let medium = Memory::new(vec![0xff; DISK], 512);
            let flipped = server(&sound, Fault::FlippedBit { at });
            let failure = put(&medium, &foreign(&sound, true), &[&flipped]).unwrap_err();
            assert!(matches!(failure, Failure::BadStream { .. }), "{packing:?}: {failure:?}");
            assert!(medium.bytes()[..512] != image.bytes[..512], "it does not boot");
        }
    }
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    let image = image();
    let file = pack(Packing::Zst, &image.bytes);
    for fault in [
        Fault::CutShort { requests: 12 },
        Fault::Down { requests: 5 },
        Fault::TimesOut { requests: 5 },
    ] {
        let medium = Memory::new(vec![0xff; DISK], 512);
        let source = server(&file, fault);
        put(&medium, &foreign(&file, false), &[&source]).unwrap();
        assert_holds(&medium, &image);
        assert_eq!(source.served(), wide(file.len()), "no byte twice");
    }
}

#[test]
fn a_server_that_stays_away_is_given_up_and_another_one_asked_only_where_a_digest_vouches() {
    let image = image();
    let file = pack(Packing::Gz, &image.bytes);
    let dying = || server(&file, Fault::DiesAfter { bytes: wide(file.len() / 2) });
    let sound = server(&file, Fault::None);
    for sources in [&[&dying() as &dyn Source][..], &[&dying(), &sound]] {
        let medium = Memory::new(vec![0xff; DISK], 512);
        let failure = put(&medium, &foreign(&file, false), sources).unwrap_err();
        assert!(matches!(failure, Failure::Unreachable { attempts: 6, .. }), "{failure:?}");
        assert_not_bootable(&medium);
    }
    let medium = Memory::new(vec![0xff; DISK], 512);
    put(&medium, &foreign(&file, true), &[&dying(), &sound]).unwrap();
    assert_holds(&medium, &image);
}

#[test]
fn a_file_that_is_replaced_is_never_mixed() {
    let file = pack(Packing::Gz, &image().bytes);
    let medium = Memory::new(vec![0xff; DISK], 512);
    let source = server(&file, Fault::ReplacedMidway { from_request: 1 });
    let failure = put(&medium, &foreign(&file, true), &[&source]).unwrap_err();
    assert!(matches!(failure, Failure::Replaced { .. }), "{failure:?}");
    assert_not_bootable(&medium);
    let other = server(&file, Fault::Other { from: wide(file.len() / 2) });
    let failure = put(&medium, &foreign(&file, true), &[&other]).unwrap_err();
    assert!(matches!(failure, Failure::BadStream { .. }), "{failure:?}");
    assert_not_bootable(&medium);
    let refusing = server(&file, Fault::Refused);
    let failure = put(&medium, &foreign(&file, true), &[&refusing]).unwrap_err();
    assert!(matches!(failure, Failure::Refused { .. }), "{failure:?}");
}

#[test]
fn a_length_other_than_announced_is_noticed() {
    let file = pack(Packing::Raw, &image().bytes);
    let medium = Memory::new(vec![0xff; DISK], 512);
    let longer = Foreign { file_bytes: Some(wide(file.len()) + 512), sha256: None };
    let failure = put(&medium, &longer, &[&server(&file, Fault::None)]).unwrap_err();
    assert!(matches!(failure, Failure::Unreachable { .. }), "{failure:?}");
    assert_not_bootable(&medium);
    let source = server(&file, Fault::TooMuch);
    let failure = put(&medium, &foreign(&file, false), &[&source]).unwrap_err();
    assert!(matches!(failure, Failure::Replaced { .. }), "{failure:?}");
    assert_not_bootable(&medium);
}

#[test]
fn a_stream_of_unknown_length_ends_where_its_format_says_and_a_cut_one_never_boots() {
    let image = image();
    for packing in ALL {
        let file = pack(packing, &image.bytes);
        let endless = Foreign { file_bytes: None, sha256: None };
        let digest = Foreign { sha256: Some(Sha256::digest(&file).into()), ..endless.clone() };
        for foreign in [&endless, &digest] {
            let medium = Memory::new(vec![0xff; DISK], 512);
            let outcome = put(&medium, foreign, &[&server(&file, Fault::None)]);
            if packing == Packing::Raw && foreign.sha256.is_none() {
                let failure = outcome.unwrap_err();
                assert!(matches!(failure, Failure::Unfit(Unfit::Endless)), "{failure:?}");
                assert_untouched(&medium);
            } else {
                assert!(outcome.is_ok(), "{packing:?}: {outcome:?}");
                assert_eq!(medium.bytes()[..image.bytes.len()], image.bytes[..], "{packing:?}");
            }
            let medium = Memory::new(vec![0xff; DISK], 512);
            let cut = server(&file[..file.len() - 600], Fault::None);
            put(&medium, foreign, &[&cut]).unwrap_err();
            if packing != Packing::Raw || foreign.sha256.is_some() {
                assert_not_bootable(&medium);
            }
        }
    }
}

#[test]
fn what_is_no_image_leaves_the_disk_alone() {
    let page = b"<!DOCTYPE html>\n<html><body>Gone to lunch</body></html>\n".repeat(20);
    for file in [page, b"short".to_vec(), b"QFI\xfb\0\0\0\x03".repeat(1000)] {
        let medium = Memory::new(vec![0xff; DISK], 512);
        let source = server(&file, Fault::None);
        let failure = put(&medium, &foreign(&file, true), &[&source]).unwrap_err();
        assert!(matches!(failure, Failure::BadStream { offset: 0, .. }), "{failure:?}");
        assert_untouched(&medium);
    }
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_touched() {
    let long = Image::by_chance(DISK + 512, 64 << 10, 85).bytes;
    for packing in ALL {
        let file = pack(packing, &long);
        let medium = Memory::new(vec![0xff; DISK], 512);
        let source = server(&file, Fault::None);
        let failure = put(&medium, &foreign(&file, false), &[&source]).unwrap_err();
        assert!(matches!(failure, Failure::Unfit(Unfit::TooSmall { .. })), "{failure:?}");
        assert_untouched(&medium);
    }
    let file = pack(Packing::Xz, &image().bytes);
    let medium = Memory::new(vec![0xff; DISK], 4096);
    let failure = put(&medium, &foreign(&file, false), &[&server(&file, Fault::None)]).unwrap_err();
    assert!(matches!(failure, Failure::Unfit(Unfit::SectorSize { .. })), "{failure:?}");
    assert_untouched(&medium);
}

#[test]
fn without_a_table_a_packed_image_that_is_too_long_ends_at_the_disks_end_and_does_not_boot() {
    let file = pack(Packing::Zst, &Chance(86).bytes(DISK + 512));
    let medium = Memory::new(vec![0xff; DISK], 512);
    let failure = put(&medium, &foreign(&file, true), &[&server(&file, Fault::None)]).unwrap_err();
    assert!(matches!(failure, Failure::Unfit(Unfit::TooSmall { .. })), "{failure:?}");
    assert_disarmed(&medium);
}

/// A frame of zstd whose header asks for 128 MiB, with one stored block.
#[test]
fn a_stream_with_too_large_a_window_is_refused_with_the_advice_to_convert_it() {
    let content = Chance(89).bytes(1024);
    let mut file = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3];
    file.extend(&((1024_u32 << 3) | 1).to_le_bytes()[..3]);
    file.extend(&content);
    let medium = Memory::new(vec![0xff; DISK], 512);
    let source = server(&file, Fault::None);
    let failure = put(&medium, &foreign(&file, true), &[&source]).unwrap_err();
    let Failure::BadStream { reason, .. } = &failure else { panic!("{failure:?}") };
    assert!(reason.contains("drydock image add"), "{reason}");
    assert_untouched(&medium);
}

/// Two parts: all but the zeros in the middle.
fn map(image: &Image) -> Bmap {
    let part = |bytes: std::ops::Range<usize>| Mapped {
        sha256: Sha256::digest(&image.bytes[bytes.clone()]).into(),
        bytes: wide(bytes.start)..wide(bytes.end),
    };
    let parts = vec![part(0..2 * MIB), part(4 * MIB..image.bytes.len())];
    Bmap::new(wide(image.bytes.len()), parts).expect("a sound map")
}

fn put_mapped(medium: &Memory, file: &[u8], map: &Bmap) -> Result<InstallReport, Failure> {
    let source = server(file, Fault::None);
    let foreign = foreign(file, false);
    install_mapped(medium, &foreign, map, &[&source], &options(), &|_| {})
}

#[test]
fn an_image_with_a_map_arrives_whole_over_old_bytes_and_says_that_its_parts_were_vouched_for() {
    let image = image();
    for packing in ALL {
        let medium = Memory::new(vec![0xff; DISK], 512);
        let report = put_mapped(&medium, &pack(packing, &image.bytes), &map(&image)).unwrap();
        assert_eq!(report.guarantee, Guarantee::Ranges);
        assert_holds(&medium, &image);
    }
}

#[test]
fn an_image_that_is_not_its_maps_does_not_become_bootable() {
    let image = image();
    for at in [0, MIB, 3 * MIB, image.bytes.len() - 1] {
        let mut other = image.bytes.clone();
        other[at] ^= 1;
        let medium = Memory::new(vec![0xff; DISK], 512);
        let failure = put_mapped(&medium, &other, &map(&image)).unwrap_err();
        assert!(matches!(failure, Failure::BadStream { .. }), "byte {at}: {failure:?}");
        assert_not_bootable(&medium);
    }
    // Without its table, which tells the length too.
    let mut longer = image.bytes.clone();
    longer[..34 * 512].fill(0);
    let shorter = &longer[..longer.len() - 512];
    let map = map(&Image::of(longer.clone(), 64 << 10, None));
    for file in [shorter.to_vec(), [&longer[..], &[0; 512]].concat()] {
        let medium = Memory::new(vec![0xff; DISK], 512);
        let failure = put_mapped(&medium, &file, &map).unwrap_err();
        assert!(matches!(failure, Failure::BadStream { .. }), "{failure:?}");
        assert_not_bootable(&medium);
    }
}

#[test]
fn a_wrong_digest_leaves_everything_but_what_boots() {
    let image = image();
    let file = pack(Packing::Zst, &image.bytes);
    let wrong = Foreign { file_bytes: Some(wide(file.len())), sha256: Some([7; 32]) };
    let medium = Memory::new(vec![0xff; DISK], 512);
    let failure = put(&medium, &wrong, &[&server(&file, Fault::None)]).unwrap_err();
    assert!(matches!(failure, Failure::BadStream { .. }), "{failure:?}");
    assert_disarmed(&medium);
}

#[test]
fn a_disk_that_does_not_keep_what_is_written_is_found_out() {
    let file = pack(Packing::Gz, &image().bytes);
    let faults = Faults { forgetful: [9000].into(), ..Faults::default() };
    let medium = Memory::with_faults(vec![0xff; DISK], 512, faults);
    let source = server(&file, Fault::None);
    let failure = put(&medium, &foreign(&file, true), &[&source]).unwrap_err();
    assert!(matches!(failure, Failure::ReadBack { offset: 0x40_0000 }));
    assert_disarmed(&medium);
}

#[test]
fn after_a_power_cut_nothing_boots_before_all_of_it_is_there() {
    for image in [image(), Image::by_chance(DISK, 64 << 10, 87)] {
        let file = pack(Packing::Gz, &image.bytes);
        let mut before = vec![0xff; DISK];
        table::make(&mut before, 512, &[(2048, 4096)]);
        let medium = Memory::new(before.clone(), 512).logged();
        put(&medium, &foreign(&file, true), &[&server(&file, Fault::None)]).unwrap();
        let log = medium.log();
        let disarmed = log.iter().position(|done| matches!(done, Done::Flush)).unwrap();
        let mut chance = Chance(88);
        for until in disarmed + 1..=log.len() {
            let bytes = after_cut(&before, &log, until, 512, &mut chance);
            assert_new(&bytes, &image, &format!("cut after {until} of {}", log.len()));
        }
    }
}
