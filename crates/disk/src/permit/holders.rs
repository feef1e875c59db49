//! What the kernel has built on disks: arrays, mapped devices, caches. From the top.
//!
//! ```text
//! sda ─► sda1 ─► md0 ─► dm-0 (crypt) ─► dm-1 (LVM)      from the top: dm-1, dm-0, md0
//! sdb ─► sdb1 ─┘
//! ```

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};

use inventory::{Root, RootError};

/// The directory of all disks, partitions and what is built on them.
const CLASS: &str = "sys/class/block";

/// How deep is looked; a device on top of itself does not exist.
const DEPTH_LIMIT: usize = 32;

/// Something that holds a disk, directly or by what lies between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The kernel's name of it: `md0`, `dm-3`, `bcache0`; a set of caches' UUID.
    pub name: String,
    /// What it is.
    pub kind: HolderKind,
    /// The whole disks that it lies on: it is of the blast radius of each. None for a set of caches, which lies on what
    /// the cached devices lie on.
    pub disks: Vec<String>,
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

/// What holds disks cannot be found out.
#[derive(Debug, thiserror::Error)]
#[error("looking what is built on disks in {path}", path = path.display())]
pub struct HoldersUnread {
    /// What could not be read.
    pub path: PathBuf,
    /// Why.
    pub source: RootError,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            HolderKind::Array => write!(f, "array {}", self.name),
            HolderKind::Mapped { name } => write!(f, "volume {name} ({})", self.name),
            HolderKind::Bcache { .. } => write!(f, "cached device {}", self.name),
            HolderKind::CacheSet { .. } => write!(f, "cache {}", self.name),
            HolderKind::Other => f.write_str(&self.name),
        }
    }
}

/// Returns what the running kernel has built on disks, in the order in which it can be taken down: nothing lies on the
/// first, and each lies only on what follows. Disks have the kernel's names, as `sda`.
pub fn holders(disks: &[&str]) -> Result<Vec<Holder>, HoldersUnread> {
    order(&Root::live(), disks)
}

pub(super) fn order(root: &Root, disks: &[&str]) -> Result<Vec<Holder>, HoldersUnread> {
    let mut walk = Walk { root, seen: BTreeSet::new(), found: Vec::new() };
    for disk in disks {
        walk.below(disk, 0)?;
    }
    Ok(walk.found)
}

/// Returns the devices of a disk or holder that a program can have claimed: the whole, or where something is built on a
/// part of it, the partitions that nothing is built on.
pub(super) fn bare(root: &Root, device: &str) -> Result<Vec<String>, HoldersUnread> {
    let (mut held, mut free) = (false, Vec::new());
    for place in places(root, device)? {
        let name = name(&place);
        let is_cached = !name.starts_with("bcache") && root.exists(place.join("bcache"));
        if is_cached || !names(root, &place.join("holders"))?.is_empty() {
            held = true;
        } else if name != device {
            free.push(name);
        }
    }
    Ok(if held { free } else { vec![device.to_owned()] })
}

struct Walk<'root> {
    root: &'root Root,
    seen: BTreeSet<String>,
    found: Vec<Holder>,
}

