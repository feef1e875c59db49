//! The static tree for a router: boot programs and scripts as files, for its TFTP server and its web server alike.
//!
//! The tree is made beside the place where it goes, checked, and renamed into it. What stands there already is replaced
//! only if it is a tree of ours to the last file.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use linux::filesystem::exchange;
use ring::digest;

use super::{
    asset::{Architecture, Asset, Image},
    assets::{AssetError, Assets, Content, hexadecimal},
    pack::Pack,
    script::{self, Beginning, Fallback},
    settings::Settings,
};
use crate::decision::System;

/// Marks a directory as ours, and says to people what it is.
const MARK: &str = "DRYDOCK";
/// The first line of the mark.
const MARK_LINE: &str = "This tree was written by `drydock export`, which replaces it as a whole.";
/// The list of all other files, as `sha256sum -c` reads it.
const SUMS: &str = "SHA256SUMS";
/// How much of a file is copied at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// What a machine does that boots from the tree while the server does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutServer {
    /// It boots its own disk, as it does without the router's help. The tree then holds no images.
    OwnDisk,
    /// It boots SunshineOS from the tree, which waits for the server, with the drivers of all network cards: each pack beside
    /// would make the tree twice as large. For places where all machines are blank or to be held.
    Sunshine,
}

/// Says why there is no tree, or still the old one.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Something stands there that we did not write.
    #[error("not empty, and not a tree of ours: {directory} holds {found}")]
    NotOurs {
        /// Where the tree was to go.
        directory: PathBuf,
        /// What stands there.
        found: PathBuf,
    },
    /// `/` or `..`.
    #[error("no name for a directory: {0}")]
    NoName(PathBuf),
    /// A boot program or image.
    #[error("reading what is to be exported")]
    Asset(#[from] AssetError),
    /// A file has changed under our hands.
    #[error("changed while it was copied: {0}")]
    Changed(String),
    /// A directory cannot be read.
    #[error("reading {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A file or directory cannot be written.
    #[error("writing {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

/// Writes the tree, and returns the paths of its files, relative to it.
///
/// The name is the old tree's or the new one's at every moment, also after a crash. Only on a file system that cannot
/// exchange two names (NFS) is it nobody's for an instant, and a crash then leaves both trees under other names.
pub fn export(
    directory: &Path,
    assets: &Assets,
    settings: &Settings,
    without_server: WithoutServer,
) -> Result<Vec<String>, ExportError> {
    let (place, assets) = (Place::of(directory)?, &assets.now());
    let stands = place.look()?;
    let mut tree = Tree { root: place.beside("new"), sums: BTreeMap::new() };
    let written =
        tree.write(assets, settings, without_server).and_then(|()| place.put(&tree.root, stands));
    if written.is_err() {
        // The first error is the one to tell.
        drop(fs::remove_dir_all(&tree.root));
    }
    written?;
    Ok(tree.sums.into_keys().collect())
}

/// Where the tree goes.
struct Place {
    directory: PathBuf,
    parent: PathBuf,
    name: String,
}

/// What stands there.
#[derive(Clone, Copy)]
enum Stands {
    Nothing,
    Ours,
}

impl Place {
    fn of(directory: &Path) -> Result<Self, ExportError> {
        // A symbolic link is followed: the tree goes where it points.
        let directory = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
        let name = directory.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.ok_or_else(|| ExportError::NoName(directory.clone()))?;
        let parent = match directory.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(Self { directory, parent, name })
    }

    fn beside(&self, role: &str) -> PathBuf {
        self.parent.join(format!(".{}.{role}-{}", self.name, std::process::id()))
    }

    fn look(&self) -> Result<Stands, ExportError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(mut entries) => entries.next(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(ExportError::Read { path: self.directory.clone(), source }),
        };
        let Some(first) = entries else { return Ok(Stands::Nothing) };
        let first = first.map_or_else(|_| self.directory.clone(), |entry| entry.path());
        let text = |name| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        if text(MARK).lines().next() != Some(MARK_LINE) {
            return self.not_ours(first);
        }
        let sums = text(SUMS);
        let listed: Vec<&str> =
            sums.lines().filter_map(|line| line.split_once("  ")).map(|(_, name)| name).collect();
        for found in files(&self.directory)? {
            let name = found.strip_prefix(&self.directory).unwrap_or(&found);
            let is_ours = name
                .to_str()
                .is_some_and(|name| listed.contains(&name) || [MARK, SUMS].contains(&name));
            if !is_ours {
                return self.not_ours(found);
            }
        }
        Ok(Stands::Ours)
    }

    fn not_ours(&self, found: PathBuf) -> Result<Stands, ExportError> {
        Err(ExportError::NotOurs { directory: self.directory.clone(), found })
    }

    fn put(&self, tree: &Path, stands: Stands) -> Result<(), ExportError> {
        match stands {
            // An empty directory is replaced by rename(2) itself.
            Stands::Nothing => rename(tree, &self.directory)?,
            Stands::Ours => {
                let old = match exchange(tree, &self.directory) {
                    Ok(()) => tree.to_owned(),
                    Err(error) if cannot_exchange(&error) => self.swap(tree)?,
                    Err(source) => {
                        return Err(ExportError::Write { path: self.directory.clone(), source });
                    }
                };
                // Before the old one goes: a crash must not leave less than one.
                sync(&self.parent)?;
                fs::remove_dir_all(&old)
                    .map_err(|source| ExportError::Write { path: old, source })?;
            }
        }
        sync(&self.parent)
    }

    /// Puts the new tree in the place of the old one by two renames; returns where the old one is then.
    fn swap(&self, tree: &Path) -> Result<PathBuf, ExportError> {
        let old = self.beside("old");
        rename(&self.directory, &old)?;
        if let Err(error) = rename(tree, &self.directory) {
            rename(&old, &self.directory)?;
            return Err(error);
        }
        Ok(old)
    }
}

