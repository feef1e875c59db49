//! Filesystems, swap and read-only images, by their superblocks.

use crate::{
    Signature,
    field::{self, be32, le16, le32, le64},
    region::Region,
};

/// A magic that says all there is to say.
const PLAIN: [(&str, u64, &[u8]); 23] = [
    ("bitlocker", 3, b"-FVE-FS-"),
    // BitLocker To Go hides behind a FAT boot sector.
    ("bitlocker", 424, b"\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01"),
    ("refs", 0, b"\0\0\0ReFS\0"),
    ("squashfs", 0, b"hsqs"),
    ("squashfs", 0, b"sqsh"),
    ("cramfs", 0, b"\x45\x3d\xcd\x28"),
    ("cramfs", 0, b"\x28\xcd\x3d\x45"),
    ("ubi", 0, b"UBI#"),
    ("hfsplus", 1024, b"H+\0\x04"),
    ("hfsplus", 1024, b"HX\0\x05"),
    ("vxfs", 1024, b"\xf5\xfc\x01\xa5"),
    ("ufs", 8192 + 1372, b"\x54\x19\x01\0"),
    ("ufs", 8192 + 1372, b"\0\x01\x19\x54"),
    ("ufs", 8192 + 1372, b"\x19\x01\x54\x19"),
    ("ufs", 65_536 + 1372, b"\x19\x01\x54\x19"),
    ("ufs", 65_536 + 1372, b"\x54\x19\x01\0"),
    ("reiserfs", 8192 + 52, b"ReIsErFs"),
    ("reiserfs", 65_536 + 52, b"ReIsErFs"),
    ("reiserfs", 65_536 + 52, b"ReIsEr2Fs"),
    ("reiserfs", 65_536 + 52, b"ReIsEr3Fs"),
    ("reiser4", 65_536, b"ReIsEr4"),
    ("befs", 0x220, b"1SFB"),
    ("vmfs", 2 << 20, b"\x5e\xf1\xab\x2f"),
];

/// Returns every filesystem that is recognised in a region.
pub(crate) fn find(region: &mut Region<'_, '_>) -> Vec<Signature> {
    const CHECKS: [fn(&mut Region<'_, '_>) -> Option<Signature>; 16] = [
        extended,
        xfs,
        btrfs,
        fat,
        exfat,
        ntfs,
        swap,
        suspended,
        iso9660,
        udf,
        f2fs,
        erofs,
        apfs,
        gfs2,
        ocfs2,
        jfs_or_nilfs,
    ];
    let mut found: Vec<Signature> = CHECKS.iter().filter_map(|check| check(region)).collect();
    for (kind, offset, magic) in PLAIN {
        // BitLocker To Go's boot sector is a true FAT one as well; one name is enough for the same place.
        if region.has(offset, magic) && found.iter().all(|other| other.kind != kind) {
            found.push(Signature::new(kind, offset));
        }
    }
    found
}

/// ext2, ext3, ext4 and an external journal (kernel: fs/ext4/ext4.h, `struct ext4_super_block`).
pub(crate) fn extended_at(region: &mut Region<'_, '_>, start: u64) -> Option<Signature> {
    const JOURNAL: u32 = 0x4;
    const JOURNAL_DEVICE: u32 = 0x8;
    // What ext3 knows: `filetype`, `recover`, `meta_bg`; and `sparse_super`, `large_file`, `btree_dir`.
    const EXT3_INCOMPATIBLE: u32 = 0x2 | 0x4 | 0x10;
    const EXT3_READ_ONLY: u32 = 0x1 | 0x2 | 0x4;

    let block = region.at(start, 0x100)?;
    let journal_device = le32(&block, 0x60)? & JOURNAL_DEVICE != 0;
    let plausible = le32(&block, 0x18)? <= 6 && le32(&block, 0)? > 0;
    if le16(&block, 0x38)? != 0xef53 || !(plausible || journal_device) {
        return None;
    }
    let kind = if journal_device {
        "jbd"
    } else if le32(&block, 0x60)? & !EXT3_INCOMPATIBLE != 0
        || le32(&block, 0x64)? & !EXT3_READ_ONLY != 0
    {
        "ext4"
    } else if le32(&block, 0x5c)? & JOURNAL != 0 {
        "ext3"
    } else {
        "ext2"
    };
    let label = field::text(&block, 0x78, 16);
    Some(Signature::new(kind, start + 0x38).uuid(field::uuid(&block, 0x68)).label(label))
}

