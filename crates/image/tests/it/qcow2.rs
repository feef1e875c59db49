//! qcow2 images that qemu-img made, and such as only an attacker makes.

use std::{
    fs,
    io::{Cursor, Read},
};

use image::qcow2::{Image, Qcow2Error};
use proptest::prelude::*;

use crate::samples::{noise, run};

/// A disk with data here and there, some of them zeros that were written.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; (9 << 20) + 512];
    for index in [0, 3, 4, 70, 140] {
        disk[index * 65_536..][..40_000].copy_from_slice(&noise(4, 40_000));
        disk[index * 65_536 + 1000..][..9000].fill(b'x');
    }
    let end = disk.len();
    disk[end - 512..].copy_from_slice(&noise(5, 512));
    disk
}

/// What qemu-img makes of a disk.
fn made(disk: &[u8], options: &[&str]) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    fs::write(directory.path().join("disk.raw"), disk).expect("there is room");
    let command = [
        &["qemu-img", "convert", "-f", "raw", "-O", "qcow2"],
        options,
        &["disk.raw", "disk.qcow2"],
    ];
    run(directory.path(), &command.concat());
    fs::read(directory.path().join("disk.qcow2")).expect("the image is there")
}

fn read(file: &[u8]) -> Result<Vec<u8>, String> {
    let mut image = Image::open(Cursor::new(file)).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 10_007];
    loop {
        match image.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) => {
                return Err(Qcow2Error::of(&error).expect("the file is sound").to_string());
            }
        }
    }
    assert_eq!(u64::try_from(bytes.len()), Ok(image.size_bytes()));
    Ok(bytes)
}

#[test]
fn what_qemu_img_makes_is_read() {
    let disk = disk();
    for options in [
        ["-o", "compat=0.10"].as_slice(),
        &["-o", "compat=1.1"],
        &["-o", "cluster_size=512"],
        &["-o", "cluster_size=2M"],
        &["-o", "preallocation=metadata"],
        &["-o", "lazy_refcounts=on"],
        &["-S", "0"],
        &["-c"],
        &["-c", "-o", "compat=0.10"],
        &["-c", "-o", "cluster_size=4k"],
        &["-c", "-o", "cluster_size=2M"],
        &["-c", "-o", "compression_type=zstd"],
        &["-c", "-o", "compression_type=zstd,cluster_size=2M"],
    ] {
        assert!(read(&made(&disk, options)).unwrap() == disk, "{options:?}");
    }
}

#[test]
fn clusters_marked_as_zeros_are_zeros_whatever_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let qemu_io = ["qemu-io", "-c", "write -P 7 0 1M", "-c", "write -z 128k 64k"];
    for more in [&[][..], &["-c", "write -z -u 256k 128k"], &["-c", "discard 512k 64k"]] {
        run(directory.path(), &["qemu-img", "create", "-q", "-f", "qcow2", "a.qcow2", "2M"]);
        run(directory.path(), &[&qemu_io[..], more, &["a.qcow2"]].concat());
        run(directory.path(), &["qemu-img", "convert", "-O", "raw", "a.qcow2", "a.raw"]);
        let expected = fs::read(directory.path().join("a.raw")).unwrap();
        assert!(expected[128 << 10..192 << 10].iter().all(|byte| *byte == 0));
        let image = fs::read(directory.path().join("a.qcow2")).unwrap();
        assert!(read(&image).unwrap() == expected, "{more:?}");
    }
}

#[test]
fn what_needs_other_files_or_keys_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |options: &[&str]| {
        let command = [&["qemu-img", "create", "-q", "-f", "qcow2"], options].concat();
        run(directory.path(), &command);
        read(&fs::read(directory.path().join("a.qcow2")).unwrap()).unwrap_err()
    };
    fs::write(directory.path().join("base.raw"), vec![0; 1 << 20]).unwrap();
    let error = refused(&["-b", "base.raw", "-F", "raw", "a.qcow2"]);
    assert!(error.contains("backing file"), "{error}");
    let error = refused(&["-o", "data_file=a.data", "a.qcow2", "1M"]);
    assert!(error.contains("in another file"), "{error}");
    let key = ["--object", "secret,id=key,data=abc"];
    let encrypted = "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10";
    let error = refused(&[&key[..], &["-o", encrypted, "a.qcow2", "1M"]].concat());
    assert!(error.contains("encrypted"), "{error}");
    let error = refused(&["-o", "extended_l2=on,cluster_size=128k", "a.qcow2", "1M"]);
    assert!(error.contains("extended_l2"), "{error}");
}

