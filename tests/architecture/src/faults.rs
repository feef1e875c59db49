//! The tables of faults in docs/ name tests that exist.

use std::{collections::BTreeSet, fs, path::Path};

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("it is in the repository")
}

/// The tests of a crate below `crates`, as `crate::name`; those that properties are tested with stand deeper.
fn tests(top: &Path, name: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut directories = vec![top.join("crates").join(name)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a directory").filter_map(Result::ok) {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = read(&path);
                let lines: Vec<&str> = source.lines().map(str::trim).collect();
                for pair in lines.windows(2).filter(|pair| pair[0] == "#[test]") {
                    let test = pair[1].strip_prefix("fn ").and_then(|rest| rest.split_once('('));
                    found.extend(test.map(|(test, _)| format!("{name}::{test}")));
                }
            }
        }
    }
    found
}

/// The cases on whole machines, as `qemu::name`.
fn cases(top: &Path) -> BTreeSet<String> {
    let source = read(&top.join("tests/qemu/src/cases.rs"));
    let name = |line: &str| {
        let name = line.trim().strip_prefix("name: \"")?.strip_suffix("\",")?;
        Some(format!("qemu::{name}"))
    };
    source.lines().filter_map(name).collect()
}

/// Looks at the section of a document that is called "Faults": at least so many tests, each of one of these packages or a
/// case.
fn check(document: &str, packages: &[&str], least: usize) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/architecture");
    let mut exist: BTreeSet<String> = packages.iter().flat_map(|name| tests(top, name)).collect();
    exist.extend(cases(top));
    let text = read(&top.join("docs").join(document));
    let (_, section) = text.split_once("\n## Faults\n").expect("the section is there");
    let section = section.split("\n## ").next().expect("a split has a first part");
    let rows: Vec<Vec<&str>> = section
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains('`'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(rows.iter().all(|row| row.len() == 3 && row.iter().all(|cell| !cell.is_empty())));
    let named: BTreeSet<String> =
        rows.iter().map(|row| row[2].trim_matches('`').to_owned()).collect();
    let missing: Vec<_> = named.difference(&exist).collect();
    assert!(missing.is_empty(), "{document}: no such tests: {missing:?}");
    assert!(named.len() >= least, "{document}: only {} faults", named.len());
}

#[test]
fn every_fault_of_imaging_has_a_test_of_that_name() {
    check("imaging.md", &["install", "image", "disk"], 40);
}

#[test]
fn every_fault_of_wiping_has_a_test_of_that_name() {
    check("wiping.md", &["wipe", "disk"], 50);
}
