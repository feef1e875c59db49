//! Fields of foreign structures: numbers, texts, UUIDs. Absent where the bytes end.

/// Returns `N` bytes at `offset`.
pub(crate) fn array<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

pub(crate) fn le16(bytes: &[u8], offset: usize) -> Option<u16> {
    array(bytes, offset).map(u16::from_le_bytes)
}

pub(crate) fn le32(bytes: &[u8], offset: usize) -> Option<u32> {
    array(bytes, offset).map(u32::from_le_bytes)
}

pub(crate) fn le64(bytes: &[u8], offset: usize) -> Option<u64> {
    array(bytes, offset).map(u64::from_le_bytes)
}

pub(crate) fn be16(bytes: &[u8], offset: usize) -> Option<u16> {
    array(bytes, offset).map(u16::from_be_bytes)
}

pub(crate) fn be32(bytes: &[u8], offset: usize) -> Option<u32> {
    array(bytes, offset).map(u32::from_be_bytes)
}

pub(crate) fn be64(bytes: &[u8], offset: usize) -> Option<u64> {
    array(bytes, offset).map(u64::from_be_bytes)
}

/// Holds when every byte is zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}

/// Returns the printable text in a field up to its first NUL byte, without the blanks at its end; `None` when empty.
pub(crate) fn text(bytes: &[u8], offset: usize, length: usize) -> Option<String> {
    let field = bytes.get(offset..offset.checked_add(length)?)?;
    let field = field.split(|byte| *byte == 0).next().unwrap_or_default();
    printable(&String::from_utf8_lossy(field))
}

/// Returns the text of a UTF-16 field, little endian, up to its first NUL; `None` when empty.
pub(crate) fn text16(bytes: &[u8], offset: usize, length: usize) -> Option<String> {
    let field = bytes.get(offset..offset.checked_add(length)?)?;
    let (pairs, _) = field.as_chunks::<2>();
    let units = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).take_while(|unit| *unit != 0);
    let text: String =
        char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    printable(&text)
}

/// A label goes into logs and onto terminals: control characters are left out.
fn printable(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|character| !character.is_control()).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Returns a UUID in the order of its bytes (RFC 9562 §4); `None` when it is zero.
pub(crate) fn uuid(bytes: &[u8], offset: usize) -> Option<String> {
    let value = u128::from_be_bytes(array(bytes, offset)?);
    (value != 0).then(|| hyphenate(value))
}

/// Returns a GUID, whose first three fields are little endian (UEFI appendix A); `None` when it is zero.
pub(crate) fn guid(bytes: &[u8], offset: usize) -> Option<String> {
    let mut value: [u8; 16] = array(bytes, offset)?;
    value[0..4].reverse();
    value[4..6].reverse();
    value[6..8].reverse();
    uuid(&value, 0)
}

fn hyphenate(value: u128) -> String {
    let digits = format!("{value:032x}");
    [0..8, 8..12, 12..16, 16..20, 20..32].map(|group| &digits[group]).join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_end_where_the_bytes_end() {
        assert_eq!(le32(&[1, 0, 0, 0], 0), Some(1));
        assert_eq!(le32(&[1, 0, 0, 0], 1), None);
        assert_eq!(le32(&[1, 0, 0, 0], usize::MAX), None);
        assert_eq!(text(b"abc", 1, 5), None);
    }

    #[test]
    fn uuids_have_two_byte_orders() {
        let bytes: Vec<u8> = (0..16).collect();
        assert_eq!(uuid(&bytes, 0).as_deref(), Some("00010203-0405-0607-0809-0a0b0c0d0e0f"));
        assert_eq!(guid(&bytes, 0).as_deref(), Some("03020100-0504-0706-0809-0a0b0c0d0e0f"));
        assert_eq!(uuid(&[0; 16], 0), None);
    }

    #[test]
    fn labels_are_harmless_on_a_terminal() {
        assert_eq!(text(b"  a\x1b[31mb\0junk", 0, 13).as_deref(), Some("a[31mb"));
        assert_eq!(text(b"\0\0\0\0", 0, 4), None);
    }

    #[test]
    fn zero_is_zero_to_the_last_byte() {
        for length in 0..40 {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes));
            for index in 0..length {
                bytes[index] = 1;
                assert!(!is_zero(&bytes), "{length} {index}");
                bytes[index] = 0;
            }
        }
    }
}
