//! The firmware that modules name, found once and packed once.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use modules::{Firmware, Named};

use crate::{
    compression,
    firmware::{Stored, Tree},
    kernel::{self, Kernel, plain},
    modinfo, parallel,
};

/// What each module asks for, and what there is of it.
#[derive(Debug, Default)]
pub(crate) struct Supply {
    /// `modules.firmware`.
    pub(crate) asked: Firmware,
    /// By the names that drivers ask with.
    there: BTreeMap<String, Stored>,
}

impl Supply {
    /// Reads all modules of a kernel, and all that they name.
    pub(crate) fn gather(kernel: &Kernel, tree: &Tree) -> Result<Self> {
        let paths: Vec<&str> = kernel.modules().collect();
        let asked = parallel::each(&paths, |path| named(kernel, path))?;
        let expanded: Vec<Vec<String>> = asked
            .iter()
            .map(|names| names.iter().flat_map(|name| tree.expand(name)).collect())
            .collect();
        let names: BTreeSet<&String> = expanded.iter().flatten().collect();
        let names: Vec<&String> = names.into_iter().collect();
        let found = parallel::each(&names, |name| tree.read(name))?;
        let there: BTreeMap<String, Stored> = names
            .into_iter()
            .zip(found)
            .filter_map(|(name, stored)| Some((name.clone(), stored?)))
            .collect();
        let mut supply = Self { asked: Firmware::default(), there };
        for (path, names) in paths.iter().zip(&expanded).filter(|(_, names)| !names.is_empty()) {
            // In the driver's order; what it names twice, once.
            let mut asked: Vec<Named> = Vec::new();
            for name in names {
                if !asked.iter().any(|named| named.name == *name) {
                    let in_debian = supply.there.contains_key(name);
                    asked.push(Named { name: name.clone(), in_debian });
                }
            }
            let inserted = supply.asked.insert(path, asked);
            inserted.with_context(|| format!("what {path} names"))?;
        }
        Ok(supply)
    }

    /// Returns what there is of what a module names.
    pub(crate) fn of(&self, module: &str) -> impl Iterator<Item = &Stored> {
        self.asked.of(module).iter().filter_map(|named| self.there.get(&named.name))
    }

    /// Returns how many bytes a module's firmware is together, as stored.
    pub(crate) fn bytes_of(&self, module: &str) -> usize {
        self.of(module).map(|stored| stored.bytes.len()).sum()
    }

    /// Returns all that there is.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Stored> {
        self.there.values()
    }
}

fn named(kernel: &Kernel, path: &str) -> Result<Vec<String>> {
    let mut bytes = kernel::bytes(&kernel.directory.join(path))?;
    if plain(path) != path {
        bytes = compression::unpack(&bytes).with_context(|| format!("unpacking {path}"))?;
    }
    modinfo::firmware(&bytes).with_context(|| format!("{path} does not describe itself"))
}
