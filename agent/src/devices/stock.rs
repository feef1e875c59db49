//! What drives devices: which of it is here, which is in the server's store, and which nobody ordered.
//!
//! An image without `modules.store` has everything itself, as far as anybody knows.

use std::{
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use modules::{Digest, Entry, Firmware, ListError, Place, Store};
use protocol::inventory::Gap;

/// What a module may have of firmware that is fetched for it, in bytes: some name that of every card of their maker, and a
/// machine with 128 MiB has no room for it.
const FIRMWARE_LIMIT: u64 = 8 << 20;

/// The files that the kernel's loader takes, beside that with the name itself. Linux, `drivers/base/firmware_loader`.
const COMPRESSIONS: [&str; 3] = ["", ".zst", ".xz"];

/// Where modules and firmware are, and what is known of those that are elsewhere.
#[derive(Debug)]
pub(super) struct Stock {
    /// `/lib/modules/RELEASE`.
    modules: PathBuf,
    /// `/lib`: below it is `firmware`.
    library: PathBuf,
    lists: Option<(Store, Firmware)>,
    /// Whether drivers of storage on a network may be loaded.
    network_storage: bool,
}

/// A file that is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parcel {
    /// Where it belongs.
    pub(super) place: Place,
    /// Its SHA-256.
    pub(super) digest: Digest,
    /// Its length in bytes.
    pub(super) length: u64,
}

/// What has to come before a module can be loaded, or would be better with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Lack {
    /// What is to be fetched: firmware first, then modules in the order in which they are loaded.
    pub(super) parcels: Vec<Parcel>,
    /// Modules without which it cannot be loaded, and which are nowhere.
    pub(super) missing: Vec<String>,
    /// Firmware that is too much to be fetched, by name.
    pub(super) left_out: Vec<String>,
    /// Whether every module that it cannot do without is here.
    pub(super) is_loadable: bool,
}

impl Stock {
    /// An image that has everything itself.
    #[cfg(test)]
    pub(super) fn whole(modules: &Path) -> Self {
        Self {
            modules: modules.to_owned(),
            library: modules.to_owned(),
            lists: None,
            network_storage: false,
        }
    }

    /// Reads the lists that stand beside the modules. One that cannot be read is a gap: then what is not here is nowhere.
    pub(super) fn read(
        modules: &Path,
        library: &Path,
        network_storage: bool,
        report: impl Fn(Gap),
    ) -> Self {
        let store: Option<Store> = list(&modules.join("modules.store"), &report);
        let lists = store.map(|store| {
            let firmware = list(&modules.join("modules.firmware"), &report);
            (store, firmware.unwrap_or_default())
        });
        Self { modules: modules.to_owned(), library: library.to_owned(), lists, network_storage }
    }

    /// Returns where a module's file is, or would be.
    pub(super) fn module(&self, path: &str) -> PathBuf {
        self.modules.join(path)
    }

    /// Returns where a file of the store is put.
    pub(super) fn target(&self, place: &Place) -> PathBuf {
        let above = if place.is_firmware() { &self.library } else { &self.modules };
        above.join(place.as_str())
    }

    /// Holds for modules that are here and that nobody has to order first.
    pub(super) fn may_load(&self, path: &str) -> bool {
        self.lists.is_none() || (self.is_here(path) && !self.is_unordered(path))
    }

    /// Holds for drivers of storage on a network where nobody ordered them.
    pub(super) fn is_unordered(&self, path: &str) -> bool {
        !self.network_storage && self.entry(path).is_some_and(|(_, entry)| entry.network_storage)
    }

