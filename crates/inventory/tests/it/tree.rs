//! Trees of files that stand for machines.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use inventory::Root;
use protocol::Inventory;

/// A tree in a directory of its own, gone when it is dropped.
pub(crate) struct Tree(tempfile::TempDir);

impl Tree {
    /// Makes an empty tree.
    pub(crate) fn empty() -> Self {
        Self(tempfile::tempdir().expect("a directory can be made"))
    }

    /// Lays out a tree from lines `path = text` and `path -> target`.
    pub(crate) fn new(lines: &str) -> Self {
        let tree = Self::empty();
        lines
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .for_each(|line| tree.add(line));
        tree
    }

    /// Adds, or writes again, what one line says.
    pub(crate) fn add(&self, line: &str) {
        if let Some((path, target)) = line.split_once(" -> ") {
            self.link(path, target);
        } else {
            let (path, text) = line.split_once(" =").expect("a line is a file or a link");
            self.file(path, unescape(text.strip_prefix(' ').unwrap_or(text)));
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, path: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.place(path), bytes).expect("a file can be written");
    }

    pub(crate) fn link(&self, path: &str, target: impl AsRef<Path>) {
        symlink(target, self.place(path)).expect("a link can be made");
    }

    pub(crate) fn root(&self) -> Root {
        Root::captured(self.path())
    }

    pub(crate) fn collect(&self) -> Inventory {
        inventory::collect(&self.root())
    }

    /// Returns a path in the tree whose directory exists.
    fn place(&self, path: &str) -> PathBuf {
        let place = self.path().join(path);
        if place.exists() {
            return place;
        }
        let parent = place.parent().expect("a file is in a directory");
        fs::create_dir_all(parent).expect("a directory can be made");
        place
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next() {
            Some(b'n') => bytes.push(b'\n'),
            Some(b'x') => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = std::str::from_utf8(&digits).expect("two digits");
                bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
            }
            other => bytes.extend(other),
        }
    }
    bytes
}

/// Returns a file among the real machines' data that lies beside the repository.
///
/// Where it is missing, says so; in continuous integration that is a failure.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let directory = env::var_os("DRYDOCK_SHARED").map_or(beside, PathBuf::from);
    let path = directory.join("machines").join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(env::var_os("CI").is_none_or(|value| value != "true"), "{} is missing", path.display());
    eprintln!("left out: {} is not here (DRYDOCK_SHARED tells where)", path.display());
    None
}
