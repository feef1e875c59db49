//! The whole story of one machine: discovered, approved, installed, started, and known by its own word.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    BOOT_PATIENCE, IMAGE, INSTALL_PATIENCE, each_step, reports, told::Told, written::Written,
};
use crate::{
    checkout,
    lab::Lab,
    listener::Listener,
    machine::{Booted, Content, Disk, Machine, chance},
    process::run,
    router::Router,
    server::{HTTP_PORT, Known, Mode, Ordered, SERVER, Server},
};

/// From the order's end to the installed system's word: firmware, kernel and cloud-init take two minutes under TCG.
const START_PATIENCE: Duration = Duration::from_mins(12);
/// Another computer on the same network.
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);
/// What every kernel says first.
const KERNEL: &str = "] Linux version ";
/// What firmware and network boot say on the serial console, and no kernel.
const FIRMWARE: [&str; 4] =
    ["SeaBIOS (version", "iPXE initialising", "BdsDxe: starting", "Start PXE over"];
/// How the boot loaders on the image's EFI system partition know what to start.
const MENUS: [&str; 2] = ["::loader/entries/debian.conf", "::syslinux.cfg"];

/// How the installed system is started, and who tells it what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The machine restarts, under UEFI by an entry of its own; what there is to tell stands on the disk.
    Firmware,
    /// The kernel is started at once; the installed system asks the server.
    Kexec,
}

/// A story on its way.
struct Story<'l> {
    lab: &'l Lab,
    way: Way,
    server: Server,
    image: PathBuf,
    listener: Listener,
    told: Told,
    /// How the boot entry is called.
    label: String,
}

/// Tells it: on the server, on the disk, and by the installed system's own word.
pub(super) fn tell(lab: &Lab, machine: Machine, disk: Disk, way: Way) -> Result<()> {
    let _router = if machine.is_uefi() { Some(Router::ipv6_only(lab)?) } else { None };
    let mut story = Story::begin(lab, way)?;
    let has_data = disk.content != Content::Blank;
    let mut machine = machine.disk(disk).watchdog().boot(lab)?;
    let known = story.server.waits_for(&machine)?;
    story.server.hears_boot(&known.name, 1)?;
    story.is_ordered_in_turn(&mut machine, &known, has_data)?;
    let order = story.installs(&mut machine, &known, has_data)?;
    match way {
        Way::Firmware => machine.thaw()?,
        Way::Kexec => starts_the_kernel(&mut machine)?,
    }
    story.says_who_it_is(&machine)?;
    ensure!(story.server.boots_of(&known.name)? == 1, "the agent ran again");
    match way {
        Way::Firmware => {
            let restarts = machine.restarts();
            ensure!(restarts == 1, "it restarted {restarts} times");
        }
        Way::Kexec => {
            ensure!(
                machine.restarts() == 0,
                "firmware ran: it restarted {} times",
                machine.restarts()
            );
            story.alone_is_told(&order)?;
        }
    }
    if story.makes_entry(&machine) {
        let starts = entry_starts(&machine.console()?, &story.label);
        ensure!(starts == 1, "the firmware started {} {starts} times", story.label);
        // The network when it was discovered, then the entry, which was to be next.
        let all = machine.console()?.matches("BdsDxe: starting Boot").count();
        ensure!(all == 2, "the firmware started {all} things");
    }
    story.starts_from_its_disk(&mut machine)?;
    if story.makes_entry(&machine) {
        story.replaces_the_entry(machine, &known)?;
    }
    Ok(())
}

