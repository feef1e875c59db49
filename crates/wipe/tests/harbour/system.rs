//! Disks whose filesystems are directories: which of them belong to a system, and what is done to the others.

use std::{cell::RefCell, collections::BTreeMap, fs, io, path::PathBuf};

use linux::{block::Access, rooted::Rooted};
use protocol::wipe::Ended;
use signature::{Content, Partition, Signature};
use wipe::{
    Stopped,
    harbour::{Candidate, Filesystems, Mode, MountError, Mounted, Report, run},
};

use crate::{
    tree::{files, put},
    watch::Patience,
};

const GIB: u64 = 1 << 30;

/// A disk whose partitions' filesystems are directories.
#[derive(Debug)]
struct Disk {
    directory: tempfile::TempDir,
    content: Content,
    /// How often each was mounted, and how.
    mounts: RefCell<Vec<(String, Access)>>,
    unclean: RefCell<Vec<String>>,
    damaged: Vec<String>,
}

impl Disk {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
            content: Content::default(),
            mounts: RefCell::default(),
            unclean: RefCell::default(),
            damaged: Vec::new(),
        }
    }

    /// Adds a partition whose filesystem has the UUID `fs-NUMBER`, with these files.
    fn partition(&mut self, number: u32, kind: &'static str, files: &[&str]) -> &mut Partition {
        let signature =
            Signature { kind, uuid: Some(format!("fs-{number}")), ..Signature::default() };
        self.content.partitions.push(Partition {
            number,
            start: u64::from(number) * GIB,
            size: GIB,
            kind: "0fc63daf-8483-4772-8e79-3d69d8477de4".to_owned(),
            uuid: Some(format!("part-{number}")),
            signatures: vec![signature],
            ..Partition::default()
        });
        let root = self.root(number);
        fs::create_dir_all(&root).expect("a directory is made");
        for path in files {
            put(&root, path);
        }
        self.content.partitions.last_mut().expect("just put there")
    }

    fn root(&self, number: u32) -> PathBuf {
        self.directory.path().join(format!("partition {number}"))
    }

    fn fstab(&self, number: u32, lines: &str) {
        put(&self.root(number), "/etc/os-release");
        fs::write(self.root(number).join("etc/fstab"), lines).expect("a file is written");
    }

    fn run(&self, mode: Mode) -> Report {
        run(&self.content, 64 * GIB, self, mode, &Patience::endless())
    }

    /// What is there now, by partition and path.
    fn all(&self) -> Vec<String> {
        files(self.directory.path()).into_keys().filter(|path| !path.contains("/etc/")).collect()
    }
}

#[derive(Debug)]
struct Open(PathBuf);

impl Mounted for Open {
    fn root(&self) -> io::Result<Rooted> {
        Rooted::open(&self.0)
    }

    fn end(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

impl Filesystems for Disk {
    fn mount<'f>(
        &'f self,
        candidate: &Candidate,
        subvolume: Option<&str>,
        access: Access,
    ) -> Result<Box<dyn Mounted + 'f>, MountError> {
        if self.damaged.contains(&candidate.name) {
            return Err(MountError::Damaged);
        }
        if self.unclean.borrow().contains(&candidate.name) {
            if access == Access::ReadOnly {
                return Err(MountError::Unclean);
            }
            self.unclean.borrow_mut().retain(|name| *name != candidate.name);
        }
        let mut root = self.directory.path().join(&candidate.name);
        root.extend(subvolume);
        if !root.is_dir() {
            let (driver, source) = (candidate.driver, io::ErrorKind::NotFound.into());
            return Err(MountError::Mount { driver, source });
        }
        self.mounts.borrow_mut().push((candidate.name.clone(), access));
        Ok(Box::new(Open(root)))
    }
}

fn codes(report: &Report) -> BTreeMap<String, usize> {
    let mut codes = BTreeMap::new();
    for exception in report.exceptions() {
        *codes.entry(exception.code).or_default() += 1;
    }
    codes
}

