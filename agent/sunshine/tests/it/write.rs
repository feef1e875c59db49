//! What stands in the file, what is said, and what is left alone.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    server::Server,
    store::{self, MIB, disk, gzip, map, sha256},
};

const PATIENCE: Duration = Duration::from_mins(2);

fn sunshine() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sunshine"));
    command.args(["write", "-o", "json"]).stdin(Stdio::null());
    command
}

fn write(image: &str, target: &Path, more: &[&str]) -> Output {
    let mut command = sunshine();
    command.args(["--image", image, "--disk"]).arg(target).args(more);
    command.output().expect("the program starts")
}

#[track_caller]
fn succeeds(output: &Output) -> Value {
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words}");
    serde_json::from_slice(&output.stdout).expect("JSON comes on stdout")
}

#[track_caller]
fn fails(output: &Output, code: i32, reason: &str) -> Value {
    let value: Value = serde_json::from_slice(&output.stdout).expect("JSON comes on stdout");
    let words = value["failure"].as_str().expect("a failure has a reason");
    assert!(words.contains(reason), "{words}");
    assert_eq!(output.status.code(), Some(code), "{words}");
    assert!(String::from_utf8_lossy(&output.stderr).contains(words));
    value
}

/// A fresh directory, and a function for paths in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory is made"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), bytes).expect("a file is written");
        self.text(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("temporary names are text").to_owned()
    }
}

#[test]
fn an_image_of_any_kind_stands_in_the_file_byte_for_byte_and_the_guarantee_is_said() {
    let (place, bytes) = (Place::new(), disk(9 * MIB + 512));
    let pin = store::make(&place.path("store"), &bytes);
    let packed = gzip(&bytes);
    let digest = sha256(&packed);
    let (raw, gz, bmap) =
        (place.put("raw", &bytes), place.put("gz", packed), place.put("bmap", map(&bytes)));
    let store = place.text("store");
    let frames = place.text("store/frames");
    let cases: &[(&str, &[&str], &str)] = &[
        (&raw, &[], "length"),
        (&gz, &[], "format"),
        (&frames, &[], "format"),
        (&gz, &["--sha256", &digest], "digest"),
        (&gz, &["--bmap", &bmap], "ranges"),
        (&raw, &["--bmap", &bmap], "ranges"),
        (&gz, &["--bmap", &bmap, "--sha256", &digest], "ranges"),
        (&store, &[], "ranges"),
        (&store, &["--key", &pin], "signedChunks"),
    ];
    for (index, (image, more, guarantee)) in cases.iter().enumerate() {
        // A fresh one, one that is longer, one with something else in it.
        for (before, longer) in [(None, 0), (Some(0xff), 0), (Some(0xff), 3 * MIB)] {
            let target = place.path(&format!("target{index}"));
            fs::remove_file(&target).ok();
            let more = [more, ["--overwrite"].as_slice()].concat();
            if let Some(byte) = before {
                fs::write(&target, vec![byte; bytes.len() + longer]).expect("a file is written");
            }
            let value = succeeds(&write(image, &target, &more));
            assert_eq!(value["report"]["guarantee"], *guarantee, "{image}");
            let after = fs::read(&target).expect("the target is there");
            assert!(after[..bytes.len()] == bytes, "{image} {more:?}");
            assert_eq!(after.len(), (bytes.len() + longer), "{image}");
            // Where the backup of an old table would be.
            let end = &after[bytes.len().max(after.len() - MIB)..];
            assert!(end.iter().all(|byte| *byte == 0), "{image}: old content at the end");
            fs::remove_file(&target).expect("the target is there");
        }
    }
}

/// Has somebody else write into the program's standard input; what it does not take is lost.
fn piped(bytes: &[u8], target: &Path, more: &[&str]) -> Output {
    let mut command = sunshine();
    command.args(["--image", "-", "--disk"]).arg(target).args(more).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut pipe = child.stdin.take().expect("it was asked for");
    let bytes = bytes.to_vec();
    let sender = thread::spawn(move || pipe.write_all(&bytes).ok());
    let output = child.wait_with_output().expect("it is our child");
    sender.join().expect("it only writes");
    output
}

