//! What somebody says of an image's parts (bmap, version 2), as one text.

use std::{fmt, str::FromStr};

use crate::InventoryDigest;

/// Which parts of an image hold data, and what their digests are; what it leaves out is zeros. Nothing of it is checked
/// but its form.
///
/// As a text the image's length, then a line for each part:
///
/// ```
/// let text = "8192\n4096 512 a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5";
/// let map: protocol::ImageMap = text.parse()?;
/// assert_eq!((map.image_bytes, map.parts[0].start_bytes), (8192, 4096));
/// assert_eq!(map.to_string(), text);
/// # Ok::<(), protocol::ImageMapError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageMap {
    /// The length of the image, unpacked.
    pub image_bytes: u64,
    /// The parts that hold data.
    pub parts: Vec<MappedPart>,
}

/// A part of an image that holds data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedPart {
    /// Where it begins in the image.
    pub start_bytes: u64,
    /// How long it is.
    pub length_bytes: u64,
    /// SHA-256 of it.
    pub sha256: [u8; 32],
}

/// Says that a text is no map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the map is not understood")]
pub struct ImageMapError {
    /// Counted from 1.
    pub line: usize,
}

impl fmt::Display for ImageMap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.image_bytes)?;
        self.parts.iter().try_for_each(|MappedPart { start_bytes, length_bytes, sha256 }| {
            write!(formatter, "\n{start_bytes} {length_bytes} {}", InventoryDigest(*sha256))
        })
    }
}

impl FromStr for ImageMap {
    type Err = ImageMapError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut lines = text.split('\n');
        let first = lines.next().and_then(|line| line.parse().ok());
        let mut map = Self { image_bytes: first.ok_or(ImageMapError { line: 1 })?, parts: vec![] };
        for line in lines {
            let line = part(line).ok_or(ImageMapError { line: map.parts.len() + 2 })?;
            map.parts.push(line);
        }
        Ok(map)
    }
}

fn part(line: &str) -> Option<MappedPart> {
    let (start, rest) = line.split_once(' ')?;
    let (length, digest) = rest.split_once(' ')?;
    Some(MappedPart {
        start_bytes: start.parse().ok()?,
        length_bytes: length.parse().ok()?,
        // A digest of the same form.
        sha256: digest.parse::<InventoryDigest>().ok()?.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_map_is_named_by_its_line() {
        let digest = "5a".repeat(32);
        for (text, line) in [
            ("", 1),
            ("-1", 1),
            ("512\n", 2),
            (&format!("512\n0 512 {digest}\n0 512"), 3),
            (&format!("512\n0  512 {digest}"), 2),
            (&format!("512\n0 99999999999999999999 {digest}"), 2),
            (&format!("512\n0 512 {digest}0"), 2),
            (&format!("512\r\n0 512 {digest}"), 1),
        ] {
            assert_eq!(text.parse::<ImageMap>(), Err(ImageMapError { line }), "{text}");
        }
        let map: ImageMap = format!("512\n0 512 {digest}").parse().unwrap();
        assert_eq!(map.parts[0].sha256, [0x5a; 32]);
        assert_eq!("0".parse(), Ok(ImageMap { image_bytes: 0, parts: vec![] }));
    }
}
