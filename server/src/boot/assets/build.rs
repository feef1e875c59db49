//! Builds: whole sets of images beside each other, of which one is served to the next boot.
//!
//! ```text
//!  dist/current  ─► builds/0a1b2c3d4e5f     the next boot gets this one
//!  dist/previous ─► builds/f5e4d3c2b1a0     who began to load it gets the rest of it, and its store
//! ```
//!
//! `make image` writes a build whole before it lets `current` point at it, by one `rename(2)`. A boot script names the build
//! in every URL, so that a machine loads kernel, initramfs and pack of one, whatever happens meanwhile.

use std::{fmt, fs, path::PathBuf, sync::PoisonError};

use tracing::info;

use super::Assets;

/// The link to the build that is served.
const CURRENT: &str = "current";
/// The directory of all builds.
const BUILDS: &str = "builds";
/// The digits of a name.
const DIGITS: usize = 12;

/// The name of a build: the first twelve lower-case digits of the SHA-256 of its list of checksums.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildName([u8; DIGITS]);

impl BuildName {
    /// Reads a name; nothing where it is none.
    pub fn read(text: &str) -> Option<Self> {
        let digits: [u8; DIGITS] = text.as_bytes().try_into().ok()?;
        digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).then_some(Self(digits))
    }
}

impl fmt::Display for BuildName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.0).unwrap_or_default())
    }
}

impl fmt::Debug for BuildName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Assets {
    /// Returns the files of the build that is served at this moment, and of no other, whatever happens afterwards. Blocks.
    #[must_use]
    pub fn now(&self) -> Self {
        let Some(build) = self.current().filter(|_| self.build.is_none()) else {
            return self.clone();
        };
        let mut known = self.shared.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if known.replace(build) != Some(build) {
            info!(%build, "machines get this build of the images");
        }
        self.of(build)
    }

    /// Returns the files of one build, which may be gone.
    #[must_use]
    pub fn of(&self, build: BuildName) -> Self {
        Self { build: Some(build), ..self.clone() }
    }

    /// Returns which build these are the files of. Absent where the directory has no builds, or is not held to one.
    pub fn build(&self) -> Option<BuildName> {
        self.build
    }

    /// Where the files are.
    pub(super) fn directory(&self) -> PathBuf {
        let root = &self.shared.directory;
        if let Some(build) = self.build.or_else(|| self.current()) {
            return root.join(BUILDS).join(build.to_string());
        }
        // A link of another form is followed all the same: then the files are those of the moment.
        let current = root.join(CURRENT);
        if current.is_symlink() { current } else { root.clone() }
    }

    /// Where a file may be that every build that is still there has, or one of them: first the current one's.
    pub(super) fn everywhere(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        let root = &self.shared.directory;
        let builds = fs::read_dir(root.join(BUILDS)).into_iter().flatten().flatten();
        let builds: Vec<PathBuf> = builds.map(|build| build.path()).collect();
        let all = [self.directory()].into_iter().chain(builds);
        let name = name.to_owned();
        all.map(move |directory| directory.join(&name))
    }

    /// Holds where a build has not been removed.
    pub(super) fn is_kept(&self, build: BuildName) -> bool {
        self.shared.directory.join(BUILDS).join(build.to_string()).is_dir()
    }