#[test]
fn an_image_from_standard_input_stands_in_the_file_and_a_cut_one_is_said() {
    let (place, bytes) = (Place::new(), disk(20 * MIB + 512));
    let (packed, target) = (gzip(&bytes), place.path("target"));
    let (digest, raw_digest) = (sha256(&packed), sha256(&bytes));
    let bmap = place.put("bmap", map(&bytes));
    let cases: &[(&[u8], &[&str], &str)] = &[
        (&packed, &[], "format"),
        (&packed, &["--sha256", &digest], "digest"),
        (&bytes, &["--sha256", &raw_digest], "digest"),
        (&packed, &["--bmap", &bmap], "ranges"),
        (&bytes, &["--bmap", &bmap], "ranges"),
    ];
    for (sent, more, guarantee) in cases {
        fs::remove_file(&target).ok();
        let value = succeeds(&piped(sent, &target, more));
        assert_eq!(value["report"]["guarantee"], *guarantee, "{more:?}");
        assert!(fs::read(&target).expect("it is there") == bytes, "{more:?}");
        fs::remove_file(&target).ok();
        let value = fails(&piped(&sent[..sent.len() - 9000], &target, more), 1, "");
        assert_eq!(value["touched"], true, "{more:?}: {value}");
        let start = fs::read(&target).expect("it is there");
        assert!(start.iter().take(MIB).all(|byte| *byte == 0), "{more:?}: it would boot");
    }
    fs::remove_file(&target).ok();
    for more in [[].as_slice(), &["--dry-run"]] {
        let value = fails(&piped(&bytes, &target, more), 1, "does not say where it ends");
        assert_eq!((&value["touched"], target.exists()), (&false.into(), false));
    }
    // A file says how long it is, in whatever it is given.
    let raw = place.put("raw", &bytes);
    let mut command = sunshine();
    command.args(["--image", "-", "--disk"]).arg(&target);
    command.stdin(fs::File::open(raw).expect("it was written"));
    let value = succeeds(&command.output().expect("the program starts"));
    assert_eq!(value["report"]["guarantee"], "length");
    assert!(fs::read(&target).expect("it is there") == bytes);
}

#[test]
fn a_second_run_writes_only_what_is_written_last() {
    let (place, bytes) = (Place::new(), disk(32 * MIB));
    store::make(&place.path("store"), &bytes);
    let target = place.path("target");
    succeeds(&write(&place.text("store"), &target, &[]));
    fails(&write(&place.text("store"), &target, &[]), 4, "has something in it");
    let value = succeeds(&write(&place.text("store"), &target, &["--overwrite"]));
    let written = value["report"]["progress"]["writtenBytes"].as_u64().expect("a number");
    assert!(written <= 2 << 20, "{value}");
    assert!(fs::read(&target).expect("it is there") == bytes);
}

#[test]
fn a_dry_run_touches_nothing() {
    let (place, bytes) = (Place::new(), disk(2 * MIB));
    let image = place.put("raw", &bytes);
    let target = place.path("target");
    let value = succeeds(&write(&image, &target, &["--dry-run"]));
    assert_eq!(value["dryRun"], true);
    assert!(!target.exists());
    fs::write(&target, [7; 5000]).expect("a file is written");
    fails(&write(&image, &target, &["--dry-run"]), 4, "has something in it");
    succeeds(&write(&image, &target, &["--dry-run", "--overwrite"]));
    assert_eq!(fs::read(&target).expect("it is there"), [7; 5000]);
}

#[test]
fn names_below_dev_links_and_unknown_disks_are_refused() {
    let place = Place::new();
    let image = place.put("raw", disk(MIB));
    std::os::unix::fs::symlink("/dev/null", place.path("link")).expect("a link is made");
    let link = place.text("link");
    // No device is touched if the check were missing: there is none of these names.
    for name in ["/dev/sdzz", "/dev/disk/by-id/none", "/dev/../dev/sdzz", &link, "sdzz", "S64"] {
        for more in [["--overwrite"].as_slice(), &["--overwrite", "--dry-run"]] {
            let value = fails(&write(&image, Path::new(name), more), 4, "");
            assert_eq!((&value["code"], &value["touched"]), (&"not-typed".into(), &false.into()));
        }
    }
}

