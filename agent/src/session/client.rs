//! The three calls of the agents' door.

use std::{error::Error, fmt::Write as _, io, sync::Arc, time::Duration};

use protocol::{Announce, Event, Pin, Welcome};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use reqwest::{Response, StatusCode};
use rustls::{
    CertificateError, ClientConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    version::TLS13,
};

use crate::pin::{Distrust, PinVerifier};

/// How long the server may hold back its answer to the question for instructions.
const WAIT: Duration = Duration::from_secs(30);

/// How long everything else may take: a large inventory over a slow line.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a connection may take to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// The largest answer that is read.
const ANSWER_LIMIT: usize = 64 << 10;

/// The door to one server, with the key of this boot.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) http: reqwest::Client,
    pub(super) server: String,
    /// What every connection of this boot begins with.
    tls: ClientConfig,
}

/// Says why there is no door.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The key of this boot cannot be made.
    #[error("making the key of this boot")]
    Key(#[source] rcgen::Error),
    /// The key cannot be used.
    #[error("preparing TLS")]
    Tls(#[source] rustls::Error),
    /// The client cannot be built.
    #[error("preparing HTTP")]
    Http(#[source] reqwest::Error),
}

/// Says why a call had no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// No connection, no trust, or no answer in time.
    #[error("{}", chain(.0))]
    Unreachable(reqwest::Error),
    /// The server does not know this session: announce again.
    #[error("the server does not know this session")]
    UnknownSession,
    /// The server answered with something else.
    #[error("the server answers {status}: {text}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The beginning of the answer.
        text: String,
    },
    /// The answer is larger than anything honest.
    #[error("the answer is larger than {ANSWER_LIMIT} bytes")]
    TooLarge,
    /// The answer cannot be read.
    #[error("reading the answer: {0}")]
    Answer(serde_json::Error),
}

impl Client {
    /// Makes the key of this boot, and a client that trusts the pinned server only.
    pub(super) fn new(server: &str, pins: Vec<Pin>) -> Result<Self, ClientError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(ClientError::Key)?;
        let parameters = CertificateParams::new(Vec::new()).map_err(ClientError::Key)?;
        let certificate = parameters.self_signed(&key).map_err(ClientError::Key)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));

        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(PinVerifier::new(pins, provider.clone()));
        let tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(ClientError::Tls)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(vec![certificate.der().clone()], key)
            .map_err(ClientError::Tls)?;
        let http = http(&tls).timeout(PATIENCE).build().map_err(ClientError::Http)?;
        Ok(Self { http, server: server.trim_end_matches('/').to_owned(), tls })
    }

    /// Returns the same door for another runtime: with connections of its own, and without a limit on the whole time.
    pub(super) fn for_transfers(&self) -> Result<Self, ClientError> {
        let http = http(&self.tls).build().map_err(ClientError::Http)?;
        Ok(Self { http, server: self.server.clone(), tls: self.tls.clone() })
    }

    /// `POST /v1/announce`.
    pub(super) async fn announce(&self, announce: &Announce) -> Result<Welcome, CallError> {
        let request = self.http.post(format!("{}/v1/announce", self.server)).json(announce);
        let response = request.send().await.map_err(CallError::Unreachable)?;
        let body = body(accepted(response).await?).await?;
        serde_json::from_slice(&body).map_err(CallError::Answer)
    }

    /// Comes into contact with the server, so that the announcement finds the connection made.
    pub(super) async fn greet(&self) -> Result<(), CallError> {
        let url = format!("{}/v1/instruction?after=0&wait=0", self.server);
        let response = self.http.get(url).send().await.map_err(CallError::Unreachable)?;
        // It says that it does not know us, which is true.
        body(response).await.map(drop)
    }

    /// `GET /v1/instruction`: the next instruction as it came, or nothing within the time.
    pub(super) async fn instruction(&self, after: u64) -> Result<Option<Vec<u8>>, CallError> {
        let wait = WAIT.as_secs();
        let url = format!("{}/v1/instruction?after={after}&wait={wait}", self.server);
        let request = self.http.get(url).timeout(WAIT + PATIENCE);
        let response = accepted(request.send().await.map_err(CallError::Unreachable)?).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        body(response).await.map(Some)
    }

    /// `POST /v1/events`.
    pub(super) async fn report(&self, events: &[Event]) -> Result<(), CallError> {
        let url = format!("{}/v1/events", self.server);
        let request = self.http.post(url).timeout(PATIENCE).json(events);
        let response = request.send().await.map_err(CallError::Unreachable)?;
        accepted(response).await.map(drop)
    }
}

/// Prepares connections with this key, to the pinned server only.
fn http(tls: &ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_PATIENCE)
        .pool_max_idle_per_host(2)
}

/// Tells answers from refusals.
pub(super) async fn accepted(response: Response) -> Result<Response, CallError> {
    match response.status() {
        status if status.is_success() => Ok(response),
        StatusCode::NOT_FOUND
        | StatusCode::UNAUTHORIZED
        | StatusCode::GONE
        | StatusCode::CONFLICT => Err(CallError::UnknownSession),
        status => {
            let text = body(response).await.unwrap_or_default();
            let text = String::from_utf8_lossy(&text).chars().take(200).collect();
            Err(CallError::Refused { status, text })
        }
    }
}

/// Reads an answer up to the limit.
async fn body(mut response: Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(CallError::Unreachable)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_LIMIT {
            return Err(CallError::TooLarge);
        }
    }
    Ok(body)
}

/// Shows an error with its causes, which reqwest's own text hides; only why the server is not trusted, where that is it.
fn chain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        if let Some(distrust) = distrust(error) {
            return distrust.to_string();
        }
        let separator = if text.is_empty() { "" } else { ": " };
        let _infallible = write!(text, "{separator}{error}");
        cause = error.source();
    }
    text
}

/// Finds our own verdict on the server's certificates, which rustls and the standard library have wrapped.
fn distrust<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Distrust> {
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    match inner.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => {
            other.0.downcast_ref()
        }
        Some(_) => None,
        // An error of input and output may hold another one.
        None => distrust(inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distrust_is_found_behind_its_wrappings() {
        let other = rustls::OtherError(Arc::new(Distrust::NoPinnedKey));
        let wrapped = rustls::Error::InvalidCertificate(CertificateError::Other(other));
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, wrapped));
        assert_eq!(distrust(&wrapped), Some(&Distrust::NoPinnedKey));
        assert_eq!(distrust(&io::Error::other("something else")), None);
    }
}
