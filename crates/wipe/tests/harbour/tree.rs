//! Trees in temporary directories, and what is in them byte by byte.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::Path,
};

use linux::rooted::Rooted;
use wipe::harbour::{Cleaned, List, Mode, clean};

use crate::watch::Patience;

/// What a file is: its mode and owner, and what it says, or where it leads.
type State = (u32, u32, u32, Vec<u8>);

/// Everything below a directory but directories, by path.
pub(crate) fn files(root: &Path) -> BTreeMap<String, State> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let metadata = fs::symlink_metadata(&path).expect("it is there");
            let kind = metadata.file_type();
            if kind.is_dir() {
                open.push(path);
                continue;
            }
            let content = if kind.is_symlink() {
                fs::read_link(&path).expect("a link").as_os_str().as_bytes().to_vec()
            } else if kind.is_fifo() || kind.is_socket() || kind.is_char_device() {
                Vec::new()
            } else {
                fs::read(&path).expect("a file")
            };
            let name = path.strip_prefix(root).expect("below it").to_string_lossy().into_owned();
            let state = (metadata.mode(), metadata.uid(), metadata.gid(), content);
            found.insert(format!("/{name}"), state);
        }
    }
    found
}

/// All directories below one.
pub(crate) fn folders(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let entry = entry.expect("an entry");
            if entry.file_type().expect("a type").is_dir() {
                let path = entry.path();
                let name = path.strip_prefix(root).expect("below it").to_string_lossy();
                found.insert(format!("/{name}"));
                open.push(path);
            }
        }
    }
    found
}

/// Puts a file there whose content is nobody else's.
pub(crate) fn put(root: &Path, path: &str) {
    let place = root.join(path.trim_start_matches('/'));
    if path.ends_with('/') {
        fs::create_dir_all(place).expect("a directory is made");
        return;
    }
    fs::create_dir_all(place.parent().expect("a parent")).expect("a directory is made");
    fs::write(&place, format!("this is {path}\n")).expect("a file is written");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o640)).expect("it is ours");
}

/// Walks a tree as if it were mounted at `at`, and returns what was said of each removal.
pub(crate) fn walk(
    root: &Path,
    at: &str,
    list: &List,
    mode: Mode,
    watch: &Patience,
) -> (Cleaned, BTreeSet<Vec<u8>>) {
    let folder = Rooted::open(root).and_then(|root| root.folder()).expect("a directory");
    let mut seen = BTreeSet::new();
    let cleaned = clean(&folder, at.as_bytes(), list, mode, watch, &mut |removed| {
        assert!(seen.insert(removed.path.to_vec()), "told twice: {removed:?}");
    });
    (cleaned, seen)
}

/// Walks a tree twice, looking and removing: both say the same, and looking changes nothing.
pub(crate) fn harbour(root: &Path, at: &str) -> (Cleaned, BTreeSet<Vec<u8>>) {
    let (before, folders_before) = (files(root), folders(root));
    let watch = Patience::endless();
    let list = List::default();
    let (would, named) = walk(root, at, &list, Mode::Look, &watch);
    assert_eq!((files(root), folders(root)), (before, folders_before), "looking changed something");
    let (cleaned, removed) = walk(root, at, &list, Mode::Remove, &watch);
    assert_eq!(named, removed);
    assert_eq!(would.left, cleaned.left);
    let counts = |cleaned: &Cleaned| -> Vec<_> {
        cleaned
            .by_rule()
            .map(|(rule, count)| (rule.path, count.files, count.folders, count.others))
            .collect()
    };
    assert_eq!(counts(&would), counts(&cleaned));
    let (again, nothing) = walk(root, at, &list, Mode::Look, &watch);
    assert!(nothing.is_empty() && again.removed.is_empty(), "{nothing:?}");
    (cleaned, removed)
}
