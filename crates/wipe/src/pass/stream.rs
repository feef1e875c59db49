//! A stream of bytes that follow from a key and their offset: made again at any place, by anybody who has the seed.
//!
//! ```text
//! key  = SHA-256(seed ‖ "drydock stream" ‖ disk ‖ pass), of canaries SHA-256(seed ‖ "drydock canary" ‖ disk);
//!        numbers are little-endian, 32 bits
//! byte = ChaCha8 keystream of key, nonce = number of the MiB (64 bits) ‖ 0 (32 bits), at the place in the MiB
//! ```
//!
//! `ChaCha8`, because it is as fast on a processor without AES instructions, and nobody has to be kept from guessing:
//! it only must not repeat, nor be compressed.

use std::fmt;

use chacha20::{
    ChaCha8,
    cipher::{KeyIvInit, StreamCipher, StreamCipherSeek},
};
use protocol::wipe::Seed;
use sha2::{Digest, Sha256};

/// So many bytes have one nonce.
const CELL_BYTES: u64 = 1 << 20;

/// What the stream of one pass over one disk follows from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// Makes the key of a pass, both numbers from 0: the disk's in the order, and the pass's.
    pub fn of(seed: &Seed, disk: u32, pass: u32) -> Self {
        Self::derived(seed, b"drydock stream", disk, &pass.to_le_bytes())
    }

    /// Makes the key of a disk's canaries.
    pub(crate) fn of_canaries(seed: &Seed, disk: u32) -> Self {
        Self::derived(seed, b"drydock canary", disk, &[])
    }

    fn derived(seed: &Seed, label: &[u8], disk: u32, more: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.0);
        hash.update(label);
        hash.update(disk.to_le_bytes());
        hash.update(more);
        Self(hash.finalize().into())
    }

    /// Fills a buffer with the stream from an offset on.
    pub fn fill(&self, offset: u64, buffer: &mut [u8]) {
        let (mut cell, mut place) = (offset / CELL_BYTES, offset % CELL_BYTES);
        let mut rest = buffer;
        while !rest.is_empty() {
            let room = usize::try_from(CELL_BYTES - place).expect("a MiB fits");
            let (now, later) = rest.split_at_mut(rest.len().min(room));
            let mut nonce = [0; 12];
            nonce[..8].copy_from_slice(&cell.to_le_bytes());
            let mut cipher = ChaCha8::new(&self.0.into(), &nonce.into());
            cipher.seek(place);
            cipher.write_keystream(now);
            (cell, place, rest) = (cell + 1, 0, later);
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(key: &Key, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0xaa; length];
        key.fill(offset, &mut bytes);
        bytes
    }

    #[test]
    fn disks_passes_and_seeds_have_streams_of_their_own() {
        let keys = [
            Key::of(&Seed([1; 32]), 0, 0),
            Key::of(&Seed([1; 32]), 0, 1),
            Key::of(&Seed([1; 32]), 1, 0),
            Key::of(&Seed([2; 32]), 0, 0),
        ];
        let mut first: Vec<_> = keys.iter().map(|key| stream(key, 0, 64)).collect();
        first.sort();
        first.dedup();
        assert_eq!(first.len(), 4);
    }

    /// Worked out in Python from the words above, with a `ChaCha` that gives RFC 8439's own block for 20 rounds.
    #[test]
    fn anybody_gets_the_same_stream() {
        let (seed, past_the_middle) = (Seed([5; 32]), (7 << 40) + (1 << 20) - 5);
        let (key, canaries) = (Key::of(&seed, 3, 1), Key::of_canaries(&seed, 3));
        let hex = |key: &Key, offset| {
            let first: [u8; 16] = stream(key, offset, 16).try_into().unwrap();
            format!("{:032x}", u128::from_be_bytes(first))
        };
        assert_eq!(hex(&key, 0), "e0d5ad6481b38d87c0f1c7e062b835c9");
        assert_eq!(hex(&key, past_the_middle), "dddbeb3f340a4cd33e1ea7dc04ad7668");
        assert_eq!(hex(&canaries, 8523 * 4096), "748413afdd02de5a80125bf449b0edfa");
    }

    #[test]
    fn no_block_of_sixteen_bytes_comes_twice() {
        let key = Key::of(&Seed([3; 32]), 0, 0);
        let bytes = stream(&key, CELL_BYTES - (1 << 16), 1 << 17);
        let mut blocks: Vec<_> = bytes.chunks(16).collect();
        blocks.sort_unstable();
        blocks.dedup();
        assert_eq!(blocks.len(), 1 << 13);
    }

    proptest! {
        #[test]
        fn any_part_is_the_same_as_in_the_whole(
            start in 0u64..1 << 40, before in 0usize..5000, length in 0usize..5000
        ) {
            let key = Key::of(&Seed([4; 32]), 5, 6);
            let whole = stream(&key, start, before + length);
            let from = start + u64::try_from(before).unwrap();
            prop_assert_eq!(&stream(&key, from, length), &whole[before..]);
        }
    }
}
