//! `drydock version`: of the program, and of the images that it serves.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::output::{self, Format};
use crate::{
    boot::{Assets, Versions},
    serve::ASSETS,
};

/// `drydock version`.
#[derive(Debug, clap::Args)]
pub(super) struct Version {
    /// Where boot programs and images are, as `make image` writes them.
    #[arg(long, default_value = ASSETS, value_name = "DIR")]
    assets: PathBuf,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'path> {
    version: &'static str,
    assets: &'path Path,
    images: Versions,
}

impl Version {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let images = Assets::unread(&self.assets).versions();
        let shown = Shown { version: env!("CARGO_PKG_VERSION"), assets: &self.assets, images };
        output::show(self.output, &shown, text)
    }
}

fn text(shown: &Shown<'_>) -> String {
    let mut lines = vec![format!("drydock {}", shown.version)];
    let Versions { build, systems } = &shown.images;
    if build.is_some() || !systems.is_empty() {
        let build = build.as_ref().map(|build| format!(", build {build}")).unwrap_or_default();
        lines.push(format!("images in {}{build}", shown.assets.display()));
    }
    for system in systems {
        lines.push(format!("  {}", system.name));
        let software = system.software.iter().map(|line| line.replacen('=', " ", 1));
        lines.extend(software.map(|line| format!("    {line}")));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::SystemVersions;

    #[test]
    fn the_images_are_shown_with_what_they_are_made_of() {
        let software = ["sunshineos=0a1b2c3d4e5f", "linux-image-6.12=6.12-1"].map(str::to_owned);
        let name = "sunshineos-x86_64".to_owned();
        let systems = vec![SystemVersions { name, software: software.to_vec() }];
        let images = Versions { build: Some("f5e4d3c2b1a0".to_owned()), systems };
        let mut shown = Shown { version: "0.1.0", assets: Path::new("/x"), images };
        insta::assert_snapshot!(text(&shown), @r"
        drydock 0.1.0
        images in /x, build f5e4d3c2b1a0
          sunshineos-x86_64
            sunshineos 0a1b2c3d4e5f
            linux-image-6.12 6.12-1
        ");
        shown.images = Versions::default();
        assert_eq!(text(&shown), "drydock 0.1.0\n");
    }
}
