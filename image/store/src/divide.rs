//! `store divide`: writes core, store and packs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};
use modules::{Digest, Entry, Index, Place, Store};
use sha2::{Digest as _, Sha256};

use crate::{
    cards::Cards,
    division::Division,
    firmware::Tree,
    kernel::{self, Kernel, LISTS, text},
    layout::Layout,
    lists::Lists,
    pack::{self, Packs},
    supply::Supply,
};

/// The firmware of a driver in the core is in the core too where all that it names is no more than this, as stored:
/// most of these drivers run without, and those that do not shall not wait for a store. That of others is in the store,
/// and in the driver's pack.
const CORE_FIRMWARE_BYTES: usize = 128 << 10;

/// Writes what agents and boot scripts take. What was there before is gone.
pub(crate) fn divide(layout: &Layout) -> Result<()> {
    let kernel = Kernel::open(&layout.union())?;
    let lists = Lists::read(&text(&layout.named())?)?;
    let index = Index::new(&kernel.texts);
    let division = Division::new(&kernel, &index, &lists)?;
    let supply = Supply::gather(&kernel, &Tree::open(&layout.firmware())?)?;

    let small = |module: &&&str| supply.bytes_of(module) <= CORE_FIRMWARE_BYTES;
    let in_core: BTreeSet<&str> = division
        .core
        .iter()
        .filter(small)
        .flat_map(|module| supply.of(module))
        .map(|stored| stored.path.as_str())
        .collect();

    let mut stored: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for path in &division.store {
        stored.insert((*path).to_owned(), kernel::bytes(&kernel.directory.join(path))?);
    }
    for firmware in supply.all().filter(|firmware| !in_core.contains(firmware.path.as_str())) {
        stored.insert(firmware.path.clone(), firmware.bytes.clone());
    }

    let list = write_store(&layout.store(), &stored, &lists)?;
    write_core(&layout.core(), &kernel, &division, &supply, &in_core, &list)?;
    let cards = Cards::read(&kernel.texts);
    let packs = Packs::new(&index, &cards, &supply, &stored);
    pack::write(&layout.packs(), &kernel.release, &packs, &stored)
}

/// Writes the files of the store, and returns their list.
fn write_store(to: &Path, files: &BTreeMap<String, Vec<u8>>, lists: &Lists) -> Result<Store> {
    empty(to)?;
    let mut list = Store::default();
    for (path, bytes) in files {
        let digest = Digest(Sha256::digest(bytes).into());
        let place: Place = path.parse()?;
        let network_storage = lists.is_network_storage(path);
        list.insert(place, Entry { digest, length: u64::try_from(bytes.len())?, network_storage })?;
        write(&to.join(digest.to_string()), bytes)?;
    }
    Ok(list)
}

/// Writes the root of the core's archive.
fn write_core(
    to: &Path,
    kernel: &Kernel,
    division: &Division<'_>,
    supply: &Supply,
    in_core: &BTreeSet<&str>,
    list: &Store,
) -> Result<()> {
    empty(to)?;
    let modules = to.join("lib/modules").join(&kernel.release);
    for name in division.core.iter().chain(&LISTS) {
        write(&modules.join(name), &kernel::bytes(&kernel.directory.join(name))?)?;
    }
    for firmware in supply.all().filter(|firmware| in_core.contains(firmware.path.as_str())) {
        write(&to.join("lib").join(&firmware.path), &firmware.bytes)?;
    }
    write(&modules.join("modules.firmware"), supply.asked.to_string().as_bytes())?;
    write(&modules.join("modules.store"), list.to_string().as_bytes())
}

/// Makes a directory that holds nothing.
pub(crate) fn empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("emptying {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))
}

/// Writes a file, and the directories that it lies in.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    }
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}
