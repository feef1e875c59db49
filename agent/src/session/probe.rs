//! Looks which key a server has, before anybody trusts it: nothing is said to it, and the connection ends with its answer.

use std::sync::{Arc, Mutex, PoisonError};

use protocol::Pin;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::TLS13,
};

use super::{client::chain, http::Http};
use crate::{
    cipher,
    pin::{self, Distrust, PinVerifier},
};

/// Returns the pin that the server's certificates would have to be trusted by: of the key that signed its certificate.
/// The error says why there is none.
///
/// Nothing is proved by that: a server is trusted when a session with that pin comes about.
pub async fn key_of(server: &str) -> Result<Pin, String> {
    let provider = cipher::provider();
    let shown = Arc::new(Mutex::new(None));
    let verifier = Arc::new(Onlooker { provider: provider.clone(), shown: shown.clone() });
    let tls = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let refused = Http::new(server, Arc::new(tls)).knock().await.err();
    let shown = *shown.lock().unwrap_or_else(PoisonError::into_inner);
    shown.ok_or_else(|| refused.map_or_else(String::new, |error| chain(&error)))
}

/// Looks at certificates, and believes none.
#[derive(Debug)]
struct Onlooker {
    provider: Arc<CryptoProvider>,
    shown: Arc<Mutex<Option<Pin>>>,
}

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut all = intermediates.iter().rev().chain([end_entity]).filter_map(pin::pin_of);
        let pin = all.find(|pin| {
            PinVerifier::new(vec![*pin], self.provider.clone())
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .is_ok()
        });
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = pin;
        Err(CertificateError::Other(rustls::OtherError(Arc::new(Distrust::NoPinnedKey))).into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("nobody is trusted here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("nobody is trusted here".to_owned()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
