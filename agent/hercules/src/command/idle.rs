//! What each level would do to a disk: with which commands, how long, and what stands in the way. Destroys nothing, and asks
//! disks through a door that lets nothing but questions pass.

use std::{fmt::Write as _, fs, time::Duration};

use disk::permit::{self, Place, Used};
use protocol::{
    Wipe,
    inventory::{Disk, Transport},
    order::DiskIdentity,
    wipe::{PowerLevel, WipeOptions, WipeStepKind},
};
use serde_json::{Value, json};
use wipe::{
    Stopped, Watch,
    firmware::{self, Device, Examined, Obstacle},
    plan::{self, Facts, MediumKind, Way},
};

use super::{USED, circumstances, questions::Questions};
use crate::{chain, wipe::facts};

const LEVELS: [PowerLevel; 4] =
    [PowerLevel::Harbour, PowerLevel::Working, PowerLevel::Full, PowerLevel::Redline];

/// The same for a person and for programs.
pub(super) struct Words {
    pub(super) text: String,
    pub(super) json: Value,
}

/// Describes it for each of the disks. `wipe` makes an order for one of them.
pub(super) fn describe(
    disks: &[&Disk],
    options: &WipeOptions,
    wipe: impl Fn(&DiskIdentity, PowerLevel) -> anyhow::Result<Wipe>,
) -> anyhow::Result<Words> {
    let (mut text, mut all) = (String::new(), Vec::new());
    for disk in disks {
        let identity = DiskIdentity::of(disk);
        let known = facts(disk);
        let (examined, unasked) = match examine(disk) {
            Ok(examined) => (examined, None),
            Err(why) => (Examined::default(), Some(why)),
        };
        let serial = disk.serial.as_deref().unwrap_or("no serial number");
        let _infallible = writeln!(
            text,
            "{}  {} {serial}, {}, {}, {:?}",
            disk.name,
            disk.model.as_deref().unwrap_or("no model"),
            disk.size_bytes,
            known.transport,
            known.kind
        );
        let mut levels = Vec::new();
        for level in LEVELS {
            let facts = Facts {
                medium: known.kind,
                offered: examined.techniques.iter().map(|one| one.technique).collect(),
                is_writable: !examined.obstacles.iter().any(is_shut),
                discards: discards(&disk.name),
            };
            let plan = plan::plan(level, options, &facts);
            let ways: Vec<String> =
                plan.ways.iter().map(|way| words(way, disk, &examined, known.kind)).collect();
            let reaches = plan.ways.first().map(|way| way.reaches(known.kind));
            let against = against(&wipe(&identity, level)?, serial);
            let _infallible = writeln!(text, "  {}", word(level));
            for (number, way) in ways.iter().enumerate() {
                let _infallible =
                    writeln!(text, "    {} {way}", if number == 0 { "by" } else { "else" });
            }
            if let Some(reached) = reaches.filter(|reached| *reached < level.asked()) {
                let _infallible = writeln!(
                    text,
                    "    reaches {reached:?} and not {:?}: with exceptions",
                    level.asked()
                );
            }
            for why in &against {
                let _infallible = writeln!(text, "    in the way: {why}");
            }
            levels.push(json!({
                "level": level, "ways": ways, "asked": level.asked(), "reaches": reaches, "inTheWay": against,
            }));
        }
        for obstacle in &examined.obstacles {
            let _infallible = writeln!(text, "  the disk says: {obstacle:?}");
        }
        if let Some(why) = &unasked {
            let _infallible = writeln!(text, "  it was not asked what it can itself: {why}");
        }
        text.push('\n');
        let obstacles: Vec<String> =
            examined.obstacles.iter().map(|one| format!("{one:?}")).collect();
        all.push(json!({
            "disk": identity, "name": disk.name, "transport": known.transport,
            "medium": format!("{:?}", known.kind), "levels": levels, "obstacles": obstacles,
            "capabilities": examined.capabilities, "notAsked": unasked,
        }));
    }
    Ok(Words { text, json: Value::Array(all) })
}

/// Asks a disk what it can.
fn examine(disk: &Disk) -> Result<Examined, String> {
    let open = || Questions::open(&disk.name).map_err(|error| error.to_string());
    let ask = |device: &Device<'_>| {
        firmware::examine(device, None, &Nobody).map_err(|error| chain(&error))
    };
    match disk.transport {
        Some(Transport::Nvme) => {
            let door = open()?;
            let nsid = door.namespace().map_err(|error| error.to_string())?;
            ask(&Device::Nvme { controller: &door, nsid })
        }
        Some(Transport::Ata) => ask(&Device::Ata { device: &open()? }),
        Some(Transport::Scsi | Transport::Usb) => ask(&Device::Scsi { device: &open()? }),
        _ => Ok(Examined::default()),
    }
}

