//! Loop devices that are as slow as disks: for programs in a control group, and only past the page cache.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::bench::ground::Disk;

const NAME: &str = "drydock-bench";

/// A control group of which each disk gives and takes so many bytes in a second. Removed in `Drop`.
#[derive(Debug)]
pub(super) struct Throttle {
    group: PathBuf,
}

impl Throttle {
    /// Makes the group, by version 1 of control groups where disks are under it, else by version 2.
    pub(super) fn new(disks: &[(&Disk, u64)]) -> Result<Self> {
        let (old, new) = (Path::new("/sys/fs/cgroup/blkio"), Path::new("/sys/fs/cgroup"));
        let is_old = old.join("blkio.throttle.write_bps_device").exists();
        if !is_old {
            // The kernel refuses where there is no such controller.
            fs::write(new.join("cgroup.subtree_control"), "+io")
                .context("no control group holds disks")?;
        }
        let group = if is_old { old.join(NAME) } else { new.join(NAME) };
        if !group.exists() {
            fs::create_dir(&group).with_context(|| format!("making {}", group.display()))?;
        }
        let throttle = Self { group };
        for (disk, speed) in disks {
            let Some(name) = disk.device().strip_prefix("/dev/") else {
                bail!("{} is no device", disk.device());
            };
            let number = fs::read_to_string(format!("/sys/class/block/{name}/dev"))
                .with_context(|| format!("looking at {name}"))?;
            let number = number.trim();
            if is_old {
                for what in ["read", "write"] {
                    let file = format!("blkio.throttle.{what}_bps_device");
                    throttle.set(&file, &format!("{number} {speed}"))?;
                }
            } else {
                throttle.set("io.max", &format!("{number} rbps={speed} wbps={speed}"))?;
            }
        }
        Ok(throttle)
    }

    fn set(&self, file: &str, words: &str) -> Result<()> {
        let path = self.group.join(file);
        fs::write(&path, words).with_context(|| format!("writing {words} to {}", path.display()))
    }

    /// Returns the file into which a process that is to be held writes its number.
    pub(super) fn processes(&self) -> PathBuf {
        self.group.join("cgroup.procs")
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.group) {
            crate::story::warn(&format!("removing {}: {error}", self.group.display()));
        }
    }
}
