//! Images as they come: of a store, packed, with a map.

use std::{fs, io::Write as _, num::NonZeroUsize, path::Path};

use image::{Manifest, convert};
use ring::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};

pub(crate) const MIB: usize = 1 << 20;
const PREFIX: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

/// Returns bytes that do not compress, and zeros in every other MiB from the second on; zeros at the end.
pub(crate) fn disk(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let is_zero = bytes.len() / MIB % 8 == 3 || bytes.len() + MIB >= length;
        bytes.extend_from_slice(&if is_zero { [0; 8] } else { state.to_le_bytes() });
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(digest(&SHA256, bytes).as_ref())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("a Vec takes everything");
    encoder.finish().expect("a Vec takes everything")
}

/// Makes `manifest` and `frames` in a directory; returns the pin of the key that signed.
pub(crate) fn make(directory: &Path, bytes: &[u8]) -> String {
    let options = convert::Options {
        name: "disk".to_owned(),
        origin: vec!["raw".to_owned()],
        chunk_bytes: 1 << 20,
        level: 1,
        threads: NonZeroUsize::MIN,
    };
    let mut frames = Vec::new();
    let draft = convert::convert(bytes, &mut frames, &options).expect("the image is sound");
    let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key is made");
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random);
    let pair = pair.expect("the key was just made");
    let info = [PREFIX, pair.public_key().as_ref()].concat();
    let sign = |message: &[u8]| pair.sign(&random, message).map(|bytes| bytes.as_ref().to_vec());
    let manifest: Manifest = draft.sign(&info, sign).expect("the key signs");
    fs::create_dir_all(directory).expect("a directory is made");
    fs::write(directory.join("manifest"), manifest.encode()).expect("a file is written");
    fs::write(directory.join("frames"), frames).expect("a file is written");
    sha256(&info)
}

/// Returns a map in which every block of 4 KiB that is not zeros stands by itself.
pub(crate) fn map(bytes: &[u8]) -> String {
    let (mut ranges, mut count) = (String::new(), 0);
    for (index, block) in bytes.chunks(4096).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            count += 1;
            let digest = sha256(block);
            let range = ["<Range chksum=\"", &digest, "\"> ", &index.to_string(), " </Range>\n"];
            ranges.push_str(&range.concat());
        }
    }
    let zeros = "0".repeat(64);
    let text = format!(
        "<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n<ImageSize> {length} </ImageSize>\n\
         <BlockSize> 4096 </BlockSize>\n<BlocksCount> {blocks} </BlocksCount>\n\
         <MappedBlocksCount> {count} </MappedBlocksCount>\n<ChecksumType> sha256 </ChecksumType>\n\
         <BmapFileChecksum> {zeros} </BmapFileChecksum>\n<BlockMap>\n{ranges}</BlockMap>\n</bmap>\n",
        length = bytes.len(),
        blocks = bytes.len().div_ceil(4096),
    );
    text.replacen(&zeros, &sha256(text.as_bytes()), 1)
}
