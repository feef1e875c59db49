//! Devices on a bus that no driver has taken: what the machine has and this system cannot use.

use std::path::Path;

use protocol::inventory::Undriven;

use crate::survey::Survey;

/// Returns them all, sorted by path.
pub(crate) fn survey(survey: &mut Survey<'_>) -> Vec<Undriven> {
    let mut found = Vec::new();
    for bus in ["pci", "usb", "virtio", "vmbus", "xen", "sdio"] {
        let devices = Path::new("sys/bus").join(bus).join("devices");
        for name in survey.entries("undriven", &devices) {
            let class = devices.join(&name);
            // A link counts also where a capture left out what it points to.
            if !matches!(survey.root.link(class.join("driver")), Ok(None)) {
                continue;
            }
            found.extend(undriven(survey, bus, &name, &class));
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn undriven(survey: &mut Survey<'_>, bus: &str, name: &str, class: &Path) -> Option<Undriven> {
    let what = format!("undriven/{name}");
    let kind = match bus {
        "pci" => survey.text(&what, class.join("class"))?.strip_prefix("0x").map(str::to_owned),
        "usb" => survey.text(&what, class.join("bInterfaceClass")),
        _ => None,
    };
    if bus == "pci" && kind.as_deref().is_some_and(needs_no_driver) {
        return None;
    }
    // USB devices themselves have none: their interfaces do.
    let modalias = survey.text(&what, class.join("modalias"))?;
    let place = survey.device(&what, class);
    let path = place.as_deref().and_then(|path| path.strip_prefix("sys/devices").ok());
    let path = path.map_or_else(|| name.to_owned(), |path| path.display().to_string());
    // Who has the kernel's lists of modules says which of them would do.
    Some(Undriven { path, modalias, class: kind, modules: Vec::new() })
}

/// Holds for PCI classes that work without: memory, bridges, timers and interrupt controllers, processors,
/// signal and performance counters, instrumentation (PCI Code and ID Assignment §1).
fn needs_no_driver(class: &str) -> bool {
    matches!(class.get(..2), Some("05" | "06" | "08" | "0b" | "11" | "13"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_need_no_driver_and_disks_do() {
        for class in ["060000", "060400", "080600", "110100", "130000"] {
            assert!(needs_no_driver(class), "{class}");
        }
        for class in ["020000", "010802", "030000", "0c0330", ""] {
            assert!(!needs_no_driver(class), "{class}");
        }
    }
}
