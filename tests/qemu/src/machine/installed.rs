//! A disk with an installed Linux, made by Debian's own tools: one partition with ext4.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::process::run;

/// Where the only partition begins.
const START_BYTES: u64 = 1 << 20;

/// What is in the filesystem: path, and whether `harbour` removes it (docs/wiping.md).
pub(crate) const FILES: [(&str, bool); 8] = [
    ("etc/hostname", false),
    ("etc/os-release", false),
    ("var/log/syslog", false),
    ("var/lib/kubelet/pods/7/volumes/data", false),
    ("home/anna/letter", false),
    ("var/log/syslog.1", true),
    ("var/tmp/scratch", true),
    ("var/lib/cni/cache/results/cni0", true),
];

/// What stands in each file.
fn words(path: &str) -> String {
    format!("this is {path}\n").repeat(100)
}

/// Returns what is on such a disk: as much of it as is not zeros at its end.
pub(super) fn disk(beside: &Path, size_bytes: u64) -> Result<Vec<u8>> {
    let tree = beside.with_extension("tree");
    for (path, _) in FILES {
        let file = tree.join(path);
        let directory = file.parent().context("a file without a directory")?;
        fs::create_dir_all(directory).context("making a directory of an installed system")?;
        fs::write(&file, words(path)).context("writing a file of an installed system")?;
    }
    let filesystem = beside.with_extension("ext4");
    let (of, tree_of) = (text(&filesystem)?, text(&tree)?);
    let blocks = format!("{}k", (size_bytes - START_BYTES) >> 10);
    // With a journal as installed systems have it, and the same bytes in one run.
    run("mkfs.ext4", &["-q", "-F", "-L", "root", "-d", tree_of, of, &blocks])?;
    let content = fs::read(&filesystem).context("reading the filesystem")?;
    fs::remove_file(&filesystem).context("removing the filesystem")?;
    let mut bytes = vec![0; 446];
    // One active partition of type 0x83, "Linux".
    bytes.extend([0x80, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff]);
    bytes.extend(u32::try_from(START_BYTES / 512).context("a start")?.to_le_bytes());
    bytes.extend(u32::try_from(content.len() / 512).context("a size")?.to_le_bytes());
    bytes.resize(510, 0);
    bytes.extend([0x55, 0xaa]);
    bytes.resize(usize::try_from(START_BYTES).context("a start")?, 0);
    bytes.extend(content);
    Ok(bytes)
}

/// Returns which of the files are still there, each as it was written.
pub(crate) fn files_on(disk: &Path) -> Result<Vec<&'static str>> {
    let filesystem = disk.with_extension("after");
    let file = fs::File::open(disk).context("opening a disk")?;
    let length = file.metadata().context("looking at a disk")?.len() - START_BYTES;
    let mut content = vec![0; usize::try_from(length).context("a size")?];
    file.read_exact_at(&mut content, START_BYTES).context("reading a disk")?;
    fs::write(&filesystem, content).context("writing a filesystem")?;
    let mut found = Vec::new();
    for (path, _) in FILES {
        let dumped: PathBuf = disk.with_extension("file");
        if dumped.exists() {
            fs::remove_file(&dumped).context("removing a file")?;
        }
        // It says on standard error that there is none, and ends well all the same.
        let request = format!("dump /{path} {}", dumped.display());
        run("debugfs", &["-R", &request, text(&filesystem)?])?;
        if dumped.exists() {
            let content = fs::read_to_string(&dumped).context("reading a file")?;
            ensure!(content == words(path), "{path} is not what it was: {content:?}");
            found.push(path);
        }
    }
    fs::remove_file(&filesystem).context("removing a filesystem")?;
    Ok(found)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the lab's path is no UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_into_a_filesystem_is_found_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tug-0.disk");
        let bytes = disk(&path, 24 << 20).unwrap();
        fs::write(&path, bytes).unwrap();
        let all: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
        assert_eq!(files_on(&path).unwrap(), all);
    }
}
