//! Metadata for installed systems over plain HTTP, where the configuration switches it on: cloud-init's `NoCloud` and the
//! form of EC2, as Tinkerbell's Hegel serves it; and the place where an installed system says back that it is done.
//!
//! ```text
//!  request ─► path ─► address ─► kernel's neighbour table ─► port ─► machine ─► its last order ─► what was ordered
//! ```
//!
//! Whoever asks is known by the port that the kernel itself has seen behind his address, on the server's own networks,
//! and by nothing that the request says. Everybody who is to get nothing gets the same answer: that there is no such path.

mod form;
mod neighbour;
mod tree;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::Response,
};
use protocol::MacAddress;
use tower::ServiceExt as _;

pub use self::neighbour::mac_of;
use self::tree::Wanted;
use crate::{api::rate::Rate, machine::Registry};

/// A whole boot of cloud-init asks about thirty times; what comes after that, comes slower.
const BURST: u32 = 120;
/// One more request after each.
const REFILL: Duration = Duration::from_millis(200);
/// What an installed system says has at most this many bytes.
const SAID_BYTES: usize = 16 << 10;
/// How long it may take to say it.
const SAID_PATIENCE: Duration = Duration::from_secs(10);

/// Says which port the kernel has seen behind an address.
pub type Neighbour = Arc<dyn Fn(Ipv4Addr) -> Option<MacAddress> + Send + Sync>;

/// What is needed to answer installed systems. Cheap to clone.
#[derive(Clone)]
pub struct Metadata {
    registry: Registry,
    neighbour: Neighbour,
    rate: Arc<Mutex<Rate>>,
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata").finish_non_exhaustive()
    }
}

impl Metadata {
    /// Serves what the registry's orders say.
    pub fn new(registry: Registry, neighbour: Neighbour) -> Self {
        Self { registry, neighbour, rate: Arc::new(Mutex::new(Rate::new(BURST, REFILL))) }
    }

    /// Returns routes that answer installed systems, and leave everything else to others.
    pub fn before(self, others: Router) -> Router {
        Router::new().fallback(answer).with_state((self, others))
    }

    fn may_ask(&self, address: Ipv4Addr) -> bool {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.take(address.into(), Instant::now())
    }
}

async fn answer(
    State((metadata, others)): State<(Metadata, Router)>,
    request: Request,
) -> Response {
    if !tree::is_ours(request.uri().path()) {
        return others.oneshot(request).await.unwrap_or_else(|never| match never {});
    }
    let Some(address) = peer(&request) else { return not_found() };
    if !metadata.may_ask(address) {
        let mut response = plain(StatusCode::TOO_MANY_REQUESTS, "too many requests\n".to_owned());
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    }
    let Some(wanted) = Wanted::of(request.uri().path()) else { return not_found() };
    let Some(port) = (metadata.neighbour)(address) else { return not_found() };
    match (wanted, request.method()) {
        (Wanted::PhoneHome(token), &Method::POST) => {
            phone_home(&metadata, port, &token, request.into_body()).await
        }
        (Wanted::Document(document), &Method::GET | &Method::HEAD) => {
            let documents = metadata.registry.documents_for(port, document.name());
            match documents.and_then(|documents| document.text(&documents, address)) {
                Some(text) => plain(StatusCode::OK, text),
                None => not_found(),
            }
        }
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, "not by this method\n".to_owned()),
    }
}

async fn phone_home(metadata: &Metadata, port: MacAddress, token: &str, body: Body) -> Response {
    let said = match tokio::time::timeout(SAID_PATIENCE, to_bytes(body, SAID_BYTES)).await {
        Ok(Ok(said)) => said,
        Ok(Err(_)) => return plain(StatusCode::PAYLOAD_TOO_LARGE, "too much\n".to_owned()),
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "too slow\n".to_owned()),
    };
    let form::Said { hostname, instance_id } = form::read(&said);
    if metadata.registry.phones_home(port, token, hostname, instance_id) {
        plain(StatusCode::OK, "heard\n".to_owned())
    } else {
        not_found()
    }
}

fn peer(request: &Request) -> Option<Ipv4Addr> {
    let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    match peer.ip().to_canonical() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "not found\n".to_owned())
}

fn plain(status: StatusCode, text: String) -> Response {
    let length = text.len();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
