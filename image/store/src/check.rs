//! `store check`: looks at core, store and packs as they lie there, and says what is wrong with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use modules::{Digest, Firmware, Index, Named, Store};
use sha2::{Digest as _, Sha256};

use crate::{
    compression,
    kernel::{self, Kernel, plain, text},
    layout::Layout,
    lists::Lists,
    modinfo, pack, samples,
};

/// What a machine has, and what it can have.
#[derive(Debug)]
pub(crate) struct Built {
    /// The core's kernel and its lists.
    pub(crate) kernel: Kernel,
    /// `lib/` of the core.
    library: PathBuf,
    /// `modules.store`.
    pub(crate) store: Store,
    /// `modules.firmware`.
    pub(crate) asked: Firmware,
    /// What the lists call everything.
    pub(crate) lists: Lists,
    /// Names of packs by their cards, `vvvv:dddd`.
    pub(crate) cards: BTreeMap<String, String>,
}

/// Checks everything, and returns what was looked at. Fails with all that is wrong.
pub(crate) fn check(layout: &Layout, cards: &str) -> Result<Built> {
    let built = Built::open(layout)?;
    let index = Index::new(&built.kernel.texts);
    let mut wrong = built.modules();
    wrong.extend(built.files(&layout.store())?);
    wrong.extend(built.firmware()?);
    wrong.extend(built.network_storage());
    wrong.extend(built.packs(&layout.packs(), &index)?);
    wrong.extend(samples::check(cards, &built, &index)?);
    ensure!(wrong.is_empty(), "core and store:\n{}", wrong.join("\n"));
    Ok(built)
}

impl Built {
    fn open(layout: &Layout) -> Result<Self> {
        let kernel = Kernel::open(&layout.core())?;
        let store = text(&kernel.directory.join("modules.store"))?;
        let asked = text(&kernel.directory.join("modules.firmware"))?;
        let mut cards = BTreeMap::new();
        for line in text(&layout.packs().join("cards"))?.lines() {
            let (card, name) = line.split_once(' ').context("a card without a pack")?;
            ensure!(cards.insert(card.to_owned(), name.to_owned()).is_none(), "{card} twice");
        }
        Ok(Self {
            library: layout.core().join("lib"),
            store: store.parse().context("reading modules.store")?,
            asked: asked.parse().context("reading modules.firmware")?,
            lists: Lists::read(&text(&layout.named())?)?,
            kernel,
            cards,
        })
    }

    /// Holds when the core has a module.
    pub(crate) fn core_has(&self, module: &str) -> bool {
        self.kernel.directory.join(module).is_file()
    }

    /// Holds when core or store have a firmware.
    pub(crate) fn has_firmware(&self, name: &str) -> bool {
        let core = self.library.join("firmware");
        core.join(name).is_file()
            || core.join(format!("{name}.xz")).is_file()
            || self.store.firmware(name).is_some()
    }

    /// Every module is in the core, or in the store, and in one of them only.
    fn modules(&self) -> Vec<String> {
        let say = |path: &str| match (self.core_has(path), self.store.get(path).is_some()) {
            (false, false) => Some(format!("{path} is nowhere")),
            (true, true) => Some(format!("{path} is in the core and in the store")),
            _ => None,
        };
        let mut wrong: Vec<String> = self.kernel.modules().filter_map(say).collect();
        if self.store.is_empty() {
            wrong.push("the store is empty".to_owned());
        }
        wrong
    }

    /// Every file of the store is what its line says, and there are no others.
    fn files(&self, directory: &Path) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        let mut expected = BTreeSet::new();
        for (place, entry) in self.store.files() {
            let name = entry.digest.to_string();
            match fs::read(directory.join(&name)) {
                Err(error) => wrong.push(format!("{place}: {error}")),
                Ok(bytes) => {
                    let is_whole = u64::try_from(bytes.len())? == entry.length;
                    if !is_whole || Digest(Sha256::digest(&bytes).into()) != entry.digest {
                        wrong.push(format!("{place} is another one"));
                    }
                }
            }
            expected.insert(name);
        }
        for file in fs::read_dir(directory)? {
            let name = file?.file_name().to_string_lossy().into_owned();
            if !expected.contains(&name) {
                wrong.push(format!("no line names {name}"));
            }
        }
        Ok(wrong)
    }

    /// What modules ask for is there, or called missing; and what modules of the core ask for stands in the list.
    fn firmware(&self) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        for (module, names) in self.asked.modules() {
            for Named { name, in_debian } in names {
                if self.has_firmware(name) != *in_debian {
                    let is = if *in_debian { "nowhere" } else { "called missing, and there" };
                    wrong.push(format!("{name}, which {module} asks for, is {is}"));
                }
            }
        }
        for path in self.kernel.modules().filter(|path| self.core_has(path)) {
            let bytes = kernel::bytes(&self.kernel.directory.join(path))?;
            let bytes = if plain(path) == path { bytes } else { compression::unpack(&bytes)? };
            let asked = modinfo::firmware(&bytes).with_context(|| format!("reading {path}"))?;
            let known: BTreeSet<&str> =
                self.asked.of(path).iter().map(|named| named.name.as_str()).collect();
            // Those with stars are in the list as what they stand for.
            for name in asked.iter().filter(|name| !name.contains('*')) {
                if !known.contains(name.as_str()) {
                    wrong.push(format!("no line names {name}, which {path} asks for"));
                }
            }
        }
        Ok(wrong)
    }

    /// The mark stands where the list has it, and nowhere else.
    fn network_storage(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (place, entry) in self.store.files() {
            if entry.network_storage != self.lists.is_network_storage(place.as_str()) {
                wrong.push(format!("{place}: the mark of network storage is wrong"));
            }
        }
        let is_core = |path: &&str| self.lists.is_network_storage(path) && self.core_has(path);
        wrong.extend(
            self.kernel.modules().filter(is_core).map(|path| format!("{path}: in the core")),
        );
        wrong
    }

    /// Every card has its pack, and a pack has what its name promises, byte for byte what is in the store.
    fn packs(&self, directory: &Path, index: &Index<'_>) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        let mut named: BTreeSet<&str> = self.cards.values().map(String::as_str).collect();
        named.remove(pack::CORE);
        named.insert(pack::ALL);
        let inside = |path: &str| pack::place(&self.kernel.release, path);
        let places: BTreeMap<String, Digest> = self
            .store
            .files()
            .map(|(place, entry)| (inside(place.as_str()), entry.digest))
            .collect();
        for name in &named {
            let path = directory.join(format!("{name}.cpio"));
            let files = pack::read(&kernel::bytes(&path)?)
                .with_context(|| format!("{} is no archive", path.display()))?;
            for (file, bytes) in &files {
                match places.get(file) {
                    None => wrong.push(format!("{name}.cpio: {file} is not of the store")),
                    Some(digest) if Digest(Sha256::digest(bytes).into()) != *digest => {
                        wrong.push(format!("{name}.cpio: {file} is another one"));
                    }
                    Some(_) => {}
                }
            }
            for path in index.plan(name) {
                if !self.core_has(path) && !files.contains_key(&inside(path)) {
                    wrong.push(format!("{name}.cpio has no {path}"));
                }
            }
        }
        for file in fs::read_dir(directory)? {
            let file = file?.file_name().to_string_lossy().into_owned();
            let is_known = file.strip_suffix(".cpio").is_some_and(|name| named.contains(name));
            if !is_known && file != "cards" {
                wrong.push(format!("no card needs {file}"));
            }
        }
        Ok(wrong)
    }
}
