//! xz, as Debian stores modules and as the kernel reads firmware.

use std::io::{self, Read as _};

use liblzma::{
    bufread::{XzDecoder, XzEncoder},
    stream::{Check, Filters, LzmaOptions, Stream},
};

/// The most memory that unpacking takes in the kernel, at the worst moment of a small machine.
const DICTIONARY_BYTES: u32 = 1 << 20;

/// Packs bytes for the kernel, which checks no other sum than this. Linux, `Documentation/staging/xz.rst`.
pub(crate) fn pack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut options = LzmaOptions::new_preset(6)?;
    options.dict_size(DICTIONARY_BYTES);
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let stream = Stream::new_stream_encoder(&filters, Check::Crc32)?;
    let mut packed = Vec::new();
    XzEncoder::new_stream(bytes, stream).read_to_end(&mut packed)?;
    Ok(packed)
}

/// Unpacks bytes.
pub(crate) fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    XzDecoder::new(bytes).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_again_with_the_kernels_kind_of_sum() {
        let bytes = b"firmware ".repeat(1000);
        let packed = pack(&bytes).unwrap();
        // The xz file format, 2.1.1: magic, a zero, the kind of check: 1 is CRC32.
        assert_eq!(packed[..8], *b"\xfd7zXZ\0\0\x01");
        assert!(packed.len() < bytes.len() / 10);
        assert_eq!(unpack(&packed).unwrap(), bytes);
        assert!(unpack(&packed[..packed.len() - 1]).is_err());
    }
}
