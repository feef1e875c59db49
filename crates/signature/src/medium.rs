//! A medium that machines start this system from, a CD or a copy of one: recognised, and the files of its store found.
//!
//! Its filesystem is ISO 9660 (ECMA-119), whose files lie in one piece each, with the names of Rock Ridge. It is read
//! here and not mounted: a kernel that trips over a filesystem is the whole machine.

use std::{io, ops::Range};

/// What its primary volume descriptor calls the application that it is for.
const APPLICATION: &[u8] = b"DRYDOCK ";

/// The unit of the filesystem, in bytes.
const BLOCK: u64 = 2048;

/// Where the primary volume descriptor is, in bytes.
pub const DESCRIPTOR_AT: u64 = 16 * BLOCK;

/// How long it is, in bytes.
pub const DESCRIPTOR_LENGTH: usize = 2048;

/// The most of a directory that is read, in bytes: ten thousand files.
const MOST: u64 = 4 << 20;

/// The directory of the store, as its identifier has it.
const STORE: &[u8] = b"STORE";

/// Reads exactly as many bytes as fit, at an offset in bytes.
pub type ReadAt<'r> = dyn FnMut(&mut [u8], u64) -> io::Result<()> + 'r;

/// Holds when these are the first bytes at [`DESCRIPTOR_AT`] of a medium of ours, of whichever build.
///
/// ```
/// let mut descriptor = [b' '; signature::medium::DESCRIPTOR_LENGTH];
/// descriptor[..6].copy_from_slice(b"\x01CD001");
/// assert!(!signature::medium::is_ours(&descriptor));
/// descriptor[574..581].copy_from_slice(b"DRYDOCK");
/// assert!(signature::medium::is_ours(&descriptor));
/// ```
pub fn is_ours(descriptor: &[u8]) -> bool {
    descriptor.starts_with(b"\x01CD001")
        && descriptor.get(574..).is_some_and(|rest| rest.starts_with(APPLICATION))
}

/// Returns where a file of the store lies on a medium, in bytes; else says why it is not found: there is none of that name,
/// or the medium is not ours, makes no sense, or cannot be read.
pub fn find(read: &mut ReadAt<'_>, name: &str) -> Result<Range<u64>, String> {
    let mut descriptor = [0; DESCRIPTOR_LENGTH];
    read(&mut descriptor, DESCRIPTOR_AT).map_err(|error| error.to_string())?;
    if !is_ours(&descriptor) {
        return Err("not ours".to_owned());
    }
    let root = range(&descriptor[156..]).ok_or("no root")?;
    let store = search(read, root, &|record| record.get(33..38) == Some(STORE))?;
    let store = store.ok_or("no store")?;
    let file = search(read, store, &|record| has_name(record, name.as_bytes()))?;
    Ok(file.ok_or("not on this medium")?)
}

/// Looks through a directory, and returns where the bytes of the entry are that is meant. ECMA-119 §9.1.
fn search(
    read: &mut ReadAt<'_>,
    directory: Range<u64>,
    is_meant: &dyn Fn(&[u8]) -> bool,
) -> Result<Option<Range<u64>>, String> {
    // None crosses the border of a block: what is left of it is zeros.
    let mut block = [0; 2048];
    let mut place = directory.start;
    while place < directory.end.min(directory.start + MOST) {
        read(&mut block, place).map_err(|error| error.to_string())?;
        place += BLOCK;
        let mut rest = &block[..];
        while let [length @ 1..=u8::MAX, ..] = *rest
            && let Some((record, after)) = rest.split_at_checked(length.into())
        {
            if is_meant(record) {
                return Ok(range(record));
            }
            rest = after;
        }
    }
    Ok(None)
}

/// Returns where the bytes of an entry are.
fn range(record: &[u8]) -> Option<Range<u64>> {
    let word = |at: usize| Some(u64::from(u32::from_le_bytes(*record.get(at..)?.first_chunk()?)));
    let start = word(2)? * BLOCK;
    Some(start..start + word(10)?)
}

