//! One table of what is in the core and what in the store.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::{check::Built, layout::Layout, pack};

/// What only came along with something that a list names.
const ALONG: &str = "needed by these";
const FIRMWARE: &str = "firmware";

/// How many files, and how many bytes as they are stored.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    files: usize,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// Prints lines.
pub(crate) fn say(lines: &[String]) -> Result<()> {
    let mut output = io::stdout().lock();
    for line in lines {
        writeln!(output, "image: {line}")?;
    }
    Ok(())
}

/// Prints it.
pub(crate) fn print(built: &Built, layout: &Layout) -> Result<()> {
    let mut rows: BTreeMap<&str, [Sum; 2]> = BTreeMap::new();
    for path in built.kernel.modules().filter(|path| built.core_has(path)) {
        let bytes = size(&built.kernel.directory.join(path))?;
        rows.entry(built.lists.group(path).unwrap_or(ALONG)).or_default()[0].add(bytes);
    }
    for path in files(&layout.core().join("lib/firmware"))? {
        rows.entry(FIRMWARE).or_default()[0].add(path);
    }
    for (place, entry) in built.store.files() {
        let group = if place.is_firmware() {
            FIRMWARE
        } else {
            built.lists.group(place.as_str()).unwrap_or(ALONG)
        };
        rows.entry(group).or_default()[1].add(entry.length);
    }
    let mut all = [Sum::default(); 2];
    let mut output = io::stdout().lock();
    writeln!(output, "{:18} {:>6} {:>9}   {:>6} {:>9}", "modules", "core", "", "store", "")?;
    for (group, sums) in rows {
        row(&mut output, group, sums)?;
        for (all, sum) in all.iter_mut().zip(sums) {
            all.files += sum.files;
            all.bytes += sum.bytes;
        }
    }
    row(&mut output, "all", all)?;
    let mut packs = 0;
    let mut largest = (0, String::new());
    for name in built.cards.values().filter(|name| *name != pack::CORE) {
        let bytes = size(&layout.packs().join(format!("{name}.cpio")))?;
        largest = largest.max((bytes, name.clone()));
    }
    for _pack in fs::read_dir(layout.packs())? {
        packs += 1;
    }
    let network = size(&layout.packs().join(format!("{}.cpio", pack::ALL)))?;
    // One file is the list of cards, one the pack of all.
    writeln!(
        output,
        "packs for {} kinds of card: {}, the largest {} with {} MB; for all cards {} MB",
        built.cards.len(),
        packs - 2,
        largest.1,
        megabytes(largest.0),
        megabytes(network),
    )?;
    Ok(())
}

fn row(output: &mut impl io::Write, group: &str, [core, store]: [Sum; 2]) -> io::Result<()> {
    let (core_mb, store_mb) = (megabytes(core.bytes), megabytes(store.bytes));
    writeln!(
        output,
        "{group:18} {:6} {core_mb:>6} MB   {:6} {store_mb:>6} MB",
        core.files, store.files
    )
}

/// With two digits behind the point, rounded down.
fn megabytes(bytes: u64) -> String {
    format!("{}.{:02}", bytes / 1_000_000, bytes / 10_000 % 100)
}

fn size(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?;
    Ok(metadata.len())
}

/// Returns the sizes of all files below a directory; none where it is not there.
fn files(directory: &Path) -> Result<Vec<u64>> {
    let mut sizes = Vec::new();
    if directory.is_dir() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                sizes.extend(files(&entry.path())?);
            } else {
                sizes.push(entry.metadata()?.len());
            }
        }
    }
    Ok(sizes)
}
