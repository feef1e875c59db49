//! Any disk: its first bytes and its last bytes are whatever the input says, and 4 KiB sectors are tried too.

use std::io::Cursor;

/// A disk that is not all zeros where one looks is never blank.
pub fn check(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let sector = if first & 1 == 0 { 512 } else { 4096 };
    let size = u64::try_from(bytes.len()).expect("a slice's length fits");
    let claimed = if first & 2 == 0 { size } else { size * 2 };
    let content = signature::probe(&mut Cursor::new(bytes), claimed, sector);
    // Shorter than what is looked at: the first and the last MiB.
    if content.blank && bytes.len() <= 1 << 20 {
        assert!(bytes.iter().all(|byte| *byte == 0), "blank, and not empty");
    }
}

/// A blank disk, swap space, a partition table, and two filesystems' magic numbers.
pub fn seeds() -> Vec<Vec<u8>> {
    let disk = |places: &[(usize, &[u8])]| {
        let mut bytes = vec![0; 1 + 32 * 512];
        for (offset, content) in places {
            bytes[1 + offset..][..content.len()].copy_from_slice(content);
        }
        bytes
    };
    let partition = [0x80, 0, 2, 0, 0x83, 0, 0, 0, 8, 0, 0, 0, 64, 0, 0, 0];
    vec![
        disk(&[]),
        disk(&[(4086, b"SWAPSPACE2")]),
        disk(&[(446, &partition), (510, &[0x55, 0xaa])]),
        disk(&[(1024 + 0x38, &[0x53, 0xef])]),
        disk(&[(0, b"XFSB"), (512, b"LABELONE"), (512 + 24, b"LVM2 001")]),
        disk(&[(510, &[0x55, 0xaa]), (512, b"EFI PART\0\0\x01\0\x5c\0\0\0")]),
    ]
}
