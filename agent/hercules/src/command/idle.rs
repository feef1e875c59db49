//! What each level would do to a disk: with which commands, how long, and what stands in the way. Destroys nothing.
//!
//! A disk that nobody uses is held while it is looked at, as in `HerculesOS`, so that its filesystems can be mounted
//! read-only. Of any other only the device is asked.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use disk::permit::{self, Circumstances, Place, Used};
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
    forecast::{Against, CHECKS_PATIENCE, SILENT, shown, within},
    wipe::{Clockwork, Commands, NOT_ALONE, commands, facts, perform},
};

/// Only with the disk held it is seen who else is at its controller, and may be in its namespaces.
const CONTROLLER_UNSEEN: &str =
    "whether its controller may be told to erase everything: that is seen once the disk is held";

/// How long it has to say what it can. Disks that have to spin up take half a minute.
const QUESTIONS_PATIENCE: Duration = Duration::from_mins(1);

/// Why a disk was not looked at while it was held.
#[derive(Debug)]
enum NotHeld {
    /// It may be asked all the same.
    Refused(String),
    /// It hangs, or whoever asked it: it is asked nothing more.
    Silent(String),
}

/// Describes it for each of the disks, shows that as soon as it is known, and returns all of it for programs. `wipe`
/// makes an order for one of them.
pub(super) fn describe(
    disks: &[&Disk],
    options: &WipeOptions,
    wipe: impl Fn(&DiskIdentity, PowerLevel) -> anyhow::Result<Wipe>,
    mut show: impl FnMut(&str),
) -> anyhow::Result<Value> {
    let mut all = Vec::new();
    for disk in disks {
        let identity = DiskIdentity::of(disk);
        let told = told(disk, options, &wipe(&identity, PowerLevel::Idle)?);
        show(&(shown(disk, Ok(&told)) + "\n"));
        all.push(json!({
            "disk": identity, "name": disk.name, "transport": facts(disk).transport, "forecast": told,
        }));
    }
    Ok(Value::Array(all))
}

/// Says of a disk what each level would do, within minutes also where it hangs.
fn told(disk: &Disk, options: &WipeOptions, order: &Wipe) -> DiskForecast {
    let ask = || {
        let disk = disk.clone();
        within(QUESTIONS_PATIENCE, move || questions::examine(&disk))
            .unwrap_or_else(|| Err(SILENT.to_owned()))
    };
    let checked = order.clone();
    let against = within(CHECKS_PATIENCE, move || {
        checking(&checked, |circumstances| Against::find(&checked, circumstances))
    });
    let looked = match &against {
        None => Err(NotHeld::Silent(SILENT.to_owned())),
        Some(against) if against.is_free(PowerLevel::Harbour) => held(order),
        Some(_) => {
            let why = "what stands in the way of harbour keeps it from being held";
            Err(NotHeld::Refused(why.to_owned()))
        }
    };
    let mut told = looked.unwrap_or_else(|not| {
        let (why, examined) = asked(not, ask);
        unheld(disk, options, &why, examined)
    });
    match against {
        Some(against) => against.add_to(&mut told, 0),
        None => told.not_asked.push(format!("what stands in the way: {SILENT}")),
    }
    told
}

/// Asks a disk that is not held what it can, unless it hangs. Returns why it is not held, and what it says.
fn asked(
    not: NotHeld,
    ask: impl FnOnce() -> Result<Examined, String>,
) -> (String, Result<Examined, String>) {
    match not {
        NotHeld::Refused(why) => (why, ask()),
        NotHeld::Silent(why) => (why.clone(), Err(why)),
    }
}

