//! Images that come whole, come in parts, are damaged, and go.

use std::io::Write;

use redb::backends::InMemoryBackend;
use tempfile::TempDir;

use super::*;

mod faults;
mod qcow2;

fn database() -> Arc<Database> {
    Arc::new(Database::builder().create_with_backend(InMemoryBackend::new()).unwrap())
}

fn key(directory: &Path) -> Arc<ServerKey> {
    Arc::new(ServerKey::open(&directory.join("ca.key")).unwrap())
}

/// A store with nothing in it. Its directory goes with the process.
pub(crate) fn empty() -> Images {
    let directory = tempfile::tempdir().unwrap().keep();
    Images::open_keeping(&directory, database(), key(&directory), 0).unwrap()
}

/// A store in a directory, and how to open it again.
struct Shelf {
    directory: TempDir,
    database: Arc<Database>,
}

impl Shelf {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), database: database() }
    }

    fn open(&self) -> Images {
        self.open_keeping(0)
    }

    fn open_keeping(&self, reserve_bytes: u64) -> Images {
        let (path, database) = (self.directory.path(), Arc::clone(&self.database));
        Images::open_keeping(path, database, key(path), reserve_bytes).unwrap()
    }

    /// Everything below `images`.
    fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = fs::read_dir(self.directory.path().join("images"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        files
    }
}

/// Ten MiB, mostly zeros.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; 10 << 20];
    for (index, byte) in disk[4096..1 << 20].iter_mut().enumerate() {
        *byte = u8::try_from(index * index % 251).unwrap();
    }
    disk[(9 << 20) + 7] = 9;
    disk
}

fn arrival(name: &str) -> Arrival {
    Arrival {
        name: name.to_owned(),
        source: "disk.raw".to_owned(),
        sha256: None,
        by: "uid 0".to_owned(),
    }
}

/// A stream that breaks after so many bytes.
struct Breaks<'a>(&'a [u8], usize);

impl Read for Breaks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.1 == 0 {
            return Err(io::Error::other("the cable"));
        }
        let most = buffer.len().min(self.1);
        let count = self.0.read(&mut buffer[..most])?;
        self.1 -= count;
        Ok(count)
    }
}

#[test]
fn an_image_comes_is_listed_and_still_there_after_a_restart() {
    let shelf = Shelf::new();
    let images = shelf.open();
    let image = images.add(&arrival("debian"), disk().as_slice()).unwrap();
    assert_eq!(image.image_bytes, Bytes(10 << 20));
    assert!(image.stored_bytes.0 < 2 << 20, "{}", image.stored_bytes);
    assert_eq!(image.origin, ["raw"]);
    assert_eq!(shelf.files(), std::slice::from_ref(&image.manifest));
    assert_eq!(images.verify("debian").unwrap().problems, Vec::<String>::new());
    drop(images);
    let again = shelf.open();
    assert_eq!(again.list(), std::slice::from_ref(&image));
    assert!(again.verify("debian").unwrap().problems.is_empty());
    let manifest = again.manifest(&image.manifest, "debian").unwrap();
    assert_eq!(digits(&manifest.sha256()), image.manifest);
    assert_eq!(
        again.with("debian", |facts| facts.sizing.smallest_disk),
        Some(Some(Bytes(10 << 20)))
    );
}

#[test]
fn whatever_breaks_off_leaves_nothing_behind() {
    let (shelf, disk) = (Shelf::new(), disk());
    let images = shelf.open();
    for length in [0, 1, 511, 512, 4096, 1 << 20, 4 << 20, (10 << 20) - 1, 10 << 20] {
        let outcome = images.add(&arrival("debian"), Breaks(&disk, length));
        let error = outcome.unwrap_err();
        assert!(matches!(error, ImageError::Convert(ConvertError::Receive(_))), "{error:?}");
        assert!(shelf.files().is_empty() && images.list().is_empty(), "{length}");
    }
    let (sender, feed) = Feed::new(4);
    sender.blocking_send(Ok(disk[..1 << 20].to_vec().into())).unwrap();
    drop(sender);
    assert!(images.add(&arrival("debian"), feed).is_err(), "nobody said that this is the end");
    assert!(images.add(&arrival("debian"), &disk[..1000]).is_err(), "half a sector");
    assert!(shelf.files().is_empty());
    images.add(&arrival("debian"), disk.as_slice()).unwrap();
}

#[test]
fn a_fed_image_is_the_same_as_one_read_from_a_file() {
    let images = empty();
    let (sender, feed) = Feed::new(2);
    let giving = std::thread::spawn(move || {
        for piece in disk().chunks(100_001) {
            sender.blocking_send(Ok(piece.to_vec().into())).unwrap();
        }
        sender.blocking_send(Err(FeedError::End)).unwrap();
    });
    let sent = images.add(&arrival("sent"), feed).unwrap();
    giving.join().unwrap();
    let read = images.add(&arrival("read"), disk().as_slice()).unwrap();
    assert_eq!(sent.sha256, read.sha256);
    assert_ne!(sent.manifest, read.manifest, "each has its name in it");
}

