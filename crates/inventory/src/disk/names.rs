//! Stable names below `/dev/disk/by-id`, spelt as udev spells them.
//!
//! From the rules of systemd's `60-persistent-storage.rules` and its helpers `ata_id`, `scsi_id`, `usb_id`:
//! there is no udev in our images, and the names must fit the system that is installed later.

/// Joins runs of blanks into one underscore and drops those at both ends (`udev_replace_whitespace`).
pub(crate) fn without_blanks(text: &str) -> String {
    text.split_ascii_whitespace().collect::<Vec<_>>().join("_")
}

/// Replaces each character that a device name may not have by an underscore (`udev_replace_chars`).
/// Letters and digits of any script stand.
pub(crate) fn without_oddities(text: &str) -> String {
    let is_allowed = |character: char| {
        character.is_ascii_alphanumeric() || "#+-.:=@_".contains(character) || !character.is_ascii()
    };
    text.chars().map(|character| if is_allowed(character) { character } else { '_' }).collect()
}

/// Does both, as the helpers do with what a device tells.
pub(crate) fn plain(text: &str) -> String {
    without_oddities(&without_blanks(text))
}

/// Returns an NVMe namespace's names. The first one names one namespace on every system; the last one is
/// ambiguous where a controller has several.
pub(crate) fn nvme(
    wwid: Option<&str>,
    model: Option<&str>,
    serial: Option<&str>,
    nsid: Option<u32>,
) -> Vec<String> {
    let mut names = Vec::new();
    names.extend(wwid.map(|wwid| format!("nvme-{}", plain(wwid))));
    if let (Some(model), Some(serial)) = (model, serial) {
        // Here udev replaces character by character (`string_escape=replace`).
        let name = format!("nvme-{}_{}", without_oddities(model), without_oddities(serial));
        names.extend(nsid.map(|nsid| format!("{name}_{nsid}")));
        names.push(name);
    }
    names
}

/// Returns an ATA disk's name.
pub(crate) fn ata(model: &str, serial: Option<&str>) -> String {
    let model = plain(model);
    match serial.map(plain).filter(|serial| !serial.is_empty()) {
        Some(serial) => format!("ata-{model}_{serial}"),
        None => format!("ata-{model}"),
    }
}

/// Returns the name of a disk that tells a world wide name.
pub(crate) fn wwn(digits: &str) -> String {
    format!("wwn-0x{digits}")
}

/// Returns a SCSI disk's name, from the identifier that `scsi_id` picks.
pub(crate) fn scsi(identifier: &str) -> String {
    format!("scsi-{}", plain(identifier))
}

/// Returns a virtio disk's name.
pub(crate) fn virtio(serial: &str) -> String {
    format!("virtio-{}", plain(serial))
}

/// Returns an eMMC's or SD card's name.
pub(crate) fn mmc(name: &str, serial: &str) -> String {
    format!("mmc-{}_{}", plain(name), plain(serial))
}

/// Returns a USB disk's name. A serial number with a comma or a character beyond ASCII does not count;
/// `instance` is the SCSI target and LUN, since some bridges give all their disks one serial number.
pub(crate) fn usb(
    vendor: &str,
    model: &str,
    serial: Option<&str>,
    instance: Option<&str>,
) -> String {
    let is_sound =
        |serial: &&str| serial.bytes().all(|byte| (0x20..=0x7f).contains(&byte) && byte != b',');
    let mut name = format!("usb-{}_{}", plain(vendor), plain(model));
    if let Some(serial) = serial.filter(is_sound).map(plain).filter(|serial| !serial.is_empty()) {
        name = format!("{name}_{serial}");
    }
    match instance {
        Some(instance) => format!("{name}-{instance}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Expected names are those that systems with udev are known to show for such disks.
    #[test]
    fn names_are_spelt_as_udev_spells_them() {
        assert_eq!(ata("QEMU HARDDISK", Some("QM00001")), "ata-QEMU_HARDDISK_QM00001");
        assert_eq!(
            ata("WDC WD40EFRX-68N32N0  ", Some("     WD-WCC7K0123456")),
            "ata-WDC_WD40EFRX-68N32N0_WD-WCC7K0123456"
        );
        assert_eq!(ata("X", Some("  ")), "ata-X");
        assert_eq!(
            nvme(
                Some("eui.0025385b71b0aa12"),
                Some("Samsung SSD 970 EVO 1TB"),
                Some("S5H9NS0N123456A"),
                Some(1)
            ),
            [
                "nvme-eui.0025385b71b0aa12",
                "nvme-Samsung_SSD_970_EVO_1TB_S5H9NS0N123456A_1",
                "nvme-Samsung_SSD_970_EVO_1TB_S5H9NS0N123456A",
            ]
        );
        assert_eq!(
            scsi("0QEMU    QEMU HARDDISK   drive-scsi0"),
            "scsi-0QEMU_QEMU_HARDDISK_drive-scsi0"
        );
        assert_eq!(virtio("install-1"), "virtio-install-1");
        assert_eq!(
            usb("SanDisk ", "Ultra           ", Some("4C530001234567890123"), Some("0:0")),
            "usb-SanDisk_Ultra_4C530001234567890123-0:0"
        );
        assert_eq!(usb("V", "M", Some("a,b"), Some("0:0")), "usb-V_M-0:0");
        assert_eq!(mmc("SA08G", "0x1a2b3c4d"), "mmc-SA08G_0x1a2b3c4d");
    }

    #[test]
    fn no_name_leads_out_of_its_directory() {
        for name in [virtio("../../etc"), ata("a/b", Some("c/d")), scsi("1a/../b"), mmc("/", "/")] {
            assert!(!name.contains('/'), "{name}");
        }
    }
}
