//! Device paths: where a boot loader lies (UEFI 2.10 §10.3).

/// Nodes that say by what a thing is reached. UEFI 2.10 §10.3.4.
const MESSAGING: u8 = 3;
/// Nodes that say what part of a medium is meant. UEFI 2.10 §10.3.5.
const MEDIA: u8 = 4;
/// What only an old BIOS can start. UEFI 2.10 §10.3.6.
const BIOS: u8 = 5;
/// The end of the whole path. UEFI 2.10 §10.3.1.
const END: [u8; 4] = [0x7f, 0xff, 4, 0];
/// Type, subtype and length stand before every node's data.
const HEAD_BYTES: usize = 4;
/// A hard drive node, head included.
const HARD_DRIVE_BYTES: u16 = 42;

/// A partition of a disk, as the firmware finds it again: it compares all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HardDrive {
    /// Its number in the table, from 1.
    pub partition: u32,
    /// Where it starts, in logical sectors of the disk.
    pub first_sector: u64,
    /// How many sectors it has.
    pub sectors: u64,
    /// What tells it from partitions of other disks.
    pub identity: Identity,
}

/// What tells a partition from those of other disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The partition's own GUID, as stored in the GPT.
    Guid([u8; 16]),
    /// The disk's signature in its MBR.
    Mbr(u32),
}

/// Says that a file cannot be named in a device path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is no path that firmware can be told")]
pub struct PathError {
    path: String,
}

/// Returns the short-form path of a file: partition, file, end. The firmware looks for the partition on every disk.
/// The file is spelled with backslashes from the filesystem's root.
pub fn to_file(drive: &HardDrive, file: &str) -> Result<Vec<u8>, PathError> {
    let error = || PathError { path: file.chars().take(80).collect() };
    if !file.starts_with('\\') || file.chars().any(char::is_control) {
        return Err(error());
    }
    let mut path = node(drive);
    let name: Vec<u8> = file.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let length = u16::try_from(name.len() + HEAD_BYTES).map_err(|_| error())?;
    path.extend([MEDIA, 4]);
    path.extend(length.to_le_bytes());
    path.extend(name);
    path.extend(END);
    Ok(path)
}

/// Returns a partition as a node of a path.
fn node(drive: &HardDrive) -> Vec<u8> {
    let mut node = vec![MEDIA, 1];
    node.extend(HARD_DRIVE_BYTES.to_le_bytes());
    node.extend(drive.partition.to_le_bytes());
    node.extend(drive.first_sector.to_le_bytes());
    node.extend(drive.sectors.to_le_bytes());
    match drive.identity {
        Identity::Guid(guid) => {
            node.extend(guid);
            node.extend([2, 2]);
        }
        Identity::Mbr(signature) => {
            node.extend(signature.to_le_bytes());
            node.extend([0; 12]);
            node.extend([1, 1]);
        }
    }
    node
}

/// Holds for a path to the same file as another one, on one of these partitions.
pub(super) fn is_same_file(path: &[u8], other: &[u8], drives: &[HardDrive]) -> bool {
    let file = other.get(usize::from(HARD_DRIVE_BYTES)..);
    drives.iter().any(|drive| {
        let named = path.strip_prefix(&node(drive)[..]);
        named.is_some() && named == file
    })
}

/// Returns the partition that a path leads through; nothing where it leads through none, or through one that has no name.
pub(super) fn partition(path: &[u8]) -> Option<Identity> {
    let node = nodes(path).find(|node| (node.kind, node.subtype) == (MEDIA, 1))?;
    // Number, start and length stand before the signature, its format and its type behind (UEFI 2.10 §10.3.5.1).
    let (signature, kinds) = node.data.get(20..38)?.split_at(16);
    match kinds {
        [_, 1] => {
            let (signature, _) = signature.split_first_chunk()?;
            Some(Identity::Mbr(u32::from_le_bytes(*signature)))
        }
        [_, 2] => Some(Identity::Guid(signature.try_into().ok()?)),
        _ => None,
    }
}

