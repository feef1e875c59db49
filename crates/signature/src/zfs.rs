//! ZFS labels: two at the start of a device, two at its end, 256 KiB each.
//!
//! A label has a name-value list from 16 KiB (pool name, GUIDs) and a ring of uberblocks from 128 KiB.
//! Spares and cache devices have a list but no uberblock, a damaged label may have only uberblocks:
//! either is enough.

use crate::{Signature, field, region::Region};

const LABEL: u64 = 256 << 10;
const LIST: u64 = 16 << 10;
const RING: u64 = 128 << 10;

/// "oo-ba-bloc", as every uberblock begins, in either byte order.
const UBERBLOCK: u64 = 0x00ba_b10c;

/// Returns the first label that is found.
pub(crate) fn find(region: &mut Region<'_, '_>) -> Option<Signature> {
    let size = region.size() & !(LABEL - 1);
    let last = size.checked_sub(LABEL)?;
    let places = [Some(0), Some(LABEL), last.checked_sub(LABEL), Some(last)];
    places.into_iter().flatten().find_map(|start| label(region, start))
}

fn label(region: &mut Region<'_, '_>, start: u64) -> Option<Signature> {
    let list = region.at(start + LIST, 8 << 10)?;
    // XDR (1), then the list's version (0) and flags (1, unique names), both big endian.
    if list.first() == Some(&1) && list.get(4..12)? == [0, 0, 0, 0, 0, 0, 0, 1] {
        let name = string(&list, "name");
        let pool = number(&list, "pool_guid");
        if pool.is_some() || number(&list, "guid").is_some() {
            let signature = Signature::new("zfs", start + LIST);
            return Some(signature.label(name).uuid(pool.map(|guid| guid.to_string())));
        }
    }
    let ring = region.at(start + RING, 128 << 10)?;
    let slot = ring.chunks_exact(1024).position(|slot| {
        field::le64(slot, 0)
            .is_some_and(|magic| magic == UBERBLOCK || magic.swap_bytes() == UBERBLOCK)
    })?;
    Some(Signature::new("zfs", start + RING + u64::try_from(slot).ok()? * 1024))
}

/// Returns where a pair's value begins, after its type and count: XDR has the name's length, the name padded
/// to four bytes, the type, the count.
fn value(list: &[u8], name: &str, kind: u32) -> Option<usize> {
    let mut key = u32::try_from(name.len()).ok()?.to_be_bytes().to_vec();
    key.extend(name.bytes());
    key.resize(key.len().next_multiple_of(4), 0);
    key.extend(kind.to_be_bytes());
    key.extend(1_u32.to_be_bytes());
    list.windows(key.len()).position(|window| window == key).map(|at| at + key.len())
}

fn number(list: &[u8], name: &str) -> Option<u64> {
    field::array(list, value(list, name, 8)?).map(u64::from_be_bytes)
}

fn string(list: &[u8], name: &str) -> Option<String> {
    let at = value(list, name, 9)?;
    let length = usize::try_from(field::be32(list, at)?).ok()?;
    field::text(list, at + 4, length)
}
