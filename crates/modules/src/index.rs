//! Which modules drive a device, and what they need: `modules.alias`, `modules.dep`, `modules.softdep`. Pure.

use std::collections::{HashMap, HashSet};

use crate::pattern::matches;

/// The three lists of a kernel's modules, as depmod writes them.
#[derive(Debug, Default)]
pub struct Texts {
    /// `modules.alias`: which module drives what.
    pub alias: String,
    /// `modules.dep`: every module's file, and those that it needs.
    pub dep: String,
    /// `modules.softdep`: what a module wishes before and behind it. May be empty.
    pub softdep: String,
}

/// The lists, ready for questions.
#[derive(Debug)]
pub struct Index<'t> {
    /// Patterns by their [`key`], each with its module.
    aliases: HashMap<&'t str, Vec<(&'t str, &'t str)>>,
    /// Modules that have an alias, by name: they drive something, or stand for something.
    named: HashSet<&'t str>,
    /// Files and what they need, by the module's name.
    files: HashMap<String, (&'t str, &'t str)>,
    /// Names to be loaded before and after, by the module's name.
    soft: HashMap<String, Soft<'t>>,
}

#[derive(Debug, Default, Clone)]
struct Soft<'t> {
    before: Vec<&'t str>,
    after: Vec<&'t str>,
}

impl<'t> Index<'t> {
    /// Reads the lists; lines that cannot be read are left out.
    pub fn new(texts: &'t Texts) -> Self {
        let mut index = Self {
            aliases: HashMap::new(),
            named: HashSet::new(),
            files: HashMap::new(),
            soft: HashMap::new(),
        };
        index.read_aliases(&texts.alias);
        for line in texts.dep.lines() {
            let Some((path, needs)) = line.split_once(':') else { continue };
            index.files.insert(name(path), (path, needs));
        }
        for line in texts.softdep.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some("softdep"), Some(module)) = (words.next(), words.next()) else { continue };
            let soft = index.soft.entry(canonical(module)).or_default();
            let mut list = None;
            for word in words {
                match word {
                    "pre:" => list = Some(&mut soft.before),
                    "post:" => list = Some(&mut soft.after),
                    other => {
                        if let Some(list) = &mut list {
                            list.push(other);
                        }
                    }
                }
            }
        }
        index
    }

    /// Reads thousands of lines before the first driver can be loaded. Those of one module follow each other,
    /// and mostly have the same key: each such run is looked up once.
    fn read_aliases(&mut self, text: &'t str) {
        let mut run: (&str, &str, Vec<(&str, &str)>) = ("", "", Vec::new());
        for line in text.lines() {
            let Some((pattern, module)) =
                line.strip_prefix("alias ").and_then(|line| line.rsplit_once(' '))
            else {
                continue;
            };
            let (pattern, key) = (pattern.trim_end(), key(pattern));
            if (key, module) != (run.0, run.1) {
                self.end_run(run);
                run = (key, module, Vec::new());
            }
            run.2.push((pattern, module));
        }
        self.end_run(run);
    }

    fn end_run(
        &mut self,
        (key, module, mut patterns): (&'t str, &'t str, Vec<(&'t str, &'t str)>),
    ) {
        if !patterns.is_empty() {
            self.aliases.entry(key).or_default().append(&mut patterns);
            self.named.insert(module);
        }
    }

    /// Holds for modules that nothing asks for by an alias: others use what is in them.
    pub fn is_library(&self, name: &str) -> bool {
        !self.named.contains(name)
    }

    /// Returns the names of all modules that drive a device. Drivers that are built in are in none of the lists.
    pub fn drivers(&self, modalias: &str) -> Vec<&'t str> {
        let keys = [Some(bus(modalias)), modalias.get(..KEY_BYTES)];
        let patterns = keys.into_iter().flatten().filter_map(|key| self.aliases.get(key)).flatten();
        let matching = patterns.filter(|(pattern, _)| matches(pattern, modalias));
        matching.map(|(_, module)| *module).collect()
    }

    /// Returns the files to load for a module or an alias of one, in order: what it needs, itself, what it wishes behind it.
    /// Empty where it is built in or nowhere.
    pub fn plan(&self, module: &str) -> Vec<&'t str> {
        let mut plan = Vec::new();
        self.extend_plan(&mut plan, module, 0);
        plan
    }

    /// Returns the files without which a module cannot be loaded, in order, itself the last: [`Index::plan`] without what it
    /// only wishes. Empty where it is built in, nowhere, or named by an alias.
    pub fn essentials(&self, module: &str) -> Vec<&'t str> {
        let found = self.files.get(&canonical(module));
        found.map_or_else(Vec::new, |(path, needs)| {
            // The last one named has to be loaded first.
            needs.split_ascii_whitespace().rev().chain([*path]).collect()
        })
    }

    fn extend_plan(&self, plan: &mut Vec<&'t str>, module: &str, depth: u8) {
        // Soft dependencies may form circles.
        const DEEPEST: u8 = 8;
        if depth > DEEPEST {
            return;
        }
        let key = canonical(module);
        let Some((path, needs)) = self.files.get(&key) else {
            for driver in self.drivers(module) {
                if canonical(driver) != key {
                    self.extend_plan(plan, driver, depth + 1);
                }
            }
            return;
        };
        if plan.contains(path) {
            return;
        }
        let soft = self.soft.get(&key).cloned().unwrap_or_default();
        for before in soft.before {
            self.extend_plan(plan, before, depth + 1);
        }
        // The last one named has to be loaded first.
        for needed in needs.split_ascii_whitespace().rev().chain([*path]) {
            if !plan.contains(&needed) {
                plan.push(needed);
            }
        }
        for after in soft.after {
            self.extend_plan(plan, after, depth + 1);
        }
    }
}

