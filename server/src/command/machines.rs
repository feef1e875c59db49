//! `drydock machines`: what is known, and what shall happen.

use anyhow::bail;
use clap::Subcommand;
use protocol::Bytes;

use super::{
    Server,
    output::{self, Format},
};
use crate::{
    api::{client::segment, operators::Detail},
    machine::{Approval, Awaited, DiskState, Machine, Overview, Record, awaited::lacks_initramfs},
    moment,
};

/// `drydock machines`.
#[derive(Debug, clap::Args)]
pub(super) struct Machines {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// How machines are printed.
    #[arg(short, long, value_enum, default_value = "table", global = true)]
    output: Format,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists all machines.
    List,
    /// Shows one machine, with what it is made of.
    Show {
        /// Its name, or the MAC address of one of its ports.
        machine: String,
    },
    /// Says that a machine belongs here: its record may then be claimed.
    Approve {
        /// Its name, or the MAC address of one of its ports.
        machine: String,
    },
    /// Chooses a disk for installing, also one with data: the record then lists the chosen ones only, in this order.
    ChooseDisk {
        /// Its name, or the MAC address of one of its ports.
        machine: String,
        /// The disk's identity, as `drydock machines show` prints it.
        disk: String,
    },
    /// Takes a machine off the list; does nothing to the machine itself.
    Forget {
        /// Its name, or the MAC address of one of its ports.
        machine: String,
    },
    /// Keeps a machine in SunshineOS, now and at its next boots.
    Wait {
        /// Its name, or the MAC address of one of its ports.
        machine: String,
        /// Ends that instead: the machine goes its way again.
        #[arg(long)]
        release: bool,
    },
    /// Restarts a machine whose agent runs.
    Reboot {
        /// Its name, or the MAC address of one of its ports.
        machine: String,
    },
    /// Switches off a machine whose agent runs.
    PowerOff {
        /// Its name, or the MAC address of one of its ports.
        machine: String,
    },
}

impl Machines {
    /// Does it.
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.verb.as_ref().unwrap_or(&Verb::List) {
            Verb::List => {
                let machines: Vec<Overview> = self.server.ask("GET", "/v1/machines")?;
                output::show(self.output, &machines, |machines| table(machines, moment::now()))
            }
            Verb::Show { machine } => {
                let detail = self.detail(machine)?;
                output::show(self.output, &detail, |detail| page(detail, moment::now()))
            }
            Verb::Approve { machine } => self.approve(machine),
            Verb::ChooseDisk { machine, disk } => {
                let order = format!("disks/{}", segment(disk));
                self.order(machine, &order, &format!("{disk} chosen"))
            }
            Verb::Forget { machine } => {
                let left = self.detail(machine)?.overview.machine.passwords.len();
                self.order(machine, "forget", "forgotten")?;
                if left > 0 {
                    output::say(&format!(
                        "{left} ATA passwords that wipes left on its disks are kept: drydock orders passwords"
                    ));
                }
                Ok(())
            }
            Verb::Wait { machine, release: false } => self.order(machine, "wait", "told to wait"),
            Verb::Wait { machine, release: true } => self.order(machine, "release", "released"),
            Verb::Reboot { machine } => self.order(machine, "reboot", "told to restart"),
            Verb::PowerOff { machine } => self.order(machine, "power-off", "told to switch off"),
        }
    }

    fn detail(&self, machine: &str) -> anyhow::Result<Detail> {
        self.server.ask("GET", &format!("/v1/machines/{}", segment(machine)))
    }

    /// Says first what is approved: a name alone is soon mistyped.
    fn approve(&self, machine: &str) -> anyhow::Result<()> {
        let detail = self.detail(machine)?;
        output::say(page(&detail, moment::now()).trim_end());
        if let Approval::Approved { by, .. } = &detail.overview.machine.approval {
            output::say(&format!("already approved by {by}"));
            return Ok(());
        }
        self.order(&detail.overview.machine.name, "approve", "approved")
    }

    fn order(&self, machine: &str, order: &str, done: &str) -> anyhow::Result<()> {
        let overview: Overview =
            self.server.ask("POST", &format!("/v1/machines/{}/{order}", segment(machine)))?;
        if order == "approve" && !overview.machine.is_approved() {
            bail!(
                "{} changed meanwhile and is not approved: look at it again",
                overview.machine.name
            );
        }
        output::say(&format!("{}: {done}", overview.machine.name));
        match self.output {
            Format::Table => Ok(()),
            format => output::show(format, &overview, |_| String::new()),
        }
    }
}