    fn current(&self) -> Option<BuildName> {
        let target = fs::read_link(self.shared.directory.join(CURRENT)).ok()?;
        let name = target.strip_prefix(BUILDS).ok()?;
        BuildName::read(name.to_str()?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{os::unix::fs::symlink, path::Path};

    use super::{
        super::{
            AssetError, Content, StoreName,
            tests::{KERNEL, NEEDED, directory, pattern},
        },
        *,
    };

    /// Puts what a directory of assets has into a build, and marks its kernel.
    pub(crate) fn add(root: &Path, name: &str, kernel: &[u8]) {
        let build = root.join(BUILDS).join(name);
        fs::create_dir_all(build.join("ipxe")).unwrap();
        for asset in NEEDED {
            fs::write(build.join(asset.location()), pattern(1000)).unwrap();
        }
        fs::write(build.join(KERNEL.location()), kernel).unwrap();
    }

    /// Has the next boot get a build, as `make image` does.
    pub(crate) fn flip(root: &Path, name: &str) {
        symlink(Path::new(BUILDS).join(name), root.join("current.new")).unwrap();
        fs::rename(root.join("current.new"), root.join(CURRENT)).unwrap();
    }

    pub(crate) const OLD: &str = "0a1b2c3d4e5f";
    pub(crate) const NEW: &str = "f5e4d3c2b1a0";

    fn kernel(assets: &Assets) -> Vec<u8> {
        let Content::Memory(bytes) = assets.read(KERNEL).unwrap().content else { panic!("a file") };
        bytes.to_vec()
    }

    #[test]
    fn a_name_is_twelve_lower_case_digits() {
        assert_eq!(BuildName::read(OLD).unwrap().to_string(), OLD);
        for name in ["", "..", "0a1b2c3d4e5", "0a1b2c3d4e5f0", "0A1B2C3D4E5F", "0a1b2c3d4e5/"] {
            assert_eq!(BuildName::read(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_held_to_a_build_stays_with_it_and_the_rest_goes_on() {
        let directory = directory();
        let root = directory.path();
        let assets = Assets::open(root).unwrap();
        assert_eq!(assets.now().build(), None, "there are no builds");
        add(root, OLD, b"old");
        add(root, NEW, b"newer");
        flip(root, OLD);
        let held = assets.now();
        assert_eq!((kernel(&assets), kernel(&held)), (b"old".to_vec(), b"old".to_vec()));
        flip(root, NEW);
        assert_eq!((kernel(&assets), kernel(&held)), (b"newer".to_vec(), b"old".to_vec()));
        assert_eq!(assets.now().build(), BuildName::read(NEW));
        // The way back.
        flip(root, OLD);
        assert_eq!(kernel(&assets.now()), b"old");
        fs::remove_dir_all(root.join(BUILDS).join(NEW)).unwrap();
        let gone = assets.of(BuildName::read(NEW).unwrap()).read(KERNEL).unwrap_err();
        assert!(matches!(gone, AssetError::Missing { .. }), "{gone}");
    }

    #[test]
    fn what_is_remembered_of_builds_that_are_gone_is_forgotten() {
        let directory = directory();
        let root = directory.path();
        let assets = Assets::open(root).unwrap();
        for number in 0..10 {
            let name = format!("{number:012}");
            add(root, &name, b"kernel");
            flip(root, &name);
            kernel(&assets.now());
            fs::remove_dir_all(root.join(BUILDS).join(&name)).unwrap();
        }
        let known = assets.shared.known.lock().unwrap();
        let builds = known.keys().filter(|(build, _)| build.is_some());
        assert!(builds.count() <= 1, "{:?}", known.keys());
    }

    #[test]
    fn the_store_of_every_build_that_is_kept_is_served() {
        let directory = directory();
        let root = directory.path();
        let (mine, old) = ("0a".repeat(32), "0b".repeat(32));
        for (build, name) in [(NEW, &mine), (OLD, &old)] {
            add(root, build, b"kernel");
            fs::create_dir(root.join(BUILDS).join(build).join("store")).unwrap();
            fs::write(root.join(BUILDS).join(build).join("store").join(name), build).unwrap();
        }
        flip(root, NEW);
        let assets = Assets::open(root).unwrap();
        let there = |name: &str| assets.stored(&StoreName::read(name).unwrap()).unwrap().is_some();
        assert!(there(&mine) && there(&old));
        fs::remove_dir_all(root.join(BUILDS).join(OLD)).unwrap();
        assert!(there(&mine) && !there(&old));
    }

    #[test]
    fn a_link_of_another_form_is_followed() {
        let directory = directory();
        let root = directory.path();
        add(root, "mine", b"mine");
        flip(root, "mine");
        let assets = Assets::open(root).unwrap();
        assert_eq!((kernel(&assets.now()), assets.now().build()), (b"mine".to_vec(), None));
        // One that points nowhere is no way to the files beside it.
        flip(root, OLD);
        assert!(matches!(assets.now().read(KERNEL), Err(AssetError::Missing { .. })));
    }
}
