//! Numbers and texts in what devices answer. What an answer is too short for is zero.

use std::fmt::Write as _;

/// Returns a byte.
pub(super) fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// Returns a little-endian number of up to 16 bytes.
pub(super) fn little(bytes: &[u8], at: usize, length: usize) -> u128 {
    (at..at + length).rev().fold(0, |number, at| number << 8 | u128::from(byte(bytes, at)))
}

/// Returns a little-endian number of 2 bytes.
pub(super) fn little16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([byte(bytes, at), byte(bytes, at + 1)])
}

/// Returns a little-endian number of 4 bytes.
pub(super) fn little32(bytes: &[u8], at: usize) -> u32 {
    u32::from(little16(bytes, at)) | u32::from(little16(bytes, at + 2)) << 16
}

/// Returns a little-endian number of 8 bytes.
pub(super) fn little64(bytes: &[u8], at: usize) -> u64 {
    u64::from(little32(bytes, at)) | u64::from(little32(bytes, at + 4)) << 32
}

/// Returns a big-endian number of 2 bytes.
pub(super) fn big16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([byte(bytes, at), byte(bytes, at + 1)])
}

/// Returns a big-endian number of 4 bytes.
pub(super) fn big32(bytes: &[u8], at: usize) -> u32 {
    u32::from(big16(bytes, at)) << 16 | u32::from(big16(bytes, at + 2))
}

/// Returns a big-endian number of 8 bytes.
pub(super) fn big64(bytes: &[u8], at: usize) -> u64 {
    u64::from(big32(bytes, at)) << 32 | u64::from(big32(bytes, at + 4))
}

/// Returns a text that is padded with spaces; absent where nothing printable is there.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let text: String = bytes
        .iter()
        .filter(|byte| byte.is_ascii_graphic() || **byte == b' ')
        .map(|byte| char::from(*byte))
        .collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Returns bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut digits, byte| {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_their_order_and_missing_bytes_are_zero() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(little16(&bytes, 1), 0x0302);
        assert_eq!(little32(&bytes, 0), 0x0403_0201);
        assert_eq!(little64(&bytes, 1), 0x0908_0706_0504_0302);
        assert_eq!(little(&bytes, 0, 3), 0x03_0201);
        assert_eq!(big16(&bytes, 0), 0x0102);
        assert_eq!(big32(&bytes, 1), 0x0203_0405);
        assert_eq!(big64(&bytes, 0), 0x0102_0304_0506_0708);
        assert_eq!((little16(&bytes, 8), big64(&bytes, 20)), (9, 0));
    }

    #[test]
    fn a_text_loses_its_padding_and_what_cannot_be_printed() {
        assert_eq!(text(b"  QEMU\0 disk  ").as_deref(), Some("QEMU disk"));
        assert_eq!(text(b"   \0\xff"), None);
        assert_eq!(hex(&[0, 0xab]), "00ab");
    }
}
