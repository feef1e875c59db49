//! What may stand in which source file.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Beyond this, a file has a seam (STYLE: 300 ideal, 500 look for it).
const LINES_LIMIT: usize = 600;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// A source file of ours: its path from the top, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Lines that are no comment, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text.lines().enumerate().map(|(number, line)| (number + 1, line));
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// Every Rust file of ours.
fn sources() -> Vec<Source> {
    let top = top();
    let mut sources = Vec::new();
    let mut directories: Vec<PathBuf> =
        ["agent", "crates", "image", "server", "tests"].iter().map(|name| top.join(name)).collect();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // A fuzzer's own build directory is none of ours.
                if path.file_name().unwrap() != "target" {
                    directories.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned();
                sources.push(Source { path, text });
            }
        }
    }
    assert!(sources.len() > 10, "the sources are somewhere else");
    sources
}

/// Fails with every place where code, not a comment, contains one of the words, except where it may.
fn nowhere(words: &[&str], except: impl Fn(&str) -> bool) {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !except(&source.path)) {
        for (number, line) in source.code() {
            if words.iter().any(|word| line.contains(word)) {
                wrong.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_crate_but_linux_and_the_unpacker_forbids_unsafe_code() {
    let mut wrong = Vec::new();
    for source in sources() {
        let is_root = source.path.ends_with("/src/lib.rs") || source.path.ends_with("/src/main.rs");
        // The one speaks to the kernel, the other runs before there is one.
        let may_be_unsafe = ["crates/linux/", "image/unpacker/"];
        if !is_root || may_be_unsafe.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        let first = source.code().map(|(_, line)| line.trim()).find(|line| !line.is_empty());
        if first != Some("#![forbid(unsafe_code)]") {
            wrong.push(source.path);
        }
    }
    assert!(wrong.is_empty(), "these do not begin with `#![forbid(unsafe_code)]`: {wrong:#?}");
}

#[test]
fn nothing_that_is_shipped_runs_a_program() {
    let is_test = |path: &str| path.starts_with("tests/") || path.contains("/tests/");
    nowhere(&["Command::new(", "process::Command"], is_test);
}

#[test]
fn only_hardware_knows_tinkerbell() {
    let knows = |path: &str| {
        path.starts_with("server/src/hardware")
            || path.starts_with("tests/")
            || path.contains("/tests/")
    };
    nowhere(&["tinkerbell", "Tinkerbell"], knows);
}

#[test]
fn the_wire_dhcp_messages_and_lists_of_modules_do_no_io() {
    let pure = ["crates/protocol/src", "crates/dhcp/src", "crates/modules/src"];
    let other = |path: &str| !pure.iter().any(|directory| path.starts_with(directory));
    let doors = [
        "std::fs",
        "std::process",
        "std::thread",
        "UdpSocket",
        "TcpStream",
        "SystemTime::now",
        "Instant::now",
    ];
    nowhere(&doors, other);
}

#[test]
fn modules_are_files_of_their_own_name() {
    let wrong: Vec<_> =
        sources().into_iter().map(|s| s.path).filter(|path| path.ends_with("/mod.rs")).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn no_file_is_longer_than_a_person_reads() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > LINES_LIMIT {
            wrong.push(format!("{}: {lines} lines", source.path));
        }
    }
    assert!(wrong.is_empty(), "look for the seam: {wrong:#?}");
}
