//! LVM where it is simple: logical volumes that are one piece of one partition, so that their filesystem can be mounted
//! without the device mapper. Pure, over `Read + Seek`.
//!
//! Anything else is left: volumes in several pieces, mirrors, snapshots and what they are snapshots of, thin and cached
//! ones, groups that machines share or that were exported. LVM2: `lib/format_text` (`struct mda_header`, `struct
//! raw_locn`), and lvm.conf(5) for the syntax of the text.

mod text;

use std::io::{self, SeekFrom};

use signature::Source;

use self::text::{Section, Value, has, list, number, parse, section, text_of};

/// The unit of the text.
const SECTOR: u64 = 512;

/// The longest text that is read; LVM's own areas are 1 MiB.
const TEXT_LIMIT: u64 = 4 << 20;

/// LVM2, lib/misc/crc.h: `INITIAL_CRC`.
const CRC_START: u32 = 0xf597_a6cf;

/// A volume in one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Logical {
    /// `group/volume`.
    pub(super) name: String,
    /// Both identities without hyphens, as the device mapper writes them.
    pub(super) id: String,
    /// Where it begins in the partition, in bytes.
    pub(super) start: u64,
    /// Its length in bytes.
    pub(super) size: u64,
}

/// What a partition's group holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Group {
    pub(super) volumes: Vec<Logical>,
    /// Volumes that are not simple: `group/volume`.
    pub(super) others: Vec<String>,
}

