//! `hercules` as an ordinary program: the engine of `HerculesOS` at a terminal.

mod idle;
mod options;
mod questions;
mod report;
mod terminal;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use agent::boot::NotOurs;
use anyhow::{Context as _, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use disk::permit::{self, Circumstances, Clock, Holder, Place, Used};
use inventory::Root;
use protocol::{
    Inventory, InventoryDigest, Order, OrderId, Wipe,
    inventory::Disk,
    order::{DiskIdentity, MachineEvidence, OrderedDisk},
    wipe::{DiskReport, ExtraOutcome, PowerLevel, Seed, Verdict, WipeFinish, WipeReport},
};
use ring::rand::{SecureRandom as _, SystemRandom};

use self::{
    options::{Beside, Way},
    report::ReportFile,
    terminal::TerminalKeeper,
};
use crate::{
    confirm::{self, Asked},
    refusal::refuse,
    wipe::{self, Clockwork},
};

/// Where orders that were begun in this boot are noted.
const USED: &str = "/run/drydock/orders";

const HOUR_MILLISECONDS: i64 = 3_600_000;

/// Wipes disks of this machine, and says what it came to.
///
/// Exit code 0: every disk is erased as far as was asked. 1: failed, or a disk is not erased. 2: not understood, or refused to
/// be PID 1 outside of its own image. 3: erased with exceptions. 4: refused, nothing was touched.
#[derive(Debug, Parser)]
#[command(name = "hercules", version, help_expected = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Wipes disks; unless told a level, says what each level would do to them.
    Wipe(WipeCommand),
}

#[derive(Debug, clap::Args)]
struct WipeCommand {
    /// A disk: its serial number, WWN, EUI-64 or NGUID; names such as sda are not taken. Can be repeated. At idle all disks
    /// unless said.
    #[arg(long, value_name = "ID")]
    disk: Vec<String>,
    /// How thoroughly.
    #[arg(long, value_parser = options::levels(), default_value = "idle")]
    level: PowerLevel,
    /// A disk of this machine that is dying or gone: its lack blocks nothing, it is not touched, and the report calls it
    /// missing. Can be repeated.
    #[arg(long, value_name = "ID")]
    missing: Vec<String>,
    #[command(flatten)]
    way: Way,
    #[command(flatten)]
    beside: Beside,
    /// Writes the report to this file: JSON, signed by nobody.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// How what came of it is printed.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Text for a person.
    Table,
    /// JSON for programs.
    Json,
}

/// Nothing was touched.
#[derive(Debug)]
struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; nothing was touched", self.0)
    }
}

impl std::error::Error for Refused {}

/// Runs the command; refuses to be PID 1 where the machine is not ours.
pub(crate) fn run(not_ours: &NotOurs) -> ExitCode {
    let is_first = !matches!(not_ours, NotOurs::Process(_));
    if is_first && std::env::args_os().len() < 2 {
        return refuse(not_ours);
    }
    let Verb::Wipe(command) = Arguments::parse().verb;
    match command.run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _nobody_reads = writeln!(io::stderr(), "hercules: {error:#}");
            ExitCode::from(if error.is::<Refused>() { 4 } else { 1 })
        }
    }
}

impl WipeCommand {
    fn run(&self) -> anyhow::Result<u8> {
        let inventory = inventory::collect(&Root::live());
        let disks = self.disks(&inventory)?;
        let missing = missing_disks(&inventory, &self.missing)?;
        // Before anybody is asked: afterwards it would be too late to say another one.
        let file = self.report.as_deref().map(ReportFile::open).transpose().map_err(Refused)?;
        if self.level != PowerLevel::Idle {
            let report = self.destroy(&inventory, &disks, &missing)?;
            let json =
                serde_json::to_string_pretty(&report).context("writing the report as JSON")?;
            let (json, table) = (json + "\n", wipe::words(&report));
            report::tell(file, &json, &table, self.output, &mut io::stdout())?;
            return Ok(exit_code(&report));
        }
        let wipe = |disk: &DiskIdentity, level| {
            self.wipe(&inventory, std::slice::from_ref(disk), &missing, level)
        };
        let mut printed = Ok(());
        let show = |words: &str| {
            if self.output == Output::Table && printed.is_ok() {
                printed = io::stdout().write_all(words.as_bytes());
            }
        };
        let told = idle::describe(&disks, &self.way.options(), wipe, show)?;
        let json = format!("{told:#}\n");
        // The table is there already, disk by disk.
        report::tell(file, &json, "", self.output, &mut io::stdout())?;
        printed.context("writing to standard output")?;
        Ok(0)
    }

