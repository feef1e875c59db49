//! What the images are made of, as `make image` wrote it beside them.

use std::{collections::BTreeSet, fs::File, io::Read, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{super::asset::Image, Assets, Shared};

/// The longest list that is read: some twenty packages.
const LIST_LIMIT_BYTES: u64 = 64 << 10;

/// Which images there are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Versions {
    /// The build. Absent where the directory has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// One for each system and architecture that says what it is made of.
    pub systems: Vec<SystemVersions>,
}

/// What one of the systems is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemVersions {
    /// `sunshineos-x86_64`.
    pub name: String,
    /// `NAME=VERSION`: the image by what is in it, then Debian's packages of kernel and firmware. The same stands in
    /// the inventory of a machine that booted it.
    pub software: Vec<String>,
}

impl Assets {
    /// Names a directory without a look into it.
    pub fn unread(directory: &Path) -> Self {
        let shared = Shared { directory: directory.to_owned(), ..Shared::default() };
        Self { shared: Arc::new(shared), build: None }
    }

    /// Says what the images are made of that are served at this moment. Lists that are missing or make no sense are left out.
    /// Blocks.
    pub fn versions(&self) -> Versions {
        let now = self.now();
        let names: BTreeSet<String> = Image::all().map(Image::stem).collect();
        let systems = names.into_iter().filter_map(|name| {
            let software = list(&now.directory().join(format!("{name}.versions")))?;
            Some(SystemVersions { name, software })
        });
        Versions { build: now.build.map(|build| build.to_string()), systems: systems.collect() }
    }
}

fn list(path: &Path) -> Option<Vec<String>> {
    let mut text = String::new();
    File::open(path).ok()?.take(LIST_LIMIT_BYTES).read_to_string(&mut text).ok()?;
    Some(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::{
            build::tests::{NEW, OLD, add, flip},
            tests::directory,
        },
        *,
    };

    #[test]
    fn the_versions_are_those_of_the_build_that_is_served() {
        let directory = directory();
        let root = directory.path();
        let assets = Assets::unread(root);
        assert_eq!(assets.versions(), Versions::default(), "an older make image wrote none");
        for build in [OLD, NEW] {
            add(root, build, b"kernel");
            let list = root.join("builds").join(build).join("sunshineos-x86_64.versions");
            fs::write(list, format!("sunshineos={build}\nlinux-image-6.12=6.12-1\n")).unwrap();
            flip(root, build);
            let software = [format!("sunshineos={build}"), "linux-image-6.12=6.12-1".to_owned()];
            let systems = vec![SystemVersions {
                name: "sunshineos-x86_64".to_owned(),
                software: software.to_vec(),
            }];
            let expected = Versions { build: Some(build.to_owned()), systems };
            assert_eq!(assets.versions(), expected);
        }
    }
}
