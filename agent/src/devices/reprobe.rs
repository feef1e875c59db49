//! Devices whose driver was loaded before its firmware came: looked at by it once more.

use std::{
    fs,
    path::Path,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use protocol::inventory::Gap;
use tracing::info;

use super::{
    findings::Findings,
    supply::{self, Want},
};

/// How long a driver may take to begin anew: what is wanted after it waits as long.
const PATIENCE: Duration = Duration::from_secs(5);

/// The places of devices whose drivers have not come to an end.
type Open = (Mutex<Vec<String>>, Condvar);

/// Has the kernel offer devices of one kind to their driver again, each on a thread of its own: a driver that hangs is left to
/// itself, which is a gap for as long as it does.
pub(super) fn probe_again(sys: &Path, want: &Want<'_>, findings: &Findings) {
    probe_within(PATIENCE, sys, want, findings);
}

fn probe_within(limit: Duration, sys: &Path, want: &Want<'_>, findings: &Findings) {
    let devices = undriven(sys, &want.device);
    let open: Arc<Open> = Arc::new((Mutex::new(devices.clone()), Condvar::new()));
    for device in &devices {
        let work = {
            let (open, findings) = (Arc::clone(&open), findings.clone());
            let (file, modalias) = (want.file.to_owned(), want.device.clone());
            let device = device.clone();
            move || {
                let gap = probe(&device, &file, &modalias);
                // Under the lock: whoever waits says that it hangs before this says that it does not, or never.
                let mut left = open.0.lock().unwrap_or_else(PoisonError::into_inner);
                left.retain(|other| *other != device);
                findings.end_hanging(&device, gap);
                drop(left);
                open.1.notify_all();
            }
        };
        if let Err(error) = super::aside("probe".to_owned(), Box::new(work)) {
            open.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| other != device);
            let reason = format!("{}: no thread: {error}", without_driver(device));
            findings.add_gap(supply::gap(&modules::name(want.file), &want.device, &reason));
        }
    }
    let (left, changed) = &*open;
    let left = left.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = changed.wait_timeout_while(left, limit, |left| !left.is_empty());
    let left = waited.unwrap_or_else(PoisonError::into_inner).0;
    for device in &*left {
        findings.add_hanging(device, &hangs(want, device));
    }
}

/// Lists the places of the devices with this `modalias` that no driver has taken.
fn undriven(sys: &Path, modalias: &str) -> Vec<String> {
    let mut found = Vec::new();
    for bus in super::names(&sys.join("bus")) {
        let devices = sys.join("bus").join(bus).join("devices");
        for name in super::names(&devices) {
            let device = devices.join(name);
            let its = fs::read_to_string(device.join("modalias"));
            let is_meant = its.is_ok_and(|its| its.trim_end() == modalias);
            if is_meant && !device.join("driver").exists() {
                found.extend(device.to_str().map(str::to_owned));
            }
        }
    }
    found
}

/// Has the kernel offer a device to its drivers again. One that is not taken then either needs a restart of its driver, which
/// is a gap.
fn probe(device: &str, file: &str, modalias: &str) -> Option<Gap> {
    let name = name(device);
    info!(device = name, module = file, "offered to its driver again: firmware came");
    let place = Path::new(device);
    let bus = place.ancestors().nth(2).unwrap_or(place);
    let offered = fs::write(bus.join("drivers_probe"), name);
    if offered.is_ok() && place.join("driver").exists() {
        return None;
    }
    let reason = format!("{}, which does not begin anew", without_driver(device));
    Some(supply::gap(&modules::name(file), modalias, &reason))
}

fn hangs(want: &Want<'_>, device: &str) -> Gap {
    let reason = format!("{}, which has not come to an end", without_driver(device));
    supply::gap(&modules::name(want.file), &want.device, &reason)
}

fn without_driver(device: &str) -> String {
    format!("{}: its firmware came after its driver", name(device))
}

fn name(device: &str) -> &str {
    device.rsplit('/').next().unwrap_or(device)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Instant};

    use nix::{sys::stat::Mode, unistd::mkfifo};
    use protocol::Inventory;

    use super::*;

    const SHORT: Duration = Duration::from_secs(2);

    /// Makes devices on a bus: `one` and `two` are of one kind, and `two` is driven.
    fn make(sys: &Path, bus: &str) {
        let bus = sys.join("bus").join(bus);
        for (name, modalias) in [("one", "pci:a"), ("two", "pci:a"), ("three", "pci:b")] {
            fs::create_dir_all(bus.join("devices").join(name)).unwrap();
            fs::write(bus.join("devices").join(name).join("modalias"), format!("{modalias}\n"))
                .unwrap();
        }
        fs::create_dir(bus.join("devices/two/driver")).unwrap();
    }

    fn offer(sys: &Path, limit: Duration) -> Findings {
        let findings = Findings::default();
        probe_within(limit, sys, &Want::of("kernel/drivers/net/x.ko.xz", "pci:a"), &findings);
        findings
    }

    fn gaps(findings: &Findings) -> Vec<Gap> {
        let mut inventory = Inventory::default();
        findings.complete(&mut inventory);
        inventory.gaps
    }

    #[test]
    fn a_driver_that_hangs_holds_nobody_up_and_is_named_until_it_comes_to_an_end() {
        let sys = tempfile::tempdir().unwrap();
        make(sys.path(), "hangs");
        make(sys.path(), "other");
        // Who writes into it waits for a reader.
        let stuck = sys.path().join("bus/hangs/drivers_probe");
        mkfifo(&stuck, Mode::S_IRWXU).unwrap();
        let findings = offer(sys.path(), SHORT);
        let asked = fs::read_to_string(sys.path().join("bus/other/drivers_probe")).unwrap();
        assert_eq!(asked, "one", "its twin waits for nothing");
        let hangs = |gap: &Gap| gap.reason.contains("not come to an end");
        let before = gaps(&findings);
        assert_eq!((before.len(), before.iter().filter(|gap| hangs(gap)).count()), (2, 1));
        assert!(before.iter().all(|gap| (&*gap.what, &*gap.source) == ("modules/x", "pci:a")));
        assert!(!findings.is_quiet() && !findings.take_news());

        // Its driver comes to an end after all, well.
        fs::create_dir(sys.path().join("bus/hangs/devices/one/driver")).unwrap();
        assert_eq!(std::io::read_to_string(File::open(&stuck).unwrap()).unwrap(), "one");
        let begun = Instant::now();
        let mut is_told = false;
        while !is_told && begun.elapsed() < Duration::from_mins(1) {
            assert!(!findings.is_quiet(), "nobody sleeps before that was told");
            is_told = findings.take_news();
        }
        assert!(is_told && findings.is_quiet(), "the server is told");
        let after = gaps(&findings);
        assert_eq!((after.len(), after.iter().filter(|gap| hangs(gap)).count()), (1, 0));
    }

    #[test]
    fn a_device_without_a_driver_is_offered_again_and_one_that_is_driven_is_left_alone() {
        let sys = tempfile::tempdir().unwrap();
        make(sys.path(), "pci");
        let findings = offer(sys.path(), PATIENCE);
        let asked = fs::read_to_string(sys.path().join("bus/pci/drivers_probe")).unwrap();
        assert_eq!(asked, "one");
        let gaps = gaps(&findings);
        assert_eq!((gaps.len(), &*gaps[0].what, &*gaps[0].source), (1, "modules/x", "pci:a"));
        assert!(findings.is_quiet() && !findings.take_news(), "it was in time");
    }
}
