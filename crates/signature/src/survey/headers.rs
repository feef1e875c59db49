//! Filesystems whose superblocks say where their copies are.

use super::Notes;
use crate::{
    field::{be32, le16, le32, le64},
    filesystem,
    region::Region,
};

const TIB: u64 = 1 << 40;

/// The most copies that are followed of a filesystem which has one in every group.
const COPY_LIMIT: u64 = 4096;

/// Takes down the copies of every filesystem that is recognised.
pub(super) fn find(region: &mut Region<'_, '_>, notes: &mut Notes<'_>) {
    // The first, or the one in group 1, whose place follows from the size of a block.
    for start in [1024, 8193 * 1024, 16_384 * 2048, 32_768 * 4096, 65_528 * 65_536] {
        extended(region, start, notes);
    }
    // The first, or the one in allocation group 1 as mkfs divides a device: in four, or in pieces of 1 TiB.
    let quarter = (region.size() / 4096).div_ceil(4) * 4096;
    for start in [0, quarter, TIB] {
        xfs(region, start, notes);
    }
    ntfs(region, notes);
    hfs_plus(region, notes);
    bcachefs(region, notes);
    bitlocker(region, notes);
}

/// ext's superblocks: in groups 0, 1 and powers of 3, 5 and 7, in two that are named, or in all (kernel:
/// fs/ext4/balloc.c, `ext4_bg_has_super`).
fn extended(region: &mut Region<'_, '_>, start: u64, notes: &mut Notes<'_>) -> Option<()> {
    const SPARSE: u32 = 0x1;
    const SPARSE_TWICE: u32 = 0x200;

    filesystem::extended_at(region, start)?;
    let block = region.at(start, 1024)?;
    notes.evidence("ext", start, 1024, 0);
    let size = 1024_u64.checked_shl(le32(&block, 0x18)?.min(6))?;
    let first = u64::from(le32(&block, 0x14)?);
    let per_group = u64::from(le32(&block, 0x20)?);
    let blocks = u64::from(le32(&block, 4)?) | u64::from(le32(&block, 0x150)?) << 32;
    let groups = blocks.checked_sub(first)?.checked_add(per_group)?.checked_sub(1)?;
    let groups = groups.checked_div(per_group)?;
    let mut copy = |group: u64| {
        let at =
            group.checked_mul(per_group).and_then(|at| at.checked_add(first)?.checked_mul(size));
        if let Some(at) = at {
            notes.copy("ext", at, size.max(4096));
        }
    };
    if le32(&block, 0x5c)? & SPARSE_TWICE != 0 {
        copy(u64::from(le32(&block, 0x24c)?));
        copy(u64::from(le32(&block, 0x250)?));
    }
    if le32(&block, 0x64)? & SPARSE == 0 {
        (1..groups.min(COPY_LIMIT)).for_each(&mut copy);
    }
    copy(1);
    for base in [3_u64, 5, 7] {
        let mut group = base;
        while group < groups {
            copy(group);
            group = group.saturating_mul(base);
        }
    }
    Some(())
}

/// XFS begins every allocation group with the superblock and three headers, a sector each (kernel:
/// `fs/xfs/libxfs/xfs_format.h`, `struct xfs_dsb`).
fn xfs(region: &mut Region<'_, '_>, start: u64, notes: &mut Notes<'_>) -> Option<()> {
    let block = region.at(start, 128)?;
    if !block.starts_with(b"XFSB") {
        return None;
    }
    let size = u64::from(be32(&block, 4)?);
    let group = u64::from(be32(&block, 84)?).checked_mul(size)?;
    let groups = u64::from(be32(&block, 88)?);
    notes.evidence("xfs", start, 4096, 0);
    for number in 0..groups.min(COPY_LIMIT) {
        notes.copy("xfs", number.checked_mul(group)?, 16 << 10);
    }
    Some(())
}

/// NTFS's last sector is a copy of its first, wherever the partition ends.
fn ntfs(region: &mut Region<'_, '_>, notes: &mut Notes<'_>) -> Option<()> {
    let block = region.at(0, 512)?;
    if block.get(3..11)? != b"NTFS    " {
        return None;
    }
    let sector = u64::from(le16(&block, 11)?);
    notes.evidence("ntfs", 0, 512, 0);
    notes.copy("ntfs", le64(&block, 40)?.checked_mul(sector)?, 4096);
    Some(())
}

/// HFS+ has its alternate header 1 KiB before its end (Apple TN1150).
fn hfs_plus(region: &mut Region<'_, '_>, notes: &mut Notes<'_>) -> Option<()> {
    let block = region.at(1024, 64)?;
    if !matches!(block.get(..2)?, b"H+" | b"HX") {
        return None;
    }
    let size = u64::from(be32(&block, 40)?).checked_mul(u64::from(be32(&block, 44)?))?;
    notes.evidence("hfsplus", 1024, 512, 0);
    notes.copy("hfsplus", size.checked_sub(1024)?, 1024);
    Some(())
}

/// bcachefs says in sector 7 where all its superblocks are (`struct bch_sb_layout`).
fn bcachefs(region: &mut Region<'_, '_>, notes: &mut Notes<'_>) -> Option<()> {
    let layout = region.at(7 * 512, 512)?;
    let magics: [&[u8]; 2] = [
        b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81",
        b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef",
    ];
    if !magics.contains(&layout.get(..16)?) {
        return None;
    }
    notes.evidence("bcachefs", 7 * 512, 512, 0);
    for index in 0..usize::from(*layout.get(18)?).min(61) {
        notes.copy("bcachefs", le64(&layout, 24 + index * 8)?.checked_mul(512)?, 64 << 10);
    }
    Some(())
}

/// `BitLocker` keeps its metadata three times, and says in its boot sector where (libbde: volume header).
fn bitlocker(region: &mut Region<'_, '_>, notes: &mut Notes<'_>) -> Option<()> {
    let block = region.at(0, 512)?;
    let to_go = b"\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01";
    let places = if block.get(3..11)? == b"-FVE-FS-" {
        [176, 184, 192]
    } else if block.get(424..440)? == to_go {
        [440, 448, 456]
    } else {
        return None;
    };
    notes.evidence("bitlocker", 0, 512, 0);
    for place in places {
        notes.copy("bitlocker", le64(&block, place)?, 64 << 10);
    }
    Some(())
}