/// So many bytes name the maker of a PCI or USB device, as in `pci:v00008086`: then a few of thousands of patterns are left.
const KEY_BYTES: usize = 13;

/// Returns under what a pattern is found: its first bytes where they have no wildcard, else its bus.
fn key(pattern: &str) -> &str {
    let first = pattern.get(..KEY_BYTES).filter(|first| !first.contains(['*', '?', '[']));
    first.unwrap_or_else(|| bus(pattern))
}

/// Returns what stands before the first colon, in which no pattern has a wildcard but the star that ends it: `acpi*:`.
fn bus(text: &str) -> &str {
    text.split_once(':').map_or(text, |(bus, _)| bus.trim_end_matches('*'))
}

/// Returns a module's name by its file: `nvme-core.ko.xz` is `nvme_core`.
pub fn name(path: &str) -> String {
    let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
    canonical(file.split_once(".ko").map_or(file, |(name, _)| name))
}

/// The kernel writes hyphens in names as underscores.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Debian's 6.12.
    fn texts() -> Texts {
        Texts {
            alias: "# Aliases extracted from modules themselves.\n\
                alias virtio:d00000001v* virtio_net\n\
                alias pci:v00008086d000010D3sv*sd*bc*sc*i* e1000e\n\
                alias pci:v*d*sv*sd*bc01sc08i02* nvme\n\
                alias usb:v*p*d*dc*dsc*dp*ic08isc06ip50in* usb_storage\n\
                alias cpu:type:x86,ven0000fam0006mod00[4-9a]*:feature:*0099* crc32c_intel\n\
                alias crc32c crc32c_generic\n\
                alias acpi*:PNP0C0C:* button\n\
                broken\n"
                .to_owned(),
            dep: "kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko\n\
                kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko\n\
                kernel/net/core/failover.ko:\n\
                kernel/drivers/net/ethernet/realtek/r8169.ko.xz: kernel/drivers/net/mdio.ko.xz\n\
                kernel/drivers/net/mdio.ko.xz:\n\
                kernel/drivers/net/phy/realtek.ko.xz:\n\
                kernel/crypto/crc32c_generic.ko.xz:\n\
                kernel/drivers/nvme/host/nvme-core.ko:\n\
                kernel/lib/libcrc32c.ko.xz:\n\
                kernel/a.ko:\nkernel/b.ko:\n"
                .to_owned(),
            softdep: "softdep r8169 pre: realtek post: nvme-core\nsoftdep libcrc32c pre: crc32c\n\
                softdep a pre: b\nsoftdep b pre: a\nsoftdep a pre: built_in\n"
                .to_owned(),
        }
    }

    fn check_drivers(modalias: &str, expected: &[&str]) {
        let texts = texts();
        assert_eq!(Index::new(&texts).drivers(modalias), expected, "{modalias}");
    }

    fn check_plan(module: &str, expected: &[&str]) {
        let texts = texts();
        let plan = Index::new(&texts).plan(module);
        let names: Vec<String> = plan.into_iter().map(name).collect();
        assert_eq!(names, expected, "{module}");
    }

    #[test]
    fn devices_find_their_drivers() {
        check_drivers("virtio:d00000001v00001AF4", &["virtio_net"]);
        check_drivers("pci:v00008086d000010D3sv00001AF4sd00001100bc02sc00i00", &["e1000e"]);
        check_drivers("pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02", &["nvme"]);
        check_drivers("usb:v46F4p0001d0000dc00dsc00dp00ic08isc06ip50in00", &["usb_storage"]);
        check_drivers("acpi:QEMU0001:PNP0C0C:", &["button"]);
        check_drivers("virtio:d00000002v00001AF4", &[]);
        check_drivers("", &[]);
    }

    #[test]
    fn what_nothing_asks_for_by_an_alias_is_a_library() {
        let texts = texts();
        let index = Index::new(&texts);
        for (name, is_library) in [("nvme", false), ("crc32c_generic", false), ("nvme_core", true)]
        {
            assert_eq!(index.is_library(name), is_library, "{name}");
        }
    }

    #[test]
    fn what_is_needed_comes_first_and_wishes_are_kept() {
        check_plan("virtio_net", &["failover", "net_failover", "virtio_net"]);
        check_plan("r8169", &["realtek", "mdio", "r8169", "nvme_core"]);
        check_plan("nvme-core", &["nvme_core"]);
        check_plan("libcrc32c", &["crc32c_generic", "libcrc32c"]);
        check_plan("built_in", &[]);
    }

    #[test]
    fn what_is_only_wished_is_not_essential() {
        let texts = texts();
        let index = Index::new(&texts);
        let names =
            |module| -> Vec<String> { index.essentials(module).into_iter().map(name).collect() };
        assert_eq!(names("r8169"), ["mdio", "r8169"]);
        assert_eq!(names("virtio-net"), ["failover", "net_failover", "virtio_net"]);
        assert!(names("crc32c").is_empty() && names("built_in").is_empty());
    }

    #[test]
    fn a_circle_of_wishes_ends() {
        let texts = texts();
        assert!(!Index::new(&texts).plan("a").is_empty());
    }
}
