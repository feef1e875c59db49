//! Files put into a real ext4 filesystem, on a loop device over a file.
#![expect(clippy::disallowed_methods, reason = "tests make their filesystem with the stock tool")]

use std::{fs, path::Path, process::Command};

use agent::installed::{compare, put};
use linux::{block::Access, loop_device::Attached};
use protocol::install::{InstalledFile, Secret};

#[test]
fn files_are_written_into_ext4_and_read_back() {
    if !Path::new("/dev/loop-control").exists() {
        assert!(std::env::var_os("CI").is_none(), "loop devices are needed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    let made = Command::new("mkfs.ext4").arg("-q").arg(&image).status().unwrap();
    assert!(made.success());
    let file = |path: &str, content: &str| InstalledFile {
        path: path.to_owned(),
        mode: 0o640,
        content: Secret(content.to_owned()),
    };
    let files =
        [file("/etc/motd", "first"), file("/deep/er/file", ""), file("/etc/motd", "ahoy\n")];
    let backing = fs::File::options().read(true).write(true).open(&image).unwrap();
    let target = directory.path().join("mounted");
    let attach = |access| Attached::attach(&backing, 0, 16 << 20, 512, access).unwrap();
    put(&attach(Access::Writable), "ext4", &target, &files).unwrap();
    compare(&attach(Access::ReadOnly), "ext4", &target, &files).unwrap();
    let changed = [file("/etc/motd", "ahoi\n")];
    let error = compare(&attach(Access::ReadOnly), "ext4", &target, &changed).unwrap_err();
    assert!(error.contains("/etc/motd reads back otherwise"), "{error}");
    let missing = [file("/etc/issue", "")];
    let error = compare(&attach(Access::ReadOnly), "ext4", &target, &missing).unwrap_err();
    assert!(error.contains("reading /etc/issue back"), "{error}");
    let error = put(&attach(Access::Writable), "ext4", &target, &[file("/deep", "")]).unwrap_err();
    assert!(error.contains("writing /deep"), "{error}");
    // Nothing is mounted any more.
    fs::remove_dir(&target).unwrap();
}

#[test]
fn what_is_no_filesystem_is_not_mounted() {
    if !Path::new("/dev/loop-control").exists() {
        assert!(std::env::var_os("CI").is_none(), "loop devices are needed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let backing = tempfile::tempfile().unwrap();
    backing.set_len(16 << 20).unwrap();
    let device = Attached::attach(&backing, 0, 16 << 20, 512, Access::Writable).unwrap();
    let error = put(&device, "ext4", &directory.path().join("mounted"), &[]).unwrap_err();
    assert!(error.contains("mounting the filesystem"), "{error}");
}
