//! One disk per format.

use crate::image::{Image, MIB};

const UUID: &[u8; 16] = b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef";
const SHOWN: &str = "01234567-89ab-cdef-0123-456789abcdef";

/// Checks what is recognised: `kind@offset label uuid`, one line each.
#[track_caller]
fn check(mut image: Image, expected: &str) {
    let content = image.probe();
    let lines: Vec<String> = content
        .signatures
        .iter()
        .map(|found| {
            let label = found.label.as_deref().unwrap_or("-");
            let uuid = found.uuid.as_deref().unwrap_or("-");
            format!("{}@{} {label} {uuid}", found.kind, found.offset)
        })
        .collect();
    assert_eq!(lines.join("\n"), expected);
    assert!(!content.blank, "a disk with a signature is not blank");
    assert_eq!(content.unreadable, []);
}

fn disk() -> Image {
    Image::new(64 * MIB)
}

/// An ext superblock: compatible, incompatible and read-only features.
fn extended(start: u64, features: [u32; 3]) -> Image {
    extended_on(disk(), start, features)
}

fn extended_on(disk: Image, start: u64, features: [u32; 3]) -> Image {
    let [compatible, incompatible, read_only] = features.map(u32::to_le_bytes);
    disk.write(start, 1_u32.to_le_bytes())
        .write(start + 0x18, 2_u32.to_le_bytes())
        .write(start + 0x38, [0x53, 0xef])
        .write(start + 0x5c, compatible)
        .write(start + 0x60, incompatible)
        .write(start + 0x64, read_only)
        .write(start + 0x68, UUID)
        .write(start + 0x78, b"data")
}

fn fat(media: u8) -> Image {
    disk()
        .write(0, b"\xeb\x58\x90mkfs.fat\x00\x02\x04\x20\x00\x02")
        .write(21, [media])
        .write(64, b"\x80\x00\x29\x78\x56\x34\x12LABEL      FAT32   ")
        .write(510, [0x55, 0xaa])
}

fn md_one(offset: u64) -> Image {
    disk()
        .write(offset, b"\xfc\x4e\x2b\xa9\x01\0\0\0")
        .write(offset + 16, UUID)
        .write(offset + 32, b"host:0")
        .write(offset + 144, (offset / 512).to_le_bytes())
}

/// A physical volume in sector 1 with one metadata area at 4 KiB, whose newest text begins at 1.5 KiB of it.
fn volume(status: &str) -> Image {
    let text = format!("vg-0.a {{\nid = \"x\"\nseqno = 3\nstatus = [\"{status}\"\n}}\n");
    let place = |offset: u64, size: u64| [offset.to_le_bytes(), size.to_le_bytes()].concat();
    let text_place = place(1536, u64::try_from(text.len()).expect("short"));
    disk()
        .write(512, b"LABELONE")
        .write(512 + 20, [32])
        .write(512 + 24, b"LVM2 001pIAELeIEVczpTZ0trWirWosDaauPCf7F")
        .write(512 + 32 + 40, [place(MIB, 0), place(0, 0), place(4096, 65_536)].concat())
        .write(4096 + 4, b" LVM2 x[5A%r0N*>")
        .write(4096 + 40, text_place)
        .write(4096 + 1536, text)
}

