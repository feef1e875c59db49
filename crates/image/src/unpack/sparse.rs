//! Where the data of an archive's member lie, if its holes were left out: the maps of GNU tar.

use std::io::{self, Read};

use crate::recognise::{SECTOR, octal};

/// The most pieces that a file may be in: 16 MiB of memory.
const PIECES_LIMIT: usize = 1 << 20;

/// Where data lie in a file; everything else is holes.
#[derive(Debug)]
pub(super) struct Map {
    /// Offset and length of each piece, ascending, none overlapping.
    pieces: Vec<(u64, u64)>,
    next: usize,
    /// The length of the whole file.
    length: u64,
    position: u64,
}

/// What comes next of a file.
pub(super) enum Piece {
    Hole(u64),
    Data(u64),
}

impl Map {
    /// A file without holes.
    pub(super) fn whole(length: u64) -> Self {
        Self { pieces: vec![(0, length)], next: 0, length, position: 0 }
    }

    /// Says what is wrong, if the pieces are no map of `length` bytes of which `stored` are in the archive.
    pub(super) fn new(
        mut pieces: Vec<(u64, u64)>,
        length: u64,
        stored: u64,
    ) -> Result<Self, &'static str> {
        pieces.retain(|(_, length)| *length > 0);
        let mut end = 0_u64;
        let mut sum = 0_u64;
        for (offset, length) in &pieces {
            if *offset < end {
                return Err("pieces that overlap");
            }
            end = offset.checked_add(*length).ok_or("a piece beyond all bounds")?;
            sum += length;
        }
        if end > length {
            return Err("a piece beyond the end of the file");
        }
        if sum != stored {
            return Err("pieces that are not as long as what is stored");
        }
        Ok(Self { pieces, next: 0, length, position: 0 })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Returns what comes next, nothing at the end of the file.
    pub(super) fn next(&self) -> Option<Piece> {
        if self.position == self.length {
            return None;
        }
        Some(match self.pieces.get(self.next) {
            None => Piece::Hole(self.length - self.position),
            Some((offset, _)) if self.position < *offset => Piece::Hole(offset - self.position),
            Some((offset, length)) => Piece::Data(offset + length - self.position),
        })
    }

    /// Goes on by no more than what [`Map::next`] said.
    pub(super) fn advance(&mut self, bytes: u64) {
        self.position += bytes;
        if self
            .pieces
            .get(self.next)
            .is_some_and(|(offset, length)| offset + length == self.position)
        {
            self.next += 1;
        }
    }
}

/// Reads the map of GNU tar's own kind of member, `S`: in its header, and in blocks that follow it.
pub(super) fn old_gnu(
    header: &[u8; SECTOR],
    stored: u64,
    source: &mut impl Read,
) -> io::Result<Result<Map, &'static str>> {
    let mut pieces = Vec::new();
    let mut extended = header[482] != 0;
    if !entries(&header[386..482], &mut pieces) {
        return Ok(Err("a number that is none"));
    }
    let mut block = [0; SECTOR];
    while extended {
        source.read_exact(&mut block)?;
        if !entries(&block[..504], &mut pieces) {
            return Ok(Err("a number that is none"));
        }
        if pieces.len() > PIECES_LIMIT {
            return Ok(Err("too many pieces"));
        }
        extended = block[504] != 0;
    }
    let Some(length) = number(&header[483..495]) else { return Ok(Err("a number that is none")) };
    Ok(Map::new(pieces, length, stored))
}

fn entries(fields: &[u8], pieces: &mut Vec<(u64, u64)>) -> bool {
    for entry in fields.chunks_exact(24).take_while(|entry| entry[0] != 0) {
        let (Some(offset), Some(length)) = (number(&entry[..12]), number(&entry[12..])) else {
            return false;
        };
        pieces.push((offset, length));
    }
    true
}

/// Reads the map of version 1.0 in a `pax` archive: decimal lines before the data, filled up to a block.
/// Returns it with how much it took of what is stored.
pub(super) fn version_1(
    length: u64,
    stored: u64,
    source: &mut impl Read,
) -> io::Result<Result<(Map, u64), &'static str>> {
    let mut lines = Lines { source, block: [0; SECTOR], read: SECTOR, taken: 0, limit: stored };
    let Some(count) = lines.number()? else { return Ok(Err("a number that is none")) };
    let Some(count) = usize::try_from(count).ok().filter(|count| *count <= PIECES_LIMIT) else {
        return Ok(Err("too many pieces"));
    };
    let mut pieces = Vec::new();
    for _ in 0..count {
        let (Some(offset), Some(length)) = (lines.number()?, lines.number()?) else {
            return Ok(Err("a number that is none"));
        };
        pieces.push((offset, length));
    }
    let taken = lines.taken;
    Ok(Map::new(pieces, length, stored - taken).map(|map| (map, taken)))
}

/// Decimal numbers, one a line, in blocks.
struct Lines<'a, R> {
    source: &'a mut R,
    block: [u8; SECTOR],
    read: usize,
    taken: u64,
    limit: u64,
}

impl<R: Read> Lines<'_, R> {
    fn number(&mut self) -> io::Result<Option<u64>> {
        let mut value = 0_u64;
        let mut digits = 0;
        loop {
            if self.read == SECTOR {
                let sector = u64::try_from(SECTOR).expect("512 fits");
                if self.limit - self.taken < sector {
                    return Ok(None);
                }
                self.source.read_exact(&mut self.block)?;
                self.taken += sector;
                self.read = 0;
            }
            let byte = self.block[self.read];
            self.read += 1;
            let digit = match byte {
                b'\n' if digits > 0 => return Ok(Some(value)),
                b'0'..=b'9' if digits < 20 => u64::from(byte - b'0'),
                _ => return Ok(None),
            };
            let Some(next) = value.checked_mul(10).and_then(|value| value.checked_add(digit))
            else {
                return Ok(None);
            };
            value = next;
            digits += 1;
        }
    }
}

/// A number in a header: octal, or binary with the first bit set.
pub(super) fn number(field: &[u8]) -> Option<u64> {
    match field.split_first() {
        Some((0x80, rest)) => {
            let (high, low) = rest.split_at(rest.len().checked_sub(8)?);
            let low = low.try_into().expect("split eight bytes before the end");
            high.iter().all(|byte| *byte == 0).then(|| u64::from_be_bytes(low))
        }
        _ => octal(field),
    }
}
