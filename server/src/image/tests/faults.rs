//! What goes wrong around an image that comes.

use std::{sync::mpsc, thread};

use super::*;

/// Bytes that nothing makes smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let mut noise = Vec::with_capacity(length + 8);
    while noise.len() < length {
        // Knuth's MMIX.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.extend_from_slice(&state.to_be_bytes()[..4]);
    }
    noise.truncate(length);
    noise
}

/// A stream that says when it has given so many bytes, and waits there until it may go on.
struct Halts<'a> {
    bytes: &'a [u8],
    given: usize,
    until: Vec<usize>,
    say: mpsc::Sender<usize>,
    go_on: mpsc::Receiver<()>,
}

impl Read for Halts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.until.first() == Some(&self.given) {
            self.until.remove(0);
            self.say.send(self.given).unwrap();
            self.go_on.recv().unwrap();
        }
        let next = self.until.first().copied().unwrap_or(self.bytes.len());
        let count = buffer.len().min(next - self.given);
        buffer[..count].copy_from_slice(&self.bytes[self.given..][..count]);
        self.given += count;
        Ok(count)
    }
}

/// Copies a directory with everything in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
}

/// What is on the disk while an image comes is what a server finds that was killed then and starts again.
#[test]
fn a_server_that_is_killed_while_an_image_comes_starts_without_it() {
    let disk = noise(24 << 20);
    let shelf = Shelf::new();
    let images = shelf.open();
    let halts = vec![0, 1 << 20, 9 << 20, 20 << 20, 24 << 20];
    let (say, said) = mpsc::channel();
    let (let_go, go_on) = mpsc::channel();
    let source = Halts { bytes: &disk, given: 0, until: halts.clone(), say, go_on };
    let mut found = 0;
    thread::scope(|scope| {
        let adding = scope.spawn(|| images.add(&arrival("debian"), source));
        for halt in halts {
            assert_eq!(said.recv().unwrap(), halt);
            let killed = Shelf::new();
            copy(shelf.directory.path(), killed.directory.path());
            found += killed.files().len();
            let again = killed.open();
            assert!(killed.files().is_empty() && again.list().is_empty(), "{halt}");
            again.add(&arrival("debian"), &disk[..1 << 20]).unwrap();
            assert!(again.verify("debian").unwrap().problems.is_empty(), "{halt}");
            let_go.send(()).unwrap();
        }
        adding.join().unwrap().unwrap();
    });
    assert!(found >= 4, "there was something to sweep away");
    assert!(images.verify("debian").unwrap().problems.is_empty());
}

#[test]
fn of_two_images_at_once_one_waits_and_of_one_name_there_is_one() {
    let disk = disk();
    let shelf = Shelf::new();
    let images = shelf.open();
    let (say, said) = mpsc::channel();
    let (let_go, go_on) = mpsc::channel();
    let source = Halts { bytes: &disk, given: 0, until: vec![1 << 20], say, go_on };
    thread::scope(|scope| {
        let adding = scope.spawn(|| images.add(&arrival("debian"), source));
        said.recv().unwrap();
        for name in ["debian", "other"] {
            let second = images.add(&arrival(name), disk.as_slice());
            assert!(matches!(second, Err(ImageError::Busy)), "{second:?}");
        }
        assert_eq!(shelf.files().len(), 1, "the second one has left nothing");
        assert!(images.list().is_empty(), "half an image is none");
        let_go.send(()).unwrap();
        adding.join().unwrap().unwrap();
    });
    let again = images.add(&arrival("debian"), disk.as_slice());
    assert!(matches!(again, Err(ImageError::Taken(_))), "{again:?}");
    images.add(&arrival("other"), disk.as_slice()).unwrap();
    assert_eq!(images.list().len(), 2);
}

#[test]
fn a_disk_that_gets_full_in_the_middle_leaves_nothing_behind() {
    let shelf =
        Shelf { directory: tempfile::tempdir_in("/dev/shm").unwrap(), database: database() };
    let disk = nix::sys::statvfs::statvfs(shelf.directory.path()).unwrap();
    let free = disk.blocks_available() * disk.fragment_size();
    // Room for one look at the disk and no second one.
    let images = shelf.open_keeping(free - (24 << 20));
    let bytes = noise(48 << 20);
    let mut read = 0;
    let source = Counts { bytes: &bytes, read: &mut read };
    let error = images.add(&arrival("debian"), source).unwrap_err();
    assert!(matches!(&error, ImageError::Convert(ConvertError::Store(_))), "{error:?}");
    assert!(crate::text::chain(&error).contains("the disk is full"), "{error:?}");
    assert!(read > 16 << 20, "it was full from the start: {read}");
    assert!(shelf.files().is_empty() && images.list().is_empty());
    let again = shelf.open_keeping(0);
    again.add(&arrival("debian"), &bytes[..1 << 20]).unwrap();
}

/// A stream that says how much of it was read.
struct Counts<'a> {
    bytes: &'a [u8],
    read: &'a mut usize,
}

impl Read for Counts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        *self.read += count;
        Ok(count)
    }
}
