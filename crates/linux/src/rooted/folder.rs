//! A directory that is walked through by descriptors: one name at a time, never through a link, never into another
//! mount. What stands in it is looked at without being opened, and removed by its name in it.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
};

use nix::{
    NixPath,
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    libc,
    sys::{stat::Mode, statvfs::fstatvfs},
    unistd::{UnlinkatFlags, Whence, lseek64, syncfs, unlinkat},
};

/// No link is followed, not even the kernel's own, and no mount is crossed.
const RESOLVE: ResolveFlag = ResolveFlag::RESOLVE_NO_SYMLINKS
    .union(ResolveFlag::RESOLVE_NO_MAGICLINKS)
    .union(ResolveFlag::RESOLVE_NO_XDEV);

/// How many bytes of names are read at once: a hundred or so. A walk that comes back to a directory reads them again.
const BATCH_BYTES: usize = 8 << 10;

/// Linux, `include/uapi/linux/stat.h`: `STATX_BASIC_STATS`.
const BASIC: libc::c_uint = 0x7ff;
/// `STATX_ATTR_IMMUTABLE` and `STATX_ATTR_APPEND`.
const UNCHANGEABLE: u64 = 0x10 | 0x20;
/// `STATX_ATTR_MOUNT_ROOT`.
const MOUNT_ROOT: u64 = 0x2000;
/// The size of `struct statx`.
const FACTS_BYTES: usize = 256;

/// An open directory.
#[derive(Debug)]
pub struct Folder(OwnedFd);

/// Which file it is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The filesystem: on Btrfs the subvolume.
    pub device: (u32, u32),
    /// The inode's number in it.
    pub inode: u64,
}

/// What kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    Regular,
    /// A symbolic link.
    Link,
    /// A socket.
    Socket,
    /// A FIFO or a device node.
    Special,
}

/// What is known of a file without opening it (`statx`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Which.
    pub identity: Identity,
    /// What kind.
    pub kind: Kind,
    /// How many names it has; of a directory, what its filesystem says.
    pub names: u32,
    /// How much room it takes, in bytes.
    pub allocated_bytes: u64,
    /// Whether it is immutable or only grows, so that root neither changes nor removes it.
    pub is_unchangeable: bool,
    /// Whether something is mounted on it.
    pub is_mount: bool,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Any bytes but `/` and NUL; never `.` and `..`.
    pub name: OsString,
    /// Where the directory goes on after it.
    pub after: i64,
}

/// Some names in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entries {
    /// These, and perhaps more after the last.
    Some(Vec<Entry>),
    /// `.` and `..` only; the directory goes on here.
    Skip(i64),
    /// There are no more.
    End,
}

impl Folder {
    pub(super) fn open(directory: impl AsFd) -> io::Result<Self> {
        Self::at(directory, OsStr::new("."), ResolveFlag::RESOLVE_BENEATH)
    }

    /// Opens a directory in this one. `ELOOP` where a link stands, `EXDEV` where something is mounted, `ENOTDIR` where
    /// it is no directory. On Btrfs another subvolume opens: compare [`Identity::device`].
    pub fn enter(&self, name: &OsStr) -> io::Result<Self> {
        Self::at(&self.0, single(name)?, ResolveFlag::RESOLVE_BENEATH)
    }

    /// Opens the directory that this one is in at this moment: compare its [`identity`](Facts::identity) with what
    /// was expected. `EXDEV` where this is the root of a mount.
    pub fn parent(&self) -> io::Result<Self> {
        Self::at(&self.0, OsStr::new(".."), ResolveFlag::empty())
    }

    fn at(directory: impl AsFd, name: &OsStr, more: ResolveFlag) -> io::Result<Self> {
        // Without O_NOFOLLOW: the resolution refuses links, and says so.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let how = OpenHow::new().flags(flags).mode(Mode::empty()).resolve(RESOLVE | more);
        Ok(Self(openat2(directory, name, how)?))
    }

    /// Looks at this directory itself.
    pub fn facts(&self) -> io::Result<Facts> {
        self.statx(OsStr::new(""), libc::AT_EMPTY_PATH)
    }

    /// Looks at what stands under a name; a link is looked at itself.
    pub fn look(&self, name: &OsStr) -> io::Result<Facts> {
        self.statx(single(name)?, libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT)
    }