/// Has the order checked as if somebody had typed its disk's name.
fn checking<T>(order: &Wipe, check: impl FnOnce(&Circumstances<'_>) -> T) -> T {
    let identities = order.order.disks.iter().map(|disk| &disk.identity);
    let name = |one: &DiskIdentity| {
        let names = [&one.serial, &one.wwn, &one.eui64, &one.nguid];
        names.into_iter().flatten().next().cloned()
    };
    let place = Place::person(identities.filter_map(name).collect());
    check(&circumstances(&place, &Used::kept_in(USED)))
}

/// Has the engine look, which holds the disk meanwhile. Says why it did not.
fn held(order: &Wipe) -> Result<DiskForecast, NotHeld> {
    let checked = order.clone();
    let cleared = within(CHECKS_PATIENCE, move || {
        checking(&checked, |circumstances| permit::check_wipe(&checked, circumstances))
    });
    let cleared = cleared.ok_or_else(|| NotHeld::Silent(SILENT.to_owned()))?;
    let cleared = cleared.map_err(|why| NotHeld::Refused(chain(&why)))?;
    let keeper: Arc<dyn Keeper> = Arc::new(TerminalKeeper::new(PathBuf::new(), &[]));
    let clock = Clockwork::own();
    let report =
        perform(&Arc::new(order.clone()), cleared, &keeper, &clock).map_err(NotHeld::Refused)?;
    let mut words = SILENT.to_owned();
    for disk in report.disks {
        match (disk.forecast, disk.exceptions.into_iter().next()) {
            (Some(forecast), _) => return Ok(forecast),
            (None, Some(why)) => words = why.words,
            (None, None) => {}
        }
    }
    Err(NotHeld::Silent(words))
}

/// Says it from what a disk said that others may use; `why` it is not held.
fn unheld(
    disk: &Disk,
    options: &WipeOptions,
    why: &str,
    examined: Result<Examined, String>,
) -> DiskForecast {
    let (mut examined, unasked) = match examined {
        Ok(examined) => (examined, None),
        Err(why) => (Examined::default(), Some(why)),
    };
    let identity = DiskIdentity::of(disk);
    if options.sids.iter().any(|sid| permit::names(&sid.disk, &identity)) {
        examined.offer_owner();
    }
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
    use protocol::wipe::{Expected, Technique};
    use wipe::firmware::Offered;

    use super::*;

    fn asked_all_the_same(disk: &Disk, why: &str) -> DiskForecast {
        unheld(disk, &WipeOptions::default(), why, questions::examine(disk))
    }

    #[test]
    fn who_hangs_is_waited_for_no_longer_than_said_and_asked_nothing_more() {
        let (_kept, never) = std::sync::mpsc::channel::<()>();
        assert_eq!(within(Duration::from_millis(10), move || never.recv()), None);
        assert_eq!(within(Duration::from_mins(1), || 1), Some(1));
        let (why, said) = asked(NotHeld::Silent("it hangs".to_owned()), || panic!("asked"));
        assert_eq!((why.as_str(), said), ("it hangs", Err("it hangs".to_owned())));
        let said = asked(NotHeld::Refused("it is in use".to_owned()), || Ok(Examined::default()));
        assert_eq!(said, ("it is in use".to_owned(), Ok(Examined::default())));
    }

    #[test]
    fn what_a_disk_says_of_itself_moves_no_cursor_at_idle() {
        let disk = Disk {
            name: "nothing0".to_owned(),
            model: Some("M\x1b[2J\nsda  another".to_owned()),
            serial: Some("S\r\x07\u{9b}31m".to_owned()),
            ..Disk::default()
        };
        let told = asked_all_the_same(&disk, "\x1b]0;its serial is\nS\x07");
        let text = shown(&disk, Ok(&told));
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
        let told = asked_all_the_same(&disk, "it is in use");
        // Not that there is no such disk: nobody tried to open it.
        let why = "what the disk can itself: it is behind a USB bridge, and some hang";
        assert!(told.not_asked[0].starts_with(why), "{:?}", told.not_asked);
    }

    #[test]
    fn a_disk_that_may_not_be_alone_is_promised_no_erasure_of_all_that_its_device_holds() {
        let told = |transport| {
            let disk =
                Disk { name: "nothing0".to_owned(), transport: Some(transport), ..Disk::default() };
            asked_all_the_same(&disk, "it is in use")
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
    fn who_has_the_owners_password_is_told_of_its_revert_also_where_the_disk_is_not_held() {
        let disk = Disk {
            name: "nothing0".to_owned(),
            transport: Some(Transport::Nvme),
            serial: Some("S5GXNX0T".to_owned()),
            ..Disk::default()
        };
        let offered = |technique| Offered {
            technique,
            estimate: None,
            reach: Reach::Everything,
            expected: Expected::NoCanary,
        };
        let told = |sids: &str| {
            let options =
                WipeOptions { sids: serde_json::from_str(sids).unwrap(), ..WipeOptions::default() };
            let techniques = vec![offered(Technique::OpalPsidRevert)];
            let examined = Examined { techniques, ..Examined::default() };
            let told = unheld(&disk, &options, "it is in use", Ok(examined));
            let redline = told.levels.into_iter().find(|one| one.level == PowerLevel::Redline);
            redline.unwrap().ways.into_iter().flat_map(|way| way.techniques).collect::<Vec<_>>()
        };
        let revert = Technique::OpalSidRevert;
        assert!(told(r#"[{"disk": "S5GXNX0T", "sid": "secret"}]"#).contains(&revert));
        assert!(!told(r#"[{"disk": "another", "sid": "secret"}]"#).contains(&revert));
        assert!(!told("[]").contains(&revert));
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
        let lines = asked_all_the_same(&disk, "it is in use").lines();
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
