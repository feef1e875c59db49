//! Values that makers leave in many machines, and the one spelling in which values are compared.
//!
//! Sources: facts/discovery.md 2.8 and 9 (the lists of `fwts` and of Digital Rebar), and what boards of the last years show.

use protocol::MacAddress;

/// Serial numbers that say nothing, as [`normalised`] spells them.
const SERIALS: &[&str] = &[
    "asset1234567890",
    "assettag",
    "badindex",
    "baseboardserial",
    "baseboardserialnumber",
    "boardserialnumber",
    "bsn12345678901234567",
    "chassisserial",
    "chassisserialnumber",
    "default",
    "defaultstring",
    "empty",
    "enclosureserialnumber",
    "filledbyoem",
    "fixme",
    "inchassis",
    "insertsn",
    "invalid",
    "mainboardserialnumber",
    "mb1234567890",
    "noassettag",
    "noasset",
    "nodata",
    "none",
    "noserial",
    "noserialnumber",
    "notapplicable",
    "notassigned",
    "notavailable",
    "notdefined",
    "notprovided",
    "notset",
    "notsettable",
    "notspecified",
    "notsupported",
    "null",
    "nvidia",
    "oemserial",
    "oemserialnumber",
    "other",
    "productserial",
    "serial",
    "serialnumber",
    "standard",
    "system",
    "systemproductname",
    "systemserial",
    "systemserialnumber",
    "tobefilled",
    "tobefilledbyoem",
    "tobefilledbyom",
    "undefined",
    "unknow",
    "unknown",
    "unset",
    "unspecified",
    "virtual",
    "xxxxxxxxxxxx",
];

/// Beginnings of serial numbers that a maker or an emulator counts through in every machine.
const SERIAL_PREFIXES: &[&str] =
    &["sernum", "drivescsi", "driveide", "drivesata", "drivevirtio", "tobefilled"];

/// UUIDs that many machines carry, as 32 digits in both byte orders.
const UUIDS: &[&str] = &[
    // American Megatrends' template.
    "03000200040005000006000700080009",
    "00020003000400050006000700080009",
    "12345678123456781234567812345678",
    "12345678123456789012345678901234",
    "1234567812345678123456789abcdef0",
    "123456781234567890abcddeefaabbcc",
    "0123456789abcdef0123456789abcdef",
    "deadbeefdeadbeefdeadbeefdeadbeef",
    "ffffffffffffffffffffffffffffffff",
];

/// MAC addresses that unprogrammed cards and examples carry.
const MACS: &[[u8; 6]] = &[
    [0x00, 0x01, 0x02, 0x03, 0x04, 0x05],
    [0x00, 0x11, 0x22, 0x33, 0x44, 0x55],
    [0x00, 0x12, 0x34, 0x56, 0x78, 0x90],
    [0x00, 0xe0, 0x4c, 0x00, 0x00, 0x00],
    [0x00, 0xe0, 0x4c, 0x00, 0x00, 0x01],
    [0x00, 0xe0, 0x4c, 0x68, 0x00, 0x01],
    [0x00, 0xe0, 0x4c, 0x36, 0x00, 0x01],
    [0x00, 0x00, 0x00, 0x00, 0x00, 0x01],
    [0x00, 0x55, 0x7b, 0xb5, 0x7d, 0xf7],
];