    /// Reads the next names from a position: 0, or [`Entry::after`] of an earlier one, also of another descriptor of
    /// the same directory (`lseek`, `getdents64`).
    pub fn entries(&self, position: i64) -> io::Result<Entries> {
        lseek64(&self.0, position, Whence::SeekSet)?;
        let mut bytes = vec![0; BATCH_BYTES];
        let (fd, length) = (self.0.as_raw_fd(), bytes.len());
        // SAFETY: `getdents64` writes at most `length` bytes, and `bytes` holds that many.
        let read = unsafe { libc::syscall(libc::SYS_getdents64, fd, bytes.as_mut_ptr(), length) };
        let read = usize::try_from(Errno::result(read)?).unwrap_or(0);
        if read == 0 {
            return Ok(Entries::End);
        }
        bytes.truncate(read);
        parse(&bytes).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Removes a name that is no directory's (`unlinkat`). Of a link the link, of a file with more names this name.
    pub fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, single(name)?, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Removes an empty directory (`unlinkat`, `AT_REMOVEDIR`). `ENOTEMPTY` where something is in it.
    pub fn remove_folder(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, single(name)?, UnlinkatFlags::RemoveDir)?)
    }

    /// Returns how many bytes of the filesystem are free (`fstatvfs`).
    pub fn free_bytes(&self) -> io::Result<u64> {
        let facts = fstatvfs(&self.0)?;
        Ok(facts.blocks_free().saturating_mul(facts.fragment_size()))
    }

    /// Returns when all of the filesystem is on its device (`syncfs`).
    pub fn sync(&self) -> io::Result<()> {
        Ok(syncfs(&self.0)?)
    }

    fn statx(&self, name: &OsStr, flags: libc::c_int) -> io::Result<Facts> {
        let mut bytes = [0_u8; FACTS_BYTES];
        let fd = self.0.as_raw_fd();
        let answer = name.with_nix_path(|name| {
            let (name, bytes) = (name.as_ptr(), bytes.as_mut_ptr());
            // SAFETY: `statx` reads a path that ends in NUL, which a `CStr` does, and writes one `struct statx`, for
            // which there is room; both live until it returns.
            unsafe { libc::syscall(libc::SYS_statx, fd, name, flags, BASIC, bytes) }
        })?;
        Errno::result(answer)?;
        Ok(facts(&bytes))
    }
}

/// A name of one file in a directory, and nothing else.
fn single(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.contains(&b'/') || bytes == b"." || bytes == b".." {
        return Err(Errno::EINVAL.into());
    }
    Ok(name)
}

fn word<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Linux, `include/uapi/linux/stat.h`, `struct statx`.
fn facts(bytes: &[u8; FACTS_BYTES]) -> Facts {
    let u64_at = |at| word(bytes, at).map_or(0, u64::from_ne_bytes);
    let u32_at = |at| word(bytes, at).map_or(0, u32::from_ne_bytes);
    let mode = word(bytes, 28).map_or(0, u16::from_ne_bytes);
    let attributes = u64_at(8);
    Facts {
        identity: Identity { device: (u32_at(136), u32_at(140)), inode: u64_at(32) },
        kind: match u32::from(mode) & libc::S_IFMT {
            libc::S_IFDIR => Kind::Directory,
            libc::S_IFREG => Kind::Regular,
            libc::S_IFLNK => Kind::Link,
            libc::S_IFSOCK => Kind::Socket,
            _ => Kind::Special,
        },
        names: u32_at(16),
        allocated_bytes: u64_at(48).saturating_mul(512),
        is_unchangeable: attributes & UNCHANGEABLE != 0,
        is_mount: attributes & MOUNT_ROOT != 0,
    }
}

