//! Real filesystems, made with their own tools and mounted by the kernel from ranges of one disk.
#![expect(clippy::disallowed_methods, reason = "tests make their filesystems with the stock tools")]

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use linux::{block::Access, loop_device::Attached};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use wipe::harbour::{Filesystems as _, Live, Mode, MountError, Report, Window, candidates, run};

use crate::{
    attack::left_out,
    tree::{files, put},
    watch::Patience,
};

const MIB: u64 = 1 << 20;

/// A disk that is a file.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) directory: tempfile::TempDir,
    file: File,
    pub(crate) size: u64,
}

impl Window for Disk {
    fn window(&self, offset: u64, size: u64, access: Access) -> io::Result<Attached> {
        Attached::attach(&self.file, offset, size, 512, access)
    }
}

impl Disk {
    /// A disk with partitions of so many MiB, from the first MiB on, each with a name.
    pub(crate) fn new(partitions: &[(u64, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let size = partitions.iter().map(|(size, _)| size).sum::<u64>() * MIB + 2 * MIB;
        let path = directory.path().join("disk");
        let options = File::options().read(true).write(true).create_new(true).open(&path);
        let file = options.expect("a file is made");
        file.set_len(size).expect("it is sparse");
        let lines = partitions.iter().map(|(size, name)| format!("size={size}MiB, name={name}"));
        let table: Vec<_> = ["label: gpt".to_owned()].into_iter().chain(lines).collect();
        let mut child = Command::new("sfdisk")
            .args(["--quiet", "--no-reread", "--no-tell-kernel"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .expect("sfdisk starts");
        let mut input = child.stdin.take().expect("it is piped");
        writeln!(input, "{}", table.join("\n")).expect("it reads");
        drop(input);
        assert!(child.wait().expect("it ends").success());
        Self { directory, file, size }
    }

    pub(crate) fn content(&self) -> signature::Content {
        let mut file = self.file.try_clone().expect("a descriptor");
        signature::probe(&mut file, self.size, 512)
    }

    pub(crate) fn attach(&self, index: usize) -> Attached {
        let partition = &self.content().partitions[index];
        self.window(partition.start, partition.size, Access::Writable).expect("a loop device")
    }

    pub(crate) fn make(&self, index: usize, program: &str, arguments: &[&str]) {
        let device = self.attach(index);
        let output =
            Command::new(program).args(arguments).arg(device.path()).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Mounts a partition, lets somebody work in it, and unmounts it.
    pub(crate) fn fill(
        &self,
        index: usize,
        driver: &str,
        options: Option<&str>,
        work: impl FnOnce(&Path),
    ) {
        let device = self.attach(index);
        let target = self.directory.path().join("filled");
        fs::create_dir_all(&target).expect("a directory is made");
        mount(Some(device.path()), &target, Some(driver), MsFlags::empty(), options)
            .expect("root may");
        work(&target);
        nix::mount::umount(&target).expect("nobody uses it");
    }

    pub(crate) fn run(&self, mode: Mode) -> Report {
        let target = self.directory.path().join("mounted");
        let live = Live::new(self, &target);
        run(&self.content(), self.size, &live, mode, &Patience::endless())
    }

    /// What the whole disk is, byte by byte.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        fs::read(self.directory.path().join("disk")).expect("it is there")
    }

    /// Makes it these bytes; zeros take no room.
    pub(crate) fn lay(&self, bytes: &[u8]) {
        self.file.set_len(0).and_then(|()| self.file.set_len(self.size)).expect("room");
        let zeros = vec![0; 64 << 10];
        for (offset, piece) in (0..).step_by(zeros.len()).zip(bytes.chunks(zeros.len())) {
            if *piece != zeros[..piece.len()] {
                self.file.write_all_at(piece, offset).expect("room");
            }
        }
    }
}

/// Runs a story where mounts are nobody else's.
pub(crate) fn alone(story: impl FnOnce() + Send) {
    if !nix::unistd::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
        return left_out("not root, or no loop devices");
    }
    thread::scope(|scope| {
        let run = || {
            unshare(CloneFlags::CLONE_NEWNS).expect("root may");
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("root may");
            story();
        };
        scope.spawn(run).join().expect("the story ends well");
    });
}

pub(crate) fn knows(driver: &str) -> bool {
    let known = fs::read_to_string("/proc/filesystems").expect("the kernel says");
    let known = known.split_whitespace().any(|one| one == driver);
    if !known {
        left_out(&format!("this kernel has no {driver}"));
    }
    known
}

fn uuid(disk: &Disk, index: usize) -> String {
    disk.content().partitions[index].signatures[0].uuid.clone().expect("it has one")
}

#[test]
fn a_root_on_ext4_and_a_var_on_xfs_are_cleaned_and_read_back() {
    alone(|| {
        if !knows("ext4") || !knows("xfs") {
            return;
        }
        let disk = Disk::new(&[(64, "root"), (320, "var"), (32, "data")]);
        disk.make(0, "mkfs.ext4", &["-q"]);
        disk.make(1, "mkfs.xfs", &["-q"]);
        disk.make(2, "mkfs.ext4", &["-q"]);
        let var = uuid(&disk, 1);
        disk.fill(0, "ext4", None, |root| {
            put(root, "/etc/os-release");
            fs::write(root.join("etc/fstab"), format!("UUID={var} /var xfs x\n")).expect("room");
            for path in ["/tmp/gone", "/var/tmp/hidden", "/home/kept"] {
                put(root, path);
            }
        });
        disk.fill(1, "xfs", None, |root| {
            put(root, "/lib/etcd/member/snap/db");
            put(root, "/lib/kubelet/pods/1/volumes/kubernetes.io~empty-dir/v/kept");
            for number in 0..500 {
                put(root, &format!("/tmp/deep/{}/{number}", number % 7));
            }
            fs::write(root.join("tmp/big"), vec![1; 16 << 20]).expect("room");
        });
        disk.fill(2, "ext4", None, |root| put(root, "/tmp/data"));
        let before = disk.bytes();
        let would = disk.run(Mode::Look);
        assert!(disk.bytes() == before, "idle wrote");
        let report = disk.run(Mode::Remove);
        assert!(report.failures.is_empty() && report.notes.is_empty(), "{report:?}");
        let removed = |report: &Report| -> Vec<_> {
            report.filesystems.iter().map(|one| (one.at.clone(), one.cleaned.total())).collect()
        };
        assert_eq!(removed(&would), removed(&report));
        let filesystem = &report.filesystems[1];
        let (files_gone, freed) =
            (filesystem.cleaned.total().files, filesystem.free_after.expect("looked at again"));
        assert_eq!((filesystem.at.as_str(), files_gone), ("/var", 501));
        assert!(freed >= filesystem.free_before + (16 << 20), "{filesystem:?}");
        disk.fill(0, "ext4", None, |root| {
            let names: Vec<_> = files(root).into_keys().collect();
            let expected = ["/etc/fstab", "/etc/os-release", "/home/kept", "/var/tmp/hidden"];
            assert_eq!(names, expected);
        });
        disk.fill(1, "xfs", None, |root| {
            let names: Vec<_> = files(root).into_keys().collect();
            let volume = "/lib/kubelet/pods/1/volumes/kubernetes.io~empty-dir/v/kept";
            assert_eq!(names, ["/lib/etcd/member/snap/db", volume]);
        });
        disk.fill(2, "ext4", None, |root| assert!(root.join("tmp/data").exists()));
    });
}

#[test]
fn talos_partitions_on_xfs_keep_state_to_the_byte() {
    alone(|| {
        if !knows("xfs") {
            return;
        }
        let disk = Disk::new(&[(4, "META"), (320, "STATE"), (320, "EPHEMERAL")]);
        for index in [1, 2] {
            disk.make(index, "mkfs.xfs", &["-q"]);
            disk.fill(index, "xfs", None, |root| {
                for path in [
                    "/config.yaml",
                    "/log/pods/a/b/0.log",
                    "/lib/cni/networks/cbr0/10.0.0.1",
                    "/lib/etcd/db",
                ] {
                    put(root, path);
                }
            });
        }
        let state = &disk.content().partitions[1];
        let range = usize::try_from(state.start).expect("small")
            ..usize::try_from(state.start + state.size).expect("small");
        let before = disk.bytes()[range.clone()].to_vec();
        let report = disk.run(Mode::Remove);
        assert!(report.failures.is_empty(), "{report:?}");
        assert_eq!(report.filesystems.len(), 1);
        assert!(disk.bytes()[range] == before, "STATE was written to");
        disk.fill(2, "xfs", None, |root| {
            let names: Vec<_> = files(root).into_keys().collect();
            assert_eq!(names, ["/config.yaml", "/lib/etcd/db"]);
        });
    });
}

#[test]
fn a_btrfs_subvolume_below_what_is_emptied_is_not_entered() {
    alone(|| {
        if !knows("btrfs") {
            return;
        }
        let disk = Disk::new(&[(256, "root")]);
        disk.make(0, "mkfs.btrfs", &["-q"]);
        let own = uuid(&disk, 0);
        disk.fill(0, "btrfs", None, |top| {
            let subvolume = |path: &str| {
                let path = top.join(path);
                fs::create_dir_all(path.parent().expect("a parent")).expect("room");
                let output =
                    Command::new("btrfs").args(["subvolume", "create"]).arg(&path).output();
                assert!(output.expect("it starts").status.success());
            };
            for path in ["@", "@var", "@/tmp/mine", "@snapshots"] {
                subvolume(path);
            }
            for path in [
                "/@/etc/os-release",
                "/@/tmp/gone/x",
                "/@/tmp/mine/kept",
                "/@/tmp/y",
                "/@var/tmp/gone",
                "/@var/kept",
                "/@snapshots/tmp/kept",
                "/tmp/kept",
            ] {
                put(top, path);
            }
            let lines =
                format!("UUID={own} / btrfs subvol=@\nUUID={own} /var btrfs subvol=/@var\n");
            fs::write(top.join("@/etc/fstab"), lines).expect("room");
        });
        let report = disk.run(Mode::Remove);
        assert!(report.failures.is_empty(), "{report:?}");
        let words: Vec<_> = report.exceptions().into_iter().map(|one| one.words).collect();
        assert_eq!(
            words,
            ["partition 1, subvolume @: /tmp/mine is left: it is a subvolume of its own"]
        );
        disk.fill(0, "btrfs", Some("subvolid=5"), |top| {
            let names: Vec<_> = files(top).into_keys().collect();
            let expected = [
                "/@/etc/fstab",
                "/@/etc/os-release",
                "/@/tmp/mine/kept",
                "/@snapshots/tmp/kept",
                "/@var/kept",
                "/tmp/kept",
            ];
            assert_eq!(names, expected);
        });
    });
}

/// A copy of a filesystem that is mounted is one whose machine lost its power.
#[test]
fn an_unclean_filesystem_is_left_by_idle_and_repaired_by_harbour() {
    alone(|| {
        for (driver, make, size) in
            [("ext4", "mkfs.ext4", 64), ("xfs", "mkfs.xfs", 320), ("btrfs", "mkfs.btrfs", 256)]
        {
            if !knows(driver) {
                continue;
            }
            let disk = Disk::new(&[(size, "root")]);
            disk.make(0, make, &["-q"]);
            disk.fill(0, driver, None, |root| put(root, "/etc/os-release"));
            let mut crashed = Vec::new();
            disk.fill(0, driver, None, |root| {
                for number in 0..100 {
                    put(root, &format!("/tmp/{number}"));
                }
                // In the log, and nowhere else.
                for number in 0..100 {
                    File::open(root.join(format!("tmp/{number}")))
                        .and_then(|file| file.sync_all())
                        .expect("room");
                }
                crashed = disk.bytes();
            });
            fs::write(disk.directory.path().join("disk"), &crashed).expect("room");
            let content = disk.content();
            let target = disk.directory.path().join("mounted");
            let live = Live::new(&disk, &target);
            let (all, _) = candidates(&content, disk.size);
            let idle = live.mount(&all[0], None, Access::ReadOnly).map(drop);
            assert!(matches!(idle, Err(MountError::Unclean)), "{driver}: {idle:?}");
            let would = disk.run(Mode::Look);
            assert!(would.filesystems.is_empty());
            assert!(disk.bytes() == crashed, "{driver}: idle wrote");
            let report = disk.run(Mode::Remove);
            assert!(report.failures.is_empty(), "{driver}: {report:?}");
            assert_eq!(report.notes[0].code, "logReplayed");
            assert_eq!(report.filesystems[0].cleaned.total().files, 100, "{driver}");
        }
    });
}

#[test]
fn what_says_that_it_is_damaged_or_is_no_filesystem_is_not_mounted() {
    alone(|| {
        let disk = Disk::new(&[(64, "root")]);
        disk.make(0, "mkfs.ext4", &["-q"]);
        disk.fill(0, "ext4", None, |root| put(root, "/etc/os-release"));
        let content = disk.content();
        // `s_state`: not clean, with errors.
        let at = content.partitions[0].start + 1024 + 0x3a;
        disk.file.write_all_at(&[2, 0], at).expect("room");
        disk.file.sync_all().expect("room");
        let before = disk.bytes();
        let report = disk.run(Mode::Remove);
        assert!(report.filesystems.is_empty());
        assert!(report.notes[0].words.contains("has errors"), "{report:?}");
        assert!(disk.bytes() == before, "it was written to");
        // The superblock's start is all that is left of it.
        let zeros = vec![0; 1 << 20];
        std::os::unix::fs::FileExt::write_all_at(
            &disk.file,
            &zeros,
            content.partitions[0].start + 2048,
        )
        .expect("room");
        std::os::unix::fs::FileExt::write_all_at(&disk.file, &[1, 0], at).expect("room");
        disk.file.sync_all().expect("room");
        let report = disk.run(Mode::Remove);
        assert!(report.filesystems.is_empty());
        assert!(report.notes[0].words.contains("mounting it as ext4"), "{report:?}");
    });
}