/// A pair of an XDR name-value list.
fn pair(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = [0; 8].to_vec();
    bytes.extend(u32::try_from(name.len()).expect("short").to_be_bytes());
    bytes.extend(name.bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(1_u32.to_be_bytes());
    bytes.extend(value);
    bytes
}

fn zfs_list(image: Image, label: u64) -> Image {
    let mut list = vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    list.extend(pair("name", 9, b"\0\0\0\x04tank"));
    list.extend(pair("pool_guid", 8, &77_u64.to_be_bytes()));
    image.write(label + 16_384, list)
}

#[test]
fn ext_filesystems_are_told_apart_by_their_features() {
    check(extended(1024, [0, 2, 1]), &format!("ext2@1080 data {SHOWN}"));
    check(extended(1024, [4, 2, 3]), &format!("ext3@1080 data {SHOWN}"));
    check(extended(1024, [4, 0x40 | 2, 3]), &format!("ext4@1080 data {SHOWN}"));
    check(extended(1024, [4, 2, 0x400]), &format!("ext4@1080 data {SHOWN}"));
    check(extended(1024, [0, 8, 0]), &format!("jbd@1080 data {SHOWN}"));
}

#[test]
fn filesystems_are_recognised() {
    check(
        disk().write(0, b"XFSB").write(32, UUID).write(108, b"data"),
        &format!("xfs@0 data {SHOWN}"),
    );
    check(
        disk()
            .write(65_536 + 32, UUID)
            .write(65_536 + 64, b"_BHRfS_M")
            .write(65_536 + 0x12b, b"pool"),
        &format!("btrfs@65600 pool {SHOWN}"),
    );
    check(
        disk().write(3, b"NTFS    ").write(72, 0x607e_84f4_0335_1931_u64.to_le_bytes()),
        "ntfs@3 - 607E84F403351931",
    );
    check(disk().write(3, b"EXFAT   ").write(100, [0x93, 0x04, 0xc5, 0xef]), "exfat@3 - EFC5-0493");
    check(fat(0xf8), "vfat@0 LABEL 1234-5678");
    check(disk().write(3, b"-FVE-FS-"), "bitlocker@3 - -");
    check(disk().write(0, b"\0\0\0ReFS\0"), "refs@0 - -");
    check(disk().write(32_769, b"CD001").write(32_808, b"DEBIAN"), "iso9660@32769 DEBIAN -");
    check(disk().write(38_913, b"NSR02"), "udf@38913 - -");
    check(disk().write(0, b"hsqs"), "squashfs@0 - -");
    check(
        disk()
            .write(1024, [0x10, 0x20, 0xf5, 0xf2])
            .write(1024 + 0x6c, UUID)
            .write(1024 + 0x7c, b"f\0s\0"),
        &format!("f2fs@1024 fs {SHOWN}"),
    );
    check(
        disk().write(1024, [0xe2, 0xe1, 0xf5, 0xe0]).write(1024 + 48, UUID),
        &format!("erofs@1024 - {SHOWN}"),
    );
    check(disk().write(32, b"NXSB").write(72, UUID), &format!("apfs@32 - {SHOWN}"));
    check(disk().write(1024, b"H+\0\x04"), "hfsplus@1024 - -");
    check(disk().write(32_768, b"JFS1"), "jfs@32768 - -");
    check(disk().write(65_536 + 52, b"ReIsEr2Fs"), "reiserfs@65588 - -");
}

#[test]
fn filesystems_of_shared_storage_are_recognised() {
    check(
        disk()
            .write(65_536, [0x01, 0x16, 0x19, 0x70])
            .write(65_536 + 24, 1801_u32.to_be_bytes())
            .write(65_536 + 0xa0, b"cluster:vol")
            .write(65_536 + 0x100, UUID),
        &format!("gfs2@65536 cluster:vol {SHOWN}"),
    );
    check(disk().write(8192, b"OCFSV2"), "ocfs2@8192 - -");
    check(
        disk().write(MIB, [0x0d, 0xd0, 0x01, 0xc0]).write(2 * MIB, [0x5e, 0xf1, 0xab, 0x2f]),
        "vmfs-volume@1048576 - -\nvmfs@2097152 - -",
    );
}

#[test]
fn swap_ends_a_page_of_any_size() {
    for page in [4096, 16_384, 65_536] {
        check(
            disk().write(1024 + 12, UUID).write(1024 + 28, b"sw").write(page - 10, b"SWAPSPACE2"),
            &format!("swap@{} sw {SHOWN}", page - 10),
        );
    }
    check(disk().write(4086, b"S1SUSPEND\0"), "swsuspend@4086 - -");
}

#[test]
fn volumes_and_encryption_are_recognised() {
    let luks = |version: u8| {
        disk()
            .write(0, b"LUKS\xba\xbe\0")
            .write(7, [version])
            .write(24, b"vault")
            .write(168, SHOWN.as_bytes())
    };
    check(luks(1), &format!("luks1@0 - {SHOWN}"));
    check(luks(2), &format!("luks2@0 vault {SHOWN}"));
    for sector in 0..4 {
        let label = sector * 512;
        check(
            disk()
                .write(label, b"LABELONE")
                .write(label + 20, [32])
                .write(label + 24, b"LVM2 001pIAELeIEVczpTZ0trWirWosDaauPCf7F"),
            &format!("lvm2@{label} - pIAELe-IEVc-zpTZ-0trW-irWo-sDaa-uPCf7F"),
        );
    }
    check(volume("RESIZEABLE"), "lvm2@512 vg-0.a pIAELe-IEVc-zpTZ-0trW-irWo-sDaa-uPCf7F");
    for word in ["CLUSTERED\", \"RESIZEABLE", "READ\"]\nlock_type = \"sanlock"] {
        check(
            volume(word),
            "lvm2@512 vg-0.a pIAELe-IEVc-zpTZ-0trW-irWo-sDaa-uPCf7F\nlvm2-shared@5632 vg-0.a -",
        );
    }
    check(
        disk()
            .write(4096 + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81")
            .write(4096 + 40, UUID),
        &format!("bcache@4120 - {SHOWN}"),
    );
    check(
        disk().write(0, format!("bluestore block device\n{SHOWN}\n")),
        &format!("ceph-bluestore@0 - {SHOWN}"),
    );
    check(disk().write(0, b"dmvdo001"), "vdo@0 - -");
    check(disk().write(516, b"!Stra0tis\x86\xff\x02^\x41rh"), "stratis@516 - -");
    check(disk().write(64 * MIB - 4096 + 60, [0x83, 0x74, 0x02, 0x6d]), "drbd@67104828 - -");
}

#[test]
fn linux_raid_is_found_at_the_start_and_at_the_end() {
    check(md_one(0), &format!("md@0 host:0 {SHOWN}"));
    check(md_one(4096), &format!("md@4096 host:0 {SHOWN}"));
    check(md_one(64 * MIB - 8192), &format!("md@{} host:0 {SHOWN}", 64 * MIB - 8192));
    // As mdadm wrote it on a little-endian machine, and the same from a big-endian one.
    let old = 64 * MIB - 65_536;
    let little = [&b"\x63\x24\x88\xa8"[..], b"\x59\x28\x91\xc7\x3c\x6b\x18\x3d\x34\x8f\x95\x53"];
    let big = [&b"\xa8\x88\x24\x63"[..], b"\xc7\x91\x28\x59\x3d\x18\x6b\x3c\x53\x95\x8f\x34"];
    for (magic, [first, rest]) in [(b"\xfc\x4e\x2b\xa9", little), (b"\xa9\x2b\x4e\xfc", big)] {
        check(
            disk().write(old, magic).write(old + 20, first).write(old + 52, rest),
            &format!("md@{old} - a8882463-c791-2859-3d18-6b3c53958f34"),
        );
    }
}

#[test]
fn raid_of_controllers_is_found_at_the_end() {
    let end = 64 * MIB;
    check(disk().write(end - 512, [0xde, 0x11, 0xde, 0x11]), &format!("ddf@{} - -", end - 512));
    check(
        disk().write(end - 1024, b"Intel Raid ISM Cfg Sig. 1.1.00"),
        &format!("imsm@{} - -", end - 1024),
    );
    check(disk().write(end - 1024, b"NVIDIA  "), &format!("nvidia-raid@{} - -", end - 1024));
}

#[test]
fn every_zfs_label_is_enough() {
    let size = 64 * MIB + 4096;
    let end = 64 * MIB;
    for label in [0, 256 << 10, end - (512 << 10), end - (256 << 10)] {
        check(zfs_list(Image::new(size), label), &format!("zfs@{} tank 77", label + 16_384));
        let slot = label + (128 << 10) + 7 * 1024;
        for magic in [0x00ba_b10c_u64.to_le_bytes(), 0x00ba_b10c_u64.to_be_bytes()] {
            check(Image::new(size).write(slot, magic), &format!("zfs@{slot} - -"));
        }
    }
}

#[test]
fn what_an_overwritten_start_leaves_behind_is_found() {
    check(
        disk().write(16_384, b"SKUL\xba\xbe\0\x02").write(16_384 + 168, SHOWN.as_bytes()),
        &format!("luks2@16384 - {SHOWN}"),
    );
    check(disk().write(4 * MIB, b"SKUL\xba\xbe\0\x02"), "luks2@4194304 - -");
    let large = || Image::new(1001 << 30);
    for gibibytes in [1, 10, 100, 1000] {
        let offset = gibibytes << 30;
        check(
            large().write(offset, b"bluestore block device\n"),
            &format!("ceph-bluestore@{offset} - -"),
        );
    }
    for offset in [64 * MIB, 256 << 30] {
        check(large().write(offset + 64, b"_BHRfS_M"), &format!("btrfs@{} - -", offset + 64));
    }
    for start in [8193 * 1024, 16_384 * 2048, 32_768 * 4096] {
        check(
            extended_on(large(), start, [4, 0x42, 3]),
            &format!("ext4@{} data {SHOWN}", start + 0x38),
        );
    }
    check(
        large().write((1001 << 30) - 509, b"NTFS    "),
        &format!("ntfs@{} - -", (1001_u64 << 30) - 509),
    );
}

#[test]
fn two_things_on_one_disk_are_both_said() {
    check(
        md_one(64 * MIB - 8192).write(0, b"XFSB"),
        &format!("xfs@0 - -\nmd@{} host:0 {SHOWN}", 64 * MIB - 8192),
    );
}

#[test]
fn numbers_that_make_no_sense_are_no_filesystem() {
    for image in [
        fat(0x00),
        extended(1024, [4, 2, 3]).write(1024 + 0x18, 99_u32.to_le_bytes()),
        md_one(4096).write(4096 + 144, 9_u64.to_le_bytes()),
    ] {
        let content = { image }.probe();
        assert!(
            content.signatures.iter().all(|found| found.kind == "mbr"),
            "{:?}",
            content.signatures
        );
        assert!(!content.blank);
    }
}