/// Holds for what kernels say of a file system that cannot exchange names, or are too old to.
fn cannot_exchange(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

/// A tree in the making.
struct Tree {
    root: PathBuf,
    sums: BTreeMap<String, String>,
}

impl Tree {
    fn write(
        &mut self,
        assets: &Assets,
        settings: &Settings,
        without_server: WithoutServer,
    ) -> Result<(), ExportError> {
        let boots = without_server == WithoutServer::Sunshine;
        let packs: Vec<Pack> = [Architecture::X86_64, Architecture::Aarch64]
            .into_iter()
            .filter_map(|architecture| assets.pack(architecture, None).filter(|_| boots))
            .collect();
        let mut directories = vec![String::new(), "boot".to_owned()];
        directories.extend(boots.then(|| "image".to_owned()));
        directories.extend((!packs.is_empty()).then(|| "pack".to_owned()));
        let of_pack = |pack: &Pack| format!("pack/{}", pack.architecture.name());
        directories.extend(packs.iter().map(of_pack));
        for directory in &directories {
            self.directory(directory)?;
        }
        for pack in &packs {
            let name = format!("{}/{}", of_pack(pack), pack.file_name());
            self.copy(assets, Asset::Pack(*pack), &name)?;
        }
        for asset in assets.present() {
            let name = match asset {
                Asset::Program(program) => format!("boot/{}", program.file_name()),
                Asset::Image(image @ Image { system: System::Sunshine, .. }) if boots => {
                    format!("image/{}", image.file_name())
                }
                // A router has no serial numbers to go by.
                Asset::Image(_) | Asset::Pack(_) | Asset::Unified(_) | Asset::Board(_) => continue,
            };
            self.copy(assets, asset, &name)?;
        }
        for (directory, root) in [("", ""), ("boot/", "../")] {
            let fallback = match without_server {
                WithoutServer::OwnDisk => Fallback::OwnDisk,
                WithoutServer::Sunshine => Fallback::Sunshine { root, has_pack: !packs.is_empty() },
            };
            let script = |beginning| script::exported(settings, beginning, fallback);
            self.text(&format!("{directory}boot.ipxe"), &script(Beginning::Leased))?;
            self.text(&format!("{directory}autoexec.ipxe"), &script(Beginning::Autoexec))?;
        }
        let sums: Vec<String> =
            self.sums.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
        self.file(SUMS, &mut sums.concat().as_bytes())?;
        let server = settings.http();
        let mark = format!(
            "{MARK_LINE}\nIts scripts ask {server} what a machine boots.\n\
             Serve it by TFTP (boot/) and by plain HTTP, without redirects. Check it: sha256sum -c {SUMS}\n"
        );
        self.file(MARK, &mut mark.as_bytes())?;
        for directory in directories.iter().rev() {
            sync(&self.root.join(directory))?;
        }
        Ok(())
    }

    fn directory(&self, name: &str) -> Result<(), ExportError> {
        let path = self.root.join(name);
        fs::create_dir(&path).map_err(|source| ExportError::Write { path, source })
    }

    fn copy(&mut self, assets: &Assets, asset: Asset, name: &str) -> Result<(), ExportError> {
        let opened = assets.read(asset)?;
        let sum = match opened.content {
            Content::Memory(bytes) => self.file(name, &mut &bytes[..])?,
            Content::File(mut file) => self.file(name, &mut file)?,
        };
        if sum != opened.tag {
            return Err(ExportError::Changed(asset.location()));
        }
        self.sums.insert(name.to_owned(), sum);
        Ok(())
    }

    fn text(&mut self, name: &str, text: &str) -> Result<(), ExportError> {
        let sum = self.file(name, &mut text.as_bytes())?;
        self.sums.insert(name.to_owned(), sum);
        Ok(())
    }

    /// Writes a file to disk, and returns its SHA-256.
    fn file(&self, name: &str, content: &mut dyn Read) -> Result<String, ExportError> {
        let path = self.root.join(name);
        let write = |content: &mut dyn Read| {
            let mut file = File::create_new(&path)?;
            let mut checksum = digest::Context::new(&digest::SHA256);
            let mut chunk = vec![0; CHUNK_BYTES];
            loop {
                let length = content.read(&mut chunk)?;
                let Some(read) = chunk.get(..length).filter(|read| !read.is_empty()) else { break };
                checksum.update(read);
                file.write_all(read)?;
            }
            file.sync_all()?;
            Ok(hexadecimal(checksum.finish().as_ref()))
        };
        write(content).map_err(|source| ExportError::Write { path: path.clone(), source })
    }
}

/// Returns all files below a directory. A symbolic link is a file.
fn files(directory: &Path) -> Result<Vec<PathBuf>, ExportError> {
    let of_read = |source| ExportError::Read { path: directory.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(of_read)? {
        let entry = entry.map_err(of_read)?;
        if entry.file_type().map_err(of_read)?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn rename(from: &Path, to: &Path) -> Result<(), ExportError> {
    fs::rename(from, to).map_err(|source| ExportError::Write { path: to.to_owned(), source })
}

fn sync(directory: &Path) -> Result<(), ExportError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|source| ExportError::Write { path: directory.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use protocol::Pin;

    use super::{
        super::{settings::SettingsAsWritten, test_assets},
        *,
    };

    fn settings() -> Settings {
        let written = SettingsAsWritten::usual(Ipv4Addr::new(10, 0, 0, 1), vec![Pin([1; 32])]);
        Settings::check(written).unwrap()
    }

    fn export_to(
        directory: &Path,
        without_server: WithoutServer,
    ) -> Result<Vec<String>, ExportError> {
        let source = test_assets::directory();
        let assets = Assets::open(source.path()).unwrap();
        export(directory, &assets, &settings(), without_server)
    }

    /// Everything below a directory, and next to it, relative to its parent.
    fn everything(parent: &Path) -> Vec<String> {
        let mut names: Vec<String> = files(parent)
            .unwrap()
            .iter()
            .map(|path| path.strip_prefix(parent).unwrap().display().to_string())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_tree_has_programs_scripts_and_sums_and_leaves_nothing_beside_it() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("tree");
        let written = export_to(&place, WithoutServer::Sunshine).unwrap();
        insta::assert_snapshot!(everything(parent.path()).join("\n"), @r"
        tree/DRYDOCK
        tree/SHA256SUMS
        tree/autoexec.ipxe
        tree/boot.ipxe
        tree/boot/autoexec.ipxe
        tree/boot/boot.ipxe
        tree/boot/snponly.efi
        tree/boot/undionly.kpxe
        tree/image/sunshineos-x86_64.initrd
        tree/image/sunshineos-x86_64.vmlinuz
        ");
        let sums = fs::read_to_string(place.join(SUMS)).unwrap();
        assert_eq!(sums.lines().count(), written.len());
        for line in sums.lines() {
            let (sum, name) = line.split_once("  ").unwrap();
            let content = fs::read(place.join(name)).unwrap();
            assert_eq!(hexadecimal(digest::digest(&digest::SHA256, &content).as_ref()), sum);
        }
    }

    #[test]
    fn the_tree_has_the_drivers_of_all_cards_once() {
        let source = test_assets::directory();
        let packs = source.path().join("pack-x86_64");
        fs::create_dir(&packs).unwrap();
        for name in ["network.cpio", "ixgbe.cpio", "cards"] {
            fs::write(packs.join(name), name).unwrap();
        }
        let assets = Assets::open(source.path()).unwrap();
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("tree");
        let write = |without_server| export(&place, &assets, &settings(), without_server).unwrap();
        let packs_in = |written: Vec<String>| -> Vec<String> {
            written.into_iter().filter(|name| name.starts_with("pack")).collect()
        };
        assert_eq!(packs_in(write(WithoutServer::Sunshine)), ["pack/x86_64/network.cpio"]);
        let script = fs::read_to_string(place.join("boot/autoexec.ipxe")).unwrap();
        let line =
            "initrd --name network.cpio ../pack/${architecture}/network.cpio && goto start ||";
        assert!(script.lines().any(|there| there == line), "{script}");
        assert!(packs_in(write(WithoutServer::OwnDisk)).is_empty());
        assert!(!place.join("pack").exists());
    }

    #[test]
    fn a_tree_for_machines_that_boot_their_disk_without_us_holds_no_image() {
        let parent = tempfile::tempdir().unwrap();
        let written = export_to(&parent.path().join("tree"), WithoutServer::OwnDisk).unwrap();
        assert!(!written.iter().any(|name| name.starts_with("image/")), "{written:?}");
        let script = fs::read_to_string(parent.path().join("tree/boot.ipxe")).unwrap();
        assert!(!script.contains("kernel"), "{script}");
    }

    #[test]
    fn an_empty_directory_and_a_tree_of_ours_are_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("tree");
        fs::create_dir(&place).unwrap();
        export_to(&place, WithoutServer::Sunshine).unwrap();
        export_to(&place, WithoutServer::OwnDisk).unwrap();
        let names = everything(parent.path());
        assert!(!names.iter().any(|name| name.contains("image")), "{names:?}");
        assert!(names.iter().all(|name| name.starts_with("tree/")), "{names:?}");
    }

    #[test]
    fn what_others_wrote_is_refused_and_stays() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("tree");
        fs::create_dir(&place).unwrap();
        fs::write(place.join("letter"), "dear").unwrap();
        let error = export_to(&place, WithoutServer::OwnDisk).unwrap_err();
        assert!(error.to_string().ends_with("tree/letter"), "{error}");
        assert_eq!(everything(parent.path()), ["tree/letter"]);
    }

    #[test]
    fn a_file_that_somebody_put_into_our_tree_is_refused_and_stays() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("tree");
        export_to(&place, WithoutServer::OwnDisk).unwrap();
        let before = everything(parent.path()).len();
        fs::write(place.join("boot/own.efi"), "mine").unwrap();
        let error = export_to(&place, WithoutServer::OwnDisk).unwrap_err();
        assert!(matches!(error, ExportError::NotOurs { .. }), "{error}");
        assert_eq!(everything(parent.path()).len(), before + 1);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_one_error_that_names_it() {
        let error = export_to(Path::new("/proc/tree"), WithoutServer::OwnDisk).unwrap_err();
        assert!(error.to_string().starts_with("writing /proc/"), "{error}");
        assert!(matches!(
            export_to(Path::new("/"), WithoutServer::OwnDisk),
            Err(ExportError::NoName(_))
        ));
    }
}
