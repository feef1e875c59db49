//! What is saved to a stick, where, and whether it is there: a file in a FAT filesystem, written by a library.
//!
//! Nothing is mounted: a kernel that trips over a stranger's filesystem is the whole machine. Nothing is ever formatted.

use std::{
    fmt,
    io::{self, Read, Seek, Write},
};

use disk::stick::{self, is_stick};
use fatfs::{FileSystem, FsOptions};
use protocol::{
    Inventory,
    inventory::{Content, Disk, Signature},
};

/// What names of files begin with. They lie in the root: the library gives the entries `.` and `..` of a directory that it
/// makes long names, which `fsck.vfat` takes for damage.
const PREFIX: &str = "drydock-";

/// So many files of one name are kept.
const MOST_FILES: u32 = 99;

/// The longest name of a machine that becomes one of a file.
const LONGEST_NAME: usize = 63;

/// A FAT filesystem on a stick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stick {
    disk: Disk,
    partition: Option<u32>,
    start: u64,
    length: u64,
    label: Option<String>,
}

impl fmt::Display for Stick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { disk, partition, label, .. } = self;
        let model = disk.model.as_deref().unwrap_or("USB stick");
        write!(f, "{}: {model}, {}", disk.name, disk.size_bytes)?;
        if let Some(partition) = partition {
            write!(f, ", partition {partition}")?;
        }
        label.as_ref().map_or(Ok(()), |label| write!(f, ", called {label}"))
    }
}

/// Finds the FAT filesystems on sticks. Not on a copy of a CD: the machine may have started from it.
pub(super) fn usable(inventory: &Inventory) -> Vec<Stick> {
    let fat = |signatures: &[Signature]| signatures.iter().find(|one| one.kind == "vfat").cloned();
    let mut sticks = Vec::new();
    for disk in inventory.disks.iter().filter(|disk| is_stick(disk)) {
        let Some(Content { signatures, partitions, .. }) = &disk.content else { continue };
        let all = partitions.iter().flat_map(|partition| &partition.signatures).chain(signatures);
        if all.into_iter().any(|one| one.kind == "iso9660") {
            continue;
        }
        let stick = |partition, start, length, found: Signature| Stick {
            disk: disk.clone(),
            partition,
            start,
            length,
            label: found.label,
        };
        if partitions.is_empty() {
            let whole = fat(signatures);
            sticks.extend(whole.map(|found| stick(None, 0, disk.size_bytes.0, found)));
        }
        for one in partitions {
            let (number, start, length) = (one.number, one.start_bytes.0, one.size_bytes.0);
            sticks.extend(
                fat(&one.signatures).map(|found| stick(Some(number), start, length, found)),
            );
        }
    }
    sticks
}

/// Returns what a machine's file is called: its serial number, else the first port's address, as far as letters, digits
/// and hyphens say it.
pub(super) fn machine_name(inventory: &Inventory) -> String {
    let serial = inventory.system.serial.as_deref().unwrap_or_default();
    let is_plain = |character: &char| character.is_ascii_alphanumeric() || *character == '-';
    let name: String = serial.chars().filter(is_plain).take(LONGEST_NAME).collect();
    if !name.trim_matches('-').is_empty() {
        return name;
    }
    let mut ports = inventory.ports.iter();
    let mac = ports.find_map(|port| port.permanent_mac.or(port.mac));
    let digits = mac.map(|mac| mac.to_string().replace(':', ""));
    digits.map_or_else(|| "machine".to_owned(), |digits| format!("m-{digits}"))
}

/// Puts a file on a stick, and reads it back from there. Returns where it is. Blocks.
pub(super) fn save(stick: &Stick, name: &str, content: &[u8]) -> Result<String, String> {
    let name = &format!("{PREFIX}{name}");
    let mut device = stick::Stick::open(&stick.disk, stick.start, stick.length)
        .map_err(|error| chain(&error))?;
    let name = &free(&mut device, name).map_err(|error| format!("looking: {error}"))?;
    put(&mut device, name, content).map_err(|error| format!("writing: {error}"))?;
    device.settle().map_err(|error| format!("having it on the stick: {error}"))?;
    let found = get(&mut device, name, content.len())
        .map_err(|error| format!("reading it back: {error}"))?;
    if found != content {
        return Err("it reads back otherwise than it was written".to_owned());
    }
    Ok(format!("{name} on {}", stick.disk.name))
}

/// Returns the first of `NAME.json`, `NAME-2.json` and so on that is not there yet: many machines have the same serial number,
/// and a report of an earlier wipe is all that there is of it.
fn free(mut device: impl Read + Write + Seek, name: &str) -> io::Result<String> {
    device.rewind()?;
    let filesystem = FileSystem::new(device, FsOptions::new())?;
    let stem = name.trim_end_matches(".json");
    let names = (2..=MOST_FILES).map(|number| format!("{stem}-{number}.json"));
    for name in std::iter::once(name.to_owned()).chain(names) {
        match filesystem.root_dir().open_file(&name).map(drop) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(name),
            Err(error) => return Err(error),
            Ok(()) => {}
        }
    }
    Err(io::Error::other(format!("there are {MOST_FILES} files of {name} already")))
}

fn put(mut device: impl Read + Write + Seek, name: &str, content: &[u8]) -> io::Result<()> {
    // The library begins where the device stands.
    device.rewind()?;
    let filesystem = FileSystem::new(device, FsOptions::new())?;
    {
        let mut file = filesystem.root_dir().create_file(name)?;
        file.truncate()?;
        file.write_all(content)?;
        file.flush()?;
    }
    filesystem.unmount()
}

