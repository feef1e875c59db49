//! Devices by their place below `sys/devices`: the chain of parents from a disk or port up to its bus.

use std::path::{Path, PathBuf};

use crate::Root;

/// One directory on the way from a device to the root of the device tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ancestor {
    /// Its path below the root, for example `sys/devices/pci0000:00/0000:00:04.0`.
    pub(crate) path: PathBuf,
    /// Its name, for example `0000:00:04.0`.
    pub(crate) name: String,
}

/// Returns a device and its parents, itself first, without `sys/devices`.
pub(crate) fn ancestors(device: &Path) -> Vec<Ancestor> {
    device
        .ancestors()
        .take_while(|path| *path != Path::new("sys/devices") && *path != Path::new(""))
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some(Ancestor { path: path.to_path_buf(), name })
        })
        .collect()
}

/// Returns the name of an ancestor's subsystem; what looks like a PCI address is one even where a capture
/// left the link out.
pub(crate) fn subsystem(root: &Root, ancestor: &Ancestor) -> Option<String> {
    let told = root.link_name(ancestor.path.join("subsystem")).ok().flatten();
    told.or_else(|| is_pci_address(&ancestor.name).then(|| "pci".to_owned()))
}

/// Returns the nearest PCI device that a device belongs to.
pub(crate) fn pci(ancestors: &[Ancestor]) -> Option<&Ancestor> {
    ancestors.iter().find(|ancestor| is_pci_address(&ancestor.name))
}

/// Holds when some ancestor's name is `prefix` and a number: `usb2`, `ata1`, `session3`.
pub(crate) fn has_numbered(ancestors: &[Ancestor], prefix: &str) -> bool {
    ancestors.iter().any(|ancestor| number_after(&ancestor.name, prefix).is_some())
}

/// Returns the number that follows a prefix and ends the name.
pub(crate) fn number_after(name: &str, prefix: &str) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Holds for `0000:00:04.0`: domain (four digits or more), bus, device, function.
pub(crate) fn is_pci_address(name: &str) -> bool {
    let is_hex = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let mut parts = name.split([':', '.']);
    let mut next = |lengths| parts.next().is_some_and(|part| is_hex(part, lengths));
    next(4..=8)
        && next(2..=2)
        && next(2..=2)
        && next(1..=1)
        && parts.next().is_none()
        && name.matches(':').count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_addresses_have_one_shape() {
        for name in ["0000:00:04.0", "10000:e1:00.7", "052e:78:00.0"] {
            assert!(is_pci_address(name), "{name}");
        }
        for name in [
            "0000:00",
            "pci0000:00",
            "0:0:0:0",
            "0000:00:04:0",
            "0000:00:04.0.1",
            "",
            "...",
            "0000.00.04:0",
        ] {
            assert!(!is_pci_address(name), "{name}");
        }
    }

    #[test]
    fn ancestors_end_below_the_root_of_devices() {
        let names: Vec<String> =
            ancestors(Path::new("sys/devices/pci0000:00/0000:00:04.0/virtio1/block/vda"))
                .into_iter()
                .map(|ancestor| ancestor.name)
                .collect();
        assert_eq!(names, ["vda", "block", "virtio1", "0000:00:04.0", "pci0000:00"]);
    }

    #[test]
    fn numbers_follow_prefixes() {
        assert_eq!(number_after("usb12", "usb"), Some(12));
        assert_eq!(number_after("usb", "usb"), None);
        assert_eq!(number_after("usbmon", "usb"), None);
        assert_eq!(number_after("ata99999999999", "ata"), None);
    }
}
