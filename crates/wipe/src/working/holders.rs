//! What the kernel has built on disks, and how it is taken down: arrays, mapped devices, caches. From the top.
//!
//! ```text
//! sda ─► sda1 ─► md0 ─► dm-0 (crypt) ─► dm-1 (LVM)      taken down: dm-1, dm-0, md0
//! sdb ─► sdb1 ─┘
//! ```
//!
//! Nothing is written to any disk, but for what their drivers write when they let go. HerculesOS assembles nothing, so
//! there this finds nothing; on somebody's own machine it does.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{Stopped, Watch};

/// How long the kernel may take to let go of a device after it was told to: a cache is written back first.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long something may be busy: whoever looks at new devices, udev for one, opens them for a moment.
const BUSY_PATIENCE: Duration = Duration::from_secs(5);

/// How long is waited before looking again.
const PAUSE: Duration = Duration::from_millis(200);

/// How deep is looked; a device on top of itself does not exist.
const DEPTH_LIMIT: usize = 32;

/// Something that holds a disk, directly or by what lies between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The kernel's name of it: `md0`, `dm-3`, `bcache0`; a set of caches' UUID.
    pub name: String,
    /// What it is.
    pub kind: HolderKind,
    /// Whole disks that it lies on as well and that were not asked about: it is of the blast radius of those.
    pub others: Vec<String>,
}

/// What holds a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HolderKind {
    /// A Linux RAID array, or the container of one.
    Array,
    /// A device of the device mapper, by its name there: LVM, crypt, multipath.
    Mapped {
        /// Its name.
        name: String,
    },
    /// A cached device, or one that waits for its cache: the directory that takes orders.
    Bcache {
        /// `/sys/block/…/bcache`.
        directory: PathBuf,
    },
    /// A set of caches: the directory that takes orders.
    CacheSet {
        /// `/sys/fs/bcache/UUID`.
        directory: PathBuf,
    },
    /// Something that nobody here knows to take down.
    Other,
}