#[test]
fn what_is_not_sound_never_becomes_bootable_and_is_named() {
    let (place, bytes) = (Place::new(), disk(9 * MIB));
    store::make(&place.path("store"), &bytes);
    let (packed, other) = (gzip(&bytes), "0".repeat(64));
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let frames = fs::read(place.path("store/frames")).expect("it was made");
    let manifest = fs::read(place.path("store/manifest")).expect("it was made");
    for (name, frames, manifest) in [
        ("frame", flipped(&frames, frames.len() / 2), manifest.clone()),
        ("signature", frames.clone(), flipped(&manifest, manifest.len() - 3)),
        ("short", frames[..frames.len() - 1].to_vec(), manifest.clone()),
        ("cut", frames.clone(), manifest[..manifest.len() - 1].to_vec()),
    ] {
        fs::create_dir(place.path(name)).expect("a directory is made");
        place.put(&format!("{name}/frames"), frames);
        place.put(&format!("{name}/manifest"), manifest);
    }
    let gz = place.put("gz", &packed);
    let raw = place.put("raw", &bytes);
    let bmap = place.put("bmap", map(&bytes));
    let cut = place.put("gz.cut", &packed[..packed.len() / 2]);
    let bad = place.put("gz.bad", flipped(&packed, packed.len() / 2));
    let page = place.put("page", "<!DOCTYPE html><html>not found</html>".repeat(40));
    let changed = place.put("changed", flipped(&bytes, 5 * MIB));
    let filled = place.put("filled", flipped(&bytes, 3 * MIB + 9));
    let longer = place.put("longer", [&bytes[..], &[0; 512]].concat());
    let broken = place.put("bmap.bad", map(&bytes).replacen("4096", "8192", 1));
    let [frame, signature, short, cut_manifest] =
        ["frame", "signature", "short", "cut"].map(|name| place.text(name));
    let cases: &[(&str, &[&str], &str)] = &[
        (&frame, &[], "arrives wrong"),
        (&signature, &["--key", &other], "not pinned"),
        (&short, &[], "the frames are"),
        (&cut_manifest, &[], "ends too early"),
        (&place.text("store"), &["--sha256", &other], "the SHA-256 of"),
        (&place.text("store"), &["--key", &other], "not pinned"),
        (&gz, &["--sha256", &other], "the file's SHA-256 is"),
        (&gz, &["--sha256", &other, "--bmap", &bmap], "the file's SHA-256 is"),
        (&cut, &[], "not sound"),
        (&bad, &[], "not sound"),
        (&page, &[], "HTML"),
        (&changed, &["--bmap", &bmap], "another digest"),
        (&filled, &["--bmap", &bmap], "not zeros"),
        (&longer, &["--bmap", &bmap], "bytes long"),
        (&raw, &["--bmap", &broken], "checksum is wrong"),
        (&place.text("nothing"), &[], "No such file"),
        (&place.text("store/nothing/manifest"), &[], "No such file"),
        ("/dev/zero", &[], "no regular file"),
    ];
    for (image, more, reason) in cases {
        let target = place.path("target");
        fs::remove_file(&target).ok();
        let value = fails(&write(image, &target, more), 1, reason);
        let start = fs::read(&target).unwrap_or_default();
        assert!(start.iter().take(MIB).all(|byte| *byte == 0), "{image}: it would boot");
        assert_eq!(value["touched"] == true, target.exists(), "{image}: {value}");
    }
    fails(&write(&raw, &place.path("target"), &["--key", &other]), 2, "--key");
}

#[test]
fn a_run_that_was_killed_is_taken_up_where_it_ended() {
    let (place, bytes) = (Place::new(), disk(48 * MIB));
    store::make(&place.path("store"), &bytes);
    let target = place.path("target");
    let first = Server::start(&place.path("store"), 30 << 20);
    let mut command = sunshine();
    command.args(["--image", &format!("{}/manifest", first.address), "--disk"]).arg(&target);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the program starts");
    let begun = Instant::now();
    let written = || {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(&target).map_or(0, |metadata| metadata.blocks() * 512)
    };
    while written() < 16 << 20 {
        assert!(begun.elapsed() < PATIENCE, "only {} bytes were written", written());
        assert_eq!(child.try_wait().expect("it is our child"), None, "it waits for the server");
        thread::park_timeout(Duration::from_millis(20));
    }
    child.kill().expect("it is our child");
    child.wait().expect("it is our child");
    let start = fs::read(&target).expect("the target is there");
    assert!(start.iter().take(MIB).all(|byte| *byte == 0), "half an image would boot");

    let second = Server::start(&place.path("store"), u64::MAX);
    let address = format!("{}/manifest", second.address);
    let value = succeeds(&write(&address, &target, &[]));
    assert!(fs::read(&target).expect("the target is there") == bytes);
    let unchanged = value["report"]["progress"]["unchangedBytes"].as_u64().expect("a number");
    assert!(unchanged >= 12 << 20, "{value}");
    assert!(second.sent() < 32 << 20, "{} bytes were fetched again", second.sent());
}

#[test]
fn a_full_filesystem_is_said_and_nothing_boots() {
    let (place, bytes) = (Place::new(), disk(9 * MIB));
    store::make(&place.path("store"), &bytes);
    place.put("gz", gzip(&bytes));
    fs::create_dir(place.path("full")).expect("a directory is made");
    for image in ["store", "gz"] {
        // The mount is gone with the namespace.
        let script = "mount -t tmpfs -o size=4m none full && \"$0\" write -o json --image \"$1\" --disk full/disk; code=$?; head -c 512 full/disk | tr -d '\\0' | wc -c >&2; exit $code";
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", script, env!("CARGO_BIN_EXE_sunshine"), image]);
        let output = command.current_dir(place.0.path()).output().expect("unshare starts");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.trim_end().ends_with("\n0"), "{words}");
        fails(&output, 1, "No space left");
    }
}
