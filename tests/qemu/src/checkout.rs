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

/// Returns the directory of the build in it that is served to the next boot, which has no builds of its own.
pub(crate) fn build() -> Result<PathBuf> {
    built("current", "make image")
}

/// Returns the initramfs of `SunshineOS` with a console for media, where it was made: its agent has the feature `offline`.
pub(crate) fn medium_initrd() -> Result<PathBuf> {
    there("target/image/sunshineos-medium.initrd", "make image")
}

/// Returns the directory with what machines boot, where the system that wipes is in it.
pub(crate) fn hercules() -> Result<PathBuf> {
    built("herculesos-x86_64.initrd", "make image")?;
    image()
}

/// Returns the directory with what machines boot, unified kernel images of both systems among it.
pub(crate) fn unified() -> Result<PathBuf> {
    built("sunshineos-x86_64-all.efi", "make image")?;
    built("herculesos-x86_64-all.efi", "make image")?;
    image()
}

/// Returns the directory with what machines boot, that for 64-bit Arm among it, and their firmware and QEMU there too.
pub(crate) fn arm() -> Result<PathBuf> {
    for name in ["sunshineos-aarch64.initrd", "sunshineos-aarch64-all.efi"] {
        built(name, "make image ARCH=aarch64")?;
    }
    unified()
}

/// Returns the directory of what was packed into both systems as kernel modules.
pub(crate) fn modules() -> Result<PathBuf> {
    there("target/image/modules", "make image")
}

/// Returns the directory of the files that are not in the image: drivers and firmware, by their SHA-256.
pub(crate) fn store() -> Result<PathBuf> {
    built("store", "make image")
}

/// Returns the disk image that machines install: a Debian with cloud-init, for BIOS and UEFI.
pub(crate) fn cloud() -> Result<PathBuf> {
    there("target/cloud/cloud.raw", "make cloud")
}

/// Returns the disk of a Debian that boots with systemd, on which releases are installed.
pub(crate) fn host() -> Result<PathBuf> {
    there("target/host/host.raw", "make host")
}

/// Returns the directory of the release: packages, archives, OCI images.
pub(crate) fn release() -> Result<PathBuf> {
    built("release", "make release")
}

/// Returns a file in `dist/`; where it is missing, the case is left out.
fn built(name: &str, by: &str) -> Result<PathBuf> {
    there(&format!("dist/{name}"), by)
}

fn there(name: &str, by: &str) -> Result<PathBuf> {
    let path = root().join(name);
    if !path.exists() {
        return Err(LeftOut(format!("{name} is missing: run `{by}`")).into());
    }
    Ok(path)
}
