//! A disk that remembers each write and each flush: one file of a filesystem in user space (FUSE), with a loop device on
//! top, so that the kernel's own drivers write to it.
//!
//! Linux, `include/uapi/linux/fuse.h`, protocol 7.31: the few requests that one file takes.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::fd::AsRawFd as _,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use linux::{block::Access, loop_device::Attached};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use wipe::harbour::Window;

use crate::medium::Done;

const ROOT: u64 = 1;
const DISK: u64 = 2;
const MOST_BYTES: u32 = 128 << 10;
/// `S_IFDIR`, `S_IFREG`.
const DIRECTORY: u32 = 0o040_700;
const FILE: u32 = 0o100_600;
const ENOENT: i32 = 2;
const ENOSYS: i32 = 38;

#[derive(Debug)]
struct Store {
    bytes: Vec<u8>,
    log: Vec<Done>,
}

/// The disk, while it is served.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// Taken when it ends.
    file: Option<File>,
    target: PathBuf,
    store: Arc<Mutex<Store>>,
    server: Option<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Recorder {
    /// Serves these bytes. An error where the kernel has no FUSE.
    pub(crate) fn new(bytes: Vec<u8>) -> io::Result<Self> {
        let door = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
        let directory = tempfile::tempdir()?;
        let target = directory.path().to_owned();
        let options =
            format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", door.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("drydock"), &target, Some("fuse"), flags, Some(options.as_str()))?;
        let store = Arc::new(Mutex::new(Store { bytes, log: Vec::new() }));
        let shared = Arc::clone(&store);
        let server = thread::spawn(move || serve(door, &shared));
        let mut recorder =
            Self { file: None, target, store, server: Some(server), _directory: directory };
        let path = recorder.target.join("disk");
        recorder.file = Some(OpenOptions::new().read(true).write(true).open(path)?);
        Ok(recorder)
    }

    /// Returns what was done to it.
    pub(crate) fn log(&self) -> Vec<Done> {
        lock(&self.store).log.clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.file.take());
        umount2(&self.target, MntFlags::MNT_DETACH).unwrap_or_default();
        if let Some(server) = self.server.take() {
            drop(server.join());
        }
    }
}

impl Window for Recorder {
    fn window(&self, offset: u64, size: u64, access: Access) -> io::Result<Attached> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        Attached::attach(file, offset, size, 512, access)
    }
}

fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers until it is unmounted.
fn serve(mut door: File, store: &Mutex<Store>) {
    let mut buffer = vec![0; 1 << 20];
    loop {
        match door.read(&mut buffer) {
            Ok(length) => {
                let Some((unique, answer)) = answer(&buffer[..length], store) else { continue };
                let (error, body) = match answer {
                    Ok(body) => (0, body),
                    Err(error) => (-error, Vec::new()),
                };
                let length = u32::try_from(16 + body.len()).expect("an answer is short");
                let head =
                    [&length.to_ne_bytes()[..], &error.to_ne_bytes(), &unique.to_ne_bytes(), &body];
                // Whoever asked may be gone.
                drop(door.write(&head.concat()));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // It was interrupted before it was read, or there is nobody left.
            Err(error) if error.raw_os_error() == Some(ENOENT) => {}
            Err(_) => return,
        }
    }
}

/// Numbers one after the other.
struct Words(Vec<u8>);

impl Words {
    fn long(mut self, number: u64) -> Self {
        self.0.extend(number.to_ne_bytes());
        self
    }

    fn word(mut self, number: u32) -> Self {
        self.0.extend(number.to_ne_bytes());
        self
    }

    fn zeros(mut self, bytes: usize) -> Self {
        self.0.resize(self.0.len() + bytes, 0);
        self
    }

    /// `struct fuse_attr`.
    fn attributes(self, node: u64, size: u64) -> Self {
        let mode = if node == ROOT { DIRECTORY } else { FILE };
        let times = 3 * 8 + 3 * 4;
        let words = self.long(node).long(size).long(size / 512).zeros(times);
        // Mode, links, owner, group, device, block size, flags.
        words.word(mode).word(1).zeros(3 * 4).word(4096).zeros(4)
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn place(offset: u64, length: u32) -> std::ops::Range<usize> {
    let start = usize::try_from(offset).expect("small");
    start..start + usize::try_from(length).expect("small")
}

type Answered = Option<(u64, Result<Vec<u8>, i32>)>;

fn answer(request: &[u8], store: &Mutex<Store>) -> Answered {
    let (operation, unique, node) = (word(request, 4), number(request, 8), number(request, 16));
    let body = &request[40..];
    let words = || Words(Vec::new());
    let size = || u64::try_from(lock(store).bytes.len()).expect("64 bits");
    let kept = 1 << 20;
    let done = match operation {
        // LOOKUP: for a day, attributes too.
        1 if body.starts_with(b"disk\0") => {
            let entry = words().long(DISK).long(0).long(kept).long(kept).zeros(8);
            Ok(entry.attributes(DISK, size()).0)
        }
        1 => Err(ENOENT),
        // FORGET, INTERRUPT, BATCH_FORGET are not answered.
        2 | 36 | 42 => return None,
        // GETATTR, SETATTR.
        3 | 4 => Ok(words().long(kept).zeros(8).attributes(node, size()).0),
        // OPEN.
        14 => Ok(words().zeros(16).0),
        // READ.
        15 => {
            let range = place(number(body, 8), word(body, 16));
            let store = lock(store);
            let end = range.end.min(store.bytes.len());
            Ok(store.bytes[range.start.min(end)..end].to_vec())
        }
        // WRITE: what is written follows 40 bytes.
        16 => {
            let (range, length) = (place(number(body, 8), word(body, 16)), word(body, 16));
            let bytes = body[40..40 + range.len()].to_vec();
            let mut store = lock(store);
            store.bytes[range.clone()].copy_from_slice(&bytes);
            store.log.push(Done::Write { offset: range.start, bytes });
            Ok(words().word(length).zeros(4).0)
        }
        // STATFS, RELEASE, FLUSH.
        17 => Ok(words().zeros(80).0),
        18 | 25 => Ok(Vec::new()),
        // FSYNC.
        20 => {
            lock(store).log.push(Done::Flush);
            Ok(Vec::new())
        }
        // INIT: version, read ahead, flags (big writes), requests in the background, size of a write.
        26 => {
            let head = words().word(7).word(31).word(MOST_BYTES).word(1 << 5).word(0x9_000c);
            Ok(head.word(MOST_BYTES).word(1).zeros(36).0)
        }
        _ => Err(ENOSYS),
    };
    Some((unique, done))
}
