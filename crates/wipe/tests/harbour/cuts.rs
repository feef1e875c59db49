//! Power cuts at many points of what `harbour` does to real filesystems: what the kernel wrote is replayed up to a point,
//! and of what was not flushed by then any part is lost. The next boot ends it, and what was to stay is there.
//!
//! `DRYDOCK_POWER_CUTS` says how many points; `make soak` sets it to 1,000. `DRYDOCK_POWER_SEED` says which is the first.

use std::{collections::BTreeMap, fs::File, path::PathBuf, time::Duration};

use protocol::wipe::WipeStepKind;
use wipe::{
    Stopped, Watch,
    harbour::{Live, Mode, run},
};

use crate::{
    live::{Disk, alone, knows},
    medium::{Chance, Done, after_cut},
    recorder::Recorder,
    tree::{files, folders, put},
};

/// Filesystems count on 4 KiB being written whole: their superblocks have checksums, and one copy that they look at.
const WHOLE: usize = 4096;
const MANY: usize = 1200;

/// Has what was removed until now written, as the kernel does every few seconds: a wipe here takes less.
#[derive(Debug)]
struct Commits(PathBuf);

impl Watch for Commits {
    fn check(&self) -> Result<(), Stopped> {
        if self.0.join("etc").is_dir()
            && let Ok(root) = File::open(&self.0)
        {
            nix::unistd::syncfs(root).expect("it is written");
        }
        Ok(())
    }

    fn wait(&self, _: Duration) -> Result<(), Stopped> {
        Ok(())
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn journal(&self, _: WipeStepKind) -> Result<(), Stopped> {
        Ok(())
    }

    fn note(&self, _: WipeStepKind) {}

    fn progress(&self, _: u64, _: u64, _: u32) {}
}

fn told(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Not every container has it, where all else that these tests need is there.
#[expect(clippy::print_stderr, reason = "who runs the tests should know what was left out")]
fn without_fuse(error: &std::io::Error) {
    eprintln!("skipped: no filesystem in user space: {error}");
}

fn check(driver: &str, make: &str, mebibytes: u64, usual: u64, share: u64) {
    if !knows(driver) {
        return;
    }
    let disk = Disk::new(&[(mebibytes, "root")]);
    disk.make(0, make, &["-q"]);
    let mut stays = BTreeMap::new();
    disk.fill(0, driver, None, |root| {
        for path in ["/etc/os-release", "/home/kept", "/var/lib/etcd/member/snap/db", "/usr/bin/x"]
        {
            put(root, path);
        }
        for number in 0..MANY / 8 {
            put(root, &format!("/home/many/{number}"));
            put(root, &format!("/var/lib/etcd/member/wal/{number}.wal"));
        }
        stays = files(root);
        for number in 0..MANY {
            put(root, &format!("/tmp/deep/{}/{}/{number}", number % 3, number % 41));
            put(root, &format!("/var/tmp/{number}"));
        }
        for number in 0..MANY / 8 {
            put(root, &format!("/home/beside/{number}"));
        }
        stays.extend(files(root).into_iter().filter(|(path, _)| path.starts_with("/home/")));
    });
    let before = disk.bytes();
    let recorder = match Recorder::new(before.clone()) {
        Ok(recorder) => recorder,
        Err(error) => return without_fuse(&error),
    };
    let target = disk.directory.path().join("mounted");
    let live = Live::new(&recorder, &target);
    let report = run(&disk.content(), disk.size, &live, Mode::Remove, &Commits(target.clone()));
    assert!(report.failures.is_empty() && report.notes.is_empty(), "{report:?}");
    let log = recorder.log();
    drop(live);
    drop(recorder);
    let flushes = log.iter().filter(|done| matches!(done, Done::Flush)).count();
    assert!(flushes > 20 && log.len() > flushes, "{flushes} of {}", log.len());

    let first = told("DRYDOCK_POWER_SEED").unwrap_or(1);
    let points = told("DRYDOCK_POWER_CUTS").map_or(usual, |points| points.div_ceil(share));
    let mut was_half = 0;
    for seed in first..first + points {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let until = chance.below(log.len() + 1);
        let at = format!(
            "{driver}, after {until} of {}: DRYDOCK_POWER_SEED={seed} DRYDOCK_POWER_CUTS=1",
            log.len()
        );
        let bytes = after_cut(&before, &log, until, WHOLE, &mut chance);
        disk.lay(&bytes);
        drop(bytes);
        let report = disk.run(Mode::Remove);
        assert!(report.failures.is_empty(), "{at}: {report:?}");
        assert_eq!(report.filesystems.len(), 1, "{at}: {report:?}");
        let removed = report.filesystems[0].cleaned.total().files;
        was_half += u64::from(removed > 0 && removed < 2 * MANY as u64);
        disk.fill(0, driver, None, |root| {
            let found = files(root);
            let differs = |path: &&String| found.get(*path) != stays.get(*path);
            let different: Vec<_> = found.keys().chain(stays.keys()).filter(differs).collect();
            assert!(different.is_empty(), "{at}: {different:?}");
            let left = folders(root);
            assert!(left.contains("/tmp") && !left.contains("/tmp/deep"), "{at}: {left:?}");
        });
    }
    assert!(points < 10 || was_half > points / 4, "{was_half} of {points}");
}

#[test]
fn what_stays_on_ext4_stays_whenever_power_was_cut() {
    alone(|| check("ext4", "mkfs.ext4", 24, 6, 1));
}

#[test]
fn what_stays_on_xfs_and_btrfs_stays_whenever_power_was_cut() {
    alone(|| {
        check("xfs", "mkfs.xfs", 300, 2, 4);
        check("btrfs", "mkfs.btrfs", 112, 2, 4);
    });
}
