//! What lies below filesystems, and where in it filesystems lie.

use super::Notes;
use crate::{
    field::{be32, be64, le32, le64},
    lvm,
    region::Region,
};

/// The most that is read of a volume group's text.
const TEXT_LIMIT: u64 = 1 << 20;

/// Takes down headers, copies and interiors of every kind of volume that is recognised.
pub(super) fn find(region: &mut Region<'_, '_>, notes: &mut Notes<'_>) {
    let end = (region.size() & !0xfff).checked_sub(8192);
    for offset in [Some(0), Some(4096), end].into_iter().flatten() {
        md(region, offset, notes);
    }
    old_md(region, notes);
    bcache(region, notes);
    for distance in [512, 4096, 257 * 512] {
        ddf(region, distance, notes);
    }
    volume_group(region, notes);
}

/// What an array's member holds (kernel: `struct mdp_superblock_1`). Where the array is a mirror, that is a device;
/// else pieces of one, and looking there does no harm.
fn md(region: &mut Region<'_, '_>, offset: u64, notes: &mut Notes<'_>) -> Option<()> {
    let block = region.at(offset, 256)?;
    if le32(&block, 0)? != 0xa92b_4efc || le32(&block, 4)? != 1 {
        return None;
    }
    notes.evidence("md", offset, 4096, 0);
    let [data, length] = [128, 136].map(|at| le64(&block, at).and_then(|it| it.checked_mul(512)));
    notes.interior("md", data?, length?, 0);
    Some(())
}

/// The same of metadata 0.90 (kernel: `struct mdp_superblock_s`).
fn old_md(region: &mut Region<'_, '_>, notes: &mut Notes<'_>) -> Option<()> {
    let offset = (region.size() & !0xffff).checked_sub(0x1_0000)?;
    let block = region.at(offset, 64)?;
    let read = match (le32(&block, 0)?, be32(&block, 0)?) {
        (0xa92b_4efc, _) => le32,
        (_, 0xa92b_4efc) => be32,
        _ => return None,
    };
    notes.evidence("md", offset, 4096, 0);
    notes.interior("md", 0, u64::from(read(&block, 32)?) * 1024, 0);
    notes.interior("md", 0, offset, 0);
    Some(())
}

/// A bcache backing device holds its filesystem behind the superblock (kernel: `struct cache_sb_disk`).
fn bcache(region: &mut Region<'_, '_>, notes: &mut Notes<'_>) -> Option<()> {
    let block = region.at(4096, 256)?;
    if block.get(24..40)? != b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81" {
        return None;
    }
    notes.evidence("bcache", 4096, 4096, 0);
    // Versions 1, 4 and 6 are backing devices; the first has no field for where its data begins.
    let data = match le64(&block, 16)? {
        1 => 16,
        4 | 6 => le64(&block, 184)?,
        _ => return None,
    };
    notes.interior("bcache", data.checked_mul(512)?, u64::MAX, 0);
    Some(())
}

/// The anchor at the end names two headers (SNIA DDF 2.0 §5.5).
fn ddf(region: &mut Region<'_, '_>, distance: u64, notes: &mut Notes<'_>) -> Option<()> {
    let offset = region.size().checked_sub(distance)?;
    let anchor = region.at(offset, 512)?;
    if !anchor.starts_with(b"\xde\x11\xde\x11") {
        return None;
    }
    notes.evidence("ddf", offset, 512, 0);
    for place in [96, 104] {
        notes.copy("ddf", be64(&anchor, place)?.checked_mul(512)?, 64 << 10);
    }
    Some(())
}

/// LVM's text says which extents of this volume belong to which logical volume: each run of them begins or ends a
/// device of its own.
fn volume_group(region: &mut Region<'_, '_>, notes: &mut Notes<'_>) -> Option<()> {
    let label = lvm::label(region)?;
    notes.evidence("lvm2", label.offset, 512, 0);
    for area in &label.areas {
        let header = region.at(*area, 512)?;
        if header.get(4..20)? != b" LVM2 x[5A%r0N*>" {
            continue;
        }
        let (area_size, place, length) =
            (le64(&header, 32)?, le64(&header, 40)?, le64(&header, 48)?);
        notes.evidence("lvm2", *area, 512, 1);
        // The text goes round in what is left of the area behind its header.
        let length = length.min(TEXT_LIMIT);
        let before_end = length.min(area_size.saturating_sub(place));
        let mut text = Vec::new();
        for (offset, length) in [(place, before_end), (512, length - before_end)] {
            let offset = area.checked_add(offset)?;
            notes.evidence("lvm2", offset, length, 1);
            text.extend(region.at(offset, usize::try_from(length).ok()?)?);
        }
        let text = String::from_utf8_lossy(&text);
        for (offset, length) in segments(&text, label.uuid.as_deref()?).unwrap_or_default() {
            notes.interior("lvm2", offset, length, 1);
        }
    }
    Some(())
}

/// Returns the runs of one physical volume that belong to logical volumes, in bytes from its start.
fn segments(text: &str, uuid: &str) -> Option<Vec<(u64, u64)>> {
    let mut section = "";
    let mut own = None;
    let (mut extent, mut begin) = (0, None);
    let (mut count, mut stripes) = (0, 1);
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_suffix('{') {
            section = name.trim();
        } else if let Some((key, value)) = line.split_once(" = ") {
            let number = || value.split_whitespace().next()?.parse::<u64>().ok();
            match key {
                "extent_size" => extent = number()?.checked_mul(512)?,
                "id" if value.trim_matches('"') == uuid => own = Some(section),
                "pe_start" if own == Some(section) => begin = number()?.checked_mul(512),
                "extent_count" => count = number()?,
                "stripe_count" => stripes = number()?.max(1),
                _ => {}
            }
        } else if let Some((name, first)) = line.split_once(", ")
            && own.is_some_and(|own| name.trim_matches('"') == own)
            && let Ok(first) = first.trim_end_matches(',').parse::<u64>()
        {
            let offset = first.checked_mul(extent)?.checked_add(begin?)?;
            found.push((offset, (count / stripes).checked_mul(extent)?));
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "vg {\nid = \"group\"\nextent_size = 8192\nphysical_volumes {\npv0 {\nid = \"other\"\n\
        pe_start = 4096\n}\npv1 {\nid = \"this\"\ndevice = \"/dev/sda\"\npe_start = 2048\npe_count = 99\n}\n}\n\
        logical_volumes {\nroot {\nsegment1 {\nextent_count = 25\ntype = \"striped\"\nstripe_count = 1\n\
        stripes = [\n\"pv1\", 3\n]\n}\n}\nwide {\nsegment1 {\nextent_count = 10\t# 40 Megabytes\n\
        stripe_count = 2\nstripes = [\n\"pv0\", 0,\n\"pv1\", 50\n]\n}\n}\n}\n}\n";

    #[test]
    fn the_extents_of_one_volume_are_found_in_its_groups_text() {
        let extent = 4 << 20;
        let expected =
            vec![(1_048_576 + 3 * extent, 25 * extent), (1_048_576 + 50 * extent, 5 * extent)];
        assert_eq!(segments(TEXT, "this"), Some(expected));
        assert_eq!(segments(TEXT, "nobody"), Some(vec![]));
    }

    #[test]
    fn a_hostile_text_names_nothing() {
        for (from, to) in [("8192", "99999999999999999"), ("3\n", "18446744073709551615\n")] {
            assert_eq!(segments(&TEXT.replace(from, to), "this"), None, "{to}");
        }
        for length in 0..TEXT.len() {
            segments(&TEXT[..length], "this");
        }
    }
}
