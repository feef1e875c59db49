//! What lies below filesystems: LVM, LUKS, RAID members, caches, object stores.

use crate::{
    Signature,
    field::{self, be16, be32, le32, le64},
    lvm,
    region::Region,
    zfs,
};

/// A magic that says all there is to say, counted from the start.
const AT_START: [(&str, u64, &[u8]); 10] = [
    ("vdo", 0, b"dmvdo001"),
    ("verity", 0, b"verity\0\0"),
    ("integrity", 0, b"integrt\0"),
    ("dm-snapshot", 0, b"SnAp"),
    ("stratis", 512 + 4, b"!Stra0tis\x86\xff\x02^\x41rh"),
    ("stratis", 9 * 512 + 4, b"!Stra0tis\x86\xff\x02^\x41rh"),
    ("oracleasm", 32, b"ORCLDISK"),
    ("vmfs-volume", 1 << 20, b"\x0d\xd0\x01\xc0"),
    ("ldm", 6 * 512, b"PRIVHEAD"),
    ("apm", 512, b"PM\0\0"),
];

/// The same, counted from the end: RAID of mainboards and controllers.
const AT_END: [(&str, u64, &[u8]); 22] = [
    // SNIA Disk Data Format: the anchor header in the last sector, or before a 128 KiB area of the controller.
    ("ddf", 512, b"\xde\x11\xde\x11"),
    ("ddf", 4096, b"\xde\x11\xde\x11"),
    ("ddf", 257 * 512, b"\xde\x11\xde\x11"),
    // Intel Matrix Storage: two sectors before the end.
    ("imsm", 2 * 512, b"Intel Raid ISM Cfg Sig. "),
    ("imsm", 2 * 4096, b"Intel Raid ISM Cfg Sig. "),
    ("nvidia-raid", 2 * 512, b"NVIDIA  "),
    ("lsi-raid", 512, b"$XIDE$"),
    ("highpoint-raid", 11 * 512, b"\xf3\x16\x78\x5a"),
    ("highpoint-raid", 11 * 512, b"\xfd\x16\x78\x5a"),
    ("promise-raid", 63 * 512, b"Promise Technology, Inc."),
    ("promise-raid", 255 * 512, b"Promise Technology, Inc."),
    ("promise-raid", 256 * 512, b"Promise Technology, Inc."),
    ("promise-raid", 16 * 512, b"Promise Technology, Inc."),
    ("promise-raid", 399 * 512, b"Promise Technology, Inc."),
    ("promise-raid", 591 * 512, b"Promise Technology, Inc."),
    ("promise-raid", 675 * 512, b"Promise Technology, Inc."),
    ("promise-raid", 735 * 512, b"Promise Technology, Inc."),
    ("promise-raid", 911 * 512, b"Promise Technology, Inc."),
    ("promise-raid", 951 * 512, b"Promise Technology, Inc."),
    ("promise-raid", 974 * 512, b"Promise Technology, Inc."),
    ("promise-raid", 991 * 512, b"Promise Technology, Inc."),
    ("ldm", 512, b"PRIVHEAD"),
];

/// Returns every volume header that is recognised in a region.
pub(crate) fn find(region: &mut Region<'_, '_>) -> Vec<Signature> {
    const CHECKS: [fn(&mut Region<'_, '_>) -> Option<Signature>; 6] =
        [luks, old_md, bcache, highpoint_start, zfs::find, drbd];
    let mut found: Vec<Signature> = CHECKS.iter().filter_map(|check| check(region)).collect();
    found.extend(lvm::find(region));
    found.extend(md(region));
    found.extend(bluestore_at(region, 0));
    for (kind, offset, magic) in AT_START {
        if region.has(offset, magic) {
            found.push(Signature::new(kind, offset));
        }
    }
    for (kind, distance, magic) in AT_END {
        let Some(offset) = region.size().checked_sub(distance) else { continue };
        if region.has(offset, magic) {
            found.push(Signature::new(kind, offset));
        }
    }
    found
}

/// LUKS1 and LUKS2 by their first header.
fn luks(region: &mut Region<'_, '_>) -> Option<Signature> {
    luks_at(region, 0, b"LUKS\xba\xbe")
}

