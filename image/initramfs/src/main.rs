//! Packs a directory as an uncompressed initramfs: `initramfs DIRECTORY >archive`.
//!
//! Written here and not by `cpio`, because that one records owners, times and link counts, which differ between the
//! machines and file systems that images are built on. The same names and bytes give the same archive everywhere.
#![forbid(unsafe_code)]

use std::{env, io, path::Path};

use anyhow::{Context as _, bail};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [directory] = arguments.as_slice() else { bail!("usage: initramfs DIRECTORY >archive") };
    let output = io::BufWriter::new(io::stdout().lock());
    initramfs::pack(Path::new(directory), output)
        .with_context(|| format!("packing {}", Path::new(directory).display()))
}
