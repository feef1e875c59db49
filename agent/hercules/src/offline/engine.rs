//! Orders that a person gives at the console, for the engine that wipes by the server's orders too: the same checks, the
//! same permit.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use agent::{
    console,
    offline::{Done, Reply},
    session::Key,
};
use disk::permit::{self, Circumstances, Clock, Place, Used};
use protocol::{
    Inventory, InventoryDigest, Order, OrderId, Wipe,
    inventory::Disk,
    order::{DiskIdentity, MachineEvidence, OrderedDisk},
    wipe::{
        PowerLevel, Seed, WipeFinish, WipeOptions, WipeProgress, WipeReport, WipeStep,
        WipeStepKind, canonical,
    },
};
use ring::rand::{SecureRandom as _, SystemRandom};
use wipe::{Stopped, job::Keeper};

use crate::{
    chain,
    confirm::printable,
    forecast::{Against, CHECKS_PATIENCE, SILENT, shown, within},
    wipe::{self as carry, Clockwork, Screen},
};

/// Where orders that were begun in this boot are noted.
const USED: &str = "/run/drydock/orders";

const HOUR_MILLISECONDS: i64 = 3_600_000;

/// Says what each level would do to a disk. Nothing is written for that.
pub(super) fn look(inventory: &Inventory, disk: &Disk) -> String {
    let told = order(inventory, std::slice::from_ref(disk), PowerLevel::Idle).and_then(|wipe| {
        let names = names(disk);
        let (checked, typed) = (wipe.clone(), names.clone());
        let against = within(CHECKS_PATIENCE, move || {
            circumstances(typed, |here| Against::find(&checked, here))
        });
        let against = against.ok_or(SILENT)??;
        let report = perform(&wipe, names)?;
        let forecast = report.disks.into_iter().find_map(|disk| disk.forecast);
        let mut forecast = forecast.ok_or(SILENT)?;
        against.add_to(&mut forecast, 0);
        Ok(forecast)
    });
    shown(disk, told.as_ref().map_err(String::as_str))
}

/// Looking takes nobody's word: all names that a disk has.
fn names(disk: &Disk) -> Vec<String> {
    let DiskIdentity { serial, wwn, eui64, nguid, .. } = DiskIdentity::of(disk);
    [serial, wwn, eui64, nguid].into_iter().flatten().collect()
}

/// Wipes the disks whose names a person typed, and says what came of each.
pub(super) fn wipe(
    inventory: &Inventory,
    disks: &[Disk],
    level: PowerLevel,
    typed: Vec<String>,
) -> Done {
    let report = order(inventory, disks, level).and_then(|wipe| perform(&wipe, typed));
    match report {
        Ok(report) => {
            let words = carry::words(&report);
            Done { reply: Reply::leave(words), report: Some(("wipe", signed(&report))) }
        }
        Err(why) => {
            let words = format!("{}; nothing was touched\n", printable(&why));
            Done { reply: Reply::leave(words), report: None }
        }
    }
}

/// Makes the person's own order, of the machine as it was shown.
fn order(inventory: &Inventory, disks: &[Disk], level: PowerLevel) -> Result<Wipe, String> {
    let (mut id, mut seed) = ([0; 16], [0; 32]);
    let random = SystemRandom::new();
    let filled = random.fill(&mut id).and_then(|()| random.fill(&mut seed));
    filled.map_err(|_| "the kernel has no random numbers".to_owned())?;
    let ordered = |disk| OrderedDisk { identity: DiskIdentity::of(disk), overwrite: true };
    let now = linux::clock::unix_milliseconds();
    Ok(Wipe {
        order: Order {
            id: OrderId(id),
            by: "whoever typed the disks' names at the console".to_owned(),
            machine: MachineEvidence::of(inventory),
            disks: disks.iter().map(ordered).collect(),
            deadline_unix_milliseconds: now.saturating_add(HOUR_MILLISECONDS),
            inventory: InventoryDigest::of(inventory),
        },
        level,
        options: WipeOptions::default(),
        seed: Seed(seed),
        missing: Vec::new(),
        extras: Vec::new(),
        journal: Vec::new(),
        finish: WipeFinish::Stay,
    })
}

