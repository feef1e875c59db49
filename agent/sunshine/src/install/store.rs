//! The server's own store: a manifest that is believed or not, and the frames that it speaks of.

use std::{
    io::Read,
    ops::Range,
    thread,
    time::{Duration, Instant},
};

use agent::session::{Bulk, BulkError, Session};
use image::Manifest;
use install::{FetchError, Plan, Source, Stop};
use protocol::Pin;

use super::chain;

/// So long the manifest is asked for: a server's restart.
const PATIENCE: Duration = Duration::from_mins(2);

/// The pause after the first failure; every further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// So soon it is noticed that the order is over.
const STOP_PERIOD: Duration = Duration::from_millis(100);

/// Gets the manifest that was ordered, and checks who vouches for it. Returns its plan, and the file of frames.
pub(super) fn find<'b>(
    bulk: &'b Bulk,
    session: &Session,
    digest: &str,
    stop: Stop<'_>,
) -> Result<(Plan, Frames<'b>), String> {
    let directory = format!("/v1/images/{digest}");
    let limit = u64::try_from(Manifest::LIMIT_BYTES).unwrap_or(u64::MAX);
    let bytes = patiently(stop, PATIENCE, || bulk.get(&format!("{directory}/manifest"), limit))?;
    let manifest = vouched(bytes, digest, session.pins())?;
    Ok((Plan::from(&manifest), Frames { bulk, path: format!("{directory}/frames") }))
}

/// Tries again for a limited time what may work in a moment.
fn patiently<T>(
    stop: Stop<'_>,
    patience: Duration,
    mut attempt: impl FnMut() -> Result<T, BulkError>,
) -> Result<T, String> {
    let (end, mut pause, mut attempts) = (Instant::now() + patience, FIRST_PAUSE, 1_u32);
    loop {
        stop.check().map_err(|stopped| format!("the install was ended: {stopped}"))?;
        let reason = match attempt() {
            Ok(done) => return Ok(done),
            Err(BulkError::Again(reason)) => reason,
            Err(error) => return Err(chain(&error)),
        };
        let next = Instant::now() + pause;
        if next >= end {
            return Err(format!("fetching the manifest, {attempts} times: {reason}"));
        }
        while Instant::now() < next && stop.check().is_ok() {
            thread::park_timeout(STOP_PERIOD.min(next.saturating_duration_since(Instant::now())));
        }
        (pause, attempts) = ((pause * 2).min(LONGEST_PAUSE), attempts + 1);
    }
}

/// Believes a manifest that has the digest of the order and the signature of a pinned key.
fn vouched(bytes: Vec<u8>, digest: &str, pins: &[Pin]) -> Result<Manifest, String> {
    let manifest = Manifest::parse(bytes).map_err(|error| chain(&error))?;
    let found = hexadecimal(&manifest.sha256());
    if found != digest {
        return Err(format!("the server sent manifest {found} instead of {digest}"));
    }
    let pins: Vec<[u8; 32]> = pins.iter().map(|pin| pin.0).collect();
    manifest.verify(&pins).map_err(|error| chain(&error))?;
    Ok(manifest)
}

/// The file of frames, on the server.
#[derive(Debug)]
pub(super) struct Frames<'b> {
    bulk: &'b Bulk,
    path: String,
}