/// Spells a serial number so that equal ones are equal: lower case, letters and digits only.
pub fn normalised(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Holds for serial numbers that cannot be told from those of other machines.
pub fn is_garbage_serial(text: &str) -> bool {
    let text = text.trim();
    let plain = normalised(text);
    plain.len() < 4
        || text.len() > 64
        || text.chars().any(|c| !c.is_ascii() || c.is_ascii_control())
        || SERIALS.contains(&plain.as_str())
        || SERIAL_PREFIXES.iter().any(|prefix| plain.starts_with(prefix))
        || is_emulated(&plain)
        || is_monotonous(&plain)
        || is_counting(&plain)
}

/// Holds for the serial numbers that QEMU gives to disks without one: `QM00001`.
fn is_emulated(plain: &str) -> bool {
    plain
        .strip_prefix("qm")
        .is_some_and(|rest| rest.len() == 5 && rest.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Holds for texts of one character, and for long ones with one exception: `00000000`, `xxxx`, `0000000001`.
fn is_monotonous(plain: &str) -> bool {
    let others = |most: u8| plain.bytes().filter(|&byte| byte != most).take(2).count();
    let allowed = usize::from(plain.len() >= 6);
    // With one exception at most, the usual character is among the first three.
    plain.is_empty() || plain.bytes().take(3).any(|most| others(most) <= allowed)
}

/// Holds for digits in counting order from anywhere: `0123456789`, `1234567890`, `12345678`, `9876543210`.
fn is_counting(plain: &str) -> bool {
    let digits: Vec<u8> = plain.bytes().collect();
    if !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let steps =
        |step: u8| digits.windows(2).all(|pair| (pair[0] - b'0' + step) % 10 == pair[1] - b'0');
    steps(1) || steps(9)
}

/// Holds for WWN, EUI-64 and NGUID values that a device leaves empty or a maker repeats.
pub fn is_garbage_wide_name(digits: &str) -> bool {
    let plain = normalised(digits);
    plain.len() < 16
        || !plain.bytes().all(|digit| digit.is_ascii_hexdigit())
        || is_monotonous(&plain)
        || plain.starts_with("00000000000000")
}

/// Holds for addresses that unprogrammed cards and examples carry.
pub fn is_garbage_mac(mac: MacAddress) -> bool {
    !mac.is_usable() || MACS.contains(&mac.0) || mac.0[3..] == [0; 3] || mac.0[3..] == [0xff; 3]
}

/// Returns the spelling under which a UUID is compared, the same for both byte orders; nothing for garbage.
///
/// Firmware, tools and kernels disagree over the byte order of the first three fields (SMBIOS 3.7, 7.2.1),
/// and DHCP option 97 carries either.
pub fn uuid_key(text: &str) -> Option<String> {
    let plain: String = text.trim().chars().filter(|&c| c != '-').collect();
    if plain.len() != 32 || !plain.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 16];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(plain.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    let other = swapped(bytes);
    if is_garbage_uuid(bytes) || is_garbage_uuid(other) {
        return None;
    }
    Some(super::hexadecimal(&bytes.min(other)))
}

/// Reverses the bytes of the first three fields.
fn swapped(bytes: [u8; 16]) -> [u8; 16] {
    let mut other = bytes;
    other[..4].reverse();
    other[4..6].reverse();
    other[6..8].reverse();
    other
}

fn is_garbage_uuid(bytes: [u8; 16]) -> bool {
    let mut different = bytes.to_vec();
    different.sort_unstable();
    different.dedup();
    let repeats = |length: usize| bytes.chunks(length).all(|chunk| chunk == &bytes[..length]);
    let step = bytes[1].wrapping_sub(bytes[0]);
    let counts = bytes.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
    // Only digits as ASCII: a serial number template instead of a UUID.
    let is_text_template = bytes.starts_with(b"12345678");
    different.len() <= 4
        || repeats(4)
        || repeats(8)
        || counts
        || is_text_template
        // A port's address and nothing else: it says no more than the port does.
        || bytes[..10] == [0; 10]
        || bytes[10..] == [0; 6]
        || bytes.iter().filter(|&&byte| byte == 0).nth(11).is_some()
        || UUIDS.contains(&super::hexadecimal(&bytes).as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_makers_leave_behind_is_garbage() {
        for text in [
            "",
            " ",
            "To be filled by O.E.M.",
            "To Be Filled By O.E.M.",
            "TO BE FILLED BY O.E.M",
            "Default string",
            "  default STRING ",
            "System Serial Number",
            "None",
            "0123456789",
            "1234567890",
            "123456789",
            "Not Specified",
            "Not Applicable",
            "Not Supported",
            "N/A",
            "00000000",
            "0000000000000001",
            "xxxxxxxx",
            "................",
            "SerNum00",
            "QM00001",
            "drive-scsi0",
            "MB-1234567890",
            "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
            "abc",
        ] {
            assert!(is_garbage_serial(text), "{text:?}");
        }
    }

    #[test]
    fn serials_of_real_machines_are_not_garbage() {
        for text in [
            "4Q5HMP2",
            "CZ3408XJ7K",
            "S3Z1NB0K123456",
            "VM6SQ0001234",
            "0A11223",
            "PF2KXYZ1",
            "drydock-one-0001",
        ] {
            assert!(!is_garbage_serial(text), "{text:?}");
        }
    }

    #[test]
    fn uuids_of_many_machines_are_garbage() {
        for text in [
            "",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "03000200-0400-0500-0006-000700080009",
            "00020003-0004-0005-0006-000700080009",
            "12345678-1234-5678-90ab-cddeefaabbcc",
            "0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a",
            "01020304-0102-0304-0102-030401020304",
            "00112233-4455-6677-8899-aabbccddeeff",
            "00010203-0405-0607-0809-0a0b0c0d0e0f",
            "00000000-0000-0000-0000-ac1f6b010203",
            "4c4c4544-0051-3510-8048-000000000000",
            "not a uuid at all but 32 letters",
        ] {
            assert_eq!(uuid_key(text), None, "{text:?}");
        }
    }

    #[test]
    fn unprogrammed_cards_are_garbage() {
        for text in ["00:11:22:33:44:55", "00:e0:4c:00:00:01", "00:1b:21:00:00:00"] {
            assert!(is_garbage_mac(text.parse().unwrap()), "{text}");
        }
        assert!(!is_garbage_mac("3c:ec:ef:01:02:03".parse().unwrap()));
    }

    #[test]
    fn empty_wide_names_are_garbage() {
        for text in
            ["", "0000000000000000", "00000000000000000000000000000000", "5000", "0000000000000001"]
        {
            assert!(is_garbage_wide_name(text), "{text:?}");
        }
        assert!(!is_garbage_wide_name("5002538e40a1b2c3"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,70}") {
            let _judged = (is_garbage_serial(&text), uuid_key(&text), is_garbage_wide_name(&text));
        }

        #[test]
        fn the_key_is_the_same_for_both_byte_orders(bytes: [u8; 16]) {
            let spell = |bytes: [u8; 16]| super::super::hexadecimal(&bytes);
            prop_assert_eq!(uuid_key(&spell(bytes)), uuid_key(&spell(swapped(bytes))));
        }
    }
}
