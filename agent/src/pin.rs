//! Trust in the server by its pinned key alone.
//!
//! The server presents a chain. The certificate whose public key has the pin must be the leaf, or must have signed it;
//! the leaf's key must have signed the handshake. Dates and names say nothing: a wrong clock must not keep a machine out,
//! and a harbour has no name.

use std::sync::Arc;

use protocol::Pin;
use ring::digest::{SHA256, digest};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use webpki::EndEntityCert;

/// Says why a chain is not the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// No certificate of the chain has a pinned key.
    #[error("no certificate of the server has the pinned key")]
    NoPinnedKey,
    /// The pinned certificate is there, but somebody else signed the leaf.
    #[error("the pinned key did not sign the server's certificate")]
    NotSigned,
}

/// Accepts the pinned server and nobody else.
#[derive(Debug)]
pub struct PinVerifier {
    pins: Vec<Pin>,
    provider: Arc<CryptoProvider>,
}

impl PinVerifier {
    /// Trusts the keys with these pins. With none, nobody is trusted.
    pub fn new(pins: Vec<Pin>, provider: Arc<CryptoProvider>) -> Self {
        Self { pins, provider }
    }

    /// Checks a chain, whatever the order of what stands behind the leaf.
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
    ) -> Result<(), Distrust> {
        if self.is_pinned(leaf) {
            return Ok(());
        }
        let mut result = Err(Distrust::NoPinnedKey);
        for issuer in others.iter().filter(|certificate| self.is_pinned(certificate)) {
            if self.has_signed(issuer, leaf) {
                return Ok(());
            }
            result = Err(Distrust::NotSigned);
        }
        result
    }

    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        pin_of(certificate).is_some_and(|pin| self.pins.contains(&pin))
    }

    fn has_signed(&self, issuer: &CertificateDer<'_>, leaf: &CertificateDer<'_>) -> bool {
        let (Ok(issuer), Some(signed)) = (EndEntityCert::try_from(issuer), Signed::read(leaf))
        else {
            return false;
        };
        let known = self.provider.signature_verification_algorithms.all;
        let mut fitting = known
            .iter()
            .filter(|algorithm| algorithm.signature_alg_id().as_ref() == signed.algorithm);
        fitting.any(|algorithm| {
            issuer.verify_signature(*algorithm, signed.content, signed.signature).is_ok()
        })
    }
}

/// Returns the pin of a certificate's public key; nothing where it cannot be read.
pub fn pin_of(certificate: &CertificateDer<'_>) -> Option<Pin> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let hash = digest(&SHA256, &certificate.subject_public_key_info());
    Some(Pin(hash.as_ref().try_into().ok()?))
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates)
            .map(|()| ServerCertVerified::assertion())
            .map_err(|why| CertificateError::Other(rustls::OtherError(Arc::new(why))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The three parts of a certificate: what is signed, how, and the signature. RFC 5280 clause 4.1.
struct Signed<'c> {
    /// With its own tag and length: the bytes that were signed.
    content: &'c [u8],
    /// Without tag and length.
    algorithm: &'c [u8],
    signature: &'c [u8],
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

impl<'c> Signed<'c> {
    fn read(certificate: &'c [u8]) -> Option<Self> {
        let (outer, []) = element(certificate, SEQUENCE)? else { return None };
        let (_, after_content) = element(outer.value, SEQUENCE)?;
        let content = outer.value.get(..outer.value.len() - after_content.len())?;
        let (algorithm, after_algorithm) = element(after_content, SEQUENCE)?;
        let (signature, []) = element(after_algorithm, BIT_STRING)? else { return None };
        // The first byte counts unused bits, of which a signature has none.
        let [0, signature @ ..] = signature.value else { return None };
        Some(Self { content, algorithm: algorithm.value, signature })
    }
}

struct Element<'c> {
    value: &'c [u8],
}

/// Reads one DER element of the expected tag, and what stands behind it. X.690 clause 8.1.
fn element(bytes: &[u8], expected: u8) -> Option<(Element<'_>, &[u8])> {
    let [tag, first, rest @ ..] = bytes else { return None };
    if *tag != expected {
        return None;
    }
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => rest
            .split_first_chunk()
            .map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?,
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((Element { value }, rest))
}

#[cfg(test)]
mod tests;
