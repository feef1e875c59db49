//! Devices whose driver was loaded before its firmware came: looked at by it once more.

use std::{fs, path::Path};

use protocol::inventory::Gap;
use tracing::info;

use super::supply::{self, Want};

/// Has the kernel offer a device to its drivers again, where none has taken it. One that is not taken then either needs a
/// restart of its driver, which is a gap.
pub(super) fn probe_again(sys: &Path, want: &Want<'_>, report: impl Fn(Gap)) {
    for bus in super::names(&sys.join("bus")) {
        let bus = sys.join("bus").join(bus);
        for name in super::names(&bus.join("devices")) {
            let device = bus.join("devices").join(&name);
            let is_meant = fs::read_to_string(device.join("modalias"))
                .is_ok_and(|modalias| modalias.trim_end() == want.device);
            if !is_meant || device.join("driver").exists() {
                continue;
            }
            info!(device = name, module = want.file, "offered to its driver again: firmware came");
            let offered = fs::write(bus.join("drivers_probe"), &name);
            if offered.is_err() || !device.join("driver").exists() {
                let reason = format!(
                    "{name}: its firmware came after its driver, which does not begin anew"
                );
                report(supply::gap(&modules::name(want.file), &want.device, &reason));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_device_without_a_driver_is_offered_again_and_one_that_is_driven_is_left_alone() {
        let sys = tempfile::tempdir().unwrap();
        let bus = sys.path().join("bus/pci");
        for (name, modalias) in [("one", "pci:a"), ("two", "pci:a"), ("three", "pci:b")] {
            fs::create_dir_all(bus.join("devices").join(name)).unwrap();
            fs::write(bus.join("devices").join(name).join("modalias"), format!("{modalias}\n"))
                .unwrap();
        }
        fs::create_dir(bus.join("devices/two/driver")).unwrap();
        let gaps = RefCell::new(Vec::new());
        let want = Want::of("kernel/drivers/net/x.ko.xz", "pci:a");
        probe_again(sys.path(), &want, |gap| gaps.borrow_mut().push(gap));
        assert_eq!(fs::read_to_string(bus.join("drivers_probe")).unwrap(), "one");
        let gaps = gaps.into_inner();
        assert_eq!(
            (gaps.len(), gaps[0].what.as_str(), gaps[0].source.as_str()),
            (1, "modules/x", "pci:a")
        );
    }
}
