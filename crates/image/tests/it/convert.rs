//! Converted images: what the frames hold, what the manifest says of them, what is refused.

use std::{
    fs,
    io::{self, Read, Write},
    num::NonZeroUsize,
};

use image::{
    Chunk, ChunkError, Manifest, UnpackError, Unpacker, WINDOW_LIMIT,
    convert::{CHUNK_BYTES, ConvertError, LEVEL, Options, convert},
    digest, unpack,
};

use crate::{
    manifest::Key,
    samples::{Trickle, disk, noise, pipe, run},
};

pub(crate) fn options(chunk_bytes: u32, threads: usize) -> Options {
    Options {
        name: "test".into(),
        origin: vec!["raw".into()],
        chunk_bytes,
        level: LEVEL,
        threads: NonZeroUsize::new(threads).expect("there is a thread"),
    }
}

/// Converts, and has the manifest signed.
fn converted(image: &[u8], options: &Options) -> (Manifest, Vec<u8>) {
    let mut frames = Vec::new();
    let draft = convert(Trickle(image), &mut frames, options).expect("it is an image");
    let key = Key::new();
    let manifest = draft.sign(&key.info, |message| key.sign(message)).expect("the key signs");
    assert_eq!(manifest.verify(&[key.pin]), Ok(()));
    (manifest, frames)
}

/// As an agent unpacks: frame by frame, zeros without their frames.
fn unpacked(manifest: &Manifest, frames: &[u8]) -> Vec<u8> {
    let length = usize::try_from(manifest.description().image_bytes).expect("it is small");
    let mut image = vec![0; length];
    let mut unpacker = Unpacker::new();
    for entry in manifest.chunks() {
        let place = |range: &std::ops::Range<u64>| {
            let at = |offset| usize::try_from(offset).expect("it is small");
            at(range.start)..at(range.end)
        };
        if let Chunk::Data { digest } = &entry.chunk {
            let into = &mut image[place(&entry.bytes)];
            unpacker
                .unpack(&frames[place(&entry.frame)], digest, into)
                .expect("the frame is sound");
        }
    }
    image
}

#[test]
fn the_stock_zstd_and_an_agent_unpack_the_same_image() {
    let image = disk(40_001);
    for threads in [1, 2, 5] {
        let (manifest, frames) = converted(&image, &options(64 << 10, threads));
        assert!(pipe(&["zstd", "-d", "-q", "-c"], &frames) == image, "{threads} threads, zstd");
        assert!(unpacked(&manifest, &frames) == image, "{threads} threads, chunks");
        assert_eq!(manifest.frames_bytes(), u64::try_from(frames.len()).unwrap());
    }
    let mut foreign = Vec::new();
    let frames = converted(&image, &options(CHUNK_BYTES, 2)).1;
    unpack(frames.as_slice(), WINDOW_LIMIT).unwrap().read_to_end(&mut foreign).unwrap();
    assert!(foreign == image, "a frames file is a foreign image too");
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let image = disk(9000);
    let mut one = Vec::new();
    let mut seven = Vec::new();
    let first = convert(image.as_slice(), &mut one, &options(8 << 10, 1)).unwrap();
    let second = convert(image.as_slice(), &mut seven, &options(8 << 10, 7)).unwrap();
    assert!(one == seven);
    assert_eq!(first, second);
}

#[test]
fn zeros_are_marked_and_have_small_frames() {
    let image = disk(32_768);
    let (manifest, _) = converted(&image, &options(CHUNK_BYTES, 2));
    let entries: Vec<_> = manifest.chunks().collect();
    assert_eq!(entries.len(), 4);
    assert!(entries[..2].iter().all(|entry| entry.chunk != Chunk::Zeros));
    for entry in &entries[2..] {
        assert_eq!(entry.chunk, Chunk::Zeros);
        assert!(entry.frame.end - entry.frame.start < 300, "{entry:?}");
    }
}

