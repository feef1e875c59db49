//! LZ4 frames: <https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>.

use std::{
    hash::Hasher,
    io::{self, BufRead, Read},
};

use lz4_flex::block::decompress_into_with_dict;
use twox_hash::XxHash32;

use super::error::damaged;
use crate::recognise::Format;

const MAGIC: u32 = 0x184d_2204;
const SKIPPED: u32 = 0x184d_2a50;
/// How far back a block may reach into the ones before it.
const WINDOW_BYTES: usize = 64 << 10;
/// In a block's length: the block is stored as it is.
const STORED: u32 = 1 << 31;

/// Reads the frames of a file, one after the other.
pub(super) struct Lz4<R> {
    source: R,
    frame: Option<Frame>,
    packed: Vec<u8>,
    /// The current block, unpacked.
    block: Vec<u8>,
    /// Of the current block: where it ends, and how much of it was read.
    length: usize,
    read: usize,
    /// What the next block may reach back to.
    window: Vec<u8>,
}

/// What a frame's header says, and what was seen of the frame.
struct Frame {
    linked: bool,
    block_checksums: bool,
    block_limit: usize,
    content_bytes: Option<u64>,
    content_checksum: Option<XxHash32>,
    seen_bytes: u64,
}

impl<R: BufRead> Lz4<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source,
            frame: None,
            packed: Vec::new(),
            block: Vec::new(),
            length: 0,
            read: 0,
            window: Vec::new(),
        }
    }

    /// Reads on to the next block that is not empty; says whether there is one.
    fn advance(&mut self) -> io::Result<bool> {
        loop {
            let Some(mut frame) = self.frame.take() else {
                if self.source.fill_buf()?.is_empty() {
                    return Ok(false);
                }
                self.frame = self.header()?;
                self.window.clear();
                continue;
            };
            let word = self.word()?;
            if word == 0 {
                self.finish(frame)?;
                continue;
            }
            self.block(&mut frame, word)?;
            self.frame = Some(frame);
            if self.length > 0 {
                return Ok(true);
            }
        }
    }

    /// Reads a frame's header; nothing for one to be skipped.
    fn header(&mut self) -> io::Result<Option<Frame>> {
        let magic = self.word()?;
        if magic & 0xffff_fff0 == SKIPPED {
            let length = u64::from(self.word()?);
            let skipped = io::copy(&mut self.source.by_ref().take(length), &mut io::sink())?;
            return if skipped == length {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        if magic != MAGIC {
            return Err(wrong("no frame where one is expected"));
        }
        let mut header = [0; 14];
        self.source.read_exact(&mut header[..2])?;
        let [flags, sizes, ..] = header;
        let has = |bit: u32| flags >> bit & 1 == 1;
        if flags >> 6 != 1 || has(1) || sizes & 0x8f != 0 {
            return Err(wrong("a frame of a later version"));
        }
        if has(0) {
            return Err(wrong("a dictionary is needed"));
        }
        let length = if has(3) { 10 } else { 2 };
        self.source.read_exact(&mut header[2..=length])?;
        let content_bytes = has(3).then(|| {
            u64::from_le_bytes(*header[2..].first_chunk().expect("the header has fourteen bytes"))
        });
        let [_, checksum, ..] = checksum(&header[..length]).to_le_bytes();
        if checksum != header[length] {
            return Err(wrong("the checksum of a frame's header"));
        }
        let block_limit = match sizes >> 4 {
            4 => 64 << 10,
            5 => 256 << 10,
            6 => 1 << 20,
            7 => 4 << 20,
            _ => return Err(wrong("the size of a frame's blocks")),
        };
        Ok(Some(Frame {
            linked: !has(5),
            block_checksums: has(4),
            block_limit,
            content_bytes,
            content_checksum: has(2).then(|| XxHash32::with_seed(0)),
            seen_bytes: 0,
        }))
    }

    fn block(&mut self, frame: &mut Frame, word: u32) -> io::Result<()> {
        let length = usize::try_from(word & !STORED).unwrap_or(usize::MAX);
        if length > frame.block_limit {
            return Err(wrong("a block that is longer than its frame allows"));
        }
        if self.block.len() < frame.block_limit {
            self.block.resize(frame.block_limit, 0);
            self.packed.resize(frame.block_limit, 0);
        }
        let stored = word & STORED != 0;
        let packed = if stored { &mut self.block } else { &mut self.packed };
        self.source.read_exact(&mut packed[..length])?;
        let sum = frame.block_checksums.then(|| checksum(&packed[..length]));
        if let Some(sum) = sum
            && sum != self.word()?
        {
            return Err(wrong("the checksum of a block"));
        }
        self.length = if stored {
            length
        } else {
            let room = &mut self.block[..frame.block_limit];
            decompress_into_with_dict(&self.packed[..length], room, &self.window)
                .map_err(|error| damaged(Format::Lz4, error.to_string()))?
        };
        self.read = 0;
        let content = &self.block[..self.length];
        frame.seen_bytes += u64::try_from(content.len()).expect("a slice's length fits");
        if let Some(hash) = &mut frame.content_checksum {
            hash.write(content);
        }
        if frame.linked {
            let new = &content[content.len().saturating_sub(WINDOW_BYTES)..];
            let old = (self.window.len() + new.len()).saturating_sub(WINDOW_BYTES);
            self.window.drain(..old);
            self.window.extend_from_slice(new);
        }
        Ok(())
    }

    fn finish(&mut self, frame: Frame) -> io::Result<()> {
        if frame.content_bytes.is_some_and(|expected| expected != frame.seen_bytes) {
            return Err(wrong("the size of the content"));
        }
        if let Some(hash) = frame.content_checksum
            && hash.finish() != u64::from(self.word()?)
        {
            return Err(wrong("the checksum of the content"));
        }
        Ok(())
    }

    fn word(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.source.read_exact(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
}

impl<R: BufRead> Read for Lz4<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.length {
            (self.length, self.read) = (0, 0);
            if !self.advance()? {
                return Ok(0);
            }
        }
        let count = (&self.block[self.read..self.length]).read(buffer)?;
        self.read += count;
        Ok(count)
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    XxHash32::oneshot(0, bytes)
}

fn wrong(what: &str) -> io::Error {
    damaged(Format::Lz4, what)
}
