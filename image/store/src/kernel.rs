//! A directory of modules, as depmod has indexed it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use modules::Texts;

/// The lists of depmod that agents read.
pub(crate) const LISTS: [&str; 4] =
    ["modules.alias", "modules.builtin", "modules.dep", "modules.softdep"];

/// The modules of one kernel.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// As `uname -r` names it.
    pub(crate) release: String,
    /// `lib/modules/RELEASE` of some root.
    pub(crate) directory: PathBuf,
    /// What depmod says of them.
    pub(crate) texts: Texts,
}

impl Kernel {
    /// Opens the only kernel whose modules are below a root.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let all = root.join("lib/modules");
        let entries = fs::read_dir(&all).with_context(|| format!("reading {}", all.display()))?;
        let mut releases = Vec::new();
        for entry in entries {
            releases.push(entry?.file_name().into_string().unwrap_or_default());
        }
        let [release] = releases.as_slice() else {
            bail!("{} holds {} kernels, not one", all.display(), releases.len())
        };
        let directory = all.join(release);
        let texts = Texts {
            alias: text(&directory.join("modules.alias"))?,
            dep: text(&directory.join("modules.dep"))?,
            softdep: text(&directory.join("modules.softdep"))?,
        };
        Ok(Self { release: release.clone(), directory, texts })
    }

    /// Returns the paths of all modules.
    pub(crate) fn modules(&self) -> impl Iterator<Item = &str> {
        self.texts.dep.lines().filter_map(|line| line.split_once(':')).map(|(path, _)| path)
    }
}

/// Returns how a module is named whether it is stored compressed or not.
pub(crate) fn plain(path: &str) -> &str {
    path.strip_suffix(".xz").unwrap_or(path)
}

/// Reads a text, and says which where that fails.
pub(crate) fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// Reads a file, and says which where that fails.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}