/// Linux, `include/linux/dirent.h`, `struct linux_dirent64`: inode, position after it, length, type, name.
fn parse(mut bytes: &[u8]) -> Option<Entries> {
    let mut entries = Vec::new();
    let mut end = 0;
    while !bytes.is_empty() {
        end = i64::from_ne_bytes(word(bytes, 8)?);
        let length = usize::from(u16::from_ne_bytes(word(bytes, 16)?));
        let name = bytes.get(19..length)?;
        let name = name.split(|byte| *byte == 0).next()?;
        if single(OsStr::from_bytes(name)).is_ok() {
            entries.push(Entry { name: OsString::from_vec(name.to_vec()), after: end });
        }
        bytes = bytes.get(length..)?;
    }
    Some(if entries.is_empty() { Entries::Skip(end) } else { Entries::Some(entries) })
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        os::unix::{fs::symlink, net::UnixListener},
        path::Path,
    };

    use super::*;
    use crate::rooted::Rooted;

    fn folder(path: &Path) -> Folder {
        Rooted::open(path).unwrap().folder().unwrap()
    }

    fn names(folder: &Folder) -> BTreeSet<OsString> {
        let (mut names, mut position) = (BTreeSet::new(), 0);
        loop {
            match folder.entries(position).unwrap() {
                Entries::Some(entries) => {
                    position = entries.last().unwrap().after;
                    for entry in entries {
                        assert!(names.insert(entry.name), "twice");
                    }
                }
                Entries::Skip(after) => position = after,
                Entries::End => return names,
            }
        }
    }

    #[test]
    fn a_directory_is_read_in_pieces_and_from_where_another_descriptor_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let expected: BTreeSet<OsString> =
            (0..2000).map(|number| OsString::from(format!("file-{number}"))).collect();
        for name in &expected {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let odd = OsStr::from_bytes(b"\xff\n");
        fs::write(directory.path().join(odd), "").unwrap();
        let all = names(&folder(directory.path()));
        assert_eq!(all.len(), 2001);
        assert!(all.contains(odd) && expected.is_subset(&all));

        let (mut seen, mut position) = (0, 0);
        loop {
            match folder(directory.path()).entries(position).unwrap() {
                Entries::Some(entries) => {
                    // One at a time: what follows is read again.
                    position = entries[0].after;
                    seen += 1;
                }
                Entries::Skip(after) => position = after,
                Entries::End => break,
            }
        }
        assert_eq!(seen, 2001);
    }

    #[test]
    fn what_stands_there_is_known_without_opening_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("folder")).unwrap();
        fs::write(path("file"), [7; 5000]).unwrap();
        fs::hard_link(path("file"), path("again")).unwrap();
        symlink("/etc/passwd", path("link")).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        nix::unistd::mkfifo(&path("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
        let folder = folder(directory.path());
        let look = |name: &str| folder.look(OsStr::new(name)).unwrap();
        let kinds = ["folder", "file", "link", "socket", "fifo"].map(|name| look(name).kind);
        let expected = [Kind::Directory, Kind::Regular, Kind::Link, Kind::Socket, Kind::Special];
        assert_eq!(kinds, expected);
        assert_eq!(
            (look("file").names, look("folder").identity.device),
            (2, folder.facts().unwrap().identity.device)
        );
        assert!(look("file").allocated_bytes >= 4096);
        assert_eq!(look("file").identity, look("again").identity);
        assert!(!look("file").is_unchangeable && !look("folder").is_mount);
        assert!(folder.free_bytes().unwrap() > 0);
    }

    #[test]
    fn neither_a_link_nor_a_mount_nor_more_than_one_name_is_entered() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir_all(path("in/deeper")).unwrap();
        symlink("in", path("link")).unwrap();
        let top = folder(directory.path());
        let code = |name: &str| top.enter(OsStr::new(name)).unwrap_err().raw_os_error();
        assert_eq!(code("link"), Some(libc::ELOOP));
        for name in ["..", ".", "", "in/deeper", "/", "/etc"] {
            assert_eq!(code(name), Some(libc::EINVAL), "{name:?}");
            assert!(top.remove_file(OsStr::new(name)).is_err());
            assert!(top.remove_folder(OsStr::new(name)).is_err());
            assert!(top.look(OsStr::new(name)).is_err());
        }
        let inside = top.enter(OsStr::new("in")).unwrap();
        let back = inside.parent().unwrap();
        assert_eq!(back.facts().unwrap().identity, top.facts().unwrap().identity);
        // The kernel mounts these of itself.
        let root = folder(Path::new("/"));
        let error = root.enter(OsStr::new("proc")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EXDEV));
        assert!(root.look(OsStr::new("proc")).unwrap().is_mount);
        assert!(folder(Path::new("/proc")).parent().is_err());
    }

    #[test]
    fn a_name_is_removed_and_what_it_led_to_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir_all(path("full/er")).unwrap();
        fs::write(path("kept"), "kept").unwrap();
        fs::hard_link(path("kept"), path("again")).unwrap();
        symlink("kept", path("link")).unwrap();
        let top = folder(directory.path());
        for name in ["again", "link"] {
            top.remove_file(OsStr::new(name)).unwrap();
        }
        let full = top.remove_folder(OsStr::new("full")).unwrap_err();
        assert_eq!(full.raw_os_error(), Some(libc::ENOTEMPTY));
        assert!(top.remove_file(OsStr::new("full")).is_err());
        top.enter(OsStr::new("full")).unwrap().remove_folder(OsStr::new("er")).unwrap();
        top.remove_folder(OsStr::new("full")).unwrap();
        top.sync().unwrap();
        assert_eq!(names(&top), [OsString::from("kept")].into());
        assert_eq!(fs::read(path("kept")).unwrap(), b"kept");
    }

    #[test]
    fn cut_names_are_refused_and_never_panic() {
        let mut bytes = vec![0; 24];
        bytes[16] = 24;
        bytes[19..22].copy_from_slice(b"abc");
        let whole = parse(&bytes).unwrap();
        assert!(matches!(whole, Entries::Some(entries) if entries[0].name == "abc"));
        for length in 1..bytes.len() {
            assert_eq!(parse(&bytes[..length]), None, "{length}");
        }
        bytes[16] = 0;
        assert_eq!(parse(&bytes), None);
    }
}
