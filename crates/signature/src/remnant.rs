//! What is left of a disk whose start was overwritten: copies that filesystems and volumes keep further in.
//!
//! Looked for only where nothing else was found, so that "blank" means blank.

use crate::{Signature, filesystem, region::Region, volume};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Returns the copies that are recognised.
pub(crate) fn find(disk: &mut Region<'_, '_>) -> Vec<Signature> {
    let mut found = Vec::new();
    // The size of LUKS2's first header decides where its second one is.
    for kibibytes in [16_u64, 32, 64, 128, 256, 512, 1024, 2048, 4096] {
        found.extend(volume::luks_at(disk, kibibytes << 10, b"SKUL\xba\xbe"));
    }
    for offset in [64 * MIB, 256 * GIB] {
        found.extend(filesystem::btrfs_at(disk, offset));
    }
    for offset in [GIB, 10 * GIB, 100 * GIB, 1000 * GIB] {
        found.extend(volume::bluestore_at(disk, offset));
    }
    // ext's second copy: the first block of group 1, whose size follows from the block size.
    for offset in [8193 * 1024, 16_384 * 2048, 32_768 * 4096] {
        found.extend(filesystem::extended_at(disk, offset));
    }
    // NTFS on the whole disk, or in a partition that ended with it.
    if let Some(offset) = disk.size().checked_sub(512) {
        found.extend(filesystem::ntfs_at(disk, offset));
    }
    found
}