    /// Returns the disks that are meant: at idle all that are there, unless some are named.
    fn disks<'i>(&self, inventory: &'i Inventory) -> anyhow::Result<Vec<&'i Disk>> {
        let disks: Vec<&Disk> = match (self.disk.as_slice(), self.level) {
            ([], PowerLevel::Idle) => {
                inventory.disks.iter().filter(|disk| disk.size_bytes.0 > 0).collect()
            }
            ([], _) => {
                bail!(Refused("say which disks: --disk, with what stands on their labels".into()))
            }
            (named, _) => {
                named.iter().map(|named| named_disk(inventory, named)).collect::<Result<_, _>>()?
            }
        };
        ensure!(!disks.is_empty(), "this machine has no disk");
        // What is said of a disk that is not among them would be lost without a word.
        for named in self.way.disks() {
            if !disks.iter().any(|disk| permit::names(named, &DiskIdentity::of(disk))) {
                bail!(Refused(format!("{named:?} is none of the disks that are to be wiped")));
            }
        }
        Ok(disks)
    }

    fn destroy(
        &self,
        inventory: &Inventory,
        disks: &[&Disk],
        missing: &[DiskIdentity],
    ) -> anyhow::Result<WipeReport> {
        let identities: Vec<DiskIdentity> =
            disks.iter().map(|disk| DiskIdentity::of(disk)).collect();
        let order = Arc::new(self.wipe(inventory, &identities, missing, self.level)?);
        let (typed, shown) = asked(disks, &order)?;
        let clock = Clockwork::own();
        let place = Place::person(typed).having_shown(shown);
        let used = Used::kept_in(USED);
        let keeper: Arc<dyn ::wipe::job::Keeper> =
            Arc::new(TerminalKeeper::new(self.passwords(&order), disks));
        let cleared = wipe::clear(&order, &circumstances(&place, &used), &keeper);
        let (cleared, released) = cleared.map_err(|not| match not.released.as_slice() {
            [] => Refused(not.words).into(),
            _ => anyhow::Error::new(not),
        })?;
        if !released.is_empty() {
            say(&format!("taken down: {}\n", wipe::list(&released)));
        }
        wipe::perform(&order, cleared, &keeper, &clock).map_err(|words| not_begun(words, released))
    }

    /// Returns the file that ATA passwords are kept in: beside the report, or where the command runs.
    fn passwords(&self, wipe: &Wipe) -> PathBuf {
        let beside = self.report.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        beside.join(format!("hercules-ata-passwords-{}.txt", wipe.order.id))
    }

    /// Makes the person's own order.
    fn wipe(
        &self,
        inventory: &Inventory,
        disks: &[DiskIdentity],
        missing: &[DiskIdentity],
        level: PowerLevel,
    ) -> anyhow::Result<Wipe> {
        let (mut id, mut seed) = ([0; 16], [0; 32]);
        let random = SystemRandom::new();
        random
            .fill(&mut id)
            .and_then(|()| random.fill(&mut seed))
            .map_err(|_| anyhow::anyhow!("the kernel has no random numbers"))?;
        let now = linux::clock::unix_milliseconds();
        let ordered =
            |identity: &DiskIdentity| OrderedDisk { identity: identity.clone(), overwrite: true };
        Ok(Wipe {
            order: Order {
                id: OrderId(id),
                by: "whoever typed the disks' names".to_owned(),
                machine: MachineEvidence::of(inventory),
                disks: disks.iter().map(ordered).collect(),
                deadline_unix_milliseconds: now.saturating_add(HOUR_MILLISECONDS),
                inventory: InventoryDigest::without(inventory, missing),
            },
            level,
            options: self.way.options(),
            seed: Seed(seed),
            missing: missing.to_vec(),
            extras: self.beside.extras(),
            journal: Vec::new(),
            finish: WipeFinish::Stay,
        })
    }
}

