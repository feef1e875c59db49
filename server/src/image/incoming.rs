//! An image on its way: bytes from a conversation, a directory that becomes an image or vanishes.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::{Buf, Bytes};
use image::Manifest;
use tokio::sync::mpsc;

use super::{ImageError, Part, at};

/// How much is written between two looks at the disk.
const LOOK_BYTES: u64 = 16 << 20;

/// A directory for an image that is not whole yet. It goes with everything in it unless it is finished.
#[derive(Debug)]
pub(super) struct Incoming {
    path: PathBuf,
    reserve_bytes: u64,
}

impl Incoming {
    /// Makes it. So much stays free on its disk.
    pub(super) fn begin(directory: &Path, reserve_bytes: u64) -> Result<Self, ImageError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // One process has the state directory, and sweeps away what those before it left.
        let path = directory.join(format!("incoming-{}-{number}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path).map_err(at("creating", &path))?;
        Ok(Self { path, reserve_bytes })
    }

    /// Makes a file in it that stops growing before the disk is full.
    pub(super) fn file(&self, name: &str) -> io::Result<Room> {
        let file = OpenOptions::new()
            .create_new(true)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(self.path.join(name))?;
        let (directory, reserve_bytes) = (self.path.clone(), self.reserve_bytes);
        Ok(Room { file, directory, reserve_bytes, until_look: 0 })
    }

    /// Makes a file without a name, which goes with its last reader, whatever happens.
    pub(super) fn spool(&self) -> io::Result<Room> {
        const NAME: &str = "spool";
        let room = self.file(NAME)?;
        fs::remove_file(self.path.join(NAME))?;
        Ok(room)
    }

    /// Puts the whole image in its place, all of it on disk; returns where that is.
    pub(super) fn finish(self, manifest: &Manifest, name: &str) -> Result<PathBuf, ImageError> {
        let path = self.path.join(Part::Manifest.name());
        let mut file = self.file(Part::Manifest.name()).map_err(at("creating", &path))?;
        file.write_all(manifest.encode()).map_err(at("writing", &path))?;
        file.file.sync_all().map_err(at("writing", &path))?;
        let frames = self.path.join(Part::Frames.name());
        File::open(&frames).and_then(|file| file.sync_all()).map_err(at("writing", &frames))?;
        sync(&self.path)?;
        let parent = self.path.parent().unwrap_or(&self.path).to_owned();
        let place = parent.join(name);
        fs::rename(&self.path, &place).map_err(at("moving", &self.path))?;
        sync(&parent)?;
        Ok(place)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Not there any more when it is finished.
        drop(fs::remove_dir_all(&self.path));
    }
}

fn sync(directory: &Path) -> Result<(), ImageError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(at("writing", directory))
}

/// A file that says that the disk is full while there is still some room.
#[derive(Debug)]
pub(super) struct Room {
    file: File,
    directory: PathBuf,
    reserve_bytes: u64,
    until_look: u64,
}

impl Room {
    /// Returns the file, to be read.
    pub(super) fn into_file(self) -> File {
        self.file
    }
}

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.until_look == 0 {
            let disk = nix::sys::statvfs::statvfs(&self.directory)?;
            let free = disk.blocks_available().saturating_mul(disk.fragment_size());
            if free < self.reserve_bytes.saturating_add(LOOK_BYTES) {
                let kept = protocol::Bytes(self.reserve_bytes);
                let problem = format!("the disk is full but for {kept}, kept for the database");
                return Err(io::Error::new(io::ErrorKind::StorageFull, problem));
            }
            self.until_look = LOOK_BYTES;
        }
        let count = self.file.write(bytes)?;
        self.until_look = self.until_look.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Bytes that a conversation brings, for a thread that may block. It ends well only when that was said.
#[derive(Debug)]
pub struct Feed {
    pieces: mpsc::Receiver<Result<Bytes, FeedError>>,
    piece: Bytes,
    is_over: bool,
}

/// Why no more bytes come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// All of them came.
    #[error("the end")]
    End,
    /// Whoever sent them has gone away.
    #[error("the sender went away before the end")]
    Broken,
}

impl Feed {
    /// Returns both ends: what is put into one, ended with [`FeedError::End`], comes out of the other.
    pub fn new(pieces: usize) -> (mpsc::Sender<Result<Bytes, FeedError>>, Self) {
        let (sender, pieces) = mpsc::channel(pieces);
        (sender, Self { pieces, piece: Bytes::new(), is_over: false })
    }
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            if self.is_over || buffer.is_empty() {
                return Ok(0);
            }
            match self.pieces.blocking_recv() {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(FeedError::End)) => self.is_over = true,
                Some(Err(FeedError::Broken)) | None => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, FeedError::Broken));
                }
            }
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece[..count]);
        self.piece.advance(count);
        Ok(count)
    }
}
