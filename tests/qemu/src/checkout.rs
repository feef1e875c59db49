//! The checkout that the harness belongs to, and what was built in it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::suite::LeftOut;

/// Returns the top directory.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this package is two levels below the top").to_owned()
}

/// Returns the server that was built.
pub(crate) fn drydock() -> Result<PathBuf> {
    built("drydock-x86_64", "make drydock")
}

/// Returns the directory with what machines boot.
pub(crate) fn image() -> Result<PathBuf> {
    built("sunshineos-x86_64.initrd", "make image")?;
    Ok(root().join("dist"))
}

/// Returns a file in `dist/`; where it is missing, the case is left out.
fn built(name: &str, by: &str) -> Result<PathBuf> {
    let path = root().join("dist").join(name);
    if !path.exists() {
        return Err(LeftOut(format!("dist/{name} is missing: run `{by}`")).into());
    }
    Ok(path)
}
