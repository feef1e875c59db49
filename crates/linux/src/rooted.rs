//! Files below a directory that others filled: no link leads out of it, no mount is crossed (`openat2`).

mod folder;

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2, renameat},
    sys::stat::{Mode, fchmod, mkdirat},
    unistd::{UnlinkatFlags, fsync, unlinkat},
};

pub use self::folder::{Entries, Entry, Facts, Folder, Identity, Kind};

/// Links below the root are followed as somebody sees them for whom it is `/`.
const RESOLVE: ResolveFlag = ResolveFlag::RESOLVE_IN_ROOT
    .union(ResolveFlag::RESOLVE_NO_MAGICLINKS)
    .union(ResolveFlag::RESOLVE_NO_XDEV);

/// What a file is called until all of it is there.
const UNFINISHED: &str = ".drydock-unfinished";

/// A directory that is taken for `/`.
#[derive(Debug)]
pub struct Rooted(OwnedFd);

/// A file as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What is in it.
    pub content: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner's number.
    pub owner: u32,
    /// Its group's number.
    pub group: u32,
}

impl Rooted {
    /// Opens the directory; a link there is not followed.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(Self(open(directory, flags, Mode::empty())?))
    }

    /// Puts a file in its place, whole or not at all, on the medium when this returns: `path` is absolute and without
    /// `.` and `..`. Directories that are missing are made (0755). What stands there is replaced: a link itself, not
    /// what it leads to. `EISDIR` where a directory stands.
    pub fn write(&self, path: &str, content: &[u8], mode: u32) -> io::Result<()> {
        let (parent, name) = path.rsplit_once('/').ok_or(Errno::EINVAL)?;
        let parent = self.directory(parent)?;
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        // What an earlier attempt left.
        match unlinkat(&parent, UNFINISHED, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let how = OpenHow::new().flags(flags).mode(Mode::from_bits_truncate(0o600));
        let mut file = File::from(openat2(&parent, UNFINISHED, how.resolve(RESOLVE))?);
        let written = file
            .write_all(content)
            .and_then(|()| Ok(fchmod(&file, Mode::from_bits_truncate(mode))?))
            .and_then(|()| file.sync_all())
            .and_then(|()| Ok(renameat(&parent, UNFINISHED, &parent, name)?));
        if written.is_err() {
            let _reported_already = unlinkat(&parent, UNFINISHED, UnlinkatFlags::NoRemoveDir);
            return written;
        }
        let directory = openat2(
            &parent,
            ".",
            OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC),
        )?;
        Ok(fsync(directory)?)
    }

    /// Reads a file, at most `limit` bytes of it. `ELOOP` where a link stands.
    pub fn read(&self, path: &str, limit: u64) -> io::Result<Standing> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let how = OpenHow::new().flags(flags).resolve(RESOLVE);
        let file = File::from(openat2(&self.0, path, how)?);
        let metadata = file.metadata()?;
        let mut content = Vec::new();
        file.take(limit).read_to_end(&mut content)?;
        Ok(Standing {
            content,
            mode: metadata.mode() & 0o7777,
            owner: metadata.uid(),
            group: metadata.gid(),
        })
    }

    /// Opens the directory itself for walking in it.
    pub fn folder(&self) -> io::Result<Folder> {
        Folder::open(&self.0)
    }

    /// Opens a directory, and makes what is missing of it.
    fn directory(&self, path: &str) -> io::Result<OwnedFd> {
        let mut current = self.enter("/")?;
        for (end, _) in path.match_indices('/').skip(1).chain([(path.len(), "")]) {
            let Some(so_far) = path.get(..end).filter(|path| !path.is_empty()) else { continue };
            current = match self.enter(so_far) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let name = so_far.rsplit('/').next().unwrap_or_default();
                    mkdirat(&current, name, Mode::from_bits_truncate(0o755))?;
                    self.enter(so_far)?
                }
                other => other?,
            };
        }
        Ok(current)
    }

    fn enter(&self, path: &str) -> io::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(openat2(self.0.as_fd(), path, OpenHow::new().flags(flags).resolve(RESOLVE))?)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::*;

    #[test]
    fn a_file_is_put_in_its_place_with_its_mode_and_missing_directories_are_made() {
        let directory = tempfile::tempdir().unwrap();
        let root = Rooted::open(directory.path()).unwrap();
        for content in ["first", "second"] {
            root.write("/etc/deep/er/file", content.as_bytes(), 0o640).unwrap();
            let standing = root.read("/etc/deep/er/file", 100).unwrap();
            assert_eq!((standing.content.as_slice(), standing.mode), (content.as_bytes(), 0o640));
        }
        assert_eq!(fs::read_dir(directory.path().join("etc/deep/er")).unwrap().count(), 1);
        root.write("/top", b"top", 0o600).unwrap();
        assert_eq!(fs::read(directory.path().join("top")).unwrap(), b"top");
    }

    #[test]
    fn no_link_leads_out_and_a_link_itself_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (inside, outside) = (directory.path().join("in"), directory.path().join("out"));
        fs::create_dir_all(inside.join("usr/lib")).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink("/usr/lib", inside.join("lib")).unwrap();
        symlink("../../out", inside.join("up")).unwrap();
        symlink(&outside, inside.join("away")).unwrap();
        symlink(outside.join("victim"), inside.join("link")).unwrap();
        fs::write(outside.join("victim"), "kept").unwrap();
        let root = Rooted::open(&inside).unwrap();
        root.write("/lib/file", b"1", 0o644).unwrap();
        assert_eq!(fs::read(inside.join("usr/lib/file")).unwrap(), b"1");
        root.write("/link", b"2", 0o644).unwrap();
        assert_eq!(fs::read(inside.join("link")).unwrap(), b"2");
        // Absolute links and those that climb end inside, where nothing of that name is.
        assert!(root.write("/up/file", b"3", 0o644).is_err());
        assert!(root.write("/away/file", b"3", 0o644).is_err());
        let names: Vec<_> =
            fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["victim"]);
        assert_eq!(fs::read(outside.join("victim")).unwrap(), b"kept");
    }

    #[test]
    fn a_directory_is_not_replaced_and_nothing_unfinished_stays() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("etc")).unwrap();
        let root = Rooted::open(directory.path()).unwrap();
        let error = root.write("/etc", b"1", 0o644).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(21));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        fs::set_permissions(directory.path().join("etc"), fs::Permissions::from_mode(0o755))
            .unwrap();
    }
}
