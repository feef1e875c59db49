//! Where things lie below the directory in which images are built.

use std::path::{Path, PathBuf};

/// A directory in which images are built: `target/image`.
#[derive(Debug)]
pub(crate) struct Layout {
    build: PathBuf,
}

impl Layout {
    /// Says nothing of what is there.
    pub(crate) fn new(build: impl AsRef<Path>) -> Self {
        Self { build: build.as_ref().to_owned() }
    }

    /// All modules of both lists, indexed together.
    pub(crate) fn union(&self) -> PathBuf {
        self.build.join("union")
    }

    /// Which list names which module.
    pub(crate) fn named(&self) -> PathBuf {
        self.build.join("union.named")
    }

    /// The firmware of Debian's packages.
    pub(crate) fn firmware(&self) -> PathBuf {
        self.build.join("parts/usr/lib/firmware")
    }

    /// The core, as it is packed.
    pub(crate) fn core(&self) -> PathBuf {
        self.build.join("modules")
    }

    /// The store: files that are named by their digests.
    pub(crate) fn store(&self) -> PathBuf {
        self.build.join("store")
    }

    /// The packs, and which card needs which.
    pub(crate) fn packs(&self) -> PathBuf {
        self.build.join("packs")
    }
}
