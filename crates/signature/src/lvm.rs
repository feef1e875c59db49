//! LVM2's physical volumes: which one it is, of which group, and whether machines share that group.
//!
//! A label names the volume and where its metadata areas are; an area's header says where the newest text in it
//! begins; the text begins with the group's name (LVM2: `struct label_header`, `pv_header`, `mda_header`).

use crate::{
    Signature,
    field::{self, le32, le64},
    region::Region,
};

/// How much of the text is read: name, status and kind of lock stand at its start.
const TEXT_BYTES: usize = 1024;

/// How many areas are looked for; a volume has one of data and at most two of metadata.
const AREA_LIMIT: usize = 8;

/// A physical volume's label, and where its metadata areas are.
#[derive(Debug)]
pub(crate) struct Label {
    pub(crate) offset: u64,
    pub(crate) uuid: Option<String>,
    pub(crate) areas: Vec<u64>,
}

/// Returns the label in a region.
pub(crate) fn label(region: &mut Region<'_, '_>) -> Option<Label> {
    let (offset, block, header) = raw_label(region)?;
    Some(Label {
        offset,
        uuid: uuid(&block, header),
        areas: areas(&block, header).unwrap_or_default(),
    })
}

/// Returns a label's place, its sector, and where in that the volume's header begins: in one of the first four
/// sectors, then the physical volume's UUID.
fn raw_label(region: &mut Region<'_, '_>) -> Option<(u64, Vec<u8>, usize)> {
    (0..4_u64).map(|sector| sector * 512).find_map(|offset| {
        let block = region.at(offset, 512)?;
        if !block.starts_with(b"LABELONE") || !block.get(24..32)?.starts_with(b"LVM2") {
            return None;
        }
        let header = usize::try_from(le32(&block, 20)?).ok()?;
        Some((offset, block, header))
    })
}

/// Returns the physical volume in a region, its label the group's name; and `lvm2-shared` where the group says that
/// machines share it.
pub(crate) fn find(region: &mut Region<'_, '_>) -> Vec<Signature> {
    let Some((offset, block, header)) = raw_label(region) else { return Vec::new() };
    let group = group(region, &block, header);
    let name = group.as_ref().and_then(|group| group.name.clone());
    let volume = Signature::new("lvm2", offset).uuid(uuid(&block, header)).label(name);
    let shared = group
        .filter(|group| group.is_shared)
        .map(|group| Signature::new("lvm2-shared", group.offset).label(group.name));
    [Some(volume), shared].into_iter().flatten().collect()
}

/// Shows 32 letters as LVM does: 6-4-4-4-4-4-6.
fn uuid(block: &[u8], offset: usize) -> Option<String> {
    let text = field::text(block, offset, 32).filter(|text| {
        text.len() == 32
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'!' || byte == b'#')
    })?;
    let mut rest = text.as_str();
    let mut groups = Vec::new();
    for length in [6, 4, 4, 4, 4, 4, 6] {
        let (group, after) = rest.split_at(length);
        groups.push(group);
        rest = after;
    }
    Some(groups.join("-"))
}

/// What a metadata area says of the group.
struct Group {
    offset: u64,
    name: Option<String>,
    is_shared: bool,
}

fn group(region: &mut Region<'_, '_>, block: &[u8], header: usize) -> Option<Group> {
    areas(block, header)?.into_iter().find_map(|start| newest(region, start))
}

/// Returns where the metadata areas begin.
fn areas(block: &[u8], header: usize) -> Option<Vec<u64>> {
    // After UUID and size: places of data, a pair of zeros, places of metadata, a pair of zeros.
    let first = header.checked_add(40)?;
    let area = |index: usize| le64(block, first.checked_add(index * 16)?);
    let end = (0..AREA_LIMIT).find(|index| area(*index) == Some(0))?;
    let starts =
        (end + 1..end + 1 + AREA_LIMIT).map_while(|index| area(index).filter(|at| *at != 0));
    Some(starts.collect())
}

/// Reads the newest text in the metadata area at `start`.
fn newest(region: &mut Region<'_, '_>, start: u64) -> Option<Group> {
    let header = region.at(start, 512)?;
    if header.get(4..20)? != b" LVM2 x[5A%r0N*>" {
        return None;
    }
    let (place, length) = (le64(&header, 40)?, le64(&header, 48)?);
    if place == 0 {
        return None; // It is in no group yet.
    }
    let offset = start.checked_add(place)?;
    let text = region.at(offset, usize::try_from(length).ok()?.min(TEXT_BYTES))?;
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"+_.-".contains(byte);
    let name: Vec<u8> = text.iter().copied().take_while(is_name).collect();
    let has = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
    Some(Group {
        offset,
        name: field::text(&name, 0, name.len()),
        is_shared: has(b"\"CLUSTERED\"")
            || has(b"lock_type = \"sanlock\"")
            || has(b"lock_type = \"dlm\"")
            || has(b"lock_type = \"idm\""),
    })
}
