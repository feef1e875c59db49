//! Partition tables.

use signature::{Content, Partition};

use crate::image::{Image, MIB, crc32};

const LINUX: [u8; 16] = [
    0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4,
];

/// Where one copy of a GPT lies, in sectors.
struct Place {
    header: u64,
    other: u64,
    entries: u64,
}

/// Writes one copy of a GPT with one partition from sector 64 to 127.
fn gpt(image: Image, sector: u64, place: &Place) -> Image {
    let mut entries = vec![0; 128 * 128];
    entries[..16].copy_from_slice(&LINUX);
    entries[16..32].fill(7);
    entries[32..40].copy_from_slice(&64_u64.to_le_bytes());
    entries[40..48].copy_from_slice(&127_u64.to_le_bytes());
    entries[56..64].copy_from_slice(b"r\0o\0o\0t\0");
    let mut header = b"EFI PART\0\0\x01\0\x5c\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    for number in [place.header, place.other, 34, 1000] {
        header.extend(number.to_le_bytes());
    }
    header.extend([9; 16]);
    header.extend(place.entries.to_le_bytes());
    for number in [128, 128, crc32(&entries)] {
        header.extend(number.to_le_bytes());
    }
    assert_eq!(header.len(), 92);
    let sum = crc32(&header);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    image.write(place.header * sector, header).write(place.entries * sector, entries)
}

fn primary(image: Image, sector: u64) -> Image {
    let last = image.size() / sector - 1;
    gpt(image, sector, &Place { header: 1, other: last, entries: 2 })
}

fn backup(image: Image, sector: u64) -> Image {
    let last = image.size() / sector - 1;
    gpt(image, sector, &Place { header: last, other: 1, entries: last - 32 })
}

/// A small disk with an MBR with logical partitions, both copies of a GPT, and headers of volumes.
pub(crate) fn everything() -> Image {
    let disk = backup(primary(Image::new(MIB), 512), 512);
    let disk = boot_record(disk, 0, &[entry(0x05, 40, 1000), entry(0xee, 1, 2000)]);
    boot_record(disk, 40, &[entry(0x83, 1, 100), entry(0x05, 20, 100)])
        .write(64 * 512, b"LUKS\xba\xbe\0\x02")
        .write(65 * 512, b"LABELONE\0\0\0\0\0\0\0\0\0\0\0\0\x20\0\0\0LVM2 001")
}

fn kinds(content: &Content) -> Vec<(&str, u64)> {
    content.signatures.iter().map(|found| (found.kind, found.offset)).collect()
}

fn partitions(content: &Content) -> Vec<(u32, u64, u64, &str)> {
    content
        .partitions
        .iter()
        .map(|partition| {
            (partition.number, partition.start, partition.size, partition.kind.as_str())
        })
        .collect()
}

/// An MBR entry: flag, type, start and length in sectors.
fn entry(kind: u8, start: u32, sectors: u32) -> Vec<u8> {
    let mut entry = vec![0, 0, 0, 0, kind, 0, 0, 0];
    entry.extend(start.to_le_bytes());
    entry.extend(sectors.to_le_bytes());
    entry
}

fn boot_record(image: Image, sector: u64, entries: &[Vec<u8>]) -> Image {
    image.write(sector * 512 + 446, entries.concat()).write(sector * 512 + 510, [0x55, 0xaa])
}

#[test]
fn a_gpt_is_read_in_sectors_of_either_size() {
    for sector in [512, 4096] {
        let mut disk = backup(primary(Image::new(8 * MIB), sector), sector);
        let content = disk.probe();
        assert_eq!(kinds(&content), [("gpt", sector), ("gpt", 8 * MIB - sector)]);
        assert_eq!(
            content.signatures[0].uuid.as_deref(),
            Some("09090909-0909-0909-0909-090909090909")
        );
        assert_eq!(
            content.partitions,
            [Partition {
                number: 1,
                start: 64 * sector,
                size: 64 * sector,
                kind: "0fc63daf-8483-4772-8e79-3d69d8477de4".to_owned(),
                uuid: Some("07070707-0707-0707-0707-070707070707".to_owned()),
                name: Some("root".to_owned()),
                signatures: Vec::new(),
            }]
        );
    }
}

#[test]
fn the_backup_speaks_where_the_primary_is_gone_or_damaged() {
    let mut gone = backup(Image::new(8 * MIB), 512);
    assert_eq!(kinds(&gone.probe()), [("gpt", 8 * MIB - 512)]);
    assert_eq!(gone.probe().partitions.len(), 1);

    for damage in [512 + 40, 1024 + 3] {
        let mut damaged = backup(primary(Image::new(8 * MIB), 512), 512).write(damage, [0xff]);
        let content = damaged.probe();
        assert_eq!(kinds(&content), [("gpt-broken", 512), ("gpt", 8 * MIB - 512)]);
        assert_eq!(content.partitions.len(), 1);
    }
}