#[test]
fn a_var_of_its_own_is_found_by_fstab_and_what_it_hides_stays() {
    let mut disk = Disk::new();
    disk.partition(1, "vfat", &["/tmp/efi"]);
    disk.partition(2, "ext4", &["/tmp/gone", "/var/tmp/hidden", "/home/x"]);
    disk.partition(
        3,
        "xfs",
        &["/tmp/gone", "/log/syslog.1", "/lib/etcd/db", "/lib/kubelet/cpu_manager_state"],
    );
    disk.partition(4, "ext4", &["/tmp/data", "/log/syslog.1"]);
    disk.partition(5, "swap", &["/tmp/x"]);
    disk.fstab(2, "UUID=FS-2 / ext4 x\nPARTUUID=part-3 /var xfs x\nUUID=fs-4 /srv ext4 x\nUUID=fs-5 none swap x");
    let before = disk.all();
    let would = disk.run(Mode::Look);
    assert_eq!(disk.all(), before);
    assert!(disk.mounts.borrow().iter().all(|(_, access)| *access == Access::ReadOnly));
    let report = disk.run(Mode::Remove);
    let expected = [
        "/partition 1/tmp/efi",
        "/partition 2/home/x",
        "/partition 2/var/tmp/hidden",
        "/partition 3/lib/etcd/db",
        "/partition 4/log/syslog.1",
        "/partition 4/tmp/data",
        "/partition 5/tmp/x",
    ];
    assert_eq!(disk.all(), expected);
    assert!(report.exceptions().is_empty(), "{:?}", report.exceptions());
    let at: Vec<_> =
        report.filesystems().iter().map(|one| (one.name.clone(), one.mounted_at.clone())).collect();
    let expected = [("partition 2", "/"), ("partition 3", "/var")];
    assert_eq!(at, expected.map(|(name, at)| (name.to_owned(), at.to_owned())));
    let files = |report: &Report| -> u64 {
        report.filesystems().iter().flat_map(|one| &one.removed).map(|rule| rule.files).sum()
    };
    assert_eq!((files(&would), files(&report)), (4, 4));
    assert!(report.filesystems.iter().all(|one| one.free_after.is_some()));
    assert_eq!(report.technique(7).ended, Ended::Done);
    // Nothing is mounted for writing but what is cleaned.
    let written: Vec<_> = disk
        .mounts
        .borrow()
        .iter()
        .filter(|(_, access)| *access == Access::Writable)
        .map(|(name, _)| name.clone())
        .collect();
    assert_eq!(written, ["partition 2", "partition 3"]);
}

#[test]
fn of_talos_only_ephemeral_is_cleaned() {
    let mut disk = Disk::new();
    for (number, name, kind) in [
        (1, "EFI", "vfat"),
        (3, "BOOT", "xfs"),
        (4, "META", "talosmeta"),
        (5, "STATE", "xfs"),
        (6, "EPHEMERAL", "xfs"),
        (7, "u-data", "xfs"),
    ] {
        let files = ["/tmp/x", "/log/pods/a/b/0.log", "/lib/etcd/member/snap/db", "/config.yaml"];
        disk.partition(number, kind, &files).name = Some(name.to_owned());
    }
    let before = disk.all();
    let report = disk.run(Mode::Remove);
    let expected: Vec<_> = before
        .into_iter()
        .filter(|path| {
            !path.starts_with("/partition 6/") || path.ends_with("db") || path.ends_with("yaml")
        })
        .collect();
    assert_eq!(disk.all(), expected);
    assert_eq!((report.filesystems.len(), report.filesystems[0].at.as_str()), (1, "/var"));
    // A partition of that name without the rest of Talos is anybody's.
    let mut disk = Disk::new();
    disk.partition(1, "xfs", &["/tmp/x"]).name = Some("EPHEMERAL".to_owned());
    let report = disk.run(Mode::Remove);
    assert_eq!(disk.all(), ["/partition 1/tmp/x"]);
    assert_eq!(codes(&report), [("noSystem".to_owned(), 1)].into());
}

