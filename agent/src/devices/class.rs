//! The order in which drivers are loaded.

/// What a driver is for, in the order in which drivers are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Watchdogs, and the chipset functions that they stand on: armed before the network.
    Watchdog,
    /// Network ports, and buses that ports and disks stand on: before disks, because a driver whose disks are still being
    /// looked for holds up the thread of every driver after it.
    Port,
    /// Disks and what they stand on.
    Disk,
    /// What newer watchdogs stand on. It waits until everything is announced where one was armed without it.
    Chipset,
    /// Everything else: the announcement does not wait for it.
    Rest,
}

/// Where the kernel keeps the drivers of a class, below its module directory.
/// The first that fits counts.
const PLACES: [(&str, Class); 26] = [
    ("kernel/drivers/watchdog/", Class::Watchdog),
    ("kernel/drivers/mfd/lpc_", Class::Watchdog),
    ("kernel/drivers/i2c/busses/i2c-i801", Class::Chipset),
    ("kernel/drivers/net/", Class::Port),
    ("kernel/net/", Class::Port),
    ("kernel/drivers/hv/", Class::Port),
    ("kernel/drivers/pci/", Class::Port),
    ("kernel/drivers/virtio/", Class::Port),
    ("kernel/drivers/xen/", Class::Port),
    // What Secure Boot says stands in the EFI variables.
    ("kernel/fs/efivarfs/", Class::Disk),
    ("kernel/drivers/ata/", Class::Disk),
    ("kernel/drivers/block/", Class::Disk),
    ("kernel/drivers/dax/", Class::Disk),
    ("kernel/drivers/firewire/", Class::Disk),
    ("kernel/drivers/memstick/", Class::Disk),
    ("kernel/drivers/message/", Class::Disk),
    // Readers of cards that the drivers of cards stand on.
    ("kernel/drivers/misc/cardreader/", Class::Disk),
    ("kernel/drivers/mmc/", Class::Disk),
    ("kernel/drivers/nvdimm/", Class::Disk),
    ("kernel/drivers/acpi/nfit/", Class::Disk),
    ("kernel/drivers/nvme/", Class::Disk),
    // Optical drives: nothing is found or installed there.
    ("kernel/drivers/scsi/sr_mod", Class::Rest),
    ("kernel/drivers/scsi/", Class::Disk),
    ("kernel/drivers/target/", Class::Disk),
    ("kernel/drivers/ufs/", Class::Disk),
    ("kernel/drivers/usb/", Class::Disk),
];

/// Disks that are there as soon as their driver is: behind every other driver of a disk stands a controller
/// that has to look for them.
const AT_ONCE: &str = "kernel/drivers/block/";

/// Holds for drivers that look for disks, and are waited for the longest: a third of a second where a SATA port is empty.
pub(super) fn searches(path: &str) -> bool {
    of(path) == Class::Disk && !path.starts_with(AT_ONCE)
}

/// Tells a module's class by its place.
pub(super) fn of(path: &str) -> Class {
    let place = PLACES.iter().find(|(place, _)| path.starts_with(place));
    place.map_or(Class::Rest, |(_, class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchdogs_come_first_and_what_nobody_waits_for_last() {
        let paths = [
            "kernel/drivers/watchdog/iTCO_wdt.ko.xz",
            "kernel/drivers/net/virtio_net.ko",
            "kernel/drivers/nvme/host/nvme.ko",
            "kernel/drivers/i2c/busses/i2c-i801.ko.xz",
            "kernel/drivers/hwmon/coretemp.ko.xz",
        ];
        assert!(paths.is_sorted_by_key(|path| of(path)));
        assert_eq!(of(paths[4]), Class::Rest);
    }

    #[test]
    fn controllers_search_and_disks_of_their_own_do_not() {
        let searching = ["kernel/drivers/ata/ahci.ko", "kernel/drivers/nvme/host/nvme.ko"];
        assert!(searching.into_iter().all(searches));
        let others = ["kernel/drivers/block/virtio_blk.ko", "kernel/drivers/net/virtio_net.ko"];
        assert!(!others.into_iter().any(searches));
    }
}
