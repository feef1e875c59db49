use std::{cell::RefCell, fs, time::Instant};

use modules::Digest;
use nix::{sys::stat::Mode, unistd::mkfifo};
use ring::digest::{SHA256, digest};

use super::*;

const PLACE: &str = "kernel/drivers/scsi/megaraid/megaraid_sas.ko.xz";
const BYTES: &[u8] = b"a driver";

fn parcel(bytes: &[u8]) -> Parcel {
    let sha256 = digest(&SHA256, bytes).as_ref().try_into().unwrap();
    let length = bytes.len().try_into().unwrap();
    Parcel { place: PLACE.parse().unwrap(), digest: Digest(sha256), length }
}

/// Makes an entry of a directory, with its name in Rock Ridge.
fn record(block: u32, length: u32, flags: u8, identifier: &[u8], name: &str) -> Vec<u8> {
    let mut bytes = vec![0; 33];
    bytes[2..6].copy_from_slice(&block.to_le_bytes());
    bytes[10..14].copy_from_slice(&length.to_le_bytes());
    (bytes[25], bytes[32]) = (flags, identifier.len().try_into().unwrap());
    bytes.extend(identifier);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes.extend([b'N', b'M', u8::try_from(name.len() + 5).unwrap(), 1, 0]);
    bytes.extend(name.as_bytes());
    bytes[0] = bytes.len().try_into().unwrap();
    bytes
}

/// Returns a medium whose store has one file, under a name; it begins with block 20.
pub(in crate::devices) fn medium(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 20 * 2048];
    let mut put = |at: usize, part: &[u8]| image[at..at + part.len()].copy_from_slice(part);
    put(16 * 2048, b"\x01CD001");
    put(16 * 2048 + 574, b"DRYDOCK ");
    put(16 * 2048 + 156, &record(18, 2048, 2, b"\0", "")[..34]);
    put(18 * 2048, &record(19, 2048, 2, b"STORE", "store"));
    put(19 * 2048, &record(20, bytes.len().try_into().unwrap(), 0, b"A.;1", name));
    [&image, bytes].concat()
}

/// Takes a driver from media with these bytes, each of which is a disk; says what came of it, and what was reported.
fn take(images: &[Vec<u8>]) -> (Option<Result<(), Failure>>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let media = Media::none();
    for (number, image) in images.iter().enumerate() {
        let disk = directory.path().join(number.to_string());
        fs::write(&disk, image).unwrap();
        media.add(disk.display().to_string());
    }
    let (parcel, stock) = (parcel(BYTES), Stock::whole(&directory.path().join("lib")));
    let gaps = RefCell::new(Vec::new());
    let told = |gap: Gap| gaps.borrow_mut().push(gap.reason);
    let came = media.fetch(&parcel, &stock, &told);
    let target = stock.target(&parcel.place);
    match &came {
        Some(Ok(())) => assert_eq!(fs::read(target).unwrap(), BYTES),
        _ => assert!(!target.exists(), "nothing is put there that is not right"),
    }
    (came, gaps.into_inner())
}

fn right() -> Vec<u8> {
    medium(&parcel(BYTES).digest.to_string(), BYTES)
}

#[test]
fn a_file_is_taken_from_the_medium_that_has_it() {
    assert_eq!(take(&[]), (None, vec![]));
    assert_eq!(take(&[right()]), (Some(Ok(())), vec![]));
    let other = medium(&parcel(b"else").digest.to_string(), b"else");
    let reason = format!("{PLACE}: not on this medium");
    assert_eq!(take(std::slice::from_ref(&other)), (None, vec![reason.clone()]));
    assert_eq!(take(&[other, right()]), (Some(Ok(())), vec![reason]));
}

#[test]
fn what_is_wrong_with_a_medium_is_said_and_the_next_one_is_asked() {
    let name = parcel(BYTES).digest.to_string();
    let half = right()[..20 * 2048 + 4].to_vec();
    for (bad, expected) in [
        (medium(&name, b"a drivel"), "the store's file is altered: SHA-256 "),
        (medium(&name, b"a drive"), "the store's file is altered: 7 bytes instead of 8"),
        (half, "failed to fill whole buffer"),
        (right()[..17 * 2048].to_vec(), "failed to fill whole buffer"),
        (vec![0; 64 << 10], "not ours"),
    ] {
        let (came, gaps) = take(std::slice::from_ref(&bad));
        assert_eq!((came, gaps.len()), (None, 1), "{gaps:?}");
        let reason = gaps[0].strip_prefix(&format!("{PLACE}: ")).unwrap();
        assert!(reason.starts_with(expected), "{reason}");
        assert_eq!(take(&[bad, right()]), (Some(Ok(())), gaps));
    }
}

#[test]
fn a_medium_that_was_pulled_out_is_said_and_one_that_hangs_costs_its_time_once() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("hangs");
    // Nobody ever opens its other end.
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let media = Media::none();
    media.add(directory.path().join("gone").display().to_string());
    media.add(pipe.display().to_string());
    let stock = Stock::whole(directory.path());
    let gaps = RefCell::new(Vec::new());
    let told = |gap: Gap| gaps.borrow_mut().push(gap.reason);
    let begun = Instant::now();
    let short = Duration::from_millis(200);
    assert_eq!(media.fetch_within(short, &parcel(BYTES), &stock, &told), None);
    assert!(begun.elapsed() < Duration::from_secs(10));
    let gone = format!("{PLACE}: No such file or directory (os error 2)");
    let hangs = format!("{PLACE}: it does not answer");
    assert_eq!(gaps.into_inner(), [gone.clone(), hangs]);
    let gaps = RefCell::new(Vec::new());
    let told = |gap: Gap| gaps.borrow_mut().push(gap.reason);
    assert_eq!(media.fetch_within(short, &parcel(BYTES), &stock, &told), None);
    assert_eq!(gaps.into_inner(), [gone]);
}

#[test]
fn a_disk_is_looked_at_where_the_machine_started_from_a_medium_and_forgotten_when_it_goes() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), right()).unwrap();
    assert!(is_ours(file.path()).unwrap());
    fs::write(file.path(), vec![0; 64 << 10]).unwrap();
    assert!(!is_ours(file.path()).unwrap());
    fs::write(file.path(), b"short").unwrap();
    assert!(is_ours(file.path()).is_err());

    let media = Media::none();
    assert!(!media.is_wanted());
    media.want();
    assert!(media.is_wanted() && media.count() == 0);
    let disk = || "cciss!c0d0".to_owned();
    assert!(media.is_quiet() && !media.take_news());
    media.add(disk());
    assert!(!media.is_quiet(), "whoever sleeps does not hear of it");
    assert!(media.take_news() && !media.take_news() && media.is_quiet());
    media.add(disk());
    assert!(!media.take_news(), "known already");
    assert!(media.count() == 1 && media.has(&disk()));
    media.forget("cciss/c0d0");
    assert!(media.count() == 0 && !media.has(&disk()));
    media.add(disk());
    assert!(media.count() == 2 && media.take_news(), "it came a second time");
}
