//! The three calls of the agents' door.

use std::{error::Error, fmt::Write as _, io, sync::Arc, time::Duration};

use hyper::{Method, StatusCode};
use protocol::{Announce, Event, Pin, Welcome};
use rustls::{CertificateError, ClientConfig, sign::SingleCertAndKey, version::TLS13};
use tokio::time::timeout;

use super::{
    abridgement,
    http::{Answer, Ask, Http, HttpError},
    key::{Key, NoRandomness},
};
use crate::{
    cipher,
    pin::{Distrust, PinVerifier},
};

/// How long the server may hold back its answer to the question for instructions.
const WAIT: Duration = Duration::from_secs(30);

/// How long everything else may take: a large inventory over a slow line.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long to wait until it is tried again whether there is a way to the server.
const KNOCK_PAUSE: Duration = Duration::from_millis(500);

/// The largest answer that is read: an order with four texts of 256 KiB for the installed system, each character of
/// which may take six bytes on the wire.
const ANSWER_LIMIT: usize = 8 << 20;

/// The door to one server, with the key of this boot.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) http: Http,
    key: Arc<Key>,
}

/// Says why there is no door.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The key of this boot cannot be made, or cannot be used.
    #[error("making or using the key of this boot")]
    Key(#[source] NoRandomness),
    /// The key cannot be used.
    #[error("preparing TLS")]
    Tls(#[source] rustls::Error),
}

/// Says why a call had no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// No connection, no trust, or no answer in time.
    #[error("{}", chain(.0))]
    Unreachable(HttpError),
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
    /// What is to be said cannot be written.
    #[error("writing the question: {0}")]
    Question(serde_json::Error),
    /// The answer cannot be read.
    #[error("reading the answer: {0}")]
    Answer(serde_json::Error),
}

impl Client {
    /// Makes the key of this boot, and a client that trusts the pinned server only.
    pub(super) fn new(server: &str, pins: Vec<Pin>) -> Result<Self, ClientError> {
        let key = Arc::new(Key::generate().map_err(ClientError::Key)?);
        let shown = SingleCertAndKey::from(key.certified().map_err(ClientError::Key)?);
        let provider = cipher::provider();
        let verifier = Arc::new(PinVerifier::new(pins, provider.clone()));
        let tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(ClientError::Tls)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(shown));
        Ok(Self { http: Http::new(server, Arc::new(tls)), key })
    }

    /// Waits until something that this machine sends leaves it.
    pub(super) async fn finds_way(&self) {
        while self.http.knock().await.is_err_and(|error| error.has_no_way()) {
            tokio::time::sleep(KNOCK_PAUSE).await;
        }
    }

    /// Signs with the key of this boot: ECDSA over P-256 with SHA-256, as ASN.1.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.key.sign(message).map_err(ClientError::Key)
    }

    /// Returns the same door for another runtime, with connections of its own.
    pub(super) fn for_transfers(&self) -> Self {
        Self { http: self.http.apart(), key: Arc::clone(&self.key) }
    }

    /// `POST /v1/announce`.
    pub(super) async fn announce(&self, announce: &Announce) -> Result<Welcome, CallError> {
        let body =
            self.call(PATIENCE, post("/v1/announce", abridgement::written(announce))?).await?;
        serde_json::from_slice(&body.unwrap_or_default()).map_err(CallError::Answer)
    }

    /// Comes into contact with the server, so that the announcement finds the connection made.
    pub(super) async fn greet(&self) -> Result<(), CallError> {
        let ask = get("/v1/instruction?after=0&wait=0".to_owned());
        match self.call(PATIENCE, ask).await {
            // It says that it does not know us, which is true.
            Ok(_) | Err(CallError::UnknownSession | CallError::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// `GET /v1/instruction`: the next instruction as it came, or nothing within the time.
    pub(super) async fn instruction(&self, after: u64) -> Result<Option<Vec<u8>>, CallError> {
        let wait = WAIT.as_secs();
        let ask = get(format!("/v1/instruction?after={after}&wait={wait}"));
        self.call(WAIT + PATIENCE, ask).await
    }

    /// `POST /v1/events`.
    pub(super) async fn report(&self, events: &[Event]) -> Result<(), CallError> {
        self.call(PATIENCE, post("/v1/events", serde_json::to_vec(events))?).await.map(drop)
    }

    /// Asks, and reads the whole answer within the time; nothing where it says that it has no content.
    async fn call(&self, limit: Duration, ask: Ask) -> Result<Option<Vec<u8>>, CallError> {
        let call = async {
            let answer = self.http.ask(ask).await.map_err(CallError::Unreachable)?;
            let mut answer = accepted(answer).await?;
            match answer.status {
                StatusCode::NO_CONTENT => Ok(None),
                _ => read(&mut answer).await.map(Some),
            }
        };
        let late = CallError::Unreachable(HttpError::Late(limit));
        timeout(limit, call).await.unwrap_or(Err(late))
    }
}

fn get(path: String) -> Ask {
    Ask { path, ..Ask::default() }
}

fn post(path: &str, body: serde_json::Result<Vec<u8>>) -> Result<Ask, CallError> {
    let body = body.map_err(CallError::Question)?;
    Ok(Ask { method: Method::POST, path: path.to_owned(), body: Some(body), ..Ask::default() })
}

/// Tells answers from refusals.
pub(super) async fn accepted(mut answer: Answer) -> Result<Answer, CallError> {
    match answer.status {
        status if status.is_success() => Ok(answer),
        StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED | StatusCode::CONFLICT => {
            // Read to its end, it leaves the connection to the next question.
            let _nobody_reads = read(&mut answer).await;
            Err(CallError::UnknownSession)
        }
        status => {
            let text = read(&mut answer).await.unwrap_or_default();
            let text = String::from_utf8_lossy(&text).chars().take(200).collect();
            Err(CallError::Refused { status, text })
        }
    }
}

/// Reads an answer up to the limit.
async fn read(answer: &mut Answer) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(piece) = answer.piece().await.map_err(CallError::Unreachable)? {
        body.extend_from_slice(&piece);
        if body.len() > ANSWER_LIMIT {
            return Err(CallError::TooLarge);
        }
    }
    Ok(body)
}

/// Shows an error with its causes; only why the server is not trusted, or that it went away, where that is it.
pub(super) fn chain(error: &HttpError) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        if let Some(distrust) = distrust(error) {
            return distrust.to_string();
        }
        if is_early_end(error) {
            // What hyper and rustls say of it is about their own protocols.
            return "the connection ended early".to_owned();
        }
        let separator = if text.is_empty() { "" } else { ": " };
        let _infallible = write!(text, "{separator}{error}");
        cause = error.source();
    }
    text
}

/// Holds for an answer that ended before it was whole.
fn is_early_end(error: &(dyn Error + 'static)) -> bool {
    let is_eof = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
    error.downcast_ref::<io::Error>().is_some_and(is_eof)
        || error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message)
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
