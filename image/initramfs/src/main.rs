//! Packs a directory as an uncompressed initramfs: `initramfs DIRECTORY [WORD...] >archive`. What has one of the words
//! in its path comes first, in their order: who gets only the beginning has that.
//!
//! Written here and not by `cpio`, because that one records owners, times and link counts, which differ between the
//! machines and file systems that images are built on. The same names and bytes give the same archive everywhere.
#![forbid(unsafe_code)]

use std::{env, io, path::Path};

use anyhow::{Context as _, bail};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [directory, first @ ..] = arguments.as_slice() else {
        bail!("usage: initramfs DIRECTORY [WORD...] >archive")
    };
    let output = io::BufWriter::new(io::stdout().lock());
    initramfs::pack(Path::new(directory), first, output)
        .with_context(|| format!("packing {directory}"))
}
