//! A foreign image, packed in whatever it says that it is packed in.

use std::io::Read;

/// More than any input of a fuzzer needs, and little enough for its memory.
const WINDOW_LIMIT: u64 = 1 << 20;
const OUTPUT_LIMIT: u64 = 16 << 20;

/// Once reading has failed it fails for ever; a raw image that ended well has whole sectors.
pub fn check(bytes: &[u8]) {
    let (mut content, is_raw) = match image::open(bytes, WINDOW_LIMIT) {
        Ok(image::Content::Raw(content)) => (content, true),
        Ok(image::Content::Qcow2(content)) => (content, false),
        Err(_) => return,
    };
    let mut buffer = [0; 10_007];
    while content.delivered_bytes() < OUTPUT_LIMIT {
        match content.read(&mut buffer) {
            Ok(0) => {
                assert!(!is_raw || content.delivered_bytes().is_multiple_of(512), "half a sector");
                return;
            }
            Ok(_) => {}
            Err(_) => {
                assert!(content.read(&mut buffer).is_err(), "a clean end after an error");
                return;
            }
        }
    }
}

/// What the tools make of a small disk, and two of its bare sectors.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        include_bytes!("../data/image/disk.gz").as_slice(),
        include_bytes!("../data/image/disk.xz"),
        include_bytes!("../data/image/disk.bz2"),
        include_bytes!("../data/image/disk.zst"),
        include_bytes!("../data/image/disk.lz4"),
        include_bytes!("../data/image/disk.tar"),
        include_bytes!("../data/image/sparse.tar"),
        include_bytes!("../data/image/sparse-old.tar"),
        &[0; 1024],
    ]
    .iter()
    .map(|seed| seed.to_vec())
    .collect()
}