/// Holds for a path over a network port: a MAC address, IPv4, IPv6, a URI, or what an old BIOS calls its network.
pub fn is_network(path: &[u8]) -> bool {
    nodes(path).any(|node| match (node.kind, node.subtype) {
        (MESSAGING, 11 | 12 | 13 | 24) => true,
        (BIOS, 1) => node.data.starts_with(&[6, 0]) || node.data.starts_with(&[0x80, 0]),
        _ => false,
    })
}

struct Node<'p> {
    kind: u8,
    subtype: u8,
    data: &'p [u8],
}

/// Takes a path apart, up to its end or to where it makes no sense.
fn nodes(path: &[u8]) -> impl Iterator<Item = Node<'_>> {
    let mut rest = path;
    std::iter::from_fn(move || {
        let (head, _) = rest.split_first_chunk::<HEAD_BYTES>()?;
        let [kind, subtype, low, high] = *head;
        let length = usize::from(u16::from_le_bytes([low, high]));
        if *head == END || length < HEAD_BYTES {
            return None;
        }
        let (node, others) = rest.split_at_checked(length)?;
        rest = others;
        Some(Node { kind, subtype, data: &node[HEAD_BYTES..] })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_as_the_specification_has_it() {
        let drive = HardDrive {
            partition: 1,
            first_sector: 2048,
            sectors: 196_608,
            identity: Identity::Guid(*b"0123456789abcdef"),
        };
        let path = to_file(&drive, r"\EFI\BOOT\BOOTX64.EFI").unwrap();
        let mut expected = vec![
            4, 1, 42, 0, // media, hard drive, 42 bytes
            1, 0, 0, 0, // first partition
            0, 8, 0, 0, 0, 0, 0, 0, // at sector 0x800
            0, 0, 3, 0, 0, 0, 0, 0, // 0x30000 sectors
        ];
        expected.extend(b"0123456789abcdef");
        expected.extend([2, 2]); // GPT, GUID
        expected.extend([4, 4, 48, 0]); // media, file path, 4 + 2 * 22 bytes
        expected.extend(br"\EFI\BOOT\BOOTX64.EFI".iter().flat_map(|byte| [*byte, 0]));
        expected.extend([0, 0, 0x7f, 0xff, 4, 0]);
        assert_eq!(path, expected);
        assert!(!is_network(&path));
    }

    #[test]
    fn a_disk_with_an_mbr_is_told_by_its_signature() {
        let identity = Identity::Mbr(0x1234_5678);
        let drive = HardDrive { partition: 2, first_sector: 1, sectors: 1, identity };
        let path = to_file(&drive, r"\a").unwrap();
        assert_eq!(path[24..32], [0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0]);
        assert_eq!(path[40..42], [1, 1]);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let identity = Identity::Mbr(1);
        let drive = HardDrive { partition: 1, first_sector: 1, sectors: 1, identity };
        for file in ["", "EFI", "\\a\0b", &format!("\\{}", "x".repeat(40_000))] {
            assert!(to_file(&drive, file).is_err());
        }
    }

    /// `PciRoot(0x0)/Pci(0x3,0x0)/MAC(525400123456,0x1)/IPv4(0.0.0.0)`, as OVMF writes it.
    fn network_path() -> Vec<u8> {
        let mut path = vec![2, 1, 12, 0, 0xd0, 0x41, 0x03, 0x0a, 0, 0, 0, 0, 1, 1, 6, 0, 0, 3];
        path.extend([3, 11, 37, 0, 0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        path.resize(path.len() + 26, 0);
        path.push(1);
        path.extend([3, 12, 27, 0]);
        path.resize(path.len() + 23, 0);
        path.extend(END);
        path
    }

    #[test]
    fn a_network_port_is_seen_wherever_it_stands_and_never_behind_the_end() {
        assert!(is_network(&network_path()));
        assert!(is_network(&[5, 1, 8, 0, 0x80, 0, 0, 0, 0x7f, 0xff, 4, 0]));
        assert!(!is_network(&[0x7f, 0xff, 4, 0, 3, 11, 4, 0]));
        assert!(!is_network(&[3, 11, 3, 0]), "a node shorter than its head");
        assert!(!is_network(&[3, 11, 255, 0]), "a node longer than the path");
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_no_reason_to_panic(bytes: Vec<u8>) {
            is_network(&bytes);
        }
    }
}