fn extended(region: &mut Region<'_, '_>) -> Option<Signature> {
    extended_at(region, 1024)
}

fn xfs(region: &mut Region<'_, '_>) -> Option<Signature> {
    let block = region.at(0, 128)?;
    block.starts_with(b"XFSB").then(|| {
        Signature::new("xfs", 0).uuid(field::uuid(&block, 32)).label(field::text(&block, 108, 12))
    })
}

/// Btrfs keeps the same superblock at 64 KiB, 64 MiB and 256 GiB.
pub(crate) fn btrfs_at(region: &mut Region<'_, '_>, start: u64) -> Option<Signature> {
    let block = region.at(start, 1024)?;
    (block.get(64..72)? == b"_BHRfS_M").then(|| {
        let label = field::text(&block, 0x12b, 256);
        Signature::new("btrfs", start + 64).uuid(field::uuid(&block, 32)).label(label)
    })
}

fn btrfs(region: &mut Region<'_, '_>) -> Option<Signature> {
    btrfs_at(region, 64 << 10)
}

/// FAT12, FAT16 and FAT32, by a boot sector whose numbers make sense: the names in it are only hints.
fn fat(region: &mut Region<'_, '_>) -> Option<Signature> {
    let block = region.at(0, 512)?;
    let jump = matches!(block.first_chunk::<3>()?, [0xeb, _, 0x90] | [0xe9, _, _]);
    let sector = le16(&block, 11)?;
    let cluster = *block.get(13)?;
    let media = *block.get(21)?;
    let sound = jump
        && block.get(510..512)? == [0x55, 0xaa]
        && matches!(sector, 512 | 1024 | 2048 | 4096)
        && cluster.is_power_of_two()
        && le16(&block, 14)? > 0
        && matches!(*block.get(16)?, 1 | 2)
        && (media == 0xf0 || media >= 0xf8);
    if !sound || block.get(3..11)? == b"-FVE-FS-" {
        return None;
    }
    // FAT32 has no fixed root directory and no 16-bit table length.
    let wide = le16(&block, 17)? == 0 && le16(&block, 22)? == 0;
    let extension = if wide { 64 } else { 36 };
    let (serial, label) = match block.get(extension + 2)? {
        0x28 => (le32(&block, extension + 3), None),
        0x29 => (le32(&block, extension + 3), field::text(&block, extension + 7, 11)),
        _ => (None, None),
    };
    let serial = serial.and_then(volume_serial);
    let label = label.filter(|label| label != "NO NAME");
    Some(Signature::new("vfat", 0).uuid(serial).label(label))
}

/// Shows a serial number as Windows does; none when it is zero.
fn volume_serial(serial: u32) -> Option<String> {
    (serial != 0).then(|| format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff))
}

fn exfat(region: &mut Region<'_, '_>) -> Option<Signature> {
    let block = region.at(0, 512)?;
    if block.get(3..11)? != b"EXFAT   " {
        return None;
    }
    let serial = le32(&block, 100).and_then(volume_serial);
    Some(Signature::new("exfat", 3).uuid(serial))
}

/// NTFS; its backup boot sector is the partition's last one.
fn ntfs(region: &mut Region<'_, '_>) -> Option<Signature> {
    ntfs_at(region, 0)
}

pub(crate) fn ntfs_at(region: &mut Region<'_, '_>, start: u64) -> Option<Signature> {
    let block = region.at(start, 512)?;
    (block.get(3..11)? == b"NTFS    ").then(|| {
        Signature::new("ntfs", start + 3).uuid(
            le64(&block, 72).filter(|serial| *serial != 0).map(|serial| format!("{serial:016X}")),
        )
    })
}

/// The size of a page of the machine that made a swap space is unknown: the magic ends its first page.
fn at_page_end(region: &mut Region<'_, '_>, magics: &[&[u8]]) -> Option<u64> {
    [4096_u64, 8192, 16_384, 32_768, 65_536].into_iter().find_map(|page| {
        let offset = page - 10;
        magics.iter().any(|magic| region.has(offset, magic)).then_some(offset)
    })
}

