//! `drydock install`: gives the order, and follows it to its end.

use std::{fmt, path::PathBuf, time::Duration};

use anyhow::bail;
use protocol::{
    OrderId,
    install::{Bottleneck, Finish, Secret, Step},
};

use self::told::Told;
use super::{
    Server,
    line::Line,
    orders,
    output::{self, Format},
};
use crate::{
    api::{
        client::{ClientError, segment},
        orders::Answer,
    },
    machine::{
        OrderOverview,
        disk_order::OrderState,
        install::{Choice, InstallRequest, Plan},
    },
    moment,
};

mod told;

/// How often the server is asked how far it is.
const LOOK: Duration = Duration::from_millis(500);

const AFTER: &str = "\
Without --detach the command ends when the order does: 0 only after the machine's own report of success.
Leaving it with Ctrl-C leaves the order as it is: see drydock orders.";

/// `drydock install`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(super) struct Install {
    /// The machine's name, or the MAC address of one of its ports.
    machine: String,
    /// An image's name in the store (drydock image list), or its http, https or oci URL.
    #[arg(long, value_name = "NAME|URL")]
    image: String,
    /// The disk: its serial number, WWN, EUI-64, NGUID or by-id name; or a rule that finds one:
    /// smallest, largest, only, with conditions such as smallest:nvme,blank.
    #[arg(long, value_name = "ID|RULE")]
    disk: Choice,
    /// Destroys what is on that disk. Without it only a blank disk is written.
    #[arg(long)]
    overwrite: bool,
    /// How long the order may wait for its machine: 90s, 15m, 1h; at most 24h.
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = seconds)]
    within: u64,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    steps: Steps,
    /// How the machine goes on.
    #[arg(long, value_enum, default_value = "reboot")]
    finish: After,
    /// Says what would be done, and orders nothing.
    #[arg(long)]
    dry_run: bool,
    /// Ends when the order is taken.
    #[arg(long)]
    detach: bool,
    /// How the order is printed.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    #[command(flatten)]
    server: Server,
    // Last: its heading would stand above what follows it.
    #[command(flatten)]
    told: Told,
}

/// What goes with a URL.
#[derive(Debug, clap::Args)]
struct Source {
    /// Another URL of the same bytes. Can be repeated.
    #[arg(long, value_name = "URL")]
    mirror: Vec<String>,
    /// SHA-256 of what the URL gives.
    #[arg(long, value_name = "DIGEST")]
    sha256: Option<String>,
    /// A file with a bearer token, for the first URL's server only and over https only.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A map of the image (bmap, version 2), compared while the image is written.
    #[arg(long, value_name = "FILE")]
    bmap: Option<PathBuf>,
}

/// What is done after the image.
#[derive(Debug, clap::Args)]
struct Steps {
    /// Moves the backup of the partition table to the disk's end: for images from a URL. It is done for those of the store anyway.
    #[arg(long)]
    move_backup_gpt: bool,
    /// Gives the disk and its partitions new GUIDs.
    #[arg(long)]
    new_guids: bool,
    /// Grows the last partition to the end of the disk. Most cloud images do that themselves at their first boot.
    #[arg(long)]
    grow: bool,
    /// Writes a text file to a path in the installed system, with the permissions that it has here. It belongs to root
    /// there. Can be repeated.
    #[arg(long, value_name = "FILE:PATH")]
    file: Vec<String>,
    /// The number of the partition for --file. Without it: the root filesystem.
    #[arg(long, value_name = "NUMBER", requires = "file")]
    file_partition: Option<u32>,
    /// Makes a UEFI boot entry of this name and puts it first.
    #[arg(long, value_name = "LABEL")]
    boot_entry: Option<String>,
}

/// How a machine goes on after an install.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum After {
    /// Restarts, and boots its own disk.
    Reboot,
    /// Starts the installed system at once, without the firmware.
    Kexec,
    /// Switches off.
    #[value(alias = "poweroff")]
    PowerOff,
    /// Stays in SunshineOS.
    Stay,
}

/// How an order ended that did not end well.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was begun, or may have been.
    Failed(String),
    /// Nobody began it.
    NotBegun(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Failed(words) | Self::NotBegun(words)) = self;
        f.write_str(words)
    }
}

impl std::error::Error for Outcome {}

