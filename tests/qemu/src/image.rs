//! An image of one's own: with the server's pin or a certificate authority inside, as who signs images builds it, or damaged.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{checkout, lab::Lab};

const KERNEL: &str = "sunshineos-x86_64.vmlinuz";
const INITRD: &str = "sunshineos-x86_64.initrd";
/// Where what the core lacks is, where it was made.
const STORE: &str = "store";
const PACKS: &str = "pack-x86_64";
/// Where the agent looks for pins.
const PIN: &str = "etc/drydock/pin";
/// Where it looks for certificate authorities.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// What a server serves: the checkout's boot programs and kernel, and an initramfs of its own.
#[derive(Debug)]
pub(crate) struct Image {
    /// The directory.
    pub(crate) directory: PathBuf,
}

impl Image {
    /// Begins with the checkout's image as it is.
    pub(crate) fn make(lab: &Lab) -> Result<Image> {
        let dist = checkout::image()?;
        let directory = lab.scratch("image");
        fs::create_dir(&directory).context("making a directory for an image")?;
        for name in [KERNEL, "ipxe"] {
            symlink(dist.join(name), directory.join(name))
                .with_context(|| format!("linking {name}"))?;
        }
        for name in [STORE, PACKS] {
            if dist.join(name).exists() {
                symlink(dist.join(name), directory.join(name))
                    .with_context(|| format!("linking {name}"))?;
            }
        }
        let image = Image { directory };
        fs::copy(dist.join(INITRD), image.initrd()).context("copying the initramfs")?;
        Ok(image)
    }

    /// Has only so many percent of its initramfs arrive.
    pub(crate) fn cut_off(&self, percent: usize) -> Result<()> {
        let mut initrd = fs::read(self.initrd()).context("reading the initramfs")?;
        initrd.truncate(initrd.len() / 100 * percent);
        fs::write(self.initrd(), initrd).context("cutting the initramfs off")
    }

    /// Puts a pin into it, which replaces an earlier one: of files with one name the last one counts.
    pub(crate) fn carry_pin(&self, pin: &str) -> Result<()> {
        self.carry(PIN, pin)
    }

    /// Has it believe this certificate authority, in PEM, and no other.
    pub(crate) fn carry_authority(&self, certificate: &str) -> Result<()> {
        self.carry(AUTHORITIES, certificate)
    }

    /// Has every card on `marked` a pack of its own with this pin inside, and all others one with nothing that anybody reads.
    pub(crate) fn pack_pin(&self, marked: &[&str], pin: &str) -> Result<()> {
        let packs = self.directory.join(PACKS);
        // The checkout's own, where it has any.
        drop(fs::remove_file(&packs));
        fs::create_dir(&packs).context("making a directory for packs")?;
        let cards = marked.iter().flat_map(|card| [*card, " marked\n"]).collect::<String>();
        let files = [
            ("cards", cards.into_bytes()),
            ("marked.cpio", archive(PIN, pin.as_bytes(), 0)),
            ("network.cpio", archive("etc/drydock/nothing", b"", 0)),
        ];
        for (name, content) in files {
            fs::write(packs.join(name), content).with_context(|| format!("writing {name}"))?;
        }
        Ok(())
    }

    fn carry(&self, path: &str, content: &str) -> Result<()> {
        let mut initrd = fs::read(self.initrd()).context("reading the initramfs")?;
        initrd.extend(archive(path, content.as_bytes(), initrd.len()));
        // Renamed into place: who loads it meanwhile gets one or the other.
        let beside = self.directory.join("initrd.new");
        fs::write(&beside, initrd).context("writing the initramfs")?;
        fs::rename(&beside, self.initrd()).context("replacing the initramfs")
    }

    /// Returns its initramfs.
    pub(crate) fn initrd(&self) -> PathBuf {
        self.directory.join(INITRD)
    }
}

/// Returns an initramfs that nobody shall use: no machine starts with its `/init`, and its pin is of another server.
pub(crate) fn foreign(pin: &str) -> Vec<u8> {
    let mut initrd = archive("init", b"no program", 0);
    initrd.extend(archive(PIN, pin.as_bytes(), initrd.len()));
    initrd
}

/// Returns a cpio archive with a file and the directories above it, to stand behind so many bytes of an initramfs.
///
/// The kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
fn archive(path: &str, content: &[u8], behind: usize) -> Vec<u8> {
    // An archive begins at a multiple of four; zeros before it are skipped.
    let mut archive = vec![0; behind.next_multiple_of(4) - behind];
    let directories = path.match_indices('/').map(|(end, _)| &path[..end]);
    for directory in directories {
        archive.extend(entry(directory, 0o040_755, &[]));
    }
    archive.extend(entry(path, 0o100_644, content));
    archive.extend(entry("TRAILER!!!", 0, &[]));
    archive
}

/// An entry of the format `newc`; a multiple of four bytes.
fn entry(name: &str, mode: usize, content: &[u8]) -> Vec<u8> {
    // Inode, mode, user, group, links, time, size, two devices in two numbers each, size of the name, no checksum.
    let numbers = [0, mode, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
    let mut entry = b"070701".to_vec();
    entry.extend(numbers.iter().flat_map(|number| format!("{number:08x}").into_bytes()));
    entry.extend(name.bytes());
    entry.push(0);
    entry.resize(entry.len().next_multiple_of(4), 0);
    entry.extend(content);
    entry.resize(entry.len().next_multiple_of(4), 0);
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_begins_at_a_multiple_of_four_and_names_every_directory() {
        let archive = archive(PIN, b"sha256:00", 5);
        assert_eq!(archive[..3], [0; 3]);
        assert!(archive[3..].starts_with(b"070701"));
        let text = String::from_utf8_lossy(&archive);
        for name in ["etc\0", "etc/drydock\0", "etc/drydock/pin\0", "TRAILER!!!\0"] {
            assert!(text.contains(name), "{name}");
        }
        assert_eq!((5 + archive.len()) % 4, 0);
    }
}
