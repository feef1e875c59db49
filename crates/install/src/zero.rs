//! Whether bytes are zeros, at the speed of the memory.

/// Holds when all bytes are zeros. An empty slice is.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // Sixteen at a time, so that it is done in registers; there is no early end within a block of 4 KiB.
    bytes.chunks(4096).all(|block| {
        let mut words = block.chunks_exact(16);
        let any = words.by_ref().fold(0_u128, |any, word| {
            any | u128::from_ne_bytes(word.try_into().expect("chunks_exact(16) yields 16 bytes"))
        });
        any == 0 && words.remainder().iter().all(|byte| *byte == 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_bit_anywhere_is_not_zero() {
        let mut bytes = vec![0; 10_001];
        assert!(is_zero(&bytes));
        for at in [0, 15, 16, 4095, 4096, 9_999, 10_000] {
            bytes[at] = 0x40;
            assert!(!is_zero(&bytes), "{at}");
            bytes[at] = 0;
        }
    }
}
