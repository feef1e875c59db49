//! One request and its answer, on a connection of its own.

use std::{fmt::Write as _, time::Instant};

use crate::{
    body::Incoming,
    client::Client,
    connection::{Connection, Failure},
    error::FetchError,
    head::{self, Head},
    url::Url,
};

/// What is asked for beside the URL.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    /// Media types.
    pub(crate) accept: Option<&'a str>,
    /// The first byte, and the one behind the last.
    pub(crate) range: Option<(u64, u64)>,
    /// Which version of the file the range is of.
    pub(crate) version: Option<&'a str>,
}

/// An answer, its body still to come.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What answered: not what was asked first, where that redirected.
    pub(crate) url: Url,
    pub(crate) head: Head,
    pub(crate) body: Incoming,
}

/// Asks once, without following redirects.
pub(crate) fn exchange(
    client: &Client,
    url: &Url,
    wanted: &Wanted<'_>,
    token: Option<&crate::Token>,
) -> Result<Answer, FetchError> {
    let limits = client.limits();
    let mut connection = Connection::open(url, client.tls(), limits)?;
    let until = Instant::now() + limits.answer;
    let failed = |failure| match failure {
        Failure::Late => FetchError::Silent { host: url.authority(), limit: limits.answer },
        Failure::Broken(error) => error,
    };
    connection.send(request(url, wanted, token).as_bytes(), until).map_err(failed)?;
    let mut bytes = Vec::new();
    loop {
        let not_http = |reason| FetchError::NotHttp { host: url.authority(), reason };
        match head::parse(&bytes).map_err(not_http)? {
            // 1xx: the answer is still to come. RFC 9110 §15.2.
            Some((head, length)) if head.status < 200 => {
                bytes.drain(..length);
                continue;
            }
            Some((head, length)) => {
                let framing = head.framing().map_err(not_http)?;
                let early = bytes.split_off(length);
                let body = Incoming::new(connection, early, framing, limits);
                return Ok(Answer { url: url.clone(), head, body });
            }
            None if bytes.len() > head::LIMIT => return Err(not_http("its head has no end")),
            None => {}
        }
        let mut piece = [0; 4096];
        match connection.read(&mut piece, until).map_err(failed)? {
            0 if bytes.is_empty() => {
                let source = std::io::Error::other("it closed without an answer");
                return Err(FetchError::Broken { host: url.authority(), source });
            }
            0 => return Err(FetchError::Cut { host: url.authority(), missing: 1 }),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

/// Writes the request. Everything in it has been checked: URLs hold no line breaks, nor do tokens and validators.
fn request(url: &Url, wanted: &Wanted<'_>, token: Option<&crate::Token>) -> String {
    let mut text = format!("GET {} HTTP/1.1", url.target());
    let mut field = |name: &str, value: &str| {
        // Writing to a text does not fail.
        write!(text, "\r\n{name}: {value}").unwrap_or_default();
    };
    field("Host", &url.authority());
    field("User-Agent", concat!("drydock/", env!("CARGO_PKG_VERSION")));
    field("Accept", wanted.accept.unwrap_or("*/*"));
    field("Accept-Encoding", "identity");
    field("Connection", "close");
    if let Some((first, end)) = wanted.range {
        // RFC 9110 §14.1.2: both ends belong to it.
        field("Range", &format!("bytes={first}-{}", end.saturating_sub(1)));
        if let Some(version) = wanted.version {
            field("If-Range", version);
        }
    }
    if let Some(token) = token {
        field("Authorization", &format!("Bearer {}", token.word()));
    }
    text.push_str("\r\n\r\n");
    text
}