#[test]
fn a_partition_type_says_where_it_is_mounted() {
    let mut disk = Disk::new();
    disk.partition(1, "ext4", &["/a", "/lost+found/b"]).kind =
        "7ec6f557-3bc5-4aca-b293-16ef5df639d1".to_owned();
    disk.partition(2, "ext4", &["/tmp/a", "/lib/x"]).kind =
        "4d21b016-b534-45c2-a9fb-5c16e091fd2d".to_owned();
    disk.run(Mode::Remove);
    assert_eq!(disk.all(), ["/partition 1/lost+found/b", "/partition 2/lib/x"]);
}

#[test]
fn a_copy_of_a_system_is_data() {
    let mut disk = Disk::new();
    for number in [1, 2, 3] {
        disk.partition(number, "ext4", &["/tmp/x"]);
    }
    disk.fstab(1, "UUID=fs-1 / ext4 x");
    disk.fstab(2, "UUID=fs-1 / ext4 x");
    disk.fstab(3, "UUID=of-another-machine / ext4 x");
    let report = disk.run(Mode::Remove);
    assert_eq!(disk.all(), ["/partition 2/tmp/x", "/partition 3/tmp/x"]);
    assert_eq!(codes(&report), [("copyLeft".to_owned(), 2)].into());
}

#[test]
fn what_fstab_uses_as_a_file_or_mounts_from_elsewhere_stays() {
    let mut disk = Disk::new();
    disk.partition(
        1,
        "ext4",
        &[
            "/tmp/x",
            "/var/tmp/swapfile",
            "/var/tmp/bound/data",
            "/var/tmp/x",
            "/var/log/a.1",
            "/run/x",
        ],
    );
    disk.partition(2, "ext4", &["/x"]);
    disk.partition(3, "ext4", &["/x"]).signatures[0].uuid = Some("fs-2".to_owned());
    disk.fstab(
        1,
        "LABEL=unknown /boot ext4 x\n/var/tmp/swapfile none swap sw\n/var/tmp/bound /home none bind\n\
         /dev/sdb1 /var/log ext4 x\nUUID=fs-2 /tmp ext4 x\ntmpfs /run tmpfs x",
    );
    let report = disk.run(Mode::Remove);
    let expected = [
        "/partition 1/run/x",
        "/partition 1/tmp/x",
        "/partition 1/var/log/a.1",
        "/partition 1/var/tmp/bound/data",
        "/partition 1/var/tmp/swapfile",
        "/partition 2/x",
        "/partition 3/x",
    ];
    assert_eq!(disk.all(), expected);
    let expected = [("ambiguous", 1), ("elsewhere", 1), ("left", 2)];
    assert_eq!(codes(&report), expected.map(|(code, count)| (code.to_owned(), count)).into());
}

#[test]
fn what_two_systems_share_is_left() {
    let mut disk = Disk::new();
    for number in [1, 2, 3] {
        disk.partition(number, "ext4", &["/x"]);
    }
    put(&disk.root(1), "/tmp/x");
    disk.fstab(1, "UUID=fs-1 / ext4 x\nUUID=fs-3 /tmp ext4 x");
    disk.fstab(2, "UUID=fs-2 / ext4 x\nUUID=fs-3 /var/tmp ext4 x");
    let report = disk.run(Mode::Remove);
    assert!(disk.root(3).join("x").exists());
    assert_eq!(codes(&report), [("ambiguous".to_owned(), 2)].into());
}

