//! The verifier against chains of every kind, and in a true handshake.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm,
};
use rustls::{
    ClientConfig, ClientConnection, ServerConfig, ServerConnection,
    crypto::ring::default_provider,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::*;

/// A harbour: the key that is pinned, and a leaf that it signed.
struct Harbour {
    authority: CertificateDer<'static>,
    leaf: CertificateDer<'static>,
    leaf_key: KeyPair,
}

fn harbour(algorithm: &'static SignatureAlgorithm) -> Harbour {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&key).unwrap().der().clone();
    let leaf_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut leaf = CertificateParams::new(vec!["somewhere.else".to_owned()]).unwrap();
    // Long over: dates say nothing.
    leaf.not_before = rcgen::date_time_ymd(1999, 1, 1);
    leaf.not_after = rcgen::date_time_ymd(1999, 1, 2);
    let issuer = Issuer::from_params(&parameters, &key);
    let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap().der().clone();
    Harbour { authority, leaf, leaf_key }
}

fn verifier(pinned: &CertificateDer<'_>) -> PinVerifier {
    PinVerifier::new(vec![pin_of(pinned).unwrap()], Arc::new(default_provider()))
}

/// Shakes hands over memory; the server presents `chain` and holds `key`.
fn shake_hands(verifier: PinVerifier, chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> bool {
    let provider = Arc::new(default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    // A chain whose leaf has another key is refused by a sane server; an attacker's is not sane.
    let Ok(signing_key) = provider.key_provider.load_private_key(key) else { return false };
    let certified = rustls::sign::CertifiedKey::new(chain, signing_key);
    let resolver = rustls::sign::SingleCertAndKey::from(certified);
    let server = server.with_cert_resolver(Arc::new(resolver));
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let name = ServerName::try_from("10.0.0.1").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        if server.process_new_packets().is_err() {
            return false;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        if client.process_new_packets().is_err() {
            return false;
        }
    }
    true
}

#[test]
fn the_pinned_server_is_trusted_whatever_its_dates_and_names() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let Harbour { authority, leaf, leaf_key } = harbour(algorithm);
        assert!(shake_hands(verifier(&authority), vec![leaf, authority], &leaf_key));
    }
}

#[test]
fn a_leaf_that_is_pinned_itself_is_trusted() {
    let Harbour { leaf, leaf_key, .. } = harbour(&PKCS_ECDSA_P256_SHA256);
    assert!(shake_hands(verifier(&leaf), vec![leaf], &leaf_key));
}

#[test]
fn another_pin_or_none_is_refused() {
    let Harbour { authority, leaf, leaf_key } = harbour(&PKCS_ECDSA_P256_SHA256);
    let other = harbour(&PKCS_ECDSA_P256_SHA256);
    let chain = vec![leaf.clone(), authority.clone()];
    assert!(!shake_hands(verifier(&other.authority), chain.clone(), &leaf_key));
    let nobody = PinVerifier::new(Vec::new(), Arc::new(default_provider()));
    assert_eq!(nobody.check(&leaf, &chain[1..]), Err(Distrust::NoPinnedKey));
}

#[test]
fn a_leaf_that_somebody_else_signed_is_refused_although_the_pinned_certificate_is_there() {
    let harbour = harbour(&PKCS_ECDSA_P256_SHA256);
    let thief = self::harbour(&PKCS_ECDSA_P256_SHA256);
    let verifier = verifier(&harbour.authority);
    let chain = [thief.authority.clone(), harbour.authority.clone()];
    assert_eq!(verifier.check(&thief.leaf, &chain), Err(Distrust::NotSigned));
    let chain = vec![thief.leaf, harbour.authority];
    assert!(!shake_hands(verifier, chain, &thief.leaf_key));
}

#[test]
fn the_order_behind_the_leaf_does_not_matter_but_the_leaf_comes_first() {
    let harbour = harbour(&PKCS_ECDSA_P256_SHA256);
    let bystander = self::harbour(&PKCS_ECDSA_P256_SHA256);
    let verifier = verifier(&harbour.authority);
    let chain = [bystander.authority, harbour.authority.clone()];
    assert_eq!(verifier.check(&harbour.leaf, &chain), Ok(()));
    // The pinned certificate in front is the leaf, and its key did not sign the handshake.
    let swapped = vec![harbour.authority, harbour.leaf];
    assert!(!shake_hands(verifier, swapped, &harbour.leaf_key));
}

#[test]
fn a_replayed_chain_is_refused_because_its_key_is_missing() {
    let harbour = harbour(&PKCS_ECDSA_P256_SHA256);
    let thief = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let chain = vec![harbour.leaf, harbour.authority.clone()];
    assert!(!shake_hands(verifier(&harbour.authority), chain, &thief));
}

#[test]
fn every_truncation_of_a_certificate_is_refused() {
    let harbour = harbour(&PKCS_ECDSA_P256_SHA256);
    let verifier = verifier(&harbour.authority);
    for n in 0..harbour.leaf.len() {
        let leaf = CertificateDer::from(harbour.leaf[..n].to_vec());
        assert!(verifier.check(&leaf, std::slice::from_ref(&harbour.authority)).is_err(), "{n}");
    }
    for n in 0..harbour.leaf.len() {
        let mut bytes = harbour.leaf.to_vec();
        bytes[n] ^= 1;
        let leaf = CertificateDer::from(bytes);
        assert!(verifier.check(&leaf, std::slice::from_ref(&harbour.authority)).is_err(), "{n}");
    }
}
