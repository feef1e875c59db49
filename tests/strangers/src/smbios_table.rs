//! Any SMBIOS table with any entry point, as a machine's firmware may leave them.

use std::fs;

use inventory::{Root, collect_fast};

/// What is read is an inventory that is JSON, without a probe that panicked.
pub fn check(bytes: &[u8]) {
    let Some((length, bytes)) = bytes.split_first() else { return };
    let (entry_point, table) = bytes.split_at(usize::from(*length).min(bytes.len()));
    let directory = tempfile::tempdir().expect("a directory for a table");
    let tables = directory.path().join("sys/firmware/dmi/tables");
    fs::create_dir_all(&tables).expect("a directory of our own");
    fs::write(tables.join("DMI"), table).expect("a file of our own");
    fs::write(tables.join("smbios_entry_point"), entry_point).expect("a file of our own");
    let found = collect_fast(&Root::captured(directory.path()));
    let panicked = found.gaps.iter().find(|gap| gap.reason.contains("panicked"));
    assert_eq!(panicked, None);
    let written = serde_json::to_vec(&found).expect("an inventory is JSON");
    let again: protocol::Inventory =
        serde_json::from_slice(&written).expect("what we write can be read");
    assert_eq!(again, found);
    let shown = inventory::table(&found);
    assert!(!shown.chars().any(|shown| shown.is_control() && shown != '\n'), "{shown:?}");
}

/// A machine with a system, a board, a chassis, a processor and two memory slots.
pub fn seeds() -> Vec<Vec<u8>> {
    let uuid: Vec<u8> = (0..16).collect();
    let mut memory = [0; 0x5c - 4];
    memory[0x08..0x0a].copy_from_slice(&0x4000_u16.to_le_bytes());
    memory[0x0c] = 1;
    memory[0x0e] = 0x22;
    let mut processor = [0; 0x30 - 4];
    processor[..4].copy_from_slice(&[1, 3, 0xb3, 2]);
    processor[0x14] = 0x41;
    let table = [
        structure(
            0,
            &[1, 2, 0, 0xe8, 3, 0xff, 0, 0, 0, 0, 0, 0, 0, 0],
            &["ACME", "1.0", "01/02/2026"],
        ),
        structure(
            1,
            &[&[1, 2, 0, 3], uuid.as_slice(), &[6, 0, 0]].concat(),
            &["ACME", "Rocket", " S 1 "],
        ),
        structure(2, &[1, 2, 0, 3], &["ACME", "Board", "B 1"]),
        structure(3, &[1, 0x17, 0, 2, 0, 3, 3, 3, 3], &["ACME", "C 1"]),
        structure(4, &processor, &["CPU 0", "ACME Fast"]),
        structure(16, &[3, 3, 3, 0, 0, 0, 0, 0xfe, 0xff, 2, 0], &[]),
        structure(17, &memory, &["DIMM A"]),
        structure(17, &[0; 0x5c - 4], &["DIMM B"]),
        structure(127, &[], &[]),
    ]
    .concat();
    let entry_points = [&b"_SM3_\0\x18\x03\x03\0"[..], b"_SM_\0\x1f\x02\x08", b""];
    let input = |entry_point: &&[u8]| {
        let length = u8::try_from(entry_point.len()).expect("entry points are short");
        [&[length], *entry_point, &table].concat()
    };
    entry_points.iter().map(input).collect()
}

/// Builds one structure: its kind, its fields from offset 4, its strings.
fn structure(kind: u8, fields: &[u8], strings: &[&str]) -> Vec<u8> {
    let length = u8::try_from(fields.len() + 4).expect("structures are short");
    let mut bytes = vec![kind, length, kind, 0];
    bytes.extend(fields);
    for string in strings {
        bytes.extend(string.bytes());
        bytes.push(0);
    }
    if strings.is_empty() {
        bytes.push(0);
    }
    bytes.push(0);
    bytes
}
