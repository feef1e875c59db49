//! `drydock wipe`: shows what would be destroyed, has the machine's name said back, gives the order and follows it.

mod forecast;

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use protocol::{
    install::Secret,
    order::DiskIdentity,
    wipe::{Despite, Extra, PowerLevel, Psid, Sid, WipeFinish, WipeOptions, of_disk},
};

pub(super) use self::forecast::Looked;
use super::{
    Server,
    install::{Outcome, follow, seconds},
    orders,
    output::{self, Format},
};
use crate::{
    api::{client::segment, orders::WipeAnswer},
    machine::{
        OrderOverview,
        disk_order::OrderState,
        install::Choice,
        wipe::{WipePlan, WipeRequest, level_word},
    },
    moment,
};

const AFTER: &str = "\
Without --detach the command ends when the order does: 0 only where every ordered disk is erased as far as was asked, as the
server judges the machine's own report. Leaving it with Ctrl-C leaves the order as it is: see drydock orders.
Several machines are wiped in waves: the first alone, and the others only when it ended well.";

/// `drydock wipe`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(super) struct WipeCommand {
    /// The machines' names, or the MAC address of one of their ports.
    #[arg(required_unless_present = "machines_file")]
    machines: Vec<String>,
    /// A file with more of them, one in a line.
    #[arg(long, value_name = "FILE")]
    machines_file: Option<PathBuf>,
    /// How thoroughly.
    #[arg(long, value_parser = levels(), default_value = "idle")]
    level: PowerLevel,
    /// A disk: its serial number, WWN, EUI-64, NGUID or by-id name, or a rule as drydock install has it. Can be repeated.
    #[arg(long, value_name = "ID|RULE", conflicts_with = "all")]
    disk: Vec<Choice>,
    /// All fixed disks of the machine; so it is at idle where none is said.
    #[arg(long)]
    all: bool,
    /// Destroys what is on those disks. Without it only blank disks are written.
    #[arg(long)]
    overwrite: bool,
    /// A disk of the machine that is known to be gone, by serial number, WWN, EUI-64 or NGUID: its lack blocks nothing, and the
    /// certificate calls it missing. Can be repeated.
    #[arg(long, value_name = "ID")]
    missing: Vec<String>,
    #[command(flatten)]
    way: Way,
    #[command(flatten)]
    beside: Beside,
    /// How the machine goes on when all of it is done. After a failure it waits.
    #[arg(long, value_enum, default_value = "stay")]
    finish: After,
    /// What you call this, for the certificate.
    #[arg(long, value_name = "TEXT")]
    ticket: Option<String>,
    /// How long the order may wait to be begun: 90s, 15m, 1h; at most 24h. One that was begun may take as long as it needs,
    /// and after a power cut is continued if the machine is back within a day.
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = seconds)]
    within: u64,
    /// Confirms without a question, for scripts: the machine's name exactly; of several machines, how many they are.
    #[arg(long, value_name = "NAME|NUMBER")]
    yes: Option<String>,
    /// Says what would be done, and orders nothing.
    #[arg(long)]
    dry_run: bool,
    /// Ends when the order is taken. One machine only: of several the first is waited for.
    #[arg(long)]
    detach: bool,
    /// How orders are printed.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    #[command(flatten)]
    server: Server,
}

/// What differs from the level's own way.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
struct Way {
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
    /// Suspends the machine to memory to lift frozen ATA security, before anything is destroyed.
    #[arg(long)]
    unfreeze: bool,
    /// A file with the PSID from the label of a self-encrypting disk that is locked. Can be repeated.
    #[arg(long, value_name = "DISK=FILE")]
    psid: Vec<String>,
    /// A file with the password of a self-encrypting disk's owner (SID), as the disk is given it. Can be repeated.
    #[arg(long, value_name = "DISK=FILE")]
    sid: Vec<String>,
    /// Wipes a disk in spite of an obstacle: bootMedium, sharedStorage, reservations, network, multipath, removable.
    /// Can be repeated.
    #[arg(long, value_name = "DISK=OBSTACLE")]
    despite: Vec<Despite>,
}

