//! What may be on a disk, with all the places it has.

use super::{GIB, MIB, disk::Disk, labels};

const TIB: u64 = 1 << 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Ext4,
    /// With blocks of 1 KiB, which begin behind the first.
    ExtSmall,
    /// Copies in every group.
    ExtOld,
    Xfs,
    Btrfs,
    Ceph,
    Zfs,
    Md12,
    Md11,
    Md10,
    Md090,
    Lvm,
    Luks2,
    Bcache,
    Bcachefs,
    Ntfs,
    HfsPlus,
    BitLocker,
    Ddf,
    Ocfs2,
    Swap,
    /// One magic: where from, how far, and what.
    Magic(&'static str, Side, u64, &'static [u8]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Start,
    End,
}
use Side::{End, Start};

/// What is put into volumes.
pub(super) const INNER: [Content; 6] =
    [Content::Ext4, Content::Xfs, Content::Btrfs, Content::Zfs, Content::Ntfs, Content::Lvm];

const MAGICS: [(&str, Side, u64, &[u8]); 62] = [
    ("adaptec", End, 512, b"\x37\xfc\x4d\x1e"),
    ("aix", Start, 0, b"\xc9\xc2\xd4\xc1"),
    ("apfs", Start, 32, b"NXSB"),
    ("apm", Start, 512, b"PM\0\0"),
    ("asm", Start, 32, b"ORCLDISK"),
    ("befs", Start, 0x20, b"BFS1"),
    ("cramfs", Start, 0, b"\x45\x3d\xcd\x28"),
    ("drbd", End, 4096 - 60, b"\x83\x74\x02\x6d"),
    ("erofs", Start, 1024, b"\xe2\xe1\xf5\xe0"),
    ("exfat", Start, 3, b"EXFAT   "),
    ("exfat backup", Start, 12 * 512 + 3, b"EXFAT   "),
    ("f2fs", Start, 1024, b"\x10\x20\xf5\xf2"),
    ("f2fs second", Start, 5120, b"\x10\x20\xf5\xf2"),
    ("fat32", Start, 0x52, b"FAT32   "),
    ("fat32 backup", Start, 6 * 512 + 0x52, b"FAT32   "),
    ("gfs2", Start, 65_536, b"\x01\x16\x19\x70"),
    ("hfs alternate", End, 1024, b"BD"),
    ("highpoint", End, 11 * 512, b"\xf3\x16\x78\x5a"),
    ("highpoint", Start, 4640, b"\xf0\x16\x78\x5a"),
    ("hpfs", Start, 8192, b"\x49\xe8\x95\xf9"),
    ("imsm", End, 1024, b"Intel Raid ISM Cfg Sig. "),
    ("integrity", Start, 0, b"integrt\0"),
    ("iso9660", Start, 32_769, b"CD001"),
    ("jfs", Start, 32_768, b"JFS1"),
    ("jfs second", Start, 61_440, b"JFS1"),
    ("jmicron", End, 512, b"JM"),
    ("ldm", Start, 3072, b"PRIVHEAD"),
    ("ldm", End, 512, b"PRIVHEAD"),
    ("lsi", End, 512, b"$XIDE$"),
    ("luks1", Start, 0, b"LUKS\xba\xbe\0\x01"),
    ("lvm1", Start, 0, b"HM"),
    ("minix", Start, 1040, b"\x8f\x13"),
    ("nilfs2", Start, 1024, b"\x02\0\0\0\0\0\x34\x34\x18\x01\0\0\0\0\0\0"),
    ("nilfs2 second", End, 4096 - 6, b"\x34\x34"),
    ("nvidia", End, 1024, b"NVIDIA  "),
    ("ocfs", Start, 8192, b"OracleCFS"),
    ("promise", End, 63 * 512, b"Promise Technology, Inc."),
    ("promise", End, 991 * 512, b"Promise Technology, Inc."),
    ("refs", Start, 0, b"\0\0\0ReFS\0"),
    ("refs backup", End, 512, b"\0\0\0ReFS\0"),
    ("reiserfs", Start, 65_588, b"ReIsEr2Fs"),
    ("romfs", Start, 0, b"-rom1fs-"),
    ("sgi", Start, 0, b"\x0b\xe5\xa9\x41"),
    ("silicon", End, 512 - 0x60, b"\0\0\0\x2f"),
    ("snapshot", Start, 0, b"SnAp"),
    ("solaris", Start, 524, b"\xee\xde\x0d\x60"),
    ("squashfs", Start, 0, b"hsqs"),
    ("storage spaces", Start, 4096, b"SPACEDB "),
    ("stratis", Start, 516, b"!Stra0tis\x86\xff\x02^\x41rh"),
    ("stratis second", Start, 4612, b"!Stra0tis\x86\xff\x02^\x41rh"),
    ("sun", Start, 508, b"\xda\xbe"),
    ("swap of 64 KiB pages", Start, 65_526, b"SWAPSPACE2"),
    ("ubi", Start, 0, b"UBI#"),
    ("udf", Start, 38_913, b"NSR02"),
    ("ufs", Start, 65_536 + 1372, b"\x19\x01\x54\x19"),
    ("vdo", Start, 0, b"dmvdo001"),
    ("verity", Start, 0, b"verity\0\0"),
    ("via", End, 512, b"\x55\xaa"),
    ("vmfs", Start, 2 << 20, b"\x5e\xf1\xab\x2f"),
    ("vmfs volume", Start, 1 << 20, b"\x0d\xd0\x01\xc0"),
    ("vxfs", Start, 1024, b"\xf5\xfc\x01\xa5"),
    ("xfs log", Start, 0, b"\xfe\xed\xba\xbe"),
];