/// Has a person type what stands on each disk. Returns that, and what they were shown as built on the disks.
fn asked(disks: &[&Disk], wipe: &Wipe) -> anyhow::Result<(Vec<String>, Vec<Holder>)> {
    let asked = disks.iter().map(|disk| {
        let built =
            if wipe.level.destroys() { permit::holders(&[&disk.name])? } else { Vec::new() };
        Ok(Asked { disk, built })
    });
    let asked = asked.collect::<Result<Vec<_>, permit::HoldersUnread>>()?;
    let (mut terminal, mut words) = (io::stdin().lock(), io::stderr());
    let typed = confirm::ask(&asked, wipe.level, &wipe.extras, &mut terminal, &mut words)
        .map_err(Refused)?;
    Ok((typed, asked.into_iter().flat_map(|asked| asked.built).collect()))
}

/// Returns why no disk was written; refused where nothing else was touched either.
fn not_begun(words: String, released: Vec<Holder>) -> anyhow::Error {
    if released.is_empty() {
        return Refused(words).into();
    }
    wipe::NotCleared { words, released }.into()
}

/// What a wipe came to, as the exit code of the program.
fn exit_code(report: &WipeReport) -> u8 {
    let has_failed = |extra: &ExtraOutcome| extra.failure.is_some();
    if !report.disks.iter().all(|disk| wipe::is_over_well(report.level, disk)) {
        return 1;
    }
    // It erases nothing, so that the verdict says nothing of it.
    let is_erased = |disk: &DiskReport| match report.level {
        PowerLevel::Harbour => disk.exceptions.is_empty(),
        _ => disk.verdict == Verdict::Erased,
    };
    let is_all = report.disks.iter().all(is_erased) && !report.extras.iter().any(has_failed);
    if is_all { 0 } else { 3 }
}

fn circumstances<'c>(place: &'c Place, used: &'c Used) -> Circumstances<'c> {
    let now_unix_milliseconds = linux::clock::unix_milliseconds();
    Circumstances { place, now_unix_milliseconds, clock: Clock::SetByServer, used }
}

fn named_disk<'i>(inventory: &'i Inventory, named: &str) -> anyhow::Result<&'i Disk> {
    let mut found = inventory
        .disks
        .iter()
        .filter(|disk| disk.size_bytes.0 > 0 && permit::names(named, &DiskIdentity::of(disk)));
    match (found.next(), found.next()) {
        (Some(disk), None) => Ok(disk),
        (Some(_), Some(_)) => bail!(Refused(format!("several disks are called {named}"))),
        (None, _) => bail!(Refused(format!(
            "no disk has the serial number, WWN, EUI-64 or NGUID {named:?}; names such as sda are not taken"
        ))),
    }
}

/// Returns the disks that are called missing: as this machine shows them, else by the name that was said.
fn missing_disks(inventory: &Inventory, named: &[String]) -> anyhow::Result<Vec<DiskIdentity>> {
    let missing = named.iter().map(|named| {
        let mut found =
            inventory.disks.iter().map(DiskIdentity::of).filter(|disk| permit::names(named, disk));
        match (found.next(), found.next()) {
            (Some(disk), None) => Ok(disk),
            (Some(_), Some(_)) => bail!(Refused(format!("several disks are called {named}"))),
            (None, _) if named.trim().is_empty() => {
                bail!(Refused("a missing disk has no name".to_owned()))
            }
            (None, _) => {
                let serial = Some(named.trim().to_owned());
                Ok(DiskIdentity { serial, ..DiskIdentity::default() })
            }
        }
    });
    missing.collect()
}