/// Why a physical volume is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum VolumeError {
    /// It cannot be read.
    #[error("reading its metadata")]
    Read(#[from] io::Error),
    /// Something is not as LVM writes it.
    #[error("its metadata makes no sense: {0}")]
    Senseless(&'static str),
    /// The group is somebody else's too.
    #[error("its group is shared, exported or not LVM2's")]
    Shared,
}

/// Reads the volumes of the group that the physical volume of `size` bytes belongs to, as far as they lie on it.
pub(super) fn read(source: &mut dyn Source, size: u64) -> Result<Group, VolumeError> {
    let label = bytes(source, 0, 2048)?;
    let header = label
        .chunks(512)
        .find(|sector| sector.starts_with(b"LABELONE") && sector.get(24..28) == Some(b"LVM2"))
        .ok_or(VolumeError::Senseless("no label"))?;
    let at = usize::try_from(le32(header, 20)).unwrap_or(usize::MAX);
    let own = header.get(at..).and_then(|rest| rest.get(..32));
    let own = own.ok_or(VolumeError::Senseless("no identity"))?.to_vec();
    // After identity and size: places of data, a pair of zeros, places of metadata, a pair of zeros.
    let mut pairs = header
        .get(at.saturating_add(40)..)
        .unwrap_or_default()
        .chunks_exact(16)
        .map(|pair| le64(pair, 0));
    while pairs.next().is_some_and(|place| place != 0) {}
    let area = pairs.next().filter(|place| *place != 0);
    let text = text(source, area.ok_or(VolumeError::Senseless("no metadata"))?)?;
    group(&text, &own, size)
}

/// Returns the newest text of a metadata area, which is a ring behind its first sector.
fn text(source: &mut dyn Source, area: u64) -> Result<Vec<u8>, VolumeError> {
    let header = bytes(source, area, SECTOR)?;
    if header.get(4..20) != Some(b" LVM2 x[5A%r0N*>") || le32(&header, 0) != checksum(&header[4..])
    {
        return Err(VolumeError::Senseless("no header"));
    }
    let (ring, place, length) = (le64(&header, 32), le64(&header, 40), le64(&header, 48));
    if !(SECTOR..ring).contains(&place) || length > TEXT_LIMIT || length >= ring {
        return Err(VolumeError::Senseless("no text"));
    }
    let at = |offset: u64| area.checked_add(offset).ok_or(VolumeError::Senseless("no text"));
    let first = length.min(ring - place);
    let mut text = bytes(source, at(place)?, first)?;
    text.extend(bytes(source, at(SECTOR)?, length - first)?);
    if le32(&header, 56) != checksum(&text) {
        return Err(VolumeError::Senseless("a wrong checksum"));
    }
    Ok(text)
}

fn group(text: &[u8], own: &[u8], size: u64) -> Result<Group, VolumeError> {
    let senseless = VolumeError::Senseless;
    let (name, group) = parse(text)
        .and_then(|all| {
            all.into_iter().find_map(|(name, value)| match value {
                Value::Section(section) => Some((name, section)),
                _ => None,
            })
        })
        .ok_or(senseless("no group"))?;
    let status = list(&group, "status").ok_or(senseless("no status"))?;
    let is_plain = text_of(&group, "format") == Some("lvm2")
        && !has(status, "EXPORTED")
        && !has(status, "CLUSTERED")
        && has(status, "WRITE")
        && text_of(&group, "lock_type").is_none_or(|kind| kind == "none");
    if !is_plain {
        return Err(VolumeError::Shared);
    }
    let extent = number(&group, "extent_size").ok_or(senseless("no extents"))?;
    let identity = |section: &Section| text_of(section, "id").map(|id| id.replace('-', ""));
    let physical = section(&group, "physical_volumes").ok_or(senseless("no volumes"))?;
    let (alias, physical) = physical
        .iter()
        .find_map(|(alias, value)| match value {
            Value::Section(one) if identity(one)?.as_bytes() == own => Some((alias, one)),
            _ => None,
        })
        .ok_or(senseless("it does not name this volume"))?;
    let begin = number(physical, "pe_start").ok_or(senseless("no begin"))?;
    let mut found = Group::default();
    let Some(all) = section(&group, "logical_volumes") else { return Ok(found) };
    for (volume, value) in all {
        let Value::Section(one) = value else { continue };
        let full = format!("{name}/{volume}");
        // Snapshots, pools and caches name what they are made of.
        let is_part = all.iter().any(|(other, value)| other != volume && value.mentions(volume));
        let place = piece(one, alias).filter(|_| !is_part).and_then(|(first, count)| {
            let start = first.checked_mul(extent)?.checked_add(begin)?.checked_mul(SECTOR)?;
            let length = count.checked_mul(extent)?.checked_mul(SECTOR)?;
            (length > 0 && start.checked_add(length)? <= size).then_some((start, length))
        });
        match (place, identity(&group), identity(one)) {
            (Some((start, size)), Some(group), Some(id)) => {
                found.volumes.push(Logical { name: full, id: group + &id, start, size });
            }
            _ => found.others.push(full),
        }
    }
    Ok(found)
}

/// Returns the first extent and the number of extents of a volume in one piece on the physical volume `alias`.
fn piece(volume: &Section, alias: &str) -> Option<(u64, u64)> {
    let status = list(volume, "status")?;
    let is_plain = has(status, "VISIBLE") && has(status, "READ") && has(status, "WRITE");
    if !is_plain || status.len() != 3 || number(volume, "segment_count") != Some(1) {
        return None;
    }
    let segment = section(volume, "segment1")?;
    let is_linear = text_of(segment, "type") == Some("striped")
        && number(segment, "stripe_count") == Some(1)
        && number(segment, "start_extent") == Some(0);
    match list(segment, "stripes")? {
        [Value::Text(on), Value::Number(first)] if is_linear && on == alias => {
            Some((*first, number(segment, "extent_count")?))
        }
        _ => None,
    }
}

fn bytes(source: &mut dyn Source, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut bytes = vec![0; length];
    source.seek(SeekFrom::Start(offset))?;
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The checksum of LVM's own metadata (lib/misc/crc.c): that of Ethernet with another start, and not inverted.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(CRC_START, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u32::from_le_bytes(*word))
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u64::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const OWN: &[u8; 32] = b"RRC98utdiN8K2NIXZdR1DD1f14mXly9K";
    const AREA: usize = 4096;
    const RING: usize = 8192;

    fn text(status: &str, volumes: &str) -> String {
        format!(
            "dry-dock {{\nid = \"JAQTy1-1HgU-JTJU-te6T-1tPP-nqCr-8aUQ8V\"\nseqno = 5\nformat = \"lvm2\" # informational\n\
             status = [{status}]\nflags = []\nextent_size = 8\n\nphysical_volumes {{\n\npv0 {{\n\
             id = \"RRC98u-tdiN-8K2N-IXZd-R1DD-1f14-mXly9K\"\ndevice = \"/dev/sda3\"\t# Hint only\npe_start = 2048\n\
             pe_count = 49\n}}\npv1 {{\nid = \"other\"\npe_start = 2048\n}}\n}}\n\nlogical_volumes {{\n{volumes}\n}}\n}}\n\
             # Generated by LVM2\ncontents = \"Text Format Volume Group\"\nversion = 1\n\ndescription = \"with \\\"quotes\\\" {{\"\n\0"
        )
    }

    fn volume(name: &str, more: &str) -> String {
        format!(
            "{name} {{\nid = \"AW2kSS-{name}\"\nstatus = [\"READ\", \"WRITE\", \"VISIBLE\"]\n{more}}}\n"
        )
    }

    fn linear(on: &str, first: u64, count: u64) -> String {
        format!(
            "segment_count = 1\n\nsegment1 {{\nstart_extent = 0\nextent_count = {count}\t# 40 Megabytes\n\n\
             type = \"striped\"\nstripe_count = 1\t# linear\n\nstripes = [\n\"{on}\", {first}\n]\n}}\n"
        )
    }

    /// A physical volume whose text begins so far into the ring.
    fn disk(text: &str, place: usize) -> Vec<u8> {
        let mut disk = vec![0; 4 << 20];
        let label = &mut disk[512..1024];
        label[..8].copy_from_slice(b"LABELONE");
        label[20] = 32;
        label[24..28].copy_from_slice(b"LVM2");
        label[32..64].copy_from_slice(OWN);
        for (at, value) in [(72, 1 << 20), (104, AREA), (112, RING)] {
            label[at..at + 8].copy_from_slice(&u64::try_from(value).unwrap().to_le_bytes());
        }
        let area = &mut disk[AREA..AREA + RING];
        for (at, byte) in text.bytes().enumerate() {
            let at = place + at;
            area[if at < RING { at } else { at - RING + 512 }] = byte;
        }
        area[4..20].copy_from_slice(b" LVM2 x[5A%r0N*>");
        for (at, value) in [(24, AREA), (32, RING), (40, place), (48, text.len())] {
            area[at..at + 8].copy_from_slice(&u64::try_from(value).unwrap().to_le_bytes());
        }
        area[56..60].copy_from_slice(&checksum(text.as_bytes()).to_le_bytes());
        let own = checksum(&area[4..512]);
        area[..4].copy_from_slice(&own.to_le_bytes());
        disk
    }

    fn look(disk: Vec<u8>) -> Result<Group, VolumeError> {
        let size = u64::try_from(disk.len()).unwrap();
        read(&mut Cursor::new(disk), size)
    }

    const PLAIN: &str = "\"RESIZEABLE\", \"READ\", \"WRITE\"";

    #[test]
    fn volumes_in_one_piece_are_found_also_where_the_text_goes_around() {
        let volumes =
            volume("root", &linear("pv0", 16, 4)) + &volume("var-log", &linear("pv0", 0, 8));
        for place in [512, 1024, RING - 100] {
            let found = look(disk(&text(PLAIN, &volumes), place)).unwrap();
            let places: Vec<_> =
                found.volumes.iter().map(|one| (one.name.as_str(), one.start, one.size)).collect();
            let begin = 2048 * 512;
            let expected = [
                ("dry-dock/root", begin + 16 * 4096, 4 * 4096),
                ("dry-dock/var-log", begin, 8 * 4096),
            ];
            assert_eq!(places, expected);
            assert_eq!(found.volumes[0].id, "JAQTy11HgUJTJUte6T1tPPnqCr8aUQ8VAW2kSSroot");
            assert!(found.others.is_empty());
        }
    }

    #[test]
    fn what_is_not_simple_is_named_and_left() {
        let pieces = linear("pv0", 0, 1).replace("segment_count = 1", "segment_count = 2");
        let volumes = [
            volume("pieces", &pieces),
            volume("elsewhere", &linear("pv1", 0, 1)),
            volume("striped", &linear("pv0", 0, 1).replace("stripe_count = 1", "stripe_count = 2")),
            volume("origin", &linear("pv0", 0, 1)),
            volume("copy", &linear("pv0", 1, 1)),
            volume("snapshot0", "segment_count = 1\nsegment1 {\ntype = \"snapshot\"\norigin = \"origin\"\ncow_store = \"copy\"\n}\n"),
            volume("hidden", &linear("pv0", 0, 1)).replace(", \"VISIBLE\"", ""),
            volume("moving", &linear("pv0", 0, 1)).replace("\"VISIBLE\"", "\"VISIBLE\", \"LOCKED\""),
            volume("outside", &linear("pv0", 900, 1)),
            volume("endless", &linear("pv0", u64::MAX, 1)),
            volume("empty", &linear("pv0", 0, 0)),
        ]
        .concat();
        let found = look(disk(&text(PLAIN, &volumes), 512)).unwrap();
        assert_eq!((found.volumes, found.others.len()), (Vec::new(), 11));
    }

    #[test]
    fn a_group_that_is_not_ours_alone_is_left() {
        let volumes = volume("root", &linear("pv0", 0, 1));
        for status in ["\"EXPORTED\", \"READ\", \"WRITE\"", "\"CLUSTERED\", \"WRITE\"", "\"READ\""]
        {
            let found = look(disk(&text(status, &volumes), 512));
            assert!(matches!(found, Err(VolumeError::Shared)), "{status}");
        }
        let locked = text(PLAIN, &volumes).replace("seqno", "lock_type = \"sanlock\"\nseqno");
        assert!(matches!(look(disk(&locked, 512)), Err(VolumeError::Shared)));
        let foreign = text(PLAIN, &volumes).replace("RRC98u", "RRC98v");
        assert!(matches!(look(disk(&foreign, 512)), Err(VolumeError::Senseless(_))));
    }

    #[test]
    fn a_changed_byte_is_found_and_a_cut_text_never_panics() {
        let whole = text(PLAIN, &volume("root", &linear("pv0", 0, 1)));
        let good = disk(&whole, 512);
        for at in (AREA..AREA + 64).chain(AREA + 512..AREA + 512 + whole.len()) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(look(bad).is_err(), "{at}");
        }
        for end in 0..whole.len() {
            let found = look(disk(&whole[..end], 512));
            assert!(found.is_err() || end > whole.find("# Generated").unwrap() - 2, "{end}");
        }
        for deep in ["{", "[", "a {", "a = [", "a = \"", "a = [\"", "\\", "\"\\"] {
            look(disk(&deep.repeat(1000)[..5000.min(deep.len() * 1000)], 512)).unwrap_err();
        }
        assert!(look(vec![0; 4096]).is_err() && look(Vec::new()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_no_volume_leaves_its_partition(
            text in "([a-z]{1,3} (\\{|= (-?[0-9]{1,20}|\"[a-z]{0,3}\\\\?\"|\\[)) ?|\\}|\\]|,|#|\n){0,80}",
            first in 0_u64.., count in 0_u64.., extent in 0_u64..,
        ) {
            drop(group(text.as_bytes(), OWN, 4 << 20));
            let volumes = volume("root", &linear("pv0", first, count));
            let whole = self::text(PLAIN, &volumes).replace("extent_size = 8", &format!("extent_size = {extent}"));
            for one in group(whole.as_bytes(), OWN, 4 << 20).unwrap().volumes {
                assert!(one.size > 0 && one.start + one.size <= 4 << 20);
            }
        }
    }
}