/// Why holders are still there.
#[derive(Debug, thiserror::Error)]
pub enum HoldersError {
    /// The kernel cannot be asked.
    #[error("reading {path}", path = path.display())]
    Read {
        /// What could not be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is in use, or its driver refuses.
    #[error("taking down {name}")]
    Refused {
        /// The kernel's name of it.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// Nobody here knows how.
    #[error("{name} holds the disk, and nothing is known of how it is taken down")]
    Unknown {
        /// The kernel's name of it.
        name: String,
    },
    /// It lies on disks that are not to be wiped.
    #[error("{name} lies on other disks as well: {others:?}")]
    Others {
        /// The kernel's name of it.
        name: String,
        /// Those disks.
        others: Vec<String>,
    },
    /// The kernel was told and did not let go.
    #[error("{name} still holds the disk {seconds} s after it was taken down", seconds = PATIENCE.as_secs())]
    Stays {
        /// The kernel's name of it.
        name: String,
    },
    /// The wipe is not to go on.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Returns what holds disks, in the order in which it can be taken down: nothing lies on the first, and each lies only
/// on what follows. `root` is `/` but in tests, and disks have the kernel's names, as `sda`.
pub fn order(root: &Path, disks: &[&str]) -> Result<Vec<Holder>, HoldersError> {
    let mut walk = Walk { root, disks, seen: BTreeSet::new(), found: Vec::new() };
    for disk in disks {
        walk.below(disk, 0)?;
    }
    Ok(walk.found)
}

/// Takes down all that holds disks, from the top, and waits until the kernel has let go. Refuses before anything is
/// taken down where a holder lies on other disks too.
pub fn release(
    root: &Path,
    disks: &[&str],
    watch: &dyn Watch,
) -> Result<Vec<Holder>, HoldersError> {
    let holders = order(root, disks)?;
    for holder in &holders {
        if !holder.others.is_empty() {
            let (name, others) = (holder.name.clone(), holder.others.clone());
            return Err(HoldersError::Others { name, others });
        }
        if holder.kind == HolderKind::Other {
            return Err(HoldersError::Unknown { name: holder.name.clone() });
        }
    }
    for holder in &holders {
        watch.check()?;
        take_down(root, holder, watch)?;
        // What lies below is free only then.
        let since = watch.elapsed();
        while order(root, disks)?.iter().any(|other| other.name == holder.name) {
            if watch.elapsed().saturating_sub(since) > PATIENCE {
                return Err(HoldersError::Stays { name: holder.name.clone() });
            }
            watch.wait(PAUSE)?;
        }
    }
    Ok(holders)
}

fn take_down(root: &Path, holder: &Holder, watch: &dyn Watch) -> Result<(), HoldersError> {
    let since = watch.elapsed();
    loop {
        let source = match try_down(root, holder) {
            Ok(()) => return Ok(()),
            // It went by itself when what lay on it did.
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => error,
        };
        let is_over = watch.elapsed().saturating_sub(since) > BUSY_PATIENCE;
        if is_over || source.kind() != io::ErrorKind::ResourceBusy {
            return Err(HoldersError::Refused { name: holder.name.clone(), source });
        }
        watch.wait(PAUSE)?;
    }
}

fn try_down(root: &Path, holder: &Holder) -> io::Result<()> {
    match &holder.kind {
        HolderKind::Array => {
            fs::File::open(root.join("dev").join(&holder.name)).and_then(linux::md::stop)
        }
        HolderKind::Mapped { name } => linux::device_mapper::remove(name),
        HolderKind::Bcache { directory } => linux::bcache::stop(directory),
        HolderKind::CacheSet { directory } => linux::bcache::unregister(directory),
        HolderKind::Other => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Holds for what the kernel says of a device that is no longer there: `ENOENT`, `ENXIO`, `ENODEV`.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(2 | 6 | 19))
}

struct Walk<'root> {
    root: &'root Path,
    disks: &'root [&'root str],
    seen: BTreeSet<String>,
    found: Vec<Holder>,
}

impl Walk<'_> {
    /// Takes down what holds a device or one of its partitions, the top first.
    fn below(&mut self, device: &str, depth: usize) -> Result<(), HoldersError> {
        if depth > DEPTH_LIMIT {
            return Ok(());
        }
        let directory = self.root.join("sys/class/block").join(device);
        let mut places = vec![directory.clone()];
        // A partition's directory lies in its disk's, and has a file of that name.
        for name in names(&directory)? {
            let place = directory.join(&name);
            if name.starts_with(device) && place.join("partition").exists() {
                places.push(place);
            }
        }
        for place in places {
            let mut holders = names(&place.join("holders"))?;
            // A container is let go of by the arrays in it first.
            holders.sort_by_key(|holder| self.is_container(holder));
            for holder in holders {
                if self.seen.insert(holder.clone()) {
                    self.below(&holder, depth + 1)?;
                    let holder = self.holder(holder)?;
                    self.found.push(holder);
                }
            }
            self.bcache(&place)?;
        }
        Ok(())
    }

    /// What bcache keeps hold of although no device of it is there.
    fn bcache(&mut self, place: &Path) -> Result<(), HoldersError> {
        // A cached device has a link of that name to the disk's.
        if place.file_name().is_some_and(|name| name.to_string_lossy().starts_with("bcache")) {
            return Ok(());
        }
        let directory = place.join("bcache");
        let set = directory.join("set");
        if let Ok(directory) = fs::canonicalize(&set) {
            let name = directory.file_name().map(|name| name.to_string_lossy().into_owned());
            let name = name.unwrap_or_default();
            if self.seen.insert(name.clone()) {
                let kind = HolderKind::CacheSet { directory };
                self.found.push(Holder { name, kind, others: Vec::new() });
            }
        } else if directory.join("stop").exists() && names(&place.join("holders"))?.is_empty() {
            let name = place.file_name().map(|name| name.to_string_lossy().into_owned());
            let kind = HolderKind::Bcache { directory };
            self.found.push(Holder { name: name.unwrap_or_default(), kind, others: Vec::new() });
        }
        Ok(())
    }

    fn is_container(&self, holder: &str) -> bool {
        let file = self.root.join("sys/class/block").join(holder).join("md/metadata_version");
        let version = fs::read_to_string(file).unwrap_or_default();
        // A member says `external:/md127/0` or `external:-md127/0`.
        version
            .strip_prefix("external:")
            .is_some_and(|rest| !rest.starts_with('/') && !rest.starts_with('-'))
    }