#[test]
fn the_whole_and_every_chunk_have_the_digests_that_the_manifest_says() {
    let image = disk(100);
    let (manifest, _) = converted(&image, &options(4 << 10, 2));
    let whole = ring::digest::digest(&ring::digest::SHA256, &image);
    assert_eq!(manifest.description().sha256, whole.as_ref());
    for (entry, bytes) in manifest.chunks().zip(image.chunks(4 << 10)) {
        let zeros = bytes.iter().all(|byte| *byte == 0);
        let expected = if zeros { Chunk::Zeros } else { Chunk::Data { digest: digest(bytes) } };
        assert_eq!(entry.chunk, expected);
    }
}

#[test]
fn every_change_of_a_frame_is_noticed() {
    let image = disk(8);
    let (manifest, frames) = converted(&image, &options(4 << 10, 1));
    let Chunk::Data { digest } = manifest.chunks().next().unwrap().chunk else { panic!("zeros") };
    let frame = &frames[..usize::try_from(manifest.chunks().next().unwrap().frame.end).unwrap()];
    let mut unpacker = Unpacker::new();
    let mut into = vec![0; 4096];
    for length in 0..frame.len() {
        assert!(unpacker.unpack(&frame[..length], &digest, &mut into).is_err(), "{length}");
    }
    for index in 0..frame.len() {
        for bit in 0..8 {
            let mut frame = frame.to_vec();
            frame[index] ^= 1 << bit;
            if unpacker.unpack(&frame, &digest, &mut into).is_ok() {
                assert!(into == image[..4096], "bit {bit} of byte {index}");
            }
        }
    }
    unpacker.unpack(frame, &digest, &mut into).unwrap();
    assert!(into == image[..4096]);
    let other = unpacker.unpack(frame, &[7; 32], &mut into);
    assert_eq!(other, Err(ChunkError::Digest));
    let mut long = vec![0; 8192];
    let other = unpacker.unpack(frame, &digest, &mut long);
    assert_eq!(other, Err(ChunkError::Length { found_bytes: 4096, expected_bytes: 8192 }));
}

/// A disk that sfdisk divided.
fn divided(script: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    fs::write(directory.path().join("disk.raw"), vec![0; 64 << 20]).expect("there is room");
    fs::write(directory.path().join("script"), script).expect("there is room");
    let command = "PATH=$PATH:/sbin:/usr/sbin sfdisk -q disk.raw <script";
    run(directory.path(), &["sh", "-c", command]);
    fs::read(directory.path().join("disk.raw")).expect("the disk is there")
}

/// The same table for a disk of 4096 byte sectors, eight times as large.
fn in_large_sectors(image: &[u8]) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_le_bytes()
    };
    let mut large = vec![0; image.len() * 8];
    large[510..512].copy_from_slice(&[0x55, 0xaa]);
    let (header, entries) = (&image[512..604], &image[1024..1024 + 128 * 128]);
    large[8192..][..entries.len()].copy_from_slice(entries);
    large[4096..][..header.len()].copy_from_slice(header);
    large[4112..4116].fill(0);
    let sum = crc(&large[4096..4188]);
    large[4112..4116].copy_from_slice(&sum);
    large
}

fn gpt() -> Vec<u8> {
    divided(
        "label: gpt\nsize=1MiB, type=21686148-6449-6E6F-744E-656564454649\nsize=32MiB, type=L, name=\"root µ\"\n",
    )
}

