//! What somebody may have put where `harbour` removes.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::{ffi::OsStrExt as _, fs::symlink, net::UnixListener},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use linux::{
    filesystem::{Mutability, exchange, set_mutability},
    rooted::Rooted,
};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::stat::{Mode as FileMode, SFlag, makedev, mkdirat, mknod},
};
use wipe::{
    Stopped,
    harbour::{
        List, Mode, Why, clean,
        list::{HOMES, RULES},
    },
};

use crate::{
    tree::{files, folders, harbour, put, walk},
    watch::Patience,
};

/// A root and, beside it, what must not change.
struct Place {
    _directory: tempfile::TempDir,
    root: std::path::PathBuf,
    outside: std::path::PathBuf,
}

impl Place {
    fn new() -> Self {
        Self::at(tempfile::tempdir().expect("a directory"))
    }

    /// Where no disk has to keep up, if there is such a place.
    fn in_memory() -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::at(directory.expect("a directory"))
    }

    fn at(directory: tempfile::TempDir) -> Self {
        let (root, outside) = (directory.path().join("root"), directory.path().join("outside"));
        fs::create_dir_all(&root).expect("a directory is made");
        for path in ["/a", "/syslog.1", "/x.sock", "/dir/b", "/dir/core.1", "/etc-hosts"] {
            put(&outside, path);
        }
        Self { _directory: directory, root, outside }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn make(&self, path: &str) -> std::path::PathBuf {
        let path = self.path(path);
        fs::create_dir_all(&path).expect("a directory is made");
        path
    }

    fn is_whole(&self, before: &std::collections::BTreeMap<String, (u32, u32, u32, Vec<u8>)>) {
        assert_eq!(&files(&self.outside), before);
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Says that something was left out; not where `CI=true`.
#[expect(clippy::print_stderr, reason = "who runs the tests should know what was left out")]
pub(crate) fn left_out(why: &str) {
    assert!(std::env::var_os("CI").is_none_or(|it| it != "true"), "cannot be left out: {why}");
    eprintln!("skipped: {why}");
}

/// Every path that a rule names, at every home, with wildcards filled.
fn named() -> Vec<String> {
    let mut paths = Vec::new();
    for rule in RULES {
        let home = HOMES.iter().find(|(home, _)| rule.path.starts_with(home));
        match home {
            Some((home, places)) => {
                paths.extend(places.iter().map(|place| rule.path.replace(home, place)));
            }
            None => paths.push(rule.path.to_owned()),
        }
    }
    paths.iter().map(|path| path.replace('*', "any")).collect()
}

#[test]
fn a_link_at_any_part_of_any_allowed_path_leads_nowhere() {
    let list = List::default();
    for path in named() {
        for (end, _) in path.match_indices('/').skip(1).chain([(path.len(), "")]) {
            let place = Place::new();
            let link = place.path(&path[..end]);
            fs::create_dir_all(link.parent().expect("a parent")).expect("a directory is made");
            // What is outside looks like all that the rule could want.
            let rest = path[end..].trim_start_matches('/');
            let inner = place.outside.join(rest);
            fs::create_dir_all(&inner).expect("a directory is made");
            for name in ["a", "syslog.1", "x.sock", "core.1", "etc-hosts", "cpu_manager_state"] {
                fs::write(inner.join(name), "kept").expect("a file is written");
            }
            symlink(&place.outside, &link).expect("a link is made");
            let before = files(&place.outside);
            let watch = Patience::endless();
            let (cleaned, _) = walk(&place.root, "/", &list, Mode::Remove, &watch);
            place.is_whole(&before);
            let named: Vec<_> = cleaned.left.iter().map(|left| left.why).collect();
            // A link in what another rule empties is removed itself.
            assert!(named.contains(&Why::Link) || !link.is_symlink(), "{path} {end} {cleaned:?}");
        }
    }
}

#[test]
fn links_in_what_is_emptied_are_removed_themselves() {
    let place = Place::new();
    let before = files(&place.outside);
    let tmp = place.make("/tmp/deep");
    symlink(&place.outside, tmp.join("directory")).expect("a link");
    symlink(place.outside.join("a"), tmp.join("file")).expect("a link");
    symlink("../../../outside", tmp.join("up")).expect("a link");
    symlink("loop", tmp.join("loop")).expect("a link");
    symlink("/", tmp.join("root")).expect("a link");
    let log = place.make("/var/log");
    symlink(place.outside.join("syslog.1"), log.join("syslog.1")).expect("a link");
    symlink(&place.outside, log.join("old.1")).expect("a link");
    let (cleaned, _) = harbour(&place.root, "/");
    place.is_whole(&before);
    assert_eq!(cleaned.total().others, 5);
    assert_eq!(fs::read_dir(place.path("/tmp")).expect("it stays").count(), 0);
    // Where single files are meant, links are none of them.
    assert_eq!(files(&log).len(), 2);
}

#[test]
fn a_hard_link_elsewhere_keeps_the_file_and_gives_up_no_room() {
    let place = Place::new();
    let tmp = place.make("/tmp");
    let big = place.outside.join("big");
    fs::write(&big, vec![9; 1 << 20]).expect("a file");
    fs::hard_link(&big, tmp.join("big")).expect("a link");
    fs::create_dir_all(place.path("/home")).expect("a directory");
    fs::hard_link(&big, place.path("/home/big")).expect("a link");
    let before = files(&place.outside);
    let (cleaned, _) = harbour(&place.root, "/");
    place.is_whole(&before);
    assert!(place.path("/home/big").exists() && !tmp.join("big").exists());
    assert_eq!((cleaned.total().files, cleaned.total().bytes), (1, 0));
}

#[test]
fn sockets_fifos_devices_and_odd_names_are_removed_without_being_opened() {
    let place = Place::new();
    let tmp = place.make("/tmp");
    let _listener = UnixListener::bind(tmp.join("socket")).expect("a socket");
    let _other =
        UnixListener::bind(place.make("/var/lib/kubelet/device-plugins").join("kubelet.sock"));
    // Opening it would wait for ever.
    nix::unistd::mkfifo(&tmp.join("fifo"), FileMode::from_bits_truncate(0o600)).expect("a fifo");
    let mut others = 2;
    if is_root() {
        // 4000 is nobody's: opening it would fail.
        mknod(&tmp.join("device"), SFlag::S_IFCHR, FileMode::empty(), makedev(4000, 1))
            .expect("a node");
        others += 1;
    }
    for name in
        [&b"\xff\xfe"[..], b"new\nline", b"\x1b[2J", b"-rf", b"*", b" ", b"...", &[b'n'; 255]]
    {
        fs::write(tmp.join(OsStr::from_bytes(name)), "x").expect("a file");
        fs::create_dir(
            tmp.join(OsStr::from_bytes(&name[..name.len().min(250)])).with_extension("d"),
        )
        .expect("a directory");
    }
    let (cleaned, removed) = harbour(&place.root, "/");
    assert_eq!(fs::read_dir(&tmp).expect("it stays").count(), 0);
    assert!(removed.contains(&b"/tmp/\xff\xfe"[..]));
    let tmp = cleaned.by_rule().find(|(rule, _)| rule.path == "/tmp").expect("it removed").1;
    assert_eq!((tmp.others, tmp.files, tmp.folders), (others, 8, 8));
    assert!(cleaned.left.is_empty(), "{:?}", cleaned.left);
    assert!(!place.path("/var/lib/kubelet/device-plugins/kubelet.sock").exists());
}

#[test]
fn what_is_immutable_stays_and_is_named() {
    let place = Place::new();
    let tmp = place.make("/tmp/a/b");
    let (file, folder) = (tmp.join("file"), place.make("/tmp/locked"));
    put(&place.root, "/tmp/a/b/file");
    put(&place.root, "/tmp/a/gone");
    put(&place.root, "/tmp/locked/inside");
    let locked: Vec<File> =
        [&file, &folder].iter().map(|path| File::open(path).expect("it is there")).collect();
    if locked.iter().any(|one| set_mutability(one, Mutability::Immutable).is_err()) {
        return left_out("nothing can be made immutable here");
    }
    let (cleaned, _) = harbour(&place.root, "/");
    for one in &locked {
        set_mutability(one, Mutability::Mutable).expect("it was possible before");
    }
    let mut left: Vec<_> = cleaned.left.iter().map(|left| (left.path.as_str(), left.why)).collect();
    left.sort_unstable();
    let expected = [("/tmp/a/b/file", Why::Unchangeable), ("/tmp/locked", Why::Unchangeable)];
    assert_eq!(left, expected);
    assert!(file.exists() && folder.join("inside").exists() && !place.path("/tmp/a/gone").exists());
}

#[test]
fn nothing_that_is_mounted_is_entered() {
    if !is_root() {
        return left_out("not root");
    }
    let place = Place::new();
    let before = files(&place.outside);
    thread::scope(|scope| {
        let run = || {
            // This thread, and nobody else.
            unshare(CloneFlags::CLONE_NEWNS).expect("root may");
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("root may");
            for path in
                ["/tmp/bound", "/var/tmp", "/var/lib/kubelet/pods/1/containers", "/var/log/x"]
            {
                let target = place.make(path);
                mount(Some(&place.outside), &target, none, MsFlags::MS_BIND, none)
                    .expect("root may");
            }
            let file = place.path("/tmp/file");
            fs::write(&file, "").expect("a file");
            mount(Some(&place.outside.join("a")), &file, none, MsFlags::MS_BIND, none)
                .expect("root may");
            let memory = place.make("/tmp/memory");
            mount(Some("none"), &memory, Some("tmpfs"), MsFlags::empty(), none).expect("root may");
            put(&memory, "/kept");
            put(&place.root, "/tmp/gone");
            let (cleaned, _) = harbour(&place.root, "/");
            assert!(memory.join("kept").exists() && !place.path("/tmp/gone").exists());
            assert!(cleaned.left.iter().all(|left| left.why == Why::Mount));
            assert_eq!(cleaned.left_count, 6, "{:?}", cleaned.left);
        };
        scope.spawn(run).join().expect("the story ends well");
    });
    place.is_whole(&before);
}

#[test]
fn a_directory_exchanged_for_a_link_under_the_walk_leads_nowhere() {
    let place = Place::new();
    for number in 0..40 {
        put(&place.outside, &format!("/many/{number}/file"));
    }
    let before = files(&place.outside);
    for _round in 0..6 {
        for number in 0..200 {
            put(&place.root, &format!("/tmp/trap/{number}/file"));
        }
        let (trap, link) = (place.path("/tmp/trap"), place.path("/link"));
        symlink(&place.outside, &link).expect("a link");
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let swapper = scope.spawn(|| {
                let mut swaps = 0_u64;
                while !is_over.load(Ordering::Relaxed) {
                    swaps += u64::from(exchange(&trap, &link).is_ok());
                }
                swaps
            });
            let list = List::default();
            for _ in 0..5 {
                walk(&place.root, "/", &list, Mode::Remove, &Patience::endless());
            }
            is_over.store(true, Ordering::Relaxed);
            swapper.join().expect("it only renames");
        });
        place.is_whole(&before);
        // Whatever stands there now.
        for path in [trap, link] {
            if path.is_symlink() {
                fs::remove_file(&path).expect("a link");
            } else if path.exists() {
                fs::remove_dir_all(&path).expect("a directory");
            }
        }
    }
}

