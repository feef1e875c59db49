//! The checkout that the harness belongs to, and what was built in it.

use std::path::{Path, PathBuf};

/// Returns the top directory.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this package is two levels below the top").to_owned()
}
