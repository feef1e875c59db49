//! Maps as bmaptool writes them, and images that are not theirs.

use std::{
    fmt::Write,
    io::{self, Read},
};

use image::bmap::{Bmap, BmapError, MapMismatch};
use proptest::prelude::*;
use ring::digest::{SHA256, digest};

use crate::samples::{Trickle, noise};

fn hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

/// An image of five and a half blocks, two parts of which hold data.
fn image() -> Vec<u8> {
    let mut image = vec![0; 5 * 4096 + 2048];
    image[..8192].copy_from_slice(&noise(1, 8192));
    image[5 * 4096..].copy_from_slice(&noise(2, 2048));
    image
}

/// Its map, laid out as bmaptool 3.6 does.
fn map(image: &[u8]) -> String {
    let map = format!(
        r#"<?xml version="1.0" ?>
<!-- This file contains the block map for an image file, which is basically
     a list of useful (mapped) block numbers in the image file. -->

<bmap version="2.0">
    <!-- Image size in bytes: 22.0 KiB -->
    <ImageSize> {length} </ImageSize>
    <BlockSize> 4096 </BlockSize>
    <BlocksCount> 6 </BlocksCount>
    <MappedBlocksCount> 3     </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <BmapFileChecksum> {zeros} </BmapFileChecksum>
    <BlockMap>
        <Range chksum="{first}"> 0-1 </Range>
        <Range chksum="{second}"> 5 </Range>
    </BlockMap>
</bmap>
"#,
        length = image.len(),
        zeros = "0".repeat(64),
        first = hex(&image[..8192]),
        second = hex(&image[5 * 4096..]),
    );
    sealed(&map)
}

/// With the checksum of the map in its place.
fn sealed(map: &str) -> String {
    map.replacen(&"0".repeat(64), &hex(map.as_bytes()), 1)
}

fn checked(map: &str, image: &[u8]) -> io::Result<Vec<u8>> {
    let map = Bmap::parse(map.as_bytes()).expect("the map is sound");
    let mut bytes = Vec::new();
    map.check(Trickle(image)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn mismatch(image_to_check: &[u8]) -> MapMismatch {
    let error = checked(&map(&image()), image_to_check).expect_err("it is another image");
    MapMismatch::of(&error).expect("the source is sound").clone()
}

#[test]
fn the_image_of_a_map_comes_through_with_zeros_where_the_map_has_nothing() {
    let map = map(&image());
    let parsed = Bmap::parse(map.as_bytes()).unwrap();
    assert_eq!(parsed.image_bytes(), 22_528);
    let places: Vec<_> = parsed.ranges().iter().map(|range| range.bytes.clone()).collect();
    assert_eq!(places, [0..8192, 20_480..22_528]);
    assert!(checked(&map, &image()).unwrap() == image());
}

#[test]
fn a_map_that_bmaptool_made_fits_its_image() {
    let mut image = vec![0; 16 * 4096 + 2048];
    image[..4096].copy_from_slice(&b"boot".repeat(1024));
    image[20_480..32_480].copy_from_slice(&b"data".repeat(3000));
    image[65_536..].copy_from_slice(&b"end!".repeat(512));
    let map = include_str!("../data/bmaptool-3.6.bmap");
    assert!(checked(map, &image).unwrap() == image);
    image[40_960] = 1;
    assert!(checked(map, &image).is_err());
}

#[test]
fn every_changed_byte_of_an_image_is_noticed() {
    for index in (0..image().len()).step_by(97) {
        let mut image = image();
        image[index] ^= 1;
        mismatch(&image);
    }
    let mut image = image();
    image[9000] = 1;
    assert_eq!(mismatch(&image), MapMismatch::NotZeros { offset: 8192 });
}

#[test]
fn an_image_of_another_length_is_another_image() {
    let expected = MapMismatch::Length { expected_bytes: 22_528 };
    assert_eq!(mismatch(&image()[..22_016]), expected);
    assert_eq!(mismatch(&[]), expected);
    assert_eq!(mismatch(&[image(), vec![0; 512]].concat()), expected);
}

#[test]
fn a_changed_map_is_refused() {
    let map = map(&image());
    let changed = map.replace("<ImageSize> 22528", "<ImageSize> 22016");
    assert!(matches!(Bmap::parse(changed.as_bytes()), Err(BmapError::Checksum)));
    for length in 0..map.trim_end().len() {
        assert!(Bmap::parse(&map.as_bytes()[..length]).is_err(), "cut after {length}");
    }
    for index in 0..map.len() {
        let mut bytes = map.clone().into_bytes();
        bytes[index] ^= 1;
        // Only what is no part of the text may change, and nothing is.
        assert!(Bmap::parse(&bytes).is_err(), "byte {index}");
    }
}

#[test]
fn a_map_that_contradicts_itself_is_refused() {
    let map = map(&image());
    let own = map.split("<BmapFileChecksum> ").nth(1).and_then(|rest| rest.get(..64)).unwrap();
    let zeros = map.replacen(own, &"0".repeat(64), 1);
    for (from, to) in [
        ("version=\"2.0\"", "version=\"1.4\""),
        ("> sha256 <", "> sha1 <"),
        ("> 0-1 <", "> 1-0 <"),
        ("> 0-1 <", "> 0-18446744073709551615 <"),
        ("> 0-1 <", "> 4-5 <"),
        ("> 5 <", "> 1 <"),
        ("> 5 <", "> 6 <"),
        ("> 5 <", "> five <"),
        ("> 4096 <", "> 0 <"),
        ("> 3     <", "> 4 <"),
    ] {
        let changed = sealed(&zeros.replace(from, to));
        assert_ne!(changed, map);
        let error = Bmap::parse(changed.as_bytes()).unwrap_err();
        assert!(!matches!(error, BmapError::Checksum), "{from} to {to}: {error}");
    }
}

proptest! {
    #[test]
    fn whatever_a_map_says_nothing_panics(size: u64, block: u64, first: u64, last: u64, count: u64) {
        let text = format!(
            "<bmap version=\"2.0\"><ImageSize>{size}</ImageSize><BlockSize>{block}</BlockSize>\
             <MappedBlocksCount>{count}</MappedBlocksCount><ChecksumType>sha256</ChecksumType>\
             <BmapFileChecksum>{}</BmapFileChecksum><BlockMap><Range chksum=\"{}\">{first}-{last}\
             </Range></BlockMap></bmap>",
            "0".repeat(64), "1".repeat(64),
        );
        drop(Bmap::parse(sealed(&text).as_bytes()));
    }
}