impl Walk<'_> {
    /// Finds what holds a device or one of its partitions, the top first.
    fn below(&mut self, device: &str, depth: usize) -> Result<(), HoldersUnread> {
        if depth > DEPTH_LIMIT {
            return Ok(());
        }
        for place in places(self.root, device)? {
            let mut holders = names(self.root, &place.join("holders"))?;
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
    fn bcache(&mut self, place: &Path) -> Result<(), HoldersUnread> {
        // A cached device has a link of that name to the disk's.
        if name(place).starts_with("bcache") {
            return Ok(());
        }
        let directory = place.join("bcache");
        if let Some(set) = real(self.root, &directory.join("set"))? {
            let name = name(&set);
            if self.seen.insert(name.clone()) {
                let kind = HolderKind::CacheSet { directory: Path::new("/").join(set) };
                self.found.push(Holder { name, kind, disks: Vec::new() });
            }
        } else if self.root.exists(directory.join("stop"))
            && names(self.root, &place.join("holders"))?.is_empty()
        {
            let name = name(place);
            let disks = vec![self.whole(&name)?];
            let kind = HolderKind::Bcache { directory: Path::new("/").join(directory) };
            self.found.push(Holder { name, kind, disks });
        }
        Ok(())
    }

    fn is_container(&self, holder: &str) -> bool {
        let file = Path::new(CLASS).join(holder).join("md/metadata_version");
        let version = self.root.text(file).ok().flatten().unwrap_or_default();
        // A member says `external:/md127/0` or `external:-md127/0`.
        version
            .strip_prefix("external:")
            .is_some_and(|rest| !rest.starts_with('/') && !rest.starts_with('-'))
    }

    fn holder(&self, name: String) -> Result<Holder, HoldersUnread> {
        let directory = Path::new(CLASS).join(&name);
        let mapped = directory.join("dm/name");
        let unread = |source| HoldersUnread { path: mapped.clone(), source };
        let kind = if self.root.exists(directory.join("md")) {
            HolderKind::Array
        } else if let Some(name) = self.root.text(&mapped).map_err(unread)? {
            HolderKind::Mapped { name }
        } else if name.starts_with("bcache") {
            HolderKind::Bcache { directory: Path::new("/").join(directory).join("bcache") }
        } else {
            HolderKind::Other
        };
        // What says of nothing that it lies on it is no disk for that.
        let disks = self.disks_of(&name)?.into_iter().filter(|disk| *disk != name).collect();
        Ok(Holder { name, kind, disks })
    }

    /// Returns the whole disks that a device lies on.
    fn disks_of(&self, device: &str) -> Result<BTreeSet<String>, HoldersUnread> {
        let mut found = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut waiting = vec![device.to_owned()];
        while let Some(device) = waiting.pop() {
            if !seen.insert(device.clone()) {
                continue;
            }
            let slaves = names(self.root, &Path::new(CLASS).join(&device).join("slaves"))?;
            // A partition lies on what its disk lies on.
            for slave in &slaves {
                waiting.push(self.whole(slave)?);
            }
            if slaves.is_empty() {
                found.insert(device);
            }
        }
        Ok(found)
    }

    /// Returns the disk of a partition, and everything else as it is.
    fn whole(&self, device: &str) -> Result<String, HoldersUnread> {
        let place = real(self.root, &Path::new(CLASS).join(device))?;
        let whole = place.filter(|place| self.root.exists(place.join("partition")));
        let whole = whole.as_deref().and_then(Path::parent).map(name);
        Ok(whole.unwrap_or_else(|| device.to_owned()))
    }
}

/// Returns the directories of a device and of its partitions: a partition's lies in its disk's, and has a file of that name.
fn places(root: &Root, device: &str) -> Result<Vec<PathBuf>, HoldersUnread> {
    let directory = Path::new(CLASS).join(device);
    let mut places = vec![directory.clone()];
    for name in names(root, &directory)? {
        let place = directory.join(&name);
        if name.starts_with(device) && root.exists(place.join("partition")) {
            places.push(place);
        }
    }
    Ok(places)
}

fn name(place: &Path) -> String {
    place.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn real(root: &Root, path: &Path) -> Result<Option<PathBuf>, HoldersUnread> {
    root.real(path).map_err(|source| HoldersUnread { path: path.to_owned(), source })
}

/// Returns the names in a directory, sorted; none where there is none.
fn names(root: &Root, directory: &Path) -> Result<Vec<String>, HoldersUnread> {
    let unread = |source| HoldersUnread { path: directory.to_owned(), source };
    let mut names = root.entries(directory).map_err(unread)?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    /// A `/sys` of disks, partitions and what lies on them.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn root(&self) -> Root {
            Root::captured(self.0.path())
        }

        fn device(&self, parent: &str, name: &str) -> PathBuf {
            let place = Path::new("devices").join(parent).join(name);
            let real = self.0.path().join("sys").join(&place);
            fs::create_dir_all(real.join("holders")).unwrap();
            fs::create_dir_all(real.join("slaves")).unwrap();
            let class = self.0.path().join("sys/class/block");
            fs::create_dir_all(&class).unwrap();
            symlink(Path::new("../..").join(place), class.join(name)).unwrap();
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
            let holders = order(&self.root(), disks).unwrap();
            let show = |holder: &Holder| {
                let what = match &holder.kind {
                    HolderKind::Array => format!("array {}", holder.name),
                    HolderKind::Mapped { name } => format!("mapped {name}"),
                    HolderKind::Bcache { .. } => format!("bcache {}", holder.name),
                    HolderKind::CacheSet { .. } => format!("set {}", holder.name),
                    HolderKind::Other => format!("other {}", holder.name),
                };
                let others = holder.disks.iter().filter(|disk| !disks.contains(&disk.as_str()));
                [vec![what], others.cloned().collect()].concat().join(" +")
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
        symlink("/sys/fs/bcache/5ca1ab1e", cache.join("bcache/set")).unwrap();
        fs::write(backing.join("bcache/stop"), "").unwrap();
        symlink("/sys/devices/sdb/bcache", cached.join("bcache")).unwrap();
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
        assert_eq!(order(&tree.root(), &["sda"]).unwrap().len(), 2);
    }

    #[test]
    fn what_nothing_is_built_on_can_be_claimed() {
        let tree = Tree::new();
        let bare = |device| bare(&tree.root(), device).unwrap().join(" ");
        tree.device("", "sda");
        assert_eq!(bare("sda"), "sda");
        tree.device("sda", "sda1");
        tree.device("sda", "sda2");
        assert_eq!(bare("sda"), "sda");
        tree.mapped("dm-0", "vault", &["sda2"]);
        assert_eq!((bare("sda"), bare("dm-0")), ("sda1".to_owned(), "dm-0".to_owned()));
        tree.device("", "sdb");
        tree.array("md0", "1.2", &["sdb"]);
        assert_eq!(bare("sdb"), "");
    }
}
