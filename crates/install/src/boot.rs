//! What makes a disk bootable: taken away before anything else, put back after everything else.
//!
//! Firmware starts a disk by its first sector, or by the table whose headers are in the second and in the last one.
//! All of that is zeroed first; and of an image, the first chunk and whatever lies in the last MiB of the disk is
//! written last, in layers with a flush between each two, the very first sector alone at the end. A sector is
//! written whole or not at all, so: while anything is missing, the first sector reads as zeros.

use disk::{AlignedBuffer, Fault, Medium};

use crate::{
    failure::{Failure, flush, read, write},
    plan::END_BYTES,
    zero::is_zero,
};

/// Partition entries, boot code, volume descriptors of hybrid images: below this, and above the two first sectors.
const DESCRIPTORS_END: u64 = 64 << 10;

/// A part of an image that is written last: its offset, and whole sectors.
pub(crate) type Withheld = (u64, AlignedBuffer);

/// Makes both ends of a disk zeros, if they are not, flushes, and reads them back.
pub(crate) fn disarm(medium: &dyn Medium, first_bytes: u64) -> Result<(), Failure> {
    let sector = u64::from(medium.sector_bytes());
    let disk_bytes = medium.size_bytes();
    let first = first_bytes.min(disk_bytes);
    let end = disk_bytes.saturating_sub(END_BYTES).next_multiple_of(sector).max(first);
    let ranges = [(0, first), (end, disk_bytes - end)].map(|(offset, length)| {
        (offset, usize::try_from(length).expect("a chunk or a MiB fits in memory"))
    });
    for (offset, length) in ranges {
        // What cannot be read is no zeros; writing may heal it.
        if !read(medium, offset, length).is_ok_and(|bytes| is_zero(&bytes)) {
            write(medium, offset, &AlignedBuffer::zeroed(length))?;
        }
    }
    flush(medium)?;
    for (offset, length) in ranges {
        if !is_zero(&read(medium, offset, length)?) {
            return Err(Failure::NotDisarmed { offset });
        }
    }
    Ok(())
}

/// Writes what was withheld, layer by layer.
pub(crate) fn arm(medium: &dyn Medium, withheld: &[Withheld]) -> Result<(), Fault> {
    let (sector, disk_bytes) = (u64::from(medium.sector_bytes()), medium.size_bytes());
    let descriptors_end = DESCRIPTORS_END.max(2 * sector);
    let cuts = [sector, 2 * sector, descriptors_end, disk_bytes - sector];
    let layer_of = |offset: u64| match offset {
        _ if offset < sector => Layer::FirstSector,
        _ if offset < 2 * sector || offset >= disk_bytes - sector => Layer::TableHeaders,
        _ if offset < descriptors_end => Layer::Descriptors,
        _ => Layer::Content,
    };
    for layer in [Layer::Content, Layer::Descriptors, Layer::TableHeaders, Layer::FirstSector] {
        for (offset, bytes) in withheld {
            for (at, part) in cut(*offset, bytes, &cuts) {
                if layer_of(at) == layer {
                    write_anywhere(medium, at, part)?;
                }
            }
        }
        flush(medium)?;
    }
    Ok(())
}

/// What is written together, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    Content,
    Descriptors,
    TableHeaders,
    FirstSector,
}

/// Cuts bytes at an offset of the disk into the parts between some offsets.
fn cut<'b>(offset: u64, bytes: &'b [u8], at: &[u64]) -> Vec<(u64, &'b [u8])> {
    let mut parts = vec![(offset, bytes)];
    for place in at {
        let Some((start, last)) = parts.pop() else { break };
        let inside = place.checked_sub(start).and_then(|distance| usize::try_from(distance).ok());
        match inside.filter(|distance| (1..last.len()).contains(distance)) {
            Some(distance) => {
                let (before, after) = last.split_at(distance);
                parts.extend([(start, before), (*place, after)]);
            }
            None => parts.push((start, last)),
        }
    }
    parts
}

/// Writes bytes that may not begin at a page.
fn write_anywhere(medium: &dyn Medium, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
    let mut buffer = AlignedBuffer::zeroed(bytes.len());
    buffer.copy_from_slice(bytes);
    write(medium, offset, &buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_loses_nothing() {
        let bytes: Vec<u8> = (0..200).collect();
        let parts = |at: &[u64]| -> Vec<(u64, usize)> {
            let parts = cut(1000, &bytes, at);
            assert_eq!(parts.concat_bytes(), bytes);
            parts.iter().map(|(offset, part)| (*offset, part.len())).collect()
        };
        assert_eq!(parts(&[10, 20, 3000]), [(1000, 200)]);
        assert_eq!(parts(&[1000, 1200]), [(1000, 200)]);
        assert_eq!(parts(&[1001, 1100, 1199]), [(1000, 1), (1001, 99), (1100, 99), (1199, 1)]);
    }

    trait Concat {
        fn concat_bytes(&self) -> Vec<u8>;
    }

    impl Concat for Vec<(u64, &[u8])> {
        fn concat_bytes(&self) -> Vec<u8> {
            self.iter().flat_map(|(_, part)| part.iter().copied()).collect()
        }
    }
}
