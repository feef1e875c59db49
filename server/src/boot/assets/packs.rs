//! Which pack a machine's boot card needs, by the list beside the packs as it stands there at that moment.

use std::{fs::File, io::Read, path::PathBuf, sync::PoisonError};

use tracing::error;

use super::{
    super::{
        asset::{Architecture, Asset},
        pack::{Card, Cards, Need, Pack, PackName},
    },
    Assets, FileState, state_of_file,
};
use crate::text::chain;

/// The longest list of cards: some thousand cards have drivers.
const CARDS_LIMIT_BYTES: u64 = 4 << 20;

/// A list of cards that was read.
#[derive(Debug)]
pub(super) struct Known {
    /// Absent where it could not be opened.
    state: Option<FileState>,
    /// Absent where it could not be used.
    cards: Option<Cards>,
}

impl Assets {
    /// Returns what the card with this `busid` loads beside the core: exactly its pack, and the one with all network
    /// drivers where that is not known. Nothing where the core is enough, or where there are no packs. Blocks.
    pub(in crate::boot) fn pack(
        &self,
        architecture: Architecture,
        bus_id: Option<&str>,
    ) -> Option<Pack> {
        let pack = |name| Pack { architecture, name };
        let has = |pack: &Pack| self.path(Asset::Pack(*pack)).is_file();
        let whole = self.network_pack(architecture);
        if whole.is_none() && !self.directory_of_packs(architecture).is_dir() {
            return None;
        }
        match self.need(architecture, bus_id.and_then(Card::of_bus_id)) {
            Some(Need::Core) => None,
            Some(Need::Pack(name)) => Some(pack(name)).filter(has).or(whole),
            None => whole,
        }
    }

    /// Returns the pack with all network drivers, where there is one.
    pub(in crate::boot) fn network_pack(&self, architecture: Architecture) -> Option<Pack> {
        let pack = Pack { architecture, name: PackName::NETWORK };
        Some(pack).filter(|pack| self.path(Asset::Pack(*pack)).is_file())
    }

    /// Holds where there are packs for any processor. Blocks.
    pub(super) fn has_packs(&self) -> bool {
        [Architecture::X86_64, Architecture::Aarch64]
            .into_iter()
            .any(|architecture| self.directory_of_packs(architecture).is_dir())
    }

    fn directory_of_packs(&self, architecture: Architecture) -> PathBuf {
        self.directory().join(format!("pack-{}", architecture.name()))
    }

    /// Looks into the list of cards, which is read again where it is another one.
    fn need(&self, architecture: Architecture, card: Option<Card>) -> Option<Need> {
        let path = self.directory_of_packs(architecture).join("cards");
        let opened = File::open(&path).and_then(|file| Ok((state_of_file(&file)?, file)));
        let state = opened.as_ref().ok().map(|(state, _)| *state);
        let mut lists = self.shared.cards.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (self.build, architecture);
        if lists.get(&key).is_none_or(|known| known.state != state) {
            let read = opened.map_err(|error| chain(&error)).and_then(|(_, file)| read(file));
            let cards = match read {
                Ok(cards) => Some(cards),
                Err(problem) => {
                    // Once for each state of the file: every boot asks.
                    error!(
                        path = %path.display(), problem,
                        "the list of cards cannot be used: every machine loads all network drivers"
                    );
                    None
                }
            };
            lists.retain(|(build, _), _| build.is_none_or(|build| self.is_kept(build)));
            lists.insert(key, Known { state, cards });
        }
        lists.get(&key)?.cards.as_ref()?.need(card?)
    }
}

fn read(file: File) -> Result<Cards, String> {
    let mut text = String::new();
    file.take(CARDS_LIMIT_BYTES + 1).read_to_string(&mut text).map_err(|error| chain(&error))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > CARDS_LIMIT_BYTES) {
        return Err(format!("longer than {CARDS_LIMIT_BYTES} bytes"));
    }
    Cards::read(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::boot::assets::tests::directory;

    const X86_64: Architecture = Architecture::X86_64;
    const IXGBE: Option<&str> = Some("01:80:86:10:fb");

    /// Puts packs and a list of cards into a directory of assets.
    fn put(directory: &Path, packs: &[&str], cards: &str) {
        let directory = directory.join("pack-x86_64");
        fs::create_dir_all(&directory).unwrap();
        for name in packs {
            fs::write(directory.join(format!("{name}.cpio")), name).unwrap();
        }
        // As `make image` does it: a new file in the place of the old one.
        fs::write(directory.join("new"), cards).unwrap();
        fs::rename(directory.join("new"), directory.join("cards")).unwrap();
    }

    fn loads(assets: &Assets, bus_id: Option<&str>) -> Option<String> {
        assets.pack(X86_64, bus_id).map(|pack| pack.name.to_string())
    }

    #[test]
    fn a_card_gets_exactly_its_pack_and_an_unknown_one_all_drivers() {
        let directory = directory();
        let cards = "8086:10fb ixgbe\n8086:10d3 core\n14e4:* bnxt_en\n";
        put(directory.path(), &["ixgbe", "network"], cards);
        let assets = Assets::open(directory.path()).unwrap();
        assert_eq!(loads(&assets, IXGBE).as_deref(), Some("ixgbe"));
        assert_eq!(loads(&assets, Some("01:80:86:10:d3")), None);
        let unknown = [None, Some("01:80:86:ff:ff"), Some("0a:80:86:10:fb"), Some("nonsense")];
        // The last one's pack is named and not there.
        for bus_id in unknown.into_iter().chain([Some("01:14:e4:16:c9")]) {
            assert_eq!(loads(&assets, bus_id).as_deref(), Some("network"), "{bus_id:?}");
        }
        assert_eq!(assets.pack(Architecture::Aarch64, IXGBE), None, "there are none for it");
    }

    #[test]
    fn an_older_directory_has_no_packs_at_all() {
        let directory = directory();
        let assets = Assets::open(directory.path()).unwrap();
        for bus_id in [None, IXGBE] {
            assert_eq!(loads(&assets, bus_id), None);
        }
    }

    #[test]
    fn a_list_that_is_broken_or_missing_gives_everybody_all_drivers_until_it_is_right() {
        let directory = directory();
        put(directory.path(), &["ixgbe", "network"], "8086:10fb ixgbe\nnonsense\n");
        let assets = Assets::open(directory.path()).unwrap();
        assert_eq!(loads(&assets, IXGBE).as_deref(), Some("network"));
        put(directory.path(), &[], "8086:10fb ixgbe\n");
        assert_eq!(loads(&assets, IXGBE).as_deref(), Some("ixgbe"));
        put(directory.path(), &[], "8086:10fb core\n");
        assert_eq!(loads(&assets, IXGBE), None);
        fs::remove_file(directory.path().join("pack-x86_64/cards")).unwrap();
        assert_eq!(loads(&assets, IXGBE).as_deref(), Some("network"));
    }

    #[test]
    fn a_list_without_end_is_not_read_to_its_end() {
        let directory = directory();
        let line = "8086:10fb ixgbe\n";
        let long = line.repeat(usize::try_from(CARDS_LIMIT_BYTES).unwrap() / line.len() + 1);
        put(directory.path(), &["network"], &long);
        let assets = Assets::open(directory.path()).unwrap();
        assert_eq!(loads(&assets, IXGBE).as_deref(), Some("network"));
    }
}