/// Says what the checks before a wipe would refuse; that the order is a person's at hand is granted.
fn against(wipe: &Wipe, serial: &str) -> Vec<String> {
    let (place, used) = (Place::person(vec![serial.to_owned()]), Used::kept_in(USED));
    let found = permit::obstacles(wipe, &circumstances(&place, &used));
    found.into_iter().map(|(_, refusal)| chain(&refusal)).collect()
}

/// Holds for what keeps anything from being written.
fn is_shut(obstacle: &Obstacle) -> bool {
    matches!(obstacle, Obstacle::Locked | Obstacle::WriteProtected | Obstacle::OpalLocked)
}

fn discards(name: &str) -> bool {
    let most = fs::read_to_string(format!("/sys/block/{name}/queue/discard_max_bytes"));
    most.is_ok_and(|text| text.trim().parse().is_ok_and(|most: u64| most > 0))
}

fn word(level: PowerLevel) -> &'static str {
    match level {
        PowerLevel::Idle => "idle",
        PowerLevel::Harbour => "harbour",
        PowerLevel::Working => "working",
        PowerLevel::Full => "full",
        PowerLevel::Redline => "redline",
    }
}

/// Says a way, and about how long it takes.
fn words(way: &Way, disk: &Disk, examined: &Examined, medium: MediumKind) -> String {
    let size = disk.size_bytes.0;
    // What disks of the kind write in a second, as their makers say.
    let rate: u64 = match (medium, disk.transport) {
        (MediumKind::Magnetic, _) => 150_000_000,
        (MediumKind::Flash, Some(Transport::Nvme)) => 1_000_000_000,
        (MediumKind::Flash, _) => 400_000_000,
        (MediumKind::Virtual, _) => 200_000_000,
    };
    let pass = size / rate;
    match way {
        Way::Ephemeral => "removing ephemeral files of installed systems: some seconds".to_owned(),
        Way::Signatures { discard } => {
            let discard = if *discard { ", then discarding all of it" } else { "" };
            format!("zeroing tables and signatures{discard}: some seconds")
        }
        Way::Device(technique) => {
            let offered = examined.techniques.iter().find(|one| one.technique == *technique);
            let time = offered.and_then(|one| one.estimate).as_ref().map(Duration::as_secs);
            format!(
                "{technique:?}: {}",
                time.map_or("the disk does not say how long".to_owned(), about)
            )
        }
        Way::Offload => "having the disk zero itself: it does not say how long".to_owned(),
        Way::Passes(count) => {
            let time = pass.saturating_mul(u64::from(*count) + 1);
            format!("writing it {count} times and reading it back: {}", about(time))
        }
    }
}

fn about(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60) {
        (0, 0) => "less than a minute".to_owned(),
        (0, minutes) => format!("about {minutes} min"),
        (hours, minutes) => format!("about {hours} h {} min", minutes % 60),
    }
}

/// Watches over questions.
#[derive(Debug)]
struct Nobody;

impl Watch for Nobody {
    fn check(&self) -> Result<(), Stopped> {
        Ok(())
    }

    fn wait(&self, time: Duration) -> Result<(), Stopped> {
        std::thread::park_timeout(time);
        Ok(())
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn journal(&self, _step: WipeStepKind) -> Result<(), Stopped> {
        Ok(())
    }

    fn note(&self, _step: WipeStepKind) {}

    fn progress(&self, _done: u64, _total: u64, _bad_ranges: u32) {}
}

#[cfg(test)]
mod tests {
    use protocol::Bytes;

    use super::*;

    #[test]
    fn a_person_reads_how_long_it_takes() {
        let disk = Disk { size_bytes: Bytes(4_000_000_000_000), ..Disk::default() };
        let said = words(&Way::Passes(1), &disk, &Examined::default(), MediumKind::Magnetic);
        assert_eq!(said, "writing it 1 times and reading it back: about 14 h 48 min");
        assert_eq!((about(59).as_str(), about(61).as_str()), ("less than a minute", "about 1 min"));
    }

    #[test]
    fn what_is_locked_is_shut_and_what_is_only_hidden_is_not() {
        assert!(is_shut(&Obstacle::Locked) && is_shut(&Obstacle::OpalLocked));
        assert!(!is_shut(&Obstacle::Frozen) && !is_shut(&Obstacle::PasswordSet));
    }
}
