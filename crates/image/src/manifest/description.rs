//! What a manifest says of an image as a whole.

use serde::{Deserialize, Serialize};

/// The chunks that an installing machine has buffers for, in bytes.
const CHUNK_BYTES: std::ops::RangeInclusive<u32> = (4 << 10)..=(8 << 20);

/// The most partitions that a plan has.
const PARTITIONS_LIMIT: usize = 1024;

/// What is said of an image as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Description {
    /// What people call it. Never empty, without control characters, 255 bytes at most.
    pub name: String,
    /// What it was when it came, outermost first: `["gzip", "tar", "raw"]`.
    pub origin: Vec<String>,
    /// Its length. A multiple of 512, never zero.
    pub image_bytes: u64,
    /// The length of every chunk but the last: a power of two from 4 KiB to 8 MiB.
    pub chunk_bytes: u32,
    /// What its GUID partition table counts in, 512 or 4096; absent when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sector_bytes: Option<u32>,
    /// The smallest disk that it fits on.
    pub smallest_disk_bytes: u64,
    /// SHA-256 of all of it.
    #[serde(with = "hex")]
    pub sha256: [u8; 32],
    /// What its partition table says, in the table's order; empty when there is no table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<Partition>,
}

/// One partition of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Partition {
    /// Its number, from one.
    pub number: u32,
    /// Its type: a GUID in lower case, or `0x83` as an MBR has it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its own GUID, which an MBR does not give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guid: Option<String>,
    /// Its name, if the table gives it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it begins.
    pub offset_bytes: u64,
    /// How long it is.
    pub size_bytes: u64,
}

impl Description {
    /// Returns how many chunks the image has.
    pub fn chunks(&self) -> u64 {
        self.image_bytes.div_ceil(u64::from(self.chunk_bytes))
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        let named = !self.name.is_empty() && self.name.len() <= 255;
        if !named || self.name.chars().any(char::is_control) {
            return Err("a name that is none");
        }
        if self.image_bytes == 0 || !self.image_bytes.is_multiple_of(512) {
            return Err("an image that is not made of sectors");
        }
        if !self.chunk_bytes.is_power_of_two() || !CHUNK_BYTES.contains(&self.chunk_bytes) {
            return Err("chunks of no usual length");
        }
        if !matches!(self.sector_bytes, None | Some(512 | 4096)) {
            return Err("sectors of no usual length");
        }
        if self.smallest_disk_bytes < self.image_bytes {
            return Err("a disk that is smaller than the image");
        }
        if self.partitions.len() > PARTITIONS_LIMIT {
            return Err("too many partitions");
        }
        let beyond = |partition: &Partition| {
            partition
                .offset_bytes
                .checked_add(partition.size_bytes)
                .is_none_or(|end| end > self.image_bytes)
        };
        if self.partitions.iter().any(beyond) {
            return Err("a partition beyond the end of the image");
        }
        Ok(())
    }
}

/// Digests as 64 lower-case digits.
mod hex {
    use std::fmt::Write;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        digest: &[u8; 32],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(64);
        for byte in digest {
            write!(text, "{byte:02x}").expect("a String takes everything");
        }
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || D::Error::custom("a digest has 64 lower-case digits");
        let mut digest = [0; 32];
        if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        for (index, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..][..2], 16).map_err(|_| wrong())?;
        }
        Ok(digest)
    }
}
