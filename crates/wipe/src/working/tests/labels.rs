//! Labels of ZFS and Ceph, byte for byte as their own programs write them.

/// Returns what a device of a ZFS pool has in each of its four labels of 256 KiB: a boot block, the name-value list,
/// the ring of uberblocks, all with their checksums.
pub(super) fn zfs(offset: u64) -> Vec<u8> {
    const GUID: u64 = 0x1122_3344_5566_7788;

    let mut list = vec![1, 1, 0, 0];
    let vdev = {
        let mut vdev = vec![0, 0, 0, 0, 0, 0, 0, 1];
        vdev.extend(string("type", "disk"));
        vdev.extend(number("id", 0));
        vdev.extend(number("guid", GUID + 1));
        vdev.extend(number("ashift", 12));
        vdev.extend([0; 8]);
        vdev
    };
    list.extend([0, 0, 0, 0, 0, 0, 0, 1]);
    list.extend(number("version", 5000));
    list.extend(string("name", "tank"));
    list.extend(number("state", 0));
    list.extend(number("txg", 4));
    list.extend(number("pool_guid", GUID));
    list.extend(number("guid", GUID + 1));
    list.extend(pair("vdev_tree", 19, &vdev));
    list.extend([0; 8]);
    list.resize((112 << 10) - 40, 0);
    let list = checked(list, offset + (16 << 10));

    let mut label = vec![0; 16 << 10];
    label.extend(list);
    for slot in 0..32_u64 {
        let mut block = Vec::new();
        for number in [0x00ba_b10c, 5000, slot + 1, GUID.wrapping_mul(2), 1_700_000_000 + slot] {
            block.extend(number.to_le_bytes());
        }
        block.resize(4096 - 40, 0);
        label.extend(checked(block, offset + (128 << 10) + slot * 4096));
    }
    label
}

/// A block with its embedded checksum: SHA-256 over the block whose trailer has the place instead of the sum.
fn checked(mut block: Vec<u8>, place: u64) -> Vec<u8> {
    use sha2::Digest as _;

    block.extend(0x0210_da7a_b10c_7a11_u64.to_le_bytes());
    let end = block.len();
    block.extend(place.to_le_bytes());
    block.extend([0; 24]);
    let sum = sha2::Sha256::digest(&block);
    // Four numbers, big endian in the digest and little endian on the disk.
    for (to, from) in block[end..].chunks_mut(8).zip(sum.chunks(8)) {
        to.copy_from_slice(from);
        to.reverse();
    }
    block
}

/// A pair of an XDR name-value list: both lengths, the name, the kind, how many, the value.
fn pair(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    let padded = name.len().next_multiple_of(4);
    let size = u32::try_from(8 + 4 + padded + 8 + value.len()).unwrap_or_default();
    let mut bytes = size.to_be_bytes().to_vec();
    bytes.extend(size.to_be_bytes());
    bytes.extend(u32::try_from(name.len()).unwrap_or_default().to_be_bytes());
    bytes.extend(name.bytes());
    bytes.resize(12 + padded, 0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(1_u32.to_be_bytes());
    bytes.extend(value);
    bytes
}

fn number(name: &str, value: u64) -> Vec<u8> {
    pair(name, 8, &value.to_be_bytes())
}

fn string(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = u32::try_from(value.len()).unwrap_or_default().to_be_bytes().to_vec();
    bytes.extend(value.bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    pair(name, 9, &bytes)
}

/// Returns the label of a `BlueStore` device of `size` bytes, a block of 4 KiB (`bluestore_bdev_label_t`).
pub(super) fn ceph(size: u64) -> Vec<u8> {
    let uuid = "0f0e0d0c-0b0a-0908-0706-050403020100";
    let text = |text: &str| {
        [&u32::try_from(text.len()).unwrap_or_default().to_le_bytes()[..], text.as_bytes()].concat()
    };
    let mut body: Vec<u8> = (0..16).rev().collect();
    body.extend(size.to_le_bytes());
    body.extend(1_700_000_000_u32.to_le_bytes());
    body.extend(7_u32.to_le_bytes());
    body.extend(text("main"));
    body.extend(2_u32.to_le_bytes());
    for word in ["ceph_fsid", "00010203-0405-0607-0809-0a0b0c0d0e0f", "multi", "yes"] {
        body.extend(text(word));
    }
    let mut label = format!("bluestore block device\n{uuid}\n").into_bytes();
    label.extend([2, 1]);
    label.extend(u32::try_from(body.len()).unwrap_or_default().to_le_bytes());
    label.extend(body);
    label.extend(crc32c(&label).to_le_bytes());
    label.resize(4096, 0);
    label
}

/// CRC-32C as Ceph seeds it, without the inversion at the end.
fn crc32c(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0x82f6_3b78 * (sum & 1)))
    })
}
