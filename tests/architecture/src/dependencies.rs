//! Which of our packages may use which, as `cargo metadata` has it.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// What each of our packages may use of ours. A package that is not named here may use nothing of ours.
const ALLOWED: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("dhcp", &["protocol"]),
    ("dnssd", &[]),
    ("linux", &[]),
    ("modules", &[]),
    ("signature", &[]),
    ("image", &[]),
    ("startup", &["signature"]),
    ("fetch", &[]),
    ("inventory", &["protocol", "signature", "linux"]),
    ("disk", &["linux", "protocol", "inventory", "signature"]),
    ("install", &["disk", "image", "protocol"]),
    ("wipe", &["disk", "linux", "protocol", "signature"]),
    (
        "agent",
        &[
            "protocol",
            "dhcp",
            "disk",
            "dnssd",
            "linux",
            "modules",
            "inventory",
            "signature",
            "startup",
        ],
    ),
    (
        "sunshine",
        &[
            "agent",
            "protocol",
            "linux",
            "inventory",
            "install",
            "image",
            "disk",
            "startup",
            "fetch",
        ],
    ),
    ("hercules", &["agent", "protocol", "linux", "inventory", "wipe", "disk", "signature"]),
    ("drydock", &["protocol", "dhcp", "dnssd", "image", "linux", "fetch"]),
    // Devices that QEMU does not have, from their specifications.
    ("devices", &[]),
    // What builds and measures the images.
    ("initramfs", &[]),
    ("unify", &[]),
    ("empty-init", &[]),
    ("store", &["initramfs", "modules"]),
    // Feeds every parser of ours with bad input; nothing depends on it but the fuzzers.
    ("strangers", &["agent", "dhcp", "drydock", "image", "inventory", "protocol", "signature"]),
    // Black boxes: they see what was built, not how.
    ("qemu", &[]),
    ("architecture", &[]),
];

/// What a package may not use of other people's, with what it would mean.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("protocol", &["tokio", "nix", "reqwest", "hyper", "socket2"]),
    ("dhcp", &["tokio", "nix", "reqwest", "hyper", "socket2", "serde_json"]),
    ("dnssd", &["tokio", "nix", "reqwest", "hyper", "socket2", "serde_json"]),
    ("linux", &["serde", "serde_json", "tokio"]),
    ("inventory", &["tokio", "reqwest", "hyper"]),
    ("modules", &["tokio", "nix", "reqwest", "hyper"]),
    ("signature", &["tokio", "nix", "reqwest", "hyper"]),
    ("startup", &["tokio", "nix", "reqwest", "hyper"]),
    ("fetch", &["tokio", "nix", "reqwest", "hyper"]),
];

fn metadata() -> Metadata {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let mut command = MetadataCommand::new();
    command.manifest_path(manifest).no_deps().other_options(["--offline".to_owned()]);
    command.exec().unwrap()
}

/// What each of our packages depends on when it is built for use; tests and build scripts do not count.
fn normal_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata();
    let of = |package: &&cargo_metadata::Package| {
        let normal = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
        (package.name.to_string(), normal.map(|dependency| dependency.name.clone()).collect())
    };
    metadata.workspace_packages().iter().map(of).collect()
}

#[test]
fn a_package_uses_only_those_of_ours_that_it_may() {
    let packages = normal_dependencies();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for (package, dependencies) in &packages {
        let may = allowed.get(package.as_str()).copied().unwrap_or_default();
        for dependency in dependencies.iter().filter(|name| packages.contains_key(*name)) {
            if !may.contains(&dependency.as_str()) {
                wrong.push(format!("{package} uses {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_package_has_its_line_in_the_table() {
    let named: BTreeSet<&str> = ALLOWED.iter().map(|(package, _)| *package).collect();
    let packages = normal_dependencies();
    let missing: Vec<_> = packages.keys().filter(|name| !named.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}: say in ALLOWED what they may use");
}

#[test]
fn pure_packages_use_nothing_that_does_io() {
    let packages = normal_dependencies();
    for (package, forbidden) in FORBIDDEN {
        let dependencies = &packages[*package];
        let wrong: Vec<_> = forbidden.iter().filter(|name| dependencies.contains(**name)).collect();
        assert!(wrong.is_empty(), "{package} uses {wrong:?}");
    }
}

/// Not even through a third package.
#[test]
fn what_discovers_cannot_wipe_and_what_wipes_cannot_install() {
    let packages = normal_dependencies();
    for (package, never) in [("sunshine", "wipe"), ("hercules", "install"), ("agent", "wipe")] {
        let mut reached = BTreeSet::new();
        let mut next = vec![package.to_owned()];
        while let Some(name) = next.pop() {
            if let Some(dependencies) = packages.get(&name)
                && reached.insert(name)
            {
                next.extend(dependencies.iter().cloned());
            }
        }
        assert!(!reached.contains(never), "{package} reaches {never}");
    }
}
