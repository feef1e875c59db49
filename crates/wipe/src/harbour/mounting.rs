//! Filesystems of the disk that is worked on, mounted for a while.
//!
//! The partition's range becomes a loop device above the claimed disk. A filesystem that was not unmounted cleanly is
//! repaired by its driver when it is mounted for writing (its journal or log is replayed): a write to that filesystem,
//! which `harbour` may do and `idle` may not. One that says itself that it is damaged is not mounted.

use std::{
    fmt, fs, io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use linux::{
    block::Access,
    loop_device::Attached,
    mount::{self, Rights},
    rooted::Rooted,
};

use signature::Source;

use super::system::Candidate;

/// Linux, `include/uapi/asm-generic/errno-base.h`. What ext4 and XFS answer where a log has to be replayed on a device
/// that is read-only.
const EROFS: i32 = 30;
/// What Btrfs answers there, but elsewhere too (fs/btrfs/disk-io.c, `btrfs_replay_log`).
const EIO: i32 = 5;
const EBUSY: i32 = 16;

/// How long somebody else may have a filesystem open that is to be unmounted: whoever looks at each new mount.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(5);

/// The time between two attempts.
const UNMOUNT_PAUSE: Duration = Duration::from_millis(20);

/// Linux, fs/ext4/ext4.h: where the superblock begins, `s_state` in it, and `EXT4_ERROR_FS`.
const EXTENDED_STATE: u64 = 1024 + 0x3a;
const EXTENDED_ERRORS: u16 = 2;

/// Linux, `include/uapi/linux/btrfs_tree.h`, `struct btrfs_super_block`: where it begins, and `log_root` in it.
const BTRFS_LOG: u64 = (64 << 10) + 0x60;

/// Mounts filesystems that lie on one disk.
pub trait Filesystems: fmt::Debug {
    /// Mounts one, or one Btrfs subvolume of it. Only one is mounted at a time.
    fn mount<'f>(
        &'f self,
        candidate: &Candidate,
        subvolume: Option<&str>,
        access: Access,
    ) -> Result<Box<dyn Mounted + 'f>, MountError>;

    /// Opens a range of the disk for reading, to look for volumes in it. Who cannot says `Unsupported`.
    fn reader(&self, _start: u64, _size: u64) -> io::Result<Box<dyn Source + '_>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A filesystem that is mounted. When it is dropped it is unmounted, unless something uses it.
pub trait Mounted: fmt::Debug {
    /// Opens it. Has to be closed again before [`end`](Mounted::end).
    fn root(&self) -> io::Result<Rooted>;

    /// Unmounts it, when all of it is written.
    fn end(self: Box<Self>) -> io::Result<()>;
}

/// Why a filesystem could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// Its log has to be replayed first, which would be a write.
    #[error("it was not unmounted cleanly, and looking at it would replay its log")]
    Unclean,
    /// It says so itself.
    #[error("it says that it has errors: it has to be checked first")]
    Damaged,
    /// Its subvolume's name is no option.
    #[error("its subvolume's name cannot be given to the kernel")]
    Subvolume,
    /// There is no loop device for it.
    #[error("making a device of it")]
    Device(#[source] io::Error),
    /// The kernel cannot, or would not.
    #[error("mounting it as {driver}")]
    Mount {
        /// The driver that was asked.
        driver: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// Whoever can make a device of a range of the disk.
pub trait Window: fmt::Debug {
    /// Makes it. Offset and size are multiples of the disk's sector.
    fn window(&self, offset: u64, size: u64, access: Access) -> io::Result<Attached>;
}

impl Window for disk::Held {
    fn window(&self, offset: u64, size: u64, access: Access) -> io::Result<Attached> {
        Self::window(self, offset, size, access)
    }
}

/// The kernel's drivers, on ranges of a disk.
#[derive(Debug)]
pub struct Live<'d> {
    disk: &'d dyn Window,
    target: PathBuf,
}

impl<'d> Live<'d> {
    /// Mounts at `target`, a directory that nobody else uses; it is made.
    pub fn new(disk: &'d dyn Window, target: &Path) -> Self {
        Self { disk, target: target.to_owned() }
    }
}

impl Filesystems for Live<'_> {
    fn mount<'f>(
        &'f self,
        candidate: &Candidate,
        subvolume: Option<&str>,
        access: Access,
    ) -> Result<Box<dyn Mounted + 'f>, MountError> {
        let device = self
            .disk
            .window(candidate.start, candidate.size, access)
            .map_err(MountError::Device)?;
        if candidate.driver == "ext4" && has_errors(&device).map_err(MountError::Device)? {
            return Err(MountError::Damaged);
        }
        let options = match subvolume {
            // A comma would be another option.
            Some(name) if name.contains(',') || name.is_empty() => {
                return Err(MountError::Subvolume);
            }
            Some(name) => Some(format!("subvol=/{name}")),
            None => None,
        };
        let rights = match access {
            Access::ReadOnly => Rights::ReadOnly,
            Access::Writable => Rights::Files,
        };
        let driver = candidate.driver;
        let failed = |source: io::Error| match source.raw_os_error() {
            Some(EROFS) if access == Access::ReadOnly => MountError::Unclean,
            Some(EIO)
                if access == Access::ReadOnly
                    && driver == "btrfs"
                    && has_log(&device).unwrap_or(false) =>
            {
                MountError::Unclean
            }
            _ => MountError::Mount { driver, source },
        };
        fs::create_dir_all(&self.target).map_err(failed)?;
        let target = &self.target;
        mount::filesystem_with(driver, device.path(), target, rights, options.as_deref())
            .map_err(failed)?;
        Ok(Box::new(LiveMount { target: &self.target, is_mounted: true, device }))
    }

    fn reader(&self, start: u64, size: u64) -> io::Result<Box<dyn Source + '_>> {
        let device = self.disk.window(start, size, Access::ReadOnly)?;
        Ok(Box::new(Range { file: fs::File::open(device.path())?, device }))
    }
}

