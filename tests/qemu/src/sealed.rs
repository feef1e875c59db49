//! Unified kernel images that are signed with keys of one's own, as `make keys` and `make image SIGN=…` make them.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::{checkout, lab::Lab};

/// The systems that there are images of.
pub(crate) const SYSTEMS: [&str; 2] = ["sunshineos", "herculesos"];

/// What a server serves, with signed images that change, and the keys.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// The directory of a server's assets: the checkout's, but for the signed images.
    pub(crate) directory: PathBuf,
    /// The directory of the keys.
    pub(crate) keys: PathBuf,
    /// What its images are for, as `uname -m` says it.
    architecture: &'static str,
}

impl Sealed {
    /// Makes keys, and puts the images that nobody signed in the place of the signed ones.
    pub(crate) fn make(lab: &Lab) -> Result<Sealed> {
        Sealed::make_for(lab, "x86_64")
    }

    /// Does so for machines of an architecture.
    pub(crate) fn make_for(lab: &Lab, architecture: &'static str) -> Result<Sealed> {
        let dist = checkout::unified()?;
        let (directory, keys) = (lab.scratch("sealed"), lab.scratch("keys"));
        fs::create_dir(&directory).context("making a directory for images")?;
        for entry in fs::read_dir(checkout::build()?).context("reading a build")? {
            let entry = entry.context("reading a build")?;
            let name = entry.file_name();
            // Nor what belongs to them: what is written beside them goes into the build.
            let is_of_signed = [".efi", ".store"]
                .iter()
                .any(|form| name.to_string_lossy().ends_with(&format!("-signed{form}")));
            if !is_of_signed {
                symlink(entry.path(), directory.join(&name))
                    .with_context(|| format!("linking {}", name.display()))?;
            }
        }
        run("image/make-keys", &[keys.as_os_str()])?;
        let sealed = Sealed { directory, keys, architecture };
        for system in SYSTEMS {
            // A server that serves signed images has those for this architecture in any case.
            for architecture in BTreeSet::from(["x86_64", architecture]) {
                let [open, signed] =
                    ["all", "signed"].map(|form| format!("{system}-{architecture}-{form}.efi"));
                fs::copy(dist.join(open), sealed.directory.join(signed))
                    .context("copying an image")?;
            }
        }
        Ok(sealed)
    }

    /// Puts an image there that trusts the servers with these pins, and is signed.
    pub(crate) fn sign(&self, system: &str, pins: &str) -> Result<()> {
        let architecture = self.architecture;
        let initrd = checkout::unified()?.join(format!("{system}-{architecture}.initrd"));
        let signed = self.image(system);
        let [architecture, system, pins, by_dhcp] =
            [architecture, system, pins, ""].map(OsStr::new);
        let words = [
            architecture,
            system,
            self.keys.as_ref(),
            pins,
            by_dhcp,
            signed.as_ref(),
            initrd.as_ref(),
        ];
        run("image/sign", &words)
    }

    /// Makes a directory of assets in which iPXE is signed too, and loads this initramfs behind whatever kernel is put there.
    pub(crate) fn beside_foreign(&self, lab: &Lab, initrd: &[u8]) -> Result<PathBuf> {
        let (dist, directory) = (checkout::unified()?, lab.scratch("foreign"));
        fs::create_dir_all(directory.join("ipxe")).context("making a directory for images")?;
        let [undionly, snponly] = ["ipxe/undionly.kpxe", "ipxe/snponly.efi"];
        symlink(dist.join(undionly), directory.join(undionly)).context("linking a program")?;
        for (name, content) in [("vmlinuz", &b"none yet"[..]), ("initrd", initrd)] {
            fs::write(directory.join(format!("sunshineos-x86_64.{name}")), content)
                .with_context(|| format!("writing {name}"))?;
        }
        let (key, certificate) = (self.keys.join("db.key"), self.keys.join("db.crt"));
        let (signed, open) = (directory.join(snponly), dist.join(snponly));
        let words = ["sbsign", "--key", "--cert", "--output"].map(OsStr::new);
        let [program, key_is, certificate_is, to] = words;
        run(
            "image/from-parts",
            &[
                program,
                key_is,
                key.as_ref(),
                certificate_is,
                certificate.as_ref(),
                to,
                signed.as_ref(),
                open.as_ref(),
            ],
        )?;
        Ok(directory)
    }

    /// Changes one bit well inside an image, which is in its kernel or its initramfs.
    pub(crate) fn tamper(&self, system: &str) -> Result<()> {
        let mut image = fs::read(self.image(system)).context("reading a signed image")?;
        let inside = image.len() * 2 / 3;
        image[inside] ^= 1;
        self.put(system, &image)
    }

    /// Returns where the signed image of a system is.
    pub(crate) fn image(&self, system: &str) -> PathBuf {
        self.directory.join(format!("{system}-{}-signed.efi", self.architecture))
    }

    /// Renames it into place: who loads it meanwhile gets one or the other.
    fn put(&self, system: &str, image: &[u8]) -> Result<()> {
        let beside = self.directory.join("beside");
        fs::write(&beside, image).context("writing an image")?;
        fs::rename(&beside, self.image(system)).context("replacing an image")
    }
}

/// Runs a script of the checkout, as `make` does.
pub(crate) fn run(script: &str, words: &[&OsStr]) -> Result<()> {
    let output = Command::new(checkout::root().join(script))
        .args(words)
        .current_dir(checkout::root())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {script}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{script}: {}: {}", output.status, complaint.trim());
    Ok(())
}
