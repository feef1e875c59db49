//! What each level would do to a disk: with which commands, how long, and what stands in the way. Destroys nothing.
//!
//! A disk that nobody uses is held while it is looked at, as in `HerculesOS`, so that its filesystems can be mounted
//! read-only. Of any other only the device is asked.

use std::{fmt::Write as _, fs, path::PathBuf, sync::Arc};

use disk::permit::{self, Clock, Place, Used};
use inventory::Root;
use protocol::{
    Wipe,
    inventory::{Disk, Transport},
    order::DiskIdentity,
    wipe::{DiskForecast, Exception, PowerLevel, WipeOptions},
};
use serde_json::{Value, json};
use wipe::{
    firmware::{Examined, Obstacle, Reach},
    forecast::{Known, forecast},
    job::Keeper,
};

use super::{USED, circumstances, questions, terminal::TerminalKeeper};
use crate::{
    chain,
    confirm::printable,
    forecast::Against,
    wipe::{Clockwork, Commands, NOT_ALONE, commands, facts, perform},
};

/// The same for a person and for programs.
pub(super) struct Words {
    pub(super) text: String,
    pub(super) json: Value,
}

/// Only with the disk held it is seen who else is at its controller, and may be in its namespaces.
const CONTROLLER_UNSEEN: &str =
    "whether its controller may be told to erase everything: that is seen once the disk is held";

/// Describes it for each of the disks. `wipe` makes an order for one of them.
pub(super) fn describe(
    disks: &[&Disk],
    options: &WipeOptions,
    wipe: impl Fn(&DiskIdentity, PowerLevel) -> anyhow::Result<Wipe>,
) -> anyhow::Result<Words> {
    let (mut text, mut all) = (String::new(), Vec::new());
    for disk in disks {
        let identity = DiskIdentity::of(disk);
        let order = wipe(&identity, PowerLevel::Idle)?;
        let names = [&identity.serial, &identity.wwn, &identity.eui64, &identity.nguid];
        let typed = names.into_iter().flatten().take(1).cloned().collect();
        let (place, used) = (Place::person(typed), Used::kept_in(USED));
        let against = Against::find(&order, &circumstances(&place, &used));
        let mut told = if against.is_free(PowerLevel::Harbour) {
            held(&order, &place, &used).unwrap_or_else(|why| unheld(disk, options, &why))
        } else {
            unheld(disk, options, "what stands in the way of harbour keeps it from being held")
        };
        against.add_to(&mut told, 0);
        text.push_str(&shown(disk, &told));
        text.push('\n');
        all.push(json!({
            "disk": identity, "name": disk.name, "transport": facts(disk).transport, "forecast": told,
        }));
    }
    Ok(Words { text, json: Value::Array(all) })
}

/// Returns what is told of a disk, for a person.
fn shown(disk: &Disk, told: &DiskForecast) -> String {
    let heading = format!(
        "{}  {} {}, {}, {}, {}",
        disk.name,
        disk.model.as_deref().unwrap_or("no model"),
        disk.serial.as_deref().unwrap_or("no serial number"),
        disk.size_bytes,
        facts(disk).transport,
        told.medium.word()
    );
    let mut text = String::new();
    for line in std::iter::once(heading).chain(told.lines()) {
        let _infallible = writeln!(text, "{}", printable(&line));
    }
    text
}

/// Has the engine look, which holds the disk meanwhile. Says why it did not.
fn held(order: &Wipe, place: &Place, used: &Used) -> Result<DiskForecast, String> {
    let cleared =
        permit::check_wipe(order, &circumstances(place, used)).map_err(|why| chain(&why))?;
    let keeper: Arc<dyn Keeper> = Arc::new(TerminalKeeper::new(PathBuf::new(), &[]));
    let clock = Clockwork::begin(Clock::SetByServer);
    let report = perform(&Arc::new(order.clone()), cleared, &keeper, &clock)?;
    let told = report.disks.into_iter().find_map(|disk| disk.forecast);
    told.ok_or_else(|| "the disk does not answer".to_owned())
}

