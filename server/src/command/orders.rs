//! `drydock orders`: what was ordered, by whom, what became of it.

use clap::Subcommand;
use protocol::wipe::WipeStepKind;

use super::{
    Server,
    output::{self, Format},
    wipe::Looked,
};
use crate::{
    api::client::segment,
    certificate::policy::technique_words,
    machine::{
        OrderOverview,
        disk_order::{DiskOrder, OrderState},
        install::PhonedHome,
        wipe::{LeftPassword, WipeWork, outcome_word, verdict_words},
    },
    moment,
};

/// `drydock orders`.
#[derive(Debug, clap::Args)]
pub(super) struct Orders {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// How orders are printed.
    #[arg(short, long, value_enum, default_value = "table", global = true)]
    output: Format,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists orders, newest first.
    List,
    /// Shows one order.
    Show {
        /// Its name, or the first digits of it.
        order: String,
    },
    /// Lists the ATA passwords that wipes left on disks, also of machines that were forgotten: a disk may be locked with one.
    /// A later order to wipe such a disk has them, in whatever machine it is.
    Passwords,
    /// Takes an order back; one that a machine is carrying out is given up, but not stopped.
    Cancel {
        /// Its name, or the first digits of it.
        order: String,
    },
}

impl Orders {
    /// Does it.
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.verb.as_ref().unwrap_or(&Verb::List) {
            Verb::List => {
                let orders: Vec<OrderOverview> = self.server.ask("GET", "/v1/orders")?;
                output::show(self.output, &orders, |orders| table(orders, moment::now()))
            }
            Verb::Show { order } => {
                let path = format!("/v1/orders/{}", segment(order));
                let order: OrderOverview = self.server.ask("GET", &path)?;
                Looked::show(&self.server, &order, self.output)
            }
            Verb::Passwords => {
                let left: Vec<LeftPassword> = self.server.ask("GET", "/v1/passwords")?;
                output::show(self.output, &left, |left| passwords(left))
            }
            Verb::Cancel { order } => {
                let path = format!("/v1/orders/{}/cancel", segment(order));
                let order: OrderOverview = self.server.ask("POST", &path)?;
                output::show(self.output, &order, |order| page(order, moment::now()))
            }
        }
    }
}

/// All orders, one in a line.
fn table(orders: &[OrderOverview], now: i64) -> String {
    let titles = ["ORDER", "MACHINE", "WHAT", "DISK", "GIVEN", "BY", "STATE"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(orders.iter().map(|one| {
        let OrderOverview { machine, order, .. } = one;
        let id: String = order.id.to_string().chars().take(8).collect();
        vec![
            id,
            machine.clone(),
            order.title(),
            match order.disks() {
                [] => String::new(),
                [disk] => disk.identity.clone(),
                [disk, others @ ..] => format!("{} and {} more", disk.identity, others.len()),
            },
            moment::show_ago(order.at, now),
            order.by.clone(),
            order.words(),
        ]
    }));
    output::align(&rows)
}

fn passwords(all: &[LeftPassword]) -> String {
    if all.is_empty() {
        return "no wipe has left a password on a disk\n".to_owned();
    }
    let titles = ["DISK", "SET", "MACHINE", "ORDER", "PASSWORD (32 BYTES, HEXADECIMAL)"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|left| {
        vec![
            left.disk.clone(),
            moment::show(left.at),
            left.machine.clone(),
            left.order.to_string().chars().take(8).collect(),
            left.password.clone(),
        ]
    }));
    output::align(&rows)
}

/// One order.
pub(super) fn page(shown: &OrderOverview, now: i64) -> String {
    let OrderOverview { machine, online, order } = shown;
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut put = |key: &str, value: String| rows.push(vec![key.to_owned(), value]);
    put("order", order.id.to_string());
    put("machine", format!("{machine}, {}", if *online { "online" } else { "away" }));
    if let Some(install) = order.install() {
        put("image", install.image.name.clone());
        install.image.manifest.iter().for_each(|manifest| put("manifest", manifest.clone()));
    }
    if let Some(wipe) = order.wipe() {
        put("wipe", format!("at {}", wipe.level_word()));
        wipe.ticket.iter().for_each(|ticket| put("ticket", ticket.clone()));
    }
    for disk in order.disks() {
        put("disk", format!("{}, {}", disk.identity, disk.named.size_bytes));
    }
    put("given", format!("{} by {}", moment::show(order.at), order.by));
    if order.is_open() {
        if order.wipe().is_some_and(|wipe| wipe.begun.is_some()) {
            put("continued until", moment::show(order.end()));
        } else {
            put("not begun after", moment::show(order.deadline));
        }
    }
    put("state", order.words());
    order.held_back.iter().for_each(|reason| put("waits", reason.clone()));
    if let Some(at) = ended(order) {
        put("ended", format!("{}, {}", moment::show(at), moment::show_ago(at, now)));
    }
    let phoned_home = order.install().and_then(|install| install.phoned_home.as_ref());
    if let Some(PhonedHome { at, hostname, instance_id }) = phoned_home {
        let named = [hostname, instance_id].into_iter().flatten().cloned().collect::<Vec<_>>();
        put("says back", format!("{}, {}", named.join(", "), moment::show(*at)));
    }
    if let OrderState::Running { progress: Some(progress), .. } = &order.state {
        put("fetched", progress.fetched_bytes.to_string());
        put("unpacked", progress.unpacked_bytes.to_string());
        put("written", progress.written_bytes.to_string());
        put("zeroed", progress.zeroed_bytes.to_string());
        put("unchanged", progress.unchanged_bytes.to_string());
        put("verified", progress.verified_bytes.to_string());
        progress.bytes_per_second.iter().for_each(|rate| put("rate", format!("{rate}/s")));
        progress.remaining_seconds.iter().for_each(|left| put("left", format!("{left} s")));
        progress.bottleneck.iter().for_each(|slowest| put("slowest", word(slowest)));
    }
    if let OrderState::Done { report, .. } = &order.state {
        put("guarantee", word(&report.guarantee));
        put("read back", word(&report.read_back));
        for step in &report.steps {
            let outcome =
                step.failure.as_ref().map_or("done".to_owned(), |why| format!("failed: {why}"));
            put("step", format!("{}: {outcome}", step.step));
        }
    }
    if let OrderState::Running { wiping: Some(wiping), .. } = &order.state {
        for disk in &wiping.disks {
            let rate = disk.bytes_per_second.map(|rate| format!(", {rate}/s")).unwrap_or_default();
            let (done, total) = (disk.done_bytes, disk.total_bytes);
            put(&disk.name, format!("{}, {done} of {total}{rate}", word(&disk.phase)));
        }
    }
    if let OrderState::Wiped { result, .. } = &order.state {
        for disk in &result.disks {
            let (verdict, reached) = (verdict_words(disk.verdict), outcome_word(disk.reached));
            put("verdict", format!("{}: {verdict}, {reached} reached", disk.identity));
        }
        result.findings.iter().for_each(|finding| put("finding", finding.clone()));
        put("certificate", result.certificate.to_string());
    }
    order.wipe().map(journal).into_iter().flatten().for_each(|line| put("journal", line));
    output::align(&rows)
}

