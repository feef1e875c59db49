//! CRC-32 as GPT has it (ISO 3309, reflected, polynomial 0x04c11db7).

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0_u8;
    loop {
        let mut value = u32::from_le_bytes([index, 0, 0, 0]);
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        // `usize::from` is not const: the first byte of an index is the index.
        table[usize::from_le_bytes([index, 0, 0, 0, 0, 0, 0, 0])] = value;
        if index == 255 {
            return table;
        }
        index += 1;
    }
}

/// Returns the checksum of some bytes.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        let [low, ..] = sum.to_le_bytes();
        (sum >> 8) ^ TABLE[usize::from(low ^ byte)]
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue_comes_out() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