pub(crate) fn luks_at(region: &mut Region<'_, '_>, offset: u64, magic: &[u8]) -> Option<Signature> {
    let block = region.at(offset, 256)?;
    if !block.starts_with(magic) {
        return None;
    }
    let version = be16(&block, 6)?;
    let label = (version == 2).then(|| field::text(&block, 24, 48)).flatten();
    let kind = if version == 1 { "luks1" } else { "luks2" };
    Some(Signature::new(kind, offset).uuid(field::text(&block, 168, 40)).label(label))
}

/// Linux RAID with metadata 1.0 at the end, 1.1 at the start, 1.2 at 4 KiB (kernel: `struct mdp_superblock_1`).
fn md(region: &mut Region<'_, '_>) -> Vec<Signature> {
    let end = (region.size() / 512).checked_sub(16).map(|sector| (sector & !7) * 512);
    let places = [Some(0), Some(4096), end];
    places.into_iter().flatten().filter_map(|offset| md_at(region, offset)).collect()
}

fn md_at(region: &mut Region<'_, '_>, offset: u64) -> Option<Signature> {
    let block = region.at(offset, 256)?;
    let sound = le32(&block, 0)? == 0xa92b_4efc
        && le32(&block, 4)? == 1
        && le64(&block, 144)?.checked_mul(512) == Some(offset);
    sound.then(|| {
        Signature::new("md", offset)
            .uuid(field::uuid(&block, 16))
            .label(field::text(&block, 32, 32))
    })
}

/// Linux RAID with metadata 0.90: the last whole 64 KiB (kernel: `struct mdp_superblock_s`), in either byte order.
fn old_md(region: &mut Region<'_, '_>) -> Option<Signature> {
    let offset = (region.size() & !0xffff).checked_sub(0x1_0000)?;
    let block = region.at(offset, 128)?;
    let little = le32(&block, 0)? == 0xa92b_4efc && le32(&block, 4)? == 0;
    let big = be32(&block, 0)? == 0xa92b_4efc && be32(&block, 4)? == 0;
    if !little && !big {
        return None;
    }
    // The UUID is four numbers, which lie apart: word 5, then words 13 to 15.
    let word = |at| if little { le32(&block, at) } else { be32(&block, at) };
    let words: Option<Vec<[u8; 4]>> =
        [20, 52, 56, 60].map(|at| word(at).map(u32::to_be_bytes)).into_iter().collect();
    Some(Signature::new("md", offset).uuid(field::uuid(&words?.concat(), 0)))
}

fn bcache(region: &mut Region<'_, '_>) -> Option<Signature> {
    let block = region.at(4096, 256)?;
    let magic = block.get(24..40)?;
    if magic == b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81" {
        let label = field::text(&block, 72, 32);
        return Some(
            Signature::new("bcache", 4096 + 24).uuid(field::uuid(&block, 40)).label(label),
        );
    }
    (magic == b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef").then(|| {
        let label = field::text(&block, 72, 32);
        Signature::new("bcachefs", 4096 + 24).uuid(field::uuid(&block, 56)).label(label)
    })
}

/// `HighPoint`'s `HPT37x` keeps its metadata in the tenth sector.
fn highpoint_start(region: &mut Region<'_, '_>) -> Option<Signature> {
    let offset = 9 * 512 + 32;
    let magics: [&[u8]; 2] = [b"\xf0\x16\x78\x5a", b"\xfd\x16\x78\x5a"];
    magics
        .iter()
        .any(|magic| region.has(offset, magic))
        .then(|| Signature::new("highpoint-raid", offset))
}

/// DRBD's internal metadata in the last 4 KiB, versions 8 and 9.
fn drbd(region: &mut Region<'_, '_>) -> Option<Signature> {
    let start = (region.size() & !0xfff).checked_sub(4096)?;
    let block = region.at(start, 64)?;
    matches!(be32(&block, 60)?, 0x8374_026b..=0x8374_026d)
        .then(|| Signature::new("drbd", start + 60))
}

/// Ceph `BlueStore`: a text, then the OSD's UUID. Copies lie at 1, 10, 100 and 1000 GiB.
pub(crate) fn bluestore_at(region: &mut Region<'_, '_>, offset: u64) -> Option<Signature> {
    let block = region.at(offset, 60)?;
    block.starts_with(b"bluestore block device").then(|| {
        let uuid = field::text(&block, 23, 36).filter(|text| text.len() == 36);
        Signature::new("ceph-bluestore", offset).uuid(uuid)
    })
}