impl Install {
    /// Does it.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let path = format!("/v1/machines/{}/install", segment(&self.machine));
        let answer: Answer = self.server.tell(&path, &self.request()?)?;
        output::say(&plan(&answer.plan));
        let Some(order) = answer.order else {
            return match self.output {
                Format::Table => Ok(()),
                format => output::show(format, &answer.plan, |_| String::new()),
            };
        };
        if self.detach {
            return self.show(&order);
        }
        output::say(&format!(
            "order {}; leaving with Ctrl-C does not take it back",
            order.order.id
        ));
        let order = follow(&self.server, order.order.id)?;
        self.show(&order)?;
        match &order.order.state {
            OrderState::Done { .. } => Ok(()),
            OrderState::Expired { .. } | OrderState::Cancelled { .. } => {
                bail!(Outcome::NotBegun(order.order.words()))
            }
            _ => bail!(Outcome::Failed(order.order.words())),
        }
    }

    fn show(&self, order: &OrderOverview) -> anyhow::Result<()> {
        output::show(self.output, order, |order| orders::page(order, moment::now()))
    }

    fn request(&self) -> anyhow::Result<InstallRequest> {
        let token = self.source.token_file.as_deref().map(told::read).transpose()?;
        let map = self.source.bmap.as_deref().map(told::map).transpose()?;
        Ok(InstallRequest {
            image: self.image.clone(),
            mirrors: self.source.mirror.clone(),
            sha256: self.source.sha256.clone(),
            token: token.map(|token| Secret(token.0.trim().to_owned())),
            map,
            disk: self.disk.clone(),
            overwrite: self.overwrite,
            within_seconds: self.within,
            steps: self.steps.wanted()?,
            seed: self.told.seed()?,
            finish: match self.finish {
                After::Reboot => Finish::Reboot,
                After::Kexec => Finish::Kexec,
                After::PowerOff => Finish::PowerOff,
                After::Stay => Finish::Stay,
            },
            dry_run: self.dry_run,
        })
    }
}

/// Looks until an order is over. A server that restarts meanwhile is waited for.
pub(super) fn follow(server: &Server, id: OrderId) -> anyhow::Result<OrderOverview> {
    let mut line = Line::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    loop {
        match server.ask::<OrderOverview>("GET", &format!("/v1/orders/{id}")) {
            Ok(order) if !order.order.is_open() => {
                line.end();
                return Ok(order);
            }
            Ok(order) => line.say(&progress(&order, moment::now())),
            Err(error) if is_away(&error) => {
                line.say("the server does not answer; waiting for it");
            }
            Err(error) => {
                line.end();
                return Err(error);
            }
        }
        // Made inside: a timer wants its runtime when it is made.
        runtime.block_on(async { tokio::time::sleep(LOOK).await });
    }
}

impl Steps {
    fn wanted(&self) -> anyhow::Result<Vec<Step>> {
        let mut steps = Vec::new();
        steps.extend(self.move_backup_gpt.then_some(Step::MoveBackupGpt {}));
        steps.extend(self.new_guids.then_some(Step::RenewGuids {}));
        steps.extend(self.grow.then_some(Step::GrowLastPartition {}));
        if !self.file.is_empty() {
            let files: anyhow::Result<_> = self.file.iter().map(|file| told::file(file)).collect();
            steps.push(Step::WriteFiles { partition: self.file_partition, files: files? });
        }
        steps.extend(self.boot_entry.clone().map(|label| Step::BootEntry { label }));
        Ok(steps)
    }
}

fn is_away(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<ClientError>(),
        Some(
            ClientError::Unreachable { .. } | ClientError::Conversation(_) | ClientError::TimedOut
        )
    )
}