#[test]
fn a_directory_moved_away_under_the_walk_ends_that_tree() {
    let place = Place::new();
    let before = files(&place.outside);
    put(&place.root, "/tmp/a/b/c/file");
    put(&place.root, "/tmp/a/b/d/file");
    let moved = place.outside.join("moved");
    let folder = Rooted::open(&place.root).and_then(|root| root.folder()).expect("a directory");
    let watch = Patience::endless();
    let cleaned = clean(&folder, b"/", &List::default(), Mode::Remove, &watch, &mut |removed| {
        // The first file goes: its tree is carried out of the root.
        if removed.path.ends_with(b"/file") && !moved.exists() {
            fs::rename(place.path("/tmp/a/b"), &moved).expect("both are on one filesystem");
        }
    });
    assert!(cleaned.left.iter().any(|left| left.why == Why::Changed), "{cleaned:?}");
    fs::remove_dir_all(&moved).expect("it was moved there");
    place.is_whole(&before);
}

#[test]
fn ten_thousand_levels_are_gone() {
    let place = Place::in_memory();
    let tmp = place.make("/tmp");
    let mut folder = std::os::fd::OwnedFd::from(File::open(&tmp).expect("it is there"));
    for _ in 0..10_000 {
        mkdirat(&folder, "deeper", FileMode::from_bits_truncate(0o755))
            .expect("a directory is made");
        folder = nix::fcntl::openat(
            &folder,
            "deeper",
            nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC,
            FileMode::empty(),
        )
        .expect("it was just made");
    }
    drop(folder);
    let root = Rooted::open(&place.root).and_then(|root| root.folder()).expect("a directory");
    let run = |mode| clean(&root, b"/", &List::default(), mode, &Patience::endless(), &mut |_| {});
    let (would, cleaned) = (run(Mode::Look), run(Mode::Remove));
    assert_eq!((would.total().folders, cleaned.total().folders), (10_000, 10_000));
    assert_eq!(fs::read_dir(&tmp).expect("it stays").count(), 0);
}

