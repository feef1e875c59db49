//! The firmware of Debian's packages, by the names that drivers ask for it with.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::compression;

/// A directory like `/lib/firmware`.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    /// All files and links, by their names.
    names: Vec<String>,
}

/// A firmware as it is stored and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Below `/lib/`: the driver's name for it, with `.xz` where it is packed.
    pub(crate) path: String,
    /// As they are stored.
    pub(crate) bytes: Vec<u8>,
}

impl Tree {
    /// Lists a directory.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let root =
            root.canonicalize().with_context(|| format!("looking for {}", root.display()))?;
        let mut names = Vec::new();
        walk(&root, "", &mut names)?;
        names.sort();
        Ok(Self { root, names })
    }

    /// Returns the names that a driver's name stands for: those that fit where it has wildcards, else itself.
    /// One with wildcards that fits nothing stands for itself too, so that it is seen to be missing.
    pub(crate) fn expand(&self, asked: &str) -> Vec<String> {
        let fitting: Vec<String> =
            self.names.iter().filter(|name| fits(asked, name)).cloned().collect();
        if fitting.is_empty() { vec![asked.to_owned()] } else { fitting }
    }

    /// Reads a firmware, through links, and packs it where that makes it smaller. `None` where the packages have none of
    /// that name.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Stored>> {
        let path = self.root.join(name);
        let path = match path.canonicalize() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Else what a later release compresses would silently be gone.
                for packed in ["xz", "zst"].map(|ending| format!("{}.{ending}", path.display())) {
                    ensure!(!Path::new(&packed).exists(), "{packed} would have to be unpacked");
                }
                return Ok(None);
            }
            found => found.with_context(|| format!("looking for {}", path.display()))?,
        };
        ensure!(path.starts_with(&self.root), "{name} leads out of the firmware");
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        ensure!(!bytes.is_empty(), "{name} is empty");
        let packed = compression::pack(&bytes).with_context(|| format!("packing {name}"))?;
        let stored = if packed.len() < bytes.len() {
            Stored { path: format!("firmware/{name}.xz"), bytes: packed }
        } else {
            Stored { path: format!("firmware/{name}"), bytes }
        };
        Ok(Some(stored))
    }
}

fn walk(root: &Path, below: &str, names: &mut Vec<String>) -> Result<()> {
    let directory = root.join(below);
    let entries =
        fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        let name = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.file_type()?.is_dir() {
            walk(root, &name, names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

/// Holds when a name fits one with stars, the only wildcard that modules use.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(head) else { return false };
    (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| fits(tail, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> (tempfile::TempDir, Tree) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("nic/old")).unwrap();
        fs::write(root.path().join("nic/old/a-1.bin"), "short").unwrap();
        fs::write(root.path().join("nic/a-2.bin"), "long ".repeat(1000)).unwrap();
        symlink("old/a-1.bin", root.path().join("nic/a-1.bin")).unwrap();
        symlink("gone.bin", root.path().join("nic/b.bin")).unwrap();
        symlink("/etc/passwd", root.path().join("nic/c.bin")).unwrap();
        fs::write(root.path().join("d.bin.zst"), "packed").unwrap();
        let tree = Tree::open(root.path()).unwrap();
        (root, tree)
    }

    #[test]
    fn links_are_followed_and_what_packing_makes_smaller_is_packed() {
        let (_root, tree) = tree();
        let short = tree.read("nic/a-1.bin").unwrap().unwrap();
        let expected = Stored { path: "firmware/nic/a-1.bin".to_owned(), bytes: b"short".to_vec() };
        assert_eq!(short, expected);
        let long = tree.read("nic/a-2.bin").unwrap().unwrap();
        assert_eq!(long.path, "firmware/nic/a-2.bin.xz");
        assert_eq!(compression::unpack(&long.bytes).unwrap(), b"long ".repeat(1000));
    }

    #[test]
    fn what_is_missing_is_told_from_what_cannot_be_used() {
        let (_root, tree) = tree();
        assert_eq!(tree.read("nic/e.bin").unwrap(), None);
        assert_eq!(tree.read("nic/b.bin").unwrap(), None);
        let wrong = |name: &str| tree.read(name).unwrap_err().to_string();
        assert_eq!(wrong("nic/c.bin"), "nic/c.bin leads out of the firmware");
        assert!(wrong("d.bin").ends_with("d.bin.zst would have to be unpacked"));
    }

    #[test]
    fn stars_stand_for_what_is_there_or_for_what_is_missing() {
        let (_root, tree) = tree();
        assert_eq!(tree.expand("nic/a-*.bin"), ["nic/a-1.bin", "nic/a-2.bin"]);
        assert_eq!(tree.expand("nic/a-1.bin"), ["nic/a-1.bin"]);
        assert_eq!(tree.expand("nic/x-*.bin"), ["nic/x-*.bin"]);
        for (pattern, name, expected) in
            [("*", "", true), ("a*b*c", "axbxc", true), ("a*b", "abc", false), ("a*a", "a", false)]
        {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
