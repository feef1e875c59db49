//! The header, checked.

use super::Qcow2Error;
use crate::reader::Reader;

/// How much of it is read: up to the kind of compression.
pub(super) const LENGTH: usize = 105;

/// Tables of level 1 that QEMU itself refuses are refused, in bytes.
const L1_LIMIT: u64 = 32 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Deflate,
    Zstd,
}

/// What a header says. Its tables lie below 2^63, and no cluster of the disk is without a place in them.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) version: u32,
    /// 9 to 21.
    pub(super) cluster_bits: u32,
    /// The length of the disk: a number of sectors.
    pub(super) size: u64,
    pub(super) l1_entries: u32,
    pub(super) l1_offset: u64,
    pub(super) compression: Compression,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Qcow2Error> {
        let cut = || Qcow2Error::Header { detail: "it is cut" };
        let mut reader = Reader::new(bytes);
        if reader.take(4) != Some(b"QFI\xfb") {
            return Err(Qcow2Error::Magic);
        }
        let version = reader.u32_be().ok_or_else(cut)?;
        if !matches!(version, 2 | 3) {
            return Err(Qcow2Error::Version { version });
        }
        let mut word = || reader.u32_be().ok_or_else(cut);
        let backing = [word()?, word()?, word()?];
        let cluster_bits = word()?;
        let size = long(word()?, word()?);
        let encryption = word()?;
        let l1_entries = word()?;
        let l1_offset = long(word()?, word()?);
        if backing != [0; 3] {
            return Err(Qcow2Error::BackingFile);
        }
        if encryption != 0 {
            return Err(Qcow2Error::Encrypted);
        }
        let compression =
            if version == 3 { features(bytes).ok_or_else(cut)?? } else { Compression::Deflate };
        let header = Self { version, cluster_bits, size, l1_entries, l1_offset, compression };
        header.check().map_err(|detail| Qcow2Error::Header { detail })?;
        Ok(header)
    }

    fn check(&self) -> Result<(), &'static str> {
        if !(9..=21).contains(&self.cluster_bits) {
            return Err("clusters of no usual size");
        }
        if self.size == 0 || !self.size.is_multiple_of(512) || self.size > 1 << 62 {
            return Err("a disk of no usual size");
        }
        let l1_bytes = 8 * u64::from(self.l1_entries);
        if l1_bytes > L1_LIMIT || self.l1_offset > 1 << 62 {
            return Err("where its table of level 1 is");
        }
        // A table of level 2 has an eighth of a cluster of entries, for a cluster each.
        let table_bits = self.cluster_bits + self.cluster_bits - 3;
        if u64::from(self.l1_entries) < self.size.div_ceil(1 << table_bits) {
            return Err("a table of level 1 that is too short for the disk");
        }
        Ok(())
    }

    pub(super) fn cluster_length(&self) -> u64 {
        1 << self.cluster_bits
    }

    pub(super) fn cluster_bytes(&self) -> usize {
        1 << self.cluster_bits
    }
}

/// Reads what version 3 adds.
fn features(bytes: &[u8]) -> Option<Result<Compression, Qcow2Error>> {
    let mut reader = Reader::new(bytes);
    reader.take(72)?;
    let incompatible = long(reader.u32_be()?, reader.u32_be()?);
    reader.take(20)?;
    let length = reader.u32_be()?;
    let has = |bit: u32| incompatible >> bit & 1 == 1;
    // Bit 0 says that the counts of references may be wrong, which nobody reads here.
    if has(1) {
        return Some(Err(Qcow2Error::MarkedCorrupt));
    }
    if has(2) {
        return Some(Err(Qcow2Error::ExternalData));
    }
    if has(4) {
        return Some(Err(Qcow2Error::Feature { feature: "extended_l2" }));
    }
    if incompatible >> 5 != 0 {
        return Some(Err(Qcow2Error::Feature { feature: "unknown to this version" }));
    }
    if length < 104 {
        return Some(Err(Qcow2Error::Header { detail: "its length" }));
    }
    let kind = if length > 104 { reader.array::<1>()?[0] } else { 0 };
    Some(match (has(3), kind) {
        (false, 0) => Ok(Compression::Deflate),
        (true, 1) => Ok(Compression::Zstd),
        _ => Err(Qcow2Error::Feature { feature: "another compression" }),
    })
}

fn long(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}