impl Story<'_> {
    fn begin(lab: &Lab, way: Way) -> Result<Story<'_>> {
        let mode = Mode::Authoritative;
        let (server, image) = match way {
            Way::Firmware => (Server::trusting_its_clock(lab, mode)?, checkout::cloud()?),
            Way::Kexec => (Server::serving_metadata(lab, mode)?, asking(lab)?),
        };
        server.adds_image(&image, IMAGE)?;
        let listener = Listener::on(server.station())?;
        let told = Told::new(lab, &listener)?;
        let label = format!("Hull {}", chance::digits(8));
        Ok(Story { lab, way, server, image, listener, told, label })
    }

    fn makes_entry(&self, machine: &Booted) -> bool {
        self.way == Way::Firmware && machine.machine.is_uefi()
    }

    /// Nothing is ordered before everybody who must be asked has been, and nothing is touched by asking.
    fn is_ordered_in_turn(
        &mut self,
        machine: &mut Booted,
        known: &Known,
        has_data: bool,
    ) -> Result<()> {
        let serial = machine.machine.disks[0].serial.as_str();
        let order = ["install", &known.name, "--image", IMAGE, "--disk", serial];
        // SAFETY 2, 9: neither a machine that nobody approved, nor what is on a disk.
        let refusal = self.server.refuses(&order)?;
        ensure!(refusal.contains("approve"), "not approved, but: {refusal}");
        self.server.approves(&known.name)?;
        if has_data {
            let refusal = self.server.refuses(&order)?;
            ensure!(refusal.contains("overwrite"), "data is on the disk, but: {refusal}");
        }
        if self.way == Way::Firmware {
            let refusal =
                self.server.refuses(&[&order[..], &["--overwrite", "--phone-home"]].concat())?;
            ensure!(refusal.contains("metadata"), "nobody would hear it, but: {refusal}");
        }
        let options = self.options(machine, &self.label, has_data);
        self.server.command(&[&order[..], &options, &["--dry-run"]].concat())?;
        let orders = self.server.ask(&["orders", "list"])?;
        ensure!(orders.as_array().is_some_and(Vec::is_empty), "there is an order: {orders}");
        machine.machine.has_unchanged_disks(self.lab)
    }

    fn options<'s>(&'s self, machine: &Booted, label: &'s str, has_data: bool) -> Vec<&'s str> {
        let mut options = vec!["--grow"];
        options.extend(self.told.options());
        if has_data {
            options.push("--overwrite");
        }
        if self.makes_entry(machine) {
            options.extend(["--boot-entry", label]);
        }
        if self.way == Way::Kexec {
            options.extend(["--finish", "kexec", "--phone-home"]);
            options.extend(["--seed", "none", "--serve-metadata", "1h"]);
        }
        options
    }

    /// Gives the order, and looks at the disk when it is done, with the machine frozen.
    fn installs(&mut self, machine: &mut Booted, known: &Known, has_data: bool) -> Result<Ordered> {
        let serial = machine.machine.disks[0].serial.clone();
        let options = self.options(machine, &self.label, has_data);
        let order = self.server.installs(&known.name, IMAGE, &serial, &options)?;
        let text = order.given.to_string();
        ensure!(
            !text.contains(&self.told.key) && !text.contains("runcmd"),
            "the order shows the seed"
        );
        ensure!(machine.has_armed_watchdog()?, "nobody armed the watchdog");
        let mut phases = Vec::new();
        let report = self.server.is_done(&order, INSTALL_PATIENCE, |progress| {
            if let Some(phase) = progress["phase"].as_str() {
                phases.push(phase.to_owned());
            }
            Ok(())
        })?;
        // Frozen before its firmware is through, or the installed kernel: nothing but the agent has written.
        machine.freeze()?;
        ensure!(!phases.is_empty(), "nobody saw it at work");
        reports(&report, &self.image, &machine.machine.disks[0])?;
        let steps: Vec<&str> = each_step(&report)?;
        let mut wanted = vec!["moveBackupGpt", "growLastPartition"];
        wanted.extend((self.way == Way::Firmware).then_some("seed"));
        wanted.extend(self.makes_entry(machine).then_some("bootEntry"));
        wanted.extend((self.way == Way::Kexec).then_some("kexec"));
        ensure!(steps == wanted, "the steps were {steps:?}");
        let written = Written::of(&machine.machine.disk_file(self.lab, 0))?;
        written.is_image(&self.image)?;
        match self.way {
            Way::Firmware => {
                let Told { name, key, user_data, .. } = &self.told;
                written.has_partitions(3)?;
                written.seeds("meta-data", |text| text.contains(name) && text.contains(key))?;
                written.seeds("user-data", |text| text == user_data)?;
            }
            Way::Kexec => written.has_partitions(2)?,
        }
        ensure!(!self.listener.has_heard(), "somebody spoke before the installed system started");
        Ok(order)
    }

    fn says_who_it_is(&self, machine: &Booted) -> Result<()> {
        let said = self.listener.hears("the installed system's word", START_PATIENCE)?;
        let Told { name, key, .. } = &self.told;
        ensure!(said["hostname"] == name.as_str(), "it is not {name}: {said}");
        let keys = said["keys"].as_str().unwrap_or_default();
        ensure!(keys.contains(key), "it does not have the key {key}: {said}");
        ensure!(said["uefi"] == machine.machine.is_uefi(), "it started otherwise: {said}");
        let root = said["rootBytes"].as_u64().unwrap_or_default();
        let size = fs::metadata(&self.image).context("looking at the image")?.len();
        ensure!(root > size, "its root filesystem did not grow: {said}");
        Ok(())
    }

    /// What the server tells the installed system it tells nobody else; and it has heard that it is done.
    fn alone_is_told(&mut self, order: &Ordered) -> Result<()> {
        let stranger = self.lab.station("stranger", STRANGER)?;
        for station in [&stranger, self.server.station()] {
            for path in ["/nocloud/meta-data", "/nocloud/user-data", "/latest/user-data"] {
                let (status, body) = station.http_ask(SERVER, HTTP_PORT, path)?;
                ensure!(status == 404, "{} is told {path}: {status}: {body}", station.name);
            }
        }
        let said = self.server.is_said_back(order, BOOT_PATIENCE)?;
        ensure!(
            said["hostname"] == self.told.name.as_str(),
            "somebody else says it is done: {said}"
        );
        Ok(())
    }

    /// Presses the reset button: what the firmware finds on the disk starts, and the network boots nothing.
    fn starts_from_its_disk(&mut self, machine: &mut Booted) -> Result<()> {
        let kernels = machine.console()?.matches(KERNEL).count();
        if self.way == Way::Firmware && !machine.machine.is_uefi() {
            return self.server.names(machine.machine.mac(), "ownDisk").map(drop);
        }
        machine.reset()?;
        if self.makes_entry(machine) {
            let label = &self.label;
            machine.says(label, BOOT_PATIENCE, |console| entry_starts(console, label) == 2)?;
        }
        machine.says(KERNEL, BOOT_PATIENCE, |console| console.matches(KERNEL).count() > kernels)?;
        self.server.names(machine.machine.mac(), "ownDisk").map(drop)
    }

    /// Installs once more, with another name for the boot entry: there is one entry of ours still, in the same place.
    fn replaces_the_entry(&mut self, mut machine: Booted, known: &Known) -> Result<()> {
        let label = format!("Hull {}", chance::digits(8));
        let serial = machine.machine.disks[0].serial.clone();
        let (word, local) = (chance::digits(8), self.lab.scratch("word"));
        fs::write(&local, &word).context("writing a file to be installed")?;
        let file = format!("{}:/etc/drydock/word", local.display());
        let mut options = self.options(&machine, &label, true);
        options.extend(["--finish", "power-off", "--file", &file]);
        let order = self.server.installs(&known.name, IMAGE, &serial, &options)?;
        machine.reset()?;
        let report = self.server.is_done(&order, START_PATIENCE, |_| Ok(()))?;
        ensure!(each_step(&report)?.contains(&"writeFiles"), "no file was written: {report}");
        machine.switches_off(BOOT_PATIENCE)?;
        let written = Written::of(&machine.machine.disk_file(self.lab, 0))?;
        let found = written.file_in_root("/etc/drydock/word")?;
        ensure!(found == word, "the file says {found} and not {word}");
        let variables = machine.machine.variables(self.lab)?;
        let (order, entries) = (variables.boot_order()?, variables.boot_entries());
        let ours: Vec<&String> = entries.iter().filter(|name| name.starts_with("Hull ")).collect();
        ensure!(ours == [&label], "it is not replaced by {label}: {entries:?}");
        // `UEFI PXEv4 (MAC:00163E4CF699)`, and HTTP the same.
        let first = order.iter().position(|name| !name.contains("(MAC:"));
        let place = order.iter().position(|name| *name == label);
        ensure!(place.is_some() && place == first, "{label} is not first: {order:?}");
        ensure!(!variables.has_next(), "it would start something else once");
        Ok(())
    }
}

