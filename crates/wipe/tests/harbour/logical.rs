//! Logical volumes that LVM's own tools made, which need no device mapper for that.
#![expect(clippy::disallowed_methods, reason = "tests make their volumes with the stock tools")]

use std::{fs, path::Path, process::Command};

use linux::{block::Access, loop_device::Attached};
use nix::mount::{MsFlags, mount, umount};
use wipe::harbour::{Live, Mode, Window as _, volumes};

use crate::{
    live::{Disk, alone},
    tree::put,
};

const EXTENT: u64 = 4 << 20;

/// A group on the second partition of a disk.
struct Group {
    disk: Disk,
    device: Attached,
}

impl Group {
    fn lvm(&self, command: &str, arguments: &[&str]) -> String {
        let path = self.device.path().to_str().expect("a plain name");
        let output = Command::new("lvm")
            .args([command, "--driverloaded", "n", "--devices", path])
            .args(arguments)
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn new(volumes: &[(&str, &str)]) -> Self {
        let disk = Disk::new(&[(8, "boot"), (400, "lvm")]);
        let device = disk.attach(1);
        let group = Self { disk, device };
        let path = group.device.path().to_str().expect("a plain name").to_owned();
        group.lvm("pvcreate", &[&path]);
        group.lvm("vgcreate", &["-s", "4m", "dry-dock", &path]);
        for (name, size) in volumes {
            let arguments = ["-an", "-Wn", "-Zn", "-n", name, "-L", size, "dry-dock"];
            group.lvm("lvcreate", &arguments);
        }
        group
    }

    /// Where LVM itself says that a volume is on the disk.
    fn place(&self, name: &str) -> (u64, u64) {
        let plain = ["--noheadings", "--nosuffix", "--units", "b", "-o"];
        let volume = format!("dry-dock/{name}");
        let segment = self.lvm("lvs", &[&plain[..], &["seg_size,seg_pe_ranges", &volume]].concat());
        let (size, range) = segment.trim().split_once(' ').expect("two fields");
        let first = range.rsplit_once(':').and_then(|(_, range)| range.split('-').next());
        let first: u64 = first.and_then(|first| first.parse().ok()).expect("a range");
        let begin = self.lvm("pvs", &[&plain[..], &["pe_start"]].concat());
        let begin: u64 = begin.trim().parse().expect("a number");
        let start = self.disk.content().partitions[1].start;
        (start + begin + first * EXTENT, size.parse().expect("a number"))
    }

    /// The identities of the group and a volume, as the device mapper writes them.
    fn id(&self, name: &str) -> String {
        let volume = format!("dry-dock/{name}");
        let ids = self.lvm("lvs", &["--noheadings", "-o", "vg_uuid,lv_uuid", &volume]);
        ids.chars().filter(char::is_ascii_alphanumeric).collect()
    }

    /// Makes a filesystem on a volume, and puts something there.
    fn fill(&self, name: &str, work: impl FnOnce(&Path)) {
        let (start, size) = self.place(name);
        let device = self.disk.window(start, size, Access::Writable).expect("a loop device");
        let made = Command::new("mkfs.ext4").arg("-q").arg(device.path()).status();
        assert!(made.expect("it starts").success());
        let target = self.disk.directory.path().join("filled");
        fs::create_dir_all(&target).expect("a directory is made");
        let none = None::<&str>;
        mount(Some(device.path()), &target, Some("ext4"), MsFlags::empty(), none)
            .expect("root may");
        work(&target);
        umount(&target).expect("nobody uses it");
    }
}

#[test]
fn a_system_on_logical_volumes_is_cleaned_and_a_volume_in_two_pieces_is_left() {
    alone(|| {
        let sizes = [("root", "64m"), ("var-log", "32m"), ("tmp", "40m"), ("data", "32m")];
        let group = Group::new(&sizes);
        group.lvm("lvextend", &["-L", "+8m", "dry-dock/tmp"]);
        let id = group.id("var-log");
        group.fill("root", |root| {
            put(root, "/etc/os-release");
            let lines = [
                "/dev/mapper/dry--dock-root / ext4 x",
                &format!("/dev/disk/by-id/dm-uuid-LVM-{id} /var/log ext4 x"),
                "/dev/dry-dock/tmp /tmp ext4 x",
                "/dev/dry-dock/data /srv ext4 x",
            ];
            fs::write(root.join("etc/fstab"), lines.join("\n")).expect("room");
            put(root, "/run/gone");
            put(root, "/tmp/hidden");
        });
        group.fill("var-log", |root| put(root, "/syslog.1"));
        group.fill("data", |root| put(root, "/tmp/kept"));
        let places = ["root", "var-log", "data"].map(|name| group.place(name));
        let Group { disk, device } = group;
        drop(device);
        let live = Live::new(&disk, &disk.directory.path().join("mounted"));
        let (all, _) = volumes(&disk.content(), disk.size, &live);
        let found: Vec<_> = all.iter().map(|one| (one.start, one.size)).collect();
        assert_eq!(found, places);
        let report = disk.run(Mode::Remove);
        assert!(report.failures.is_empty(), "{report:?}");
        let cleaned: Vec<_> = report
            .filesystems
            .iter()
            .map(|one| (one.name.as_str(), one.cleaned.total().files))
            .collect();
        let expected =
            [("logical volume dry-dock/root", 1), ("logical volume dry-dock/var-log", 1)];
        assert_eq!(cleaned, expected);
        let codes: Vec<_> = report.notes.iter().map(|one| one.code.as_str()).collect();
        assert_eq!(codes, ["notLookedInto", "elsewhere"], "{report:?}");
    });
}