#[test]
fn a_damaged_table_alone_is_still_something() {
    let content = primary(Image::new(8 * MIB), 512).write(512 + 40, [0xff]).probe();
    assert_eq!(kinds(&content), [("gpt-broken", 512)]);
    assert!(!content.blank);
    assert_eq!(content.partitions, []);
}

#[test]
fn a_backup_that_is_not_at_the_end_is_found_through_the_primary() {
    // An image written to a larger disk.
    let small = 4 * MIB / 512 - 1;
    let disk = gpt(Image::new(8 * MIB), 512, &Place { header: 1, other: small, entries: 2 });
    let mut disk = gpt(disk, 512, &Place { header: small, other: 1, entries: small - 32 });
    assert_eq!(kinds(&disk.probe()), [("gpt", 512), ("gpt", 4 * MIB - 512)]);
}

#[test]
fn what_is_in_a_partition_is_found_with_offsets_from_its_start() {
    let mut disk = primary(Image::new(8 * MIB), 4096).write(64 * 4096, b"XFSB");
    let content = disk.probe();
    let [root] = content.partitions.as_slice() else { panic!("one partition: {content:?}") };
    assert_eq!(root.signatures.len(), 1);
    assert_eq!((root.signatures[0].kind, root.signatures[0].offset), ("xfs", 0));
}

#[test]
fn an_mbr_with_logical_partitions_is_read() {
    let disk = boot_record(
        Image::new(64 * MIB).write(440, [0x16, 0, 0x42, 0xf5]),
        0,
        &[entry(0x83, 2048, 2048), entry(0x05, 8192, 65_536)],
    );
    let disk = boot_record(disk, 8192, &[entry(0x83, 63, 1000), entry(0x05, 4096, 4096)]);
    let mut disk = boot_record(disk, 8192 + 4096, &[entry(0x82, 63, 500)]);
    let content = disk.probe();
    assert_eq!(kinds(&content), [("mbr", 0)]);
    assert_eq!(content.signatures[0].uuid.as_deref(), Some("f5420016"));
    assert_eq!(
        partitions(&content),
        [
            (1, 2048 * 512, 2048 * 512, "0x83"),
            (2, 8192 * 512, 65_536 * 512, "0x05"),
            (5, (8192 + 63) * 512, 1000 * 512, "0x83"),
            (6, (8192 + 4096 + 63) * 512, 500 * 512, "0x82"),
        ]
    );
}

#[test]
fn a_circle_of_logical_partitions_ends() {
    let disk = boot_record(Image::new(64 * MIB), 0, &[entry(0x05, 8192, 65_536)]);
    let disk = boot_record(disk, 8192, &[entry(0x83, 63, 100), entry(0x05, 4096, 4096)]);
    for back in [0, 4096] {
        let mut disk =
            boot_record(disk.clone(), 8192 + 4096, &[entry(0x83, 63, 100), entry(0x05, back, 1)]);
        assert_eq!(disk.probe().partitions.len(), 3, "the extended one and two logical ones");
    }
}

#[test]
fn a_chain_of_a_thousand_links_is_cut() {
    let mut disk = boot_record(Image::new(64 * MIB), 0, &[entry(0x05, 64, 100_000)]);
    for link in 0..1000_u32 {
        let at = u64::from(64 + link * 64);
        disk = boot_record(disk, at, &[entry(0x83, 1, 1), entry(0x05, (link + 1) * 64, 64)]);
    }
    assert_eq!(disk.probe().partitions.len(), 1 + 128);
}

#[test]
fn the_protective_record_hides_behind_its_gpt() {
    let disk = primary(Image::new(8 * MIB), 512);
    let content = boot_record(disk, 0, &[entry(0xee, 1, u32::MAX)]).probe();
    assert_eq!(kinds(&content), [("pmbr", 0), ("gpt", 512)]);
    assert_eq!(content.partitions.len(), 1);
    assert_eq!(content.partitions[0].name.as_deref(), Some("root"));

    let alone = boot_record(Image::new(8 * MIB), 0, &[entry(0xee, 1, u32::MAX)]).probe();
    assert_eq!(kinds(&alone), [("pmbr", 0)]);
}

#[test]
fn a_label_without_partitions_is_not_blank() {
    let content = boot_record(Image::new(8 * MIB), 0, &[]).probe();
    assert_eq!(kinds(&content), [("mbr", 0)]);
    assert!(!content.blank);
}

#[test]
fn a_partition_beyond_the_disk_is_listed_but_not_read() {
    let disk = boot_record(
        Image::new(8 * MIB),
        0,
        &[entry(0x83, u32::MAX, u32::MAX), entry(0x83, 2048, u32::MAX)],
    );
    let content = { disk }.write(MIB, b"XFSB").probe();
    assert_eq!(content.unreadable, []);
    assert_eq!(content.partitions.len(), 2);
    assert_eq!(content.partitions[0].signatures, []);
    assert_eq!(content.partitions[1].signatures[0].kind, "xfs");
}