    fn holder(&self, name: String) -> Result<Holder, HoldersError> {
        let directory = self.root.join("sys/class/block").join(&name);
        let kind = if directory.join("md").exists() {
            HolderKind::Array
        } else if let Ok(mapped) = fs::read_to_string(directory.join("dm/name")) {
            HolderKind::Mapped { name: mapped.trim_end().to_owned() }
        } else if name.starts_with("bcache") {
            HolderKind::Bcache { directory: directory.join("bcache") }
        } else {
            HolderKind::Other
        };
        let below = self.disks_of(&name)?.into_iter();
        let others = below.filter(|disk| !self.disks.contains(&disk.as_str())).collect();
        Ok(Holder { name, kind, others })
    }

    /// Returns the whole disks that a device lies on.
    fn disks_of(&self, device: &str) -> Result<BTreeSet<String>, HoldersError> {
        let mut found = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut waiting = vec![device.to_owned()];
        while let Some(device) = waiting.pop() {
            if !seen.insert(device.clone()) {
                continue;
            }
            let slaves = names(&self.root.join("sys/class/block").join(&device).join("slaves"))?;
            if slaves.is_empty() {
                found.insert(device);
            }
            // A partition lies on what its disk lies on.
            waiting.extend(slaves.iter().map(|slave| self.whole(slave)));
        }
        Ok(found)
    }

    /// Returns the disk of a partition, and everything else as it is.
    fn whole(&self, device: &str) -> String {
        let directory = self.root.join("sys/class/block").join(device);
        let real = fs::canonicalize(&directory).unwrap_or(directory);
        let parent =
            real.parent().and_then(Path::file_name).filter(|_| real.join("partition").exists());
        parent.map_or_else(|| device.to_owned(), |name| name.to_string_lossy().into_owned())
    }
}

