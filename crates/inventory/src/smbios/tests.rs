use proptest::prelude::*;

use super::*;

/// Builds one structure: its kind and handle, its fields from offset 4, its strings.
fn structure(kind: u8, handle: u8, fields: &[u8], strings: &[&str]) -> Vec<u8> {
    let length = u8::try_from(fields.len() + 4).unwrap();
    let mut bytes = vec![kind, length, handle, 0];
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

/// A system with a UUID of counted bytes.
fn system() -> Vec<u8> {
    let uuid: Vec<u8> = (0..16).collect();
    let fields = [&[1, 2, 0, 3], uuid.as_slice(), &[6, 0, 0]].concat();
    structure(1, 1, &fields, &["ACME", "Rocket", "  S 1 "])
}

/// A memory device with a size, its extension, and speeds.
fn memory(array: u8, size: u16, extended: u32, speeds: (u16, u32)) -> Vec<u8> {
    let mut fields = vec![0; 0x5c - 4];
    fields[0] = array;
    fields[0x08..0x0a].copy_from_slice(&size.to_le_bytes());
    fields[0x0c] = 1;
    fields[0x0e] = 0x22;
    fields[0x11..0x13].copy_from_slice(&speeds.0.to_le_bytes());
    fields[0x18..0x1c].copy_from_slice(&extended.to_le_bytes());
    fields[0x50..0x54].copy_from_slice(&speeds.1.to_le_bytes());
    structure(17, 9, &fields, &["DIMM A"])
}

fn end() -> Vec<u8> {
    structure(127, 99, &[], &[])
}

fn decode_all(structures: &[Vec<u8>], version: Option<Version>) -> Decoded {
    decode(&structures.concat(), version)
}

/// Returns the tables of real machines that lie beside the repository, if they are there.
#[expect(clippy::disallowed_methods, reason = "tests read their data")]
fn real_tables() -> Vec<Vec<u8>> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let shared = std::env::var("DRYDOCK_SHARED").unwrap_or_else(|_| beside.to_owned());
    let Ok(directory) = std::fs::read_dir(format!("{shared}/machines")) else {
        let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(!is_ci, "{shared}/machines is missing");
        return Vec::new();
    };
    directory
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "dmi"))
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

#[test]
fn the_byte_order_of_the_uuid_follows_the_version() {
    let uuid = |version| decode_all(&[system(), end()], version).system.uuid;
    assert_eq!(uuid(Some((2, 5))).as_deref(), Some("00010203-0405-0607-0809-0a0b0c0d0e0f"));
    for version in [(2, 6), (2, 8), (3, 0)] {
        assert_eq!(uuid(Some(version)).as_deref(), Some("03020100-0504-0706-0809-0a0b0c0d0e0f"));
    }
    let unknown = decode_all(&[system(), end()], None);
    assert_eq!(unknown.system.uuid, None);
    assert_eq!(unknown.gaps[0].what, "system/uuid");
    // A structure that only 2.6 and later have tells as well.
    let told = decode_all(&[system(), memory(1, 1, 0, (0, 0)), end()], None);
    assert_eq!(told.system.uuid.as_deref(), Some("03020100-0504-0706-0809-0a0b0c0d0e0f"));
}

#[test]
fn a_uuid_that_is_not_set_is_absent() {
    for byte in [0, 0xff] {
        let fields = [&[0, 0, 0, 0], [byte; 16].as_slice(), &[6, 0, 0]].concat();
        let decoded = decode_all(&[structure(1, 1, &fields, &[]), end()], Some((3, 0)));
        assert_eq!(decoded.system, System::default());
        assert_eq!(decoded.gaps, []);
    }
}

#[test]
fn versions_are_read_and_three_wrong_ones_corrected() {
    assert_eq!(version(b"_SM3_\0\x18\x03\x03\0"), Some((3, 3)));
    assert_eq!(version(b"_SM_\0\x1f\x02\x08"), Some((2, 8)));
    assert_eq!(version(b"_SM_\0\x1f\x02\x1f"), Some((2, 3)));
    assert_eq!(version(b"_SM_\0\x1f\x02\x21"), Some((2, 3)));
    assert_eq!(version(b"_SM_\0\x1f\x02\x33"), Some((2, 6)));
    for bytes in [&b"_SM_"[..], b"_SM3_\0\x18\x03", b"_DMI_\0\0\0\0\0", b""] {
        assert_eq!(version(bytes), None);
    }
}

