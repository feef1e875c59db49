//! Which ciphers TLS is offered, the quickest first.

use std::sync::Arc;

use ::ring::rand::{SecureRandom as _, SystemRandom};
use rustls::{
    Error, SignatureScheme,
    crypto::{
        CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms, ring,
    },
    pki_types::PrivateKeyDer,
    sign::SigningKey,
};
use webpki::ring as signatures;

/// The signatures that are believed, as rustls' own provider has them.
///
/// They stand here, and not in a copy of that provider, because that one reads private keys of all kinds too.
static SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        signatures::ECDSA_P256_SHA256,
        signatures::ECDSA_P256_SHA384,
        signatures::ECDSA_P384_SHA256,
        signatures::ECDSA_P384_SHA384,
        signatures::ED25519,
        signatures::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        signatures::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        signatures::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        signatures::RSA_PKCS1_2048_8192_SHA256,
        signatures::RSA_PKCS1_2048_8192_SHA384,
        signatures::RSA_PKCS1_2048_8192_SHA512,
        signatures::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
        signatures::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
        signatures::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    ],
    mapping: &[
        // With TLS 1.2 the hash does not say the curve.
        (
            SignatureScheme::ECDSA_NISTP384_SHA384,
            &[signatures::ECDSA_P384_SHA384, signatures::ECDSA_P256_SHA384],
        ),
        (
            SignatureScheme::ECDSA_NISTP256_SHA256,
            &[signatures::ECDSA_P256_SHA256, signatures::ECDSA_P384_SHA256],
        ),
        (SignatureScheme::ED25519, &[signatures::ED25519]),
        (SignatureScheme::RSA_PSS_SHA512, &[signatures::RSA_PSS_2048_8192_SHA512_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA384, &[signatures::RSA_PSS_2048_8192_SHA384_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA256, &[signatures::RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
        (SignatureScheme::RSA_PKCS1_SHA512, &[signatures::RSA_PKCS1_2048_8192_SHA512]),
        (SignatureScheme::RSA_PKCS1_SHA384, &[signatures::RSA_PKCS1_2048_8192_SHA384]),
        (SignatureScheme::RSA_PKCS1_SHA256, &[signatures::RSA_PKCS1_2048_8192_SHA256]),
    ],
};

/// Returns TLS's cryptography for this machine's processor.
///
/// Servers take what the client names first. AES has a constant-time form in software, for processors that do not have
/// it (small Atoms and Celerons, the Raspberry Pi 4), and that form is several times slower than `ChaCha20`: an image
/// would wait for the processor.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = CryptoProvider {
        cipher_suites: ring::DEFAULT_CIPHER_SUITES.to_vec(),
        kx_groups: ring::DEFAULT_KX_GROUPS.to_vec(),
        signature_verification_algorithms: SIGNATURES,
        secure_random: &Random,
        key_provider: &NoKeys,
    };
    order(&mut provider, has_aes());
    Arc::new(provider)
}

/// The kernel's randomness.
#[derive(Debug)]
struct Random;

impl SecureRandom for Random {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        SystemRandom::new().fill(bytes).map_err(|_| GetRandomFailed)
    }
}

/// Reads no private keys: the agent makes its own, and the means to read all kinds would be linked.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _der: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        Err(Error::General("private keys are not read".to_owned()))
    }
}

fn order(provider: &mut CryptoProvider, has_aes: bool) {
    if !has_aes {
        // The order from the strongest to the last choice, with ChaCha20 behind AES each time: turned around, it is
        // the first of each version.
        provider.cipher_suites.reverse();
    }
}

#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_believed_as_by_the_provider_that_everybody_has() {
        let theirs = ring::default_provider().signature_verification_algorithms;
        assert_eq!(format!("{SIGNATURES:?}"), format!("{theirs:?}"));
        assert_eq!(SIGNATURES.supported_schemes(), theirs.supported_schemes());
        let ids = |all: &[&dyn rustls::pki_types::SignatureVerificationAlgorithm]| {
            let id = |one: &&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
                (one.signature_alg_id(), one.public_key_alg_id())
            };
            all.iter().map(id).collect::<Vec<_>>()
        };
        assert_eq!(ids(SIGNATURES.all), ids(theirs.all));
        for (ours, theirs) in SIGNATURES.mapping.iter().zip(theirs.mapping) {
            assert_eq!((ours.0, ids(ours.1)), (theirs.0, ids(theirs.1)));
        }
    }

    #[test]
    fn a_processor_without_aes_offers_chacha20_first_in_each_kind_of_connection() {
        for has_aes in [true, false] {
            let mut provider = ring::default_provider();
            order(&mut provider, has_aes);
            let names: Vec<String> =
                provider.cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
            assert_eq!(names.len(), ring::default_provider().cipher_suites.len());
            for kind in ["TLS13_", "TLS_ECDHE_ECDSA_", "TLS_ECDHE_RSA_"] {
                let first = names.iter().find(|name| name.starts_with(kind)).unwrap();
                assert_eq!(first.contains("CHACHA20"), !has_aes, "{names:?}");
            }
        }
    }
}
