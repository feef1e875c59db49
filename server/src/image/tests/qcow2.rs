//! qcow2 images that come.

use std::io::Write;

use image::{convert::CHUNKS_LIMIT, qcow2::Qcow2Error};
use sha2::{Digest, Sha256};

use super::*;

const CLUSTER: usize = 64 << 10;

/// Makes a qcow2 file of version 2 of a disk below 512 MiB, with a place only for what is not zeros.
fn qcow2(disk: &[u8]) -> Vec<u8> {
    let mut file = header(u64::try_from(disk.len()).unwrap(), 1);
    file.resize(CLUSTER, 0);
    let entry =
        |cluster: usize| (u64::try_from(cluster * CLUSTER).unwrap() | 1 << 63).to_be_bytes();
    file.extend(entry(2));
    file.resize(2 * CLUSTER, 0);
    let mut data = Vec::new();
    for cluster in disk.chunks(CLUSTER) {
        if cluster.iter().all(|byte| *byte == 0) {
            file.extend([0; 8]);
        } else {
            file.extend(entry(3 + data.len() / CLUSTER));
            data.extend_from_slice(cluster);
            data.resize(data.len().next_multiple_of(CLUSTER), 0);
        }
    }
    file.resize(3 * CLUSTER, 0);
    file.extend(data);
    file
}

fn header(size: u64, l1_entries: u32) -> Vec<u8> {
    let mut file = b"QFI\xfb\0\0\0\x02".to_vec();
    file.extend([0; 12]);
    file.extend(16_u32.to_be_bytes());
    file.extend(size.to_be_bytes());
    file.extend([0; 4]);
    file.extend(l1_entries.to_be_bytes());
    file.extend(u64::try_from(CLUSTER).unwrap().to_be_bytes());
    file.resize(72, 0);
    file
}

#[test]
fn a_qcow2_image_becomes_what_a_guest_sees() {
    let shelf = Shelf::new();
    let images = shelf.open();
    let file = qcow2(&disk());
    assert!(file.len() < 2 << 20, "it has holes");
    let bare = images.add(&arrival("bare"), file.as_slice()).unwrap();
    assert_eq!(bare.origin, ["qcow2"]);
    assert_eq!(bare.image_bytes, Bytes(10 << 20));
    assert_eq!(bare.sha256, digits(&Sha256::digest(disk())));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&file).unwrap();
    let packed = packed.finish().unwrap();
    // The digest is that of what comes.
    let said = Arrival { sha256: Some(digits(&Sha256::digest(&packed))), ..arrival("packed") };
    let packed = images.add(&said, packed.as_slice()).unwrap();
    assert_eq!(
        (packed.origin.as_slice(), &packed.sha256),
        (["gzip", "qcow2"].map(str::to_owned).as_slice(), &bare.sha256)
    );
    assert!(images.verify("packed").unwrap().problems.is_empty());
    let directory = shelf.directory.path().join("images").join(&bare.manifest);
    let mut parts: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    parts.sort();
    assert_eq!(parts, ["frames", "manifest"], "the file that came is gone");
}

#[test]
fn a_qcow2_image_that_is_cut_or_damaged_leaves_nothing_behind() {
    let (shelf, file) = (Shelf::new(), qcow2(&disk()));
    let images = shelf.open();
    for length in [512, CLUSTER, 2 * CLUSTER + 8, 3 * CLUSTER, file.len() - CLUSTER, file.len() - 1]
    {
        let error = images.add(&arrival("debian"), &file[..length]).unwrap_err();
        assert!(
            matches!(&error, ImageError::Convert(ConvertError::Qcow2(_))),
            "{length}: {error:?}"
        );
        assert!(shelf.files().is_empty(), "{length}");
    }
    let error = images.add(&arrival("debian"), Breaks(&file, file.len() / 2)).unwrap_err();
    assert!(matches!(&error, ImageError::Convert(ConvertError::Receive(_))), "{error:?}");
    let mut away = file.clone();
    // A cluster far behind the end of the file.
    away[2 * CLUSTER + 2] = 0xff;
    let error = images.add(&arrival("debian"), away.as_slice()).unwrap_err();
    assert!(crate::text::chain(&error).contains("was cut"), "{}", crate::text::chain(&error));
    let mut chained = file;
    chained[15] = 72;
    let error = images.add(&arrival("debian"), chained.as_slice()).unwrap_err();
    assert!(
        matches!(&error, ImageError::Convert(ConvertError::Qcow2(Qcow2Error::BackingFile))),
        "{error:?}"
    );
    assert!(shelf.files().is_empty() && images.list().is_empty());
}

#[test]
fn a_qcow2_disk_that_the_store_cannot_take_is_refused_at_once() {
    let shelf = Shelf::new();
    let images = shelf.open();
    let bytes = u64::try_from(CHUNKS_LIMIT).unwrap() * (8 << 20);
    let entries = u32::try_from(bytes >> 29).unwrap() + 1;
    let mut file = header(bytes, entries);
    file.resize(CLUSTER + 8 * usize::try_from(entries).unwrap(), 0);
    let error = images.add(&arrival("vast"), file.as_slice()).unwrap_err();
    assert!(
        matches!(&error, ImageError::Convert(ConvertError::TooLarge { bytes: found }) if *found == bytes),
        "{error:?}"
    );
    assert!(shelf.files().is_empty());
}

#[test]
fn a_full_disk_is_seen_before_the_file_is_there() {
    let shelf = Shelf::new();
    let images = shelf.open_keeping(u64::MAX / 2);
    let error = images.add(&arrival("debian"), qcow2(&disk()).as_slice()).unwrap_err();
    assert!(matches!(&error, ImageError::Convert(ConvertError::Store(_))), "{error:?}");
    assert!(shelf.files().is_empty());
}
