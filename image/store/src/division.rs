//! Which modules are in the core, and which in the store.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use modules::Index;

use crate::{
    kernel::{Kernel, plain},
    lists::Lists,
};

/// Every module is in one of the two.
#[derive(Debug)]
pub(crate) struct Division<'t> {
    /// What the lists of the core name, and all that these need, or wish for in their soft dependencies.
    pub(crate) core: BTreeSet<&'t str>,
    /// All others.
    pub(crate) store: BTreeSet<&'t str>,
}

impl<'t> Division<'t> {
    /// Divides. A mistake in the lists is an error that says which.
    pub(crate) fn new(kernel: &'t Kernel, index: &Index<'t>, lists: &Lists) -> Result<Self> {
        let mut core = BTreeSet::new();
        for named in lists.core() {
            let plan = index.plan(&modules::name(named));
            let is_there = plan.iter().any(|path| plain(path) == named);
            ensure!(is_there, "the core shall have {named}, which is no module of this kernel");
            core.extend(plan);
        }
        for path in &core {
            ensure!(
                !lists.is_network_storage(path),
                "the core would have {path}: see SAFETY.md 11"
            );
        }
        let store: BTreeSet<&str> = kernel.modules().filter(|path| !core.contains(path)).collect();
        for path in &store {
            ensure!(plain(path) != *path, "{path} is stored unpacked and is not in the core");
        }
        // Else who asks for the one would have the other loaded, unmarked.
        for path in store.iter().filter(|path| !lists.is_network_storage(path)) {
            let plan = index.plan(&modules::name(path));
            if let Some(marked) = plan.iter().find(|path| lists.is_network_storage(path)) {
                bail!("{path} needs {marked}, which is of network storage");
            }
        }
        Ok(Self { core, store })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use modules::Texts;

    use super::*;

    fn divided(dep: &str, named: &str) -> Result<(Vec<String>, Vec<String>)> {
        let texts = Texts {
            dep: dep.to_owned(),
            softdep: "softdep r8169 pre: realtek\n".to_owned(),
            ..Texts::default()
        };
        let kernel = Kernel { release: "6".to_owned(), directory: PathBuf::new(), texts };
        let index = Index::new(&kernel.texts);
        let lists = Lists::read(named).unwrap();
        let division = Division::new(&kernel, &index, &lists)?;
        let owned = |paths: &BTreeSet<&str>| paths.iter().map(|path| (*path).to_owned()).collect();
        Ok((owned(&division.core), owned(&division.store)))
    }

    const DEP: &str = "kernel/r8169.ko: kernel/mdio.ko.xz\nkernel/mdio.ko.xz:\nkernel/realtek.ko.xz:\n\
        kernel/qla2xxx.ko.xz: kernel/fc.ko.xz\nkernel/fc.ko.xz:\n";

    #[test]
    fn the_core_has_what_its_modules_need_and_wish_for() {
        let (core, store) = divided(DEP, "image/modules/a.list kernel/r8169.ko.xz\n").unwrap();
        assert_eq!(core, ["kernel/mdio.ko.xz", "kernel/r8169.ko", "kernel/realtek.ko.xz"]);
        assert_eq!(store, ["kernel/fc.ko.xz", "kernel/qla2xxx.ko.xz"]);
    }

    #[test]
    fn mistakes_in_the_lists_are_errors() {
        let refused = |named: &str| divided(DEP, named).unwrap_err().to_string();
        assert_eq!(
            refused("image/modules/a.list kernel/e1000.ko.xz\n"),
            "the core shall have kernel/e1000.ko, which is no module of this kernel"
        );
        assert_eq!(
            refused("image/modules/a.list kernel/fc.ko.xz\n"),
            "kernel/r8169.ko is stored unpacked and is not in the core"
        );
        let named = "image/modules/a.list kernel/r8169.ko.xz\n\
            image/store/network-storage.list kernel/mdio.ko.xz\n";
        assert_eq!(refused(named), "the core would have kernel/mdio.ko.xz: see SAFETY.md 11");
        let named = "image/modules/a.list kernel/r8169.ko.xz\n\
            image/store/network-storage.list kernel/fc.ko.xz\n";
        assert_eq!(
            refused(named),
            "kernel/qla2xxx.ko.xz needs kernel/fc.ko.xz, which is of network storage"
        );
    }
}