impl Content {
    pub(super) fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Ext4,
            Self::ExtSmall,
            Self::ExtOld,
            Self::Xfs,
            Self::Btrfs,
            Self::Ceph,
            Self::Zfs,
            Self::Md12,
            Self::Md11,
            Self::Md10,
            Self::Md090,
            Self::Lvm,
            Self::Luks2,
            Self::Bcache,
            Self::Bcachefs,
            Self::Ntfs,
            Self::HfsPlus,
            Self::BitLocker,
            Self::Ddf,
            Self::Ocfs2,
            Self::Swap,
        ];
        all.extend(MAGICS.map(|(name, side, at, magic)| Self::Magic(name, side, at, magic)));
        all
    }

    /// Puts it on a device, as far as that has room, and returns where in it another device lies.
    pub(super) fn write(self, disk: &Disk, start: u64, length: u64) -> Option<(u64, u64)> {
        let area = Area { disk, start, length };
        match self {
            Self::Ext4 => area.extended(4096, true),
            Self::ExtSmall => area.extended(1024, true),
            Self::ExtOld => area.extended(4096, false),
            Self::Xfs => area.xfs(),
            Self::Btrfs => {
                for at in [64 << 10, 64 * MIB, 256 * GIB] {
                    area.plant("btrfs", at + 64, b"_BHRfS_M");
                }
            }
            Self::Ceph => {
                for at in [0, GIB, 10 * GIB, 100 * GIB, 1000 * GIB] {
                    area.plant("ceph", at, &labels::ceph(length));
                }
            }
            Self::Zfs => {
                let label = 256 << 10;
                if let Some(last) = (length / label).checked_sub(4) {
                    for at in [0, label, (last + 2) * label, (last + 3) * label] {
                        area.plant("zfs", at, &labels::zfs(at));
                    }
                }
            }
            Self::Md12 => return area.md(4096, 2 * MIB, length.checked_sub(3 * MIB)?),
            Self::Md11 => return area.md(0, 2 * MIB, length.checked_sub(3 * MIB)?),
            Self::Md10 => {
                let end = (length & !0xfff).checked_sub(8192)?;
                return area.md(end, 0, end & !0xffff);
            }
            Self::Md090 => {
                let end = (length & !0xffff).checked_sub(65_536)?;
                let mut block = vec![0; 128];
                block[..4].copy_from_slice(&[0xfc, 0x4e, 0x2b, 0xa9]);
                block[32..36].copy_from_slice(&u32::try_from(end / 1024).ok()?.to_le_bytes());
                area.plant("md", end, &block);
                return Some((0, end));
            }
            Self::Lvm => return area.lvm(),
            Self::Luks2 => {
                area.plant("luks2", 0, b"LUKS\xba\xbe\0\x02");
                area.plant("luks2", 4 * MIB, b"SKUL\xba\xbe\0\x02");
            }
            Self::Bcache => {
                let magic = b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81";
                area.plant("bcache", 4096 + 24, magic);
                area.put(4096 + 16, &4_u64.to_le_bytes());
                area.put(4096 + 184, &2048_u64.to_le_bytes());
                return Some((MIB, length.checked_sub(MIB)?));
            }
            Self::Bcachefs => area.bcachefs(),
            Self::Ntfs => drop(area.ntfs()),
            Self::HfsPlus => drop(area.hfs_plus()),
            Self::BitLocker => area.bitlocker(),
            Self::Ddf => drop(area.ddf()),
            Self::Ocfs2 => {
                area.plant("ocfs2", 8192, b"OCFSV2");
                for at in [GIB, 4 * GIB, 16 * GIB, 64 * GIB, 256 * GIB, TIB] {
                    area.plant("ocfs2", at, b"OCFSV2");
                }
            }
            Self::Swap => area.plant("swap", 4086, b"SWAPSPACE2"),
            Self::Magic(name, Start, at, magic) => area.plant(name, at, magic),
            Self::Magic(name, End, distance, magic) => {
                area.plant(name, length.checked_sub(distance)?, magic);
            }
        }
        None
    }
}

