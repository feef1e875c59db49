//! Bounded reading: a disk or a partition as a region whose two ends are held in memory.

use std::io::{self, Read, Seek, SeekFrom};

use crate::field;

/// The most bytes that one probe reads: the two ends of a disk and of 256 partitions, with room.
pub const READ_LIMIT: u64 = 256 << 20;

/// How many reads may fail before a probe gives up; each may take a dying disk half a minute.
pub(crate) const FAILURE_LIMIT: usize = 3;

/// The same for who has a person's order to go on.
const PATIENT_FAILURE_LIMIT: usize = 8;

/// The most bytes that a survey, or a look for everything, reads: a MiB of each area, and twice that of tables.
pub const SURVEY_READ_LIMIT: u64 = 1 << 30;

/// The most bytes that one read asks for.
const PIECE_LIMIT: u64 = 2 << 20;

/// What can be probed: a device, a file, bytes in memory.
pub trait Source: Read + Seek {}

impl<T: Read + Seek> Source for T {}

/// A place that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Where, in bytes from the start of the disk.
    pub offset: u64,
    /// How many bytes were asked for.
    pub length: u64,
    /// Why, in words.
    pub reason: String,
}

/// Reads pieces and keeps account.
pub(crate) struct Reader<'source> {
    source: &'source mut dyn Source,
    read: u64,
    read_limit: u64,
    failure_limit: usize,
    unreadable: Vec<Unreadable>,
}

impl<'source> Reader<'source> {
    pub(crate) fn new(source: &'source mut dyn Source) -> Self {
        Self {
            source,
            read: 0,
            read_limit: READ_LIMIT,
            failure_limit: FAILURE_LIMIT,
            unreadable: Vec::new(),
        }
    }

    /// Reads more than others, and gives up later.
    pub(crate) fn patient(source: &'source mut dyn Source) -> Self {
        let (read_limit, failure_limit) = (SURVEY_READ_LIMIT, PATIENT_FAILURE_LIMIT);
        Self { read_limit, failure_limit, ..Self::new(source) }
    }

    /// Returns the region of `size` bytes from `start`, with `end` bytes of both its ends in memory.
    pub(crate) fn region(&mut self, start: u64, size: u64, end: u64) -> Region<'_, 'source> {
        let head_length = end.min(size);
        let tail_length = end.min(size - head_length);
        let head = self.read(start, head_length).unwrap_or_default();
        let tail_offset = size - tail_length;
        let tail = self.read(start.saturating_add(tail_offset), tail_length).unwrap_or_default();
        Region { reader: self, start, size, head, tail, tail_offset }
    }

    pub(crate) fn into_unreadable(self) -> Vec<Unreadable> {
        self.unreadable
    }

    fn read(&mut self, offset: u64, length: u64) -> Option<Vec<u8>> {
        if self.unreadable.len() >= self.failure_limit {
            return None;
        }
        match self.try_read(offset, length) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.unreadable.push(Unreadable { offset, length, reason: error.to_string() });
                None
            }
        }
    }

    fn try_read(&mut self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        self.read = self.read.saturating_add(length);
        if length > PIECE_LIMIT || self.read > self.read_limit {
            return Err(io::Error::other("more would be read than a probe may read"));
        }
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.source.seek(SeekFrom::Start(offset))?;
        let mut bytes = vec![0; length];
        self.source.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// A disk or a partition. All offsets are from its own start.
pub(crate) struct Region<'reader, 'source> {
    reader: &'reader mut Reader<'source>,
    start: u64,
    size: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
    tail_offset: u64,
}

impl Region<'_, '_> {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Holds when both ends were read and have no byte but zero.
    pub(crate) fn ends_are_zero(&self) -> bool {
        let expected = self.size.min(2 * crate::END_BYTES);
        let held = self.head.len().saturating_add(self.tail.len());
        u64::try_from(held).is_ok_and(|held| held == expected)
            && field::is_zero(&self.head)
            && field::is_zero(&self.tail)
    }

    /// Returns `length` bytes at `offset`; `None` beyond the end or when they cannot be read.
    pub(crate) fn at(&mut self, offset: u64, length: usize) -> Option<Vec<u8>> {
        let wanted = u64::try_from(length).ok()?;
        let end = offset.checked_add(wanted)?;
        if end > self.size {
            return None;
        }
        if let Some(bytes) = slice(&self.head, offset, length) {
            return Some(bytes.to_vec());
        }
        if let Some(offset) = offset.checked_sub(self.tail_offset)
            && let Some(bytes) = slice(&self.tail, offset, length)
        {
            return Some(bytes.to_vec());
        }
        self.reader.read(self.start.checked_add(offset)?, wanted)
    }

    /// Holds when `magic` stands at `offset`.
    pub(crate) fn has(&mut self, offset: u64, magic: &[u8]) -> bool {
        self.at(offset, magic.len()).is_some_and(|bytes| bytes == magic)
    }
}

fn slice(bytes: &[u8], offset: u64, length: usize) -> Option<&[u8]> {
    let offset = usize::try_from(offset).ok()?;
    bytes.get(offset..offset.checked_add(length)?)
}
