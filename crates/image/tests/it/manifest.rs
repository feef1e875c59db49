//! Manifests: signed, cut, changed, and such as nobody but an attacker makes.

use image::{Chunk, Description, Manifest, ManifestError, Partition, SignError, SignatureError};
use proptest::prelude::*;
use ring::{
    digest,
    error::Unspecified,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};

/// A key as the server has one.
pub(crate) struct Key {
    pair: EcdsaKeyPair,
    pub(crate) info: Vec<u8>,
    pub(crate) pin: [u8; 32],
}

impl Key {
    pub(crate) fn new() -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key is made");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random)
            .expect("the key was just made");
        let prefix = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
        let info = [prefix.as_slice(), pair.public_key().as_ref()].concat();
        let digest = digest::digest(&digest::SHA256, &info);
        let pin = digest.as_ref().try_into().expect("SHA-256 has 32 bytes");
        Self { pair, info, pin }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let signature = self.pair.sign(&SystemRandom::new(), message)?;
        Ok(signature.as_ref().to_vec())
    }
}

fn description() -> Description {
    Description {
        name: "debian-13".into(),
        origin: vec!["xz".into(), "raw".into()],
        image_bytes: 3 * 4096 + 512,
        chunk_bytes: 4096,
        sector_bytes: Some(512),
        smallest_disk_bytes: 3 * 4096 + 512,
        sha256: [0x5a; 32],
        partitions: vec![Partition {
            number: 1,
            kind: "c12a7328-f81f-11d2-ba4b-00a0c93ec93b".into(),
            guid: None,
            name: Some("ESP".into()),
            offset_bytes: 512,
            size_bytes: 4096,
        }],
    }
}

fn chunks() -> Vec<(Chunk, u32)> {
    let data = |byte| Chunk::Data { digest: [byte; 32] };
    vec![(data(1), 100), (Chunk::Zeros, 17), (data(2), 4200), (data(3), 9)]
}

fn manifest(key: &Key, description: &Description) -> Result<Manifest, SignError<Unspecified>> {
    Manifest::sign(description, chunks(), &key.info, |message| key.sign(message))
}

#[test]
fn what_was_signed_is_read_again() {
    let key = Key::new();
    let manifest = Manifest::parse(manifest(&key, &description()).unwrap().encode()).unwrap();
    assert_eq!(manifest.verify(&[[0; 32], key.pin]), Ok(()));
    assert_eq!(*manifest.description(), description());
    assert_eq!(manifest.frames_bytes(), 4326);
    let entries: Vec<_> = manifest.chunks().collect();
    assert_eq!(entries[1].bytes, 4096..8192);
    assert_eq!(entries[1].frame, 100..117);
    assert_eq!(entries[1].chunk, Chunk::Zeros);
    assert_eq!(entries[3].bytes, 12288..12800);
    assert_eq!(entries[3].frame, 4317..4326);
    assert_eq!(entries[3].chunk, Chunk::Data { digest: [3; 32] });
}

#[test]
fn a_key_that_is_not_pinned_vouches_for_nothing() {
    let (key, other) = (Key::new(), Key::new());
    let manifest = manifest(&key, &description()).unwrap();
    assert_eq!(manifest.verify(&[]), Err(SignatureError::Stranger));
    assert_eq!(manifest.verify(&[other.pin]), Err(SignatureError::Stranger));
    // The pinned key's name under another key's signature.
    let forged =
        Manifest::sign(&description(), chunks(), &key.info, |message| other.sign(message)).unwrap();
    assert_eq!(forged.verify(&[key.pin]), Err(SignatureError::Wrong));
}

#[test]
fn a_signature_of_something_else_is_none() {
    let key = Key::new();
    let signed = Manifest::sign(&description(), chunks(), &key.info, |message| {
        // As if the server signed the digest for another purpose.
        key.sign(&message[message.len() - 32..])
    });
    assert_eq!(signed.unwrap().verify(&[key.pin]), Err(SignatureError::Wrong));
}

#[test]
fn every_cut_is_refused() {
    let manifest = manifest(&Key::new(), &description()).unwrap();
    let bytes = manifest.encode();
    for length in 0..bytes.len() {
        assert!(Manifest::parse(&bytes[..length]).is_err(), "cut after {length}");
    }
    let longer = [bytes, &[0]].concat();
    assert!(matches!(Manifest::parse(longer), Err(ManifestError::Trailing)));
}

#[test]
fn every_flipped_bit_is_refused() {
    let key = Key::new();
    let manifest = manifest(&key, &description()).unwrap();
    for index in 0..manifest.encode().len() {
        for bit in 0..8 {
            let mut bytes = manifest.encode().to_vec();
            bytes[index] ^= 1 << bit;
            if let Ok(changed) = Manifest::parse(bytes) {
                assert!(changed.verify(&[key.pin]).is_err(), "bit {bit} of byte {index}");
            }
        }
    }
}

#[test]
fn what_contradicts_itself_is_not_even_signed() {
    let key = Key::new();
    let mut wrong = Vec::new();
    let mut with = |change: fn(&mut Description)| {
        let mut description = description();
        change(&mut description);
        match manifest(&key, &description) {
            Err(SignError::Manifest(error)) => wrong.push(error.to_string()),
            other => panic!("{other:?}"),
        }
    };
    with(|description| description.name.clear());
    with(|description| description.name.push('\u{1b}'));
    with(|description| description.image_bytes = 0);
    with(|description| description.image_bytes += 1);
    with(|description| description.image_bytes = 1 << 40);
    with(|description| description.image_bytes = u64::MAX - 511);
    with(|description| description.image_bytes = 512);
    with(|description| description.chunk_bytes = 0);
    with(|description| description.chunk_bytes = 1 << 31);
    with(|description| description.sector_bytes = Some(513));
    with(|description| description.smallest_disk_bytes = 512);
    with(|description| description.partitions[0].offset_bytes = u64::MAX);
    with(|description| description.partitions = vec![description.partitions[0].clone(); 1025]);
    assert_eq!(wrong.len(), 13, "{wrong:?}");
}

#[test]
fn a_frame_without_length_or_much_longer_than_a_chunk_is_refused() {
    let key = Key::new();
    for frame_bytes in [0, 4096 + (64 << 10) + 1, u32::MAX] {
        let mut chunks = chunks();
        chunks[0].1 = frame_bytes;
        let signed = Manifest::sign(&description(), chunks, &key.info, |m| key.sign(m));
        assert!(matches!(signed, Err(SignError::Manifest(_))), "{frame_bytes}");
    }
}

proptest! {
    #[test]
    fn whatever_follows_the_magic_nothing_panics(rest in prop::collection::vec(any::<u8>(), 0..500)) {
        drop(Manifest::parse([b"\x89DDIMG\r\n\x01\0\0\0", rest.as_slice()].concat()));
    }

    #[test]
    fn whatever_is_changed_nothing_panics_and_nobody_vouches(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..6),
    ) {
        let key = Key::new();
        let mut bytes = manifest(&key, &description()).unwrap().encode().to_vec();
        let before = bytes.clone();
        for (index, change) in changes {
            let index = index.index(bytes.len());
            bytes[index] ^= change;
        }
        if bytes != before && let Ok(manifest) = Manifest::parse(bytes) {
            prop_assert!(manifest.verify(&[key.pin]).is_err());
        }
    }
}
