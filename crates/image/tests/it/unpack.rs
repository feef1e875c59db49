//! One compressed stream: whole, in several parts, cut, damaged, followed by something.

use std::io::{self, ErrorKind, Read};

use image::{Format, UnpackError, WINDOW_LIMIT, unpack};
use proptest::prelude::*;

use crate::samples::{disk, noise, pipe, unpacked, unpacked_within};

/// The tools, each with a setting that makes small samples quick to read.
const TOOLS: &[(&str, &[&str])] = &[
    ("gzip", &["gzip", "-c"]),
    ("xz", &["xz", "-0", "-c"]),
    ("bzip2", &["bzip2", "-1", "-c"]),
    ("zstd", &["zstd", "-q", "-c"]),
    ("lz4", &["lz4", "-q", "-c"]),
    ("lz4", &["lz4", "-q", "-c", "-B4", "-BD", "-BX", "--content-size"]),
];

#[test]
fn what_the_tools_pack_is_unpacked() {
    let image = disk(9000);
    for (name, command) in TOOLS {
        let mut packed = unpack(io::Cursor::new(pipe(command, &image)), WINDOW_LIMIT).unwrap();
        let mut bytes = Vec::new();
        packed.read_to_end(&mut bytes).unwrap();
        assert!(bytes == image, "{command:?}");
        assert_eq!(packed.layers().iter().map(ToString::to_string).collect::<Vec<_>>(), [*name]);
        assert_eq!(packed.delivered_bytes(), 9000 * 512);
        assert!(unpacked(&pipe(command, &image)).unwrap() == image, "{command:?}, trickling");
    }
}

#[test]
fn parts_in_a_row_are_one_image() {
    let image = disk(300);
    let (first, second) = image.split_at(100_001);
    for (_, command) in TOOLS {
        let packed = [pipe(command, first), pipe(command, &[]), pipe(command, second)].concat();
        assert!(unpacked(&packed).unwrap() == image, "{command:?}");
    }
}

#[test]
fn a_cut_anywhere_is_an_error_that_names_the_format() {
    let image = disk(16);
    for (name, command) in TOOLS {
        let packed = pipe(command, &image);
        for length in 0..packed.len() {
            let error = unpacked(&packed[..length]).expect_err("it was cut");
            let named = error.contains(name) && error.contains("too early");
            // So little is left that nobody can tell.
            let unrecognised = length < 10;
            assert!(named || unrecognised, "{command:?} cut after {length}: {error}");
        }
    }
}

#[test]
fn a_cut_in_the_second_part_is_an_error() {
    let image = disk(8);
    for (_, command) in TOOLS {
        let first = pipe(command, &image);
        let both = [first.clone(), first.clone()].concat();
        for length in first.len() + 1..both.len() {
            assert!(unpacked(&both[..length]).is_err(), "{command:?} cut after {length}");
        }
    }
}