#[test]
fn sizes_of_modules_come_in_four_spellings() {
    let size = |size, extended| {
        decode_all(&[memory(1, size, extended, (0, 0)), end()], None)
            .modules
            .first()
            .map(|module| module.size_bytes)
    };
    assert_eq!(size(0, 0), None, "an empty slot has no module");
    assert_eq!(size(0x4000, 0), Some(Some(Bytes(16 << 30))));
    assert_eq!(size(0x8200, 0), Some(Some(Bytes(512 << 10))));
    assert_eq!(size(0x7fff, 0x2_0000), Some(Some(Bytes(128 << 30))));
    assert_eq!(size(0x7fff, 0), Some(None));
    assert_eq!(size(0xffff, 0), Some(None), "there is a module of unknown size");
}

#[test]
fn speeds_beyond_a_word_are_read() {
    let speed = |speeds| {
        decode_all(&[memory(1, 1, 0, speeds), end()], None).modules[0]
            .speed_megatransfers_per_second
    };
    assert_eq!(speed((0, 7)), None);
    assert_eq!(speed((5600, 7)), Some(5600));
    assert_eq!(speed((0xffff, 70_000)), Some(70_000));
    assert_eq!(speed((0xffff, 0)), None);
}

#[test]
fn flash_memory_is_no_slot() {
    let array = |handle, usage| structure(16, handle, &[3, usage, 3, 0, 0, 0, 0], &[]);
    let decoded = decode_all(
        &[
            array(5, 3),
            array(6, 5),
            memory(5, 64, 0, (0, 0)),
            memory(5, 0, 0, (0, 0)),
            memory(6, 16, 0, (0, 0)),
            end(),
        ],
        None,
    );
    assert_eq!(decoded.slots, Some(2));
    assert_eq!(decoded.modules.len(), 1);
    assert_eq!(decoded.modules[0].kind.as_deref(), Some("DDR5"));
}

#[test]
fn only_populated_sockets_have_a_processor() {
    let processor = |kind: u8, status: u8, counts: [u8; 3]| {
        let mut fields = vec![0; 0x30 - 4];
        fields[0x01] = kind;
        fields[0x14] = status;
        fields[0x1f..0x22].copy_from_slice(&counts);
        fields[0x26..0x2c].copy_from_slice(&[0, 1, 0x2c, 1, 0x58, 2]);
        structure(4, 4, &fields, &[])
    };
    let decoded = decode_all(
        &[
            processor(3, 0x41, [8, 6, 12]),
            processor(3, 0x00, [8, 6, 12]),
            processor(4, 0x41, [1, 1, 1]),
            processor(3, 0x41, [0xff; 3]),
            end(),
        ],
        None,
    );
    let counts: Vec<_> =
        decoded.processors.iter().map(|found| (found.cores, found.threads)).collect();
    assert_eq!(counts, [(Some(6), Some(12)), (Some(300), Some(600))]);
}

#[test]
fn a_string_that_is_no_text_is_absent() {
    let mut table = system();
    let at = table.windows(4).position(|window| window == b"ACME").unwrap();
    table[at] = 0xff;
    let decoded = decode_all(&[table, end()], Some((3, 0)));
    assert_eq!(decoded.system.manufacturer, None);
    assert_eq!(decoded.system.product.as_deref(), Some("Rocket"));
    assert_eq!(decoded.system.serial.as_deref(), Some("S 1"));
}

#[test]
fn a_truncated_table_is_a_gap_not_a_panic() {
    let small = [system(), memory(5, 64, 0, (0, 0)), end()].concat();
    for table in real_tables().into_iter().chain([small]) {
        let (sound, _) = sound_length(&table);
        let whole = decode(&table, Some((3, 0)));
        for length in 0..=sound.min(table.len()) {
            let cut = decode(&table[..length], Some((3, 0)));
            assert!(cut.system == whole.system || cut.system == System::default());
            assert!(cut.modules.len() <= whole.modules.len());
            let (kept, complete) = sound_length(&table[..length]);
            assert!(kept <= length);
            assert_eq!(cut.gaps.iter().any(|gap| gap.what == "system"), !complete);
            assert!(complete || length < sound || !whole.gaps.is_empty());
        }
    }
}

#[test]
fn nothing_after_the_end_of_the_table_is_read() {
    let decoded = decode_all(&[system(), end(), memory(5, 64, 0, (0, 0))], Some((3, 0)));
    assert_eq!(decoded.modules, []);
    assert_eq!(decoded.gaps, []);
}

proptest! {
    #[test]
    fn no_table_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _decoded = decode(&bytes, None);
    }

    #[test]
    fn no_mutated_table_panics(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let mut table = [system(), memory(5, 64, 0, (0, 0)), structure(4, 4, &[3; 44], &["CPU"]), end()].concat();
        for (place, byte) in changes {
            let place = place.index(table.len());
            table[place] = byte;
        }
        let _decoded = decode(&table, Some((2, 5)));
    }
}
