//! The medium that the machine started from, as far as its firmware or its command line tells.

use inventory::Root;
use signature::medium;

/// Where the kernel shows the firmware's variables, and the GUID of those that UEFI itself defines.
const VARIABLES: &str = "sys/firmware/efi/efivars";
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// How a partition, or with an MBR its disk, is named in a device path (UEFI 2.10 §10.3.5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signature {
    /// A GPT partition's GUID, as it stands in the table.
    Guid([u8; 16]),
    /// An MBR's disk signature.
    Mbr([u8; 4]),
}

/// Where a medium of ours says that it is one, in bytes.
pub(super) const DESCRIPTOR_AT: u64 = medium::DESCRIPTOR_AT;

/// Holds where the machine was started from a medium of ours. Which of them that was nobody tells, with BIOS above all:
/// each that is there may be it.
pub(super) fn is_ours(root: &Root) -> bool {
    let line = root.text("proc/cmdline").ok().flatten().unwrap_or_default();
    line.split_ascii_whitespace().any(|word| word == "drydock.medium=1")
}

/// Holds when a disk that has these bytes at [`DESCRIPTOR_AT`] is a medium of ours.
pub(super) fn is_one(descriptor: &[u8]) -> bool {
    medium::is_ours(descriptor)
}

/// Returns the partition that the firmware started this system from; `None` where it was no partition, or the firmware
/// does not tell: with BIOS it never does.
pub(super) fn signature(root: &Root) -> Option<Signature> {
    let current = variable(root, "BootCurrent")?;
    let number = u16::from_le_bytes(*current.first_chunk()?);
    let option = variable(root, &format!("Boot{number:04X}"))?;
    hard_drive(&option)
}

/// Returns a variable's value: four bytes of attributes come before it.
fn variable(root: &Root, name: &str) -> Option<Vec<u8>> {
    let bytes = root.bytes(format!("{VARIABLES}/{name}-{GLOBAL}")).ok()??;
    Some(bytes.get(4..)?.to_vec())
}

/// Finds the hard drive node in a load option's device path (UEFI 2.10 §3.1.3): attributes, length of the path,
/// the name in UTF-16 up to a NUL, the path.
fn hard_drive(option: &[u8]) -> Option<Signature> {
    let (units, _) = option.get(6..)?.as_chunks::<2>();
    let name = units.iter().position(|unit| *unit == [0, 0])?;
    let mut path = option.get(6 + 2 * (name + 1)..)?;
    loop {
        let [kind, subtype, low, high] = *path.first_chunk::<4>()?;
        let length = usize::from(u16::from_le_bytes([low, high]));
        if length < 4 || kind == 0x7f {
            return None;
        }
        let node = path.get(..length)?;
        if (kind, subtype) == (4, 1) {
            // Partition number, start, size, signature, format, type of the signature.
            return match node.get(41)? {
                2 => Some(Signature::Guid(node.get(24..40)?.try_into().ok()?)),
                1 => Some(Signature::Mbr(node.get(24..28)?.try_into().ok()?)),
                _ => None,
            };
        }
        path = path.get(length..)?;
    }
}

/// Holds when a disk that begins with these bytes has the partition: its table stands there, GUIDs as they are.
pub(super) fn is_on(signature: &Signature, start: &[u8]) -> bool {
    match signature {
        Signature::Guid(guid) => start.windows(16).any(|window| window == guid),
        Signature::Mbr(number) => {
            *number != [0; 4] && start.get(440..444).is_some_and(|found| found == number)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// `HD(1,GPT,…)/\EFI\BOOT\BOOTX64.EFI` behind a PCI root, as OVMF writes it; or without the hard drive.
    fn option(node: &[u8]) -> Vec<u8> {
        let acpi = [2, 1, 12, 0, 0xd0, 0x41, 3, 0x0a, 0, 0, 0, 0];
        let end = [0x7f, 0xff, 4, 0];
        let name: Vec<u8> = "UEFI disk\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
        [&[1, 0, 0, 0, 70, 0], name.as_slice(), &acpi, node, &end].concat()
    }

    fn node(kind: u8, signature: [u8; 16]) -> Vec<u8> {
        [&[4, 1, 42, 0, 1, 0, 0, 0], &[0; 16][..], &signature, &[2, kind]].concat()
    }

    #[test]
    fn the_firmware_tells_which_partition_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let variables = directory.path().join(VARIABLES);
        fs::create_dir_all(&variables).unwrap();
        let root = Root::captured(directory.path());
        assert_eq!(signature(&root), None);
        fs::write(variables.join(format!("BootCurrent-{GLOBAL}")), [7, 0, 0, 0, 0x0a, 0]).unwrap();
        assert_eq!(signature(&root), None);
        let text = [&[7, 0, 0, 0], option(&node(2, [9; 16])).as_slice()].concat();
        fs::write(variables.join(format!("Boot000A-{GLOBAL}")), text).unwrap();
        assert_eq!(signature(&root), Some(Signature::Guid([9; 16])));
    }

    #[test]
    fn a_network_card_is_no_partition() {
        let mac = [&[3, 11, 37, 0], &[0x52; 33][..]].concat();
        assert_eq!(hard_drive(&option(&mac)), None);
        let number = [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(hard_drive(&option(&node(1, number))), Some(Signature::Mbr([1, 2, 3, 4])));
        assert_eq!(hard_drive(&option(&node(0, [0; 16]))), None);
    }

    #[test]
    fn every_truncation_is_read_without_a_panic() {
        let whole = option(&node(2, [9; 16]));
        for length in 0..whole.len() {
            let _read = hard_drive(&whole[..length]);
        }
    }

    #[test]
    fn a_disk_has_the_partition_where_its_table_names_it() {
        let mut start = vec![0; 34 * 512];
        start[1024 + 16..1024 + 32].copy_from_slice(&[9; 16]);
        start[440..444].copy_from_slice(&[1, 2, 3, 4]);
        assert!(is_on(&Signature::Guid([9; 16]), &start));
        assert!(!is_on(&Signature::Guid([8; 16]), &start));
        assert!(is_on(&Signature::Mbr([1, 2, 3, 4]), &start));
        assert!(!is_on(&Signature::Mbr([0; 4]), &[0; 512]));
    }
}
