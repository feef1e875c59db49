//! A release on a real Debian, as a person installs it who follows README.md.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{Case, When};
use crate::{
    checkout,
    lab::Lab,
    machine::{Booted, Bus, Card, Disk, Firmware, Machine, Port},
    process::run,
    router::Router,
};

/// Every case of this kind.
pub(super) const CASES: &[Case] = &[
    // Seen red: `apt purge` does not say where the state is.
    Case {
        name: "release_on_debian",
        claim: "on a Debian 13 with systemd the lines of README.md install a release, which discovers a machine in three commands, sandboxed; it outlives a restart and a newer package, leaves its state when it is removed, and runs from the tarball and from the OCI image",
        machines: 2,
        when: When::Soak,
        run: on_debian,
    },
];

/// How long each part of the story may take: a Debian starts, packages of 80 MB are unpacked, on an emulated processor.
const PATIENCE: Duration = Duration::from_mins(20);
/// After which line README.md's first commands stand.
const FIRST: &str = "From a release to the first machine:";
/// What a newer package has for a version.
const NEWER: &str = "99";

fn on_debian(lab: &Lab) -> Result<()> {
    let _router = Router::plain(lab)?;
    let story = story(lab)?;
    let disk = |name: &str, file: &Path, options: &str| {
        format!("if=none,id={name},format=raw,file={}{options}", file.display())
    };
    // What it writes goes with it.
    let system = disk("system", &checkout::host()?, ",snapshot=on");
    let host = Machine::with("host", Firmware::Bios, Port::new(Card::Plain))
        .memory(2048)
        .fitted("-drive", system)
        .fitted("-device", "virtio-blk-pci,drive=system,bootindex=0".to_owned())
        .fitted("-drive", disk("story", &story, ",readonly=on"))
        .fitted("-device", "virtio-blk-pci,drive=story,serial=story".to_owned());
    let mut host = host.boot(lab)?;
    tells(&mut host, "a machine is switched on")?;
    let machine = Machine::bios("tug").disk(Disk::blank(Bus::Virtio));
    let booted = machine.boot(lab)?;
    tells(&mut host, "it has a record")?;
    let told = host.console()?;
    for words in [machine.mac(), machine.disks[0].serial.as_str(), "kind: Hardware"] {
        ensure!(told.contains(words), "{words} is not in the record");
    }
    ensure!(booted.restarts() == 0, "it restarted");
    machine.has_unchanged_disks(lab)?;
    for part in ["a newer package kept all", "removed, its state is there", "unpacked"] {
        tells(&mut host, part)?;
    }
    tells(&mut host, "told to its end")
}

/// Waits until the story has come so far.
fn tells(host: &mut Booted, part: &str) -> Result<()> {
    let part = format!("story: {part}");
    host.says(&part, PATIENCE, |console| {
        console.contains(&part) || console.contains("story: failed")
    })?;
    ensure!(host.console()?.contains(&part), "it failed: {}", host.serial_log().display());
    Ok(())
}

/// The disk with what the host is told to do: an archive of the release, a newer package, and README.md's lines.
fn story(lab: &Lab) -> Result<PathBuf> {
    let (tree, archive) = (lab.scratch("story"), lab.scratch("story.tar"));
    for directory in ["release", "newer", "lines"] {
        fs::create_dir_all(tree.join(directory)).context("making a directory for the story")?;
    }
    fs::copy(checkout::root().join("image/host/story"), tree.join("story"))
        .context("copying the story")?;
    let mut version = None;
    for entry in fs::read_dir(checkout::release()?).context("reading the release")? {
        let entry = entry.context("reading the release")?;
        let name = entry.file_name();
        let name = name.to_str().context("a name that is no text")?;
        if name.contains("arm64") || name.contains("aarch64") {
            continue;
        }
        fs::copy(entry.path(), tree.join("release").join(name)).context("copying the release")?;
        if name.ends_with("_amd64.deb") {
            newer(lab, &entry.path(), &tree.join("newer").join(name))?;
        }
        let of_image = name.strip_prefix("drydock-").and_then(|name| name.strip_suffix(".oci.tar"));
        version = version.or(of_image.map(str::to_owned));
    }
    let version = version.context("no OCI image in the release")?;
    let readme = fs::read_to_string(checkout::root().join("README.md")).context("README.md")?;
    for (name, line) in lines(&readme)? {
        let line = line.replace("VERSION", &version).replace('…', "drydock-*-x86_64.tar.zst");
        fs::write(tree.join("lines").join(name), line).context("writing a line")?;
    }
    run("tar", &["--create", "--file", text(&archive)?, "--directory", text(&tree)?, "."])?;
    Ok(archive)
}

/// Returns what README.md has people type, by what each line is for.
fn lines(readme: &str) -> Result<Vec<(&'static str, &str)>> {
    let (_, first) = readme.split_once(FIRST).with_context(|| format!("no \"{FIRST}\""))?;
    let block = first.split("```").nth(1).context("no commands behind it")?;
    let first: Vec<&str> = block.lines().skip(1).collect();
    let [install, enable, machines] = first[..] else {
        anyhow::bail!("not three commands: {first:?}");
    };
    let of = |beginning: &str| {
        let found = readme.lines().find(|line| line.starts_with(beginning));
        found.with_context(|| format!("README.md has no line with {beginning}"))
    };
    let tarball = readme.split('`').find(|piece| piece.starts_with("sudo tar "));
    Ok(vec![
        ("install", install),
        ("enable", enable),
        ("machines", machines),
        ("tarball", tarball.context("README.md does not say how the tarball is unpacked")?),
        ("skopeo", of("sudo skopeo copy ")?),
        ("podman", of("sudo podman run ")?),
    ])
}

/// Makes the same package once more, as a newer version.
fn newer(lab: &Lab, package: &Path, out: &Path) -> Result<()> {
    let tree = lab.scratch("newer");
    run("dpkg-deb", &["--raw-extract", text(package)?, text(&tree)?])?;
    let control = tree.join("DEBIAN/control");
    let before = fs::read_to_string(&control).context("reading the package's control file")?;
    let version = before.lines().find(|line| line.starts_with("Version: "));
    let version = version.context("a package without a version")?;
    fs::write(&control, before.replace(version, &format!("Version: {NEWER}")))
        .context("writing a control file")?;
    run("dpkg-deb", &["--root-owner-group", "-Znone", "--build", text(&tree)?, text(out)?])?;
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is no text", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readme_says_how_a_release_is_installed() {
        let readme = fs::read_to_string(checkout::root().join("README.md")).unwrap();
        let lines = lines(&readme).unwrap();
        assert_eq!(lines[2], ("machines", "sudo drydock machines"));
        assert!(lines.iter().all(|(_, line)| line.starts_with("sudo ")), "{lines:?}");
    }
}