/// All machines, one in a line.
fn table(machines: &[Overview], now: i64) -> String {
    let titles = ["NAME", "STATE", "APPROVAL", "ARCH", "DISKS", "LAST SEEN", "MAKER", "MODEL"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(machines.iter().map(|overview| row(overview, now)));
    output::align(&rows)
}

fn row(overview: &Overview, now: i64) -> Vec<String> {
    let machine = &overview.machine;
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        machine.name.clone(),
        state(overview),
        approval(&machine.approval).to_owned(),
        known(&machine.description.architecture),
        disks(machine),
        moment::show_ago(machine.last_seen, now),
        known(&machine.description.manufacturer),
        known(&machine.description.product),
    ]
}

fn state(overview: &Overview) -> String {
    let machine = &overview.machine;
    let state = match (overview.online, machine.complete) {
        (false, _) => "away",
        (true, _) if awaits_initramfs(machine) => "initramfs cut off",
        (true, _) if machine.awaited.is_some() => "loading drivers",
        (true, false) => "probing",
        (true, true) if machine.told_to_wait.is_some() => "told to wait",
        (true, true) => "waiting",
    };
    match machine.open_order() {
        Some(order) if !order.is_with_an_agent() => format!("{state}, install ordered"),
        Some(order) => {
            let percent = order.percent().map(|percent| format!(" {percent} %"));
            let silent = if overview.online { "" } else { ", away" };
            format!("installing{}{silent}", percent.unwrap_or_default())
        }
        None => state.to_owned(),
    }
}

fn approval(approval: &Approval) -> &'static str {
    match approval {
        Approval::Pending => "pending",
        Approval::Approved { .. } => "approved",
        Approval::Held { .. } => "held",
    }
}

fn disks(machine: &Machine) -> String {
    if machine.disks.is_empty() {
        return "none".to_owned();
    }
    let bytes = machine.disks.iter().map(|disk| disk.size_bytes.0).fold(0, u64::saturating_add);
    let are_blank = machine.disks.iter().all(|disk| disk.state == DiskState::Blank);
    let content = if are_blank { "blank" } else { "data" };
    format!("{}, {}, {content}", machine.disks.len(), Bytes(bytes))
}

/// One machine, for a person who stands in front of it.
fn page(detail: &Detail, now: i64) -> String {
    let Overview { machine, strength, .. } = &detail.overview;
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut put = |key: &str, value: Option<String>| {
        rows.extend(value.map(|value| vec![key.to_owned(), value]));
    };
    put("machine", Some(machine.name.clone()));
    put("maker", machine.description.manufacturer.clone());
    put("model", machine.description.product.clone());
    put("serial", machine.description.serial.clone());
    let inventory = detail.inventory.as_ref();
    put("uuid", inventory.and_then(|inventory| inventory.system.uuid.clone()));
    put("state", Some(state(&detail.overview)));
    put("approval", Some(approval_in_full(&machine.approval)));
    put(
        "identity",
        serde_json::to_value(strength).ok().and_then(|text| Some(text.as_str()?.to_owned())),
    );
    put("notice", machine.notice.clone());
    let awaited = machine.awaited.as_ref().filter(|_| detail.overview.online);
    put("awaits", awaited.map(|awaited| awaits(awaited, now)));
    put("architecture", machine.description.architecture.clone());
    put("processors", inventory.map(processors));
    put(
        "memory",
        inventory.and_then(|inventory| {
            let memory = &inventory.memory;
            memory.installed_bytes.or(memory.usable_bytes).map(|bytes| bytes.to_string())
        }),
    );
    for port in &machine.ports {
        let removable = if port.removable { ", removable" } else { "" };
        let first = if machine.first_mac == Some(port.mac) { ", first booted through" } else { "" };
        put("port", Some(format!("{}{first}{removable}", port.mac)));
    }
    for disk in &machine.disks {
        let content = match disk.state {
            DiskState::Blank => "blank",
            DiskState::Data => "data",
            DiskState::Unreadable => "unreadable",
        };
        let chosen = if machine.chosen_disks.contains(&disk.identity) { ", chosen" } else { "" };
        put("disk", Some(format!("{}, {}, {content}{chosen}", disk.identity, disk.size_bytes)));
    }
    for order in machine.orders.iter().rev() {
        let disks: Vec<&str> = order.disks().iter().map(|disk| disk.identity.as_str()).collect();
        let (title, disks) = (order.title(), disks.join(", "));
        let given = moment::show_ago(order.at, now);
        let words = order.words();
        put("order", Some(format!("{}, {given}: {title} on {disks}: {words}", order.id)));
    }
    put(
        "record",
        Some(match &machine.record {
            Record::Unwritten => "not written since the server started".to_owned(),
            Record::Written { at } => format!("written {}", moment::show_ago(*at, now)),
            Record::Failed { reason } => format!("not written: {reason}"),
        }),
    );
    put("first seen", Some(moment::show(machine.first_seen)));
    put("last seen", Some(moment::show_ago(machine.last_seen, now)));
    for gap in inventory.map(|inventory| inventory.gaps.as_slice()).unwrap_or_default() {
        put("gap", Some(format!("{}: {}", gap.what, gap.reason)));
    }
    output::align(&rows)
}