#[test]
fn something_behind_it_is_an_error() {
    let image = disk(16);
    for (_, command) in TOOLS {
        let packed = pipe(command, &image);
        for garbage in [b"\n".as_slice(), &[0; 3], &[0; 512], &noise(7, 600), b"PK\x03\x04"] {
            let error = unpacked(&[&packed, garbage].concat());
            // Zeros in fours may follow xz streams.
            let padding = command[0] == "xz" && garbage == [0; 512];
            assert_eq!(error.is_err(), !padding, "{command:?}: {garbage:?}");
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_an_error_or_harmless() {
    let image = disk(3);
    for (_, command) in TOOLS {
        let packed = pipe(command, &image);
        assert!(!packed.len().is_multiple_of(512), "else damaged first bytes look like a disk");
        for index in 0..packed.len() {
            for bit in 0..8 {
                let mut packed = packed.clone();
                packed[index] ^= 1 << bit;
                if let Ok(bytes) = unpacked(&packed) {
                    assert!(bytes == image, "{command:?}: bit {bit} of byte {index}");
                }
            }
        }
    }
}

#[test]
fn a_window_beyond_the_limit_is_refused_with_advice() {
    let image = disk(200_000);
    let xz = pipe(&["xz", "-c", "--lzma2=preset=0,dict=48MiB"], &image);
    let zstd = pipe(&["zstd", "-q", "-c", "-1", "--long=26"], &image);
    for packed in [&xz, &zstd] {
        let error = unpacked(packed).unwrap_err();
        assert!(error.contains("convert it once with `drydock image add`"), "{error}");
        assert!(unpacked_within(packed, 64 << 20).unwrap() == image);
    }
    let xz = pipe(&["xz", "-c", "--lzma2=preset=0,dict=32MiB"], &image);
    let zstd = pipe(&["zstd", "-q", "-c", "-1", "--long=25"], &image);
    for packed in [&xz, &zstd] {
        assert!(unpacked(packed).unwrap() == image);
    }
}

#[test]
fn an_error_page_is_refused_even_compressed() {
    let page = "<!DOCTYPE html><title>502 Bad Gateway</title>";
    assert!(unpacked(page.as_bytes()).unwrap_err().contains("HTML page"));
    let error = unpacked(&pipe(&["gzip", "-c"], page.as_bytes())).unwrap_err();
    assert!(error.contains("HTML page"), "{error}");
}

#[test]
fn what_is_compressed_twice_is_refused() {
    let twice = pipe(&["zstd", "-q", "-c"], &pipe(&["gzip", "-c"], &disk(16)));
    assert_eq!(unpacked(&twice).unwrap_err(), "there is gzip inside the zstd data: take one off");
}

#[test]
fn a_disk_ends_where_a_sector_ends() {
    let image = disk(16);
    assert!(unpacked(&image).unwrap() == image);
    let error = unpacked(&image[..8000]).unwrap_err();
    assert!(error.starts_with("the image ends in the middle of a sector, after 8000"), "{error}");
    assert!(unpacked(&pipe(&["gzip", "-c"], &image[..8000])).is_err());
}

/// A source that fails.
struct Broken<'a>(&'a [u8], ErrorKind);

impl Read for Broken<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(self.1.into()),
            count => Ok(count),
        }
    }
}

#[test]
fn the_sources_own_errors_come_through_as_they_are() {
    let image = disk(9000);
    for (_, command) in TOOLS {
        let packed = pipe(command, &image);
        for kind in [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof, ErrorKind::TimedOut] {
            let half = &packed[..packed.len() / 2];
            let error = match unpack(Broken(half, kind), WINDOW_LIMIT) {
                Ok(mut unpacking) => io::copy(&mut unpacking, &mut io::sink()).unwrap_err(),
                // Where blocks are large, before the first of them is whole.
                Err(UnpackError::Read(error)) => error,
                Err(error) => panic!("{command:?}: {error}"),
            };
            assert_eq!(error.kind(), kind, "{command:?}");
            assert!(UnpackError::of(&error).is_none(), "{command:?}: {error}");
        }
        let error = unpack(Broken(&packed[..3], ErrorKind::TimedOut), WINDOW_LIMIT).unwrap_err();
        assert!(matches!(error, UnpackError::Read(_)), "{command:?}: {error}");
    }
}

#[test]
fn qcow2_is_told_apart_for_those_who_can_seek() {
    let head = [b"QFI\xfb\0\0\0\x03".as_slice(), &[0; 600]].concat();
    assert!(matches!(unpack(head.as_slice(), WINDOW_LIMIT), Err(UnpackError::Qcow2)));
    let packed = pipe(&["xz", "-0", "-c"], &head);
    let image::Content::Qcow2(mut file) = image::open(packed.as_slice(), WINDOW_LIMIT).unwrap()
    else {
        panic!("it is taken for a raw image")
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    assert!(bytes == head);
    assert_eq!(file.layers(), [Format::Xz]);
}

proptest! {
    #[test]
    fn whatever_comes_nothing_panics(
        magic in prop::sample::select(vec![
            b"\x1f\x8b\x08".as_slice(), b"\xfd7zXZ\0", b"BZh9", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..3000),
    ) {
        drop(unpacked(&[magic, &rest].concat()));
    }
}