fn swap(region: &mut Region<'_, '_>) -> Option<Signature> {
    let offset = at_page_end(region, &[b"SWAPSPACE2", b"SWAP-SPACE"])?;
    let header = region.at(1024, 64)?;
    Some(
        Signature::new("swap", offset)
            .uuid(field::uuid(&header, 12))
            .label(field::text(&header, 28, 16)),
    )
}

/// A suspended system's memory, in a swap space.
fn suspended(region: &mut Region<'_, '_>) -> Option<Signature> {
    let magics: [&[u8]; 4] = [b"S1SUSPEND\0", b"S2SUSPEND\0", b"ULSUSPEND\0", b"LINHIB0001"];
    at_page_end(region, &magics).map(|offset| Signature::new("swsuspend", offset))
}

fn iso9660(region: &mut Region<'_, '_>) -> Option<Signature> {
    let block = region.at(32_768, 128)?;
    (block.get(1..6)? == b"CD001")
        .then(|| Signature::new("iso9660", 32_769).label(field::text(&block, 40, 32)))
}

/// UDF: the extended area begins with BEA01 and has an NSR descriptor (ECMA-167 part 2 §8.3).
fn udf(region: &mut Region<'_, '_>) -> Option<Signature> {
    (0..16_u64).map(|number| 32_768 + number * 2048).find_map(|offset| {
        let name = region.at(offset + 1, 5)?;
        matches!(name.as_slice(), b"NSR02" | b"NSR03").then(|| Signature::new("udf", offset + 1))
    })
}

fn f2fs(region: &mut Region<'_, '_>) -> Option<Signature> {
    [1024_u64, 4096 + 1024].into_iter().find_map(|start| {
        let block = region.at(start, 0x80 + 256)?;
        (le32(&block, 0)? == 0xf2f5_2010).then(|| {
            let label = field::text16(&block, 0x7c, 256);
            Signature::new("f2fs", start).uuid(field::uuid(&block, 0x6c)).label(label)
        })
    })
}

fn erofs(region: &mut Region<'_, '_>) -> Option<Signature> {
    let block = region.at(1024, 128)?;
    (le32(&block, 0)? == 0xe0f5_e1e2).then(|| {
        Signature::new("erofs", 1024)
            .uuid(field::uuid(&block, 48))
            .label(field::text(&block, 64, 16))
    })
}

fn apfs(region: &mut Region<'_, '_>) -> Option<Signature> {
    let block = region.at(0, 128)?;
    (block.get(32..36)? == b"NXSB")
        .then(|| Signature::new("apfs", 32).uuid(field::uuid(&block, 72)))
}

/// GFS and GFS2: a shared-storage filesystem (kernel: `struct gfs2_sb`).
fn gfs2(region: &mut Region<'_, '_>) -> Option<Signature> {
    let block = region.at(64 << 10, 0x110)?;
    if be32(&block, 0)? != 0x0116_1970 {
        return None;
    }
    let kind = if be32(&block, 24)? == 1309 { "gfs" } else { "gfs2" };
    let label = field::text(&block, 0xa0, 64);
    Some(Signature::new(kind, 64 << 10).label(label).uuid(field::uuid(&block, 0x100)))
}

/// OCFS2: a shared-storage filesystem, its superblock in block 2 of 512 to 4096 bytes.
fn ocfs2(region: &mut Region<'_, '_>) -> Option<Signature> {
    [1024_u64, 2048, 4096, 8192]
        .into_iter()
        .find_map(|offset| region.has(offset, b"OCFSV2").then(|| Signature::new("ocfs2", offset)))
}

fn jfs_or_nilfs(region: &mut Region<'_, '_>) -> Option<Signature> {
    if region.has(32_768, b"JFS1") {
        return Some(Signature::new("jfs", 32_768));
    }
    // NILFS2's magic has two bytes: the revision and the superblock's length make it sure.
    let block = region.at(1024, 16)?;
    let sound = le16(&block, 6)? == 0x3434
        && le32(&block, 0)? == 2
        && (100..=1024).contains(&le16(&block, 8)?);
    sound.then(|| Signature::new("nilfs2", 1024 + 6))
}
