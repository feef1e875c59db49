//! A part of a disk as a stream, with what was read last in memory and a limit to what is read at all.

use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    sync::Arc,
};

use ext4_view::Ext4Read;

use super::Storage;

/// How much is read at once.
const BLOCK_BYTES: u64 = 64 << 10;
/// How many blocks are held: a file's data, its table, its directory.
const BLOCKS: usize = 4;
/// What may be read of one filesystem. A kernel and its initramfs are a few hundred MiB;
/// a filesystem that is a circle ends here.
const READ_LIMIT: u64 = 2 << 30;
/// How often may be read: a filesystem that is a circle within four blocks ends here.
const STEP_LIMIT: u64 = 64 << 20;

/// A run of bytes of a disk. Never written to.
#[derive(Debug)]
pub(super) struct Window {
    storage: Arc<dyn Storage>,
    start: u64,
    length: u64,
    position: u64,
    /// The last used comes last.
    blocks: Vec<(u64, Vec<u8>)>,
    read: u64,
    steps: u64,
}

impl Window {
    pub(super) fn new(storage: Arc<dyn Storage>, start: u64, length: u64) -> Self {
        let length = length.min(storage.size_bytes().saturating_sub(start));
        Self { storage, start, length, position: 0, blocks: Vec::new(), read: 0, steps: 0 }
    }

    /// Fills a buffer from a place in the window, whole or not at all.
    fn fill(&mut self, mut position: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let count = self.read_at(position, buffer)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            position = position.saturating_add(as_u64(count));
            buffer = buffer.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads what one block has.
    fn read_at(&mut self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.steps += 1;
        if self.steps > STEP_LIMIT {
            return Err(io::Error::other("the filesystem leads in circles"));
        }
        let left = self.length.saturating_sub(position);
        let place = self.start.saturating_add(position);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let number = place / BLOCK_BYTES;
        let within = usize::try_from(place % BLOCK_BYTES).map_err(io::Error::other)?;
        let block = self.block(number)?.get(within..).unwrap_or_default();
        let count = wanted.min(block.len());
        buffer[..count].copy_from_slice(&block[..count]);
        Ok(count)
    }

    fn block(&mut self, number: u64) -> io::Result<&[u8]> {
        if let Some(index) = self.blocks.iter().position(|(held, _)| *held == number) {
            let found = self.blocks.remove(index);
            self.blocks.push(found);
        } else {
            let offset = number.saturating_mul(BLOCK_BYTES);
            let length = BLOCK_BYTES.min(self.storage.size_bytes().saturating_sub(offset));
            self.read = self.read.saturating_add(length);
            if self.read > READ_LIMIT {
                return Err(io::Error::other("the filesystem leads in circles"));
            }
            let spare = (self.blocks.len() >= BLOCKS).then(|| self.blocks.remove(0).1);
            let mut bytes = spare.unwrap_or_default();
            bytes.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
            self.storage.read(offset, &mut bytes)?;
            self.blocks.push((number, bytes));
        }
        Ok(self.blocks.last().map(|(_, bytes)| bytes.as_slice()).unwrap_or_default())
    }
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.read_at(self.position, buffer)?;
        self.position = self.position.saturating_add(as_u64(count));
        Ok(count)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// The FAT library asks for it, even of who only reads.
impl Write for Window {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ext4Read for Window {
    fn read(
        &mut self,
        start: u64,
        buffer: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.fill(start, buffer)?)
    }
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Memory;

    fn bytes() -> Vec<u8> {
        (0..u32::from(u16::MAX) * 2).flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn a_window_shows_its_part_and_nothing_else() {
        let bytes = bytes();
        let storage = Memory::new(bytes.clone());
        let mut window = Window::new(storage, 70_001, 130_000);
        let mut found = Vec::new();
        window.read_to_end(&mut found).unwrap();
        assert_eq!(found, bytes[70_001..200_001]);
        let mut short = vec![0; 100];
        assert!(Ext4Read::read(&mut window, 129_901, &mut short).is_err());
        Ext4Read::read(&mut window, 129_900, &mut short).unwrap();
        assert_eq!(short, bytes[199_901..200_001]);
        assert!(window.write(&[0]).is_err());
    }

    #[test]
    fn a_window_ends_where_the_disk_ends() {
        let storage = Memory::new(vec![1; 8192]);
        let mut window = Window::new(Arc::clone(&storage) as Arc<dyn Storage>, 4096, u64::MAX);
        let mut found = Vec::new();
        assert_eq!(window.read_to_end(&mut found).unwrap(), 4096);
        let mut beyond = Window::new(storage, u64::MAX, u64::MAX);
        assert_eq!(beyond.read_to_end(&mut found).unwrap(), 0);
    }

    #[test]
    fn reading_in_circles_ends() {
        let mut window = Window::new(Memory::new(bytes()), 0, u64::MAX);
        window.steps = STEP_LIMIT;
        assert!(Ext4Read::read(&mut window, 0, &mut [0]).is_err());
        let mut window = Window::new(Memory::new(bytes()), 0, u64::MAX);
        window.read = READ_LIMIT;
        assert!(Ext4Read::read(&mut window, 0, &mut [0]).is_err());
    }
}