    /// Says what a module lacks of all that is to be loaded with it: `plan`, of which it cannot do without `essentials`.
    pub(super) fn lack(&self, plan: &[&str], essentials: &[&str]) -> Lack {
        let Some((store, firmware)) = &self.lists else {
            return Lack { is_loadable: true, ..Lack::default() };
        };
        let mut lack = Lack { is_loadable: true, ..Lack::default() };
        let mut modules = Vec::new();
        for path in plan.iter().filter(|path| !self.is_unordered(path)) {
            let mut room = FIRMWARE_LIMIT;
            for named in firmware.of(path).iter().filter(|named| named.in_debian) {
                let Some((place, entry)) = store.firmware(&named.name) else { continue };
                let parcel = parcel(place, entry);
                if self.has_firmware(&named.name) || lack.parcels.contains(&parcel) {
                    continue;
                }
                match room.checked_sub(entry.length) {
                    Some(left) => {
                        room = left;
                        lack.parcels.push(parcel);
                    }
                    None => lack.left_out.push(named.name.clone()),
                }
            }
            if self.is_here(path) {
                continue;
            }
            let is_essential = essentials.contains(path);
            lack.is_loadable &= !is_essential;
            match store.get(path) {
                Some((place, entry)) => modules.push(parcel(place, entry)),
                None if is_essential => lack.missing.push((*path).to_owned()),
                None => {}
            }
        }
        lack.parcels.append(&mut modules);
        lack
    }

    fn entry(&self, path: &str) -> Option<(&Place, &Entry)> {
        self.lists.as_ref().and_then(|(store, _)| store.get(path))
    }

    fn is_here(&self, path: &str) -> bool {
        self.module(path).exists()
    }

    fn has_firmware(&self, name: &str) -> bool {
        let file = |ending| self.library.join(format!("firmware/{name}{ending}"));
        COMPRESSIONS.into_iter().any(|ending| file(ending).exists())
    }
}

fn parcel(place: &Place, entry: &Entry) -> Parcel {
    Parcel { place: place.clone(), digest: entry.digest, length: entry.length }
}

