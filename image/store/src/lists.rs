//! Which list names which module: what `image/select-modules` leaves beside the modules that it has selected.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};

use crate::kernel::plain;

/// Where the lists of the core are.
const CORE: &str = "image/modules/";
/// The list of what drives storage on a network.
const NETWORK_STORAGE: &str = "image/store/network-storage.list";

/// The lists' words. Modules are named as if they were not compressed.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    core: BTreeMap<String, String>,
    store: BTreeMap<String, String>,
    network_storage: BTreeSet<String>,
}

impl Lists {
    /// Reads lines of a list's path and a module's.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut lists = Self::default();
        for line in text.lines() {
            let (list, module) =
                line.split_once(' ').with_context(|| format!("no list and module: {line:?}"))?;
            let module = plain(module).to_owned();
            let file = list.rsplit_once('/').map_or(list, |(_, file)| file);
            let group = file.strip_suffix(".list").unwrap_or(file).to_owned();
            if list == NETWORK_STORAGE {
                lists.network_storage.insert(module.clone());
                // Whatever else names it: it is to be seen as what it is.
                lists.store.insert(module, group);
            } else if list.starts_with(CORE) {
                lists.core.entry(module).or_insert(group);
            } else {
                lists.store.entry(module).or_insert(group);
            }
        }
        Ok(lists)
    }

    /// Returns what the lists of the core name.
    pub(crate) fn core(&self) -> impl Iterator<Item = &str> {
        self.core.keys().map(String::as_str)
    }

    /// Holds for a driver of storage on a network.
    pub(crate) fn is_network_storage(&self, path: &str) -> bool {
        self.network_storage.contains(plain(path))
    }

    /// Returns the name of the list that names a module, the core's first; nothing where it only came along with others.
    pub(crate) fn group(&self, path: &str) -> Option<&str> {
        let module = plain(path);
        self.core.get(module).or_else(|| self.store.get(module)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_has_one_group_and_network_storage_stays_what_it_is() {
        let lists = Lists::read(
            "image/modules/usb.list kernel/a.ko.xz\n\
             image/store/usb.list kernel/a.ko.xz\n\
             image/store/infiniband.list kernel/b.ko.xz\n\
             image/store/network-storage.list kernel/b.ko.xz\n\
             image/store/storage-scsi.list kernel/b.ko.xz\n",
        )
        .unwrap();
        assert_eq!(lists.core().collect::<Vec<_>>(), ["kernel/a.ko"]);
        assert_eq!(lists.group("kernel/a.ko"), Some("usb"));
        assert_eq!(lists.group("kernel/b.ko.xz"), Some("network-storage"));
        assert_eq!(lists.group("kernel/c.ko"), None);
        assert!(
            lists.is_network_storage("kernel/b.ko") && !lists.is_network_storage("kernel/a.ko")
        );
    }

    #[test]
    fn a_line_that_is_none_is_an_error() {
        assert_eq!(
            Lists::read("kernel/a.ko").unwrap_err().to_string(),
            "no list and module: \"kernel/a.ko\""
        );
    }
}
