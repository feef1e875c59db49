//! `store board`: looks whether the core brings a board to its network port and its console, by the board's device tree. The
//! honest substitute for a board: it says that each device on the way has a driver, not that the driver works.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use modules::{Index, Texts};

use crate::{
    kernel::{self, Kernel},
    layout::Layout,
    tree::{Place, Tree},
};

/// The transceiver of all boards since the Pi 4, BCM54213PE, by its number: no device tree says it.
const TRANSCEIVER: u32 = 0x600d_84a2;

/// How Linux begins an entry of a table of drivers, `struct of_device_id`: with a name and a type, here none.
const NO_NAME: usize = 64;
/// How long its next field is at most, which says what is driven.
const COMPATIBLE: usize = 128;

/// What drives devices: the core, and the kernel itself.
struct Drivers<'d> {
    core: &'d Kernel,
    index: Index<'d>,
    /// Of drivers that are built in, as far as they have the aliases that modules have.
    built_in: Index<'d>,
    /// What is in the kernel's own tables: interrupts, clocks and timers have no aliases.
    tables: BTreeSet<&'d str>,
}

/// Looks at all device trees, and says of each how many devices are on the way. Fails with all that is wrong.
pub(crate) fn check(layout: &Layout, parts: &Path, trees: &[PathBuf]) -> Result<Vec<String>> {
    let core = Kernel::open(&layout.core())?;
    let directory = parts.join("usr/lib/modules").join(&core.release);
    let image = kernel::bytes(&directory.join("vmlinuz"))?;
    let built_in = aliases(&kernel::bytes(&directory.join("modules.builtin.modinfo"))?);
    let drivers = Drivers {
        core: &core,
        index: Index::new(&core.texts),
        built_in: Index::new(&built_in),
        tables: tables(&image),
    };
    let (mut said, mut wrong) = (Vec::new(), Vec::new());
    for path in trees {
        let name = path.file_name().unwrap_or_default().display();
        let tree = Tree::parse(&kernel::bytes(path)?)
            .with_context(|| format!("reading {}", path.display()))?;
        let (devices, missing) = drivers.check(&tree).with_context(|| format!("{name}"))?;
        wrong.extend(missing.into_iter().map(|missing| format!("{name}: {missing}")));
        said.push(format!(
            "{name}: the core drives all {devices} devices on the way to network and console"
        ));
    }
    ensure!(wrong.is_empty(), "boards:\n{}", wrong.join("\n"));
    Ok(said)
}

impl Drivers<'_> {
    /// Returns how many devices are on the way, and what is wrong with them.
    fn check(&self, tree: &Tree) -> Result<(usize, Vec<String>)> {
        let port = tree.alias("ethernet0").context("it has no network port")?;
        let console = tree.console().context("it has no console")?;
        let (mut devices, mut wrong) = (0, Vec::new());
        for place in tree.needs(&[port, console])? {
            if !tree.is_on(place) {
                wrong.push(format!("{} is switched off", tree.path(place)));
            }
            let compatible = tree.compatible(place);
            if compatible.is_empty() {
                continue;
            }
            devices += 1;
            if !self.drive(tree, place, &compatible) {
                wrong.push(format!(
                    "nothing drives {}, {}",
                    tree.path(place),
                    compatible.join(", ")
                ));
            }
        }
        // Loaded before its port's driver is, since that takes whatever there is.
        tree.follow(port, "phy-handle").context("its port has no transceiver")?;
        let asked = format!("mdio:{TRANSCEIVER:032b}");
        let transceivers: BTreeSet<String> =
            self.index.drivers(&asked).into_iter().map(str::to_owned).collect();
        let port_is = modalias(tree, port, &tree.compatible(port));
        let is_before = |port: &&str| {
            let plan = self.index.plan(port);
            let own = plan.iter().position(|path| modules::name(path) == **port);
            plan.iter()
                .take(own.unwrap_or(0))
                .any(|path| transceivers.contains(&modules::name(path)))
        };
        if !self.index.drivers(&port_is).iter().any(is_before) {
            wrong.push(format!(
                "no driver of a transceiver comes before that of {}",
                tree.path(port)
            ));
        }
        Ok((devices, wrong))
    }

    fn drive(&self, tree: &Tree, place: Place, compatible: &[&str]) -> bool {
        let modalias = modalias(tree, place, compatible);
        self.index.drivers(&modalias).iter().any(|driver| {
            let plan = self.index.plan(driver);
            !plan.is_empty() && plan.iter().all(|path| self.core.directory.join(path).is_file())
        }) || !self.built_in.drivers(&modalias).is_empty()
            || compatible.iter().any(|name| self.tables.contains(name))
    }
}

/// Returns by what the kernel asks for a driver. Linux, `drivers/of/module.c`, `drivers/amba/bus.c`.
fn modalias(tree: &Tree, place: Place, compatible: &[&str]) -> String {
    if compatible.contains(&"arm,primecell")
        && let Some(number) = tree.number(place, "arm,primecell-periphid")
    {
        return format!("amba:d{number:08X}");
    }
    let pci = compatible.iter().find_map(|name| name.strip_prefix("pci")?.split_once(','));
    if let Some((vendor, device)) = pci {
        let (vendor, device) = (vendor.to_uppercase(), device.to_uppercase());
        return format!("pci:v{vendor:0>8}d{device:0>8}sv00000000sd00000000bc00sc00i00");
    }
    let names: String = compatible.iter().flat_map(|name| ["C", name]).collect();
    format!("of:N{}T(null){names}", tree.name(place))
}

/// Reads the aliases in `modules.builtin.modinfo`, `module.alias=pattern` with a zero behind each.
fn aliases(built_in: &[u8]) -> Texts {
    let lines = built_in.split(|byte| *byte == 0).filter_map(|line| str::from_utf8(line).ok());
    let alias = lines
        .filter_map(|line| line.split_once(".alias="))
        .flat_map(|(module, pattern)| ["alias ", pattern, " ", module, "\n"])
        .collect();
    Texts { alias, ..Texts::default() }
}

/// Returns what the entries of tables of drivers in a kernel are for.
fn tables(image: &[u8]) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for entry in image.windows(NO_NAME + COMPATIBLE).step_by(8) {
        let (name, compatible) = entry.split_at(NO_NAME);
        if !compatible[0].is_ascii_alphanumeric() || name.iter().any(|byte| *byte != 0) {
            continue;
        }
        let length = compatible.iter().position(|byte| *byte == 0).unwrap_or(COMPATIBLE);
        let (text, rest) = compatible.split_at(length);
        if rest.iter().all(|byte| *byte == 0) {
            found.extend(str::from_utf8(text).ok());
        }
    }
    found
}

#[cfg(test)]
mod tests;