/// What is done beside the disks.
#[derive(Debug, clap::Args)]
struct Beside {
    /// Removes UEFI boot entries whose partition is gone.
    #[arg(long)]
    boot_entries: bool,
    /// Empties pstore, where crashed kernels left what was in memory.
    #[arg(long)]
    pstore: bool,
    /// Clears the TPM.
    #[arg(long)]
    tpm: bool,
}

/// How a machine goes on after a wipe.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum After {
    /// Switches off.
    #[value(name = "poweroff", alias = "power-off")]
    PowerOff,
    /// Restarts.
    Reboot,
    /// Stays, and waits.
    Stay,
}

impl WipeCommand {
    /// Does it.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let machines = self.machines()?;
        if self.detach && machines.len() > 1 {
            bail!("--detach goes with one machine: of several the first is waited for");
        }
        if self.level != PowerLevel::Idle && !self.all && self.disk.is_empty() {
            bail!("say which disks: --disk, or --all");
        }
        let request = self.request()?;
        let plans = machines
            .iter()
            .map(|machine| self.plan(machine, &request))
            .collect::<anyhow::Result<Vec<WipePlan>>>()?;
        for plan in &plans {
            output::say(&shown(plan));
        }
        if self.dry_run {
            return match (self.output, plans.as_slice()) {
                (Format::Table, _) => Ok(()),
                (format, [plan]) => output::show(format, plan, |_| String::new()),
                (format, plans) => output::show(format, &plans, |_| String::new()),
            };
        }
        if self.level != PowerLevel::Idle {
            self.confirm(&plans)?;
        }
        if let (true, [plan]) = (self.detach, plans.as_slice()) {
            return self.show(&self.order(plan, &request)?);
        }
        in_waves(&plans, |plan| self.order(plan, &request), |order| self.end(order))
    }

    fn machines(&self) -> anyhow::Result<Vec<String>> {
        let mut machines = self.machines.clone();
        if let Some(file) = &self.machines_file {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("reading {}", file.display()))?;
            let lines = text.lines().map(str::trim);
            machines.extend(
                lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned),
            );
        }
        let mut seen = Vec::new();
        for machine in machines {
            if !seen.contains(&machine) {
                seen.push(machine);
            }
        }
        if seen.is_empty() {
            bail!("no machine is named");
        }
        Ok(seen)
    }

    fn request(&self) -> anyhow::Result<WipeRequest> {
        let extras = [
            (self.beside.boot_entries, Extra::StaleBootEntries),
            (self.beside.pstore, Extra::Pstore),
            (self.beside.tpm, Extra::Tpm),
        ];
        Ok(WipeRequest {
            level: self.level,
            disks: self.disk.clone(),
            all: self.all || self.disk.is_empty(),
            overwrite: self.overwrite,
            options: WipeOptions {
                passes: self.way.passes,
                offload: self.way.offload,
                verify_whole: self.way.verify_whole,
                lift_hidden: self.way.lift_hidden,
                unfreeze: self.way.unfreeze,
                despite: self.way.despite.clone(),
                psids: self.way.psid.iter().map(|text| psid(text)).collect::<Result<_, _>>()?,
                sids: self.way.sid.iter().map(|text| sid(text)).collect::<Result<_, _>>()?,
            },
            missing: self.missing.clone(),
            extras: extras.into_iter().filter(|(said, _)| *said).map(|(_, extra)| extra).collect(),
            finish: match self.finish {
                After::PowerOff => WipeFinish::PowerOff,
                After::Reboot => WipeFinish::Reboot,
                After::Stay => WipeFinish::Stay,
            },
            within_seconds: self.within,
            ticket: self.ticket.clone(),
            confirm: None,
            dry_run: true,
        })
    }

    fn tell(&self, machine: &str, request: &WipeRequest) -> anyhow::Result<WipeAnswer> {
        self.server.tell(&format!("/v1/machines/{}/wipe", segment(machine)), request)
    }

    fn plan(&self, machine: &str, request: &WipeRequest) -> anyhow::Result<WipePlan> {
        Ok(self.tell(machine, request).with_context(|| machine.to_owned())?.plan)
    }

    /// Gives the order, to the machine and the disks that were shown.
    fn order(&self, plan: &WipePlan, request: &WipeRequest) -> anyhow::Result<OrderOverview> {
        let name = |named: &DiskIdentity| -> Option<Choice> {
            let DiskIdentity { serial, wwn, eui64, nguid, .. } = named;
            let name = [nguid, eui64, wwn, serial].into_iter().find_map(Option::as_deref)?;
            Some(Choice::Named(name.to_owned()))
        };
        // Rules were resolved to disks that the person has seen: those, and no other.
        let disks = plan.disks.iter().map(|disk| name(&disk.named)).collect::<Option<Vec<_>>>();
        let request = WipeRequest {
            disks: disks.context("a disk has no name")?,
            all: false,
            confirm: Some(plan.machine.clone()),
            dry_run: false,
            ..request.clone()
        };
        let order = self.tell(&plan.machine, &request)?.order.context("no order was taken")?;
        output::say(&format!(
            "{}: order {}; leaving with Ctrl-C does not take it back",
            order.machine, order.order.id
        ));
        Ok(order)
    }

    /// Asks for the machine's name; of several, for how many they are.
    fn confirm(&self, plans: &[WipePlan]) -> anyhow::Result<()> {
        let (wanted, question) = match plans {
            [plan] => (plan.machine.clone(), "the machine's name".to_owned()),
            several => (several.len().to_string(), "the number of machines".to_owned()),
        };
        let answer = match &self.yes {
            Some(answer) => answer.clone(),
            None if io::stdin().is_terminal() => {
                let level = level_word(self.level);
                let mut words = io::stderr();
                write!(words, "This cannot be undone. To wipe at {level}, type {question}: ")?;
                words.flush()?;
                let mut line = String::new();
                io::stdin().lock().read_line(&mut line).context("reading the answer")?;
                line
            }
            None => bail!("nobody is there to confirm it: say --yes with {question}"),
        };
        if answer.trim() != wanted {
            bail!("not confirmed: nothing was ordered");
        }
        Ok(())
    }

    /// Follows an order to its end, and says how that was.
    fn end(&self, order: &OrderOverview) -> anyhow::Result<()> {
        let order = follow(&self.server, order.order.id)?;
        Looked::show(&self.server, &order, self.output)?;
        outcome(&order)
    }

    fn show(&self, order: &OrderOverview) -> anyhow::Result<()> {
        output::show(self.output, order, |order| orders::page(order, moment::now()))
    }
}

