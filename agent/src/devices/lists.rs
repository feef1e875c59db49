//! The lists of this kernel's modules, read.

use std::{fs, io, path::Path};

use modules::Texts;

/// Reads depmod's lists in a module directory. Only soft dependencies may be missing.
pub(super) fn texts(directory: &Path) -> io::Result<Texts> {
    Ok(Texts {
        alias: fs::read_to_string(directory.join("modules.alias"))?,
        dep: fs::read_to_string(directory.join("modules.dep"))?,
        softdep: fs::read_to_string(directory.join("modules.softdep")).unwrap_or_default(),
    })
}
