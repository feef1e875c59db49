//! The accept loop of plain HTTP: axum's own has no limits.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo, response::Response};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::ServiceExt as _;
use tracing::{debug, warn};

/// How long the kernel's lack of descriptors or memory is waited out.
const AFTER_A_FAILED_ACCEPT: Duration = Duration::from_millis(100);
/// How long a connection may go on after the server was told to stop.
const FAREWELL: Duration = Duration::from_secs(2);

/// What clients may take of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once. Further ones wait in the kernel's queue.
    pub connections: usize,
    /// Connections at once from one address. Further ones are closed.
    pub connections_per_address: usize,
    /// How long a request's head may take, and how long a connection may lie idle.
    pub head_patience: Duration,
    /// How long what was sent may stay unacknowledged.
    pub stall_patience: Duration,
    /// How long a connection may live: the largest image on the slowest link.
    pub lifetime: Duration,
}

impl Default for Limits {
    /// Two racks at once on a gigabit link; one machine never needs more than a handful of connections.
    fn default() -> Self {
        Self {
            connections: 512,
            connections_per_address: 16,
            head_patience: Duration::from_secs(10),
            stall_patience: Duration::from_secs(30),
            lifetime: Duration::from_mins(30),
        }
    }
}

/// Serves until `shutdown` ends, then lets open connections finish for two seconds.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let free = Arc::new(Semaphore::new(limits.connections));
    let guests = Guests::default();
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &free) => accepted,
            Some(_ended) = connections.join_next() => continue,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let Some(guest) = guests.admit(peer.ip(), limits.connections_per_address) else {
            debug!(%peer, "too many connections from one address");
            continue;
        };
        let (router, mut stopped) = (router.clone(), stopped.clone());
        connections.spawn(async move {
            let conversation = converse(stream, peer, router, limits, async move {
                // An error says that the sender is gone: the same.
                drop(stopped.changed().await);
            });
            if timeout(limits.lifetime, conversation).await.is_err() {
                debug!(%peer, "a connection that lives too long");
            }
            drop((guest, place));
        });
    }
    drop(listener);
    drop(stop);
    let finish = async { while connections.join_next().await.is_some() {} };
    if timeout(FAREWELL, finish).await.is_err() {
        connections.shutdown().await;
    }
}

async fn accept(
    listener: &TcpListener,
    free: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(free).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
        Err(error) => {
            warn!(%error, "accepting an HTTP connection");
            sleep(AFTER_A_FAILED_ACCEPT).await;
            None
        }
    }
}

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let socket = SockRef::from(&stream);
    let patience = Some(limits.stall_patience);
    if let Err(error) =
        socket.set_tcp_user_timeout(patience).and_then(|()| socket.set_tcp_nodelay(true))
    {
        debug!(%peer, %error, "setting up a connection");
    }
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            Ok::<Response, Infallible>(
                router.oneshot(request).await.unwrap_or_else(|never| match never {}),
            )
        }
    });
    let mut http = http1::Builder::new();
    // GRUB on UEFI knows the length of a file by `Content-Length` in this spelling only (`net/efi/http.c` of the distributions).
    http.title_case_headers(true);
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_patience).max_buf_size(64 * 1024);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "an HTTP connection ended early");
    }
}

/// Who is connected, how often.
#[derive(Clone, Default)]
struct Guests(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection of an address, until dropped.
struct Guest {
    guests: Guests,
    address: IpAddr,
}

impl Guests {
    fn admit(&self, address: IpAddr, most: usize) -> Option<Guest> {
        let mut guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = guests.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Guest { guests: self.clone(), address })
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guest").field(&self.address).finish()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut guests = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = guests.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                guests.remove(&self.address);
            }
        }
    }
}