/// For a person, beside what the command prints.
fn say(words: &str) {
    let _nobody_reads = io::stderr().write_all(words.as_bytes());
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_word_of_the_command_line_is_explained() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn nothing_is_destroyed_unless_a_level_is_said() {
        let Verb::Wipe(command) = Arguments::parse_from(["hercules", "wipe"]).verb;
        assert_eq!((command.level, command.disk.len()), (PowerLevel::Idle, 0));
    }

    #[test]
    fn what_was_not_begun_is_refused_unless_something_is_down() {
        assert!(not_begun("gone".to_owned(), Vec::new()).is::<Refused>());
        let kind = permit::HolderKind::Mapped { name: "vg-root".to_owned() };
        let holder = Holder { name: "dm-0".to_owned(), kind, disks: Vec::new() };
        let error = not_begun("gone".to_owned(), vec![holder]);
        assert!(!error.is::<Refused>() && error.to_string().contains("vg-root"), "{error}");
    }

    #[test]
    fn a_disk_is_named_by_its_label_and_by_one_only() {
        let disk = |serial: &str| Disk {
            name: "sda".to_owned(),
            serial: Some(serial.to_owned()),
            size_bytes: protocol::Bytes(1 << 30),
            ..Disk::default()
        };
        let inventory =
            Inventory { disks: vec![disk("A"), disk("B"), disk("B")], ..Inventory::default() };
        assert!(named_disk(&inventory, "A").is_ok());
        for wrong in ["sda", "/dev/sda", "", "B", "C"] {
            assert!(named_disk(&inventory, wrong).unwrap_err().is::<Refused>(), "{wrong}");
        }
    }

    #[test]
    fn what_is_said_of_a_disk_is_said_of_one_that_is_wiped() {
        let disk = Disk {
            name: "sda".to_owned(),
            serial: Some("A".to_owned()),
            size_bytes: protocol::Bytes(1 << 30),
            ..Disk::default()
        };
        let inventory = Inventory { disks: vec![disk], ..Inventory::default() };
        let disks = |words: &[&str]| {
            let Verb::Wipe(command) =
                Arguments::parse_from([&["hercules", "wipe", "--disk", "A"], words].concat()).verb;
            command
                .disks(&inventory)
                .map(|disks| disks.len())
                .map_err(|error| error.is::<Refused>())
        };
        assert_eq!(disks(&["--level", "full", "--despite", "A=removable"]), Ok(1));
        assert_eq!(disks(&["--level", "full", "--despite", "B=removable"]), Err(true));
        let wrong = ["--despite=A=usb", "--despite=removable", "--psid=A=/nowhere", "--level=gone"];
        for word in wrong {
            assert!(Arguments::try_parse_from(["hercules", "wipe", word]).is_err(), "{word}");
        }
    }

    #[test]
    fn every_option_reaches_the_order() {
        let label = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(label.path(), "PSIDPSIDPSIDPSIDPSIDPSIDPSIDPSID\n").unwrap();
        let psid = format!("--psid=A={}", label.path().display());
        let Verb::Wipe(command) = Arguments::parse_from([
            "hercules",
            "wipe",
            "--level=redline",
            "--passes=1",
            "--offload",
            "--verify-whole",
            "--lift-hidden",
            "--unfreeze",
            &psid,
            "--despite=A=network",
            "--boot-entries",
            "--pstore",
            "--tpm",
            "--missing=GONE",
        ])
        .verb;
        let inventory = Inventory::default();
        let missing = missing_disks(&inventory, &command.missing).unwrap();
        let wipe = command.wipe(&inventory, &[], &missing, command.level).unwrap();
        let options = &wipe.options;
        assert!(options.offload && options.verify_whole && options.lift_hidden && options.unfreeze);
        assert_eq!((options.passes, options.psids.len(), options.despite.len()), (Some(1), 1, 1));
        assert_eq!(options.psids[0].psid.0, "PSIDPSIDPSIDPSIDPSIDPSIDPSIDPSID");
        assert_eq!(wipe.extras.len(), 3);
        assert_eq!(wipe.missing[0].serial.as_deref(), Some("GONE"));
        assert_eq!(wipe.level, PowerLevel::Redline);
    }
}
