//! Large files on their way: a Raspberry Pi has kernel and initramfs over TFTP, and a rack of them the same at once.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::boot::{Content, Opened, raspberry::LARGEST_FILE_BYTES};

/// A file that nobody holds any more stays for so long after it was asked for last: who asks again and again does not have it
/// read each time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Files that transfers hold or held a moment ago, each in memory once, by its checksum. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Shelf(Arc<Mutex<BTreeMap<String, Kept>>>);

/// A file's bytes, and when they were asked for last.
#[derive(Debug)]
struct Kept(Arc<Vec<u8>>, Instant);

/// Why a file does not go out.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShelfError {
    /// Its end would never arrive.
    #[error(
        "{size_bytes} bytes are more than a Raspberry Pi takes of a file: {LARGEST_FILE_BYTES}"
    )]
    TooLarge {
        /// Its size.
        size_bytes: u64,
    },
    /// It could not be read.
    #[error("reading the file: {0}")]
    Read(#[source] io::Error),
    /// It is not what it was when its checksum was taken.
    #[error("the file is being written")]
    Changing,
}

/// Lets [`Bytes`] share what the shelf knows.
struct Held(Arc<Vec<u8>>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Shelf {
    /// Returns a file's bytes. Blocks while it is read; who wants another one at that moment waits too.
    pub(super) fn take(&self, opened: Opened, now: Instant) -> Result<Bytes, ShelfError> {
        let Opened { content, size_bytes, tag, .. } = opened;
        let file = match content {
            Content::Memory(bytes) => return Ok(bytes),
            Content::File(file) => file,
        };
        if size_bytes > LARGEST_FILE_BYTES {
            return Err(ShelfError::TooLarge { size_bytes });
        }
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, Kept(bytes, asked)| {
            Arc::strong_count(bytes) > 1 || now.saturating_duration_since(*asked) < PATIENCE
        });
        let bytes = match held.get(&tag) {
            Some(Kept(bytes, _)) => Arc::clone(bytes),
            None => Arc::new(read(file, size_bytes)?),
        };
        held.insert(tag, Kept(Arc::clone(&bytes), now));
        Ok(Bytes::from_owner(Held(bytes)))
    }
}

fn read(file: File, size_bytes: u64) -> Result<Vec<u8>, ShelfError> {
    let size = usize::try_from(size_bytes).map_err(|_| ShelfError::TooLarge { size_bytes })?;
    let mut bytes = Vec::with_capacity(size);
    file.take(size_bytes + 1).read_to_end(&mut bytes).map_err(ShelfError::Read)?;
    if bytes.len() == size { Ok(bytes) } else { Err(ShelfError::Changing) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::{
        Assets,
        test_assets::{KERNEL, SNPONLY, directory, pattern},
    };

    #[test]
    fn a_large_file_is_in_memory_once_and_not_for_long_after_it_was_sent() {
        let directory = directory();
        let assets = Assets::open(directory.path()).unwrap();
        let shelf = Shelf::default();
        let begun = Instant::now();
        let take = |after| shelf.take(assets.read(KERNEL).unwrap(), begun + after).unwrap();
        let (first, second) = (take(Duration::ZERO), take(Duration::ZERO));
        assert!(first == pattern(3_000_000));
        let place = first.as_ptr();
        assert_eq!(second.as_ptr(), place);
        drop((first, second));
        assert_eq!(take(PATIENCE / 2).as_ptr(), place, "it is read once");
        shelf.take(assets.read(SNPONLY).unwrap(), begun + 2 * PATIENCE).unwrap();
        assert_eq!(shelf.0.lock().unwrap().len(), 1, "the kernel is gone");
    }

    #[test]
    fn what_would_never_arrive_whole_is_refused() {
        let directory = directory();
        let file = File::create(directory.path().join(KERNEL.location())).unwrap();
        file.set_len(LARGEST_FILE_BYTES + 1).unwrap();
        let assets = Assets::open(directory.path()).unwrap();
        let now = Instant::now();
        let error = Shelf::default().take(assets.read(KERNEL).unwrap(), now).unwrap_err();
        assert!(
            matches!(error, ShelfError::TooLarge { size_bytes } if size_bytes > LARGEST_FILE_BYTES)
        );
        file.set_len(LARGEST_FILE_BYTES).unwrap();
        assert!(Shelf::default().take(assets.read(KERNEL).unwrap(), now).is_ok());
    }
}