/// Reads a file of this length; one byte more where it is longer.
fn get(mut device: impl Read + Write + Seek, name: &str, length: usize) -> io::Result<Vec<u8>> {
    // The library begins where the device stands.
    device.rewind()?;
    let filesystem = FileSystem::new(device, FsOptions::new())?;
    let mut content = Vec::new();
    let file = filesystem.root_dir().open_file(name)?;
    let most = u64::try_from(length).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut content)?;
    Ok(content)
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use protocol::{
        Bytes, MacAddress,
        inventory::{Partition, Port, Transport},
    };

    use super::*;

    fn signature(kind: &str) -> Signature {
        Signature { kind: kind.to_owned(), ..Signature::default() }
    }

    fn disk(signatures: &[&str], partitions: &[&str]) -> Disk {
        let signatures = signatures.iter().map(|kind| signature(kind)).collect();
        let partition = |(number, kind): (u32, &&str)| Partition {
            number,
            start_bytes: Bytes(1 << 20),
            size_bytes: Bytes(1 << 25),
            signatures: vec![signature(kind)],
            ..Partition::default()
        };
        let partitions = (1..).zip(partitions).map(partition).collect();
        Disk {
            name: "sdb".to_owned(),
            size_bytes: Bytes(1 << 26),
            removable: Some(true),
            transport: Some(Transport::Usb),
            content: Some(Content { blank: false, signatures, partitions }),
            ..Disk::default()
        }
    }

    fn found(disk: Disk) -> Vec<Option<u32>> {
        let inventory = Inventory { disks: vec![disk], ..Inventory::default() };
        usable(&inventory).iter().map(|stick| stick.partition).collect()
    }

    #[test]
    fn a_stick_with_fat_is_usable_whole_or_in_a_partition() {
        assert_eq!(found(disk(&["vfat"], &[])), [None]);
        assert_eq!(found(disk(&["mbr"], &["ext4", "vfat"])), [Some(2)]);
    }

    #[test]
    fn neither_other_filesystems_nor_other_disks_nor_the_medium_are_usable() {
        assert_eq!(found(disk(&["exfat"], &[])), []);
        assert_eq!(found(disk(&["iso9660", "mbr"], &["vfat"])), []);
        assert_eq!(found(disk(&["mbr"], &["iso9660", "vfat"])), []);
        for inner in [
            Disk { transport: Some(Transport::Ata), ..disk(&["vfat"], &[]) },
            Disk { removable: Some(false), ..disk(&["vfat"], &[]) },
            Disk { content: None, ..disk(&["vfat"], &[]) },
        ] {
            assert_eq!(found(inner), []);
        }
    }

    #[test]
    fn a_file_is_called_after_its_machine() {
        let named = |serial: Option<&str>| {
            let mut inventory = Inventory::default();
            inventory.system.serial = serial.map(str::to_owned);
            let mac = Some(MacAddress([2, 0, 0, 0, 0, 0xab]));
            inventory.ports.push(Port { mac, ..Port::default() });
            machine_name(&inventory)
        };
        assert_eq!(named(Some("CZ-1/2..\\3")), "CZ-123");
        for serial in [None, Some(""), Some("../.."), Some("--")] {
            assert_eq!(named(serial), "m-0200000000ab", "{serial:?}");
        }
        assert_eq!(named(Some(&"x".repeat(400))).len(), 63);
        assert_eq!(machine_name(&Inventory::default()), "machine");
    }

    #[test]
    fn no_file_is_replaced() {
        let mut bytes = Cursor::new(vec![0; 4 << 20]);
        fatfs::format_volume(&mut bytes, fatfs::FormatVolumeOptions::new()).unwrap();
        for (content, name) in [("1", "a.json"), ("2", "a-2.json"), ("3", "a-3.json")] {
            assert_eq!(free(&mut bytes, "a.json").unwrap(), name);
            put(&mut bytes, name, content.as_bytes()).unwrap();
        }
        assert_eq!(get(&mut bytes, "a.json", 1).unwrap(), b"1");
    }

    #[test]
    fn what_is_written_is_read_back_and_longer_files_become_shorter() {
        let mut bytes = Cursor::new(vec![0; 4 << 20]);
        fatfs::format_volume(&mut bytes, fatfs::FormatVolumeOptions::new()).unwrap();
        let name = "a-machine-with-a-long-name.json";
        for length in [100_000, 10, 0, 5_000] {
            let content = vec![b'x'; length];
            put(&mut bytes, name, &content).unwrap();
            assert_eq!(get(&mut bytes, name, length).unwrap(), content);
        }
    }

    #[test]
    fn a_full_stick_is_an_error() {
        let mut bytes = Cursor::new(vec![0; 1 << 20]);
        fatfs::format_volume(&mut bytes, fatfs::FormatVolumeOptions::new()).unwrap();
        assert!(put(&mut bytes, "a.json", &vec![1; 2 << 20]).is_err());
    }

    #[test]
    fn what_is_no_fat_is_an_error_and_stays_as_it_is() {
        let mut bytes = Cursor::new(vec![7; 1 << 20]);
        assert!(put(&mut bytes, "a.json", b"x").is_err());
        assert!(bytes.into_inner().iter().all(|byte| *byte == 7));
    }
}