#[test]
fn a_hundred_thousand_files_are_gone_and_who_says_stop_is_heard() {
    let place = Place::in_memory();
    for folder in ["/tmp/a", "/tmp/b"] {
        let folder = place.make(folder);
        for number in 0..50_000 {
            File::create(folder.join(format!("{number}"))).expect("a file is made");
        }
    }
    let list = List::default();
    let (stopped, _) = walk(&place.root, "/", &list, Mode::Remove, &Patience::of(100));
    assert_eq!(stopped.stopped, Some(Stopped::Cancelled));
    let some = stopped.total().files;
    assert!((1..20_000).contains(&some), "{some}");
    let (cleaned, _) = walk(&place.root, "/", &list, Mode::Remove, &Patience::endless());
    assert_eq!(some + cleaned.total().files, 100_000);
    assert!(folders(&place.path("/tmp")).is_empty());
}

#[test]
fn where_the_system_mounts_another_filesystem_this_one_is_left() {
    let place = Place::new();
    for path in ["/var/tmp/shadowed", "/tmp/kept-by-fstab/swap", "/tmp/a/b", "/run/x"] {
        put(&place.root, path);
    }
    let list = List::new(&[b"/tmp/kept-by-fstab".to_vec()], &[b"/var".to_vec(), b"/".to_vec()]);
    let (cleaned, _) = walk(&place.root, "/", &list, Mode::Remove, &Patience::endless());
    let files: Vec<_> = files(&place.root).into_keys().collect();
    assert_eq!(files, ["/tmp/kept-by-fstab/swap", "/var/tmp/shadowed"]);
    assert_eq!(cleaned.left_count, 1);
    assert!(Path::new(&cleaned.left[0].path).starts_with("/tmp/kept-by-fstab"));
}
