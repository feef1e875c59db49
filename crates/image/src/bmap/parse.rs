//! Reads maps: XML with a checksum of its own.

use roxmltree::{Document, Node, ParsingOptions};

use super::{Bmap, BmapError, LIMIT_BYTES, Mapped, contradiction};
use crate::manifest::sha256;

/// The most elements and texts of a map: three a range.
const NODES_LIMIT: u32 = 1 << 20;

impl Bmap {
    /// Reads a map.
    pub fn parse(bytes: &[u8]) -> Result<Self, BmapError> {
        if bytes.len() > LIMIT_BYTES {
            return Err(BmapError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| missing("text"))?;
        let options = ParsingOptions { nodes_limit: NODES_LIMIT, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options).map_err(BmapError::Xml)?;
        let root = document.root_element();
        let version = root.attribute("version").unwrap_or_default();
        if !root.has_tag_name("bmap") || !version.starts_with("2.") {
            return Err(missing("bmap of version 2"));
        }
        let field = |what| {
            let found = root.children().find(|child| child.has_tag_name(what));
            found.and_then(|node| node.text()).map(str::trim).ok_or(missing(what))
        };
        let number = |what| field(what)?.parse::<u64>().map_err(|_| missing(what));
        if field("ChecksumType")? != "sha256" {
            return Err(missing("ChecksumType"));
        }
        check(text, field("BmapFileChecksum")?)?;
        let image_bytes = number("ImageSize")?;
        let block_bytes = number("BlockSize")?;
        let usual = block_bytes.is_power_of_two() && (512..=1 << 30).contains(&block_bytes);
        if !usual || image_bytes > 1 << 62 {
            return Err(contradiction("sizes that are none"));
        }
        let map = root.children().find(|child| child.has_tag_name("BlockMap"));
        let map = map.ok_or(missing("BlockMap"))?;
        let mut ranges: Vec<Mapped> = Vec::new();
        let mut blocks = 0_u64;
        for node in map.children().filter(|child| child.has_tag_name("Range")) {
            let range = range(node, block_bytes, image_bytes)?;
            if ranges.last().is_some_and(|last| last.bytes.end > range.bytes.start) {
                return Err(contradiction("ranges out of order"));
            }
            blocks += (range.bytes.end - range.bytes.start).div_ceil(block_bytes);
            ranges.push(range);
        }
        if blocks != number("MappedBlocksCount")? {
            return Err(contradiction("its number of blocks"));
        }
        Self::new(image_bytes, ranges)
    }
}

/// The map's own checksum is that of the map with zeros in its place.
fn check(text: &str, checksum: &str) -> Result<(), BmapError> {
    let expected = digest(checksum).ok_or(missing("BmapFileChecksum"))?;
    let zeros = "0".repeat(checksum.len());
    if sha256(text.replacen(checksum, &zeros, 1).as_bytes()) == expected {
        Ok(())
    } else {
        Err(BmapError::Checksum)
    }
}

fn range(node: Node<'_, '_>, block_bytes: u64, image_bytes: u64) -> Result<Mapped, BmapError> {
    let text = node.text().unwrap_or_default().trim();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u64>().map_err(|_| missing("Range"));
    let (first, last) = (number(first)?, number(last)?);
    let start = first.checked_mul(block_bytes);
    let end = last.checked_add(1).and_then(|end| end.checked_mul(block_bytes));
    let bytes = match (start, end) {
        // The image's last block may be a part of one.
        (Some(start), Some(end)) if start < image_bytes && start < end => {
            start..end.min(image_bytes)
        }
        _ => return Err(contradiction("a range beyond the image's end")),
    };
    if end.is_some_and(|end| end - bytes.end >= block_bytes) {
        return Err(contradiction("a range beyond the image's end"));
    }
    let sha256 = node.attribute("chksum").and_then(digest).ok_or(missing("chksum"))?;
    Ok(Mapped { bytes, sha256 })
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..][..2], 16).ok()?;
    }
    Some(digest)
}

fn missing(what: &'static str) -> BmapError {
    BmapError::Missing { what }
}
