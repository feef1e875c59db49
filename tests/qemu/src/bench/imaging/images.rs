//! The images, in every format that somebody reads.

use std::{
    fs::{self, File},
    io::{BufWriter, Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Ground, Tools, text};
use crate::process::run;

/// How many MiB the image has whose figures count.
pub(super) const WHOLE: usize = 4096;
const MIB: u64 = 1 << 20;
/// Of the image that is 57 % zeros.
const FILES_PER_THOUSAND: u64 = 428;
/// Names in one directory of the staging area.
const PER_DIRECTORY: usize = 1000;
/// The other is so much smaller: packed five times over, it would not fit into memory.
const DENSE_PART: u64 = 4;

/// An image, bare and packed, in a directory of its own: `image`, `image.gz`, `image.xz`, `image.zst`, `image.bmap`,
/// `store/`.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) case: &'static str,
    pub(super) directory: PathBuf,
    pub(super) bytes: u64,
    pub(super) zeros_percent: u64,
    /// Whether it is the one that the engine alone is measured with.
    pub(super) is_for_tmpfs: bool,
}

impl Image {
    pub(super) fn raw(&self) -> PathBuf {
        self.directory.join("image")
    }

    /// Says how long the files are.
    pub(super) fn sizes(&self) -> Result<String> {
        let mut words = Vec::new();
        for name in ["image", "image.gz", "image.xz", "image.zst", "store/frames"] {
            let bytes = fs::metadata(self.directory.join(name)).with_context(|| name.to_owned())?;
            words.push(format!("{name} {} MiB", bytes.len() / MIB));
        }
        Ok(words.join(", "))
    }

    pub(super) fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.directory).context("removing the image")
    }

    /// Packs it, and counts its zeros.
    fn packed(mut self, tools: &Tools) -> Result<Self> {
        let raw = self.raw();
        self.zeros_percent = zeros_percent(&raw)?;
        let image = text(&raw)?;
        run("bash", &["-c", "(pigz -c \"$0\" || gzip -c \"$0\") >\"$0.gz\"", image])?;
        run("xz", &["--keep", "--threads=0", "-3", image])?;
        run("zstd", &["--quiet", "--threads=0", "-3", image, "-o", &format!("{image}.zst")])?;
        if tools.bmaptool.is_some() {
            run("bmaptool", &["create", "--output", &format!("{image}.bmap"), image])?;
        }
        let store = self.directory.join("store");
        fs::create_dir(&store).context("making the store")?;
        run(text(&tools.measure)?, &["convert", image, text(&store)?])?;
        Ok(self)
    }
}

/// Makes an ext4 filesystem of files below `/usr`, always the same ones in the same order.
pub(super) fn half_empty(ground: &Ground, tools: &Tools, mebibytes: usize) -> Result<Image> {
    let bytes = u64::try_from(mebibytes)? * MIB;
    let directory = fresh(ground, "half-empty")?;
    let files = ground.path().join("files");
    copy(Path::new("/usr"), &files, bytes / 1000 * FILES_PER_THOUSAND)?;
    let image = directory.join("image");
    let made = File::create(&image).context("making the image")?;
    made.set_len(bytes).context("sizing the image")?;
    let seed = "00000000-0000-4000-8000-000000000000";
    let extended =
        format!("hash_seed={seed},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0");
    let arguments = ["-q", "-F", "-U", seed, "-E", &extended, "-d", text(&files)?, text(&image)?];
    run("mkfs.ext4", &arguments)?;
    fs::remove_dir_all(&files).context("removing the files")?;
    let case = if mebibytes == WHOLE { "ext4 of 4 GiB, 57 % zeros" } else { "a trial, 57 % zeros" };
    Image { case, directory, bytes, zeros_percent: 0, is_for_tmpfs: true }.packed(tools)
}

/// Makes an image that nothing can compress; always the same one.
pub(super) fn dense(ground: &Ground, tools: &Tools, mebibytes: usize) -> Result<Image> {
    let bytes = u64::try_from(mebibytes)? * MIB / DENSE_PART;
    let directory = fresh(ground, "dense")?;
    let mut file =
        BufWriter::new(File::create(directory.join("image")).context("making the image")?);
    // Marsaglia's xorshift64.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..bytes / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes()).context("writing the image")?;
    }
    file.flush().context("writing the image")?;
    let case = if mebibytes == WHOLE {
        "1 GiB that nothing compresses"
    } else {
        "a trial, incompressible"
    };
    Image { case, directory, bytes, zeros_percent: 0, is_for_tmpfs: false }.packed(tools)
}

fn fresh(ground: &Ground, name: &str) -> Result<PathBuf> {
    let directory = ground.path().join(name);
    fs::create_dir(&directory).with_context(|| format!("making {}", directory.display()))?;
    Ok(directory)
}

/// Copies files in the order of their names until there are so many bytes.
fn copy(from: &Path, to: &Path, bytes: u64) -> Result<()> {
    let (mut left, mut count) = (bytes, 0_usize);
    let mut directories = vec![from.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        let mut entries: Vec<_> = entries.filter_map(Result::ok).collect();
        entries.sort_by_key(fs::DirEntry::path);
        for entry in entries {
            let kind = entry.file_type().context("looking at a file")?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() {
                let target = to.join((count / PER_DIRECTORY).to_string());
                fs::create_dir_all(&target).context("making a directory of files")?;
                let target = target.join(count.to_string());
                let copied = fs::copy(entry.path(), &target)
                    .with_context(|| format!("copying {}", entry.path().display()))?;
                count += 1;
                if copied >= left {
                    // The last one ends where the others leave room.
                    let cut = File::options().write(true).open(&target);
                    return cut.and_then(|file| file.set_len(left)).context("cutting a file");
                }
                left -= copied;
            }
        }
    }
    bail!("below {} are {left} bytes of files too few for the image", from.display())
}

/// Returns how much of a file is blocks of 4 KiB of zeros.
fn zeros_percent(path: &Path) -> Result<u64> {
    let mut file = File::open(path).context("opening the image")?;
    let bytes = file.metadata().context("looking at the image")?.len();
    let (mut buffer, mut zeros) = (vec![0; 1 << 20], 0);
    ensure!(bytes % MIB == 0 && bytes > 0, "an image of {bytes} bytes");
    for _ in 0..bytes / MIB {
        file.read_exact(&mut buffer).context("reading the image")?;
        let blocks = buffer.chunks(4096);
        zeros += blocks.filter(|block| block.iter().all(|byte| *byte == 0)).count();
    }
    Ok(u64::try_from(zeros)? * 4096 * 100 / bytes)
}
