//! The key of this boot, and the certificate that shows it: ECDSA over P-256, as every TLS speaks it.
//!
//! Not rcgen: what it can do beside this is some 50 kB of the agent, RSA for one.

use std::sync::Arc;

use ring::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rustls::{
    SignatureAlgorithm, SignatureScheme,
    pki_types::CertificateDer,
    sign::{CertifiedKey, Signer, SigningKey},
};

/// The key cannot be made, or cannot be used: there is no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no randomness")]
pub struct NoRandomness;

/// A key pair that exists only as long as this program.
#[derive(Debug)]
pub struct Key(EcdsaKeyPair);

/// ecdsa-with-SHA256 (RFC 5758 §3.2), id-ecPublicKey and prime256v1 (RFC 5480 §2.1.1), each with its tag.
const ECDSA_WITH_SHA256: [u8; 10] = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const EC_PUBLIC_KEY: [u8; 9] = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const PRIME256V1: [u8; 10] = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// id-at-commonName (RFC 5280 appendix A.1).
const COMMON_NAME: [u8; 5] = [6, 3, 0x55, 4, 3];

const INTEGER: u8 = 2;
const BIT_STRING: u8 = 3;
const UTF8_STRING: u8 = 12;
const UTC_TIME: u8 = 23;
const GENERALIZED_TIME: u8 = 24;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;

impl Key {
    /// Makes one.
    pub fn generate() -> Result<Self, NoRandomness> {
        let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
        let pair = EcdsaKeyPair::generate_pkcs8(kind, &random).map_err(|_| NoRandomness)?;
        // What was just written is read again; only randomness can fail.
        EcdsaKeyPair::from_pkcs8(kind, pair.as_ref(), &random).map(Self).map_err(|_| NoRandomness)
    }

    /// Signs: with SHA-256, as ASN.1 (RFC 3279 §2.2.3).
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, NoRandomness> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        signature.map(|signature| signature.as_ref().to_vec()).map_err(|_| NoRandomness)
    }

    /// Returns the public key as a DER `SubjectPublicKeyInfo`.
    pub fn public(&self) -> Vec<u8> {
        let algorithm = element(SEQUENCE, &[EC_PUBLIC_KEY.as_slice(), &PRIME256V1]);
        let bits = element(BIT_STRING, &[&[0], self.0.public_key().as_ref()]);
        element(SEQUENCE, &[&algorithm, &bits])
    }

    /// Makes a certificate that the key signs itself, valid for ever: the server knows a session by its key alone.
    pub(super) fn certificate(&self) -> Result<CertificateDer<'static>, NoRandomness> {
        let public = self.public();
        let algorithm = element(SEQUENCE, &[&ECDSA_WITH_SHA256]);
        let mut serial = digest(&SHA256, &public).as_ref()[..16].to_vec();
        // Positive, and without zeros in front: RFC 5280 §4.1.2.2, X.690 §8.3.2.
        serial[0] = serial[0] & 0x3f | 0x40;
        let name = [COMMON_NAME.as_slice(), &element(UTF8_STRING, &[b"drydock agent"])];
        let name = element(SEQUENCE, &[&element(SET, &[&element(SEQUENCE, &name)])]);
        let validity = [
            element(UTC_TIME, &[b"750101000000Z"]),
            element(GENERALIZED_TIME, &[b"40960101000000Z"]),
        ];
        let content = [
            element(VERSION, &[&element(INTEGER, &[&[2]])]),
            element(INTEGER, &[&serial]),
            algorithm.clone(),
            name.clone(),
            element(SEQUENCE, &validity.each_ref().map(Vec::as_slice)),
            name,
            public,
        ];
        let content = element(SEQUENCE, &content.each_ref().map(Vec::as_slice));
        let signature = element(BIT_STRING, &[&[0], &self.sign(&content)?]);
        Ok(element(SEQUENCE, &[&content, &algorithm, &signature]).into())
    }

    /// Returns the certificate with what signs for it.
    pub(super) fn certified(self: &Arc<Self>) -> Result<CertifiedKey, NoRandomness> {
        let signs: Arc<dyn SigningKey> = Arc::new(Shown(Arc::clone(self)));
        Ok(CertifiedKey::new(vec![self.certificate()?], signs))
    }
}

/// Writes a DER element of at most 65,535 bytes. X.690 §8.1.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let length = u16::try_from(value.len()).expect("a certificate of this key is short");
    let [high, low] = length.to_be_bytes();
    let head = match length {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head, value].concat()
}

/// The key as TLS asks for it.
#[derive(Debug, Clone)]
struct Shown(Arc<Key>);

impl SigningKey for Shown {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let is_offered = offered.contains(&SignatureScheme::ECDSA_NISTP256_SHA256);
        is_offered.then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for Shown {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.0.sign(message).map_err(|_| rustls::Error::FailedToGetRandomBytes)
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

#[cfg(test)]
mod tests {
    use webpki::EndEntityCert;

    use super::*;

    #[test]
    fn the_certificate_shows_the_key_and_is_signed_by_it() {
        for _ in 0..50 {
            let key = Key::generate().unwrap();
            let certificate = key.certificate().unwrap();
            let read = EndEntityCert::try_from(&certificate).unwrap();
            assert_eq!(read.subject_public_key_info().as_ref(), key.public());
            let message = b"what happened";
            let signature = key.sign(message).unwrap();
            let verify = |message| {
                read.verify_signature(webpki::ring::ECDSA_P256_SHA256, message, &signature)
            };
            assert!(verify(message).is_ok() && verify(b"something else").is_err());
        }
    }

    #[test]
    fn the_certificate_reads_as_one_that_rcgen_makes() {
        use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
        let key = Key::generate().unwrap();
        let certificate = key.certificate().unwrap();
        let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let theirs = CertificateParams::new(Vec::new()).unwrap().self_signed(&other).unwrap();
        // Everything of the public key but the point.
        let (ours, theirs_key) = (key.public(), other.subject_public_key_info());
        assert_eq!(ours.len(), theirs_key.len());
        assert_eq!(ours[..27], theirs_key[..27]);
        for der in [&certificate, theirs.der()] {
            // The certificate's own signature is over its first part.
            let read = EndEntityCert::try_from(der).unwrap();
            let content = part(&der[4..]);
            let rest = &der[4 + content.len()..];
            let bits = &rest[part(rest).len()..];
            let signature = &part(bits)[3..];
            let verified =
                read.verify_signature(webpki::ring::ECDSA_P256_SHA256, content, signature);
            assert!(verified.is_ok(), "{verified:?}");
        }
    }

    /// Returns the first element with its head.
    fn part(bytes: &[u8]) -> &[u8] {
        let length = match bytes[1] {
            0x81 => usize::from(bytes[2]) + 3,
            0x82 => usize::from(u16::from_be_bytes([bytes[2], bytes[3]])) + 4,
            short => usize::from(short) + 2,
        };
        &bytes[..length]
    }
}
