//! What the unpacker does that needs no firmware: it finds the packed kernel in itself, and unpacks it.
//!
//! Section `.payload`: the kernel's length in its file and in memory, 64 bits each, little end first; then one zstd frame.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use ruzstd::decoding::FrameDecoder;

/// In the DOS header: where the PE header is.
const HEADER_AT: usize = 0x3c;
/// Behind the signature `PE\0\0`: how many sections there are, and how long the optional header is.
const SECTIONS_AT: usize = 6;
const OPTIONAL_SIZE_AT: usize = 20;
/// Where the optional header begins; in it, where the program begins.
const OPTIONAL_AT: usize = 24;
const ENTRY_AT: usize = OPTIONAL_AT + 16;
/// One entry of the table of sections.
const ENTRY_BYTES: usize = 40;

/// A packed kernel.
#[derive(Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Bytes of its file.
    pub length: usize,
    /// Bytes that it takes in memory: what is behind its file has to be zeros.
    pub memory: usize,
    packed: &'a [u8],
}

impl<'a> Payload<'a> {
    /// Finds it in a program as it is in memory. `None` where there is none.
    pub fn find(program: &'a [u8]) -> Option<Self> {
        let header = long(program, HEADER_AT)?;
        let count = short(program, header.checked_add(SECTIONS_AT)?)?;
        let table = header + OPTIONAL_AT + short(program, header + OPTIONAL_SIZE_AT)?;
        let entry = (0..count)
            .map(|number| table + number * ENTRY_BYTES)
            .find(|entry| program.get(*entry..entry + 8) == Some(b".payload"))?;
        let (length, at) = (long(program, entry + 8)?, long(program, entry + 12)?);
        let section = program.get(at..at.checked_add(length)?)?;
        let (length, rest) = section.split_first_chunk()?;
        let (memory, packed) = rest.split_first_chunk()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let memory = usize::try_from(u64::from_le_bytes(*memory)).ok()?;
        (length <= memory).then_some(Self { length, memory, packed })
    }

    /// Unpacks it to the beginning of some memory, and fills the rest with zeros. Returns where its first instruction is.
    /// `None` where something is wrong with it.
    pub fn unpack(&self, memory: &mut [u8]) -> Option<usize> {
        let (kernel, behind) = memory.split_at_mut_checked(self.length)?;
        let unpacked = FrameDecoder::new().decode_all(self.packed, kernel).ok()?;
        behind.fill(0);
        let entry = long(kernel, long(kernel, HEADER_AT)?.checked_add(ENTRY_AT)?)?;
        (unpacked == self.length && entry < self.length).then_some(entry)
    }
}

fn short(bytes: &[u8], at: usize) -> Option<usize> {
    let found = bytes.get(at..at.checked_add(2)?)?;
    Some(usize::from(u16::from_le_bytes([found[0], found[1]])))
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    let found = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes([found[0], found[1], found[2], found[3]])).ok()
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    /// A program in memory, with a section of the name at 0x1000 in which a kernel of 600 bytes is that takes 700.
    fn program(name: &[u8; 8], kernel: &[u8]) -> Vec<u8> {
        let mut section = 600_u64.to_le_bytes().to_vec();
        section.extend(700_u64.to_le_bytes());
        section.extend(compress_to_vec(kernel, CompressionLevel::Fastest));
        let mut program = vec![0; 0x1000];
        program[HEADER_AT] = 0x40;
        program[0x40 + SECTIONS_AT] = 2;
        program[0x40 + OPTIONAL_SIZE_AT] = 240;
        let entry = 0x40 + OPTIONAL_AT + 240 + ENTRY_BYTES;
        program[entry..entry + 8].copy_from_slice(name);
        program[entry + 8..entry + 10].copy_from_slice(&(section.len() as u16).to_le_bytes());
        program[entry + 13] = 0x10;
        program.extend(section);
        program
    }

    fn kernel() -> Vec<u8> {
        let mut kernel: Vec<u8> = (0..600_u32).map(|number| (number * number >> 3) as u8).collect();
        kernel[HEADER_AT..HEADER_AT + 4].copy_from_slice(&[0x80, 0, 0, 0]);
        kernel[0x80 + ENTRY_AT..][..4].copy_from_slice(&[0x34, 1, 0, 0]);
        kernel
    }

    #[test]
    fn a_kernel_is_unpacked_with_zeros_behind_it() {
        let program = program(b".payload", &kernel());
        let payload = Payload::find(&program).unwrap();
        assert_eq!((payload.length, payload.memory), (600, 700));
        let mut memory = [0xff; 700];
        assert_eq!(payload.unpack(&mut memory), Some(0x134));
        assert_eq!(memory[..600], kernel());
        assert_eq!(memory[600..], [0; 100]);
    }

    #[test]
    fn what_is_not_whole_is_not_started() {
        assert_eq!(Payload::find(&program(b".another", &kernel())), None);
        let whole = program(b".payload", &kernel());
        for length in 0..whole.len() {
            assert_eq!(Payload::find(&whole[..length]), None, "{length}");
        }
        let short = program(b".payload", &kernel()[..599]);
        assert_eq!(Payload::find(&short).unwrap().unpack(&mut [0; 700]), None);
        assert_eq!(Payload::find(&whole).unwrap().unpack(&mut [0; 599]), None);
        for cut in 1..60 {
            let mut payload = Payload::find(&whole).unwrap();
            payload.packed = &payload.packed[..payload.packed.len() - cut];
            assert_eq!(payload.unpack(&mut [0; 700]), None, "{cut}");
        }
    }
}
