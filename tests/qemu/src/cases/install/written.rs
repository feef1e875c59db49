//! What is on a disk, looked at from outside.

use std::{
    fs::File,
    io::Read as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::process::run;

const MIB: usize = 1 << 20;
/// The protective master boot record's code, before its table.
const BOOT_CODE: usize = 440;
/// The primary GPT: boot record, header, 128 entries of 128 bytes.
const TABLE_BYTES: usize = 34 * 512;
/// The backup GPT: entries, header.
const BACKUP_BYTES: usize = 33 * 512;

/// A disk's file, while nobody writes to it.
#[derive(Debug)]
pub(super) struct Written {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Written {
    /// Opens it.
    pub(super) fn of(path: &Path) -> Result<Written> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let length = file.metadata().context("looking at a disk")?.len();
        Ok(Written { path: path.to_owned(), file, length })
    }

    /// Fails unless every byte of an image is on it, but for the two partition tables, which belong to this disk.
    pub(super) fn is_image(&self, image: &Path) -> Result<()> {
        let mut source = File::open(image).context("opening the image")?;
        let size = usize::try_from(source.metadata().context("looking at the image")?.len())?;
        let (mut expected, mut found) = (vec![0; MIB], vec![0; MIB]);
        for start in (0..size).step_by(MIB) {
            let length = MIB.min(size - start);
            source.read_exact(&mut expected[..length]).context("reading the image")?;
            let place = u64::try_from(start)?;
            self.file.read_exact_at(&mut found[..length], place).context("reading the disk")?;
            let same = |from: usize, to: usize| {
                let (from, to) = (from.max(start), to.min(start + length));
                from >= to || expected[from - start..to - start] == found[from - start..to - start]
            };
            let is_same = same(0, BOOT_CODE) && same(TABLE_BYTES, size - BACKUP_BYTES);
            ensure!(is_same, "MiB {} of the disk is not the image's", start / MIB);
        }
        Ok(())
    }

    /// Fails unless its partition tables are in order, both of them, and name so many partitions, the last but one of
    /// which reaches to within 4 MiB of the disk's end.
    pub(super) fn has_partitions(&self, count: usize) -> Result<()> {
        let words = run("sfdisk", &["--verify", self.path()?])?;
        ensure!(words.contains("No errors detected"), "sfdisk says: {words}");
        let partitions = self.partitions()?;
        ensure!(partitions.len() == count, "there are {partitions:?}");
        let ends = partitions.iter().map(|(start, length)| start + length);
        let end = ends.max().context("no partition")?;
        ensure!(end <= self.length, "a partition ends behind the disk");
        ensure!(
            self.length - end < 4 << 20,
            "behind the last partition {} is free",
            self.length - end
        );
        Ok(())
    }

    /// Fails unless a file in the seed, which is the last partition, is as wanted.
    pub(super) fn seeds(&self, name: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let start = *self.partitions()?.last().map(|(start, _)| start).context("no partition")?;
        let place = format!("{}@@{start}", self.path()?);
        let text = run("mtype", &["-i", &place, &format!("::{name}")])?;
        ensure!(wanted(&text), "in the seed, {name} is {text}");
        Ok(())
    }

    /// Returns what is in a file of the root filesystem, which is the second partition.
    pub(super) fn file_in_root(&self, path: &str) -> Result<String> {
        let start = self.partitions()?.get(1).map(|(start, _)| *start).context("no partition")?;
        let place = format!("{}?offset={start}", self.path()?);
        run("debugfs", &["-R", &format!("cat {path}"), &place])
    }

    /// Fails if a firmware would find anything on it to start, or anybody a partition table.
    pub(super) fn starts_nothing(&self) -> Result<()> {
        let mut start = vec![0; MIB];
        self.file.read_exact_at(&mut start, 0).context("reading the disk")?;
        ensure!(start.iter().all(|byte| *byte == 0), "its first MiB holds something");
        let mut end = vec![0; BACKUP_BYTES];
        let place = self.length - u64::try_from(BACKUP_BYTES)?;
        self.file.read_exact_at(&mut end, place).context("reading the disk")?;
        ensure!(end.iter().all(|byte| *byte == 0), "a backup of a partition table is at its end");
        Ok(())
    }

    /// Returns where partitions begin and how long they are, in bytes, in the table's order.
    fn partitions(&self) -> Result<Vec<(u64, u64)>> {
        let text = run("sfdisk", &["--json", self.path()?])?;
        let table: Value = serde_json::from_str(&text).context("reading sfdisk's table")?;
        let Some(partitions) = table["partitiontable"]["partitions"].as_array() else {
            bail!("no partitions: {text}");
        };
        let number = |partition: &Value, key: &str| {
            let sectors = partition[key].as_u64();
            sectors.map(|sectors| sectors * 512).with_context(|| format!("no {key}: {text}"))
        };
        let place = |partition| Ok((number(partition, "start")?, number(partition, "size")?));
        partitions.iter().map(place).collect()
    }

    fn path(&self) -> Result<&str> {
        self.path.to_str().context("the scratch directory is no UTF-8")
    }
}

/// Returns a public SSH key that nobody has had: RFC 8709 §4.
pub(super) fn key() -> String {
    let mut bytes = Vec::new();
    for part in [&b"ssh-ed25519"[..], &random()] {
        bytes.extend(u32::try_from(part.len()).expect("32 bytes at most").to_be_bytes());
        bytes.extend(part);
    }
    format!("ssh-ed25519 {}", base64(&bytes))
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut source = File::open("/dev/urandom").expect("every Linux has it");
    source.read_exact(&mut bytes).expect("it has no end");
    bytes
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let bits = part.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        let bits = bits << (8 * (3 - part.len()));
        for digit in 0..4 {
            let index = bits >> (18 - 6 * digit) & 63;
            let is_there = digit <= part.len();
            text.push(if is_there { char::from(DIGITS[index]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn base64_is_as_in_rfc_4648() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn a_byte_that_differs_anywhere_outside_the_tables_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let (image, disk) = (directory.path().join("image"), directory.path().join("disk"));
        let size = 3 * MIB + 4096;
        let bytes: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
        fs::write(&image, &bytes).unwrap();
        let mut there = bytes.clone();
        there.resize(size + MIB, 0xff);
        let same = |there: &[u8]| {
            fs::write(&disk, there).unwrap();
            Written::of(&disk).unwrap().is_image(&image).is_ok()
        };
        assert!(same(&there));
        for (place, allowed) in [
            (0, false),
            (BOOT_CODE, true),
            (TABLE_BYTES - 1, true),
            (TABLE_BYTES, false),
            (2 * MIB, false),
            (size - BACKUP_BYTES - 1, false),
            (size - BACKUP_BYTES, true),
        ] {
            there[place] ^= 1;
            assert_eq!(same(&there), allowed, "byte {place}");
            there[place] ^= 1;
        }
    }
}
