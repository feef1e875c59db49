//! The kernel's NVMe driver, without what it holds against QEMU.
//!
//! Linux believes no identifier of a namespace that QEMU emulates, since old ones all had the same, so that two
//! namespaces of one controller have one name. Here each is given its own, and a driver that reads it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::checkout;

/// The driver's entry for QEMU's controller: vendor and device, any subsystem, no class.
/// Linux, `drivers/nvme/host/pci.c` and `struct pci_device_id`.
const ENTRY: [u8; 24] = [
    0x36, 0x1b, 0, 0, 0x10, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0,
    0, 0, 0,
];
/// What it holds against it: `NVME_QUIRK_BOGUS_NID`.
const QUIRK: [u8; 8] = [0, 0, 4, 0, 0, 0, 0, 0];
/// A module that ends with this is signed: changed, it would be refused, and unsigned it is not.
const SIGNED: &[u8] = b"~Module signature appended~\n";

/// Writes an initrd like another one, but with that driver.
pub(super) fn believing(initrd: &Path, to: &Path) -> Result<()> {
    let (name, path) = find()?;
    let module = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let module = without_quirk(module)?;
    let mut bytes = fs::read(initrd).with_context(|| format!("reading {}", initrd.display()))?;
    // The kernel unpacks archives in a row, and what a later one has replaces what an earlier one had.
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(file(&name, 0o100_644, &module)?);
    bytes.extend(file("TRAILER!!!", 0, &[])?);
    fs::write(to, bytes).with_context(|| format!("writing {}", to.display()))
}

/// Finds the driver that was packed into both systems, and its place there.
fn find() -> Result<(String, PathBuf)> {
    let all = checkout::modules()?.join("lib/modules");
    let releases = fs::read_dir(&all).with_context(|| format!("reading {}", all.display()))?;
    let release = releases.flatten().next().context("no kernel's modules")?.file_name();
    let inside = "kernel/drivers/nvme/host/nvme.ko";
    let name = format!("lib/modules/{}/{inside}", release.to_string_lossy());
    Ok((name, all.join(release).join(inside)))
}

fn without_quirk(mut module: Vec<u8>) -> Result<Vec<u8>> {
    let entry = [&ENTRY[..], &QUIRK].concat();
    let places: Vec<usize> = module
        .windows(entry.len())
        .enumerate()
        .filter_map(|(place, bytes)| (bytes == entry).then_some(place))
        .collect();
    let [place] = places[..] else { anyhow::bail!("QEMU's controller is in it at {places:?}") };
    module[place + ENTRY.len()..place + entry.len()].fill(0);
    ensure!(module.ends_with(SIGNED), "it is not signed");
    // As long as before: a shorter one would be one that was cut off.
    let mark = module.len() - SIGNED.len();
    module[mark..].fill(0);
    Ok(module)
}

/// A file in an archive of the kind that kernels unpack. Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`.
fn file(name: &str, mode: u32, content: &[u8]) -> Result<Vec<u8>> {
    let size = u32::try_from(content.len())?;
    let name_size = u32::try_from(name.len() + 1)?;
    let fields = [0, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
    let mut bytes = b"070701".to_vec();
    bytes.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
    bytes.extend(name.bytes().chain([0]));
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_quirk_and_the_mark_of_a_signature_go() {
        let module = [&[7; 5][..], &ENTRY, &QUIRK, &[9; 3], SIGNED].concat();
        let changed = without_quirk(module).unwrap();
        let unmarked = [0; SIGNED.len()];
        assert_eq!(changed, [&[7; 5][..], &ENTRY, &[0; 8], &[9; 3], &unmarked].concat());
        assert!(without_quirk(SIGNED.to_vec()).is_err());
    }

    #[test]
    fn a_file_in_an_archive_is_padded_to_four_bytes() {
        let bytes = file("a/b", 0o100_644, b"12345").unwrap();
        assert_eq!(bytes.len() % 4, 0);
        assert!(bytes.starts_with(b"07070100000000000081a4"));
        assert!(bytes.ends_with(b"12345\0\0\0"));
    }
}
