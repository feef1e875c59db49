//! Layouts that the tools of this machine make on plain files, cleared, and looked at by libblkid. Those that need a
//! kernel's help are made in the workshop machine (`image/workshop/check-layouts`).
#![expect(clippy::disallowed_methods, reason = "the tools are what is asked")]

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::Path,
    process::{Command, Stdio},
};

use disk::PlainFile;
use wipe::{
    Unwatched,
    working::{Places, clear, plan, probe},
};

const MIB: u64 = 1 << 20;

/// Runs a tool; it has to succeed. Debian has some of them where only root looks.
fn run(program: &str, arguments: &[&str], file: &Path, input: &str) -> String {
    let mut command = Command::new(program);
    command.args(arguments).arg(file).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().expect("it is a pipe").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let words = String::from_utf8_lossy(&output.stderr);
    // blkid says with 2 that it found nothing.
    let is_well = output.status.success() || program == "blkid" && output.status.code() == Some(2);
    assert!(is_well, "{program} {arguments:?}: {words}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn make(path: &Path, size: u64) {
    File::create(path).and_then(|file| file.set_len(size)).expect("there is room");
}

/// Returns how many areas libblkid recognises something in.
fn seen(file: &Path, places: &Places) -> usize {
    let areas = places.areas.iter();
    let looks = areas.map(|area| {
        let place = [area.start, area.length].map(|number| number.to_string());
        run("blkid", &["-p", "-O", &place[0], "-S", &place[1]], file, "")
    });
    looks.filter(|look| !look.trim().is_empty()).count()
}

/// Wipes a file of some size that a test has laid out, and checks that libblkid saw something in so many areas before.
#[track_caller]
fn check(size: u64, expected: usize, lay_out: impl Fn(&Path)) {
    let directory = tempfile::tempdir().expect("there is a directory for such");
    let path = directory.path().join("disk");
    make(&path, size);
    lay_out(&path);
    let disk = PlainFile::open(&path, size, 512).expect("it is a file");
    let places = plan(&disk).expect("it has bytes");
    assert_eq!(seen(&path, &places), expected, "{:?}", places.areas);
    let cleared = clear(&disk, &places, &Unwatched::new());
    assert_eq!((cleared.bad, cleared.stopped), (vec![], None));
    let left = probe(&disk, &places);
    assert!(left.is_nothing(), "{left:?}");
    assert_eq!(seen(&path, &places), 0);
    assert_eq!(run("wipefs", &["--noheadings"], &path, ""), "");
}

/// `mkfs.ext4`, `mkfs.vfat` and `mkswap` into the three partitions of a table.
fn partitions(path: &Path, table: &str, starts: [u64; 3], at_512: [&str; 2]) {
    run("sfdisk", &["-q"], path, table);
    let blocks = (400 * MIB / 1024).to_string();
    let offset = format!("offset={}", starts[0]);
    // Its arguments go on behind the file's name.
    let file = path.to_str().expect("a temporary file has a plain name");
    run("mkfs.ext4", &["-q", "-F", "-b", "1024", "-E", &offset, file], Path::new(&blocks), "");
    let [offset, blocks] = at_512;
    run("mkfs.vfat", &["-F", "32", "--offset", offset, file], Path::new(blocks), "");
    // Older ones cannot make it inside a file.
    let swap = path.with_extension("swap");
    make(&swap, 64 * MIB);
    run("mkswap", &["-q"], &swap, "");
    let page = &fs::read(swap).expect("it was made")[..4096];
    let disk = File::options().write(true).open(path).expect("it was made");
    disk.write_all_at(page, starts[2]).expect("it is long enough");
}

#[test]
fn what_real_tools_leave_in_a_gpt_is_gone() {
    let table = "label: gpt\nstart=2048, size=400M\nsize=100M\nsize=64M\n";
    check(700 * MIB, 4, |path| {
        partitions(path, table, [MIB, 401 * MIB, 501 * MIB], ["821248", "102400"]);
    });
}

#[test]
fn what_real_tools_leave_in_logical_partitions_is_gone() {
    let table = "label: dos\nstart=2048, size=400M\nstart=821248, type=5\nstart=823296, size=100M\nstart=1030144, size=64M\n";
    check(700 * MIB, 4, |path| {
        partitions(path, table, [MIB, 402 * MIB, 503 * MIB], ["823296", "102400"]);
    });
}

#[test]
fn a_filesystem_on_a_whole_disk_is_gone() {
    check(600 * MIB, 1, |path| drop(run("mkfs.ext4", &["-q", "-F"], path, "")));
    check(600 * MIB, 1, |path| drop(run("mkswap", &["-q"], path, "")));
}
