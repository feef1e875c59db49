//! What an image in the store is made of, before anybody has looked at the signature.

use std::convert::Infallible;

use image::{Chunk, Description, Manifest};

/// Its chunks lie side by side, from the first byte of the image and of the frames to the last.
pub fn check(bytes: &[u8]) {
    let Ok(manifest) = Manifest::parse(bytes) else { return };
    assert_eq!(manifest.encode(), bytes);
    assert!(manifest.verify(&[[0; 32]]).is_err(), "a key whose digest is zeros");
    let (mut offset, mut frame) = (0, 0);
    for entry in manifest.chunks() {
        assert_eq!((entry.bytes.start, entry.frame.start), (offset, frame));
        assert!(!entry.bytes.is_empty() && !entry.frame.is_empty());
        (offset, frame) = (entry.bytes.end, entry.frame.end);
    }
    assert_eq!(offset, manifest.description().image_bytes);
    assert_eq!(frame, manifest.frames_bytes());
}

/// One of three chunks.
pub fn seeds() -> Vec<Vec<u8>> {
    let description = Description {
        name: "debian-13".into(),
        origin: vec!["xz".into(), "raw".into()],
        image_bytes: 2 * 4096 + 512,
        chunk_bytes: 4096,
        sector_bytes: Some(512),
        smallest_disk_bytes: 2 * 4096 + 512,
        sha256: [7; 32],
        partitions: Vec::new(),
    };
    let data = |byte| Chunk::Data { digest: [byte; 32] };
    let chunks = [(data(1), 90), (Chunk::Zeros, 17), (data(2), 60)];
    let signed =
        Manifest::sign(&description, chunks, &[1; 91], |_| Ok::<_, Infallible>(vec![2; 70]));
    vec![signed.expect("its parts agree with each other").encode().to_vec()]
}