/// Has something checked where this is our own system, and a person typed these names.
fn circumstances<T>(
    typed: Vec<String>,
    check: impl FnOnce(&Circumstances<'_>) -> T,
) -> Result<T, String> {
    let place = Place::at_console(typed).map_err(|error| chain(&error))?;
    let used = Used::kept_in(USED);
    let now_unix_milliseconds = linux::clock::unix_milliseconds();
    // The order was made by this machine's clock a moment ago.
    let clock = Clock::SetByServer;
    Ok(check(&Circumstances { place: &place, now_unix_milliseconds, clock, used: &used }))
}

/// Carries out an order whose disks' names were typed. An error means that nothing was touched.
fn perform(wipe: &Wipe, typed: Vec<String>) -> Result<WipeReport, String> {
    let disks =
        wipe.order.disks.iter().map(|disk| disk.identity.serial.clone().unwrap_or_default());
    let keeper: Arc<dyn Keeper> =
        Arc::new(ConsoleKeeper { screen: Mutex::default(), disks: disks.collect() });
    let checked = wipe.clone();
    // One disk after the other is looked at.
    let disks = u32::try_from(wipe.order.disks.len()).unwrap_or(u32::MAX);
    let cleared = within(CHECKS_PATIENCE.saturating_mul(disks), move || {
        circumstances(typed, |here| permit::check_wipe(&checked, here))
    });
    let cleared = cleared
        .ok_or("one of these disks does not answer: wipe the others without it")??
        .map_err(|refusal| chain(&refusal))?;
    if matches!(wipe.level, PowerLevel::Idle | PowerLevel::Harbour) {
        carry::load_filesystems();
    }
    carry::perform(&Arc::new(wipe.clone()), cleared, &keeper, &Clockwork::own())
}

/// Writes a report down with the signature of a key that was made for it: who changes the file shows it.
fn signed(report: &WipeReport) -> Vec<u8> {
    let text = canonical(report).unwrap_or_default();
    let signed = Key::generate().and_then(|key| Ok((key.sign(&text)?, key.public())));
    let mut file = b"{\"report\":".to_vec();
    file.extend(&text);
    if let Ok((signature, key)) = signed {
        let (signature, key) = (carry::base64(&signature), carry::base64(&key));
        let mut beside = String::new();
        let _infallible = write!(beside, r#","signature":"{signature}","key":"{key}""#);
        file.extend(beside.into_bytes());
    }
    file.extend(b"}\n");
    file
}

/// A person at the console as who keeps an order: nobody else writes down what happens.
#[derive(Debug)]
struct ConsoleKeeper {
    screen: Mutex<Screen>,
    /// The serial number of each disk of the order.
    disks: Vec<String>,
}

impl Keeper for ConsoleKeeper {
    fn stopped(&self) -> Option<Stopped> {
        None
    }

    fn journal(&self, step: WipeStep) -> Result<(), Stopped> {
        if let WipeStepKind::AtaPassword { password } = &step.kind {
            let disk = usize::try_from(step.disk).ok().and_then(|disk| self.disks.get(disk));
            let disk = printable(disk.map_or("a disk", String::as_str));
            console::show(&format!(
                "  {disk} gets the ATA password {password} (32 bytes in hexadecimal digits) while it erases itself.\n  \
                 Write it down: if the power fails in the middle, the disk is locked with it.\n"
            ));
        }
        Ok(())
    }

    fn note(&self, _step: WipeStep) {}

    fn progress(&self, progress: WipeProgress) {
        Screen::show(&self.screen, &progress);
    }

    fn sleep(&self) -> Result<(), String> {
        Err("nobody ordered it".to_owned())
    }

    fn unix_milliseconds(&self) -> i64 {
        linux::clock::unix_milliseconds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_of_the_console_names_its_disks_and_departs_from_no_check() {
        let disk = Disk { serial: Some("A1".to_owned()), ..Disk::default() };
        let wipe =
            order(&Inventory::default(), std::slice::from_ref(&disk), PowerLevel::Full).unwrap();
        assert_eq!(wipe.order.disks[0].identity, DiskIdentity::of(&disk));
        assert_eq!((wipe.options, wipe.extras.len()), (WipeOptions::default(), 0));
        let other = order(&Inventory::default(), &[disk], PowerLevel::Full).unwrap();
        assert_ne!(wipe.order.id, other.order.id, "an order is used once");
        assert_ne!(wipe.seed.0, other.seed.0);
    }

    #[test]
    fn no_other_system_than_ours_wipes_for_its_console() {
        let disk = Disk { serial: Some("A1".to_owned()), ..Disk::default() };
        let done = wipe(&Inventory::default(), &[disk], PowerLevel::Full, vec!["A1".to_owned()]);
        assert!(done.report.is_none());
        assert!(done.reply.words.contains("this is not our own system; nothing was touched"));
    }
}