fn awaits_initramfs(machine: &Machine) -> bool {
    machine.awaited.as_ref().is_some_and(|awaited| lacks_initramfs(&awaited.modules))
}

fn awaits(awaited: &Awaited, now: i64) -> String {
    let since = moment::show_ago(awaited.since, now);
    if lacks_initramfs(&awaited.modules) {
        return format!(
            "another boot, its initramfs did not come as a whole, {since}: drydock explain"
        );
    }
    let overdue = if awaited.is_overdue { ", which is too long: drydock explain" } else { "" };
    format!("drivers, {}, first {since}{overdue}", awaited.words())
}

fn approval_in_full(approval: &Approval) -> String {
    match approval {
        Approval::Pending => "pending: nobody approved it yet".to_owned(),
        Approval::Approved { by, at } => format!("approved by {by}, {}", moment::show(*at)),
        Approval::Held { reason } => format!("held: {reason}"),
    }
}

fn processors(inventory: &protocol::Inventory) -> String {
    let models: Vec<&str> = inventory
        .processors
        .iter()
        .map(|processor| processor.model.as_deref().unwrap_or("of unknown model"))
        .collect();
    match models.first() {
        None => "none reported".to_owned(),
        Some(model) => format!("{} x {model}", models.len()),
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Inventory, MacAddress};

    use super::*;
    use crate::machine::{Description, KnownDisk, KnownPort, Strength};

    const NOW: i64 = 1_795_228_009_000;

    fn overview() -> Overview {
        let mac = MacAddress([0x52, 0x54, 0, 0, 0, 1]);
        let disk = KnownDisk {
            identity: "wwn-0x5000c500a1b2c3d4".to_owned(),
            size_bytes: Bytes(8 << 30),
            portable: false,
            read_only: false,
            network: false,
            state: DiskState::Blank,
        };
        let machine = Machine {
            name: "4q5hmp2".to_owned(),
            description: Description {
                manufacturer: Some("Dell Inc.".to_owned()),
                product: Some("PowerEdge R640".to_owned()),
                serial: Some("4Q5HMP2".to_owned()),
                architecture: Some("x86_64".to_owned()),
            },
            first_mac: Some(mac),
            ports: vec![KnownPort { mac, removable: false }],
            disks: vec![disk],
            complete: true,
            first_seen: NOW - 86_400_000,
            last_seen: NOW - 12_000,
            ..Machine::default()
        };
        Overview { machine, online: true, strength: Strength::Strong }
    }

    #[test]
    fn a_list_reads_well() {
        let mut away = overview();
        away.online = false;
        away.machine = Machine {
            name: "m-525400000002".to_owned(),
            approval: Approval::Approved { by: "uid 0".to_owned(), at: NOW },
            last_seen: NOW - 7_200_000,
            ..Machine::default()
        };
        insta::assert_snapshot!(table(&[overview(), away], NOW));
    }

    #[test]
    fn a_machine_whose_drivers_are_on_their_way_is_shown_as_such() {
        let mut overview = overview();
        let (modules, since) = (vec!["mpt3sas".to_owned(), "ixgbe".to_owned()], NOW - 700_000);
        overview.machine.awaited = Some(Awaited { modules, since, is_overdue: true });
        assert_eq!(state(&overview), "loading drivers");
        let page = page(&Detail { overview, inventory: None }, NOW);
        let line = page.lines().find(|line| line.starts_with("awaits ")).unwrap();
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>().join(" "),
            "awaits drivers, mpt3sas, ixgbe, first 11 min ago, which is too long: drydock explain"
        );
    }

    #[test]
    fn a_machine_with_half_an_initramfs_is_not_said_to_wait_for_drivers() {
        let mut overview = overview();
        let (modules, since) = (vec!["initramfs".to_owned()], NOW - 700_000);
        overview.machine.awaited = Some(Awaited { modules, since, is_overdue: true });
        assert_eq!(state(&overview), "initramfs cut off");
        let page = page(&Detail { overview, inventory: None }, NOW);
        let line = page.lines().find(|line| line.starts_with("awaits ")).unwrap();
        assert!(line.contains("initramfs") && !line.contains("drivers"), "{line}");
    }

    #[test]
    fn a_page_reads_well() {
        let inventory = Inventory::default();
        let detail = Detail { overview: overview(), inventory: Some(inventory) };
        insta::assert_snapshot!(page(&detail, NOW));
    }
}