/// What the boots of a wipe told before each step, and what earlier orders left: a disk may be locked with it.
fn journal(wipe: &WipeWork) -> Vec<String> {
    let mut lines = Vec::new();
    for (step, from) in wipe
        .inherited
        .iter()
        .map(|step| (step, ", from an earlier order"))
        .chain(wipe.journal.iter().map(|step| (step, "")))
    {
        let disk = usize::try_from(step.disk).ok().and_then(|number| wipe.disks.get(number));
        let disk = disk.map_or("a disk", |disk| disk.identity.as_str());
        let said = match &step.kind {
            WipeStepKind::Canaries {} => "canaries".to_owned(),
            WipeStepKind::AtaPassword { password } => format!("ATA password {password}"),
            WipeStepKind::Begin { technique } => technique_words(*technique).to_owned(),
            WipeStepKind::Watermark { pass, bytes } => format!("pass {pass} done up to {bytes}"),
            WipeStepKind::Verify {} => "reading back".to_owned(),
            WipeStepKind::Over { verdict } => verdict_words(*verdict).to_owned(),
            WipeStepKind::Other => "something that this version does not know".to_owned(),
        };
        lines.push(format!("{disk}: {said}{from}"));
    }
    lines
}

fn ended(order: &DiskOrder) -> Option<i64> {
    match &order.state {
        OrderState::Ordered {}
        | OrderState::Given { .. }
        | OrderState::Running { .. }
        | OrderState::Interrupted { .. } => None,
        OrderState::Done { at, .. }
        | OrderState::Wiped { at, .. }
        | OrderState::Lost { at, .. }
        | OrderState::Failed { at, .. }
        | OrderState::Expired { at }
        | OrderState::Cancelled { at, .. } => Some(*at),
    }
}

/// Says a value as it stands in JSON.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => {
            other.get("kind").and_then(|kind| kind.as_str()).unwrap_or_default().to_owned()
        }
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::disk_order::tests::{order, progress};

    #[test]
    fn how_far_an_order_is_stands_on_its_page_in_numbers() {
        let mut running = order(1);
        let progress = protocol::install::Progress {
            remaining_seconds: Some(12),
            bottleneck: Some(protocol::install::Bottleneck::Disk),
            ..progress(1)
        };
        running.state = OrderState::Running {
            session: crate::machine::Session([1; 32]),
            sequence: 1,
            since: 0,
            progress: Some(Box::new(progress)),
            wiping: None,
        };
        let shown = OrderOverview { machine: "4q5hmp2".to_owned(), online: true, order: running };
        let page = page(&shown, 120_000);
        for (name, value) in [
            ("fetched", "10 B"),
            ("unpacked", "100 B"),
            ("written", "50 B"),
            ("zeroed", "30 B"),
            ("unchanged", "6 B"),
            ("verified", "0 B"),
            ("rate", "9 B/s"),
            ("left", "12 s"),
            ("slowest", "disk"),
        ] {
            let is_it = |line: &str| line.starts_with(name) && line.ends_with(value);
            assert!(page.lines().any(|line| is_it(line.trim())), "{name}: {page}");
        }
    }

    #[test]
    fn orders_read_well() {
        let mut one = order(0xa5);
        one.install_mut().unwrap().disk.identity = "wwn:5002538e40a1b2c3".to_owned();
        let mut two = order(0x5a);
        two.state =
            OrderState::Failed { at: 60_000, reason: "the disk is gone".to_owned(), touched: true };
        let shown = |order| OrderOverview { machine: "4q5hmp2".to_owned(), online: true, order };
        let orders = [shown(one), shown(two)];
        let pages: Vec<String> = orders.iter().map(|order| page(order, 120_000)).collect();
        insta::assert_snapshot!([vec![table(&orders, 120_000)], pages].concat().join("\n"));
    }
}
