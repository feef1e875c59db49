//! The map of a foreign image, and an image that may be another one.

use std::io::Read;

use image::bmap::Bmap;

/// Of an image that is not the map's there is no clean end.
pub fn check(bytes: &[u8]) {
    let Ok(map) = Bmap::parse(bytes) else { return };
    assert!(map.ranges().iter().all(|range| range.bytes.end <= map.image_bytes()));
    let mut content = Vec::new();
    let read = map.check([].as_slice()).read_to_end(&mut content);
    assert_eq!(read.is_ok(), map.image_bytes() == 0, "an image that is not there");
}

/// One that bmaptool made.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![include_bytes!("../data/image/disk.bmap").to_vec()]
}
