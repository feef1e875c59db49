//! Where signatures live, and that nothing on a disk makes more of it than there is.

use std::io::{self, Read, Seek, SeekFrom};

use proptest::prelude::*;
use signature::survey::{AREA_LIMIT, PLACE_LIMIT, Survey, find_everything, survey};

use crate::image::{Image, MIB, crc32};

const GIB: u64 = 1 << 30;

/// A disk of which only the start is not zero, and is quick to read: it has many partitions.
struct Head {
    bytes: Vec<u8>,
    position: u64,
    bytes_read: u64,
}

impl Read for Head {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(0);
        let start = usize::try_from(self.position).unwrap_or(usize::MAX).min(self.bytes.len());
        let held = (self.bytes.len() - start).min(buffer.len());
        buffer[..held].copy_from_slice(&self.bytes[start..start + held]);
        let length = u64::try_from(buffer.len()).map_err(io::Error::other)?;
        self.position += length;
        self.bytes_read += length;
        Ok(buffer.len())
    }
}

impl Seek for Head {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(position) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        self.position = position;
        Ok(position)
    }
}

fn survey_of(image: &mut Image) -> Survey {
    let size = image.size();
    survey(image, size, 512)
}

/// Checks that something is recognised for what it is, and where.
#[track_caller]
fn check(kind: &str, size: u64, offset: u64, magic: &[u8]) {
    let mut image = Image::new(size).write(offset, magic);
    let areas = survey_of(&mut image).areas;
    let (found, unreadable) = find_everything(&mut image, 512, &areas);
    let is_found = found.iter().any(|found| {
        found.signature.kind == kind
            && found.area == 0
            && found.signature.offset.abs_diff(offset) <= 512
    });
    assert!(is_found, "{kind} at {offset}: {found:?}");
    assert_eq!(unreadable, []);
}

#[test]
fn what_only_a_look_for_everything_finds_is_found() {
    let end = 2000 * GIB;
    for (kind, offset, magic) in [
        ("adaptec-raid", end - 512, &b"\x37\xfc\x4d\x1e"[..]),
        ("aix", 0, b"\xc9\xc2\xd4\xc1"),
        ("befs", 0x20, b"BFS1"),
        ("bsd", 512, b"\x57\x45\x56\x82"),
        ("btrfs", 64 * MIB + 64, b"_BHRfS_M"),
        ("btrfs", 256 * GIB + 64, b"_BHRfS_M"),
        ("ceph-bluestore", GIB, b"bluestore block device"),
        ("ceph-bluestore", 10 * GIB, b"bluestore block device"),
        ("ceph-bluestore", 100 * GIB, b"bluestore block device"),
        ("ceph-bluestore", 1000 * GIB, b"bluestore block device"),
        ("exfat", 12 * 512 + 3, b"EXFAT   "),
        ("hfs", 1024, b"BD"),
        ("hfsplus", end - 1024, b"H+"),
        ("jmicron-raid", end - 512, b"JM"),
        ("jfs", 61_440, b"JFS1"),
        ("minix", 1040, b"\x8f\x13"),
        ("nilfs2", end - 4096 + 6, b"\x34\x34"),
        ("ocfs2", GIB, b"OCFSV2"),
        ("ocfs2", 1024 * GIB, b"OCFSV2"),
        ("refs", end - 512, b"\0\0\0ReFS\0"),
        ("sgi", 0, b"\x0b\xe5\xa9\x41"),
        ("silicon-raid", end - 512 + 0x60, b"\0\0\0\x2f"),
        ("storage-spaces", 4096, b"SPACEDB "),
        ("sun", 508, b"\xda\xbe"),
        ("vfat", 6 * 512 + 0x52, b"FAT32   "),
        ("via-raid", end - 512, b"\x55\xaa"),
        ("xfs-log", 0, b"\xfe\xed\xba\xbe"),
    ] {
        check(kind, end, offset, magic);
    }
}

#[test]
fn a_blank_disk_has_only_itself_and_the_places_that_everything_has() {
    let survey = survey_of(&mut Image::new(20 * GIB));
    assert_eq!(survey.areas.len(), 1);
    assert!(survey.places.iter().all(|place| place.rank.is_none()));
    let starts: Vec<u64> = survey.places.iter().map(|place| place.start).collect();
    // Btrfs, two of Ceph, three of OCFS2.
    assert_eq!(starts, [64 * MIB, GIB, 10 * GIB, GIB, 4 * GIB, 16 * GIB]);
    assert!(!survey.is_cut);
}

#[test]
fn a_filesystem_that_claims_a_million_groups_is_cut() {
    let superblock =
        [b"XFSB\0\0\x02\0".to_vec(), vec![0; 76], vec![0, 0, 0, 64, 0, 15, 0, 0]].concat();
    let survey = survey_of(&mut Image::new(200 * GIB).write(0, superblock));
    assert!(survey.places.len() < 5000, "{}", survey.places.len());
}

#[test]
fn a_table_in_a_table_in_a_table_ends() {
    // Each partition begins a sector further in, and holds a table of the next.
    let mut image = Image::new(GIB);
    for level in 0..100_u64 {
        let start = level * 512;
        let entry = [0, 0, 0, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0, 0];
        image = image.write(start + 446, entry).write(start + 510, [0x55, 0xaa]);
    }
    let survey = survey_of(&mut image);
    assert!(survey.is_cut);
    assert!(survey.areas.len() < 10, "{}", survey.areas.len());
}

#[test]
fn a_table_full_of_partitions_is_within_what_may_be_read() {
    // As many as are looked at, of a GiB each.
    let mut entries = vec![0; 1024 * 128];
    for (number, entry) in (0_u64..).zip(entries.chunks_mut(128)) {
        entry[..16].fill(1);
        entry[32..40].copy_from_slice(&((number + 1) << 21).to_le_bytes());
        entry[40..48].copy_from_slice(&(((number + 2) << 21) - 1).to_le_bytes());
    }
    let mut header = b"EFI PART\0\0\x01\0\x5c\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
    header.resize(72, 0);
    header.extend([2, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 128, 0, 0, 0]);
    header.extend(crc32(&entries).to_le_bytes());
    let sum = crc32(&header);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    let mut bytes = vec![0; 1024];
    bytes[512..604].copy_from_slice(&header);
    bytes.extend(entries);
    let mut image = Head { bytes, position: 0, bytes_read: 0 };
    let survey = survey(&mut image, 2048 * GIB, 512);
    assert_eq!((survey.areas.len(), survey.is_cut, survey.unreadable), (AREA_LIMIT, true, vec![]));
    let before = image.bytes_read;
    let (_, unreadable) = find_everything(&mut image, 512, &survey.areas);
    assert_eq!(unreadable, []);
    let read = before.max(image.bytes_read - before);
    assert!(read < signature::SURVEY_READ_LIMIT, "{read}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn changed_disks_are_surveyed_without_a_panic_and_within_limits(
        changes in prop::collection::vec((0_u64..40_000, any::<[u8; 4]>()), 0..12),
    ) {
        let mut image = crate::tables::everything();
        for (offset, bytes) in changes {
            image = image.write(offset, bytes);
        }
        let size = image.size();
        let survey = survey_of(&mut image);
        prop_assert!(survey.areas.len() <= AREA_LIMIT && survey.places.len() <= PLACE_LIMIT);
        for area in &survey.areas {
            prop_assert!(area.start + area.length <= size);
        }
        for place in &survey.places {
            prop_assert!(place.length > 0 && place.start + place.length <= size);
        }
        find_everything(&mut image, 512, &survey.areas);
    }
}
