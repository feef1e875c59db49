//! Places that follow from nothing but the size, and magics that only somebody who wants them all looks for.

use crate::{Signature, region::Region};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Copies far from both ends: what, where, how long.
pub(super) const FAR: [(&str, u64, u64); 13] = [
    // Kernel: fs/btrfs/disk-io.h, `btrfs_sb_offset`. The kernel writes three; the formula has a fourth at 1 PiB.
    ("btrfs", 64 * MIB, 4096),
    ("btrfs", 256 * GIB, 4096),
    ("btrfs", 1024 * 1024 * GIB, 4096),
    // Ceph: src/os/bluestore/BlueStore.cc, `bdev_label_positions`.
    ("ceph-bluestore", GIB, 64 << 10),
    ("ceph-bluestore", 10 * GIB, 64 << 10),
    ("ceph-bluestore", 100 * GIB, 64 << 10),
    ("ceph-bluestore", 1000 * GIB, 64 << 10),
    // Kernel: fs/ocfs2/ocfs2_fs.h, `OCFS2_BACKUP_SB_START`.
    ("ocfs2", GIB, 4096),
    ("ocfs2", 4 * GIB, 4096),
    ("ocfs2", 16 * GIB, 4096),
    ("ocfs2", 64 * GIB, 4096),
    ("ocfs2", 256 * GIB, 4096),
    ("ocfs2", 1024 * GIB, 4096),
];

/// Magics counted from the start, some of them too short to be believed on a disk in use.
const AT_START: [(&str, u64, &[u8]); 73] = [
    ("befs", 0x20, b"BFS1"),
    ("befs", 0x20, b"1SFB"),
    ("befs", 0x220, b"BFS1"),
    ("bfs", 0, b"\xce\xfa\xad\x1b"),
    ("corestorage", 88, b"CS"),
    ("drbdmanage", 0, b"$DRBDmgr=q"),
    ("drbdproxy", 0, b"DRBDdlh*"),
    ("exfs", 0, b"EXFS"),
    ("exfat", 12 * 512 + 3, b"EXFAT   "),
    ("exfat", 12 * 4096 + 3, b"EXFAT   "),
    ("f2fs", 4096 + 1024, b"\x10\x20\xf5\xf2"),
    ("hfs", 1024, b"BD"),
    ("hfsplus", 1024, b"H+"),
    ("hfsplus", 1024, b"HX"),
    ("hpfs", 8192, b"\x49\xe8\x95\xf9"),
    ("iso9660", 32_768 + 9, b"CDROM"),
    ("jfs", 60 << 10, b"JFS1"),
    ("lvm1", 0, b"HM"),
    ("minix", 1024 + 16, b"\x7f\x13"),
    ("minix", 1024 + 16, b"\x8f\x13"),
    ("minix", 1024 + 16, b"\x13\x7f"),
    ("minix", 1024 + 16, b"\x13\x8f"),
    ("minix", 1024 + 16, b"\x68\x24"),
    ("minix", 1024 + 16, b"\x78\x24"),
    ("minix", 1024 + 16, b"\x24\x68"),
    ("minix", 1024 + 16, b"\x24\x78"),
    ("minix", 1024 + 24, b"\x5a\x4d"),
    ("minix", 1024 + 24, b"\x4d\x5a"),
    ("mpool", 0, b"mpoolDev"),
    ("nss", 4096, b"SPB5"),
    ("ocfs", 8192, b"OracleCFS"),
    ("ocfs2", GIB, b"OCFSV2"),
    ("ocfs2", 4 * GIB, b"OCFSV2"),
    ("ocfs2", 16 * GIB, b"OCFSV2"),
    ("ocfs2", 64 * GIB, b"OCFSV2"),
    ("ocfs2", 256 * GIB, b"OCFSV2"),
    ("ocfs2", 1024 * GIB, b"OCFSV2"),
    ("reiserfs", 8192 + 20, b"ReIsErFs"),
    ("reiserfs", 8192 + 52, b"ReIsEr2Fs"),
    ("romfs", 0, b"-rom1fs-"),
    ("scoutfs", 65_536 + 4, b"\x8b\x42\x3c\x10"),
    ("storage-spaces", 0, b"SPACEDB "),
    ("storage-spaces", 4096, b"SPACEDB "),
    ("swsuspend", 0, b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c"),
    ("ubifs", 0, b"\x31\x18\x10\x06"),
    ("udf", 32_769, b"BEA01"),
    ("udf", 32_769, b"BOOT2"),
    ("udf", 32_769, b"CDW02"),
    ("udf", 32_769, b"TEA01"),
    ("ufs", 1372, b"\x54\x19\x01\0"),
    ("ufs", 1372, b"\0\x01\x19\x54"),
    ("ufs", 1372, b"\x19\x01\x54\x19"),
    ("ufs", 8192 + 1372, b"\x19\x54\x01\x19"),
    ("ufs", 65_536 + 1372, b"\x19\x54\x01\x19"),
    ("ufs", 262_144 + 1372, b"\x19\x01\x54\x19"),
    ("ufs", 262_144 + 1372, b"\x19\x54\x01\x19"),
    ("vfat", 0x52, b"FAT32   "),
    ("vfat", 0x36, b"FAT16   "),
    ("vfat", 0x36, b"FAT12   "),
    ("vfat", 6 * 512 + 0x52, b"FAT32   "),
    ("vxfs", 8192, b"\xa5\x01\xfc\xf5"),
    ("xenix", 2048, b"\x2b\x55\x44"),
    ("xenix", 2048, b"\x44\x55\x2b"),
    ("xfs-log", 0, b"\xfe\xed\xba\xbe"),
    ("zonefs", 0, b"SFOZ"),
    // Tables
    ("aix", 0, b"\xc9\xc2\xd4\xc1"),
    ("apple", 0, b"ER"),
    ("bsd", 64, b"\x57\x45\x56\x82"),
    ("bsd", 512, b"\x57\x45\x56\x82"),
    ("sgi", 0, b"\x0b\xe5\xa9\x41"),
    ("solaris", 512 + 12, b"\xee\xde\x0d\x60"),
    ("sun", 508, b"\xda\xbe"),
    ("unixware", 29 * 512 + 4, b"\x0d\x60\xe5\xca"),
];

/// The same, counted from the end.
const AT_END: [(&str, u64, &[u8]); 11] = [
    ("adaptec-raid", 512, b"\x37\xfc\x4d\x1e"),
    ("hfs", 1024, b"BD"),
    ("hfsplus", 1024, b"H+"),
    ("hfsplus", 1024, b"HX"),
    ("jmicron-raid", 512, b"JM"),
    ("nilfs2", 4096 - 6, b"\x34\x34"),
    ("refs", 512, b"\0\0\0ReFS\0"),
    ("silicon-raid", 512 - 0x60, b"\0\0\0\x2f"),
    ("via-raid", 512, b"\x55\xaa"),
    ("exfat", 512 - 3, b"EXFAT   "),
    ("ntfs", 4096 - 3, b"NTFS    "),
];

/// Returns what these magics say.
pub(super) fn find(region: &mut Region<'_, '_>) -> Vec<Signature> {
    let from_end =
        AT_END.map(|(kind, distance, magic)| (kind, region.size().checked_sub(distance), magic));
    let from_start = AT_START.map(|(kind, offset, magic)| (kind, Some(offset), magic));
    from_start
        .into_iter()
        .chain(from_end)
        .filter_map(|(kind, offset, magic)| {
            let offset = offset?;
            region.has(offset, magic).then(|| Signature::new(kind, offset))
        })
        .collect()
}