#[test]
fn subvolumes_are_cleaned_as_they_are_mounted() {
    let mut disk = Disk::new();
    disk.partition(
        1,
        "btrfs",
        &[
            "/@/tmp/x",
            "/@/etc/os-release",
            "/@/home/x",
            "/@var/tmp/x",
            "/@var/lib/x",
            "/@snapshots/1/tmp/x",
            "/tmp/top",
        ],
    );
    let fstab = "UUID=fs-1 / btrfs subvol=/@\nUUID=fs-1 /var btrfs subvol=@var,x\nUUID=fs-1 /home btrfs subvol=@home";
    fs::write(disk.root(1).join("@/etc/fstab"), fstab).expect("a file is written");
    let report = disk.run(Mode::Remove);
    let expected = [
        "/partition 1/@/home/x",
        "/partition 1/@snapshots/1/tmp/x",
        "/partition 1/@var/lib/x",
        "/partition 1/tmp/top",
    ];
    assert_eq!(disk.all(), expected);
    let names: Vec<_> = report.filesystems.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["partition 1, subvolume @", "partition 1, subvolume @var"]);
}

#[test]
fn layers_and_doubtful_filesystems_are_not_mounted() {
    let mut disk = Disk::new();
    for (number, kind) in [(1, "luks2"), (2, "md-1.2"), (3, "zfs"), (4, "ext4"), (5, "ext4")] {
        disk.partition(number, kind, &["/tmp/x", "/etc/os-release"]);
    }
    let more = Signature { kind: "xfs", ..Signature::default() };
    disk.content.partitions[3].signatures.push(more);
    let below = Signature { kind: "lvm2", ..Signature::default() };
    disk.content.partitions[4].signatures.push(below);
    let report = disk.run(Mode::Remove);
    assert!(disk.mounts.borrow().is_empty());
    let codes = codes(&report);
    assert_eq!((codes["notLookedInto"], codes["noSystem"]), (5, 1), "{:?}", report.exceptions());
}

#[test]
fn an_unclean_filesystem_is_repaired_by_harbour_and_left_by_idle() {
    let mut disk = Disk::new();
    disk.partition(1, "ext4", &["/tmp/x"]);
    disk.fstab(1, "");
    disk.unclean.borrow_mut().push("partition 1".to_owned());
    let report = disk.run(Mode::Look);
    let expected = [("noSystem", 1), ("notLookedInto", 1)];
    assert_eq!(codes(&report), expected.map(|(code, count)| (code.to_owned(), count)).into());
    assert!(disk.mounts.borrow().is_empty());
    let report = disk.run(Mode::Remove);
    assert_eq!(codes(&report), [("logReplayed".to_owned(), 1)].into());
    assert_eq!(disk.all(), [""; 0]);
}

#[test]
fn a_damaged_filesystem_is_left_and_the_others_are_cleaned() {
    let mut disk = Disk::new();
    for number in [1, 2] {
        disk.partition(number, "ext4", &["/tmp/x"]);
        disk.fstab(number, "");
    }
    disk.damaged.push("partition 1".to_owned());
    let report = disk.run(Mode::Remove);
    assert_eq!(disk.all(), ["/partition 1/tmp/x"]);
    assert_eq!(codes(&report), [("notLookedInto".to_owned(), 1)].into());
}

#[test]
fn who_says_stop_is_told_what_was_done_until_then() {
    let mut disk = Disk::new();
    for number in [1, 2] {
        disk.partition(number, "ext4", &[]);
        for file in 0..300 {
            put(&disk.root(number), &format!("/tmp/{file}"));
        }
        disk.fstab(number, "");
    }
    let report = run(&disk.content, 64 * GIB, &disk, Mode::Remove, &Patience::of(4));
    assert_eq!(report.stopped, Some(Stopped::Cancelled));
    let technique = report.technique(1);
    assert_eq!(
        (technique.ended, technique.reason.as_deref()),
        (Ended::Failed, Some("it was cancelled"))
    );
    let removed: u64 = report.filesystems[0].cleaned.total().files;
    assert!((1..300).contains(&removed), "{removed}");
    assert_eq!(u64::try_from(disk.all().len()).expect("a few"), 600 - removed);
}
