//! Asks, and follows redirects as far as they may lead.

use std::sync::Arc;

use crate::{
    error::FetchError,
    exchange::{Answer, Wanted, exchange},
    limits::Limits,
    page,
    token::Token,
    trust::Trust,
    url::Url,
};
use rustls::{ClientConfig, crypto::CryptoProvider};

/// So many redirects are followed.
const REDIRECTS: usize = 5;

/// What is read of a refusal, for people.
const SAYS_BYTES: usize = 2 << 10;

/// What all fetching of a program has in common. Clones are the same.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tls: Option<Arc<ClientConfig>>,
    limits: Limits,
}

/// A token, and the one server that may see it.
#[derive(Debug, Clone)]
pub(crate) struct Bearer {
    token: Token,
    server: Url,
}

impl Bearer {
    /// Binds a token to the server of a URL. A secret does not go over a line that anybody can read.
    pub(crate) fn new(token: Token, url: &Url) -> Result<Self, FetchError> {
        if !url.is_tls() {
            return Err(FetchError::OpenLine(url.to_string()));
        }
        Ok(Self::for_server(token, url))
    }

    /// Binds a token that the registry has given to everybody who asked.
    pub(crate) fn for_server(token: Token, url: &Url) -> Self {
        Self { token, server: url.clone() }
    }

    fn for_url(&self, url: &Url) -> Option<&Token> {
        url.is_same_server(&self.server).then_some(&self.token)
    }
}

impl Client {
    /// Reads whom to trust. Where that is nobody, only `http` works.
    ///
    /// The program says what TLS is made of: it may know which ciphers its processor is quick with, and a choice made
    /// here would be linked beside its own.
    pub fn new(trust: &Trust, limits: Limits, cryptography: Arc<CryptoProvider>) -> Self {
        Self(Arc::new(Inner { tls: trust.tls(cryptography), limits }))
    }

    pub(crate) fn tls(&self) -> Option<&Arc<ClientConfig>> {
        self.0.tls.as_ref()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Asks, and returns an answer of any status that is no redirect.
    pub(crate) fn ask_any(
        &self,
        url: &Url,
        wanted: &Wanted<'_>,
        bearer: Option<&Bearer>,
    ) -> Result<Answer, FetchError> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS {
            let token = bearer.and_then(|bearer| bearer.for_url(&at));
            let answer = exchange(self, &at, wanted, token)?;
            if !matches!(answer.head.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let next = answer.head.field("location").and_then(|next| at.join(next));
            let Some(next) = next else { return Err(FetchError::Redirect { url: at.to_string() }) };
            if at.is_tls() && !next.is_tls() {
                return Err(FetchError::Downgrade { url: at.to_string() });
            }
            at = next;
        }
        Err(FetchError::Redirects { url: url.to_string(), limit: REDIRECTS, last: at.to_string() })
    }

    /// Asks, and returns an answer with bytes in it: 200 or 206.
    pub(crate) fn ask(
        &self,
        url: &Url,
        wanted: &Wanted<'_>,
        bearer: Option<&Bearer>,
    ) -> Result<Answer, FetchError> {
        let answer = self.ask_any(url, wanted, bearer)?;
        if !matches!(answer.head.status, 200 | 206) {
            return Err(refusal(answer, bearer));
        }
        let encoding = answer.head.field("content-encoding");
        if let Some(encoding) = encoding.filter(|value| !value.eq_ignore_ascii_case("identity")) {
            let encoding = encoding.chars().take(20).collect();
            return Err(FetchError::Encoded { url: answer.url.to_string(), encoding });
        }
        Ok(answer)
    }
}

/// Makes an error of an answer, with what it says.
pub(crate) fn refusal(mut answer: Answer, bearer: Option<&Bearer>) -> FetchError {
    let (url, status) = (answer.url.to_string(), answer.head.status);
    let mut bytes = vec![0; SAYS_BYTES];
    let mut length = 0;
    // The status is what counts: whatever comes of its words is enough.
    while let Ok(count @ 1..) = answer.body.read(&mut bytes[length..]) {
        length += count;
    }
    let says = page::says(&bytes[..length]);
    // A server may send back what it was told.
    let is_secret = bearer.is_some_and(|bearer| says.contains(bearer.token.word()));
    let says = if is_secret || says.is_empty() { String::new() } else { format!(": {says}") };
    FetchError::Status { url, status, says }
}
