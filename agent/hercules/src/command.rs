//! `hercules` as an ordinary program: the engine of `HerculesOS` at a terminal.

mod confirm;
mod idle;
mod questions;
mod terminal;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use agent::boot::NotOurs;
use anyhow::{Context as _, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use disk::permit::{self, Circumstances, Clock, Place, Used};
use inventory::Root;
use protocol::{
    Inventory, InventoryDigest, Order, OrderId, Wipe,
    inventory::Disk,
    order::{DiskIdentity, MachineEvidence, OrderedDisk},
    wipe::{PowerLevel, Seed, Verdict, WipeFinish, WipeOptions, WipeReport},
};
use ring::rand::{SecureRandom as _, SystemRandom};

use self::terminal::TerminalKeeper;
use crate::{
    chain,
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
    #[arg(long, value_enum, default_value = "idle")]
    level: Level,
    /// How many passes redline writes where a disk has no erasure of its own; 3 unless said.
    #[arg(long, value_name = "NUMBER")]
    passes: Option<u8>,
    /// Lets disks zero themselves: much faster, and the outcome is logical only.
    #[arg(long)]
    offload: bool,
    /// Reads back every byte instead of a sample.
    #[arg(long)]
    verify_whole: bool,
    /// Lifts HPA, DCO and AMA first, so that hidden sectors are wiped too.
    #[arg(long)]
    lift_hidden: bool,
    /// Writes the report to this file: JSON, signed by nobody.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// How what came of it is printed.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    /// Writes nothing: says what the other levels would do.
    Idle,
    /// Removes ephemeral state of the installed system only.
    Harbour,
    /// Clears tables and signatures, for re-provisioning.
    Working,
    /// The whole disk: aims at clear.
    Full,
    /// The disk's own erasure, or several passes: aims at purge.
    Redline,
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
        if self.level == Level::Idle {
            let disks: Vec<&Disk> = if self.disk.is_empty() {
                inventory.disks.iter().filter(|disk| disk.size_bytes.0 > 0).collect()
            } else {
                self.disk
                    .iter()
                    .map(|named| named_disk(&inventory, named))
                    .collect::<Result<_, _>>()?
            };
            ensure!(!disks.is_empty(), "this machine has no disk");
            let wipe = |disk: &DiskIdentity, level| {
                self.wipe(&inventory, std::slice::from_ref(disk), level)
            };
            let words = idle::describe(&disks, &self.options(), wipe)?;
            print(&match self.output {
                Output::Table => words.text,
                Output::Json => format!("{:#}\n", words.json),
            })?;
            return Ok(0);
        }
        self.destroy(&inventory)
    }

    fn destroy(&self, inventory: &Inventory) -> anyhow::Result<u8> {
        if self.disk.is_empty() {
            bail!(Refused("say which disks: --disk, with what stands on their labels".to_owned()));
        }
        let mut disks = Vec::new();
        for named in &self.disk {
            disks.push(named_disk(inventory, named)?);
        }
        let identities: Vec<DiskIdentity> =
            disks.iter().map(|disk| DiskIdentity::of(disk)).collect();
        let order = Arc::new(self.wipe(inventory, &identities, self.level.into())?);
        let mut terminal = io::stdin().lock();
        let typed =
            confirm::ask(&disks, order.level, &mut terminal, &mut io::stderr()).map_err(Refused)?;
        drop(terminal);
        let clock = Clockwork::begin(Clock::SetByServer);
        let place = Place::person(typed);
        let used = Used::kept_in(USED);
        let cleared = permit::check_wipe(&order, &circumstances(&place, &used))
            .map_err(|refusal| Refused(chain(&refusal)))?;
        let keeper: Arc<dyn ::wipe::job::Keeper> = Arc::new(TerminalKeeper::default());
        let report = wipe::perform(&order, cleared, &keeper, &clock).map_err(Refused)?;
        self.tell(&report)?;
        let is = |verdict: Verdict| report.disks.iter().all(|disk| disk.verdict == verdict);
        Ok(match () {
            () if is(Verdict::Erased) => 0,
            () if report.disks.iter().all(|disk| wipe::is_over_well(order.level, disk)) => 3,
            () => 1,
        })
    }

    fn tell(&self, report: &WipeReport) -> anyhow::Result<()> {
        let json =
            serde_json::to_string_pretty(report).context("writing the report as JSON")? + "\n";
        print(
            match self.output {
                Output::Table => wipe::words(report),
                Output::Json => json.clone(),
            }
            .as_str(),
        )?;
        match &self.report {
            Some(path) => std::fs::write(path, json)
                .with_context(|| format!("writing the report to {}", path.display())),
            None => Ok(()),
        }
    }

    fn options(&self) -> WipeOptions {
        WipeOptions {
            passes: self.passes,
            offload: self.offload,
            verify_whole: self.verify_whole,
            lift_hidden: self.lift_hidden,
            unfreeze: false,
            psids: Vec::new(),
            despite: Vec::new(),
        }
    }

    /// Makes the person's own order.
    fn wipe(
        &self,
        inventory: &Inventory,
        disks: &[DiskIdentity],
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
                inventory: InventoryDigest::of(inventory),
            },
            level,
            options: self.options(),
            seed: Seed(seed),
            missing: Vec::new(),
            extras: Vec::new(),
            journal: Vec::new(),
            finish: WipeFinish::Stay,
        })
    }
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

fn print(text: &str) -> anyhow::Result<()> {
    io::stdout().write_all(text.as_bytes()).context("writing to standard output")
}

impl From<Level> for PowerLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Idle => Self::Idle,
            Level::Harbour => Self::Harbour,
            Level::Working => Self::Working,
            Level::Full => Self::Full,
            Level::Redline => Self::Redline,
        }
    }
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
        assert_eq!((command.level, command.disk.len()), (Level::Idle, 0));
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
}
