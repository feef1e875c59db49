//! One event of the kernel's, read.

/// What happened to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// It came.
    Add,
    /// It went.
    Remove,
    /// It says something about itself: a new size, a medium.
    Change,
    /// Anything else: a driver took it, it got another name.
    Other,
}

/// An event, as far as it matters here. Linux, `lib/kobject_uevent.c`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event<'b> {
    /// What happened.
    pub(super) action: Action,
    /// The device's path below `/sys`, `/devices/…`.
    pub(super) path: &'b str,
    /// Its subsystem; empty where it has none.
    pub(super) subsystem: &'b str,
    /// Its name below `/dev`.
    pub(super) device_name: Option<&'b str>,
    /// Whether it is a disk and no partition; never for what is no block device.
    pub(super) is_whole_disk: bool,
    /// What drivers are chosen by.
    pub(super) modalias: Option<&'b str>,
}

impl<'b> Event<'b> {
    /// Reads an event; nothing where it is no whole one.
    pub(super) fn parse(bytes: &'b [u8]) -> Option<Self> {
        let mut texts = bytes.split(|byte| *byte == 0).filter_map(|text| str::from_utf8(text).ok());
        let (action, path) = texts.next()?.split_once('@')?;
        let action = match action {
            "add" => Action::Add,
            "remove" => Action::Remove,
            "change" => Action::Change,
            _ => Action::Other,
        };
        let mut event = Self {
            action,
            path,
            subsystem: "",
            device_name: None,
            is_whole_disk: false,
            modalias: None,
        };
        for (key, value) in texts.filter_map(|text| text.split_once('=')) {
            match key {
                "SUBSYSTEM" => event.subsystem = value,
                "DEVNAME" => event.device_name = Some(value),
                "DEVTYPE" => event.is_whole_disk = value == "disk",
                "MODALIAS" => event.modalias = Some(value),
                _ => {}
            }
        }
        Some(event)
    }

    /// Holds for devices that software made up.
    pub(super) fn is_virtual(&self) -> bool {
        is_virtual(self.path)
    }
}

/// Holds for devices of software below `/sys/devices/virtual`, however the path is spelt. The namespaces of an NVMe disk
/// with several controllers stand there too, and are real. Linux, `drivers/nvme/host/multipath.c`.
pub(super) fn is_virtual(path: &str) -> bool {
    path.split_once("/devices/virtual/")
        .is_some_and(|(_, rest)| !rest.starts_with("nvme-subsystem/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As a virtio disk was heard under QEMU.
    const DISK: &[u8] = b"add@/devices/pci0000:00/0000:00:04.0/virtio1/block/vda\0ACTION=add\0\
        DEVPATH=/devices/pci0000:00/0000:00:04.0/virtio1/block/vda\0SUBSYSTEM=block\0MAJOR=254\0\
        MINOR=0\0DEVNAME=vda\0DEVTYPE=disk\0DISKSEQ=1\0SEQNUM=1234\0";

    #[test]
    fn a_disk_is_read() {
        let event = Event::parse(DISK).unwrap();
        assert_eq!((event.action, event.subsystem), (Action::Add, "block"));
        assert_eq!((event.device_name, event.is_whole_disk), (Some("vda"), true));
        assert!(!event.is_virtual());
    }

    #[test]
    fn a_disk_with_several_ways_to_it_is_not_made_of_software() {
        assert!(!is_virtual("/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1"));
        assert!(!is_virtual("../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1"));
        assert!(is_virtual("../devices/virtual/block/loop0"));
        assert!(is_virtual("/devices/virtual/net/lo"));
    }

    #[test]
    fn every_truncation_is_read_without_panic() {
        for n in 0..DISK.len() {
            let _read = Event::parse(&DISK[..n]);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _read = Event::parse(&bytes);
        }
    }
}