/// A small image, plain and compressed.
fn small() -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut disk = noise(6, 8 << 10);
    disk[512..3072].fill(b'y');
    disk[4096..6144].fill(0);
    let options: [&[&str]; 3] = [
        &["-o", "cluster_size=512"],
        &["-c", "-o", "cluster_size=2k"],
        &["-c", "-o", "cluster_size=2k,compression_type=zstd"],
    ];
    options.iter().map(|options| (made(&disk, options), disk.clone())).collect()
}

#[test]
fn a_cut_that_takes_something_away_is_an_error() {
    for (file, disk) in small() {
        let mut cut = 0;
        for length in 0..file.len() {
            match read(&file[..length]) {
                Ok(bytes) => assert!(bytes == disk, "cut after {length}"),
                Err(_) => cut += 1,
            }
        }
        assert!(cut > file.len() / 2, "{cut} of {}", file.len());
    }
}

#[test]
fn whatever_bit_is_flipped_nothing_panics_and_the_length_stays() {
    for (file, disk) in small() {
        for index in 0..file.len() {
            let mut file = file.clone();
            file[index] ^= 1 << (index % 8);
            // The size stands in the header, without a checksum.
            if !(24..32).contains(&index)
                && let Ok(bytes) = read(&file)
            {
                assert_eq!(bytes.len(), disk.len(), "byte {index}");
            }
        }
    }
}

#[test]
fn tables_that_lead_outside_or_in_circles_are_errors_or_bytes_of_the_file() {
    let (file, disk) = small().swap_remove(0);
    let l1 = usize::try_from(u64::from_be_bytes(*file[40..].first_chunk().unwrap())).unwrap();
    for entry in [u64::MAX, 1 << 55, 1 << 9, 0x0300, 1 << 62, 1, 1 << 63] {
        let mut file = file.clone();
        file[l1..l1 + 8].copy_from_slice(&entry.to_be_bytes());
        if let Ok(bytes) = read(&file) {
            assert_eq!(bytes.len(), disk.len());
        }
    }
    // The table of level 1 is its own table of level 2.
    let mut circle = file.clone();
    let entry = u64::try_from(l1).unwrap().to_be_bytes();
    circle[l1..l1 + 8].copy_from_slice(&entry);
    assert_eq!(read(&circle).unwrap().len(), disk.len());
    for (field, value) in [(20, u32::MAX), (20, 8), (20, 22), (36, u32::MAX), (36, 0)] {
        let mut file = file.clone();
        file[field..field + 4].copy_from_slice(&value.to_be_bytes());
        assert!(read(&file).is_err(), "{field}: {value}");
    }
    for (field, value) in [(24, u64::MAX), (24, 1 << 50), (24, 0), (24, 513), (40, u64::MAX)] {
        let mut file = file.clone();
        file[field..field + 8].copy_from_slice(&value.to_be_bytes());
        assert!(read(&file).is_err(), "{field}: {value}");
    }
}

proptest! {
    #[test]
    fn whatever_is_written_over_it_nothing_panics(
        which in 0..3_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 1..8),
    ) {
        let mut file = SMALL.with(|small| small[which].0.clone());
        for (index, value) in changes {
            let index = index.index(file.len() - 8) & !7;
            file[index..index + 8].copy_from_slice(&value.to_be_bytes());
        }
        let Ok(image) = Image::open(Cursor::new(file)) else { return Ok(()) };
        let mut bytes = Vec::new();
        image.take(1 << 20).read_to_end(&mut bytes).ok();
    }
}

thread_local! {
    static SMALL: Vec<(Vec<u8>, Vec<u8>)> = small();
}
