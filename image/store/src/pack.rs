//! Packs: what one network card needs besides the core, as an archive that a boot script adds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::BufWriter,
    path::Path,
};

use anyhow::{Context as _, Result};
use initramfs::{Archive, Kind};
use modules::Index;

use crate::{
    cards::{Card, Cards},
    divide,
    supply::Supply,
};

/// The pack for a machine whose card nobody knows: the drivers of all cards.
pub(crate) const ALL: &str = "network";

/// What stands for a pack where the core has the driver.
pub(crate) const CORE: &str = "core";

/// Libraries of drivers whose transceivers have drivers of their own.
const TRANSCEIVED: [&str; 2] = ["libphy", "phylink"];
/// Where the drivers of transceivers are.
const TRANSCEIVERS: &str = "kernel/drivers/net/phy/";

/// Which pack has what, and which card needs which.
#[derive(Debug)]
pub(crate) struct Packs {
    /// Paths in the store, by the pack's name.
    pub(crate) contents: BTreeMap<String, BTreeSet<String>>,
    /// Names of packs, or [`CORE`].
    pub(crate) cards: BTreeMap<Card, String>,
}

/// What packs are made from.
struct Ground<'g, 't> {
    index: &'g Index<'t>,
    cards: &'g Cards,
    supply: &'g Supply,
    /// All files of the store: what is not there is in the core.
    stored: &'g BTreeMap<String, Vec<u8>>,
}

impl Packs {
    /// Makes a pack for each card that the core has no driver for, or not the firmware.
    pub(crate) fn new(
        index: &Index<'_>,
        cards: &Cards,
        supply: &Supply,
        stored: &BTreeMap<String, Vec<u8>>,
    ) -> Self {
        let ground = Ground { index, cards, supply, stored };
        let mut packs = Self { contents: BTreeMap::new(), cards: BTreeMap::new() };
        for (card, drivers) in &cards.drivers {
            // One pack for a card: what several drivers need where only subsystems tell which it is.
            let lacking = drivers.iter().find(|driver| !ground.lacks(driver).is_empty());
            let Some(name) = lacking else {
                packs.cards.insert(card.clone(), CORE.to_owned());
                continue;
            };
            packs.cards.insert(card.clone(), name.clone());
            let contents = packs.contents.entry(name.clone()).or_default();
            contents.extend(drivers.iter().flat_map(|driver| ground.lacks(driver)));
        }
        let all =
            cards.modules.iter().flat_map(|path| ground.lacks(&modules::name(path))).collect();
        packs.contents.insert(ALL.to_owned(), all);
        packs
    }
}

impl Ground<'_, '_> {
    /// Returns what a driver needs that the core lacks: modules, also those of its ports and transceivers, and firmware.
    fn lacks(&self, driver: &str) -> BTreeSet<String> {
        let mut modules: BTreeSet<&str> = self.index.plan(driver).into_iter().collect();
        for behind in self.cards.behind.get(driver).into_iter().flatten() {
            modules.extend(self.index.plan(behind));
        }
        let lacks_module = modules.iter().any(|path| self.stored.contains_key(*path));
        let names: BTreeSet<String> = modules.iter().map(|path| modules::name(path)).collect();
        if lacks_module && TRANSCEIVED.iter().any(|library| names.contains(*library)) {
            let transceivers = self.cards.modules.iter().map(String::as_str);
            modules.extend(transceivers.filter(|path| path.starts_with(TRANSCEIVERS)));
        }
        let firmware = modules.iter().flat_map(|path| self.firmware(path));
        let lacks: BTreeSet<String> = firmware.collect();
        self.of_store(modules).chain(lacks).collect()
    }

    fn of_store(&self, modules: BTreeSet<&str>) -> impl Iterator<Item = String> {
        let modules = modules.into_iter().filter(|path| self.stored.contains_key(*path));
        modules.map(str::to_owned)
    }

    fn firmware(&self, module: &str) -> impl Iterator<Item = String> {
        let paths = self.supply.of(module).map(|stored| stored.path.clone());
        paths.filter(|path| self.stored.contains_key(path))
    }
}

