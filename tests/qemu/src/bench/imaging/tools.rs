//! The programs that are compared, and how each is called.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::super::installed;
use crate::{checkout, interrupt, process::tail, story::Clock};

/// Something that puts an image on a disk.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    program: PathBuf,
    /// `URL` and `DISK` stand for the image and the disk.
    arguments: Vec<String>,
    environment: Vec<(&'static str, &'static str)>,
}

/// All of them; absent are those that are not installed.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) ours: Tool,
    pub(super) measure: PathBuf,
    pub(super) image2disk: Option<Tool>,
    pub(super) gzip: Option<Tool>,
    pub(super) xz: Option<Tool>,
    pub(super) zstd: Option<Tool>,
    pub(super) coreos_installer: Option<Tool>,
    pub(super) bmaptool: Option<Tool>,
}

impl Tools {
    /// Looks for them, and says what is missing.
    pub(super) fn find(clock: &Clock) -> Result<Self> {
        let built = |name: &str| {
            let path = checkout::root().join("target/release").join(name);
            ensure!(path.exists(), "{} is missing: `make bench` builds it", path.display());
            Ok(path)
        };
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let ours = Tool {
            name: "sunshine write",
            program: built("sunshine")?,
            arguments: words("write --image URL --disk DISK --overwrite"),
            environment: Vec::new(),
        };
        let peer = |name: &'static str, program: &str, arguments: &str, environment: &[_]| {
            let Some(program) = installed(program) else {
                clock.say(&format!("{program} is not there: `make deps-bench` installs it"));
                return None;
            };
            let environment = environment.to_vec();
            Some(Tool { name, program, arguments: words(arguments), environment })
        };
        // What unpacks does not flush, so dd does.
        let pipe = |name: &'static str, unpack: &str| {
            for needed in ["bash", "curl", unpack] {
                if installed(needed).is_none() {
                    clock.say(&format!("{needed} is not there: `make deps-bench` installs it"));
                    return None;
                }
            }
            let script = format!(
                "set -o pipefail; curl --silent --fail URL | {unpack} -dc | \
                 dd of=DISK bs=4M iflag=fullblock conv=fsync status=none"
            );
            let arguments = vec!["-c".to_owned(), script];
            Some(Tool { name, program: "bash".into(), arguments, environment: Vec::new() })
        };
        let for_image2disk = [("IMG_URL", "URL"), ("DEST_DISK", "DISK"), ("COMPRESSED", "true")];
        let coreos_installer = peer(
            "coreos-installer",
            "coreos-installer",
            "install --offline --insecure --image-url URL DISK",
            &[],
        );
        // It waits for udevd after it has written, and undoes what it wrote where there is none.
        let has_udevd = Path::new("/run/udev/control").exists();
        if coreos_installer.is_some() && !has_udevd {
            clock.say("coreos-installer is left out: it needs udevd, which does not run here");
        }
        Ok(Self {
            ours,
            measure: built("examples/measure")?,
            image2disk: peer("image2disk", "image2disk", "", &for_image2disk),
            gzip: pipe("curl | gzip -dc | dd", "gzip"),
            xz: pipe("curl | xz -dc | dd", "xz"),
            zstd: pipe("curl | zstd -dc | dd", "zstd"),
            coreos_installer: coreos_installer.filter(|_| has_udevd),
            bmaptool: peer("bmaptool", "bmaptool", "copy --bmap BMAP URL DISK", &[]),
        })
    }
}

impl Tool {
    /// Runs it to its end, and returns how long that took.
    pub(super) fn run(&self, address: &str, disk: &str) -> Result<Duration> {
        let bmap = address.rsplit_once('/').map_or("", |(directory, _)| directory);
        let bmap = format!("{bmap}/image.bmap");
        let said =
            |text: &str| text.replace("BMAP", &bmap).replace("URL", address).replace("DISK", disk);
        let mut command = Command::new(&self.program);
        command
            .args(self.arguments.iter().filter(|word| !word.is_empty()).map(|word| said(word)))
            .envs(self.environment.iter().map(|(name, value)| (name, said(value))))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let begun = Instant::now();
        let child = interrupt::unmasked(|| command.spawn())?;
        let output = child.and_then(std::process::Child::wait_with_output);
        let output = output.with_context(|| format!("running {}", self.name))?;
        let took = begun.elapsed();
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {}: {}", self.name, output.status, tail(&words, 15));
        Ok(took)
    }
}