/// Asks the device, which others may use; `why` it is not held.
fn unheld(disk: &Disk, options: &WipeOptions, why: &str) -> DiskForecast {
    let (examined, unasked) = match questions::examine(disk) {
        Ok(examined) => (examined, None),
        Err(why) => (Examined::default(), Some(why)),
    };
    let identity = DiskIdentity::of(disk);
    let commands = commands(disk.transport);
    let is_alone = match commands {
        Commands::Nvme => !examined.obstacles.iter().any(is_namespace_beside),
        Commands::Ata | Commands::Scsi => disk::is_only_unit(&Root::live(), &disk.name),
        Commands::Mmc => true,
        Commands::None => false,
    };
    // Of what is not seen to be alone the wipe uses no way that erases more.
    let may = if is_alone { Reach::Everything } else { Reach::Addressed };
    let mut told = forecast(&Known {
        examined: &examined,
        kind: facts(disk).kind,
        size_bytes: disk.size_bytes.0,
        is_nvme: disk.transport == Some(Transport::Nvme),
        discards: queue(&disk.name, "discard_max_bytes")
            .is_some_and(|most| most.parse().is_ok_and(|most: u64| most > 0)),
        is_zoned: queue(&disk.name, "zoned").is_some_and(|zoned| zoned == "host-managed"),
        may,
        options,
        has_psid: options.psids.iter().any(|psid| permit::names(&psid.disk, &identity)),
    });
    if !is_alone && commands != Commands::None {
        let words = format!("it would not be told to erase all of itself: {NOT_ALONE}");
        told.obstacles.push(Exception { code: "notWholeDevice".to_owned(), words });
    }
    if commands == Commands::Nvme {
        told.not_asked.push(CONTROLLER_UNSEEN.to_owned());
    }
    told.not_asked.extend(unasked.map(|why| format!("what the disk can itself: {why}")));
    told.not_asked.push(format!("which files harbour would remove: {why}"));
    told
}

fn is_namespace_beside(obstacle: &Obstacle) -> bool {
    matches!(obstacle, Obstacle::NamespacesBeside { .. })
}

fn queue(name: &str, what: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/sys/block/{name}/queue/{what}")).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_disk_says_of_itself_moves_no_cursor_at_idle() {
        let disk = Disk {
            name: "nothing0".to_owned(),
            model: Some("M\x1b[2J\nsda  another".to_owned()),
            serial: Some("S\r\x07\u{9b}31m".to_owned()),
            ..Disk::default()
        };
        let told = unheld(&disk, &WipeOptions::default(), "\x1b]0;its serial is\nS\x07");
        let text = shown(&disk, &told);
        assert!(text.starts_with("nothing0  M [2J sda  another S"), "{text:?}");
        assert!(text.chars().all(|one| one == '\n' || !one.is_control()), "{text:?}");
        assert_eq!(text.lines().count(), told.lines().len() + 1, "{text}");
    }

    #[test]
    fn a_disk_behind_a_usb_bridge_is_not_asked_and_its_lines_say_so() {
        let disk = Disk {
            name: "nothing0".to_owned(),
            transport: Some(Transport::Usb),
            ..Disk::default()
        };
        let told = unheld(&disk, &WipeOptions::default(), "it is in use");
        // Not that there is no such disk: nobody tried to open it.
        let why = "what the disk can itself: it is behind a USB bridge, and some hang";
        assert!(told.not_asked[0].starts_with(why), "{:?}", told.not_asked);
    }

    #[test]
    fn a_disk_that_may_not_be_alone_is_promised_no_erasure_of_all_that_its_device_holds() {
        let told = |transport| {
            let disk =
                Disk { name: "nothing0".to_owned(), transport: Some(transport), ..Disk::default() };
            unheld(&disk, &WipeOptions::default(), "it is in use")
        };
        // The kernel's tree shows nothing of it.
        for transport in [Transport::Ata, Transport::Scsi] {
            let told = told(transport);
            assert!(told.obstacles.iter().any(|one| one.code == "notWholeDevice"), "{told:#?}");
        }
        assert!(told(Transport::Nvme).not_asked[0].contains("its controller"));
        assert_eq!(told(Transport::Virtio).obstacles, []);
    }

    #[test]
    fn a_disk_that_is_not_held_is_spoken_of_at_every_level_with_the_reason() {
        let disk = Disk {
            name: "nothing0".to_owned(),
            transport: Some(Transport::Ata),
            rotational: Some(true),
            size_bytes: protocol::Bytes(4_000_000_000_000),
            ..Disk::default()
        };
        let lines = unheld(&disk, &WipeOptions::default(), "it is in use").lines();
        let says = |what: &str| lines.iter().any(|line| line.contains(what));
        for level in ["  harbour", "  working", "  full", "  redline"] {
            assert!(lines.iter().any(|line| line == level), "{lines:#?}");
        }
        assert!(says(
            "writing zeros over all of it, then reading all of it back: about 14 h 48 min"
        ));
        assert!(says("reaches clear, not purge"), "{lines:#?}");
        assert!(says("not asked: which files harbour would remove: it is in use"));
        assert!(says("not asked: what the disk can itself: No such file"), "{lines:#?}");
    }
}