/// A range of the disk, read through the page cache of its own device.
#[derive(Debug)]
struct Range {
    file: fs::File,
    /// Dropped after the file is closed.
    #[expect(dead_code, reason = "the file lies on it")]
    device: Attached,
}

impl io::Read for Range {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl io::Seek for Range {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

fn has_errors(device: &Attached) -> io::Result<bool> {
    let mut state = [0; 2];
    fs::File::open(device.path())?.read_exact_at(&mut state, EXTENDED_STATE)?;
    Ok(u16::from_le_bytes(state) & EXTENDED_ERRORS != 0)
}

fn has_log(device: &Attached) -> io::Result<bool> {
    let mut root = [0; 8];
    fs::File::open(device.path())?.read_exact_at(&mut root, BTRFS_LOG)?;
    Ok(u64::from_le_bytes(root) != 0)
}

fn unmount(target: &Path) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match mount::unmount(target) {
            Err(error)
                if error.raw_os_error() == Some(EBUSY) && begun.elapsed() < UNMOUNT_PATIENCE =>
            {
                thread::park_timeout(UNMOUNT_PAUSE);
            }
            other => return other,
        }
    }
}

#[derive(Debug)]
struct LiveMount<'t> {
    target: &'t Path,
    is_mounted: bool,
    /// Dropped after it is unmounted.
    #[expect(dead_code, reason = "what is mounted lies on it")]
    device: Attached,
}

impl Mounted for LiveMount<'_> {
    fn root(&self) -> io::Result<Rooted> {
        Rooted::open(self.target)
    }

    fn end(mut self: Box<Self>) -> io::Result<()> {
        self.is_mounted = false;
        unmount(self.target)
    }
}

impl Drop for LiveMount<'_> {
    fn drop(&mut self) {
        if self.is_mounted {
            // Only after another failure, which is told.
            unmount(self.target).ok();
        }
    }
}
