//! Devices whose driver was loaded before its firmware came: looked at by it once more.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use protocol::inventory::Gap;
use tracing::info;

use super::supply::{self, Want};

/// How long a driver may take to begin anew: what is wanted after it waits as long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Has the kernel offer a device to its drivers again, on a thread of its own: a driver that hangs is left to itself, which is
/// a gap.
pub(super) fn probe_again(
    sys: &Path,
    want: &Want<'_>,
    report: impl Fn(Gap) + Clone + Send + 'static,
) {
    probe_within(PATIENCE, sys, want, report);
}

fn probe_within(
    limit: Duration,
    sys: &Path,
    want: &Want<'_>,
    report: impl Fn(Gap) + Clone + Send + 'static,
) {
    let (done, ended) = mpsc::channel::<()>();
    let (sys, file, device) = (PathBuf::from(sys), want.file.to_owned(), want.device.clone());
    let tell = report.clone();
    let work = move || {
        probe(&sys, &file, &device, tell);
        drop(done);
    };
    let reason = match super::aside("probe".to_owned(), Box::new(work)) {
        Ok(()) if ended.recv_timeout(limit) != Err(RecvTimeoutError::Timeout) => return,
        Ok(()) => "its firmware came after its driver, which had not come to an end when nobody waited longer".to_owned(),
        Err(error) => format!("its firmware came after its driver, and no thread: {error}"),
    };
    report(supply::gap(&modules::name(want.file), &want.device, &reason));
}

/// Has the kernel offer a device to its drivers again, where none has taken it. One that is not taken then either needs a
/// restart of its driver, which is a gap.
fn probe(sys: &Path, file: &str, modalias: &str, report: impl Fn(Gap)) {
    for bus in super::names(&sys.join("bus")) {
        let bus = sys.join("bus").join(bus);
        for name in super::names(&bus.join("devices")) {
            let device = bus.join("devices").join(&name);
            let is_meant = fs::read_to_string(device.join("modalias"))
                .is_ok_and(|its| its.trim_end() == modalias);
            if !is_meant || device.join("driver").exists() {
                continue;
            }
            info!(device = name, module = file, "offered to its driver again: firmware came");
            let offered = fs::write(bus.join("drivers_probe"), &name);
            if offered.is_err() || !device.join("driver").exists() {
                let reason = format!(
                    "{name}: its firmware came after its driver, which does not begin anew"
                );
                report(supply::gap(&modules::name(file), modalias, &reason));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    /// Returns the gaps of offering devices again, where `one` and `two` are of one kind, and `two` is driven.
    fn offered(sys: &Path, limit: Duration) -> Vec<Gap> {
        let bus = sys.join("bus/pci");
        for (name, modalias) in [("one", "pci:a"), ("two", "pci:a"), ("three", "pci:b")] {
            fs::create_dir_all(bus.join("devices").join(name)).unwrap();
            fs::write(bus.join("devices").join(name).join("modalias"), format!("{modalias}\n"))
                .unwrap();
        }
        fs::create_dir(bus.join("devices/two/driver")).unwrap();
        let gaps = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&gaps);
        let want = Want::of("kernel/drivers/net/x.ko.xz", "pci:a");
        probe_within(limit, sys, &want, move |gap| told.lock().unwrap().push(gap));
        let gaps = gaps.lock().unwrap();
        gaps.clone()
    }

    #[test]
    fn a_driver_that_hangs_holds_nobody_up_and_is_named() {
        let sys = tempfile::tempdir().unwrap();
        fs::create_dir_all(sys.path().join("bus/pci")).unwrap();
        // Who writes into it waits for a reader, who never comes.
        mkfifo(&sys.path().join("bus/pci/drivers_probe"), Mode::S_IRWXU).unwrap();
        let gaps = offered(sys.path(), Duration::from_millis(200));
        let [gap] = &gaps[..] else { panic!("{gaps:?}") };
        assert_eq!((gap.what.as_str(), gap.source.as_str()), ("modules/x", "pci:a"));
        assert!(gap.reason.contains("come to an end"), "{}", gap.reason);
    }

    #[test]
    fn a_device_without_a_driver_is_offered_again_and_one_that_is_driven_is_left_alone() {
        let sys = tempfile::tempdir().unwrap();
        let gaps = offered(sys.path(), PATIENCE);
        let bus = sys.path().join("bus/pci");
        assert_eq!(fs::read_to_string(bus.join("drivers_probe")).unwrap(), "one");
        assert_eq!(
            (gaps.len(), gaps[0].what.as_str(), gaps[0].source.as_str()),
            (1, "modules/x", "pci:a")
        );
    }
}