impl Source for Frames<'_> {
    fn fetch(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>, FetchError> {
        match self.bulk.read(&self.path, range) {
            Ok(body) => Ok(Box::new(body)),
            Err(BulkError::Never(reason)) => Err(FetchError::Never { reason }),
            Err(error) => Err(FetchError::Again { reason: error.to_string() }),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use image::{Chunk, Description};
    use ring::{
        digest::{SHA256, digest as hash},
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
    };

    use super::*;

    /// How the `SubjectPublicKeyInfo` of every P-256 key begins (RFC 5480 §2).
    const P256: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

    /// A manifest of one chunk of zeros, its digest, and the pin of the key that signed it.
    fn signed() -> (Vec<u8>, String, Pin) {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
        let signer = [P256, key.public_key().as_ref()].concat();
        let pin = Pin(hash(&SHA256, &signer).as_ref().try_into().unwrap());
        let description = Description {
            name: "debian-13".to_owned(),
            origin: vec!["raw".to_owned()],
            image_bytes: 4096,
            chunk_bytes: 4096,
            sector_bytes: None,
            smallest_disk_bytes: 4096,
            sha256: [0; 32],
            partitions: Vec::new(),
        };
        let sign = |message: &[u8]| key.sign(&random, message).map(|s| s.as_ref().to_vec());
        let manifest = Manifest::sign(&description, [(Chunk::Zeros, 20)], &signer, sign).unwrap();
        let digest = hexadecimal(&manifest.sha256());
        (manifest.encode().to_vec(), digest, pin)
    }

    /// Asks a server that is down so many times and then answers; says what comes of it, and how often it was asked.
    fn asked(down: u32, patience: Duration, stop: Stop<'_>) -> (Result<u32, String>, u32) {
        let mut asked = 0;
        let result = patiently(stop, patience, || {
            asked += 1;
            match asked {
                count if count <= down => Err(BulkError::Again("no route".to_owned())),
                count => Ok(count),
            }
        });
        (result, asked)
    }

    #[test]
    fn a_server_that_restarts_is_asked_for_the_manifest_again() {
        let (found, asked) = asked(3, PATIENCE, Stop::default());
        assert_eq!((found, asked), (Ok(4), 4));
    }

    #[test]
    fn a_server_that_stays_away_is_given_up_with_its_reason() {
        let (found, asked) = asked(u32::MAX, Duration::from_millis(700), Stop::default());
        assert_eq!(found, Err(format!("fetching the manifest, {asked} times: no route")));
        assert!((2..=3).contains(&asked), "{asked}");
    }

    #[test]
    fn a_refusal_is_not_asked_again() {
        let mut asked = 0;
        let refused = patiently(Stop::default(), PATIENCE, || {
            asked += 1;
            Err::<(), _>(BulkError::Never("403".to_owned()))
        });
        assert_eq!((refused, asked), (Err("403".to_owned()), 1));
    }

    #[test]
    fn nobody_is_asked_for_the_manifest_of_an_order_that_is_over() {
        let over = AtomicBool::new(true);
        let stop = Stop { cancelled: Some(&over), deadline: None };
        let ended = Err("the install was ended: it was cancelled".to_owned());
        assert_eq!(asked(0, PATIENCE, stop), (ended, 0));
        // A pause does not hold it up.
        let begun = Instant::now();
        let stop = Stop { cancelled: None, deadline: Some(begun + Duration::from_millis(250)) };
        let (found, _) = asked(u32::MAX, PATIENCE, stop);
        assert!(found.is_err_and(|reason| reason.contains("its time is over")));
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_manifest_is_believed_with_the_digest_of_the_order_and_a_pinned_signature() {
        let (bytes, digest, pin) = signed();
        let other = Pin([7; 32]);
        assert!(vouched(bytes.clone(), &digest, &[other, pin]).is_ok());
        let wrong = vouched(bytes.clone(), &"0".repeat(64), &[pin]).unwrap_err();
        assert!(wrong.contains(&digest), "{wrong}");
        let stranger = vouched(bytes.clone(), &digest, &[other]).unwrap_err();
        assert!(stranger.contains("not pinned"), "{stranger}");
        assert!(vouched(bytes.clone(), &digest, &[]).is_err());
        for length in 0..bytes.len() {
            assert!(vouched(bytes[..length].to_vec(), &digest, &[pin]).is_err(), "{length} bytes");
        }
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            // Even where an order names the changed one, nobody vouches for it.
            let digest = hexadecimal(hash(&SHA256, &changed).as_ref());
            assert!(vouched(changed, &digest, &[pin]).is_err(), "byte {index}");
        }
    }
}
