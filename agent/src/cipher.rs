//! Which ciphers TLS is offered, the quickest first.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// Returns TLS's cryptography for this machine's processor.
///
/// Servers take what the client names first. AES has a constant-time form in software, for processors that do not have
/// it (small Atoms and Celerons, the Raspberry Pi 4), and that form is several times slower than `ChaCha20`: an image
/// would wait for the processor.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    order(&mut provider, has_aes());
    Arc::new(provider)
}

/// Has everything in this program that speaks TLS use [`provider`]; the first call counts.
pub fn install() {
    // Another one is there already: nothing is lost but speed.
    CryptoProvider::install_default(Arc::unwrap_or_clone(provider())).ok();
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