/// Holds for an entry of that name in Rock Ridge (IEEE P1282 §4.1.4), which is whole in one field.
fn has_name(record: &[u8], name: &[u8]) -> bool {
    // An identifier of even length is followed by a zero, so that the fields begin at an even place.
    let identifier = record.get(32).copied().map_or(0, usize::from);
    let mut fields = record.get((33 + identifier).next_multiple_of(2)..).unwrap_or_default();
    while let [_, _, length @ 4..=u8::MAX, _, ..] = *fields
        && let Some((field, rest)) = fields.split_at_checked(length.into())
    {
        if field.starts_with(b"NM") && field.get(5..) == Some(name) {
            return true;
        }
        fields = rest;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes an entry as xorriso does, with a Rock Ridge name where there is one.
    fn record(block: u32, length: u32, flags: u8, identifier: &[u8], name: &str) -> Vec<u8> {
        let mut bytes = vec![0; 33];
        bytes[2..6].copy_from_slice(&block.to_le_bytes());
        bytes[10..14].copy_from_slice(&length.to_le_bytes());
        bytes[25] = flags;
        bytes[32] = identifier.len().try_into().unwrap();
        bytes.extend(identifier);
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        if !name.is_empty() {
            bytes.extend(b"TF\x07\x01\x00\x00\x00");
            bytes.extend([b'N', b'M', u8::try_from(name.len() + 5).unwrap(), 1, 0]);
            bytes.extend(name.as_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes[0] = bytes.len().try_into().unwrap();
        bytes
    }

    /// A medium whose store has two files, whose entries lie in two blocks of its directory.
    fn medium() -> Vec<u8> {
        let mut bytes = vec![0; 22 * 2048];
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        put(16 * 2048, b"\x01CD001\x01");
        put(16 * 2048 + 574, b"DRYDOCK        ");
        put(16 * 2048 + 156, &record(18, 2048, 2, b"\0", ""));
        let top = [
            record(18, 2048, 2, b"\0", ""),
            record(18, 2048, 2, b"\x01", ""),
            record(19, 4096, 2, STORE, "store"),
        ];
        put(18 * 2048, &top.concat());
        let store = [
            record(19, 4096, 2, b"\0", ""),
            record(18, 2048, 2, b"\x01", ""),
            record(21, 5, 0, b"AB.;1", &"ab".repeat(32)),
        ];
        put(19 * 2048, &store.concat());
        put(20 * 2048, &record(21, 7, 0, b"CD.;1", &"cd".repeat(32)));
        bytes
    }

    fn found(bytes: &[u8], name: &str) -> Result<Range<u64>, String> {
        let mut read = |buffer: &mut [u8], offset| {
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let part = start.checked_add(buffer.len()).and_then(|end| bytes.get(start..end));
            buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        };
        find(&mut read, name)
    }

    #[test]
    fn the_files_of_a_store_are_found_by_their_names() {
        let medium = medium();
        let found = |name: &str| found(&medium, &name.repeat(32));
        assert_eq!(found("ab"), Ok(43_008..43_013));
        assert_eq!(found("cd"), Ok(43_008..43_015));
        assert_eq!(found("ef"), Err("not on this medium".to_owned()));
        assert_eq!(found(""), Err("not on this medium".to_owned()));
    }

    #[test]
    fn another_medium_is_not_ours_and_one_of_ours_without_a_store_is_an_error() {
        let mut other = medium();
        other[16 * 2048 + 574..16 * 2048 + 581].copy_from_slice(b"MKISOFS");
        assert_eq!(found(&other, "a").unwrap_err(), "not ours");
        assert_eq!(found(&vec![0; 64 << 10], "a").unwrap_err(), "not ours");
        let mut bare = medium();
        bare[18 * 2048..19 * 2048].fill(0);
        assert_eq!(found(&bare, "a").unwrap_err(), "no store");
    }

    #[test]
    fn every_truncation_and_every_changed_byte_of_what_leads_to_the_files_is_read_without_a_panic()
    {
        let whole = medium();
        for length in (0..whole.len()).step_by(7) {
            let _read = found(&whole[..length], "a");
        }
        for place in 16 * 2048..21 * 2048 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.clone();
                if changed[place] != value && (changed[place] != 0 || place % 64 == 0) {
                    changed[place] = value;
                    let _read = found(&changed, "a");
                }
            }
        }
    }
}
