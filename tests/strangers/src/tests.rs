use std::{
    collections::BTreeSet,
    fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use super::*;

/// What the repository can bear, for each target.
const CORPUS_LIMIT_BYTES: usize = 200 * 1024;
const FILE_LIMIT_BYTES: usize = 64 * 1024;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{directory:?}: {error}"));
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn names(directory: &str) -> BTreeSet<String> {
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    entries(&fuzz().join(directory)).iter().map(stem).collect()
}

/// Runs a check, and names the input where it fails.
fn run(target: &Target, input: &[u8], which: &str) {
    let checked = panic::catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    assert!(checked.is_ok(), "{}: {which}", target.name);
}

#[test]
fn every_target_has_a_fuzzer_and_a_corpus() {
    let ours: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names("fuzz_targets"), ours);
    assert_eq!(names("corpus"), ours);
}

#[test]
fn what_fuzzers_found_holds_still() {
    for target in TARGETS {
        let mut size_bytes = 0;
        for path in entries(&fuzz().join("corpus").join(target.name)) {
            let input = fs::read(&path).unwrap();
            assert!(input.len() <= FILE_LIMIT_BYTES, "{path:?}");
            size_bytes += input.len();
            run(&target, &input, &path.display().to_string());
        }
        assert!((1..=CORPUS_LIMIT_BYTES).contains(&size_bytes), "{}: {size_bytes}", target.name);
    }
}

#[test]
fn every_truncation_of_every_seed_holds() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{}", target.name);
        for (number, seed) in seeds.iter().enumerate() {
            // Disks are long, and made of nothing for the most part.
            let step = seed.len() / 2000 + 1;
            for length in (0..seed.len()).step_by(step).chain([seed.len()]) {
                run(&target, &seed[..length], &format!("seed {number}, {length} bytes"));
            }
        }
    }
}