/// Reads a list of ours; nothing where there is none.
fn list<T: FromStr<Err = ListError>>(path: &Path, report: impl Fn(Gap)) -> Option<T> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            report(super::gap("modules", &path.to_string_lossy(), &error));
            return None;
        }
    };
    let parsed = text.parse();
    parsed.map_err(|error| report(super::gap("modules", &path.to_string_lossy(), &error))).ok()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use modules::{Index, Texts};

    use super::*;

    /// A machine whose image has `here`, and a store with `lines`: their paths, lengths and marks.
    struct Machine {
        directory: tempfile::TempDir,
        stock: Stock,
    }

    fn machine(here: &[&str], lines: &[&str], firmware: &str, network_storage: bool) -> Machine {
        let directory = tempfile::tempdir().unwrap();
        for path in here {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "file").unwrap();
        }
        let digest = "ab".repeat(32);
        let line = |line: &&str| [&digest, " ", line, "\n"].concat();
        let store: String = lines.iter().map(line).collect();
        fs::write(directory.path().join("modules.store"), store).unwrap();
        fs::write(directory.path().join("modules.firmware"), firmware).unwrap();
        let path = directory.path();
        let stock = Stock::read(path, path, network_storage, |gap| panic!("{gap:?}"));
        Machine { directory, stock }
    }

    impl Machine {
        /// Says what a driver lacks that needs a library and wishes another module.
        fn lack(&self) -> (Vec<String>, Vec<String>, bool) {
            let texts = Texts {
                dep: "kernel/driver.ko: kernel/library.ko\nkernel/library.ko:\nkernel/wish.ko:\n"
                    .to_owned(),
                softdep: "softdep driver pre: wish\n".to_owned(),
                ..Texts::default()
            };
            let index = Index::new(&texts);
            let lack = self.stock.lack(&index.plan("driver"), &index.essentials("driver"));
            let parcels = lack.parcels.iter().map(|parcel| parcel.place.to_string());
            (parcels.collect(), [lack.missing, lack.left_out].concat(), lack.is_loadable)
        }
    }

    fn check(machine: &Machine, parcels: &[&str], without: &[&str], is_loadable: bool) {
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(machine.lack(), (strings(parcels), strings(without), is_loadable));
    }

    const ALL: [&str; 3] = ["kernel/driver.ko", "kernel/library.ko", "kernel/wish.ko"];

    #[test]
    fn what_is_here_is_not_fetched_and_firmware_comes_before_modules_in_order() {
        let lines =
            ["1 kernel/driver.ko", "1 kernel/library.ko", "1 kernel/wish.ko", "1 firmware/a.xz"];
        let firmware = "kernel/driver.ko: a !b\n";
        check(&machine(&ALL, &lines[..3], "", false), &[], &[], true);
        let all = ["firmware/a.xz", "kernel/wish.ko", "kernel/library.ko", "kernel/driver.ko"];
        check(&machine(&[], &lines, firmware, false), &all, &[], false);
        check(&machine(&["firmware/a.zst"], &lines, firmware, false), &all[1..], &[], false);
        check(&machine(&ALL, &lines, firmware, false), &all[..1], &[], true);
        check(&machine(&ALL[..2], &lines, firmware, false), &all[..2], &[], true);
    }

    #[test]
    fn what_is_nowhere_is_said_where_it_cannot_be_done_without() {
        let lines = ["1 kernel/driver.ko"];
        check(&machine(&[], &lines, "", false), &[ALL[0]], &[ALL[1]], false);
    }

    #[test]
    fn more_firmware_than_there_is_room_for_is_left_out() {
        let lines = ["8000000 firmware/a", "8000000 firmware/b", "1 firmware/c"];
        let machine = machine(&ALL, &lines, "kernel/driver.ko: a b c\n", false);
        check(&machine, &["firmware/a", "firmware/c"], &["b"], true);
    }

    #[test]
    fn storage_on_a_network_is_loaded_where_it_was_ordered_also_when_it_is_here() {
        let lines = ["1 kernel/driver.ko network-storage"];
        for (ordered, may_load) in [(false, false), (true, true)] {
            let machine = machine(&ALL, &lines, "", ordered);
            assert_eq!(machine.stock.may_load(ALL[0]), may_load);
            assert_eq!(machine.stock.is_unordered(ALL[0]), !may_load);
            assert!(machine.stock.may_load(ALL[1]));
        }
    }

    #[test]
    fn files_go_to_their_two_places_only() {
        let machine = machine(&[], &[], "", false);
        let stock =
            Stock { library: "/lib".into(), modules: "/lib/modules/6".into(), ..machine.stock };
        let target = |place: &str| stock.target(&place.parse().unwrap());
        assert_eq!(target("firmware/a/b"), Path::new("/lib/firmware/a/b"));
        assert_eq!(target("kernel/a.ko"), Path::new("/lib/modules/6/kernel/a.ko"));
    }

    #[test]
    fn a_list_that_cannot_be_read_is_a_gap_that_names_the_line_and_no_list_is_none() {
        let machine = machine(&[], &[], "", false);
        let path = machine.directory.path();
        let gaps = RefCell::new(Vec::new());
        let read = || Stock::read(path, path, false, |gap| gaps.borrow_mut().push(gap.reason));
        fs::write(path.join("modules.store"), "00 1 kernel/a.ko\n").unwrap();
        assert!(read().lists.is_none());
        fs::write(path.join("modules.store"), "").unwrap();
        fs::write(path.join("modules.firmware"), "kernel/a.ko\n").unwrap();
        assert!(read().lists.is_some());
        let expected = [
            "line 1: no SHA-256: \"00\"",
            "line 1: not of this shape: kernel/…/x.ko.xz: NAME !NAME",
        ];
        assert_eq!(gaps.borrow().as_slice(), expected);
        fs::remove_file(path.join("modules.store")).unwrap();
        assert!(read().lists.is_none() && read().may_load("kernel/anything.ko"));
        assert_eq!(gaps.borrow().len(), 2);
    }
}
