//! A file system in memory, and a disk whose medium is a file on it.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::text;
use crate::{checkout, process::run};

const STEP: usize = 1 << 20;

/// A tmpfs. Unmounted in `Drop`.
#[derive(Debug)]
pub(super) struct Ground {
    path: PathBuf,
}

impl Ground {
    /// Makes that of an area: always in the same place, so that one of a run that was killed is known.
    pub(super) fn new(area: &str) -> Result<Self> {
        let path = checkout::root().join("target/bench").join(area);
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        let ground = Self { path };
        ground.clean()?;
        run(
            "mount",
            &["-t", "tmpfs", "-o", "mode=0700,size=90%", "drydock-bench", text(&ground.path)?],
        )
        .context("this needs root, and loop devices")?;
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
    pub(super) fn new(ground: &Ground, name: &str, bytes: u64) -> Result<Self> {
        let file = ground.path().join(name);
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

    /// Returns the file that is its medium.
    pub(super) fn file(&self) -> &Path {
        &self.file
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

/// Writes something else at both ends of a file, and at many places between.
pub(super) fn spoil(file: &Path) -> Result<()> {
    let medium = File::options().write(true).open(file).context("opening the disk's file")?;
    let length = medium.metadata().context("looking at the disk's file")?.len();
    let mark = [0xa5; 512];
    let places = (0..length).step_by(16 * STEP).chain([length - 512]);
    for place in places {
        medium.write_all_at(&mark, place).context("spoiling the disk")?;
    }
    Ok(())
}

/// Fails where a file is not zeros.
pub(super) fn must_be_zeros(file: &Path) -> Result<()> {
    let mut medium = File::open(file).context("opening the disk's file")?;
    let (mut bytes, mut at) = (vec![0; STEP], 0);
    loop {
        let read = medium.read(&mut bytes).context("reading the disk")?;
        if read == 0 {
            return Ok(());
        }
        if let Some(place) = bytes[..read].iter().position(|byte| *byte != 0) {
            anyhow::bail!("byte {} of {} is not zero", at + place, file.display());
        }
        at += read;
    }
}
