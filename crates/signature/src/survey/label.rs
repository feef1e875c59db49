//! Partition tables of other systems: BSD, Sun, SGI, Apple. Only where their partitions are.

use super::Notes;
use crate::{
    field::{be16, be32, le16, le32},
    region::Region,
};

/// Takes down every such table and its partitions.
pub(super) fn find(region: &mut Region<'_, '_>, sector: u64, notes: &mut Notes<'_>) {
    for offset in [64, 128, 512] {
        bsd(region, offset, sector, notes);
    }
    sun(region, notes);
    sgi(region, notes);
    apple(region, notes);
}

/// FreeBSD `sys/disklabel.h`: numbers count from the disk's start or from the label's partition, as the system liked.
fn bsd(region: &mut Region<'_, '_>, offset: u64, sector: u64, notes: &mut Notes<'_>) -> Option<()> {
    const MAGIC: u32 = 0x8256_4557;

    let label = region.at(offset, 148 + 16 * 22)?;
    if le32(&label, 0)? != MAGIC || le32(&label, 132)? != MAGIC {
        return None;
    }
    notes.evidence("bsd", offset, 512, 0);
    for index in 0..usize::from(le16(&label, 138)?).min(22) {
        let length = u64::from(le32(&label, 148 + index * 16)?) * sector;
        let start = u64::from(le32(&label, 152 + index * 16)?) * sector;
        notes.interior("bsd", start, length, 0);
        if let Some(start) = start.checked_sub(notes.area.start) {
            notes.interior("bsd", start, length, 0);
        }
    }
    Some(())
}

/// Linux, block/partitions/sun.c: partitions begin at cylinders.
fn sun(region: &mut Region<'_, '_>, notes: &mut Notes<'_>) -> Option<()> {
    let label = region.at(0, 512)?;
    if be16(&label, 508)? != 0xdabe {
        return None;
    }
    notes.evidence("sun", 0, 512, 0);
    let cylinder = u64::from(be16(&label, 436)?) * u64::from(be16(&label, 438)?) * 512;
    for at in (444..508).step_by(8) {
        let start = u64::from(be32(&label, at)?).saturating_mul(cylinder);
        notes.interior("sun", start, u64::from(be32(&label, at + 4)?) * 512, 0);
    }
    Some(())
}

/// Linux, block/partitions/sgi.c.
fn sgi(region: &mut Region<'_, '_>, notes: &mut Notes<'_>) -> Option<()> {
    let label = region.at(0, 512)?;
    if be32(&label, 0)? != 0x0be5_a941 {
        return None;
    }
    notes.evidence("sgi", 0, 512, 0);
    for at in (312..504).step_by(12) {
        let (length, start) = (be32(&label, at)?, be32(&label, at + 4)?);
        notes.interior("sgi", u64::from(start) * 512, u64::from(length) * 512, 0);
    }
    Some(())
}

/// Linux, block/partitions/mac.c: a block for each partition, from the second block on.
fn apple(region: &mut Region<'_, '_>, notes: &mut Notes<'_>) -> Option<()> {
    let descriptor = region.at(0, 4)?;
    let block = match be16(&descriptor, 0)? {
        0x4552 => u64::from(be16(&descriptor, 2)?.max(512)),
        _ => 512,
    };
    for index in 1..=64 {
        let entry = region.at(index * block, 16)?;
        if be16(&entry, 0)? != 0x504d {
            return None;
        }
        notes.evidence("apm", index * block, 512, 0);
        let (start, length) = (be32(&entry, 8)?, be32(&entry, 12)?);
        notes.interior("apm", u64::from(start) * block, u64::from(length) * block, 0);
    }
    Some(())
}