/// Lets a frozen machine go on: the next that speaks is the installed kernel, and no watchdog runs under it.
fn starts_the_kernel(machine: &mut Booted) -> Result<()> {
    let firmware = firmware_words(machine)?;
    machine.thaw()?;
    machine.says(KERNEL, BOOT_PATIENCE, |console| console.matches(KERNEL).count() == 2)?;
    // Before the driver of the installed system is loaded, which stops it too.
    machine.freeze()?;
    ensure!(!machine.has_armed_watchdog()?, "the watchdog runs, and nobody will feed it");
    ensure!(firmware_words(machine)? == firmware, "firmware spoke before the installed kernel");
    machine.thaw()
}

/// Counts how often OVMF has started an entry of this name that is on a disk.
fn entry_starts(console: &str, label: &str) -> usize {
    let is_start = |line: &&str| line.contains("BdsDxe: starting Boot");
    let name = format!(" \"{label}\" from HD(");
    console.lines().filter(is_start).filter(|line| line.contains(&name)).count()
}

/// Counts what firmware and network boot have said.
fn firmware_words(machine: &Booted) -> Result<usize> {
    let console = machine.console()?;
    Ok(FIRMWARE.iter().map(|words| console.matches(words).count()).sum())
}

/// Returns the cloud image as one that asks a server what it is: on its kernel's command line, as images of clouds do.
fn asking(lab: &Lab) -> Result<PathBuf> {
    let image = lab.scratch("asking.raw");
    let path =
        |path: &Path| path.to_str().context("the scratch directory is no UTF-8").map(str::to_owned);
    run("cp", &["--sparse=always", &path(&checkout::cloud()?)?, &path(&image)?])?;
    let system = format!("{}@@1M", path(&image)?);
    let menu = lab.scratch("menu");
    for name in MENUS {
        let text = run("mtype", &["-i", &system, name])?;
        let root = "root=LABEL=cloud-root";
        ensure!(text.contains(root), "in {name}: {text}");
        let base = format!("{root} ds=nocloud;s=http://{SERVER}:{HTTP_PORT}/nocloud/");
        fs::write(&menu, text.replace(root, &base)).context("writing a menu")?;
        run("mcopy", &["-o", "-i", &system, &path(&menu)?, name])?;
    }
    Ok(image)
}
