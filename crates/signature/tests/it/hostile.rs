//! Blank means blank, and nothing on a disk breaks the probe.

use std::io::{self, Read, Seek, SeekFrom};

use proptest::prelude::*;
use signature::{END_BYTES, READ_LIMIT, Source};

use crate::image::{Image, MIB, probe};

/// Every magic that the formats' tests use, to be thrown anywhere.
const MAGICS: [&[u8]; 22] = [
    b"EFI PART",
    b"\x55\xaa",
    b"XFSB",
    b"_BHRfS_M",
    b"LUKS\xba\xbe",
    b"SKUL\xba\xbe",
    b"LABELONE",
    b"LVM2 001",
    b"\x53\xef",
    b"SWAPSPACE2",
    b"NTFS    ",
    b"EXFAT   ",
    b"CD001",
    b"NSR02",
    b"\xfc\x4e\x2b\xa9\x01\0\0\0",
    b"\xfc\x4e\x2b\xa9",
    b"\xde\x11\xde\x11",
    b"\x0c\xb1\xba\0\0\0\0\0",
    b"\x01\x01\0\0\0\0\0\0\0\0\0\x01",
    b"pool_guid",
    b"bluestore block device\n",
    b"\xeb\x58\x90",
];

/// Reads one byte at a time, and fails from one place on.
struct Sick {
    image: Image,
    at: u64,
    bad: std::ops::Range<u64>,
}

impl Read for Sick {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bad.contains(&self.at) {
            return Err(io::Error::other("medium error"));
        }
        let length = buffer
            .len()
            .min(4093)
            .min(usize::try_from(self.bad.start.saturating_sub(self.at)).unwrap_or(1).max(1));
        let read = self.image.read(&mut buffer[..length])?;
        self.at += u64::try_from(read).expect("a length fits");
        Ok(read)
    }
}

impl Seek for Sick {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.image.seek(to)?;
        Ok(self.at)
    }
}

fn probe_sick(image: Image, bad: std::ops::Range<u64>) -> signature::Content {
    let size = image.size();
    let mut sick = Sick { image, at: 0, bad };
    let source: &mut dyn Source = &mut sick;
    signature::probe(source, size, 512)
}

#[test]
fn only_zero_ends_are_blank() {
    for size in [512, 4096, MIB - 512, MIB, 2 * MIB, 2 * MIB + 512, 64 * MIB] {
        assert!(Image::new(size).probe().blank, "{size}");
        for offset in
            [0, size / 2, size - 1, (END_BYTES - 1).min(size - 1), size.saturating_sub(END_BYTES)]
        {
            let inside = offset < END_BYTES || offset >= size.saturating_sub(END_BYTES);
            let content = Image::new(size).write(offset, [1]).probe();
            assert_eq!(content.blank, !inside, "byte {offset} of {size}");
        }
    }
}

#[test]
fn no_medium_is_not_blank() {
    assert!(!Image::new(0).probe().blank);
}

#[test]
fn a_disk_that_cannot_be_read_is_not_blank() {
    for bad in [0..1, 700..701, 64 * MIB - 1..64 * MIB, 0..u64::MAX] {
        let content = probe_sick(Image::new(64 * MIB), bad.clone());
        assert!(!content.blank, "{bad:?}");
        assert!(!content.unreadable.is_empty(), "{bad:?}");
        assert!(content.unreadable.len() <= 3, "it gives up early: {:?}", content.unreadable);
    }
    assert!(probe_sick(Image::new(64 * MIB), u64::MAX..u64::MAX).blank, "short reads are no fault");
}

#[test]
fn a_bad_place_far_from_the_ends_is_not_blank_either() {
    // Where a copy of a Btrfs superblock would be.
    let content = probe_sick(Image::new(128 * MIB), 64 * MIB..65 * MIB);
    assert!(!content.blank);
    assert_eq!(content.unreadable[0].offset, 64 * MIB);
}

#[test]
fn one_bad_place_does_not_hide_the_rest() {
    let content = probe_sick(Image::new(64 * MIB).write(4086, b"SWAPSPACE2"), 63 * MIB..64 * MIB);
    assert_eq!(content.signatures[0].kind, "swap");
    assert_eq!(content.unreadable[0].offset, 63 * MIB);
}

#[test]
fn a_shorter_disk_than_promised_is_an_error_not_a_blank_one() {
    let bytes = vec![0; 4 << 20];
    let mut cursor = io::Cursor::new(bytes);
    let content = signature::probe(&mut cursor, 5 << 20, 512);
    assert!(!content.blank);
    assert!(!content.unreadable.is_empty());
}

#[test]
fn a_blank_disk_of_any_size_costs_little_more_than_its_ends() {
    for size in [64 * MIB, 20 << 40, u64::MAX] {
        let mut image = Image::new(size);
        assert!(image.probe().blank);
        assert!(image.bytes_read < 2 * END_BYTES + (64 << 10), "{} bytes", image.bytes_read);
    }
}

#[test]
fn a_table_full_of_partitions_stays_within_the_limit() {
    let mut entries = Vec::new();
    for number in 0..4_u32 {
        let mut entry = vec![0, 0, 0, 0, 0x83, 0, 0, 0];
        entry.extend((2048 * (number + 1)).to_le_bytes());
        entry.extend(u32::MAX.to_le_bytes());
        entries.extend(entry);
    }
    let mut image = Image::new(4 << 40).write(446, entries).write(510, [0x55, 0xaa]);
    assert_eq!(image.probe().partitions.len(), 4);
    assert!(image.bytes_read < READ_LIMIT);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_is_never_blank_and_never_a_panic(
        size in 0_usize..200_000,
        pieces in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..64)), 1..40),
        magics in prop::collection::vec((any::<prop::sample::Index>(), 0..MAGICS.len()), 0..40),
    ) {
        let mut bytes = vec![0; size];
        let magics = magics.iter().map(|(place, which)| (*place, MAGICS[*which]));
        for (place, piece) in pieces.iter().map(|(place, piece)| (*place, piece.as_slice())).chain(magics) {
            if size > 0 {
                // Most structures begin at a multiple of 512.
                let at = place.index(size);
                let at = if at % 3 == 0 { at } else { at & !511 };
                for (to, from) in bytes[at..].iter_mut().zip(piece) {
                    *to = *from;
                }
            }
        }
        let content = probe(&bytes);
        prop_assert_eq!(content.blank, size > 0 && bytes.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_mutated_table_is_never_a_panic(at in 0_u64..20_000, byte: u8) {
        let disk = crate::tables::everything().write(at, [byte]);
        let content = probe(&disk.contents());
        prop_assert!(!content.blank);
    }
}

#[test]
fn every_truncation_of_a_disk_with_tables_is_read_without_a_panic() {
    let bytes = crate::tables::everything().contents();
    for length in (0..4096).chain((4096..bytes.len()).step_by(509)) {
        assert!(!probe(&bytes[..length]).blank || bytes[..length].iter().all(|byte| *byte == 0));
    }
}
