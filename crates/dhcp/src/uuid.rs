//! Option 97: the SMBIOS UUID, whose first three fields stand little-endian on the wire.

/// The type byte that says "a UUID follows". RFC 4578 clause 2.3.
const TYPE_UUID: u8 = 0;

/// Where the bytes of the canonical spelling stand on the wire, behind the type byte.
const WIRE_ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

/// Returns the canonical lower-case text, or nothing where the value is no UUID.
pub(crate) fn from_wire(value: &[u8]) -> Option<String> {
    let (&TYPE_UUID, wire) = value.split_first()? else { return None };
    let wire: &[u8; 16] = wire.try_into().ok()?;
    let mut text = String::with_capacity(36);
    for (index, place) in WIRE_ORDER.into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(digit(wire[place] >> 4));
        text.push(digit(wire[place] & 0x0f));
    }
    Some(text)
}

fn digit(value: u8) -> char {
    char::from_digit(value.into(), 16).expect("four bits are a hexadecimal digit")
}

/// Returns the option's value for a UUID in canonical spelling, or nothing where the text is none.
pub(crate) fn to_wire(text: &str) -> Option<[u8; 17]> {
    let hyphens = [8, 13, 18, 23];
    let well_formed = text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| {
            if hyphens.contains(&index) { byte == b'-' } else { byte.is_ascii_hexdigit() }
        });
    if !well_formed {
        return None;
    }
    let digits: String = text.split('-').collect();
    let mut value = [TYPE_UUID; 17];
    for (index, place) in WIRE_ORDER.into_iter().enumerate() {
        let byte = digits.get(2 * index..2 * index + 2)?;
        value[1 + place] = u8::from_str_radix(byte, 16).ok()?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What OVMF sends for `-uuid 11223344-5566-7788-99aa-bbccddeeff00`.
    const WIRE: [u8; 17] = [
        0, 0x44, 0x33, 0x22, 0x11, 0x66, 0x55, 0x88, 0x77, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
        0xff, 0x00,
    ];

    #[test]
    fn the_first_three_fields_are_little_endian() {
        let text = "11223344-5566-7788-99aa-bbccddeeff00";
        assert_eq!(from_wire(&WIRE).as_deref(), Some(text));
        assert_eq!(to_wire(text), Some(WIRE));
    }

    #[test]
    fn what_is_no_uuid_is_absent() {
        assert_eq!(from_wire(&[]), None);
        assert_eq!(from_wire(&WIRE[..16]), None);
        let mut other_type = WIRE;
        other_type[0] = 1;
        assert_eq!(from_wire(&other_type), None);
        for text in [
            "",
            "11223344-5566-7788-99aa-bbccddeeff0",
            "11223344-5566-7788-99aa-bbccddeeff0é",
            "+1223344-5566-7788-99aa-bbccddeeff00",
            "112233445-566-7788-99aa-bbccddeeff00",
        ] {
            assert_eq!(to_wire(text), None, "{text}");
        }
    }
}