/// How far an order is, in a line.
fn progress(shown: &OrderOverview, now: i64) -> String {
    let OrderOverview { online, order, .. } = shown;
    let mut text = order.words();
    match &order.state {
        OrderState::Ordered {} | OrderState::Interrupted { .. } => {
            if let Some(reason) = &order.held_back {
                return format!("{text}; not handed out: {reason}");
            }
            let left = (order.deadline - now).max(0) / 60_000;
            let why =
                if *online { "the machine has it in a moment" } else { "the machine is away" };
            text = format!("{text}; {why}, {left} min left");
        }
        OrderState::Running { progress: Some(progress), .. } => {
            if let Some(percent) = order.percent() {
                text = format!("{text} {}", bar(percent));
            }
            if let Some(rate) = progress.bytes_per_second {
                text = format!("{text}, {rate}/s");
            }
            if let Some(left) = progress.remaining_seconds {
                text = format!("{text}, {left} s left");
            }
            let waits = match progress.bottleneck {
                Some(Bottleneck::Network) => ", the network is slowest",
                Some(Bottleneck::Processor) => ", the processor is slowest",
                Some(Bottleneck::Disk) => ", the disk is slowest",
                Some(Bottleneck::Other) | None => "",
            };
            text.push_str(waits);
            if !online {
                text.push_str(", not heard for a while");
            }
        }
        _ => {}
    }
    text
}

/// Draws how much of it is done.
fn bar(percent: u64) -> String {
    const WIDTH: usize = 24;
    let full = (usize::try_from(percent).unwrap_or(100) * WIDTH / 100).min(WIDTH);
    format!("[{}{}]", "#".repeat(full), "-".repeat(WIDTH - full))
}

/// What would be done, in words.
fn plan(plan: &Plan) -> String {
    let size = plan.image.size_bytes.map(|size| format!(", {size}")).unwrap_or_default();
    let named = &plan.disk.named;
    let model = named.model.as_deref().unwrap_or("disk");
    let serial = named.serial.as_deref().map(|serial| format!(" {serial}")).unwrap_or_default();
    let holds = match (plan.disk.has_data, plan.disk.holds.as_slice()) {
        (false, _) => "blank".to_owned(),
        (true, []) => "OVERWRITTEN: something that was not recognised".to_owned(),
        (true, holds) => format!("OVERWRITTEN: {}", holds.join(", ")),
    };
    let strength = serde_json::to_value(plan.strength).unwrap_or_default();
    let rows = [
        (
            "machine",
            format!("{}, identity {}", plan.machine, strength.as_str().unwrap_or_default()),
        ),
        ("image", format!("{}{size}", plan.image.name)),
        ("disk", format!("{model}{serial}, {}, {}", named.size_bytes, plan.disk.identity)),
        ("on it", holds),
        (
            "after it",
            if plan.steps.is_empty() { "nothing".to_owned() } else { plan.steps.join(", ") },
        ),
        ("not begun after", moment::show(plan.deadline)),
    ];
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|(key, value)| vec![key.to_owned(), value]).collect();
    output::align(&rows).trim_end().to_owned()
}

/// Reads `90s`, `15m`, `1h`.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let problem = || format!("not a time like 90s, 15m or 1h: {text:?}");
    let (number, factor) = match text.char_indices().last() {
        Some((at, 's')) => (text.get(..at), 1),
        Some((at, 'm')) => (text.get(..at), 60),
        Some((at, 'h')) => (text.get(..at), 3600),
        _ => (None, 1),
    };
    let number: u64 = number.and_then(|number| number.parse().ok()).ok_or_else(problem)?;
    number.checked_mul(factor).ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::disk_order::tests::{order, progress as done};

    #[test]
    fn times_read_as_people_write_them() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("15m"), Ok(900));
        assert_eq!(seconds("24h"), Ok(86_400));
        for text in ["", "h", "1", "-1h", "1d", "1.5h", "99999999999999999999h"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_line_says_how_far_it_is_and_what_it_waits_for() {
        let shown = |order| OrderOverview { machine: "one".to_owned(), online: false, order };
        let mut waiting = order(1);
        assert_eq!(
            progress(&shown(waiting.clone()), 0),
            "ordered; the machine is away, 60 min left"
        );
        waiting.held_back = Some("the clock is in doubt".to_owned());
        let text = progress(&shown(waiting.clone()), 0);
        assert_eq!(text, "ordered; not handed out: the clock is in doubt");
        waiting.state = OrderState::Running {
            session: crate::machine::Session([1; 32]),
            sequence: 1,
            since: 0,
            progress: Some(Box::new(done(1))),
            wiping: None,
        };
        let text = progress(&shown(waiting), 0);
        let expected =
            "installing, writing, 43 % [##########--------------], 9 B/s, not heard for a while";
        assert_eq!(text, expected);
    }
}