#[test]
fn a_full_disk_is_said_and_the_database_keeps_its_room() {
    let shelf = Shelf::new();
    let images = shelf.open_keeping(u64::MAX / 2);
    let error = images.add(&arrival("debian"), disk().as_slice()).unwrap_err();
    assert!(matches!(&error, ImageError::Convert(ConvertError::Store(_))), "{error:?}");
    assert!(
        crate::text::chain(&error).contains("the disk is full"),
        "{}",
        crate::text::chain(&error)
    );
    assert!(shelf.files().is_empty());
}

#[test]
fn what_a_cut_left_is_swept_away_at_the_next_start() {
    let shelf = Shelf::new();
    let image = shelf.open().add(&arrival("debian"), disk().as_slice()).unwrap();
    let images = shelf.directory.path().join("images");
    fs::create_dir(images.join("incoming-1-0")).unwrap();
    fs::write(images.join("incoming-1-0/frames"), "half").unwrap();
    // Renamed, and not yet in the database.
    fs::create_dir(images.join("a5".repeat(32))).unwrap();
    shelf.open();
    assert_eq!(shelf.files(), [image.manifest]);
}

#[test]
fn another_digest_than_was_said_is_refused() {
    use sha2::{Digest, Sha256};

    let shelf = Shelf::new();
    let images = shelf.open();
    let with = |sha256: &str| Arrival { sha256: Some(sha256.to_owned()), ..arrival("debian") };
    let wrong = images.add(&with(&"a5".repeat(32)), disk().as_slice());
    assert!(matches!(wrong, Err(ImageError::OtherBytes { .. })), "{wrong:?}");
    let nonsense = images.add(&with("a5"), disk().as_slice());
    assert!(matches!(nonsense, Err(ImageError::Digest(_))), "{nonsense:?}");
    assert!(shelf.files().is_empty());
    // Of what comes, not of what is in it.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&disk()).unwrap();
    let packed = packed.finish().unwrap();
    let digest = digits(&Sha256::digest(&packed)).to_uppercase();
    let image = images.add(&with(&digest), packed.as_slice()).unwrap();
    assert_eq!(image.origin, ["gzip", "raw"]);
    assert_eq!(image.sha256, digits(&Sha256::digest(disk())));
}

#[test]
fn names_are_names_and_each_is_one_images() {
    let images = empty();
    for name in ["", ".", "..", "../a", "a/b", "-a", "a b", "é", "http://a", &"a".repeat(101)] {
        let outcome = images.add(&arrival(name), disk().as_slice());
        assert!(matches!(outcome, Err(ImageError::Name(_))), "{name}");
    }
    images.add(&arrival("debian-13.2_a"), disk().as_slice()).unwrap();
    let taken = images.add(&arrival("debian-13.2_a"), disk().as_slice());
    assert!(matches!(taken, Err(ImageError::Taken(_))), "{taken:?}");
}

#[test]
fn an_image_that_an_order_names_stays() {
    let shelf = Shelf::new();
    let images = shelf.open();
    images.add(&arrival("debian"), disk().as_slice()).unwrap();
    let refused = images.remove("debian", |_| Some("4q5hmp2".to_owned())).unwrap_err();
    assert!(refused.to_string().contains("4q5hmp2"), "{refused}");
    assert!(images.show("debian").is_some());
    images.remove("debian", |_| None).unwrap();
    assert!(shelf.files().is_empty() && shelf.open().list().is_empty());
    let none = images.remove("debian", |_| None);
    assert!(matches!(none, Err(ImageError::NoImage(_))), "{none:?}");
    assert!(matches!(images.file("..", Part::Frames), Err(ImageError::NoImage(_))));
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let shelf = Shelf::new();
    let images = shelf.open();
    let image = images.add(&arrival("debian"), disk().as_slice()).unwrap();
    let directory = shelf.directory.path().join("images").join(&image.manifest);
    for part in [Part::Frames, Part::Manifest] {
        let path = directory.join(part.name());
        let whole = fs::read(&path).unwrap();
        for place in (0..whole.len()).step_by(whole.len() / 50 + 1) {
            let mut damaged = whole.clone();
            damaged[place] ^= 4;
            fs::write(&path, damaged).unwrap();
            match images.verify("debian") {
                Ok(verdict) => assert!(
                    // A frame of zeros is nobody's: nobody fetches it.
                    !verdict.problems.is_empty()
                        || (part == Part::Frames && is_zeros(&images, place)),
                    "{part:?} {place}"
                ),
                Err(error) => assert_eq!(part, Part::Manifest, "{error}"),
            }
        }
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let cut = images.verify("debian");
        assert!(cut.is_err() || cut.is_ok_and(|verdict| !verdict.problems.is_empty()), "{part:?}");
        fs::write(&path, whole).unwrap();
    }
    assert!(images.verify("debian").unwrap().problems.is_empty());
    fs::remove_file(shelf.directory.path().join("ca.key")).unwrap();
    let other = shelf.open().verify("debian");
    assert!(matches!(other, Err(ImageError::Signature { .. })), "another server's: {other:?}");
}

fn is_zeros(images: &Images, place: usize) -> bool {
    let image = images.show("debian").unwrap();
    let manifest = images.manifest(&image.manifest, "debian").unwrap();
    let place = u64::try_from(place).unwrap();
    let mut chunks = manifest.chunks();
    chunks.any(|entry| entry.chunk == ::image::Chunk::Zeros && entry.frame.contains(&place))
}
