//! A qcow2 image, whose tables may lead anywhere.

use std::io::{Cursor, Read};

use image::qcow2::Image;

const OUTPUT_LIMIT: u64 = 4 << 20;

/// It gives as many bytes as its header says, or an error.
pub fn check(bytes: &[u8]) {
    let Ok(image) = Image::open(Cursor::new(bytes)) else { return };
    let expected = image.size_bytes().min(OUTPUT_LIMIT);
    let mut content = Vec::new();
    if image.take(OUTPUT_LIMIT).read_to_end(&mut content).is_ok() {
        assert_eq!(u64::try_from(content.len()), Ok(expected));
    }
}

/// What qemu-img makes of small disks.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        include_bytes!("../data/image/plain.qcow2").as_slice(),
        include_bytes!("../data/image/deflate.qcow2"),
        include_bytes!("../data/image/zstd.qcow2"),
    ]
    .iter()
    .map(|seed| seed.to_vec())
    .collect()
}