/// Orders the first, and the others only when that one ended well. Returns the last failure of those.
fn in_waves<P, O>(
    plans: &[P],
    order: impl Fn(&P) -> anyhow::Result<O>,
    end: impl Fn(&O) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Some((first, others)) = plans.split_first() else { return Ok(()) };
    end(&order(first)?)?;
    if others.is_empty() {
        return Ok(());
    }
    output::say(&format!("the first machine ended well; now the other {}", others.len()));
    // One that is not taken keeps nobody from looking after those that were.
    let mut last = Ok(());
    let mut note = |failed: anyhow::Error| {
        output::say(&format!("{failed:#}"));
        last = Err(failed);
    };
    let mut orders = Vec::new();
    for plan in others {
        match order(plan) {
            Ok(order) => orders.push(order),
            Err(error) => note(error),
        }
    }
    for order in &orders {
        if let Err(error) = end(order) {
            note(error);
        }
    }
    last
}

/// Says how an order ended.
fn outcome(order: &OrderOverview) -> anyhow::Result<()> {
    match &order.order.state {
        OrderState::Wiped { result, .. } if result.is_done => Ok(()),
        OrderState::Expired { .. } | OrderState::Cancelled { .. } => {
            bail!(Outcome::NotBegun(order.order.words()))
        }
        _ => bail!(Outcome::Failed(order.order.words())),
    }
}

/// Reads a level, and lists them all where it is none.
fn levels() -> impl TypedValueParser<Value = PowerLevel> {
    let word = |level: PowerLevel| PossibleValue::new(level.word()).help(level.purpose());
    PossibleValuesParser::new(PowerLevel::ALL.map(word)).try_map(|word| word.parse())
}

