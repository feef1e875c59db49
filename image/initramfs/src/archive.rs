//! The "newc" archive that the kernel unpacks into its first file system.
//!
//! Format: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// A magic number and thirteen fields of eight digits.
const HEADER: usize = 6 + 13 * 8;

/// File types with their permissions, as in `st_mode`.
const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;

/// An archive that is being written.
#[derive(Debug)]
pub struct Archive<W> {
    output: W,
    number: u32,
}

/// What a file in an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something to read.
    Plain,
    /// Something to run.
    Program,
}

impl<W: Write> Archive<W> {
    /// Begins an archive.
    pub fn new(output: W) -> Self {
        Self { output, number: 0 }
    }

    /// Adds a directory, named from the top without a slash before it. It has to come before what is in it.
    pub fn directory(&mut self, name: &str) -> io::Result<()> {
        self.entry(DIRECTORY, name, &[])
    }

    /// Adds a file, named in the same way.
    pub fn file(&mut self, name: &str, kind: Kind, content: &[u8]) -> io::Result<()> {
        let mode = match kind {
            Kind::Plain => FILE,
            Kind::Program => PROGRAM,
        };
        self.entry(mode, name, content)
    }

    /// Writes the end. An archive without it is cut off.
    pub fn finish(mut self) -> io::Result<W> {
        entry(&mut self.output, 0, 0, "TRAILER!!!", &[])?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn entry(&mut self, mode: u32, name: &str, content: &[u8]) -> io::Result<()> {
        self.number += 1;
        entry(&mut self.output, self.number, mode, name, content)
    }
}

/// Writes everything below `directory` to `output`: first what has a word of `first` in its path, in the order of the
/// words, and else in the order of the names. A path begins without a slash.
///
/// Owners are root, times the epoch; a file is a program if its owner may run it. Anything but directories and
/// ordinary files is an error: our systems need no links and get their devices from the kernel.
pub fn pack(directory: &Path, first: &[String], output: impl Write) -> io::Result<()> {
    let mut paths = Vec::new();
    walk(directory, &mut paths)?;
    paths.sort();
    let mut names = Vec::new();
    for path in &paths {
        let name = path.strip_prefix(directory).map_err(io::Error::other)?;
        names.push(name.to_str().ok_or_else(|| odd(path, "is not named in UTF-8"))?);
    }
    names.sort_by_key(|name| {
        first.iter().position(|word| name.contains(word)).unwrap_or(first.len())
    });
    let mut archive = Archive::new(output);
    let mut begun = BTreeSet::new();
    for name in names {
        // A directory may have to come before its turn.
        for above in name.match_indices('/').map(|(end, _)| &name[..end]) {
            if begun.insert(above) {
                archive.directory(above)?;
            }
        }
        let path = directory.join(name);
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            if begun.insert(name) {
                archive.directory(name)?;
            }
        } else if metadata.is_file() {
            let is_program = metadata.permissions().mode() & 0o100 != 0;
            let kind = if is_program { Kind::Program } else { Kind::Plain };
            archive.file(name, kind, &fs::read(&path)?)?;
        } else {
            return Err(odd(&path, "is neither directory nor file"));
        }
    }
    archive.finish().map(drop)
}

fn walk(directory: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for child in fs::read_dir(directory)? {
        let child = child?;
        if child.file_type()?.is_dir() {
            walk(&child.path(), paths)?;
        }
        paths.push(child.path());
    }
    Ok(())
}

fn entry(
    output: &mut impl Write,
    number: u32,
    mode: u32,
    name: &str,
    content: &[u8],
) -> io::Result<()> {
    let links = if mode == DIRECTORY { 2 } else { 1 };
    let size = u32::try_from(content.len()).map_err(io::Error::other)?;
    let name_size = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
    write!(output, "070701")?;
    // Inode, mode, owner, group, links, time, size, device and its own number (two halves each), name, checksum.
    for field in [number, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0] {
        write!(output, "{field:08X}")?;
    }
    output.write_all(name.as_bytes())?;
    output.write_all(&[0])?;
    pad(output, HEADER + name.len() + 1)?;
    output.write_all(content)?;
    pad(output, content.len())
}

/// Fills up to the next multiple of four bytes.
fn pad(output: &mut impl Write, written: usize) -> io::Result<()> {
    output.write_all(&[0; 3][..written.next_multiple_of(4) - written])
}

fn odd(path: &Path, what: &str) -> io::Error {
    io::Error::other(format!("{} {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn packed(directory: &Path) -> Vec<u8> {
        let mut archive = Vec::new();
        pack(directory, &[], &mut archive).unwrap();
        archive
    }

    /// Names and contents in the order of the archive, read back without the code above.
    fn unpacked(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        let mut at = 0;
        loop {
            let header = &archive[at..at + 110];
            assert_eq!(&header[..6], b"070701");
            let field = |index: usize| {
                let digits = std::str::from_utf8(&header[6 + index * 8..14 + index * 8]).unwrap();
                u32::from_str_radix(digits, 16).unwrap()
            };
            let (size, name_size) =
                (usize::try_from(field(6)).unwrap(), usize::try_from(field(11)).unwrap());
            let name = std::str::from_utf8(&archive[at + 110..at + 110 + name_size - 1])
                .unwrap()
                .to_owned();
            let content = (at + 110 + name_size).next_multiple_of(4);
            at = (content + size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert_eq!(at, archive.len());
                return entries;
            }
            entries.push((name, field(1), archive[content..content + size].to_vec()));
        }
    }

    #[test]
    fn an_archive_holds_every_file_after_its_directory() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("lib/modules")).unwrap();
        fs::write(root.path().join("lib/modules/one.ko"), b"12345").unwrap();
        fs::write(root.path().join("init"), b"\x7fELF").unwrap();
        fs::set_permissions(root.path().join("init"), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(
            unpacked(&packed(root.path())),
            [
                ("init".to_owned(), PROGRAM, b"\x7fELF".to_vec()),
                ("lib".to_owned(), DIRECTORY, Vec::new()),
                ("lib/modules".to_owned(), DIRECTORY, Vec::new()),
                ("lib/modules/one.ko".to_owned(), FILE, b"12345".to_vec()),
            ]
        );
    }

    #[test]
    fn what_is_wanted_first_comes_first_with_the_directories_above_it() {
        let root = tempfile::tempdir().unwrap();
        for name in ["lib/ata/ahci", "lib/net/igb", "lib/net/phy/a", "lib/modules.dep"] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let mut archive = Vec::new();
        let first = ["/modules.", "/net/"].map(str::to_owned);
        pack(root.path(), &first, &mut archive).unwrap();
        let names: Vec<String> = unpacked(&archive).into_iter().map(|(name, ..)| name).collect();
        let expected = [
            "lib",
            "lib/modules.dep",
            "lib/net",
            "lib/net/igb",
            "lib/net/phy",
            "lib/net/phy/a",
            "lib/ata",
            "lib/ata/ahci",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn the_same_content_gives_the_same_bytes_whatever_was_written_first() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (root, names) in [(&one, ["a", "b", "c"]), (&other, ["c", "a", "b"])] {
            for name in names {
                fs::write(root.path().join(name), name).unwrap();
            }
        }
        fs::set_permissions(other.path().join("a"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(packed(one.path()), packed(other.path()));
    }

    #[test]
    fn a_link_is_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        symlink("init", root.path().join("sbin")).unwrap();
        let error = pack(root.path(), &[], io::sink()).unwrap_err();
        assert!(error.to_string().contains("sbin is neither directory nor file"), "{error}");
    }
}