/// Writes the packs, and `cards`: lines of a card and the name of its pack.
pub(crate) fn write(
    to: &Path,
    release: &str,
    packs: &Packs,
    stored: &BTreeMap<String, Vec<u8>>,
) -> Result<()> {
    divide::empty(to)?;
    for (name, contents) in &packs.contents {
        let files: BTreeMap<String, &[u8]> = contents
            .iter()
            .filter_map(|path| Some((place(release, path), stored.get(path)?.as_slice())))
            .collect();
        let path = to.join(format!("{name}.cpio"));
        let output = File::create(&path).with_context(|| format!("writing {}", path.display()))?;
        archive(BufWriter::new(output), &files)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    let lines: Vec<String> =
        packs.cards.iter().map(|(card, name)| format!("{card} {name}\n")).collect();
    divide::write(&to.join("cards"), lines.concat().as_bytes())
}

/// Returns where a file of the store lies in a machine, from the top.
pub(crate) fn place(release: &str, path: &str) -> String {
    if path.starts_with("firmware/") {
        format!("lib/{path}")
    } else {
        format!("lib/modules/{release}/{path}")
    }
}

/// Writes files after the directories that they lie in.
fn archive(output: BufWriter<File>, files: &BTreeMap<String, &[u8]>) -> std::io::Result<()> {
    let mut archive = Archive::new(output);
    let above = |name: &str| {
        let ends = name.match_indices('/').map(|(at, _)| at);
        ends.map(|end| name[..end].to_owned()).collect::<Vec<_>>()
    };
    let directories: BTreeSet<String> = files.keys().flat_map(|name| above(name)).collect();
    for directory in directories {
        archive.directory(&directory)?;
    }
    for (name, bytes) in files {
        archive.file(name, Kind::Plain, bytes)?;
    }
    archive.finish().map(drop)
}

/// Reads an archive back: its files by their names. `None` where it is not one, or has a file before its directory.
pub(crate) fn read(archive: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    const HEADER: usize = 110;
    const DIRECTORY: usize = 0o040_755;
    let mut files = BTreeMap::new();
    let mut directories = BTreeSet::from([String::new()]);
    let mut at = 0;
    loop {
        let header = archive.get(at..at + HEADER)?;
        header.strip_prefix(b"070701")?;
        let field = |number: usize| {
            let digits = header.get(6 + number * 8..14 + number * 8)?;
            usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        let (mode, size, name_size) = (field(1)?, field(6)?, field(11)?);
        let name_end = at + HEADER + name_size;
        let name = archive.get(at + HEADER..name_end.checked_sub(1)?)?;
        let name = String::from_utf8(name.to_vec()).ok()?;
        let start = name_end.next_multiple_of(4);
        let content = archive.get(start..start + size)?;
        at = (start + size).next_multiple_of(4);
        if name == "TRAILER!!!" {
            return (at == archive.len()).then_some(files);
        }
        let above = name.rsplit_once('/').map_or("", |(above, _)| above);
        if !directories.contains(above) {
            return None;
        }
        if mode == DIRECTORY {
            directories.insert(name);
        } else {
            files.insert(name, content.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use modules::Texts;

    use super::*;
    use crate::kernel::plain;

    /// A card with firmware whose driver is split, one with a transceiver, one that subsystems tell apart, and one of the core.
    fn texts() -> Texts {
        Texts {
            alias: "alias pci:v000015B3d00001003sv*sd*bc*sc*i* mlx4_core\n\
                alias auxiliary:mlx4_core.eth mlx4_en\n\
                alias pci:v00001055d00007430sv*sd*bc*sc*i* lan743x\n\
                alias pci:v000010ECd00008139sv*sd*bc*sc*i* 8139cp\n\
                alias pci:v000010ECd00008139sv*sd*bc*sc*i* 8139too\n\
                alias pci:v00008086d000010D3sv*sd*bc*sc*i* e1000e\n"
                .to_owned(),
            dep: "kernel/drivers/net/ethernet/mlx4_core.ko.xz:\n\
                kernel/drivers/net/ethernet/mlx4_en.ko.xz: kernel/drivers/net/ethernet/mlx4_core.ko.xz\n\
                kernel/drivers/net/ethernet/lan743x.ko.xz: kernel/drivers/net/phy/libphy.ko\n\
                kernel/drivers/net/phy/libphy.ko:\n\
                kernel/drivers/net/phy/microchip.ko.xz: kernel/drivers/net/phy/libphy.ko\n\
                kernel/drivers/net/ethernet/8139cp.ko.xz: kernel/drivers/net/mii.ko.xz\n\
                kernel/drivers/net/ethernet/8139too.ko: kernel/drivers/net/mii.ko.xz\n\
                kernel/drivers/net/mii.ko.xz:\n\
                kernel/drivers/net/ethernet/e1000e.ko:\n"
                .to_owned(),
            softdep: String::new(),
        }
    }

    fn packs() -> (Packs, BTreeMap<String, Vec<u8>>) {
        let texts = texts();
        let cards = Cards::read(&texts);
        let of_store = cards.modules.iter().filter(|path| plain(path) != path.as_str());
        let stored: BTreeMap<String, Vec<u8>> =
            of_store.map(|path| (path.clone(), path.as_bytes().to_vec())).collect();
        let packs = Packs::new(&Index::new(&texts), &cards, &Supply::default(), &stored);
        (packs, stored)
    }

    #[test]
    fn a_pack_has_what_the_core_lacks_and_what_stands_behind_the_card() {
        let (packs, _) = packs();
        let names = |pack: &str| -> Vec<String> {
            packs.contents[pack].iter().map(|path| modules::name(path)).collect()
        };
        assert_eq!(names("mlx4_core"), ["mlx4_core", "mlx4_en"]);
        assert_eq!(names("lan743x"), ["lan743x", "microchip"]);
        assert_eq!(names("8139cp"), ["8139cp", "mii"]);
        assert_eq!(names(ALL), ["8139cp", "lan743x", "mlx4_core", "mlx4_en", "mii", "microchip"]);
        let cards: Vec<String> =
            packs.cards.iter().map(|(card, name)| format!("{card} {name}")).collect();
        assert_eq!(
            cards,
            [
                "1055:7430 lan743x",
                "10ec:8139 8139cp",
                "15b3:1003 mlx4_core",
                "1af4:1000 core",
                "1af4:1041 core",
                "5853:0001 core",
                "8086:10d3 core",
            ]
        );
    }

    #[test]
    fn what_is_written_is_read_back_and_a_cut_archive_is_none() {
        let (packs, stored) = packs();
        let directory = tempfile::tempdir().unwrap();
        write(&directory.path().join("packs"), "6.12", &packs, &stored).unwrap();
        let bytes = std::fs::read(directory.path().join("packs/8139cp.cpio")).unwrap();
        let path = "kernel/drivers/net/mii.ko.xz";
        let files = read(&bytes).unwrap();
        assert_eq!(files[&format!("lib/modules/6.12/{path}")], path.as_bytes());
        assert_eq!(files.len(), 2);
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_none(), "{length}");
        }
    }
}