/// Returns the names in a directory, sorted; none where there is none.
fn names(directory: &Path) -> Result<Vec<String>, HoldersError> {
    let failed = |source| HoldersError::Read { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A `/sys` of disks, partitions and what lies on them.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn device(&self, parent: &str, name: &str) -> PathBuf {
            let real = self.0.path().join("sys/devices").join(parent).join(name);
            fs::create_dir_all(real.join("holders")).unwrap();
            fs::create_dir_all(real.join("slaves")).unwrap();
            let class = self.0.path().join("sys/class/block");
            fs::create_dir_all(&class).unwrap();
            symlink(&real, class.join(name)).unwrap();
            if !parent.is_empty() {
                fs::write(real.join("partition"), "1").unwrap();
            }
            real
        }

        fn array(&self, name: &str, version: &str, slaves: &[&str]) {
            let device = self.device("", name);
            fs::create_dir(device.join("md")).unwrap();
            fs::write(device.join("md/metadata_version"), version).unwrap();
            self.hold(name, slaves);
        }

        fn mapped(&self, name: &str, called: &str, slaves: &[&str]) {
            let device = self.device("", name);
            fs::create_dir(device.join("dm")).unwrap();
            fs::write(device.join("dm/name"), format!("{called}\n")).unwrap();
            self.hold(name, slaves);
        }

        fn hold(&self, name: &str, slaves: &[&str]) {
            let class = self.0.path().join("sys/class/block");
            for slave in slaves {
                fs::write(class.join(slave).join("holders").join(name), "").unwrap();
                fs::write(class.join(name).join("slaves").join(slave), "").unwrap();
            }
        }

        fn check(&self, disks: &[&str], expected: &str) {
            let holders = order(self.0.path(), disks).unwrap();
            let show = |holder: &Holder| {
                let what = match &holder.kind {
                    HolderKind::Array => format!("array {}", holder.name),
                    HolderKind::Mapped { name } => format!("mapped {name}"),
                    HolderKind::Bcache { .. } => format!("bcache {}", holder.name),
                    HolderKind::CacheSet { .. } => format!("set {}", holder.name),
                    HolderKind::Other => format!("other {}", holder.name),
                };
                [vec![what], holder.others.clone()].concat().join(" +")
            };
            let shown: Vec<String> = holders.iter().map(show).collect();
            assert_eq!(shown.join(", "), expected);
        }
    }

    #[test]
    fn what_lies_on_top_is_taken_down_first() {
        let tree = Tree::new();
        for disk in ["sda", "sdb"] {
            tree.device("", disk);
            tree.device(disk, &format!("{disk}1"));
        }
        tree.array("md0", "1.2", &["sda1", "sdb1"]);
        tree.mapped("dm-0", "vault", &["md0"]);
        tree.mapped("dm-1", "vg-root", &["dm-0"]);
        tree.mapped("dm-2", "vg-home", &["dm-0"]);
        tree.check(&["sda", "sdb"], "mapped vg-root, mapped vg-home, mapped vault, array md0");
        // Partitions of an array hold as those of a disk do.
        tree.device("md0", "md0p1");
        tree.mapped("dm-3", "other", &["md0p1"]);
        tree.check(
            &["sda", "sdb"],
            "mapped vg-root, mapped vg-home, mapped vault, mapped other, array md0",
        );
        tree.check(
            &["sda"],
            "mapped vg-root +sdb, mapped vg-home +sdb, mapped vault +sdb, mapped other +sdb, array md0 +sdb",
        );
        tree.check(&[], "");
    }

    #[test]
    fn a_volume_over_two_disks_comes_once_and_above_both() {
        let tree = Tree::new();
        for disk in ["sda", "sdb", "sdc"] {
            tree.device("", disk);
        }
        tree.mapped("dm-0", "mpatha", &["sda", "sdb"]);
        tree.mapped("dm-1", "vg-wide", &["dm-0", "sdc"]);
        tree.check(&["sda", "sdb", "sdc"], "mapped vg-wide, mapped mpatha");
        tree.check(&["sdc"], "mapped vg-wide +sda +sdb");
    }

    #[test]
    fn arrays_are_stopped_before_their_container() {
        let tree = Tree::new();
        tree.device("", "sda");
        tree.array("md126", "external:imsm\n", &["sda"]);
        tree.array("md127", "external:/md126/0\n", &["sda"]);
        tree.check(&["sda"], "array md127, array md126");
    }

    #[test]
    fn a_cache_is_let_go_of_after_what_it_caches() {
        let tree = Tree::new();
        let (cache, backing) = (tree.device("", "sda"), tree.device("", "sdb"));
        let cached = tree.device("", "bcache0");
        tree.hold("bcache0", &["sda", "sdb"]);
        let set = tree.0.path().join("sys/fs/bcache/5ca1ab1e");
        fs::create_dir_all(&set).unwrap();
        for disk in [&cache, &backing] {
            fs::create_dir(disk.join("bcache")).unwrap();
        }
        symlink(&set, cache.join("bcache/set")).unwrap();
        fs::write(backing.join("bcache/stop"), "").unwrap();
        symlink(backing.join("bcache"), cached.join("bcache")).unwrap();
        tree.check(&["sda", "sdb"], "bcache bcache0, set 5ca1ab1e");
        // Without its cache it has no device, and is held all the same.
        fs::remove_file(backing.join("holders/bcache0")).unwrap();
        tree.check(&["sdb"], "bcache sdb");
    }

    #[test]
    fn a_circle_ends() {
        let tree = Tree::new();
        tree.device("", "sda");
        tree.mapped("dm-0", "one", &["sda"]);
        tree.mapped("dm-1", "two", &["dm-0"]);
        tree.hold("dm-0", &["dm-1"]);
        assert_eq!(order(tree.0.path(), &["sda"]).unwrap().len(), 2);
    }

    #[test]
    fn what_reaches_other_disks_or_is_unknown_is_not_taken_down() {
        let tree = Tree::new();
        tree.device("", "sda");
        tree.device("", "sdb");
        tree.array("md0", "1.2", &["sda", "sdb"]);
        let watch = super::super::tests::Disk::new(512);
        let error = release(tree.0.path(), &["sda"], &watch).unwrap_err();
        assert_eq!(error.to_string(), "md0 lies on other disks as well: [\"sdb\"]");
        tree.device("", "drbd0");
        tree.hold("drbd0", &["md0"]);
        let error = release(tree.0.path(), &["sda", "sdb"], &watch).unwrap_err();
        assert!(matches!(error, HoldersError::Unknown { name } if name == "drbd0"));
    }
}