#[derive(Clone, Copy)]
struct Area<'disk> {
    disk: &'disk Disk,
    start: u64,
    length: u64,
}

impl Area<'_> {
    fn fits(self, at: u64, bytes: &[u8]) -> bool {
        at.checked_add(u64::try_from(bytes.len()).unwrap()).is_some_and(|end| end <= self.length)
    }

    fn put(self, at: u64, bytes: &[u8]) {
        if self.fits(at, bytes) {
            self.disk.put(self.start + at, bytes);
        }
    }

    fn plant(self, name: &str, at: u64, bytes: &[u8]) {
        if self.fits(at, bytes) {
            self.disk.plant(name, self.start + at, bytes);
        }
    }

    fn extended(self, size: u64, is_sparse: bool) {
        let blocks = self.length / size;
        let per_group = size * 8;
        let first = u64::from(size == 1024);
        let mut block = vec![0; 1024];
        block[..4].copy_from_slice(&[1, 0, 0, 0]);
        block[4..8].copy_from_slice(&blocks.to_le_bytes()[..4]);
        block[0x14] = u8::try_from(first).unwrap();
        block[0x18] = if size == 1024 { 0 } else { 2 };
        block[0x20..0x24].copy_from_slice(&u32::try_from(per_group).unwrap().to_le_bytes());
        block[0x38..0x3a].copy_from_slice(&[0x53, 0xef]);
        block[0x64] = u8::from(is_sparse);
        block[0x150..0x154].copy_from_slice(&blocks.to_le_bytes()[4..]);
        self.plant("ext", 1024, &block);
        let groups = (blocks - first.min(blocks)).div_ceil(per_group);
        let power = |group: u64| {
            [3_u64, 5, 7].iter().any(|base| {
                std::iter::successors(Some(*base), |it| it.checked_mul(*base))
                    .take(40)
                    .any(|it| it == group)
            })
        };
        // More groups than are followed are in no filesystem so old.
        let last = if is_sparse { groups } else { groups.min(4096) };
        for group in (1..last).filter(|group| *group == 1 || !is_sparse || power(*group)) {
            self.plant("ext", (first + group * per_group) * size, &block);
        }
    }

    fn xfs(self) {
        let blocks = self.length / 4096;
        let group = blocks.div_ceil(4).min(TIB / 4096);
        let count = blocks.div_ceil(group.max(1));
        let mut block = b"XFSB\0\0\x10\0".to_vec();
        block.resize(84, 0);
        block.extend(u32::try_from(group).unwrap().to_be_bytes());
        block.extend(u32::try_from(count).unwrap().to_be_bytes());
        for number in 0..count {
            self.plant("xfs", number * group * 4096, &block);
        }
    }

    fn bcachefs(self) {
        let magic = b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef";
        let places = [4096, 2 * MIB, self.length.saturating_sub(7 * MIB) & !0xfff];
        self.plant("bcachefs", 3584, magic);
        self.put(3584 + 17, &[11, 3]);
        for (at, index) in places.into_iter().zip(0..) {
            self.plant("bcachefs", at + 24, magic);
            self.put(3584 + 24 + index * 8, &(at / 512).to_le_bytes());
        }
    }

    fn ntfs(self) -> Option<()> {
        // The filesystem ends before its partition.
        let sectors = (self.length / 512).checked_sub(30_000)?;
        let mut block = b"\xeb\x52\x90NTFS    \0\x02".to_vec();
        block.resize(40, 0);
        block.extend(sectors.to_le_bytes());
        self.plant("ntfs", 0, &block);
        self.plant("ntfs", sectors * 512, &block);
        Some(())
    }

    fn hfs_plus(self) -> Option<()> {
        let blocks = u32::try_from((self.length / 4096).checked_sub(3000)?).ok()?;
        let mut block = b"H+\0\x04".to_vec();
        block.resize(40, 0);
        block.extend(4096_u32.to_be_bytes());
        block.extend(blocks.to_be_bytes());
        self.plant("hfsplus", 1024, &block);
        self.plant("hfsplus", u64::from(blocks) * 4096 - 1024, &block);
        Some(())
    }

    fn bitlocker(self) {
        self.plant("bitlocker", 3, b"-FVE-FS-");
        for (field, part) in [(176, 1), (184, 2), (192, 3)] {
            let at = (self.length / 4 * part) & !0xfff;
            self.put(field, &at.to_le_bytes());
            self.plant("bitlocker", at, b"-FVE-FS-");
        }
    }

    fn ddf(self) -> Option<()> {
        let anchor = self.length.checked_sub(512)?;
        self.plant("ddf", anchor, b"\xde\x11\xde\x11");
        for (field, part) in [(96, 5), (104, 6)] {
            let at = (self.length / 7 * part) & !0xfff;
            self.put(anchor + field, &(at / 512).to_be_bytes());
            self.plant("ddf", at, b"\xde\x11\xde\x11");
        }
        Some(())
    }

    fn md(self, at: u64, data: u64, size: u64) -> Option<(u64, u64)> {
        let mut block = b"\xfc\x4e\x2b\xa9\x01\0\0\0".to_vec();
        block.resize(256, 0);
        for (field, value) in [(128, data), (136, size), (144, at)] {
            block[field..field + 8].copy_from_slice(&(value / 512).to_le_bytes());
        }
        self.plant("md", at, &block);
        self.fits(at, &block).then_some((data, size))
    }

    /// A volume group of one logical volume, in the middle of its disk.
    fn lvm(self) -> Option<(u64, u64)> {
        let extent = 4 * MIB;
        let extents = (self.length / extent).checked_sub(8)?;
        let (first, count) = (extents / 2, extents / 4);
        let text = format!(
            "vg {{\nextent_size = 8192\nphysical_volumes {{\npv0 {{\nid = \"AAAAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA\"\n\
             pe_start = 2048\n}}\n}}\nlogical_volumes {{\nlv {{\nsegment1 {{\nextent_count = {count}\n\
             stripe_count = 1\t# linear\nstripes = [\n\"pv0\", {first}\n]\n}}\n}}\n}}\n}}\n"
        );
        let mut label = b"LABELONE".to_vec();
        label.resize(20, 0);
        label.extend([32, 0, 0, 0]);
        label.extend(b"LVM2 001");
        label.extend([b'A'; 32]);
        let second = self.length.checked_sub(MIB)? & !0xfff;
        for number in [self.length, MIB, 0, 0, 0, 4096, MIB - 4096, second, MIB - 4096, 0, 0] {
            label.extend(number.to_le_bytes());
        }
        self.plant("lvm2", 512, &label);
        for area in [4096, second] {
            // The text goes round the end of its area.
            let size = MIB - 4096;
            let place = size - 100;
            self.plant("lvm2", area + 4, b" LVM2 x[5A%r0N*>");
            for (field, value) in [(32, size), (40, place), (48, u64::try_from(text.len()).ok()?)] {
                self.put(area + field, &value.to_le_bytes());
            }
            self.put(area + place, &text.as_bytes()[..100]);
            self.put(area + 512, &text.as_bytes()[100..]);
        }
        Some((MIB + first * extent, count * extent))
    }
}