/// Reads `DISK=FILE`.
fn psid(text: &str) -> anyhow::Result<Psid> {
    let (disk, file) = of_disk(text, "FILE")?;
    let psid = std::fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    Ok(Psid { disk: disk.to_owned(), psid: Secret(psid.trim().to_owned()) })
}

/// Reads `DISK=FILE`. A password may end with a blank, and a file with a line feed.
fn sid(text: &str) -> anyhow::Result<Sid> {
    let (disk, file) = of_disk(text, "FILE")?;
    let sid = std::fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    let sid = sid.trim_end_matches(['\r', '\n']).to_owned();
    Ok(Sid { disk: disk.to_owned(), sid: Secret(sid) })
}

/// What would be done, in words.
fn shown(plan: &WipePlan) -> String {
    let strength = serde_json::to_value(plan.strength).unwrap_or_default();
    let strength = strength.as_str().unwrap_or_default().to_owned();
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut put = |key: &str, value: String| rows.push(vec![key.to_owned(), value]);
    put("machine", format!("{}, identity {strength}", plan.machine));
    put("level", level_word(plan.level).to_owned());
    for disk in &plan.disks {
        let named = &disk.named;
        put("disk", format!("{}, {}", words(named), disk.identity));
        let holds = match (plan.level, disk.has_data, disk.holds.as_slice()) {
            (_, false, _) => "blank".to_owned(),
            (PowerLevel::Idle, true, []) => {
                "left alone: something that was not recognised".to_owned()
            }
            (PowerLevel::Idle, true, holds) => format!("left alone: {}", holds.join(", ")),
            (_, true, []) => "DESTROYED: something that was not recognised".to_owned(),
            (_, true, holds) => format!("DESTROYED: {}", holds.join(", ")),
        };
        put("  on it", holds);
    }
    plan.others.iter().for_each(|other| put("left alone", words(other)));
    plan.missing.iter().for_each(|gone| put("missing", words(gone)));
    for extra in &plan.extras {
        put(
            "also",
            match extra {
                Extra::StaleBootEntries => "removes stale UEFI boot entries",
                Extra::Pstore => "empties pstore",
                Extra::Tpm => "CLEARS THE TPM",
            }
            .to_owned(),
        );
    }
    put("not begun after", moment::show(plan.deadline));
    output::align(&rows).trim_end().to_owned()
}

fn words(disk: &DiskIdentity) -> String {
    let parts = [disk.model.as_deref(), disk.serial.as_deref().or(disk.wwn.as_deref())];
    let name = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    format!("{name}, {}", disk.size_bytes)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Orders machines of which these fail; returns in which order what was done, and whether all went well.
    fn waves(machines: &[&str], failing: &[&str]) -> (Vec<String>, bool) {
        let done = RefCell::new(Vec::new());
        let order = |machine: &&str| {
            done.borrow_mut().push(format!("order {machine}"));
            Ok((*machine).to_owned())
        };
        let end = |machine: &String| {
            done.borrow_mut().push(format!("end {machine}"));
            if failing.contains(&machine.as_str()) {
                bail!("failed: {machine}");
            }
            Ok(())
        };
        let is_good = in_waves(machines, order, end).is_ok();
        (done.into_inner(), is_good)
    }

    #[test]
    fn the_first_machine_ends_well_before_any_other_is_ordered() {
        let (done, is_good) = waves(&["a", "b", "c"], &[]);
        assert_eq!(done, ["order a", "end a", "order b", "order c", "end b", "end c"]);
        assert!(is_good);
        let (done, is_good) = waves(&["a", "b", "c"], &["a"]);
        assert_eq!((done, is_good), (vec!["order a".to_owned(), "end a".to_owned()], false));
        let (done, is_good) = waves(&["a", "b", "c"], &["b"]);
        assert_eq!((done.len(), is_good), (6, false), "the others are looked after");
    }

    #[test]
    fn a_psid_belongs_to_a_disk() {
        assert!(psid("S3Z1NB0K").is_err() && psid("S3Z1NB0K=/nowhere").is_err());
    }
}