#[test]
fn the_partition_plan_is_the_tables() {
    let draft = convert(gpt().as_slice(), io::sink(), &options(CHUNK_BYTES, 2)).unwrap();
    assert_eq!(draft.description.sector_bytes, Some(512));
    assert_eq!(draft.description.smallest_disk_bytes, 64 << 20);
    let [boot, root] = draft.description.partitions.as_slice() else { panic!("{draft:?}") };
    assert_eq!((boot.number, root.number), (1, 2));
    assert_eq!(boot.kind, "21686148-6449-6e6f-744e-656564454649");
    assert_eq!(root.kind, "0fc63daf-8483-4772-8e79-3d69d8477de4");
    assert_eq!(root.name.as_deref(), Some("root µ"));
    assert_eq!((root.offset_bytes, root.size_bytes), (2 << 20, 32 << 20));

    let image = in_large_sectors(&gpt());
    let draft = convert(image.as_slice(), io::sink(), &options(CHUNK_BYTES, 2)).unwrap();
    assert_eq!(draft.description.sector_bytes, Some(4096));
    assert_eq!(draft.description.partitions[1].offset_bytes, 16 << 20);

    let image = divided("label: dos\nsize=16MiB, type=83\nsize=8MiB, type=c\n");
    let draft = convert(image.as_slice(), io::sink(), &options(CHUNK_BYTES, 2)).unwrap();
    assert_eq!(draft.description.sector_bytes, None);
    let kinds: Vec<_> = draft.description.partitions.iter().map(|p| p.kind.as_str()).collect();
    assert_eq!(kinds, ["0x83", "0x0c"]);

    let draft = convert(disk(100).as_slice(), io::sink(), &options(CHUNK_BYTES, 2)).unwrap();
    assert_eq!(draft.description.partitions, []);
}

#[test]
fn an_image_that_ends_before_its_table_says_was_cut() {
    for image in [gpt(), divided("label: dos\nsize=60MiB, type=83\n")] {
        let cut = convert(&image[..48 << 20], io::sink(), &options(CHUNK_BYTES, 2)).unwrap_err();
        assert!(cut.to_string().starts_with("the image is cut: its partition table"), "{cut}");
    }
    let image = gpt();
    let cut = convert(&image[..image.len() - 512], io::sink(), &options(CHUNK_BYTES, 2));
    assert!(matches!(cut, Err(ConvertError::Plan(_))), "its backup table is missing: {cut:?}");
}

#[test]
fn every_flipped_bit_of_a_table_is_noticed() {
    let image = gpt();
    let options = Options { level: 1, ..options(8 << 20, 1) };
    let image = &image[..40 << 10];
    for byte in (512..604).chain(1024..1280).step_by(3) {
        let mut image = image.to_vec();
        image[byte] ^= 1 << (byte % 8);
        let result = convert(image.as_slice(), io::sink(), &options);
        let Err(ConvertError::Plan(error)) = result else { panic!("byte {byte}: {result:?}") };
        assert!(error.to_string().contains("damaged"), "byte {byte}: {error}");
    }
}

/// As a full disk.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn errors_of_both_ends_come_through() {
    let packed = pipe(&["xz", "-0", "-c"], &disk(9000));
    let source = unpack(&packed[..packed.len() - 9], WINDOW_LIMIT).unwrap();
    let Err(ConvertError::Read(error)) = convert(source, io::sink(), &options(64 << 10, 2)) else {
        panic!("a cut image was converted")
    };
    assert!(matches!(UnpackError::of(&error), Some(UnpackError::Truncated { .. })), "{error}");

    let image = noise(9, 4 << 20);
    for room in [0, 1 << 20, 3 << 20] {
        let full = convert(image.as_slice(), Full(room), &options(64 << 10, 3));
        assert!(matches!(full, Err(ConvertError::Write(_))), "{full:?}");
    }
}

#[test]
fn what_is_no_number_of_sectors_or_no_option_is_refused() {
    for bytes in [0, 511, 4097] {
        let result = convert(&disk(100)[..bytes], io::sink(), &options(4 << 10, 2));
        assert!(matches!(result, Err(ConvertError::NotWholeSectors { .. })), "{result:?}");
    }
    for chunk_bytes in [0, 2048, 5000, 16 << 20] {
        let result = convert(disk(100).as_slice(), io::sink(), &options(chunk_bytes, 2));
        assert!(matches!(result, Err(ConvertError::Options)), "{result:?}");
    }
    let level = Options { level: 0, ..options(4 << 10, 2) };
    assert!(convert(disk(100).as_slice(), io::sink(), &level).is_err());
}
