//! Archives of images, as clouds hand them out.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::samples::{disk, noise, pipe, run, unpacked};

/// A directory with files in it.
fn directory(files: &[(&str, &[u8])]) -> TempDir {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    for (name, content) in files {
        fs::write(directory.path().join(name), content).expect("the file is written");
    }
    directory
}

fn archive(directory: &Path, options: &[&str], names: &[&str]) -> Vec<u8> {
    let command = [&["tar", "--create", "--file=archive.tar"], options, names].concat();
    run(directory, &command);
    fs::read(directory.join("archive.tar")).expect("the archive is there")
}

/// A disk with holes between data, more of them than fit into one header.
fn holes() -> Vec<u8> {
    let mut image = vec![0; 8 << 20];
    for index in 0..40 {
        image[index * 200_000..][..5000].copy_from_slice(&noise(3, 5000));
    }
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image
}

#[test]
fn the_one_image_of_an_archive_is_found_among_texts() {
    let image = disk(300);
    let long = "n".repeat(180);
    let files = [
        ("README", b"read me\n".as_slice()),
        ("disk.raw", &image),
        ("disk.raw.sig", &noise(5, 287)),
        (&long, b""),
    ];
    let directory = directory(&files);
    for format in ["--format=ustar", "--format=gnu", "--format=pax", "--format=v7"] {
        if format == "--format=v7" || format == "--format=ustar" {
            fs::remove_file(directory.path().join(&long)).ok();
        } else {
            fs::write(directory.path().join(&long), b"").unwrap();
        }
        let tar = archive(directory.path(), &[format, "--exclude=archive.tar"], &["."]);
        assert!(unpacked(&tar).unwrap() == image, "{format}");
        assert!(unpacked(&pipe(&["gzip", "-c"], &tar)).unwrap() == image, "{format}, gzip");
    }
}

#[test]
fn left_out_holes_are_zeros_again() {
    let image = holes();
    let directory = directory(&[("disk.raw", &image)]);
    run(directory.path(), &["fallocate", "--dig-holes", "disk.raw"]);
    for options in [["--format=oldgnu", "-S"], ["--format=pax", "-S"]] {
        let tar = archive(directory.path(), &options, &["disk.raw"]);
        assert!(tar.len() < image.len() / 4, "{options:?} kept the holes");
        assert!(unpacked(&tar).unwrap() == image, "{options:?}");
        assert!(unpacked(&pipe(&["zstd", "-q", "-c"], &tar)).unwrap() == image, "{options:?}");
        for length in (0..tar.len()).step_by(1009) {
            if let Ok(bytes) = unpacked(&tar[..length]) {
                assert!(bytes == image, "{options:?} cut after {length}");
            }
        }
    }
}

#[test]
fn other_descriptions_of_holes_are_refused_by_name() {
    let directory = directory(&[("disk.raw", &holes())]);
    run(directory.path(), &["fallocate", "--dig-holes", "disk.raw"]);
    for version in ["--sparse-version=0.0", "--sparse-version=0.1"] {
        let tar = archive(directory.path(), &["--format=pax", "-S", version], &["disk.raw"]);
        let error = unpacked(&tar).unwrap_err();
        assert!(error.contains("the holes of \"disk.raw\""), "{error}");
    }
}

#[test]
fn two_images_or_none_are_refused() {
    let image = disk(16);
    let directory = directory(&[("a.raw", &image), ("b.raw", &image), ("text", b"text\n")]);
    let both = archive(directory.path(), &[], &["a.raw", "text", "b.raw"]);
    let error = unpacked(&both).unwrap_err();
    assert_eq!(error, "the archive holds more than one image: \"a.raw\" and \"b.raw\"");
    let none = archive(directory.path(), &[], &["text"]);
    assert!(unpacked(&none).unwrap_err().starts_with("the archive holds no image"));
}

#[test]
fn what_is_packed_inside_is_named() {
    let packed = pipe(&["gzip", "-c"], &disk(16));
    let vmdk = [b"KDMV".as_slice(), &[0; 1020]].concat();
    let directory = directory(&[("a.gz", &packed), ("a.vmdk", &vmdk), ("a.ovf", b"<?xml?>")]);
    let error = unpacked(&archive(directory.path(), &[], &["a.gz"])).unwrap_err();
    assert!(error.contains("\"a.gz\" is gzip"), "{error}");
    let error = unpacked(&archive(directory.path(), &[], &["a.ovf", "a.vmdk"])).unwrap_err();
    assert!(error.contains("\"a.vmdk\" is no image"), "{error}");
}

#[test]
fn a_cut_archive_is_an_error_until_its_end_is_marked() {
    let image = disk(8);
    let directory = directory(&[("disk.raw", &image)]);
    let tar = archive(directory.path(), &["--blocking-factor=1"], &["disk.raw"]);
    for length in 0..tar.len() {
        assert!(unpacked(&tar[..length]).is_err(), "cut after {length}");
    }
    assert!(unpacked(&tar).unwrap() == image);
    assert!(unpacked(&[tar.as_slice(), b"more"].concat()).is_err());
}

#[test]
fn a_flipped_bit_in_a_header_is_an_error() {
    let image = disk(8);
    let directory = directory(&[("disk.raw", &image)]);
    let tar = archive(directory.path(), &["--blocking-factor=1"], &["disk.raw"]);
    for index in (0..512).chain(512 + image.len()..tar.len()) {
        for bit in 0..8 {
            let mut tar = tar.clone();
            tar[index] ^= 1 << bit;
            if let Ok(bytes) = unpacked(&tar) {
                assert!(bytes == image, "bit {bit} of byte {index}");
            }
        }
    }
}
