//! Where an image comes from: the server's own store, or somebody else's server.

use std::{
    io::{self, Read},
    ops::Range,
};

use agent::session::{Bulk, BulkError, Session};
use fetch::{Lasting, Limits, Mirror, Token, Trust};
use image::Manifest;
use install::{FetchError, Foreign, Plan, Source};
use protocol::{Pin, install::Secret};

use super::chain;

/// Gets the manifest that was ordered, and checks who vouches for it. Returns its plan, and the file of frames.
pub(super) fn stored<'b>(
    bulk: &'b Bulk,
    session: &Session,
    digest: &str,
) -> Result<(Plan, Frames<'b>), String> {
    let directory = format!("/v1/images/{digest}");
    let limit = u64::try_from(Manifest::LIMIT_BYTES).unwrap_or(u64::MAX);
    let bytes = bulk.get(&format!("{directory}/manifest"), limit).map_err(|error| chain(&error))?;
    let manifest = vouched(bytes, digest, session.pins())?;
    Ok((Plan::from(&manifest), Frames { bulk, path: format!("{directory}/frames") }))
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

/// Finds a file on other people's servers. Blocks, for a minute where none answers.
pub(super) fn foreign(
    urls: &[String],
    sha256: Option<&str>,
    token: Option<&Secret>,
) -> Result<(Foreign, Vec<Elsewhere>), String> {
    let sha256 = sha256.map(digest).transpose()?;
    let token = token.map(|Secret(word)| Token::new(word)).transpose();
    let token = token.map_err(|error| error.to_string())?;
    let client = fetch::Client::new(&Trust::System, Limits::default());
    let found = fetch::Image::open(&client, urls, sha256, token).map_err(|error| error.chain())?;
    let foreign = Foreign { file_bytes: found.length(), sha256: found.sha256() };
    Ok((foreign, found.into_mirrors().into_iter().map(Elsewhere).collect()))
}

/// One of other people's servers.
#[derive(Debug)]
pub(super) struct Elsewhere(Mirror);

impl Source for Elsewhere {
    fn fetch(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>, FetchError> {
        let body = self.0.read(range).map_err(|error| said(&error))?;
        Ok(Box::new(Body(body)))
    }
}

/// What such a server sends, with its errors as the writer knows them.
struct Body(fetch::Body);

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match fetch::FetchError::of(&error) {
            Some(cause) => io::Error::other(said(cause)),
            None => error,
        })
    }
}

fn said(error: &fetch::FetchError) -> FetchError {
    let reason = error.chain();
    match error.lasting() {
        Lasting::Passing => FetchError::Again { reason },
        Lasting::Replaced => FetchError::Replaced { reason },
        Lasting::Lasting => FetchError::Never { reason },
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn digest(text: &str) -> Result<[u8; 32], String> {
    // An order's inventory is known by a digest of the same form.
    let digest = text.parse::<protocol::InventoryDigest>().map_err(|error| error.to_string())?;
    Ok(digest.0)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn an_order_for_a_file_elsewhere_that_makes_no_sense_asks_nobody() {
        let url = ["http://127.0.0.1:9/image".to_owned()];
        let check = |urls: &[String], sha256: Option<&str>, token: Option<&str>, says: &str| {
            let token = token.map(|word| Secret(word.to_owned()));
            let error = foreign(urls, sha256, token.as_ref()).unwrap_err();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        };
        check(&[], None, None, "");
        check(&["file:///etc/passwd".to_owned()], None, None, "");
        check(&url, Some("abc"), None, "hexadecimal");
        check(&url, None, Some("hunter2\r\nHost: x"), "one line");
        check(&url, None, Some("hunter2"), "https only");
    }
}
