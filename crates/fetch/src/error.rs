//! Why bytes do not come, so that a person knows what to do.

use std::{io, time::Duration};

use crate::address::AddressError;

/// Why bytes do not come. No variant holds a token, or the query of a URL.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No address of an image.
    #[error("{reason}: {shown}")]
    Address {
        /// What it looks like, without secrets.
        shown: String,
        /// Why.
        reason: AddressError,
    },
    /// A secret does not go over a line that anybody can read.
    #[error("a token is sent over https only: {0}")]
    OpenLine(String),
    /// The name has no address.
    #[error("looking up the address of {host}")]
    Lookup {
        /// The name.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// Nobody answers at any of its addresses.
    #[error("connecting to {host}")]
    Connect {
        /// The server.
        host: String,
        /// What happened at the last address.
        source: io::Error,
    },
    /// Connected, and then nothing.
    #[error("{host} does not answer within {} seconds", limit.as_secs_f32())]
    Silent {
        /// The server.
        host: String,
        /// The limit.
        limit: Duration,
    },
    /// Bytes trickle.
    #[error("{host} sent only {bytes} bytes in {} seconds", window.as_secs_f32())]
    Slow {
        /// The server.
        host: String,
        /// What came in the window.
        bytes: u64,
        /// The window.
        window: Duration,
    },
    /// The connection ended in the middle.
    #[error("the connection to {host} ended {missing} bytes early")]
    Cut {
        /// The server.
        host: String,
        /// What had been promised and did not come.
        missing: u64,
    },
    /// The connection broke.
    #[error("the connection to {host} broke")]
    Broken {
        /// The server.
        host: String,
        /// How.
        source: io::Error,
    },
    /// There is nothing to check certificates against.
    #[error(
        "this system has no certificates to check servers by; a file of them is looked for at {places}"
    )]
    NoCertificates {
        /// Where.
        places: String,
    },
    /// The server is not who it should be.
    #[error("{host} is not trusted: {why}")]
    Untrusted {
        /// The server.
        host: String,
        /// What is wrong.
        why: Untrusted,
    },
    /// TLS failed otherwise.
    #[error("speaking TLS with {host}: {reason}")]
    Tls {
        /// The server.
        host: String,
        /// What happened.
        reason: String,
    },
    /// What came is no answer of HTTP, or contradicts itself.
    #[error("{host} does not answer as a web server does: {reason}")]
    NotHttp {
        /// The server.
        host: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The server says no.
    #[error("{url}: the server answers {status}{says}")]
    Status {
        /// What was asked for, without its query.
        url: String,
        /// The status.
        status: u16,
        /// What it says about it, with a separator before it; often nothing.
        says: String,
    },
    /// From one to the next, without an end.
    #[error("{url}: more than {limit} redirects, the last one to {last}")]
    Redirects {
        /// Where it began.
        url: String,
        /// How many are followed.
        limit: usize,
        /// Where the last one led.
        last: String,
    },
    /// A redirect to where anybody can read and change what is sent.
    #[error("{url} redirects from https to http, which is not followed")]
    Downgrade {
        /// What redirected.
        url: String,
    },
    /// A redirect to nowhere.
    #[error("{url} redirects to no usable address")]
    Redirect {
        /// What redirected.
        url: String,
    },
    /// A page for people.
    #[error("{url} is a page, not an image{title}")]
    Page {
        /// What was asked for, without its query.
        url: String,
        /// What the page calls itself, with a separator before it; often nothing.
        title: String,
    },
    /// Nobody could say when all of it is there.
    #[error("{url}: the server does not say how long it is")]
    NoLength {
        /// What was asked for, without its query.
        url: String,
    },
    /// More bytes than the length that was announced.
    #[error("{host} sends more than the length that it announced")]
    Longer {
        /// The server.
        host: String,
    },
    /// It is compressed for the transfer, though that was not asked for.
    #[error("{url}: the server packs what it sends as {encoding}, unasked")]
    Encoded {
        /// What was asked for, without its query.
        url: String,
        /// How.
        encoding: String,
    },
    /// Not the file of which a part is here.
    #[error("{url} was replaced while it was read: {how}")]
    Replaced {
        /// What was asked for, without its query.
        url: String,
        /// How that was seen.
        how: String,
    },
    /// Other bytes than the first mirror has.
    #[error("{url} is not the same file: it has {found} bytes, not {expected}")]
    OtherLength {
        /// What was asked for, without its query.
        url: String,
        /// What it has.
        found: u64,
        /// What the others have.
        expected: u64,
    },
    /// A part is here, and nobody vouches that the rest belongs to it.
    #[error(
        "{url} cannot be read on from the middle: the server names no version of it, and no digest was given"
    )]
    Unvouched {
        /// What was asked for, without its query.
        url: String,
    },
    /// A range was asked for, and something else came.
    #[error("{url}: bytes {asked} were asked for, and the server sends {got}")]
    OtherRange {
        /// What was asked for, without its query.
        url: String,
        /// Which bytes.
        asked: String,
        /// What it says.
        got: String,
    },
    /// The registry's manifest is none, or is of something else.
    #[error("the manifest of {image}: {reason}")]
    Manifest {
        /// The image.
        image: String,
        /// What is wrong.
        reason: String,
    },
    /// The registry's file is not the one that was ordered.
    #[error("{image} has the SHA-256 {found}, and {expected} was asked for")]
    OtherDigest {
        /// The image.
        image: String,
        /// What its manifest says.
        found: String,
        /// What the order says.
        expected: String,
    },
    /// No address was given.
    #[error("no address to fetch the image from")]
    Nowhere,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Nobody who is trusted has signed it.
    #[error("its certificate is signed by nobody whom this system trusts")]
    Issuer,
    /// It is another server's.
    #[error("its certificate is for another name")]
    Name,
    /// Its time is over, or this machine's clock is wrong.
    #[error("its certificate has expired, or this machine's clock is wrong")]
    Expired,
    /// Its time has not come, or this machine's clock is wrong.
    #[error("its certificate is not valid yet, or this machine's clock is wrong")]
    NotYet,
    /// It was taken back.
    #[error("its certificate was revoked")]
    Revoked,
    /// Its key has not signed what it should have.
    #[error("a signature with its certificate is wrong")]
    Signature,
    /// Something else.
    #[error("its certificate is of no use")]
    Certificate,
}

/// What a failure means for the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// It may work in a moment.
    Passing,
    /// The file is another one by now: nothing of it may be mixed with what is there.
    Replaced,
    /// It will not work.
    Lasting,
}

impl FetchError {
    /// Says whether to try again.
    pub fn lasting(&self) -> Lasting {
        match self {
            Self::Lookup { .. }
            | Self::Connect { .. }
            | Self::Silent { .. }
            | Self::Slow { .. }
            | Self::Cut { .. }
            | Self::Broken { .. } => Lasting::Passing,
            // RFC 9110 §15: too early, too many, and all of the server's own troubles but those that say "never".
            Self::Status { status: 408 | 425 | 429 | 500 | 502..=504 | 506..=599, .. } => {
                Lasting::Passing
            }
            Self::Replaced { .. } => Lasting::Replaced,
            _ => Lasting::Lasting,
        }
    }

    /// Returns the cause that a [`Body`](crate::Body) has put into its error.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Shows it with its causes.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

impl From<FetchError> for io::Error {
    fn from(error: FetchError) -> Self {
        let kind = match &error {
            FetchError::Cut { .. } => io::ErrorKind::UnexpectedEof,
            FetchError::Slow { .. } | FetchError::Silent { .. } => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
