//! A file system in memory, and a disk whose medium is a file on it.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::text;
use crate::{checkout, process::run};

/// Ours, so that one of a run that was killed is known.
const PLACE: &str = "target/bench/imaging";
const STEP: usize = 1 << 20;

/// A tmpfs. Unmounted in `Drop`.
#[derive(Debug)]
pub(super) struct Ground {
    path: PathBuf,
}

impl Ground {
    pub(super) fn new() -> Result<Self> {
        let path = checkout::root().join(PLACE);
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        let ground = Self { path };
        ground.clean()?;
        run(
            "mount",
            &["-t", "tmpfs", "-o", "mode=0700,size=90%", "drydock-bench", text(&ground.path)?],
        )
        .context("imaging needs root, and loop devices")?;
        Ok(ground)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Undoes what is there: of this run, or of one that was killed.
    fn clean(&self) -> Result<()> {
        let devices = run("losetup", &["--list", "--noheadings", "--output", "NAME,BACK-FILE"])?;
        for line in devices.lines() {
            let Some((device, file)) = line.split_once(' ') else { continue };
            if Path::new(file.trim_start()).starts_with(&self.path) {
                run("losetup", &["--detach", device])?;
            }
        }
        let mounts = fs::read_to_string("/proc/self/mounts").context("reading mounts")?;
        for mount in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
            if Path::new(mount) == self.path {
                run("umount", &["--lazy", mount])?;
            }
        }
        Ok(())
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Err(error) = self.clean() {
            crate::story::warn(&format!("{error:#}"));
        }
    }
}

/// A loop device. Detached in `Drop`.
#[derive(Debug)]
pub(super) struct Disk {
    device: String,
    file: PathBuf,
    is_direct: bool,
}

impl Disk {
    pub(super) fn new(ground: &Ground, bytes: u64) -> Result<Self> {
        let file = ground.path().join("disk");
        let made = File::create(&file).context("making the disk's file")?;
        made.set_len(bytes).context("sizing the disk's file")?;
        let name = text(&file)?;
        // coreos-installer has the kernel read the partition table.
        let attach = |direct| run("losetup", &["--find", "--show", "--partscan", direct, name]);
        // tmpfs knows direct I/O since Linux 6.6: without it the kernel holds every block twice.
        let (device, is_direct) = match attach("--direct-io=on") {
            Ok(device) => (device, true),
            Err(_) => (attach("--direct-io=off")?, false),
        };
        Ok(Self { device: device.trim().to_owned(), file, is_direct })
    }

    pub(super) fn device(&self) -> &str {
        &self.device
    }

    pub(super) fn is_direct(&self) -> bool {
        self.is_direct
    }

    /// Makes all of it zeros, and gives the memory back.
    pub(super) fn clear(&self) -> Result<()> {
        run("blkdiscard", &["--force", &self.device])?;
        run("blockdev", &["--flushbufs", &self.device]).map(drop)
    }

    /// Fails where what is on the medium differs from a file.
    pub(super) fn must_be(&self, image: &Path) -> Result<()> {
        compare(&self.file, image)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = run("losetup", &["--detach", &self.device]) {
            crate::story::warn(&format!("{error:#}"));
        }
        fs::remove_file(&self.file).ok();
    }
}

/// Compares two files, byte for byte.
pub(super) fn compare(one: &Path, other: &Path) -> Result<()> {
    let open =
        |path: &Path| File::open(path).with_context(|| format!("opening {}", path.display()));
    let (mut left, mut right) = (open(one)?, open(other)?);
    let length = |file: &File| Ok::<_, anyhow::Error>(file.metadata().context("looking")?.len());
    let bytes = length(&right)?;
    ensure!(length(&left)? == bytes, "{} is not {bytes} bytes long", one.display());
    let (mut mine, mut theirs) = (vec![0; STEP], vec![0; STEP]);
    let mut at = 0;
    while at < bytes {
        let step = usize::try_from(bytes - at).map_or(STEP, |left| left.min(STEP));
        left.read_exact(&mut mine[..step]).context("reading the disk")?;
        right.read_exact(&mut theirs[..step]).context("reading the image")?;
        if mine[..step] != theirs[..step] {
            let differs = mine.iter().zip(&theirs).position(|(one, other)| one != other);
            let place = at + u64::try_from(differs.unwrap_or_default())?;
            anyhow::bail!("it differs from the image at byte {place}");
        }
        at += u64::try_from(step)?;
    }
    Ok(())
}
