//! The bodies of agents' requests: JSON, bounded in size, time and number, so that no agent holds up the others.

use std::{
    collections::{HashMap, hash_map::Entry as Slot},
    error::Error,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::{TEXT_BYTES, refuse};
use crate::{journal::Unfit, text::shorten};

/// How long the body of a request may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_mins(1);
/// Large bodies held in memory at once.
const BODIES: usize = 8;
/// Of these, with one address.
const BODIES_PER_ADDRESS: usize = 2;

/// Where bodies are read. Clones share one limit.
#[derive(Debug, Clone)]
pub(super) struct Bodies {
    places: Arc<Semaphore>,
    senders: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(BODIES)), senders: Arc::default() }
    }
}

/// Why the body of a request was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error("this address is sending other reports: one after the other")]
    Busy,
    #[error("more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the body broke off: {0}")]
    Broken(Box<dyn Error + Send + Sync>),
    #[error("the body did not arrive in time")]
    TooSlow,
    #[error("not understood: {0}")]
    Nonsense(serde_json::Error),
}

impl Unread {
    /// What is wrong with the report itself, so that sending it again does not help.
    pub(super) fn unfit(&self) -> Option<Unfit> {
        match self {
            Self::TooLarge { limit } => {
                Some(Unfit::TooLarge { limit_bytes: u64::try_from(*limit).unwrap_or(u64::MAX) })
            }
            Self::Nonsense(problem) => {
                let mut problem = problem.to_string();
                shorten(&mut problem, TEXT_BYTES);
                Some(Unfit::Unreadable { problem })
            }
            Self::Busy | Self::Broken(_) | Self::TooSlow => None,
        }
    }
}

impl IntoResponse for Unread {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken(_) | Self::Nonsense(_) => StatusCode::BAD_REQUEST,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
        };
        refuse(status, &self)
    }
}

impl Bodies {
    /// Reads a body of JSON, with limits of size and time.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        address: IpAddr,
        body: Body,
        limit: usize,
    ) -> Result<T, Unread> {
        let Some(_turn) = Turn::take(self, address) else {
            return Err(Unread::Busy);
        };
        let deadline = tokio::time::Instant::from_std(Instant::now() + BODY_PATIENCE);
        let read = tokio::time::timeout_at(deadline, async {
            let place = self.places.acquire().await;
            (Limited::new(body, limit).collect().await, place)
        });
        // The place is kept until the body is understood: that may take many times its room.
        let (bytes, _place) = read.await.map_err(|_| Unread::TooSlow)?;
        let bytes: Bytes = match bytes {
            Ok(bytes) => bytes.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(Unread::TooLarge { limit });
            }
            Err(error) => return Err(Unread::Broken(error)),
        };
        serde_json::from_slice(&bytes).map_err(Unread::Nonsense)
    }
}

/// One address's turn to send a large body; given back when dropped.
struct Turn<'a>(&'a Bodies, IpAddr);

impl<'a> Turn<'a> {
    /// Absent where the address sends so many already: a body that crawls must not hold up everybody's.
    fn take(bodies: &'a Bodies, address: IpAddr) -> Option<Self> {
        let mut senders = bodies.senders.lock().unwrap_or_else(PoisonError::into_inner);
        let count = senders.entry(address).or_default();
        (*count < BODIES_PER_ADDRESS).then(|| {
            *count += 1;
            Self(bodies, address)
        })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut senders = self.0.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Slot::Occupied(mut count) = senders.entry(self.1) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use protocol::{Announce, Event};

    use super::*;

    /// A body that never goes on.
    struct Crawl;

    impl hyper::body::Body for Crawl {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }

    /// A body without an end, of ten bytes at a time; counts them.
    struct Endless(Arc<Mutex<usize>>);

    impl hyper::body::Body for Endless {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            *self.0.lock().unwrap() += 10;
            let frame = hyper::body::Frame::data(Bytes::from_static(b"[[[[[[[[[["));
            std::task::Poll::Ready(Some(Ok(frame)))
        }
    }

    #[tokio::test]
    async fn no_byte_is_understood_before_all_are_counted() {
        let bodies = Bodies::default();
        let address = IpAddr::from(Ipv4Addr::LOCALHOST);
        let sent = Arc::new(Mutex::new(0));
        let endless = Body::new(Endless(Arc::clone(&sent)));
        let read = bodies.read::<Vec<Event>>(address, endless, 100).await;
        assert!(matches!(read, Err(Unread::TooLarge { limit: 100 })), "{read:?}");
        assert_eq!(*sent.lock().unwrap(), 110, "and none beyond the limit is waited for");
        // What is no JSON from its first byte on is not said to be that before its length is known.
        for (length, is_too_large) in [(100, false), (101, true)] {
            let read = bodies.read::<Vec<Event>>(address, Body::from("}".repeat(length)), 100);
            let read = read.await.map(drop).unwrap_err();
            assert_eq!(matches!(read, Unread::TooLarge { .. }), is_too_large, "{read:?}");
        }
    }

    #[tokio::test]
    async fn bodies_that_crawl_hold_up_only_their_own_address() {
        let bodies = Bodies::default();
        let address = |last| IpAddr::from(Ipv4Addr::new(10, 0, 0, last));
        let crawls = || Body::new(Crawl);
        let mut crawling: Vec<_> =
            (0..8).map(|_| Box::pin(bodies.read::<Announce>(address(1), crawls(), 100))).collect();
        let mut refused = 0;
        for body in &mut crawling {
            let outcome = tokio::time::timeout(Duration::from_millis(5), body).await;
            refused += usize::from(outcome.is_ok_and(|read| read.is_err()));
        }
        assert_eq!(refused, 6);
        let events = bodies.read::<Vec<Event>>(address(2), Body::from("[]"), 100);
        let others = tokio::time::timeout(Duration::from_secs(5), events).await;
        assert!(others.is_ok_and(|read| read.is_ok()), "another address is served");
        drop(crawling);
        assert!(bodies.senders.lock().unwrap().is_empty());
    }
}
